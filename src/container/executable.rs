//! The executable from which helpers are started: the file itself, or a sealed copy in memory.
//!
//! A process of a container can open the executable of its process 1 (`/proc/1/exe`), or run the
//! executable by a script that begins with `#!/proc/self/exe`. If the container's root owned the
//! file, the process could change content or mode (CVE-2019-5736). No id of a container has any
//! right over a file of another owner, such as an executable installed by root: helpers are started
//! from such a file directly. Of any other file, a sealed copy is made in memory, once per run (8
//! to 12 ms for 20 MB). A copy has no name on any filesystem, and nothing can change its content. A
//! container that owns the copy can change its mode, so that no further helper could be started:
//! then another copy is made. A read-only mount of the file would avoid the copy, but a helper
//! would have to execute itself again in its user namespace.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::idmap::{IdMap, IdRange};
use super::namespace::fd_path;

static COPY: Mutex<Option<SealedCopy>> = Mutex::new(None);

/// Path of this process's executable.
const OWN: &str = "/proc/self/exe";

/// Write permissions of groups and of everybody; where a file has an access list, the former are its mask.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Executable that no process of a container can change, for this process and its children.
#[derive(Debug)]
pub(super) enum Executable {
    /// The executable of this process.
    Own,
    /// A copy in memory.
    Copy(Arc<OwnedFd>),
}

impl Executable {
    /// Path, valid for the lifetime of this value.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Own => OWN.into(),
            Self::Copy(file) => fd_path(&**file).into(),
        }
    }
}

/// Returns an executable that no process of a container with these ids can change.
pub(super) fn unchangeable(map: &IdMap) -> io::Result<Executable> {
    let own = fs_err::metadata(OWN)?;
    if is_out_of_reach(own.uid(), own.gid(), own.mode(), map) {
        return Ok(Executable::Own);
    }
    sealed().map(Executable::Copy)
}

/// True if neither owner nor group of a file is among the ids, and only the owner may write.
fn is_out_of_reach(uid: u32, gid: u32, mode: u32, map: &IdMap) -> bool {
    let has = |ranges: &[IdRange], id: u32| {
        ranges.iter().any(|range| id.checked_sub(range.outside).is_some_and(|n| n < range.count))
    };
    mode & WRITABLE_BY_OTHERS == 0 && !has(&map.uids, uid) && !has(&map.gids, gid)
}

/// Copy, with the time of its last change of mode.
#[derive(Debug)]
struct SealedCopy {
    file: Arc<OwnedFd>,
    changed: (i64, i64),
}

fn sealed() -> io::Result<Arc<OwnedFd>> {
    // The other threads wait meanwhile: there is one copy for all.
    let mut copy = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(SealedCopy { file, changed }) = &*copy
        // A container whose root owns the copy can take its x bit by `fchmod`, which no seal
        // forbids.
        && last_change(file)? == *changed
    {
        return Ok(Arc::clone(file));
    }
    let file = Arc::new(make()?);
    let changed = last_change(&file)?;
    *copy = Some(SealedCopy { file: Arc::clone(&file), changed });
    Ok(file)
}

/// Time of the last change of a file's attributes (ctime), which cannot be set.
fn last_change(file: &OwnedFd) -> io::Result<(i64, i64)> {
    let found = nix::sys::stat::fstat(file)?;
    Ok((found.st_ctime, found.st_ctime_nsec))
}

fn make() -> io::Result<OwnedFd> {
    let mut own = fs_err::File::open(OWN)?;
    let mut copy = File::from(create()?);
    io::copy(own.file_mut(), &mut copy)?;
    let seals = SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy.into())
}

fn create() -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // With `vm.memfd_noexec` 1 the default is a file that nobody can execute (Linux 6.3).
    let executable = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    match memfd_create(c"mkpanda", executable) {
        // Before Linux 6.3 every such file may be executed.
        Err(Errno::EINVAL) => memfd_create(c"mkpanda", flags),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_no_id_of_the_container_owns_is_out_of_reach() {
        let ranges = |first| vec![IdRange { inside: 1, outside: first, count: 65_536 }];
        let mut map = IdMap::single(1000, 1000);
        map.uids.extend(ranges(100_000));
        map.gids.extend(ranges(200_000));
        for (uid, gid, mode, expected) in [
            (0, 0, 0o755, true),
            (0, 0, 0o4755, true),
            (0, 0, 0o775, false),
            (0, 0, 0o757, false),
            (1000, 0, 0o755, false),
            (0, 1000, 0o755, false),
            (999, 1001, 0o555, true),
            (100_000, 0, 0o755, false),
            (165_535, 0, 0o755, false),
            (165_536, 0, 0o755, true),
            (200_000, 100_000, 0o755, true),
            (0, 265_535, 0o755, false),
        ] {
            assert_eq!(is_out_of_reach(uid, gid, mode, &map), expected, "{uid}:{gid} {mode:o}");
        }
    }

    #[test]
    fn the_copy_is_the_executable_and_cannot_be_changed() {
        let file = sealed().unwrap();
        let path = Executable::Copy(Arc::clone(&file)).path();
        assert_eq!(path, PathBuf::from(fd_path(&*sealed().unwrap())), "there is one copy");
        let (copy, own) =
            (fs_err::metadata(&path).unwrap(), fs_err::metadata("/proc/self/exe").unwrap());
        assert_eq!(copy.len(), own.len());
        assert_ne!((copy.dev(), copy.ino()), (own.dev(), own.ino()));
        let copy = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        assert!(copy.set_len(0).is_err());
        assert!(io::Write::write(&mut copy.into_file(), b"x").is_err());
        assert!(can_be_started(&path));
        // As a container does that owns it.
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
        assert!(!can_be_started(&path));
        let another = sealed().unwrap();
        assert!(can_be_started(&Executable::Copy(another).path()));
        assert_eq!(fs_err::metadata(&path).unwrap().mode() & 0o777, 0, "the first one lives on");
    }

    fn can_be_started(path: &std::path::Path) -> bool {
        let mut command = std::process::Command::new(path);
        command.arg("--list").stdout(std::process::Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}
