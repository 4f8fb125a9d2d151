//! A build's scratch folder, and how it goes away again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::job::{Answer, BuildJob, CopyJob, Job, RemoveJob};
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::removal::remove_all;
use crate::container::cgroup::Cgroup;
use crate::container::helper::{self, Finishing, HelperError, Interrupt};
use crate::container::idmap::IdMap;

/// How often, and how long apart, a scratch folder is removed that others still write into: a
/// helper that is killed may be gone before all that it started is.
const ATTEMPTS: u32 = 20;
const APART: Duration = Duration::from_millis(25);

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
    /// Where helpers mount their views.
    view: PathBuf,
    pub(super) path: PathBuf,
}

impl ScratchFolder {
    pub(super) fn create(run: &Path, view: &Path, job: &BuildJob) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix("build-").tempdir_in(run)?.keep();
        let folder = Self { map: job.machine.map.clone(), view: view.to_owned(), path };
        folder.give_to_container_root(&folder.path)?;
        Ok(folder)
    }

    /// As real root, a folder goes to the id that containers have as root.
    fn give_to_container_root(&self, folder: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let (uid, gid) = self.map.root();
        if uid != nix::unistd::Uid::current().as_raw() {
            std::os::unix::fs::chown(folder, Some(uid), Some(gid))?;
        }
        fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
    }

    /// Moves `src` and `result` to where a person looks for them.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        let remove = |path: &Path| {
            // Files of an earlier build may be ones that only a container's root can remove.
            remove_as_container(&self.map, path, &self.view, &Arc::default())
                .map_err(io::Error::other)
        };
        for name in ["src", "result"] {
            let (made, target) = (self.path.join(name), folder.join(name));
            remove(&target)?;
            match fs_err::rename(&made, &target) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                renamed => {
                    renamed?;
                    continue;
                }
            }
            // Under a name that says that it isn't whole, until it is.
            let copy = folder.join(format!("{TEMPORARY_PREFIX}{name}"));
            remove(&copy)?;
            fs_err::create_dir(&copy)?;
            self.give_to_container_root(&copy)?;
            let copied = self.copy(&made, &copy).and_then(|()| fs_err::rename(&copy, &target));
            if copied.is_err() {
                drop(remove(&copy));
            }
            copied?;
        }
        Ok(())
    }

    /// Copies a folder to another filesystem: its files may be ones that the caller can't read.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let job = Job::Copy(CopyJob {
            map: self.map.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
            view: self.view.clone(),
        });
        let heard = helper::run_once(&self.map, &job, &Arc::default(), |answer| match answer {
            Answer::Copied => Some(Ok(())),
            Answer::Failed(failure) => Some(Err(failure.message)),
            _ => None,
        });
        heard.map_err(io::Error::other)?.map_err(io::Error::other)
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // A helper that came to its end left it empty.
        if fs_err::remove_dir(&self.path).is_ok() {
            return;
        }
        for _attempt in 0..ATTEMPTS {
            if remove_as_container(&self.map, &self.path, &self.view, &Arc::default()).is_ok() {
                return;
            }
            // What can't be removed at all is swept by a later run.
            std::thread::sleep(APART);
        }
    }
}

/// Removes a scratch folder whose files may belong to a namespace's ids. `view` is an empty folder
/// elsewhere.
pub fn remove_as_container(
    map: &IdMap,
    folder: &Path,
    view: &Path,
    interrupt: &Arc<Interrupt>,
) -> Result<(), HelperError> {
    // Often the caller may do it alone.
    match remove_all(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(parent), Some(own_name)) = (folder.parent(), name(folder)) else { return Ok(()) };
    let whole = RemoveJob {
        map: map.clone(),
        folder: parent.to_owned(),
        view: view.to_owned(),
        names: vec![own_name],
    };
    let mut failed = None;
    let removed = helper::run_once(map, &Job::Remove(whole), interrupt, |answer| match answer {
        Answer::Removed => Some(()),
        Answer::Failed(failure) => {
            failed = Some(failure.message);
            None
        }
        _ => None,
    });
    removed.map_err(|error| match failed {
        Some(said) => {
            HelperError::Died { ending: "it could not remove a scratch folder".to_owned(), said }
        }
        None => error,
    })
}
