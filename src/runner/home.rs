//! The builder's own folder, `$MKPANDA_HOME`: all files outside of the tree's cache.
//!
//! ```text
//! images/                         an OCI image layout (see `image::store`)
//! layers/<mapping>/<diff id>/     unpacked layers; owners on disk depend on the id map
//! layer-sizes.json                what these take on the disk (see `gc::space`)
//! mkpanda-home                    says that the folder is ours: see `ownership`
//! packages/<sha256>/              unpacked packages by their archives' sums, mounted read-only into builds
//! parts/                          what bootstraps are put together from (see `bootstrap::parts`)
//! git/<sum>/                      mirrors of git repositories (see `source`), for the caller alone
//! remote/                         jobs for engines of the Remote Execution API (see `remote::shared`)
//! builds/<name>/<id>/             record.json, log: of the last build of that id
//! bootstraps/<sha256>.json        records of the bootstraps that were made, by their archives' sums
//! trees/<sum>.json                packages folders of which packages were built (see `trees`)
//! failed/<name>/<id>/             what failed builds left, for a time (see `kept`)
//! image-logs/<name>/              what the commands of an image's stages said, of its last build
//! build-cache/                    what steps of Dockerfiles made (see `dockerfile::cache`)
//! caches/<mapping>/               folders that commands of Dockerfiles keep: `--mount=type=cache`
//! scratch/<run>/                  one folder per run; <run>.lock beside it is held by its process
//! locks/                          one file per thing that is done once at a time
//! ```
//!
//! With `--scratch DIR`, runs' folders lie in `DIR/mkpanda-scratch-<user id>/`, which goes with the last of
//! them; DIR is not changed otherwise.
//!
//! A scratch folder with a free lock belongs to a dead run: the run's cleaner removes the folder
//! ([`crate::container::cleaner`]), or the next run sweeps it, if the cleaner was killed as well.
//! Files may belong to ids of a namespace, so a helper removes them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::digest::Sha1Sum;
use crate::base::lock::FileLock;
use crate::container::cleaner::Cleaning;
use crate::container::idmap::IdMap;
use crate::package::{PackageId, PackageName};

use super::own_folder;

mod ownership;

/// Age at which a job for another machine has lost its run, whose process nothing else tells, and at which a file
/// that no job shares is removed.
pub const REMOTE_JOB_ABANDONED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The builder's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    scratch: PathBuf,
    /// True if the scratch folder lies in a folder that the user named.
    is_elsewhere: bool,
}

/// Number of digits by which the names of locks tell caches apart.
const CACHE_DIGITS: usize = 12;

impl Home {
    /// The folder at a path, with scratch space elsewhere if that is asked for.
    pub fn new(root: PathBuf, scratch: Option<PathBuf>) -> Self {
        let is_elsewhere = scratch.is_some();
        let own = format!("mkpanda-scratch-{}", nix::unistd::geteuid());
        let scratch = scratch.map_or_else(|| root.join("scratch"), |folder| folder.join(own));
        Self { root, scratch, is_elsewhere }
    }

    /// Records of bootstraps.
    pub fn bootstraps(&self) -> PathBuf {
        self.root.join("bootstraps")
    }

    /// Records of packages folders.
    pub fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    /// Lock of a bootstrap that is made or fetched.
    pub fn bootstrap_lock(&self, id: &str) -> PathBuf {
        self.locks().join(format!("bootstrap-{id}.lock"))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of the scratch folder, which may be missing.
    pub fn scratch_path(&self) -> &Path {
        &self.scratch
    }

    /// Scratch folder, made if missing, without access for other users.
    pub fn scratch(&self) -> io::Result<&Path> {
        self.make_closed_folders()?;
        Ok(&self.scratch)
    }

    /// Folder of layers unpacked with one id mapping.
    pub fn layers(&self, mapping: &str) -> PathBuf {
        self.root.join("layers").join(mapping)
    }

    /// Unpacked packages.
    pub fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// Parts of bootstraps.
    pub fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    /// Folder of the build cache for steps of Dockerfiles.
    pub fn build_cache(&self) -> PathBuf {
        self.root.join("build-cache")
    }

    /// Folder of Dockerfile commands' caches.
    pub fn caches(&self) -> PathBuf {
        self.root.join("caches")
    }

    /// Folder of the logs of an image's stages.
    pub fn image_logs(&self, name: &str) -> PathBuf {
        self.root.join("image-logs").join(name)
    }

    /// Lock files.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Mirrors of git repositories.
    pub fn git_mirrors(&self) -> PathBuf {
        self.root.join("git")
    }

    /// Jobs for other machines.
    pub fn remote_jobs(&self) -> PathBuf {
        self.root.join("remote")
    }

    /// What is kept of the last builds of all packages.
    pub fn all_builds(&self) -> PathBuf {
        self.root.join("builds")
    }

    /// What is kept of the last build of each id of a name.
    pub fn builds(&self, name: &PackageName) -> PathBuf {
        self.all_builds().join(name.as_str())
    }

    /// Folder of a package's last build.
    pub fn build(&self, id: &PackageId) -> PathBuf {
        self.builds(id.name()).join(id.to_string())
    }

    /// What failed builds left.
    pub fn failed(&self) -> PathBuf {
        self.root.join("failed")
    }

    /// Makes a folder of the home without access for other users.
    pub fn close(&self, folder: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        self.mark()?;
        fs_err::create_dir_all(folder)?;
        fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
    }

    /// Path of the lock for building a package into a cache.
    pub fn package_lock(&self, cache: &Path, id: &PackageId) -> PathBuf {
        let cache = Sha1Sum::of(cache.as_os_str().as_encoded_bytes());
        self.locks().join(format!("build-{}-{}.lock", &cache.as_str()[..CACHE_DIGITS], id))
    }

    /// Lock files of a package in all caches.
    pub fn package_locks(&self, id: &PackageId) -> io::Result<Vec<PathBuf>> {
        let end = format!("-{id}.lock");
        let mut found = Vec::new();
        for entry in fs_err::read_dir(self.locks())? {
            let entry = entry?;
            let name = entry.file_name();
            let cache =
                name.to_str().and_then(|name| name.strip_prefix("build-")?.strip_suffix(&end));
            // Another package's id may end like this one's.
            if cache.is_some_and(|cache| cache.len() == CACHE_DIGITS) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// Makes the folders without access for other users: those with possible setuid programs of
    /// images and packages, which belong to the caller on disk, so that any user could run them as
    /// the caller; and those with locks, as flock(2) needs only read access to the file.
    fn make_closed_folders(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        self.mark()?;
        let closed = std::fs::Permissions::from_mode(0o700);
        let (layers, packages, caches) = (self.root.join("layers"), self.packages(), self.caches());
        for folder in [&layers, &packages, &caches, &self.locks()] {
            fs_err::create_dir_all(folder)?;
            fs_err::set_permissions(folder, closed.clone())?;
        }
        if self.is_elsewhere {
            return own_folder::make(&self.scratch);
        }
        fs_err::create_dir_all(&self.scratch)?;
        fs_err::set_permissions(&self.scratch, closed)
    }

    /// Starts a run's scratch folder.
    pub fn start_run(&self) -> io::Result<RunScratch> {
        self.make_closed_folders()?;
        for attempt in 0_u32.. {
            let name = format!("run-{}-{attempt}", std::process::id());
            let lock = self.scratch.join(format!("{name}.lock"));
            // The lock before the folder: a folder without a lock would be swept as one of a dead
            // run.
            let Some(held) = self.lock_run(&name)? else { continue };
            let folder = self.scratch.join(name);
            match fs_err::create_dir(&folder) {
                Ok(()) => {
                    let view = folder.join("view");
                    fs_err::create_dir(&view)?;
                    let above = self.is_elsewhere.then(|| self.scratch.clone());
                    let home = self.clone();
                    return Ok(RunScratch { folder, view, lock, above, home, _held: held });
                }
                // Of a dead run with the same process id, not swept yet.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free name for a scratch folder"))
    }

    /// Takes the lock of a run in the scratch folder. Nothing if another name or another attempt is needed:
    /// then the folder has been made anew where it was gone or open to others.
    fn lock_run(&self, name: &str) -> io::Result<Option<FileLock>> {
        let file = format!("{name}.lock");
        let lock = self.scratch.join(&file);
        let held = match FileLock::try_acquire_in_folder(&lock) {
            Ok(Some(held)) => held,
            Ok(None) => return Ok(None),
            Err(error) => {
                // The last of other runs may have removed the folder, or another user may have made
                // it.
                self.make_closed_folders()?;
                return if error.kind() == io::ErrorKind::NotFound { Ok(None) } else { Err(error) };
            }
        };
        // A sweeper may have taken it for that of a dead run, and have removed it.
        if !held.is_at(&lock) {
            return Ok(None);
        }
        if self.is_elsewhere && !own_folder::has_lock(&self.scratch, &file, &held) {
            self.make_closed_folders()?;
            return Ok(None);
        }
        Ok(Some(held))
    }

    /// Scratch folders of dead runs. The locks keep other processes from sweeping them, too.
    pub fn orphans(&self) -> io::Result<Vec<Orphan>> {
        let mut orphans = Vec::new();
        // Whatever lies in a folder that others can write to may be a trap: nothing in it is
        // removed.
        if self.is_elsewhere && !own_folder::is_closed(&self.scratch) {
            return Ok(orphans);
        }
        let entries = match fs_err::read_dir(&self.scratch) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(orphans),
            other => other?,
        };
        for entry in entries {
            let lock = entry?.path();
            if !is_lock_of_run(&lock) {
                continue;
            }
            let taken = FileLock::try_acquire_made(&lock).unwrap_or_else(|error| {
                // A lock that cannot be opened does not keep other runs from being swept. A missing
                // lock belongs to an ended run.
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the lock of a scratch folder cannot be taken");
                }
                None
            });
            if let Some(held) = taken.filter(|held| held.is_at(&lock)) {
                orphans.push(Orphan { folder: lock.with_extension(""), lock, _held: held });
            }
        }
        Ok(orphans)
    }
}

/// Scratch folder of a run, locked for the lifetime of the value.
#[derive(Debug)]
pub struct RunScratch {
    folder: PathBuf,
    view: PathBuf,
    lock: PathBuf,
    /// Folder above, if that goes with the last run.
    above: Option<PathBuf>,
    home: Home,
    _held: FileLock,
}

impl RunScratch {
    /// Lists the files of this run that its user may be unable to remove; `map` is the id map of
    /// its helpers, if any.
    pub fn cleaning(&self, map: Option<&IdMap>) -> Cleaning {
        let half_made = map.map(|map| vec![self.home.layers(&map.digest()), self.home.packages()]);
        Cleaning {
            lock: self.lock.clone(),
            scratch: self.folder.clone(),
            half_made: half_made.unwrap_or_default(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of an empty folder inside, as a mount point of helpers' views.
    pub fn view(&self) -> &Path {
        &self.view
    }
}

impl Drop for RunScratch {
    fn drop(&mut self) {
        drop(fs_err::remove_dir(&self.view));
        // If something is left in it, the next run sweeps it by the lock that stays then, too.
        if fs_err::remove_dir(&self.folder).is_ok() {
            drop(fs_err::remove_file(&self.lock));
            if let Some(above) = &self.above {
                // Other runs may be in it.
                drop(fs_err::remove_dir(above));
            }
        }
    }
}

/// True for `run-<process>-<attempt>.lock`.
fn is_lock_of_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let numbers =
        name.and_then(|name| name.strip_prefix("run-")?.strip_suffix(".lock")?.split_once('-'));
    let is_number =
        |text: &str| !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_digit());
    numbers.is_some_and(|(process, attempt)| is_number(process) && is_number(attempt))
}

/// A scratch folder that a dead run left.
#[derive(Debug)]
pub struct Orphan {
    folder: PathBuf,
    lock: PathBuf,
    _held: FileLock,
}

impl Orphan {
    /// The folder, which may be gone already.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets the run, if its folder is gone.
    pub fn forget(self) -> io::Result<()> {
        // A lock file without its folder would be kept for ever, and a folder without its lock is
        // never swept.
        if self.folder.exists() { Ok(()) } else { fs_err::remove_file(&self.lock) }
    }
}

/// Makes a folder that the container's root may write to.
pub fn give_folder(folder: &Path, map: &IdMap) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    fs_err::create_dir_all(folder)?;
    let (uid, gid) = map.root();
    let own = nix::unistd::Uid::current().as_raw();
    // Only a folder that was just made: one that has been given away already is the container
    // root's.
    if uid != own && fs_err::metadata(folder)?.uid() == own {
        chown(folder, Some(uid), Some(gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
