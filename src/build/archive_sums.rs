//! Sums of the archives of a run's packages, each found out once: a build gives that of its own, all
//! others are read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::job::Dependency;
use crate::archive::ArchiveLimits;
use crate::base::digest::Sha256Sum;
use crate::container::helper::Interrupt;

/// SHA-256 sums of archives, by their paths.
#[derive(Debug, Default)]
pub struct ArchiveSums(Mutex<BTreeMap<PathBuf, Sha256Sum>>);

impl ArchiveSums {
    /// Notes the sums that dependencies come with; the helper checks each before it unpacks the archive.
    pub fn of(dependencies: &[Dependency]) -> Self {
        let sum = |needed: &Dependency| Some((needed.archive.clone(), needed.sha256.clone()?));
        Self(Mutex::new(dependencies.iter().filter_map(sum).collect()))
    }

    /// Notes the sum of an archive that was written.
    pub fn note(&self, archive: &Path, sum: Sha256Sum) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.insert(archive.to_owned(), sum);
    }

    /// Sets the sums of dependencies. Archives are read without the lock: two builds that begin at once
    /// may both read one. An interrupted run ends with an error.
    pub fn fill(
        &self,
        dependencies: &mut [Dependency],
        limits: &ArchiveLimits,
        interrupt: &Interrupt,
    ) -> io::Result<()> {
        for needed in dependencies {
            let known = || {
                let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                sums.get(&needed.archive).cloned()
            };
            let sum = if let Some(sum) = known() {
                sum
            } else {
                // Without the lock: reading takes seconds, and a second reading of one file costs
                // less than waiting for all others.
                let sum = Sha256Sum::of_file_within(&needed.archive, limits.max_bytes, || {
                    interrupt.is_raised()
                })?;
                self.note(&needed.archive, sum.clone());
                sum
            };
            needed.sha256 = Some(sum);
        }
        Ok(())
    }
}
