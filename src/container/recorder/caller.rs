//! Looking a file up as a process in a container would, from outside.
//!
//! The caller is identified by the number of its thread in the helper's pid namespace; a pidfd
//! translates the number for the `/proc` visible to the helper, which may belong to any namespace
//! above. The caller's resources (root, working directory, descriptors, memory) are opened through
//! that `/proc`, and the kernel resolves the path below the caller's own root, so that no symlink
//! leads out and no link of the container's `/proc` is followed: such links would mean the helper.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::call::{Named, PathStart};
use super::chown_command::{NamedId, named_id};
use crate::container::{namespace, poll};

/// Upper limit of a path's bytes, including NUL.
const LONGEST: usize = libc::PATH_MAX.unsigned_abs() as usize;
/// Size of the caller's memory pages: if one byte of a page is readable, all are.
const PAGE: usize = 4096;
/// Upper limit of retries for a lookup that was disturbed by a concurrent rename.
const ATTEMPTS: u32 = 32;

/// Reason why a file could not be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailedLookup {
    /// The caller would be told the same.
    Errno(Errno),
    /// The lookup is impossible from outside.
    Unknown,
}

impl From<Errno> for FailedLookup {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::ENAMETOOLONG => {
                Self::Errno(errno)
            }
            _ => Self::Unknown,
        }
    }
}

/// A process in the container.
#[derive(Debug)]
pub(super) struct Caller {
    /// Folder of the process in `/proc`.
    proc: PathBuf,
    /// Open thread directory, which keeps the number in the folder's name from being reused.
    _thread: OwnedFd,
}

/// Reads a field of a descriptor's `fdinfo`.
pub(super) fn field(of: BorrowedFd<'_>, name: &str) -> Option<u64> {
    use std::io::Read;
    let file = fs_err::File::open(format!("/proc/self/fdinfo/{}", of.as_raw_fd())).ok()?;
    // All of it is a few lines, which come at once.
    let mut text = [0; 1024];
    let length = file.into_file().read(&mut text).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

impl Caller {
    pub(super) fn of(thread: Pid) -> Option<Self> {
        Self::by(poll::thread_pidfd_open(thread).ok()?)
    }

    fn by(thread: OwnedFd) -> Option<Self> {
        // 0 if that `/proc` doesn't show it.
        let number = field(thread.as_fd(), "Pid").filter(|number| *number > 0)?;
        Some(Self { proc: format!("/proc/{number}").into(), _thread: thread })
    }

    /// Root of the caller.
    pub(super) fn root(&self) -> nix::Result<OwnedFd> {
        reach(&self.proc.join("root"))
    }

    /// Root of the caller's mount namespace, above the caller's own root after a `chroot`.
    pub(super) fn top(&self) -> Option<OwnedFd> {
        let root = self.root().ok()?;
        let above: PathBuf = place(&root)?.iter().skip(1).map(|_| "..").collect();
        // From here, `..` leads out of the caller's root.
        let top = if above.as_os_str().is_empty() {
            root
        } else {
            openat(&root, &above, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok()?
        };
        (place(&top)?.as_os_str() == "/").then_some(top)
    }

    /// Ids that the caller's command line names.
    pub(super) fn named_id(&self) -> Option<NamedId> {
        let file = fs_err::File::open(self.proc.join("cmdline")).ok()?;
        let mut line = [0; PAGE];
        let length = file.file().read_at(&mut line, 0).ok()?;
        named_id(&line[..length])
    }

    /// Opens the file of a call with `O_PATH`.
    pub(super) fn find(&self, file: Named) -> Result<OwnedFd, FailedLookup> {
        let Named::Path { from, address, follow, may_be_empty } = file else {
            let Named::Descriptor(number) = file else { return Err(FailedLookup::Unknown) };
            return self.descriptor(number);
        };
        let path = self.path(address)?;
        if path.as_os_str().is_empty() {
            return if may_be_empty { self.folder(from) } else { Err(Errno::ENOENT.into()) };
        }
        match own_descriptor(&path) {
            Some(number) if follow => self.descriptor(number),
            _ => self.resolve(from, &path, follow),
        }
    }

    fn descriptor(&self, number: i32) -> Result<OwnedFd, FailedLookup> {
        reach(&self.proc.join(format!("fd/{number}"))).map_err(|errno| match errno {
            Errno::ENOENT => FailedLookup::Errno(Errno::EBADF),
            errno => errno.into(),
        })
    }

    fn folder(&self, from: PathStart) -> Result<OwnedFd, FailedLookup> {
        match from {
            PathStart::WorkingDirectory => Ok(reach(&self.proc.join("cwd"))?),
            PathStart::Descriptor(number) => self.descriptor(number),
        }
    }

    fn resolve(&self, from: PathStart, path: &Path, follow: bool) -> Result<OwnedFd, FailedLookup> {
        let root = self.root()?;
        if path.is_absolute() {
            return Ok(look_up(&root, path, ResolveFlag::RESOLVE_IN_ROOT, follow)?);
        }
        let folder = self.folder(from)?;
        let plainly = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
        match look_up(&folder, path, plainly, follow) {
            // A symlink on the way, or `..`: they are resolved from the root, with what leads there.
            Err(Errno::ELOOP | Errno::EXDEV) => {}
            looked => return Ok(looked?),
        }
        let (above, top) = (place(&folder).ok_or(FailedLookup::Unknown)?, place(&root));
        let below = above.strip_prefix(top.ok_or(FailedLookup::Unknown)?);
        let whole = below.map_err(|_error| FailedLookup::Unknown)?.join(path);
        Ok(look_up(&root, &whole, ResolveFlag::RESOLVE_IN_ROOT, follow)?)
    }

    /// Reads a path from the caller's memory.
    fn path(&self, address: u64) -> Result<PathBuf, FailedLookup> {
        let unreadable = |error: io::Error| match error.raw_os_error() {
            // Where nothing is mapped, `/proc/<pid>/mem` gives EIO, and the call itself would give EFAULT.
            Some(libc::EIO | libc::EFAULT) => FailedLookup::Errno(Errno::EFAULT),
            _ => FailedLookup::Unknown,
        };
        let memory = fs_err::File::open(self.proc.join("mem")).map_err(unreadable)?;
        let mut path = Vec::new();
        while path.len() < LONGEST {
            let at = address.wrapping_add(path.len() as u64);
            let mut portion = [0; PAGE];
            let length = PAGE - usize::try_from(at % PAGE as u64).unwrap_or(0);
            let count = memory.file().read_at(&mut portion[..length], at).map_err(unreadable)?;
            if count == 0 {
                return Err(FailedLookup::Errno(Errno::EFAULT));
            }
            let portion = &portion[..count];
            if let Some(end) = portion.iter().position(|byte| *byte == 0) {
                path.extend_from_slice(&portion[..end]);
                let is_short = path.len() < LONGEST;
                let path = PathBuf::from(OsString::from_vec(path));
                return if is_short { Ok(path) } else { Err(Errno::ENAMETOOLONG.into()) };
            }
            path.extend_from_slice(portion);
        }
        Err(Errno::ENAMETOOLONG.into())
    }
}

/// Path of a file in the caller's mount namespace.
pub(super) fn place(file: &OwnedFd) -> Option<PathBuf> {
    let place = fs_err::read_link(namespace::fd_path(file)).ok()?;
    place.is_absolute().then_some(place)
}

/// Follows a link of `/proc` with `O_PATH`.
fn reach(link: &Path) -> nix::Result<OwnedFd> {
    open(link, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

fn look_up(from: &OwnedFd, path: &Path, how: ResolveFlag, follow: bool) -> nix::Result<OwnedFd> {
    let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    if !follow {
        flags |= OFlag::O_NOFOLLOW;
    }
    let how = OpenHow::new().flags(flags).resolve(how);
    for _ in 0..ATTEMPTS {
        match openat2(from.as_fd(), path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::EAGAIN)
}

/// The descriptor of the caller's that a path in `/proc` or `/dev` means, as C libraries use them.
fn own_descriptor(path: &Path) -> Option<i32> {
    let text = std::str::from_utf8(path.as_os_str().as_bytes()).ok()?;
    let folders = ["/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"];
    match text {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => folders.iter().find_map(|folder| text.strip_prefix(folder))?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(named: Named) -> Result<PathBuf, FailedLookup> {
        // A thread of the test that is not the process's first.
        let caller = Caller::of(nix::unistd::gettid()).unwrap();
        caller.find(named).map(|found| place(&found).unwrap())
    }

    fn find_path(path: &Path, from: PathStart, follow: bool) -> Result<PathBuf, FailedLookup> {
        let text = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        let address = text.as_ptr().addr() as u64;
        find(Named::Path { from, address, follow, may_be_empty: true })
    }

    #[test]
    fn a_file_is_found_as_the_caller_names_it() {
        let place = tempfile::tempdir().unwrap();
        let top = fs_err::canonicalize(place.path()).unwrap();
        fs_err::create_dir(top.join("folder")).unwrap();
        fs_err::write(top.join("folder/file"), "").unwrap();
        let link = |target: &str, name| {
            fs_err::os::unix::fs::symlink(target, top.join(name)).unwrap();
        };
        link("folder/file", "relative");
        link("/etc", "absolute");
        let folder = fs_err::File::open(&top).unwrap();
        let from = PathStart::Descriptor(folder.as_raw_fd());
        for (path, follow, expected) in [
            ("folder/file", true, top.join("folder/file")),
            ("folder/../folder", true, top.join("folder")),
            ("relative", true, top.join("folder/file")),
            ("relative", false, top.join("relative")),
            ("absolute", true, "/etc".into()),
            ("../", true, top.parent().unwrap().to_owned()),
            ("", true, top.clone()),
            ("/", true, "/".into()),
        ] {
            assert_eq!(find_path(Path::new(path), from, follow), Ok(expected), "{path}");
        }
        let missing = find_path(Path::new("nowhere"), from, true);
        assert_eq!(missing, Err(FailedLookup::Errno(Errno::ENOENT)));
        let number = folder.as_raw_fd();
        assert_eq!(find(Named::Descriptor(number)), Ok(top.clone()));
        let own = format!("/proc/self/fd/{number}");
        assert_eq!(find_path(Path::new(&own), PathStart::WorkingDirectory, true), Ok(top));
        assert_eq!(find(Named::Descriptor(-1)), Err(FailedLookup::Errno(Errno::EBADF)));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let named = |address| Named::Path {
            from: PathStart::WorkingDirectory,
            address,
            follow: true,
            may_be_empty: false,
        };
        assert_eq!(find(named(8)), Err(FailedLookup::Errno(Errno::EFAULT)));
        let long = PathBuf::from("x".repeat(5000));
        let found = find_path(&long, PathStart::WorkingDirectory, true);
        assert_eq!(found, Err(FailedLookup::Errno(Errno::ENAMETOOLONG)));
        assert!(find_path(Path::new(""), PathStart::Descriptor(-1), true).is_err());
    }
}
