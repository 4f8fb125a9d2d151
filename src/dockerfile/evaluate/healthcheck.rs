//! HEALTHCHECK, an extension of Docker's, which other builders keep too.

use super::config::HealthDocument;
use super::{Applied, StageState};
use crate::dockerfile::model::{CommandForm, Healthcheck};

impl StageState {
    pub(super) fn set_healthcheck(&mut self, check: &Healthcheck) -> Applied {
        let document = match check {
            Healthcheck::None => {
                HealthDocument { test: vec!["NONE".to_owned()], ..HealthDocument::default() }
            }
            Healthcheck::Check {
                command,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            } => HealthDocument {
                test: words(command),
                interval: *interval,
                timeout: *timeout,
                start_period: *start_period,
                start_interval: *start_interval,
                retries: u64::from(*retries),
            },
        };
        let shown = format!("HEALTHCHECK {:?}", document.test);
        self.document.config.healthcheck = Some(document);
        Applied::nothing(shown)
    }
}

/// Words of a check. The shell form stays unresolved, since the runtime uses the container's SHELL.
fn words(command: &CommandForm) -> Vec<String> {
    match command {
        CommandForm::Exec(words) => {
            std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
        }
        CommandForm::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
    }
}
