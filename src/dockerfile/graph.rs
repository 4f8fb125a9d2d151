//! Stages needed for an image, in build order, with the dependencies of each.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::model::{Dockerfile, Instruction, MountKind, PlacedInstruction, Position, Stage};
use super::scope::{Base, Scope};
use super::step::CopyOrigin;
use super::syntax;
use crate::graph;
use crate::image::platform::Platform;
use crate::package::Problem;

/// The ONBUILD triggers of images, by the images' names in FROM. Triggers are known only after the
/// images are fetched: a plan without triggers names the needed images.
pub type Triggers = BTreeMap<String, Vec<String>>;

/// The needed stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlan {
    /// Stages in dependency order; the last one is the image.
    pub stages: Vec<PlannedStage>,
}

/// A needed stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStage {
    /// Number in the Dockerfile.
    pub number: usize,
    /// Name for messages.
    pub label: String,
    /// Base of the stage.
    pub base: Base,
    /// Target platform.
    pub platform: Platform,
    /// Stages that must be built before, including the base.
    pub needs: BTreeSet<usize>,
    /// Names of the images to take files from, without the base.
    pub images: BTreeSet<String>,
    /// Names of the contexts to take files from, without the base.
    pub contexts: BTreeSet<String>,
    /// True if it takes files from the build context.
    pub takes_context: bool,
}

impl StagePlan {
    /// The images that stages start from or take files from, each with the platform that it is needed for: a
    /// base with that of its stage, others with that of the build, as in BuildKit.
    pub fn images(&self, target: &Platform) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for stage in &self.stages {
            let base = match &stage.base {
                Base::Image(name) => Some(name),
                _ => None,
            };
            found.extend(base.map(|name| (name.clone(), stage.platform.to_string())));
            found.extend(stage.images.iter().map(|name| (name.clone(), target.to_string())));
        }
        found
    }
}

/// Plans the stages for the target stage, by default the last.
pub fn plan(
    dockerfile: &Dockerfile,
    scope: &Scope,
    target: Option<&str>,
    triggers: &Triggers,
) -> Result<StagePlan, Problem> {
    let target = target_stage(dockerfile, target)?;
    let mut open = vec![target];
    let mut planned = BTreeMap::new();
    while let Some(number) = open.pop() {
        if let Entry::Vacant(new) = planned.entry(number) {
            let stage = &dockerfile.stages[number];
            open.extend(&new.insert(planned_stage(dockerfile, scope, stage, triggers)?).needs);
        }
    }
    let numbers: BTreeSet<usize> = planned.keys().copied().collect();
    let needs = |number: &usize| planned[number].needs.iter().copied().collect();
    let order = graph::topological_order(&numbers, needs)
        .map_err(|cycle| cycle_problem(dockerfile, &cycle))?;
    Ok(StagePlan { stages: order.iter().filter_map(|number| planned.remove(number)).collect() })
}

/// Plans the stages with the triggers of all images that stages start from, those included that
/// triggers need. `triggers_of` is asked once for each image; `report` makes the error of a problem.
pub fn plan_with_triggers<E>(
    dockerfile: &Dockerfile,
    scope: &Scope,
    target: Option<&str>,
    mut triggers_of: impl FnMut(&str, &PlannedStage) -> Result<Vec<String>, E>,
    report: impl Fn(Problem) -> E,
) -> Result<(StagePlan, Triggers), E> {
    let mut triggers = Triggers::new();
    let mut asked = BTreeSet::new();
    loop {
        let plan = plan(dockerfile, scope, target, &triggers).map_err(&report)?;
        let mut is_whole = true;
        for stage in &plan.stages {
            let Base::Image(name) = &stage.base else { continue };
            if !asked.insert((name.clone(), stage.platform.clone())) {
                continue;
            }
            let found = triggers_of(name, stage)?;
            if !found.is_empty() {
                is_whole = false;
                triggers.insert(name.clone(), found);
            }
        }
        if is_whole {
            return Ok((plan, triggers));
        }
    }
}

fn target_stage(dockerfile: &Dockerfile, target: Option<&str>) -> Result<usize, Problem> {
    let last = dockerfile.stages.len() - 1;
    let Some(target) = target else { return Ok(last) };
    if let Some(stage) = dockerfile.stage_named(target) {
        return Ok(stage.number);
    }
    if let Some(number) = target.parse().ok().filter(|number| *number <= last) {
        return Ok(number);
    }
    let known: Vec<String> = dockerfile.stages.iter().map(Stage::label).collect();
    Err(Problem::whole(format!("there is no stage {target:?} to build"))
        .hint(format!("the stages are: {}", known.join(", "))))
}

fn cycle_problem(dockerfile: &Dockerfile, cycle: &[usize]) -> Problem {
    let stages: Vec<&Stage> = cycle.iter().map(|number| &dockerfile.stages[*number]).collect();
    let mut labels: Vec<String> = stages.iter().map(|stage| stage.label()).collect();
    labels.extend(labels.first().cloned());
    let message = format!("stages need one another: {}", labels.join(" -> "));
    match stages.first() {
        Some(stage) => stage.position.problem(message),
        None => Problem::whole(message),
    }
}

fn planned_stage(
    dockerfile: &Dockerfile,
    scope: &Scope,
    stage: &Stage,
    triggers: &Triggers,
) -> Result<PlannedStage, Problem> {
    let base = scope.base(stage)?;
    let inherited = inherited_triggers(dockerfile, &base, triggers)?;
    let mut planned = PlannedStage {
        number: stage.number,
        label: stage.label(),
        platform: scope.platform(stage)?,
        needs: BTreeSet::new(),
        images: BTreeSet::new(),
        contexts: BTreeSet::new(),
        takes_context: false,
        base,
    };
    if let Base::Stage(number) = planned.base {
        planned.needs.insert(number);
    }
    for statement in inherited.iter().chain(&stage.statements) {
        for (from, position) in sources(statement) {
            let Some(from) = from else {
                planned.takes_context = true;
                continue;
            };
            match scope.origin(from, stage.number, position)? {
                CopyOrigin::Context => planned.takes_context = true,
                CopyOrigin::Stage(number) => _ = planned.needs.insert(number),
                CopyOrigin::Image(name) => _ = planned.images.insert(name),
                CopyOrigin::Named(name) => _ = planned.contexts.insert(name),
            }
        }
    }
    Ok(planned)
}

/// Returns the ONBUILD triggers of a base.
fn inherited_triggers(
    dockerfile: &Dockerfile,
    base: &Base,
    triggers: &Triggers,
) -> Result<Vec<PlacedInstruction>, Problem> {
    match base {
        Base::Stage(number) => Ok(dockerfile.stages[*number]
            .statements
            .iter()
            .filter_map(|statement| match &statement.instruction {
                Instruction::Onbuild(trigger) => Some((*trigger.statement).clone()),
                _ => None,
            })
            .collect()),
        Base::Image(name) => {
            let texts = triggers.get(name).into_iter().flatten();
            texts.map(|text| syntax::parse_trigger(text)).collect()
        }
        Base::Scratch | Base::Named(_) => Ok(Vec::new()),
    }
}

/// Origins of a statement's files; `None` is the build context.
fn sources(statement: &PlacedInstruction) -> Vec<(Option<&str>, &Position)> {
    let position = &statement.position;
    match &statement.instruction {
        Instruction::Add(transfer) | Instruction::Copy(transfer) => {
            vec![(transfer.from.as_deref(), position)]
        }
        Instruction::Run(run) => {
            let with_files = |kind| matches!(kind, MountKind::Bind | MountKind::Cache);
            let mounts = run.mounts.iter().filter(|mount| with_files(mount.kind));
            // A cache without a source begins empty.
            let mounts =
                mounts.filter(|mount| mount.kind == MountKind::Bind || mount.from.is_some());
            mounts.map(|mount| (mount.from.as_deref(), position)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::options::{DockerfileSurroundings, NamedContext};

    fn planned(text: &str, target: Option<&str>) -> Result<Vec<String>, String> {
        let around = DockerfileSurroundings {
            contexts: [
                ("ctx".to_owned(), NamedContext::Folder("/c".into())),
                ("other".to_owned(), NamedContext::Image("image:1".to_owned())),
            ]
            .into(),
            ..DockerfileSurroundings::default()
        };
        let parsed = Dockerfile::parse(text).map_err(|problem| problem.message)?;
        let scope = Scope::of(&parsed, &around).map_err(|problem| problem.message)?;
        let parsed = scope.with_contexts(parsed);
        let triggers =
            Triggers::from([("trigger".to_owned(), vec!["COPY --from=b / /".to_owned()])]);
        let plan = plan(&parsed, &scope, target, &triggers).map_err(|problem| problem.message)?;
        Ok(plan.stages.iter().map(|stage| format!("{} {:?}", stage.label, stage.base)).collect())
    }

    #[test]
    fn only_stages_that_are_needed_are_planned() {
        let text = "FROM x AS a\nFROM a AS unused\nFROM y AS b\nFROM scratch\nCOPY --from=a / /\n\
            RUN --mount=from=B,target=/b true\nCOPY --from=img / /\nCOPY --from=ctx / /\n";
        let all = planned(text, None).unwrap();
        assert_eq!(all, ["a Image(\"x\")", "b Image(\"y\")", "3 Scratch"]);
        assert_eq!(planned(text, Some("UNUSED")).unwrap().len(), 2);
        assert_eq!(planned(text, Some("0")).unwrap(), ["a Image(\"x\")"]);
        assert!(planned(text, Some("no")).unwrap_err().contains("no stage \"no\""));
    }

    #[test]
    fn a_name_is_the_nearest_stage_above_or_the_context_that_was_given_for_it() {
        let above = planned("FROM a AS a\nFROM a AS a\nFROM A\n", None).unwrap();
        assert_eq!(above, ["a Image(\"a\")", "a Stage(0)", "2 Stage(1)"]);
        for from in ["late", "LATE", "1", "0"] {
            let text = format!("FROM scratch\nCOPY --from={from} / /\nFROM x AS late\n");
            let error = planned(&text, Some("0")).unwrap_err();
            assert!(error.contains(&format!("stage {from} is not above")), "{error}");
            let text =
                format!("FROM scratch\nRUN --mount=from={from},target=/x x\nFROM x AS late\n");
            planned(&text, Some("0")).unwrap_err();
        }
        let twice = "FROM x AS a\nFROM y\nCOPY --from=a / /\nFROM z AS a\n";
        assert_eq!(planned(twice, Some("1")).unwrap(), ["a Image(\"x\")", "1 Image(\"y\")"]);
        // A context takes the place of a stage, whatever the stage is called by.
        for from in ["ctx", "CTX", "0"] {
            let text = format!("FROM x AS ctx\nFROM scratch\nCOPY --from={from} / /\n");
            assert_eq!(planned(&text, None).unwrap(), ["1 Scratch"], "{from}");
        }
        assert_eq!(planned("FROM x AS ctx\nFROM ctx\n", None).unwrap(), ["1 Named(\"ctx\")"]);
        let image = planned("FROM x AS other\nFROM other\n", None).unwrap();
        assert_eq!(image, ["1 Image(\"image:1\")"]);
        assert_eq!(planned("FROM ctx\n", None).unwrap(), ["0 Named(\"ctx\")"]);
        assert_eq!(planned("FROM other\n", None).unwrap(), ["0 Image(\"image:1\")"]);
        // Also of the target, of which nothing is carried out.
        let target = "FROM y AS b\nFROM x AS ctx\nCOPY --from=b / /\nFROM z\n";
        assert_eq!(planned(target, Some("ctx")).unwrap(), ["ctx Named(\"ctx\")"]);
        // An image is one by all of its names.
        for from in ["ctx:latest", "docker.io/library/ctx", "index.docker.io/library/ctx:latest"] {
            let text = format!("FROM {from}\nCOPY --from={from} / /\n");
            assert_eq!(planned(&text, None).unwrap(), ["0 Named(\"ctx\")"], "{from}");
        }
        assert_eq!(planned("FROM ctx:1\n", None).unwrap(), ["0 Image(\"ctx:1\")"]);
    }

    #[test]
    fn images_have_the_platform_of_what_needs_them() {
        let text = "FROM --platform=linux/s390x x\nCOPY --from=img / /\n";
        let dockerfile = Dockerfile::parse(text).unwrap();
        let around = DockerfileSurroundings::default();
        let scope = Scope::of(&dockerfile, &around).unwrap();
        let plan = plan(&dockerfile, &scope, None, &Triggers::new()).unwrap();
        let images = [("x", "linux/s390x"), ("img", "linux/riscv64")];
        let expected = images.map(|(name, platform)| (name.to_owned(), platform.to_owned()));
        assert_eq!(plan.images(&"linux/riscv64".parse().unwrap()), expected.into());
    }

    #[test]
    fn triggers_need_stages_too() {
        let text = "FROM y AS b\nFROM trigger\n";
        assert_eq!(planned(text, None).unwrap().len(), 2);
        let own = "FROM y AS b\nFROM x AS base\nONBUILD COPY --from=b / /\nFROM base\n";
        assert_eq!(planned(own, None).unwrap().len(), 3);
    }

    #[test]
    fn a_stage_that_only_triggers_need_may_have_triggers_itself() {
        let text = "FROM y AS c\nFROM second AS b\nFROM first\n";
        let parsed = Dockerfile::parse(text).unwrap();
        let scope = Scope::of(&parsed, &DockerfileSurroundings::default()).unwrap();
        let mut asked = Vec::new();
        let triggers_of = |name: &str, _: &PlannedStage| {
            asked.push(name.to_owned());
            Ok::<_, Problem>(match name {
                "first" => vec!["COPY --from=b / /".to_owned()],
                "second" => vec!["COPY --from=c / /".to_owned(), "COPY --from=img / /".to_owned()],
                _ => Vec::new(),
            })
        };
        let (plan, triggers) =
            plan_with_triggers(&parsed, &scope, None, triggers_of, |problem| problem).unwrap();
        assert_eq!((plan.stages.len(), triggers.len()), (3, 2));
        assert_eq!(asked, ["first", "second", "y"]);
        assert!(plan.stages[1].images.contains("img"));
    }

    #[test]
    fn cycles_and_unknown_numbers_are_refused() {
        let cycle = "FROM x AS a\nCOPY --from=b / /\nFROM y AS b\nCOPY --from=a / /\n";
        assert!(planned(cycle, None).unwrap_err().contains("stage b is not above"));
        let own = "FROM x AS a\nCOPY --from=a / /\n";
        assert!(planned(own, None).unwrap_err().contains("stage a is not above"));
        let number = planned("FROM x\nCOPY --from=7 / /\n", None).unwrap_err();
        assert_eq!(number, "there is no stage 7: the last one is 0");
        let variable = planned("FROM x\nCOPY --from=$y / /\n", None).unwrap_err();
        assert!(variable.contains("variable"), "{variable}");
    }
}
