//! Evaluation of a stage's instructions, one by one, to [`LayerStep`]s and the image's configuration.
//! Pure: no process is run and no file is read.
//!
//! # Variables
//!
//! A word of an instruction is expanded with the variables before the instruction: ENV of the stage
//! and of its base first, then ARGs declared in the stage or in a base stage. A declared ARG has
//! the given value, else its default, else the value from before the first FROM, else none. Proxies
//! are available to RUN without a declaration, and only there.

mod config;
mod healthcheck;
mod metadata;
mod mounts;
mod paths;
mod run;
mod transfer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::scope::check_name;
pub use super::scope::{Base, Scope};
pub use config::{ConfigDocument, Execution, HealthDocument, History};

use super::expand::{ExpandError, Expander, expand, expand_words};
use super::graph::{self, PlannedStage, Triggers};
use super::model::{ArgDeclaration, Dockerfile, Instruction, PlacedInstruction, Position};
use super::options::DockerfileSurroundings;
use super::step::{CopyOrigin, CopySource, CopyStep, FolderStep, LayerStep, Unpack};
use super::syntax;
use crate::image::digest::DiffId;
use crate::image::platform::Platform;
use crate::package::Problem;

/// Default PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Result of a stage, as a base for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluatedStage {
    /// The image's configuration.
    pub document: ConfigDocument,
    /// Arguments inherited by stages on top.
    arguments: BTreeMap<String, Option<String>>,
}

impl EvaluatedStage {
    /// An image that wasn't made of a stage.
    pub fn of_image(document: ConfigDocument) -> Self {
        Self { document, arguments: BTreeMap::new() }
    }

    /// Result of `scratch`, or of a named context as a base. Other builders set PATH, too.
    pub fn scratch(platform: &Platform) -> Self {
        let mut document = ConfigDocument::scratch(platform);
        document.set_variable("PATH", DEFAULT_PATH);
        Self::of_image(document)
    }
}

/// A stage as far as its instructions have been evaluated.
#[derive(Debug, Clone)]
pub struct StageState {
    scope: Scope,
    number: usize,
    document: ConfigDocument,
    /// Declared arguments; `None` has no value.
    arguments: BTreeMap<String, Option<String>>,
    /// Triggers of the base, to be run first.
    triggers: Vec<String>,
    /// True if this stage itself, not its base, set CMD.
    has_cmd: bool,
}

/// Result of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// File changes.
    pub step: Option<LayerStep>,
    /// Text of the history record.
    pub created_by: String,
}

impl StageState {
    /// Starts a stage from the result of its base.
    pub fn new(scope: &Scope, planned: &PlannedStage, base: EvaluatedStage) -> Self {
        let EvaluatedStage { mut document, arguments } = base;
        // Taken out: triggers are carried out in the image that is built on this one, and not in
        // those built on that.
        let triggers = std::mem::take(&mut document.config.on_build);
        if document.os.is_empty() {
            document.os.clone_from(&planned.platform.os);
        }
        if document.architecture.is_empty() {
            document.architecture.clone_from(&planned.platform.architecture);
            document.variant.clone_from(&planned.platform.variant);
        }
        document.complete_history();
        let scope = scope.clone();
        Self { scope, number: planned.number, document, arguments, triggers, has_cmd: false }
    }

    /// The statements to apply, in order: first the triggers of the base.
    pub fn statements(&self, dockerfile: &Dockerfile) -> Result<Vec<PlacedInstruction>, Problem> {
        let triggers = self.triggers.iter().map(|text| syntax::parse_trigger(text));
        let own = dockerfile.stages[self.number].statements.iter().cloned();
        triggers.chain(own.map(Ok)).collect()
    }

    /// The configuration as it is by now.
    pub fn document(&self) -> &ConfigDocument {
        &self.document
    }

    /// Evaluates an instruction.
    pub fn apply(&mut self, statement: &PlacedInstruction) -> Result<Applied, Problem> {
        let position = &statement.position;
        match &statement.instruction {
            Instruction::Arg(arguments) => self.declare(arguments, position),
            Instruction::Env(pairs) => self.set_environment(pairs, position),
            Instruction::Label(pairs) => self.set_labels(pairs, position),
            Instruction::Run(run) => self.run(run, position),
            Instruction::Copy(transfer) => self.transfer(transfer, position, false),
            Instruction::Add(transfer) => self.transfer(transfer, position, true),
            Instruction::Workdir(path) => self.enter(path, position),
            Instruction::User(user) => self.set_user(user, position),
            Instruction::Expose(ports) => self.expose(ports, position),
            Instruction::Volume(paths) => self.add_volumes(paths, position),
            Instruction::Stopsignal(signal) => self.set_stop_signal(signal, position),
            Instruction::Cmd(command) => Ok(self.set_cmd(command)),
            Instruction::Entrypoint(command) => Ok(self.set_entrypoint(command)),
            Instruction::Shell(words) => Ok(self.set_shell(words)),
            Instruction::Healthcheck(check) => Ok(self.set_healthcheck(check)),
            Instruction::Maintainer(name) => Ok(self.set_maintainer(name)),
            Instruction::Onbuild(trigger) => {
                self.document.config.on_build.push(trigger.text.clone());
                Ok(Applied::nothing(format!("ONBUILD {}", trigger.text)))
            }
        }
    }

    /// Adds a history record for an instruction, with its layer, if any.
    pub fn record(&mut self, applied: &Applied, layer: Option<DiffId>) {
        self.document.history.push(History {
            created: Some(self.scope.created.clone()),
            created_by: Some(applied.created_by.clone()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        self.document.rootfs.diff_ids.extend(layer);
    }

    /// Sets the platform of the image, whatever the platform of its base.
    pub fn set_platform(&mut self, platform: &Platform) {
        self.document.os.clone_from(&platform.os);
        self.document.architecture.clone_from(&platform.architecture);
        self.document.variant.clone_from(&platform.variant);
    }

    /// Ends the stage.
    pub fn finish(mut self) -> EvaluatedStage {
        self.document.created = Some(self.scope.created);
        EvaluatedStage { document: self.document, arguments: self.arguments }
    }

    fn declare(
        &mut self,
        declared: &[ArgDeclaration],
        position: &Position,
    ) -> Result<Applied, Problem> {
        let mut shown = String::from("ARG");
        for argument in declared {
            let name = self.expanded(&argument.name, position)?;
            check_name(&name, argument, position)?;
            let value = match (self.scope.given.get(&name), &argument.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expanded(default, position)?),
                (None, None) => self.scope.globals.get(&name).cloned(),
            };
            shown.push(' ');
            shown.push_str(&name);
            if let Some(value) = &value {
                shown.push('=');
                shown.push_str(value);
            }
            // Declared again without a value, an argument keeps the value that it has.
            match value {
                Some(value) => drop(self.arguments.insert(name, Some(value))),
                None => drop(self.arguments.entry(name).or_insert(None)),
            }
        }
        Ok(Applied::nothing(shown))
    }

    fn lookup(&self, name: &str) -> Option<String> {
        let set = self.document.variable(name).map(str::to_owned);
        set.or_else(|| self.arguments.get(name).cloned().flatten())
    }

    fn expanded(&self, text: &str, position: &Position) -> Result<String, Problem> {
        self.with_lookup(|expander| expand(text, expander), position)
    }

    fn expanded_words(&self, text: &str, position: &Position) -> Result<Vec<String>, Problem> {
        self.with_lookup(|expander| expand_words(text, expander), position)
    }

    fn with_lookup<T>(
        &self,
        expand: impl FnOnce(&Expander<'_>) -> Result<T, ExpandError>,
        position: &Position,
    ) -> Result<T, Problem> {
        let lookup = |name: &str| self.lookup(name);
        expand(&Expander::new(self.scope.escape, &lookup))
            .map_err(|error| position.problem(error.0))
    }

    fn enter(&mut self, path: &str, position: &Position) -> Result<Applied, Problem> {
        let path = self.expanded(path, position)?;
        if path.is_empty() {
            return Err(position.problem("WORKDIR has no folder: it is empty"));
        }
        let path = paths::joined(&self.workdir(), &path);
        self.document.config.working_dir.clone_from(&path);
        let user = self.document.config.user.clone();
        let step =
            (path != "/").then(|| LayerStep::Folder(FolderStep { path: path.clone(), user }));
        Ok(Applied { step, created_by: format!("WORKDIR {path}") })
    }

    /// Working directory of commands, absolute.
    fn workdir(&self) -> String {
        paths::joined("/", &self.document.config.working_dir)
    }
}

impl Applied {
    /// Step that copies a named context completely: the start of a stage whose FROM names the
    /// context.
    pub fn whole_context(name: &str) -> Self {
        let step = CopyStep {
            from: CopyOrigin::Named(name.to_owned()),
            sources: vec![CopySource::Path(".".to_owned())],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: Unpack::Nothing,
        };
        Self { step: Some(LayerStep::Copy(step)), created_by: format!("FROM {name}") }
    }

    /// An instruction that does nothing to files.
    fn nothing(created_by: String) -> Self {
        Self { step: None, created_by }
    }
}

/// Evaluates all stages of a Dockerfile as if every image were empty, to find all problems that do
/// not depend on images or files. Each step is passed to `see`.
pub fn check(
    text: &str,
    around: &DockerfileSurroundings,
    see: &mut dyn FnMut(&LayerStep),
) -> Result<Vec<EvaluatedStage>, Problem> {
    let dockerfile = Dockerfile::parse(text)?;
    let scope = Scope::of(&dockerfile, around)?;
    let mut finished: BTreeMap<usize, EvaluatedStage> = BTreeMap::new();
    for stage in &dockerfile.stages {
        let plan =
            graph::plan(&dockerfile, &scope, Some(&stage.number.to_string()), &Triggers::new())?;
        let Some(planned) = plan.stages.last() else { continue };
        let base = match planned.base {
            Base::Stage(number) => finished.get(&number).cloned(),
            _ => None,
        };
        let base = base.unwrap_or_else(|| EvaluatedStage::scratch(&planned.platform));
        let mut state = StageState::new(&scope, planned, base);
        for statement in state.statements(&dockerfile)? {
            let applied = state.apply(&statement)?;
            applied.step.iter().for_each(&mut *see);
            state.record(&applied, None);
        }
        finished.insert(stage.number, state.finish());
    }
    Ok(finished.into_values().collect())
}
