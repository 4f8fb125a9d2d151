//! Table of the kernel's filesystems in a container: [`super::sandbox`] describes containers by it, and
//! [`super::machine`] tries its entries.
//!
//! `/dev` and its first two filesystems are mounted here, before the container's first process
//! exists: for each missing mount point, libcontainer needs about 90 system calls. The other
//! filesystems belong to a namespace that does not exist yet.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// Filesystem of the kernel's, and its place in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SystemMount {
    pub(super) target: &'static str,
    pub(super) kind: &'static str,
    /// Options as in an OCI runtime specification.
    pub(super) options: &'static [&'static str],
}

pub(super) const PROC: SystemMount =
    SystemMount { target: "/proc", kind: "proc", options: &["nosuid", "nodev", "noexec"] };

pub(super) const DEV: SystemMount = SystemMount {
    target: "/dev",
    kind: "tmpfs",
    // As in the example of the OCI runtime specification ("Mounts"), and `/dev/shm` below.
    options: &["nosuid", "strictatime", "mode=755", "size=65536k"],
};

/// Without gid=5: group 5 may be missing in the map.
pub(super) const TERMINALS: SystemMount = SystemMount {
    target: "/dev/pts",
    kind: "devpts",
    options: &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
};

pub(super) const SHARED_MEMORY: SystemMount = SystemMount {
    target: "/dev/shm",
    kind: "tmpfs",
    options: &["nosuid", "nodev", "noexec", "mode=1777", "size=65536k"],
};

pub(super) const MESSAGE_QUEUES: SystemMount =
    SystemMount { target: "/dev/mqueue", kind: "mqueue", options: &["nosuid", "nodev", "noexec"] };

/// sysfs shows the network namespace, so mounting one needs a namespace of our own.
pub(super) const SYS: SystemMount =
    SystemMount { target: "/sys", kind: "sysfs", options: &["ro", "nosuid", "nodev", "noexec"] };

impl SystemMount {
    /// Mounts the filesystem at a folder, without flags: libcontainer sets them after mounting. Hence a
    /// sysfs is refused in both ways where every visible sysfs is read-only.
    pub(super) fn mount_at(&self, place: &Path) -> nix::Result<()> {
        let is_flag =
            |option: &&&str| ["ro", "nosuid", "nodev", "noexec", "strictatime"].contains(*option);
        let data: Vec<&str> =
            self.options.iter().filter(|option| !is_flag(option)).copied().collect();
        let data = data.join(",");
        mount(Some(self.kind), place, Some(self.kind), MsFlags::empty(), Some(data.as_str()))
    }

    /// Mounts the filesystem in its place below a root, with its flags. The root has no symbolic link there.
    fn mount_below(&self, root: &Path) -> io::Result<()> {
        let place = self.make_point(root)?;
        let (mut flags, mut data) = (MsFlags::empty(), Vec::new());
        for option in self.options {
            match *option {
                "nosuid" => flags |= MsFlags::MS_NOSUID,
                "nodev" => flags |= MsFlags::MS_NODEV,
                "noexec" => flags |= MsFlags::MS_NOEXEC,
                "strictatime" => flags |= MsFlags::MS_STRICTATIME,
                other => data.push(other),
            }
        }
        let data = data.join(",");
        mount(Some(self.kind), &place, Some(self.kind), flags, Some(data.as_str()))
            .map_err(|errno| io::Error::other(format!("{}: {errno}", self.target)))
    }

    fn make_point(&self, root: &Path) -> io::Result<PathBuf> {
        let place = root.join(self.target.trim_start_matches('/'));
        match fs_err::create_dir(&place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(place),
        }
    }
}

/// Mounts `/dev` below a container's root, with the parts that do not depend on the container's
/// namespaces; without pseudo-terminals if `terminals` is false.
pub(super) fn mount_devices(root: &Path, terminals: bool) -> io::Result<()> {
    DEV.mount_below(root)?;
    if terminals {
        TERMINALS.mount_below(root)?;
    }
    SHARED_MEMORY.mount_below(root)?;
    // Mounted by libcontainer, since the queues belong to the container's ipc namespace.
    MESSAGE_QUEUES.make_point(root).map(drop)
}
