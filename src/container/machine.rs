//! Features of this machine, found by trials in a helper, before any build.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use super::idmap::{IdMap, Tier};
use super::sandbox::{Special, Sysfs};
use super::sys;
use super::system_mounts::{MESSAGE_QUEUES, PROC, SYS, SystemMount, TERMINALS};

/// Features of the machine, as kept in each build's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Id maps of containers.
    pub map: IdMap,
    /// Restrictions and substitutes for containers on this machine.
    pub conditions: Vec<Condition>,
    /// Method of making containers' roots.
    pub root: RootKind,
}

/// Something that is not as on a plain machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A fresh procfs is refused, as inside other containers: the outer procfs is bound, and
    /// Landlock keeps builds away from the visible processes.
    NestedProc,
    /// A fresh sysfs is refused, as where only parts of it are visible: the outer sysfs is bound.
    OuterSys,
    /// A fresh sysfs is refused and an outer one is missing: builds have none.
    NoSys,
    /// devpts is refused: builds have no pseudo-terminals.
    NoTerminals,
    /// mqueue is refused, or the kernel has none: builds have no POSIX message queues.
    NoMessageQueues,
    /// The name of the host can't be set, as an outer container's policy refuses that: builds see
    /// the outer container's.
    OuterHostName,
    /// The kernel has no Landlock scopes (version 6), which only matters together with others.
    NoLandlockScope,
}

/// Method of making a container's root from an image's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// An overlay whose upper directory lies in the scratch folder.
    Overlay,
    /// An overlay whose upper directory is on a tmpfs: the scratch folder's filesystem does not
    /// support upper directories.
    OverlayOnTmpfs {
        /// The tmpfs's size in bytes.
        size: u64,
    },
    /// A copy of the layers: the kernel gives no overlay at all.
    Copy,
}

impl Machine {
    /// The tier.
    pub fn tier(&self) -> Tier {
        self.map.tier
    }

    /// Sysfs for containers with a network namespace of their own.
    pub fn sysfs(&self) -> Sysfs {
        if self.has(&Condition::NoSys) {
            Sysfs::None
        } else if self.has(&Condition::OuterSys) {
            Sysfs::Outer
        } else {
            Sysfs::Fresh
        }
    }

    /// Filesystems missing in containers.
    pub fn left_out(&self) -> Vec<Special> {
        let conditions = [
            (Condition::NoTerminals, Special::Terminals),
            (Condition::NoMessageQueues, Special::MessageQueues),
        ];
        let found = conditions.into_iter().filter(|(condition, _)| self.has(condition));
        found.map(|(_, special)| special).collect()
    }

    /// True if a condition holds.
    pub fn has(&self, condition: &Condition) -> bool {
        self.conditions.contains(condition)
    }
}

/// Results of [`probe`] inside the namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Deviations from a plain machine.
    pub conditions: Vec<Condition>,
    /// Method of making roots.
    pub root: RootKind,
}

impl Probed {
    /// True where nothing but Landlock may be missing, which takes no part in making a container.
    pub fn is_plain(&self) -> bool {
        self.root == RootKind::Overlay
            && self.conditions.iter().all(|condition| *condition == Condition::NoLandlockScope)
    }
}

/// Tries the features that builds need. Called inside the namespaces, as the container's root, with
/// a private tmpfs and a folder on the scratch filesystem for the trials.
pub fn probe(tmpfs: &Path, scratch: &Path) -> std::io::Result<Probed> {
    // Features of a container's namespaces are tried in such namespaces.
    let own = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    let has_own = nix::sched::unshare(own);
    let place = fresh(tmpfs, "special")?;
    let mut conditions = refused_mounts(Path::new("/sys/kernel").exists(), |kind| {
        if let Err(errno) = kind.mount_at(&place) {
            tracing::debug!(kind = kind.kind, %errno, "refused");
            return Ok(false);
        }
        umount2(&place, MntFlags::MNT_DETACH)?;
        Ok(true)
    })?;
    if has_own.and_then(|()| nix::unistd::sethostname(super::sandbox::HOST_NAME)).is_err() {
        conditions.push(Condition::OuterHostName);
    }
    if sys::landlock_version() < LANDLOCK_WITH_SCOPES {
        conditions.push(Condition::NoLandlockScope);
    }
    let root = if can_overlay(tmpfs, scratch)? {
        RootKind::Overlay
    // The root of an outer container is an overlay mostly, which the kernel refuses as an upper
    // directory (EINVAL); a tmpfs works there.
    } else if can_overlay(tmpfs, tmpfs)? {
        RootKind::OverlayOnTmpfs { size: tmpfs_size() }
    } else {
        RootKind::Copy
    };
    Ok(Probed { conditions, root })
}

/// The Landlock version that scopes signals and abstract sockets.
pub const LANDLOCK_WITH_SCOPES: u32 = 6;

/// Tries each filesystem that the kernel may refuse. `has_outer_sys` is true if `/sys` can be bound
/// in place of a fresh sysfs.
fn refused_mounts(
    has_outer_sys: bool,
    mut is_given: impl FnMut(&SystemMount) -> std::io::Result<bool>,
) -> std::io::Result<Vec<Condition>> {
    let tried = [
        (PROC, Condition::NestedProc),
        (SYS, if has_outer_sys { Condition::OuterSys } else { Condition::NoSys }),
        (TERMINALS, Condition::NoTerminals),
        (MESSAGE_QUEUES, Condition::NoMessageQueues),
    ];
    let mut refused = Vec::new();
    for (mount, condition) in tried {
        if !is_given(&mount)? {
            refused.push(condition);
        }
    }
    Ok(refused)
}

fn can_overlay(tmpfs: &Path, writable: &Path) -> std::io::Result<bool> {
    let lower = fresh(tmpfs, "lower")?;
    let target = fresh(tmpfs, "merged")?;
    let upper = fresh(writable, "upper")?;
    let work = fresh(writable, "work")?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr",
        lower.display(),
        upper.display(),
        work.display()
    );
    let mounted =
        mount(Some("overlay"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str()));
    let usable = match mounted {
        Ok(()) => {
            // Some filesystems mount and then refuse the first write.
            let written = fs_err::write(target.join("x"), "x")
                .and_then(|()| fs_err::remove_file(target.join("x")));
            umount2(&target, MntFlags::MNT_DETACH)?;
            written.is_ok()
        }
        Err(_) => false,
    };
    for folder in [upper, work] {
        // The kernel leaves a folder without any permission in the work directory.
        if let Ok(inner) = fs_err::read_dir(&folder) {
            for entry in inner.flatten() {
                fs_err::remove_dir(entry.path())?;
            }
        }
        fs_err::remove_dir(&folder)?;
    }
    Ok(usable)
}

fn fresh(folder: &Path, name: &str) -> std::io::Result<PathBuf> {
    let path = folder.join(format!("probe-{name}"));
    fs_err::create_dir_all(&path)?;
    Ok(path)
}

/// The size of a tmpfs that stands in for scratch space: half of the memory.
fn tmpfs_size() -> u64 {
    let text = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.unwrap_or(2 << 20) * 1024 / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refused_filesystem_is_a_condition_of_its_own() {
        use Condition::{NestedProc, NoMessageQueues, NoSys, NoTerminals, OuterSys};
        let cases: [(&[&str], bool, &[Condition], Sysfs); 6] = [
            (&[], true, &[], Sysfs::Fresh),
            // Another container, and a sandbox that covers parts of /proc and has no /sys.
            (&["proc", "sysfs"], true, &[NestedProc, OuterSys], Sysfs::Outer),
            (&["proc", "sysfs"], false, &[NestedProc, NoSys], Sysfs::None),
            (&["proc"], true, &[NestedProc], Sysfs::Fresh),
            (&["sysfs"], false, &[NoSys], Sysfs::None),
            (&["devpts", "mqueue"], true, &[NoTerminals, NoMessageQueues], Sysfs::Fresh),
        ];
        for (refused, has_outer_sys, expected, sysfs) in cases {
            let is_given = |mount: &SystemMount| Ok(!refused.contains(&mount.kind));
            let conditions = refused_mounts(has_outer_sys, is_given).unwrap();
            assert_eq!(conditions, expected, "{refused:?}");
            let map = IdMap::single(1, 1);
            let machine = Machine { map, conditions, root: RootKind::Overlay };
            assert_eq!(machine.sysfs(), sysfs, "{refused:?}");
            let is_left_out = machine.left_out() == [Special::Terminals, Special::MessageQueues];
            assert_eq!(is_left_out, refused.contains(&"mqueue"));
        }
    }
}
