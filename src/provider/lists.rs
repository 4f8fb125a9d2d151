//! Lists and mappings on the right side of an assignment of a shell, found when a provider is read.
//!
//! Of a list, an assignment would take the first word, and the second would be run. A value is looked at
//! again when it is rendered; here the plain mistake is told before anybody deploys.

use super::argument::ArgumentType;
use super::error::ProviderError;
use super::folder::file_error;
use super::kind::TextKind;
use super::model::Provider;
use super::names::is_reserved_list;
use super::shell::assigned;
use crate::package::Problem;

impl Provider {
    /// Refuses lines `NAME={{ list }}` in all templates that give a shell's text.
    pub(super) fn check_lists(&self) -> Result<(), ProviderError> {
        let outputs =
            self.outputs.iter().chain(&self.pages).map(|output| (&output.template, output.kind));
        let files = self.packages.iter().flat_map(|package| &package.files);
        let used: Vec<_> = outputs.chain(files.map(|file| (&file.template, file.kind))).collect();
        let is_shell = |kind: TextKind| matches!(kind, TextKind::Shell | TextKind::Env);
        for (name, file) in self.templates.iter() {
            let is_used = used.iter().any(|(other, kind)| *other == name && is_shell(*kind));
            if !is_used && !is_shell(TextKind::of_file(name)) {
                continue;
            }
            let mut start = 0;
            for line in file.text.split_inclusive('\n') {
                if let Some((value, kind)) = self.assigned_list(line) {
                    let message = format!(
                        "{value} is a {kind}, of which an assignment would take the first word and run the second"
                    );
                    let hint = match kind {
                        "list" => format!(
                            "take a line set -- {{{{ {value} }}}}, or one text: {{{{ {value} | join(\",\") }}}}"
                        ),
                        _ => format!("take one text: {{{{ {value} | tojson }}}}"),
                    };
                    let at = start + line.find(value).unwrap_or_default();
                    return Err(file_error(Problem::at(at, message).hint(hint), file));
                }
                start += line.len();
            }
        }
        Ok(())
    }

    /// Name and type of a list or mapping that a line assigns as it is.
    fn assigned_list<'l>(&self, line: &'l str) -> Option<(&'l str, &'static str)> {
        let (_, right) = assigned(line.trim())?;
        let inner = right.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let name = inner.trim_matches(['-', '+', ' ']);
        let argument = self.arguments.iter().find(|argument| argument.name == name);
        match argument.map(|argument| &argument.kind) {
            Some(ArgumentType::List) => Some((name, "list")),
            Some(ArgumentType::Map) => Some((name, "mapping")),
            Some(_) => None,
            None => is_reserved_list(name).then_some((name, "list")),
        }
    }
}
