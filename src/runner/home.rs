//! The builder's own folder, `$MKPANDA_HOME`: what it keeps besides the tree's cache.
//!
//! ```text
//! images/                         an OCI image layout (see `image::store`)
//! layers/<mapping>/<diff id>/     unpacked layers; owners on disk depend on the id map
//! layer-sizes.json                what these take on the disk (see `gc::space`)
//! packages/<id>/                  unpacked packages, mounted read-only into builds
//! parts/                          what bootstraps are put together from (see `bootstrap::parts`)
//! builds/<name>/<id>/             record.json, log: of the last build of that id
//! image-logs/<name>/              what the commands of an image's stages said, of its last build
//! build-cache/                    what steps of Dockerfiles made (see `dockerfile::cache`)
//! caches/<mapping>/               folders that commands of Dockerfiles keep: `--mount=type=cache`
//! scratch/<run>/                  one folder per run; <run>.lock beside it is held by its process
//! locks/                          one file per thing that is done once at a time
//! ```
//!
//! A scratch folder whose lock nobody holds belongs to a run that died: the next one sweeps it. Its
//! files may belong to ids that only a namespace has, so a helper removes them.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::digest::Sha1Sum;
use crate::base::lock::FileLock;
use crate::container::idmap::IdMap;
use crate::package::{PackageId, PackageName};

/// The builder's own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    scratch: PathBuf,
}

impl Home {
    /// The folder at a path, with scratch space elsewhere if that is asked for.
    pub fn new(root: PathBuf, scratch: Option<PathBuf>) -> Self {
        let scratch = scratch.unwrap_or_else(|| root.join("scratch"));
        Self { root, scratch }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Unpacked layers of one id mapping.
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

    /// What steps of Dockerfiles made.
    pub fn build_cache(&self) -> PathBuf {
        self.root.join("build-cache")
    }

    /// Folders that commands of Dockerfiles keep.
    pub fn caches(&self) -> PathBuf {
        self.root.join("caches")
    }

    /// What the commands of an image's stages said.
    pub fn image_logs(&self, name: &str) -> PathBuf {
        self.root.join("image-logs").join(name)
    }

    /// Lock files.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// What is kept of the last build of each id of a name.
    pub fn builds(&self, name: &PackageName) -> PathBuf {
        self.root.join("builds").join(name.as_str())
    }

    /// What is kept of a package's last build.
    pub fn build(&self, id: &PackageId) -> PathBuf {
        self.builds(id.name()).join(id.to_string())
    }

    /// The lock of building one package into one cache.
    pub fn package_lock(&self, cache: &Path, id: &PackageId) -> PathBuf {
        let cache = Sha1Sum::of(cache.as_os_str().as_encoded_bytes());
        self.locks().join(format!("build-{}-{}.lock", &cache.as_str()[..12], id))
    }

    /// Makes the folders that other users must not get into, and closes them: where setuid programs of
    /// images and packages may lie, which on disk belong to the caller, as whom any user could run
    /// them; and where locks are, as flock(2) lets everybody hold a lock who can open its file.
    fn make_closed_folders(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let (layers, packages, caches) = (self.root.join("layers"), self.packages(), self.caches());
        for folder in [&self.scratch, &layers, &packages, &caches, &self.locks()] {
            fs_err::create_dir_all(folder)?;
            fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    /// Starts a run's scratch folder.
    pub fn start_run(&self) -> io::Result<RunScratch> {
        self.make_closed_folders()?;
        for attempt in 0_u32.. {
            let name = format!("run-{}-{attempt}", std::process::id());
            let lock = self.scratch.join(format!("{name}.lock"));
            let Some(held) = FileLock::try_acquire(&lock)? else { continue };
            // A sweeper may have taken it for that of a dead run, and have removed it.
            if !held.is_at(&lock) {
                continue;
            }
            let folder = self.scratch.join(name);
            match fs_err::create_dir(&folder) {
                Ok(()) => {
                    let view = folder.join("view");
                    fs_err::create_dir(&view)?;
                    return Ok(RunScratch { folder, view, lock, _held: held });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free name for a scratch folder"))
    }

    /// Scratch folders of runs that died. The locks keep others from sweeping them too.
    pub fn orphans(&self) -> io::Result<Vec<Orphan>> {
        let mut orphans = Vec::new();
        let entries = match fs_err::read_dir(&self.scratch) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(orphans),
            other => other?,
        };
        for entry in entries {
            let lock = entry?.path();
            if lock.extension().is_none_or(|extension| extension != "lock") {
                continue;
            }
            let taken = FileLock::try_acquire(&lock).unwrap_or_else(|error| {
                // One run's lock that cannot be opened keeps no other run from being swept.
                tracing::warn!(%error, "the lock of a scratch folder cannot be taken");
                None
            });
            if let Some(held) = taken {
                orphans.push(Orphan { folder: lock.with_extension(""), lock, _held: held });
            }
        }
        Ok(orphans)
    }
}

/// A run's scratch folder; its lock is held as long as this lives.
#[derive(Debug)]
pub struct RunScratch {
    folder: PathBuf,
    view: PathBuf,
    lock: PathBuf,
    _held: FileLock,
}

impl RunScratch {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An empty folder in it, on which helpers mount their views.
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
        }
    }
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
        if self.folder.exists() { Ok(()) } else { fs_err::remove_file(&self.lock) }
    }
}

/// Makes a folder that the container's root may write to.
pub fn give_folder(folder: &Path, map: &IdMap) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    fs_err::create_dir_all(folder)?;
    let (uid, gid) = map.root();
    let own = nix::unistd::Uid::current().as_raw();
    if uid != own && fs_err::metadata(folder)?.uid() == own {
        chown(folder, Some(uid), Some(gid))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_dead_runs_are_orphans() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        let run = home.start_run().unwrap();
        assert!(home.orphans().unwrap().is_empty());
        let dead = home.start_run().unwrap();
        let path = dead.folder().to_owned();
        fs_err::write(path.join("left"), "").unwrap();
        drop(dead);
        let mut orphans = home.orphans().unwrap();
        assert_eq!(orphans.len(), 1);
        assert_eq!(orphans[0].folder(), path);
        assert!(home.orphans().unwrap().is_empty(), "two sweepers don't meet");
        crate::base::removal::remove_all(&path).unwrap();
        orphans.remove(0).forget().unwrap();
        drop(run);
        assert_eq!(fs_err::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
        for closed in ["scratch", "layers", "packages", "locks"] {
            let mode = fs_err::metadata(folder.path().join(closed)).unwrap().permissions();
            assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777, 0o700, "{closed}");
        }
    }
}
