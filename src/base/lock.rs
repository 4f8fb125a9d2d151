//! Locks between processes: `flock` on a file, given up by the kernel when its holder dies.

use std::io;
use std::path::Path;
use std::time::Duration;

/// How often a lock is tried that may be given up.
const POLL: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped. The file stays: removing it would let two processes
/// hold a lock on two files of one name.
#[derive(Debug)]
pub struct FileLock {
    file: std::fs::File,
}

impl FileLock {
    /// Waits until nobody else holds the lock. `waiting` is called once if it has to wait.
    pub fn acquire(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { file }),
            Err(std::fs::TryLockError::WouldBlock) => waiting(),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        file.lock()?;
        Ok(Self { file })
    }

    /// Like [`FileLock::acquire_unless`], on a folder that is there: it leaves no file.
    pub fn acquire_folder_unless(
        path: &Path,
        waiting: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        Self::wait_unless(fs_err::File::open(path)?.into_parts().0, waiting, give_up)
    }

    /// Waits until nobody else holds the lock, or until it shall `give_up`; then there is none.
    pub fn acquire_unless(
        path: &Path,
        waiting: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        Self::wait_unless(open(path)?, waiting, give_up)
    }

    fn wait_unless(
        file: std::fs::File,
        waiting: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        let mut waiting = Some(waiting);
        // The kernel's own waiting ends with the lock alone.
        loop {
            match file.try_lock() {
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

    /// Takes the lock if nobody else holds it.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        Self::try_on(open(path)?)
    }

    /// Waits until nobody else holds the lock of a file that is there; an error tells of one that isn't.
    pub fn acquire_made(path: &Path) -> io::Result<Self> {
        let file = fs_err::OpenOptions::new().write(true).open(path)?.into_parts().0;
        file.lock()?;
        Ok(Self { file })
    }

    /// Like [`FileLock::try_acquire`], on a file that is there: an error tells of one that isn't.
    pub fn try_acquire_made(path: &Path) -> io::Result<Option<Self>> {
        let file = fs_err::OpenOptions::new().write(true).open(path)?;
        Self::try_on(file.into_parts().0)
    }

    fn try_on(file: std::fs::File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the locked file still is the one at a path: where lock files are removed, it may
    /// have been replaced while the lock was waited for.
    pub fn is_at(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let (Ok(held), Ok(there)) = (self.file.metadata(), fs_err::metadata(path)) else {
            return false;
        };
        (held.dev(), held.ino()) == (there.dev(), there.ino())
    }
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let file = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    Ok(file.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
