//! Records of builds and of bootstraps.

use std::collections::BTreeSet;

use super::search::{GarbageSearch, entries, is_folder, is_hex, name, written};
use super::{GarbageKind, GcError};
use crate::package::PackageId;
use crate::runner::kept::{self, KeptFolder};

impl GarbageSearch<'_> {
    /// Records of builds go by their age alone, since nothing can make them again.
    pub(super) fn records(&mut self) -> Result<(), GcError> {
        if self.options.since.is_none() {
            return Ok(());
        }
        let needed: BTreeSet<String> =
            self.options.packages.iter().map(ToString::to_string).collect();
        for package in entries(&self.home.root().join("builds"))? {
            for build in entries(&package)? {
                if name(&build).parse::<PackageId>().is_err() || !is_folder(&build) {
                    continue;
                }
                let used = written(&build);
                if needed.contains(&name(&build)) || self.is_young(used) {
                    continue;
                }
                let bytes = self.measure(&build)?;
                self.add(GarbageKind::Record, vec![build], bytes, used, true);
            }
        }
        Ok(())
    }

    /// What failed builds left goes when its time is over.
    pub(super) fn failed(&mut self) -> Result<(), GcError> {
        for package in entries(&self.home.failed())? {
            for build in entries(&package)? {
                let Ok(id) = name(&build).parse::<PackageId>() else { continue };
                // Not held until the removal: a shell that begins meanwhile finds nothing.
                let Some(_held) = KeptFolder::hold(self.home, &id).map_err(GcError::Io)? else {
                    continue;
                };
                let goes = self.options.since.is_none() || kept::is_over(&build);
                let (bytes, used) = (self.measure(&build)?, written(&build));
                let lock = kept::lock_path(self.home, &id);
                self.add(GarbageKind::Failed, vec![build, lock], bytes, used, goes);
            }
        }
        Ok(())
    }

    /// Records of bootstraps go by their age, as those of builds do.
    pub(super) fn bootstrap_records(&mut self) -> Result<(), GcError> {
        if self.options.since.is_none() {
            return Ok(());
        }
        for record in entries(&self.home.bootstraps())? {
            let stem = record.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let is_ours = stem.is_some_and(|stem| is_hex(&stem, 64));
            let used = written(&record);
            if !is_ours || self.is_young(used) {
                continue;
            }
            let bytes = self.measure(&record)?;
            self.add(GarbageKind::Record, vec![record], bytes, used, true);
        }
        Ok(())
    }
}
