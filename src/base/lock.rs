//! Locks between processes: `flock` on a file, given up by the kernel when its holder dies.
//!
//! Everybody who can open the file can hold such a lock: read access is enough (flock(2)). So only
//! the owner can read a lock file. A lock file made readable for all by an older version gets
//! restricted when opened; a holder may then be another user who opened the file before, and is not
//! waited for.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt;

use super::lock_holder::has_trusted_holder;

/// Interval between two attempts to take a lock for which the caller may stop waiting.
const POLL: Duration = Duration::from_millis(20);

/// Mode of a lock file.
pub const LOCK_MODE: u32 = 0o600;

/// Lock held until dropped. The file stays: after its removal, two processes could hold locks on
/// two files of one name.
#[derive(Debug)]
pub struct FileLock {
    file: std::fs::File,
}

impl FileLock {
    /// Waits for the lock. `waiting` is called once if another holder exists.
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let file = open_unless_foreign(path)?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { file }),
            Err(std::fs::TryLockError::WouldBlock) => waiting(),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        file.lock()?;
        Ok(Self { file })
    }

    /// Waits for the lock until `give_up` returns true; then returns `None`.
    pub fn acquire_unless(
        path: &Path,
        waiting: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        Self::acquire_opened_unless(open_unless_foreign(path)?, waiting, give_up)
    }

    /// Like [`FileLock::acquire_unless`], on a file that the caller has opened.
    pub fn acquire_opened_unless(
        file: std::fs::File,
        waiting: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        Self::poll(file, std::fs::File::try_lock, waiting, give_up)
    }

    /// Like [`FileLock::acquire_unless`], with a shared lock, which several processes can hold at
    /// once.
    pub fn share_unless(path: &Path, give_up: impl Fn() -> bool) -> io::Result<Option<Self>> {
        let file = open_unless_foreign(path)?;
        Self::poll(file, std::fs::File::try_lock_shared, || (), give_up)
    }

    fn poll(
        file: std::fs::File,
        try_lock: impl Fn(&std::fs::File) -> Result<(), std::fs::TryLockError>,
        waiting: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        let mut waiting = Some(waiting);
        // The kernel's own waiting ends with the lock alone.
        loop {
            match try_lock(&file) {
                Ok(()) => return Ok(Some(Self { file })),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
                Err(std::fs::TryLockError::WouldBlock) if give_up() => return Ok(None),
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            std::thread::sleep(POLL);
        }
    }

    /// Takes the lock, unless another holder exists.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        Self::try_on(open(path)?.0)
    }

    /// Like [`FileLock::try_acquire`], in an existing folder: a missing folder is an error.
    pub fn try_acquire_in_folder(path: &Path) -> io::Result<Option<Self>> {
        Self::try_on(open_in_folder(path)?.0)
    }

    /// Waits for the lock of an existing file; a missing file is an error.
    pub fn acquire_made(path: &Path) -> io::Result<Self> {
        let file = options().write(true).open(path)?.into_parts().0;
        file.lock()?;
        Ok(Self { file })
    }

    /// Like [`FileLock::try_acquire`], on an existing file: a missing file is an error.
    pub fn try_acquire_made(path: &Path) -> io::Result<Option<Self>> {
        let file = options().write(true).open(path)?;
        Self::try_on(file.into_parts().0)
    }

    fn try_on(file: std::fs::File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// True if the locked file still is the one at a path: where lock files are removed, it may
    /// have been replaced while the lock was waited for.
    pub fn is_at(&self, path: &Path) -> bool {
        fs_err::metadata(path).is_ok_and(|there| self.is_file(there.dev(), there.ino()))
    }

    /// True if the locked file has this device and inode number.
    pub fn is_file(&self, device: u64, inode: u64) -> bool {
        self.file.metadata().is_ok_and(|held| (held.dev(), held.ino()) == (device, inode))
    }
}

/// Options with which no symlink is followed, and no FIFO in place of a lock file is waited for.
fn options() -> fs_err::OpenOptions {
    let mut options = fs_err::OpenOptions::new();
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Opens a lock file, or makes a missing one; returns `true` if others could open the file until
/// now.
fn open(path: &Path) -> io::Result<(std::fs::File, bool)> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    open_in_folder(path)
}

/// Like [`open`], in an existing folder.
fn open_in_folder(path: &Path) -> io::Result<(std::fs::File, bool)> {
    let mut options = options();
    options.create(true).truncate(false).write(true).mode(LOCK_MODE);
    let file = options.open(path)?.into_parts().0;
    let there = file.metadata()?;
    // Who could read the file before may have it open, and locked, still.
    let was_open = there.mode() & 0o077 != 0;
    if was_open && there.uid() == nix::unistd::geteuid().as_raw() {
        file.set_permissions(PermissionsExt::from_mode(LOCK_MODE))?;
    }
    Ok((file, was_open))
}

/// Opens a lock file; makes a new one if only a stranger holds the lock.
fn open_unless_foreign(path: &Path) -> io::Result<std::fs::File> {
    let (file, was_open) = open(path)?;
    if !was_open || !has_foreign_holder(&file) {
        return Ok(file);
    }
    let held = file.metadata()?;
    let is_there = fs_err::symlink_metadata(path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
    if is_there {
        match fs_err::remove_file(path) {
            // Another process has found the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    // A new file under the name: its lock is not the stranger's, and all others of this user find
    // it.
    Ok(open(path)?.0)
}

/// Locks a folder that the caller has opened, as long as it is open; false if another process has locked it. A
/// stranger's lock is passed over, and so are file systems without locks, such as NFS for what is not open for writing.
pub fn lock_folder(folder: &std::fs::File) -> bool {
    match folder.try_lock() {
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => true,
        Err(std::fs::TryLockError::WouldBlock) => has_foreign_holder(folder),
    }
}

/// True if each look finds the lock held, and no trusted holder. One look is not enough: a trusted
/// holder may end, and the next one begin, while all processes are looked through. A stranger who keeps
/// others out holds the lock all the time.
fn has_foreign_holder(file: &std::fs::File) -> bool {
    const LOOKS: u32 = 4;
    let is_held = || matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock));
    (0..LOOKS).all(|_| is_held() && !has_trusted_holder(file)) && is_held()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_folder_is_locked_while_it_is_open() {
        let place = tempfile::tempdir().unwrap();
        let open = || fs_err::File::open(place.path()).unwrap().into_parts().0;
        let (first, second) = (open(), open());
        assert!(lock_folder(&first) && !lock_folder(&second));
        drop(first);
        assert!(lock_folder(&second));
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/x");
        let held = FileLock::acquire(&path, || ()).unwrap();
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        let tries = std::cell::Cell::new(0);
        let give_up = || tries.replace(tries.get() + 1) == 2;
        assert!(FileLock::acquire_unless(&path, || (), give_up).unwrap().is_none());
        assert_eq!(tries.get(), 3);
        assert!(held.is_at(&path));
        fs_err::remove_file(&path).unwrap();
        assert!(!held.is_at(&path));
        drop(held);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
        let share = || FileLock::share_unless(&path, || true).unwrap();
        let shared = [share().unwrap(), share().unwrap()];
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(shared);
        let _held = FileLock::try_acquire(&path).unwrap().unwrap();
        assert!(share().is_none());
    }

    #[test]
    fn only_its_owner_can_open_a_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let [new, old, link] = ["new", "old", "link"].map(|name| folder.path().join(name));
        drop(FileLock::acquire(&new, || ()).unwrap());
        assert_eq!(mode(&new), LOCK_MODE);
        // Of an older version, and held by one: it is waited for.
        fs_err::write(&old, "").unwrap();
        fs_err::set_permissions(&old, PermissionsExt::from_mode(0o644)).unwrap();
        let held = fs_err::File::open(&old).unwrap().into_parts().0;
        held.lock().unwrap();
        assert!(FileLock::acquire_unless(&old, || (), || true).unwrap().is_none());
        assert_eq!(mode(&old), LOCK_MODE);
        fs_err::os::unix::fs::symlink(&new, &link).unwrap();
        assert!(FileLock::try_acquire(&link).is_err());
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(FileLock::try_acquire(&fifo).is_err() && FileLock::acquire_made(&fifo).is_err());
        let missing = folder.path().join("missing/x");
        let error = FileLock::try_acquire_in_folder(&missing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!folder.path().join("missing").exists());
    }
}
