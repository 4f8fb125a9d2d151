//! Removal, measurement and copies of folders whose files belong to the ids of a namespace.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::atomic::{TEMPORARY_PREFIX, Unswept};
use crate::base::removal::remove_all_closed;
use crate::container::copy::merge_layer;
use crate::container::idmap::IdMap;
use crate::container::namespace::Network;
use crate::container::view::View;
use crate::runner::job::{Job, JobFailure, Performed};
use crate::runner::measure::Meter;
use crate::runner::workspace;

/// Entries of a folder whose files were made in an id map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveEntries {
    /// Id map in which the files were made.
    pub map: IdMap,
    /// Folder of the entries.
    pub folder: PathBuf,
    /// Empty folder for the helper's view.
    pub view: PathBuf,
    /// Names of the entries.
    pub names: Vec<String>,
}

impl RemoveEntries {
    /// Becomes root in the map, and shows the folder as input 0 of the view.
    fn enter(&self) -> Result<View, JobFailure> {
        let is_plain =
            |name: &String| !name.is_empty() && name != "." && name != ".." && !name.contains('/');
        // The helper has rights over all ids of the map: a name must not lead out of the folder.
        if !self.names.iter().all(is_plain) {
            return Err(JobFailure::new("the helper was asked for an entry with an invalid name"));
        }
        let folders = std::slice::from_ref(&self.folder);
        workspace::enter(&self.map, &self.view, folders, Network::None)
    }
}

/// Job that removes entries with their contents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveJob(pub RemoveEntries);

impl Job for RemoveJob {
    const KIND: &'static str = "remove";
    type Answer = ();

    fn perform(&self) -> Performed<'_, ()> {
        let remove = || {
            let folder = self.0.enter()?.input(0);
            let mut unswept = Unswept::default();
            for name in &self.0.names {
                let path = folder.join(name);
                let doomed = folder.join(format!("{TEMPORARY_PREFIX}{name}"));
                // Of an earlier removal that was killed: a rename replaces no folder with entries (ENOTEMPTY).
                unswept.note(remove_all_closed(&doomed));
                // A kill in the middle leaves nothing half-removed under a name that counts.
                let doomed = if fs_err::rename(&path, &doomed).is_ok() { doomed } else { path };
                unswept.note(remove_all_closed(&doomed));
            }
            unswept.first().map_err(JobFailure::of)
        };
        remove().into()
    }
}

/// Job that measures the disk space of entries, in bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeasureJob(pub RemoveEntries);

impl Job for MeasureJob {
    const KIND: &'static str = "measure";
    type Answer = u64;

    fn perform(&self) -> Performed<'_, u64> {
        let measure = || {
            let folder = self.0.enter()?.input(0);
            let mut meter = Meter::default();
            let usages = self.0.names.iter().map(|name| meter.measure(&folder.join(name)));
            Ok(usages.map(|usage| usage.bytes).sum())
        };
        measure().into()
    }
}

/// Job that copies a folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyJob {
    /// Id map in which the files were made.
    pub map: IdMap,
    /// Folder to copy.
    pub from: PathBuf,
    /// Target of its contents: an empty folder of the container's root.
    pub to: PathBuf,
    /// Empty folder for the helper's view.
    pub view: PathBuf,
}

impl Job for CopyJob {
    const KIND: &'static str = "copy";
    type Answer = ();

    fn perform(&self) -> Performed<'_, ()> {
        let copy = || {
            let folders = [self.from.clone(), self.to.clone()];
            let view = workspace::enter(&self.map, &self.view, &folders, Network::None)?;
            merge_layer(&view.input(0), &view.input(1)).map_err(JobFailure::of)
        };
        copy().into()
    }
}
