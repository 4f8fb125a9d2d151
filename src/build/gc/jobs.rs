//! Files of jobs for other machines, which the home keeps for the next one that needs them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::search::{GarbageSearch, entries, is_folder, is_hex, name};
use super::{GarbageKind, GcError};
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::runner::home::REMOTE_JOB_ABANDONED;

impl GarbageSearch<'_> {
    /// Searches files that no job shares now, and jobs that killed runs left. A file that is removed is made again.
    pub(super) fn job_files(&mut self) -> Result<(), GcError> {
        for file in entries(&self.home.remote_jobs().join("pool"))? {
            // A job that is under way has another name for the file.
            let Some((used, 1)) = changed(&file).filter(|_data| is_hex(&name(&file), 64)) else {
                continue;
            };
            let bytes = self.measure(&file)?;
            self.add(GarbageKind::Job, vec![file], bytes, used, !self.is_young(used));
        }
        for job in entries(&self.home.remote_jobs().join("jobs"))? {
            let Some((used, _)) = changed(&job).filter(|_data| is_folder(&job)) else { continue };
            let is_over = used.elapsed().is_ok_and(|age| age > REMOTE_JOB_ABANDONED);
            if name(&job).starts_with(TEMPORARY_PREFIX) && is_over && !self.is_young(used) {
                let bytes = self.measure(&job)?;
                self.add(GarbageKind::Job, vec![job], bytes, used, true);
            }
        }
        Ok(())
    }
}

/// Time of the last change of a file, which a name that is added or removed is, too (inode(7)), and the number of
/// its names.
fn changed(path: &Path) -> Option<(SystemTime, u64)> {
    let data = fs_err::symlink_metadata(path).ok()?;
    let since = Duration::from_secs(u64::try_from(data.ctime()).ok()?);
    Some((UNIX_EPOCH + since, data.nlink()))
}
