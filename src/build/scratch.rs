//! A build's scratch folder, and how it goes away again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::job::{Answer, BuildJob, Job, RemoveJob};
use crate::container::cgroup::Cgroup;
use crate::container::helper::{Finishing, HelperError, HelperPlace, Interrupt};
use crate::container::idmap::IdMap;

/// What a build that is done still has to clear up: dropping it waits for the job's process, which
/// removes what it wrote, and then removes the cgroup and the scratch folder. Meanwhile the next build
/// can begin.
#[derive(Debug)]
pub struct Leftovers {
    // In the order in which they have to go.
    pub(super) process: Finishing,
    pub(super) _cgroup: Option<Cgroup>,
    pub(super) _scratch: ScratchFolder,
}

impl Leftovers {
    /// Whether dropping it would be no waiting.
    pub(super) fn are_cleared(&self) -> bool {
        self.process.is_done()
    }
}

/// A helper's scratch folder, removed when it is dropped, by a helper if need be.
#[derive(Debug)]
pub(super) struct ScratchFolder {
    map: IdMap,
    pub(super) path: PathBuf,
}

impl ScratchFolder {
    pub(super) fn create(run: &Path, job: &BuildJob) -> std::io::Result<Self> {
        let path = tempfile::Builder::new().prefix("build-").tempdir_in(run)?.keep();
        let folder = Self { map: job.machine.map.clone(), path };
        folder.give_to_container_root()?;
        Ok(folder)
    }

    /// As real root, the folder goes to the id that containers have as root.
    fn give_to_container_root(&self) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let (uid, gid) = self.map.root();
        if uid != nix::unistd::Uid::current().as_raw() {
            std::os::unix::fs::chown(&self.path, Some(uid), Some(gid))?;
        }
        fs_err::set_permissions(&self.path, std::fs::Permissions::from_mode(0o755))
    }

    /// Moves `src` and `result` to where a person looks for them.
    pub(super) fn keep(&self, folder: &Path) -> std::io::Result<()> {
        for name in ["src", "result"] {
            let target = folder.join(name);
            // Files of an earlier build may be ones that only a container's root can remove.
            remove_as_container(&self.map, &target, &Arc::default())
                .map_err(std::io::Error::other)?;
            fs_err::rename(self.path.join(name), target)?;
        }
        Ok(())
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // A helper that came to its end left it empty.
        if fs_err::remove_dir(&self.path).is_ok() {
            return;
        }
        // What can't be removed now is swept by a later run.
        drop(remove_as_container(&self.map, &self.path, &Arc::default()));
    }
}

/// Removes a scratch folder whose files may belong to a namespace's ids.
pub fn remove_as_container(
    map: &IdMap,
    folder: &Path,
    interrupt: &Arc<Interrupt>,
) -> Result<(), HelperError> {
    // Often the caller may do it alone.
    match fs_err::remove_dir_all(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let start = |source| HelperError::Start { source };
    let view = tempfile::Builder::new().prefix("mkpanda-view-").tempdir().map_err(start)?;
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(parent), Some(own_name)) = (folder.parent(), name(folder)) else { return Ok(()) };
    let whole = RemoveJob {
        map: map.clone(),
        folder: parent.to_owned(),
        view: view.path().to_owned(),
        names: vec![own_name],
    };
    let mut failed = None;
    let mut place = HelperPlace::new(map.clone(), interrupt);
    let removed = place.run(&Job::Remove(whole), None, |answer| match answer {
        Answer::Removed => Some(()),
        Answer::Failed(failure) => {
            failed = Some(failure.message);
            None
        }
        _ => None,
    });
    removed.map(drop).map_err(|error| match failed {
        Some(said) => {
            HelperError::Died { ending: "it could not remove a scratch folder".to_owned(), said }
        }
        None => error,
    })
}
