//! RUN.
//!
//! A RUN that consists of one here-document is a script: the shell gets the document as its line,
//! or, if the document begins with `#!`, runs it as a file. Any other line with here-documents goes
//! to the shell unchanged, with its documents.

use super::{Applied, DEFAULT_PATH, StageState};
use crate::dockerfile::model::{CommandForm, HereDocument, Position, Run};
use crate::dockerfile::scope::PROXIES;
use crate::dockerfile::step::{LayerStep, RunStep, StepDocument};
use crate::dockerfile::syntax::is_document;
use crate::image::config::{fault_of_environment, fault_of_working_dir};
use crate::package::Problem;

/// Path of a script's file for its command.
// The folder's name is BuildKit's, and scripts see it as `$0`.
const SCRIPTS: &str = "/dev/pipes";

impl StageState {
    pub(super) fn run(&mut self, run: &Run, position: &Position) -> Result<Applied, Problem> {
        let mut documents = Vec::new();
        let command = match (&run.command, &*run.documents) {
            (CommandForm::Shell(line), [script]) if is_document(line) => {
                let text = script.text();
                if text.starts_with("#!") {
                    let file = script_file(script, text, position)?;
                    let line = format!("{SCRIPTS}/{}", file.name);
                    documents.push(file);
                    self.in_shell(line)
                } else {
                    self.in_shell(text)
                }
            }
            // Unexpanded: here-documents of RUN are the shell's, with its own variables.
            (CommandForm::Shell(line), all) => self.in_shell(with_documents(line, all)),
            (exec @ CommandForm::Exec(_), _) => self.command_words(exec),
        };
        if command.iter().any(|word| word.contains('\0')) {
            return Err(position.problem("the command has a NUL byte inside"));
        }
        self.check_base(position)?;
        let mounts = self.mounts(&run.mounts, position)?;
        let created_by = format!("RUN {}{}", self.shown_arguments(), command.join(" "));
        let step = RunStep {
            command,
            documents,
            environment: self.environment(),
            proxies: self.proxies(),
            workdir: self.workdir(),
            user: self.document.config.user.clone(),
            mounts,
            network: run.network,
        };
        Ok(Applied { step: Some(LayerStep::Run(step)), created_by })
    }

    /// Refuses to run a command with values of a base image that no process can be given.
    fn check_base(&self, position: &Position) -> Result<(), Problem> {
        let config = &self.document.config;
        if let Some(fault) = fault_of_environment(&config.env) {
            return Err(position.problem(fault));
        }
        let Some(fault) = fault_of_working_dir(&config.working_dir) else { return Ok(()) };
        let named = self.workdir();
        let hint = format!("say where commands run by an instruction before: WORKDIR {named}");
        Err(position.problem(fault).hint(hint))
    }

    /// Variables of ENV, and the arguments that ENV does not override.
    fn environment(&self) -> Vec<(String, String)> {
        let pairs = self.document.config.env.iter().filter_map(|item| item.split_once('='));
        let mut environment: Vec<(String, String)> =
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for (name, value) in &self.arguments {
            if let Some(value) = value
                && self.document.variable(name).is_none()
            {
                environment.push((name.clone(), value.clone()));
            }
        }
        if !environment.iter().any(|(name, _)| name == "PATH") {
            environment.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
        }
        environment
    }

    /// Proxy arguments without a declaration.
    fn proxies(&self) -> Vec<(String, String)> {
        let hidden = |name: &str| {
            self.arguments.contains_key(name) || self.document.variable(name).is_some()
        };
        let names = PROXIES.iter().filter(|name| !hidden(name));
        let given = names.filter_map(|name| Some((*name, self.scope.given.get(*name)?)));
        given.map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }

    /// Arguments as shown in histories: `|2 A=1 B=2 `.
    fn shown_arguments(&self) -> String {
        if self.arguments.is_empty() {
            return String::new();
        }
        let shown = |(name, value): (&String, &Option<String>)| {
            let value = self.document.variable(name).or(value.as_deref());
            format!("{name}={}", value.unwrap_or_default())
        };
        let shown: Vec<String> = self.arguments.iter().map(shown).collect();
        format!("|{} {} ", shown.len(), shown.join(" "))
    }
}

fn script_file(
    script: &HereDocument,
    content: String,
    position: &Position,
) -> Result<StepDocument, Problem> {
    let name = script.name.clone();
    // The name becomes a file's, and must not lead elsewhere.
    if name.contains(['/', '\0']) || matches!(&*name, "." | "..") {
        return Err(position.problem(format!("the here-document {name:?} can't be a file's name")));
    }
    Ok(StepDocument { name, content })
}

fn with_documents(line: &str, documents: &[HereDocument]) -> String {
    documents.iter().fold(line.to_owned(), |line, document| {
        format!("{line}\n{}{}", document.content, document.name)
    })
}
