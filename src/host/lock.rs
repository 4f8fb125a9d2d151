//! The lock on a folder that everybody may read: the install root, the repository.
//!
//! ```text
//! <folder>                 locked itself: an older pkgpanda takes no other lock
//! <folder>/.pkgpanda.lock  what decides between two of this version; there while it is held
//! ```
//!
//! Every user can open the folder, and so can hold its lock (flock(2)). The lock of another user is
//! not waited for; our lock is taken as soon as that user unlocks the folder, to keep an older
//! pkgpanda out from then on. But an older pkgpanda that waits behind such a lock could continue at
//! any time, so the older program goes first. The lock file belongs to the user who changes the
//! folder, and no other user can open the file.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::base::lock::{FileLock, LOCK_MODE};
use crate::base::lock_holder::{has_trusted_holder, has_trusted_waiter};

/// Name of the lock file.
pub(super) const LOCK_FILE: &str = ".pkgpanda.lock";

/// Interval between two attempts to lock the folder.
const POLL: Duration = Duration::from_millis(20);

/// Number of attempts between two looks at who holds the lock.
const LOOK_EVERY: u32 = 25;

/// Number of checks without a trusted holder or waiter before the lock counts as another user's: a
/// single check may fall between two holders.
const LOOKS: u32 = 2;

/// Permissions of others than the owner.
const OTHERS: u32 = 0o077;

/// Number of attempts to get a lock file of the caller's own.
const ATTEMPTS: u32 = 1000;

thread_local! {
    /// Folders locked by this thread: device and inode numbers.
    // Since flock(2) locks belong to open files: a second opening by the same thread would wait for
    // itself. Inodes, not paths, as the repository may be the root under another name.
    static HELD: RefCell<Vec<(u64, u64)>> = const { RefCell::new(Vec::new()) };
}

/// A lock on a folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    path: PathBuf,
    folder: OwnedFd,
    /// True once the lock file is removed: an existing one is another process's then.
    is_removed: Cell<bool>,
    // In the order in which they are given up.
    _file: Option<FileLock>,
    on_folder: OnFolder,
}

/// The lock on the folder itself.
#[derive(Debug)]
enum OnFolder {
    Held {
        _file: File,
    },
    /// Another lock of this thread holds the folder.
    HeldAlready,
    /// Another user holds the folder. A thread waits for the lock, and keeps the lock until this
    /// value is dropped.
    Awaited {
        _until: mpsc::Sender<()>,
    },
}

impl FolderLock {
    /// Waits for the lock until `give_up` returns true; then returns `None`.
    pub(super) fn acquire_unless(
        path: &Path,
        mut waiting: impl FnMut(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        Self::acquire(path, &mut waiting, &give_up)
    }

    /// Locks the repository, which may be a folder already locked by this thread.
    pub(super) fn acquire_beside_unless(
        path: &Path,
        mut waiting: impl FnMut(),
        give_up: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        if let Ok(there) = fs_err::metadata(path)
            && HELD.with_borrow(|held| held.contains(&(there.dev(), there.ino())))
        {
            // The root and the repository are one folder, which this thread has locked already.
            let folder = OwnedFd::from(fs_err::File::open(path)?.into_parts().0);
            let (path, is_removed) = (path.to_owned(), Cell::new(true));
            let on_folder = OnFolder::HeldAlready;
            return Ok(Some(Self { path, folder, is_removed, _file: None, on_folder }));
        }
        Self::acquire(path, &mut waiting, &give_up)
    }

    fn acquire(
        path: &Path,
        waiting: &mut impl FnMut(),
        give_up: &impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        loop {
            let open = || {
                let mut options = fs_err::OpenOptions::new();
                options.read(true).custom_flags(libc::O_DIRECTORY).open(path)
            };
            let file = open()?.into_parts().0;
            let Some(on_folder) = lock_folder(file, waiting, give_up)? else {
                return Ok(None);
            };
            // An uninstallation may have removed the folder meanwhile.
            let folder = open()?.into_parts().0;
            let is_there = match &on_folder {
                OnFolder::Held { _file: held } => is_same(held, &folder)?,
                OnFolder::Awaited { .. } | OnFolder::HeldAlready => true,
            };
            if !is_there {
                continue;
            }
            let folder = OwnedFd::from(folder);
            let file = match lock_file(&folder, waiting, give_up) {
                Ok(Some(file)) => Some(file),
                Ok(None) => return Ok(None),
                // The disk is full or read-only. The folder's own lock already excludes other
                // processes here.
                Err(error) if matches!(on_folder, OnFolder::Held { .. }) => {
                    tracing::debug!(%error, path = %path.display(), "no lock file can be made");
                    None
                }
                Err(error) => {
                    let place = path.join(LOCK_FILE);
                    let message = format!("failed to lock `{}`: {error}", place.display());
                    return Err(io::Error::new(error.kind(), message));
                }
            };
            let (path, is_removed) = (path.to_owned(), Cell::new(file.is_none()));
            let there = fstat(&folder)?;
            HELD.with_borrow_mut(|held| held.push((there.st_dev, there.st_ino)));
            return Ok(Some(Self { path, folder, is_removed, _file: file, on_folder }));
        }
    }

    /// Removes the lock file, for the folder to be removed; the lock stays.
    pub(super) fn remove_file(&self) -> io::Result<()> {
        if self.is_removed.replace(true) {
            return Ok(());
        }
        match unlinkat(&self.folder, LOCK_FILE, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            other => other.map_err(|error| {
                let error = io::Error::from(error);
                let place = self.path.join(LOCK_FILE);
                let message = format!("failed to remove `{}`: {error}", place.display());
                io::Error::new(error.kind(), message)
            }),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        if !matches!(self.on_folder, OnFolder::HeldAlready)
            && let Ok(there) = fstat(&self.folder)
        {
            HELD.with_borrow_mut(|held| held.retain(|id| *id != (there.st_dev, there.st_ino)));
        }
        // A waiting process finds the file missing, and makes another one.
        drop(self.remove_file());
    }
}

/// Locks the folder itself; `None` if it shall give up.
fn lock_folder(
    file: File,
    waiting: &mut impl FnMut(),
    give_up: &impl Fn() -> bool,
) -> io::Result<Option<OnFolder>> {
    let (mut says, mut misses) = (true, 0);
    for attempt in 0_u32.. {
        match file.try_lock() {
            Ok(()) => return Ok(Some(OnFolder::Held { _file: file })),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
            Err(std::fs::TryLockError::WouldBlock) if give_up() => return Ok(None),
            Err(std::fs::TryLockError::WouldBlock) => {}
        }
        if misses > 0 || attempt % LOOK_EVERY == 0 {
            let is_ours = has_trusted_holder(&file) || has_trusted_waiter(&file);
            misses = if is_ours { 0 } else { misses + 1 };
        }
        if misses == LOOKS {
            break;
        }
        if misses == 0 && std::mem::take(&mut says) {
            waiting();
        }
        std::thread::sleep(POLL);
    }
    let (until, over) = mpsc::channel();
    // The lock call has no time limit, and only a thread of its own can wait in it while the work
    // goes on.
    std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
        drop(file.lock());
        // An error, as nothing is ever sent: the lock ends when its owner drops the other end.
        _ = over.recv();
    })?;
    Ok(Some(OnFolder::Awaited { _until: until }))
}

/// Takes the lock on the file in the folder; `None` if it shall give up.
fn lock_file(
    folder: &OwnedFd,
    waiting: &mut impl FnMut(),
    give_up: &impl Fn() -> bool,
) -> io::Result<Option<FileLock>> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(LOCK_MODE);
    for _attempt in 0..ATTEMPTS {
        // In relation to the locked folder: its path may by now lead to another. A FIFO without a
        // reader is not waited for, but refused (ENXIO, fifo(7)).
        let file = match openat(folder, LOCK_FILE, flags | OFlag::O_NONBLOCK, mode) {
            Ok(file) => File::from(file),
            // A symlink, or a FIFO: nothing that was made here.
            Err(Errno::ELOOP | Errno::ENXIO) => {
                unlinkat(folder, LOCK_FILE, UnlinkatFlags::NoRemoveDir)?;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let there = file.metadata()?;
        let is_private = there.is_file()
            && [0, geteuid().as_raw()].contains(&there.uid())
            // Whoever can open the file can hold its lock for as long as they like.
            && there.mode() & OTHERS == 0;
        if !is_private {
            unlinkat(folder, LOCK_FILE, UnlinkatFlags::NoRemoveDir)?;
            continue;
        }
        let Some(lock) = FileLock::acquire_opened_unless(file, &mut *waiting, give_up)? else {
            return Ok(None);
        };
        // The one before removes the file with its lock. This lock would be one on a file without a
        // name then, which excludes nobody.
        match fstatat(folder, LOCK_FILE, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(now) if (now.st_dev, now.st_ino) == (there.dev(), there.ino()) => {
                return Ok(Some(lock));
            }
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EBUSY.into())
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(folder: &Path) -> io::Result<Option<FolderLock>> {
        FolderLock::acquire_unless(folder, || (), || true)
    }

    #[test]
    fn one_holds_it_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(LOCK_FILE);
        let held = acquire(folder.path()).unwrap().unwrap();
        assert_eq!(fs_err::metadata(&place).unwrap().mode() & 0o7777, 0o600);
        assert!(acquire(folder.path()).unwrap().is_none());
        // As an older version takes it.
        assert!(fs_err::File::open(folder.path()).unwrap().file().try_lock().is_err());
        drop(held);
        assert!(!place.exists());
        drop(acquire(folder.path()).unwrap().unwrap());
    }

    #[test]
    fn an_older_version_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let older = fs_err::File::open(folder.path()).unwrap();
        older.file().lock().unwrap();
        let said = Cell::new(0);
        let count = || said.set(said.get() + 1);
        let tries = Cell::new(0);
        let give_up = || tries.replace(tries.get() + 1) == 3;
        assert!(FolderLock::acquire_unless(folder.path(), count, give_up).unwrap().is_none());
        assert_eq!((said.get(), tries.get()), (1, 4));
        drop(older);
        assert!(acquire(folder.path()).unwrap().is_some());
    }

    #[test]
    fn what_others_put_in_the_files_place_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let [place, other] = [LOCK_FILE, "other"].map(|name| folder.path().join(name));
        fs_err::write(&other, "").unwrap();
        let put: [&dyn Fn(); 3] = [
            &|| fs_err::os::unix::fs::symlink(&other, &place).unwrap(),
            &|| nix::unistd::mkfifo(&place, Mode::S_IRWXU).unwrap(),
            &|| {
                fs_err::write(&place, "").unwrap();
                let all = std::os::unix::fs::PermissionsExt::from_mode(0o666);
                fs_err::set_permissions(&place, all).unwrap();
            },
        ];
        for put in put {
            put();
            let held = acquire(folder.path()).unwrap().unwrap();
            let there = fs_err::symlink_metadata(&place).unwrap();
            assert!(there.is_file() && there.mode() & 0o7777 == 0o600);
            drop(held);
        }
        // A folder in place of the lock file can only be removed by a person, and excludes no
        // process.
        fs_err::create_dir(&place).unwrap();
        assert!(acquire(folder.path()).unwrap().is_some());
        assert!(place.exists() && other.exists());
    }

    #[test]
    fn a_folder_that_is_gone_cannot_be_locked() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs_err::create_dir(&root).unwrap();
        let held = acquire(&root).unwrap().unwrap();
        std::thread::scope(|scope| {
            let (sends, waits) = mpsc::channel();
            let (root, say) = (&root, move || sends.send(()).unwrap());
            let waiting = scope.spawn(move || FolderLock::acquire_unless(root, say, || false));
            waits.recv().unwrap();
            held.remove_file().unwrap();
            fs_err::remove_dir(root).unwrap();
            drop(held);
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        });
        assert!(!root.exists());
    }

    #[test]
    fn a_folder_that_was_replaced_is_locked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs_err::create_dir(&root).unwrap();
        let held = acquire(&root).unwrap().unwrap();
        std::thread::scope(|scope| {
            let (sends, waits) = mpsc::channel();
            let (root, say) = (&root, move || sends.send(()).unwrap());
            let waiting = scope.spawn(move || FolderLock::acquire_unless(root, say, || false));
            waits.recv().unwrap();
            fs_err::rename(root, folder.path().join("other")).unwrap();
            fs_err::create_dir(root).unwrap();
            drop(held);
            let lock = waiting.join().unwrap().unwrap().unwrap();
            assert!(fs_err::File::open(root).unwrap().file().try_lock().is_err());
            drop(lock);
        });
        assert!(fs_err::read_dir(&root).unwrap().next().is_none());
    }
}
