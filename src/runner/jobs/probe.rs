//! Detection of the machine's abilities, from inside the namespaces of an id map.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::idmap::IdMap;
use crate::container::machine::{self, Machine, Probed};
use crate::container::namespace::Network;
use crate::container::rehearsal::rehearse;
use crate::runner::job::{Job, JobFailure, Performed};
use crate::runner::workspace;

/// Job that tries an id map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeJob {
    /// Id map to try.
    pub map: IdMap,
    /// Empty scratch folder.
    pub scratch: PathBuf,
    /// Empty folder for the helper's view.
    pub view: PathBuf,
}

impl Job for ProbeJob {
    const KIND: &'static str = "probe";
    type Answer = Probed;

    fn perform(&self) -> Performed<'_, Probed> {
        let probe = || {
            let folders = std::slice::from_ref(&self.scratch);
            let view = workspace::enter(&self.map, &self.view, folders, Network::None)?;
            let found = machine::probe(view.path(), &view.input(0)).map_err(JobFailure::of)?;
            if !found.is_plain() {
                let Probed { conditions, root } = found.clone();
                let machine = Machine { map: self.map.clone(), conditions, root };
                rehearse(&view, &view.input(0), &machine).map_err(|error| {
                    let hint = error.remedy().map(str::to_owned);
                    JobFailure { hint, ..JobFailure::of(error) }
                })?;
            }
            Ok(found)
        };
        probe().into()
    }
}
