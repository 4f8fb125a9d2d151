//! Repeated entries of a source archive: a later entry is compared with the file that an earlier one made.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, futimens};
use nix::sys::time::TimeSpec;

use super::destination::{EntryMetadata, UnpackFolder};
use super::error::{ReadError, UnpackError};
use super::folders::permissions;
use super::overlay_form::{kind, stat};
use super::path::EntryPath;
use super::write_error::fail;

impl UnpackFolder {
    /// A file that an earlier entry made: taken if the content is the same, and then with the later mode and
    /// time, as tar leaves it.
    pub(super) fn repeated_file(
        &mut self,
        path: &EntryPath,
        size: u64,
        mut content: impl Read,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let place = self.place(path, with, "a file")?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Its mode may keep it from being read.
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        fchmodat(&place.0, place.1, mode, FchmodatFlags::FollowSymlink)
            .map_err(fail(path, "opening it again"))?;
        let file = openat(&place.0, place.1, flags, Mode::empty());
        let mut file = File::from(file.map_err(fail(path, "opening it again"))?);
        let unreadable = |source| {
            let action = "reading it again";
            UnpackError::Write { path: path.clone(), action, source }
        };
        let duplicate = || Err(ReadError::Duplicate(path.clone()).into());
        if file.metadata().map_err(unreadable)?.len() != size {
            return duplicate();
        }
        let mut there = vec![0; self.buffer.len()];
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::stream(error).into()),
            };
            match file.read_exact(&mut there[..count]) {
                Ok(()) if there[..count] == self.buffer[..count] => {}
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(unreadable(error));
                }
                _ => return duplicate(),
            }
        }
        fchmod(&file, permissions(with.mode)).map_err(fail(path, "setting its mode"))?;
        let mtime = TimeSpec::new(with.mtime, 0);
        futimens(&file, &mtime, &mtime).map_err(fail(path, "setting its time"))
    }

    /// True if an earlier entry made a symlink with that target.
    pub(super) fn has_symlink(&self, path: &EntryPath, target: &[u8]) -> Result<bool, UnpackError> {
        let Some((above, name)) = path.split() else { return Ok(false) };
        let looking = "looking at it again";
        let above = self.folders.find(above).map_err(fail(path, looking))?;
        match readlinkat(&above, OsStr::from_bytes(name)) {
            Ok(there) => Ok(there.as_bytes() == target),
            Err(Errno::EINVAL) => Ok(false),
            Err(error) => Err(fail(path, looking)(error)),
        }
    }

    /// True if two paths are names of one file.
    pub(super) fn is_one_file(&self, path: &EntryPath, other: &EntryPath) -> bool {
        let identity = |at: &EntryPath| {
            let (above, name) = at.split()?;
            let above = self.folders.find(above).ok()?;
            let there = stat(&above, OsStr::from_bytes(name)).ok()?;
            (kind(&there) != SFlag::S_IFDIR).then_some((there.st_dev, there.st_ino))
        };
        identity(path).is_some_and(|it| identity(other) == Some(it))
    }
}
