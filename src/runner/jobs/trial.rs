//! Trials of single features, from inside the namespaces of an id map.

use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use crate::container::idmap::IdMap;
use crate::container::namespace::Network;
use crate::container::seccomp::{self, table};
use crate::container::sys;
use crate::container::uplink::Uplink;
use crate::runner::job::{Job, JobFailure, Performed};
use crate::runner::workspace;

/// Job that connects a network namespace to the outside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UplinkJob {
    /// Id map of the namespaces.
    pub map: IdMap,
    /// Empty folder for the helper's view.
    pub view: PathBuf,
    /// Program to try.
    pub uplink: Uplink,
}

impl Job for UplinkJob {
    const KIND: &'static str = "uplink";
    type Answer = ();

    fn perform(&self) -> Performed<'_, ()> {
        let connect = || {
            let waiting = self.uplink.start(&self.map).map_err(JobFailure::of)?;
            workspace::enter(&self.map, &self.view, &[], Network::None)?;
            let connected = waiting.connect().map_err(|error| {
                let hint = error.hint().map(str::to_owned);
                JobFailure { hint, ..JobFailure::of(error) }
            });
            connected.map(drop)
        };
        connect().into()
    }
}

/// Job that installs the seccomp filters of builds in its own process, which ends after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FilterJob;

/// Answers of the kernel to filters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filters {
    /// Reason why the filter that refuses calls does not work, if so.
    pub refusing: Option<String>,
    /// Reason why the filter that asks a process outside cannot be installed, if so.
    pub recording: Option<String>,
}

impl Job for FilterJob {
    const KIND: &'static str = "filter";
    type Answer = Filters;

    fn perform(&self) -> Performed<'_, Filters> {
        // The descriptor stays open until the process ends: calls would fail without it.
        let recording = nix::sys::prctl::set_no_new_privs()
            .and_then(|()| sys::install_notifying_seccomp(&seccomp::build(&table::recorded())))
            .map(std::mem::forget);
        let recording = recording.err().map(|errno| errno.to_string());
        Ok(Filters { refusing: refusing().err(), recording }).into()
    }
}

/// Installs the filter that refuses calls, and makes such a call.
fn refusing() -> Result<(), String> {
    sys::install_seccomp(&seccomp::build(&table::refused())).map_err(|errno| errno.to_string())?;
    match nix::sched::unshare(CloneFlags::CLONE_NEWUSER) {
        Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(format!("a call that the filter refuses was answered with {errno}")),
        Ok(()) => Err("a call that the filter refuses was let through".to_owned()),
    }
}
