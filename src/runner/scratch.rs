//! Scratch folders of jobs, and their removal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::home::{Home, RunScratch};
use super::job::run_job_once;
use super::jobs::folders::{CopyJob, RemoveEntries, RemoveJob};
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::removal::remove_all;
use crate::container::cgroup::Cgroup;
use crate::container::cleaner;
use crate::container::helper::{EndingProcess, HelperError, Interrupt};
use crate::container::idmap::IdMap;

/// Number of attempts to remove a scratch folder, and the interval between them: processes of a killed
/// helper may outlive it, and write into the folder.
const ATTEMPTS: u32 = 20;
const INTERVAL: Duration = Duration::from_millis(25);

/// Process, cgroup and scratch folder of a job that has answered. Dropping the value waits for the
/// process, which removes its files, and then removes the rest. Meanwhile the next job can begin.
#[derive(Debug)]
pub struct Leftovers {
    // In the order in which they have to go.
    process: EndingProcess,
    _cgroup: Option<Cgroup>,
    scratch: ScratchDir,
}

impl Leftovers {
    pub(super) fn new(process: EndingProcess, cgroup: Option<Cgroup>, scratch: ScratchDir) -> Self {
        Self { process, _cgroup: cgroup, scratch }
    }

    /// True if dropping it does not wait.
    pub fn are_cleared(&self) -> bool {
        self.process.is_done()
    }

    /// Scratch folder of the job.
    pub fn scratch(&self) -> &ScratchDir {
        &self.scratch
    }
}

/// Folder for downloads and copies of inputs of a run, removed when it is dropped.
#[derive(Debug)]
pub struct InputsFolder(RunScratch);

impl InputsFolder {
    /// Makes the folder in a scratch folder of its own.
    pub fn create(home: &Home) -> io::Result<Self> {
        let run = home.start_run()?;
        fs_err::create_dir(run.folder().join(INPUTS))?;
        // Without a cleaner, a later run sweeps.
        drop(cleaner::spawn(&run.cleaning(None)));
        Ok(Self(run))
    }

    /// Path of the folder.
    pub fn path(&self) -> PathBuf {
        self.0.folder().join(INPUTS)
    }
}

impl Drop for InputsFolder {
    fn drop(&mut self) {
        // A later run sweeps what cannot be removed.
        drop(remove_all(&self.path()));
    }
}

/// Name of the folder of downloads and copies in a scratch folder.
pub(super) const INPUTS: &str = "inputs";

/// Scratch folder of a job, removed on drop, by a helper if necessary.
#[derive(Debug)]
pub struct ScratchDir {
    map: IdMap,
    view: PathBuf,
    path: PathBuf,
}

impl ScratchDir {
    pub(super) fn create(run: &Path, view: &Path, prefix: &str, map: &IdMap) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix(prefix).tempdir_in(run)?.keep();
        let folder = Self { map: map.clone(), view: view.to_owned(), path };
        give_to_container_root(map, &folder.path)?;
        Ok(folder)
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves entries, which the helper has closed to other users, to a folder where a person looks for them.
    pub fn keep(&self, names: &[&str], folder: &Path) -> io::Result<()> {
        let remove = |path: &Path| {
            // Files of an earlier build may be ones that only a container's root can remove.
            remove_as_container(&self.map, path, &self.view, &Arc::default())
                .map_err(io::Error::other)
        };
        for name in names {
            let (made, target) = (self.path.join(name), folder.join(name));
            remove(&target)?;
            if !is_closed(&made)? {
                let message = format!("{} is open to other users", made.display());
                return Err(io::Error::other(message));
            }
            match fs_err::rename(&made, &target) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                renamed => {
                    renamed?;
                    continue;
                }
            }
            // Under a temporary name until it is whole.
            let copy = folder.join(format!("{TEMPORARY_PREFIX}{name}"));
            remove(&copy)?;
            fs_err::create_dir(&copy)?;
            give_to_container_root(&self.map, &copy)?;
            // Before anything is in it.
            let closed = fs_err::set_permissions(&copy, closed_mode());
            let copied = closed
                .and_then(|()| self.copy(&made, &copy))
                .and_then(|()| fs_err::rename(&copy, &target));
            if copied.is_err() {
                drop(remove(&copy));
            }
            copied?;
        }
        Ok(())
    }

    /// Copies a folder to another filesystem. The caller may not be able to read its files.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let job = CopyJob {
            map: self.map.clone(),
            from: from.to_owned(),
            to: to.to_owned(),
            view: self.view.clone(),
        };
        let copied = run_job_once(&self.map, &job, &Arc::default()).map_err(io::Error::other)?;
        copied.map_err(|failure| io::Error::other(failure.message))
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A helper that came to its end left it empty.
        if fs_err::remove_dir(&self.path).is_ok() {
            return;
        }
        for _attempt in 0..ATTEMPTS {
            if remove_as_container(&self.map, &self.path, &self.view, &Arc::default()).is_ok() {
                return;
            }
            // A later run sweeps what cannot be removed at all.
            std::thread::sleep(INTERVAL);
        }
    }
}

fn closed_mode() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o700)
}

/// True if only the owner can enter a folder.
fn is_closed(folder: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs_err::symlink_metadata(folder)?.permissions().mode().trailing_zeros() >= 6)
}

/// Gives a folder to the id that is root in containers, which differs from the caller for real root.
pub fn give_to_container_root(map: &IdMap, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let (uid, gid) = map.root();
    if uid != nix::unistd::Uid::current().as_raw() {
        std::os::unix::fs::chown(folder, Some(uid), Some(gid))?;
    }
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
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
    if remove_all(folder).is_ok() {
        return Ok(());
    }
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (Some(parent), Some(own_name)) = (folder.parent(), name(folder)) else { return Ok(()) };
    let job = RemoveJob(RemoveEntries {
        map: map.clone(),
        folder: parent.to_owned(),
        view: view.to_owned(),
        names: vec![own_name],
    });
    run_job_once(map, &job, interrupt)?.map_err(|failure| HelperError::Died {
        ending: "a scratch folder could not be removed".to_owned(),
        said: failure.message,
    })
}
