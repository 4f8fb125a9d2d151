//! Flags of instructions, with the kinds of their values.

use crate::base::suggestion::among;

/// Unparsed flags of an instruction, taken one by one.
#[derive(Debug)]
pub(super) struct InstructionFlags {
    keyword: &'static str,
    given: Vec<(String, Option<String>)>,
}

/// A wrong flag: its name, its text, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FlagError {
    pub(super) flag: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl InstructionFlags {
    /// Checks that all flags are known, and that flags with a single value occur once.
    pub(super) fn new(
        keyword: &'static str,
        written: Vec<String>,
        once: &[&str],
        often: &[&str],
    ) -> Result<Self, FlagError> {
        let mut given: Vec<(String, Option<String>)> = Vec::with_capacity(written.len());
        for flag in written {
            let body = flag.trim_start_matches("--");
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (body.to_owned(), None),
            };
            let error =
                |message: String| FlagError { flag: format!("--{name}"), message, hint: None };
            if !once.contains(&&*name) && !often.contains(&&*name) {
                let known: Vec<String> =
                    once.iter().chain(often).map(|known| format!("--{known}")).collect();
                let typed = format!("--{name}");
                let hint = if known.is_empty() {
                    format!("{keyword} has no flags; what begins with -- can be in [\"…\"]")
                } else {
                    let plural = format!("flags of {keyword}");
                    among(&typed, &plural, known.iter().map(String::as_str))
                };
                let message = format!("{keyword} has no flag --{name}");
                return Err(FlagError { hint: Some(hint), ..error(message) });
            }
            if once.contains(&&*name) && given.iter().any(|(known, _)| *known == name) {
                return Err(error(format!("--{name} is given twice")));
            }
            given.push((name, value));
        }
        Ok(Self { keyword, given })
    }

    /// The value of a flag.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, FlagError> {
        Ok(self.texts(name)?.pop())
    }

    /// The values of a flag that may be there several times.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, FlagError> {
        let mut values = Vec::new();
        for (known, value) in &self.given {
            if known == name {
                values.push(value.clone().ok_or_else(|| {
                    self.wrong(name, format!("--{name} of {} has no value", self.keyword))
                })?);
            }
        }
        Ok(values)
    }

    /// Value of a boolean flag; `None` if absent.
    pub(super) fn switch(&mut self, name: &str) -> Result<Option<bool>, FlagError> {
        let Some((_, value)) = self.given.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        match value.as_deref() {
            None | Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                Err(self.wrong(name, format!("--{name}={other} is neither true nor false")))
            }
        }
    }

    /// An error about one of the flags.
    #[expect(clippy::unused_self, reason = "errors are the flags' own")]
    pub(super) fn wrong(&self, name: &str, message: String) -> FlagError {
        FlagError { flag: format!("--{name}"), message, hint: None }
    }
}
