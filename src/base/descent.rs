//! The way down a tree of folders, with a fixed number of descriptors.
//!
//! The nested folders may be hostile: deeper than the limit of open files, and moved during the
//! walk. So only the last few folders on the way stay open. To return to a closed folder, `..` is
//! opened, and must be the same folder as before.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};

/// Number of folders on the way that stay open, so that most trees need no `..`.
pub(crate) const KEPT_OPEN: usize = 8;

/// Flags for opening a folder for reading; other types fail.
pub(crate) const FOLDER: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A folder on the way was moved or removed by another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved;

/// The way from a folder down to the current one, with something noted of each.
#[derive(Debug)]
pub(crate) struct Descent<T> {
    top: OwnedFd,
    levels: Vec<Level<T>>,
}

#[derive(Debug)]
struct Level<T> {
    /// Device and inode.
    identity: (u64, u64),
    /// Open, unless it is far above the current folder.
    folder: Option<OwnedFd>,
    note: T,
}

impl<T> Descent<T> {
    /// A way that begins in an open folder.
    pub(crate) fn new(top: OwnedFd) -> Self {
        Self { top, levels: Vec::new() }
    }

    /// The current folder.
    pub(crate) fn current(&self) -> BorrowedFd<'_> {
        let open = self.levels.last().and_then(|level| level.folder.as_ref());
        open.unwrap_or(&self.top).as_fd()
    }

    /// Note of the current folder; `None` for the first one.
    pub(crate) fn note(&mut self) -> Option<&mut T> {
        self.levels.last_mut().map(|level| &mut level.note)
    }

    /// The same, to be looked at.
    pub(crate) fn last(&self) -> Option<&T> {
        self.levels.last().map(|level| &level.note)
    }

    /// Notes of all folders on the way, downwards.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &T> {
        self.levels.iter().map(|level| &level.note)
    }

    /// True if the current folder is the first one.
    pub(crate) fn is_at_top(&self) -> bool {
        self.levels.is_empty()
    }

    /// Enters a folder that was opened in the current one.
    pub(crate) fn enter(&mut self, folder: OwnedFd, note: T) -> nix::Result<()> {
        let stat = fstat(&folder)?;
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(far) = self.levels.len().checked_sub(KEPT_OPEN) {
            self.levels[far].folder = None;
        }
        self.levels.push(Level { identity, folder: Some(folder), note });
        Ok(())
    }

    /// Returns to the parent folder, with the note of the folder left behind.
    pub(crate) fn leave(&mut self) -> Result<Option<T>, Moved> {
        let Some(left) = self.levels.pop() else { return Ok(None) };
        if let Some(above) = self.levels.last_mut()
            && above.folder.is_none()
        {
            let below = left.folder.as_ref().ok_or(Moved)?;
            above.folder = Some(open_above(below, above.identity).map_err(|_gone| Moved)?);
        }
        Ok(Some(left.note))
    }
}

fn open_above(below: &OwnedFd, identity: (u64, u64)) -> nix::Result<OwnedFd> {
    let folder = openat(below, c"..", FOLDER, Mode::empty())?;
    let stat = fstat(&folder)?;
    // A folder that was moved has another one above, in which the walk would go on.
    if (stat.st_dev, stat.st_ino) == identity { Ok(folder) } else { Err(Errno::ESTALE) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nix::fcntl::AT_FDCWD;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        openat(AT_FDCWD, path, FOLDER, Mode::empty()).unwrap()
    }

    /// A way down folders called `d`.
    fn down(top: &Path, depth: usize) -> Descent<usize> {
        let mut descent = Descent::new(open(top));
        for level in 0..depth {
            let below = openat(descent.current(), "d", FOLDER, Mode::empty()).unwrap();
            descent.enter(below, level).unwrap();
        }
        descent
    }

    #[test]
    fn few_folders_are_open_and_the_way_back_is_the_way_down() {
        let home = tempfile::tempdir().unwrap();
        let depth = 5 * KEPT_OPEN;
        fs_err::create_dir_all(home.path().join(vec!["d"; depth].join("/"))).unwrap();
        let mut descent = down(home.path(), depth);
        let open = descent.levels.iter().filter(|level| level.folder.is_some()).count();
        assert_eq!(open, KEPT_OPEN);
        assert_eq!(descent.notes().count(), depth);
        for level in (0..depth).rev() {
            assert_eq!(descent.note(), Some(&mut level.clone()));
            assert_eq!(descent.leave(), Ok(Some(level)));
        }
        assert!(descent.is_at_top());
        assert_eq!(descent.leave(), Ok(None));
    }

    #[test]
    fn a_folder_that_was_moved_is_not_left_through_its_new_place() {
        let home = tempfile::tempdir().unwrap();
        let depth = 2 * KEPT_OPEN;
        let below = |depth: usize| home.path().join(vec!["d"; depth].join("/"));
        fs_err::create_dir_all(below(depth)).unwrap();
        fs_err::create_dir_all(home.path().join("elsewhere")).unwrap();
        let mut descent = down(home.path(), depth);
        fs_err::rename(below(depth - KEPT_OPEN), home.path().join("elsewhere/d")).unwrap();
        let left: Vec<_> = std::iter::repeat_with(|| descent.leave()).take(depth).collect();
        let moved = left.iter().position(|left| *left == Err(Moved));
        assert_eq!(moved, Some(KEPT_OPEN), "{left:?}");
    }
}
