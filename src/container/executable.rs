//! The executable as helpers run it: a sealed copy in memory.
//!
//! A process of a container can open the file that its process 1 was started from (`/proc/1/exe`), or
//! have it run by a script that begins with `#!/proc/self/exe`. The container's root is often the user
//! who owns that file, and could change its content or mode (CVE-2019-5736). A sealed copy has no name
//! on any filesystem, and nothing can change its content; its mode concerns nobody else. One
//! copy serves all helpers of a run. A read-only mount of the file would need none, but a helper would have
//! to start itself anew after it entered its user namespace.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::namespace::fd_path;

static COPY: OnceLock<OwnedFd> = OnceLock::new();

/// Path of the copy, for this process and what it forks.
pub(super) fn sealed() -> io::Result<PathBuf> {
    let copy = if let Some(copy) = COPY.get() {
        copy
    } else {
        let copy = make()?;
        // Another thread may have been faster; then its copy is as good.
        COPY.get_or_init(|| copy)
    };
    Ok(fd_path(copy).into())
}

fn make() -> io::Result<OwnedFd> {
    let mut own = fs_err::File::open("/proc/self/exe")?;
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
    let executable = flags | MFdFlags::from_bits_retain(libc::MFD_EXEC);
    match memfd_create(c"mkpanda", executable) {
        // Before Linux 6.3 every such file may be executed.
        Err(Errno::EINVAL) => memfd_create(c"mkpanda", flags),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_copy_is_the_executable_and_cannot_be_changed() {
        let path = sealed().unwrap();
        assert_eq!(sealed().unwrap(), path, "there is one copy");
        let (copy, own) =
            (fs_err::metadata(&path).unwrap(), fs_err::metadata("/proc/self/exe").unwrap());
        assert_eq!(copy.len(), own.len());
        assert_ne!((copy.dev(), copy.ino()), (own.dev(), own.ino()));
        let copy = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        assert!(copy.set_len(0).is_err());
        assert!(io::Write::write(&mut copy.into_file(), b"x").is_err());
        let mut command = std::process::Command::new(path);
        command.arg("--list").stdout(std::process::Stdio::null());
        assert!(command.status().unwrap().success(), "it can be started");
    }
}
