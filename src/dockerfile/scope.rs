//! Names valid in all stages: the arguments before the first FROM, predefined arguments, the names
//! of stages and contexts, and the bases that FROM resolves to.

use std::collections::{BTreeMap, BTreeSet};

use super::expand::{Expander, expand};
use super::model::{ArgDeclaration, Dockerfile, Instruction, Position, Stage};
use super::options::{DockerfileSurroundings, NamedContext};
use super::step::CopyOrigin;
use crate::image::platform::{Platform, PlatformError};
use crate::image::reference::ImageRef;
use crate::package::Problem;

/// Arguments that RUN gets without a declaration.
pub(super) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The image without files and without a name.
const SCRATCH: &str = "scratch";

/// Names valid in all stages.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Build arguments of the caller.
    pub(super) given: BTreeMap<String, String>,
    /// Values before the first FROM, predefined ones among them.
    pub(super) globals: BTreeMap<String, String>,
    pub(super) escape: char,
    pub(super) created: String,
    stages: Vec<Option<String>>,
    contexts: BTreeMap<String, NamedContext>,
    target: Platform,
}

/// Base of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing: `scratch`.
    Scratch,
    /// Number of another stage.
    Stage(usize),
    /// An image, by its name as written.
    Image(String),
    /// A folder that was named on the command line.
    Named(String),
}

impl Base {
    fn of_context((name, context): (&String, &NamedContext)) -> Self {
        match context {
            NamedContext::Folder(_) | NamedContext::Brought(_) => Self::Named(name.clone()),
            NamedContext::Image(image) => Self::Image(image.clone()),
        }
    }
}

impl Scope {
    /// Makes the scope of a Dockerfile.
    pub fn of(dockerfile: &Dockerfile, around: &DockerfileSurroundings) -> Result<Self, Problem> {
        let label = dockerfile.stages.last().map(Stage::label).unwrap_or_default();
        let target = around.target.clone().unwrap_or(label);
        let mut scope = Self {
            given: around.arguments.clone(),
            globals: predefined(around, target),
            escape: dockerfile.directives.escape,
            created: crate::base::calendar::rfc3339(around.source_date_epoch),
            stages: dockerfile.stages.iter().map(|stage| stage.name.clone()).collect(),
            contexts: around.contexts.clone(),
            target: around.target_platform.clone(),
        };
        // A given `TARGETARCH`, for one, counts more than what the platform says, as in BuildKit.
        for name in scope.globals.clone().into_keys() {
            if let Some(value) = around.arguments.get(&name) {
                scope.globals.insert(name, value.clone());
            }
        }
        for statement in &dockerfile.arguments {
            if let Instruction::Arg(arguments) = &statement.instruction {
                for argument in arguments {
                    scope.declare(argument, &statement.position)?;
                }
            }
        }
        Ok(scope)
    }

    /// Build arguments of the caller without a declaration.
    pub fn unused_arguments(&self, dockerfile: &Dockerfile) -> Vec<&str> {
        let stages = dockerfile.stages.iter().flat_map(|stage| &stage.statements);
        let declared: BTreeSet<&str> = dockerfile
            .arguments
            .iter()
            .chain(stages)
            .filter_map(|statement| match &statement.instruction {
                Instruction::Arg(arguments) => Some(arguments),
                _ => None,
            })
            .flatten()
            .map(|argument| argument.name.as_str())
            .collect();
        // The expanded name is known only in its stage.
        let has_variable = declared.iter().any(|name| name.contains('$'));
        let is_known = |name: &str| {
            has_variable
                || declared.contains(name)
                || PROXIES.contains(&name)
                || self.globals.contains_key(name)
                || name == "SOURCE_DATE_EPOCH"
                // Arguments for BuildKit itself, which its users give to every build.
                || name.starts_with("BUILDKIT_")
        };
        self.given.keys().map(String::as_str).filter(|name| !is_known(name)).collect()
    }

    fn declare(&mut self, argument: &ArgDeclaration, position: &Position) -> Result<(), Problem> {
        let name = self.expanded(&argument.name, position)?;
        check_name(&name, argument, position)?;
        let value = match (self.given.get(&name), &argument.default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => self.expanded(default, position)?,
            (None, None) => return Ok(()),
        };
        self.globals.insert(name, value);
        Ok(())
    }

    fn expanded(&self, text: &str, position: &Position) -> Result<String, Problem> {
        let lookup = |name: &str| self.globals.get(name).cloned();
        expand(text, &Expander::new(self.escape, &lookup))
            .map_err(|error| position.problem(error.0))
    }

    /// Resolves the base of a stage.
    pub fn base(&self, stage: &Stage) -> Result<Base, Problem> {
        let name = self.expanded(&stage.base, &stage.position)?;
        if name.is_empty() {
            let message = format!("FROM {} has nothing to start from: it is empty", stage.base);
            return Err(stage.position.problem(message).hint(format!(
                "give the ARG before the first FROM a default, or pass --build-arg: {}",
                stage.base
            )));
        }
        if let Some(context) = self.context(&name) {
            return Ok(Base::of_context(context));
        }
        // Only stages above: below its own FROM a name means this stage, or none yet.
        let earlier = &self.stages[..stage.number];
        let known = earlier.iter().rposition(|known| is_called(known.as_ref(), &name));
        Ok(match known {
            Some(number) => Base::Stage(number),
            None if name == SCRATCH => Base::Scratch,
            None => Base::Image(name),
        })
    }

    /// The context that was given for a name. It takes the place of a stage that is called so, and of an
    /// image, be it named in another way: `alpine` is `docker.io/library/alpine:latest`, as in BuildKit.
    fn context(&self, name: &str) -> Option<(&String, &NamedContext)> {
        let same = |known: &String| known.eq_ignore_ascii_case(name);
        let found = self.contexts.iter().find(|(known, _)| same(known));
        let image: Option<ImageRef> = name.parse().ok();
        found.or_else(|| {
            let image = image?;
            self.contexts.iter().find(|(known, _)| known.parse().as_ref() == Ok(&image))
        })
    }

    /// Puts the contexts that were given in the place of stages that are called so, as BuildKit does: nothing
    /// of such a stage is carried out, be it the target.
    #[must_use]
    pub fn with_contexts(&self, mut dockerfile: Dockerfile) -> Dockerfile {
        for stage in &mut dockerfile.stages {
            if let Some(name) = stage.name.as_ref().filter(|name| self.context(name).is_some()) {
                stage.base.clone_from(name);
                stage.statements.clear();
            }
        }
        dockerfile
    }

    /// The platform that a stage is for.
    pub fn platform(&self, stage: &Stage) -> Result<Platform, Problem> {
        let Some(written) = &stage.platform else { return Ok(self.target.clone()) };
        let text = self.expanded(written, &stage.position)?;
        if text.is_empty() {
            return Ok(self.target.clone());
        }
        text.parse().map_err(|_error: PlatformError| {
            let message = format!("{text:?} is not a platform");
            stage.position.problem(message).hint(
                "a platform is os/architecture or os/architecture/variant, such as linux/arm64",
            )
        })
    }

    /// Resolves the value of `--from` or `from=` in a stage, given by its number: a context, an earlier stage by
    /// name or number, or an image.
    pub fn origin(
        &self,
        from: &str,
        stage: usize,
        position: &Position,
    ) -> Result<CopyOrigin, Problem> {
        // BuildKit refuses it likewise: stages must be known before any value is.
        if from.contains('$') {
            let message =
                format!("the source {from} is a variable, which --from and from= do not allow");
            return Err(position
                .problem(message)
                .hint("name a stage for it: ARG before the first FROM, then FROM $… AS name"));
        }
        if let Some((name, _)) = self.context(from) {
            return Ok(CopyOrigin::Named(name.clone()));
        }
        let later = || {
            let message =
                format!("stage {from} is not above this one: files come from stages above");
            position.problem(message).hint("put its FROM before this stage")
        };
        let (above, rest) = self.stages.split_at(stage.min(self.stages.len()));
        let called = |known: &Option<String>| is_called(known.as_ref(), from);
        if let Some(number) = above.iter().rposition(called) {
            return Ok(CopyOrigin::Stage(number));
        }
        if rest.iter().any(called) {
            return Err(later());
        }
        let Ok(number) = from.parse::<usize>() else {
            return Ok(CopyOrigin::Image(from.to_owned()));
        };
        match above.get(number) {
            // Whatever it is called by.
            Some(Some(name)) if self.context(name).is_some() => self.origin(name, stage, position),
            Some(_) => Ok(CopyOrigin::Stage(number)),
            None if number < self.stages.len() => Err(later()),
            None => {
                let last = self.stages.len() - 1;
                Err(position.problem(format!("there is no stage {from}: the last one is {last}")))
            }
        }
    }
}

/// Refuses an ARG whose expanded name is not a valid name.
pub(super) fn check_name(
    name: &str,
    argument: &ArgDeclaration,
    position: &Position,
) -> Result<(), Problem> {
    if name.is_empty() || name.contains(['=', '\0']) {
        let message = format!("the name of ARG {} comes to {name:?}", argument.name);
        return Err(position.problem(message));
    }
    Ok(())
}

fn is_called(known: Option<&String>, name: &str) -> bool {
    known.is_some_and(|known| known.eq_ignore_ascii_case(name))
}

/// The arguments that FROM may use, and stages may declare, without anybody having given them.
fn predefined(around: &DockerfileSurroundings, target: String) -> BTreeMap<String, String> {
    let mut values = BTreeMap::from([("TARGETSTAGE".to_owned(), target)]);
    for (prefix, platform) in
        [("BUILD", &around.build_platform), ("TARGET", &around.target_platform)]
    {
        let platform = platform.normalized();
        let mut put = |name: &str, value: String| values.insert(format!("{prefix}{name}"), value);
        put("PLATFORM", platform.to_string());
        put("OS", platform.os.clone());
        put("ARCH", platform.architecture.clone());
        put("VARIANT", platform.variant.clone().unwrap_or_default());
    }
    values
}
