//! What this machine gives: found out by trying, in a helper, before anything is built.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde::{Deserialize, Serialize};

use super::idmap::{IdMap, Tier};
use super::sandbox::Sysfs;
use super::sys;

/// What was found, as each build's record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The id maps that containers get.
    pub map: IdMap,
    /// What containers have to do without here, or do another way.
    pub conditions: Vec<Condition>,
    /// How the containers' roots are made.
    pub root: RootKind,
}

/// Something that is not as on a plain machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A fresh procfs is refused, as it is inside other containers: the outer one and the outer
    /// sysfs are shown, and Landlock keeps the build from the processes that it sees there.
    NestedProc,
    /// A fresh sysfs alone is refused, as where only parts of it are seen: the outer one is shown.
    OuterSys,
    /// A fresh sysfs is refused and there is none to be shown: builds have none.
    NoSys,
    /// The name of the host can't be set, as an outer container's policy refuses that: builds see
    /// the outer container's.
    OuterHostName,
    /// The kernel has no Landlock scopes (version 6), which only matters together with others.
    NoLandlockScope,
}

/// How a container's root is made from an image's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// An overlay whose upper directory lies in the scratch folder.
    Overlay,
    /// An overlay whose upper directory lies on a tmpfs: the scratch folder's filesystem can't
    /// carry one.
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

    /// Which sysfs containers see that have a network namespace of their own.
    pub fn sysfs(&self) -> Sysfs {
        if self.has(&Condition::NoSys) {
            Sysfs::None
        } else if self.has(&Condition::NestedProc) || self.has(&Condition::OuterSys) {
            Sysfs::Outer
        } else {
            Sysfs::Fresh
        }
    }

    /// Whether a condition holds.
    pub fn has(&self, condition: &Condition) -> bool {
        self.conditions.contains(condition)
    }
}

/// What switches user namespaces off here, in words, with the remedy.
pub fn user_namespace_cause(errno: Errno) -> String {
    let setting = |name: &str| {
        fs_err::read_to_string(Path::new("/proc/sys").join(name)).map(|text| text.trim().to_owned())
    };
    let is = |name: &str, value: &str| setting(name).is_ok_and(|text| text == value);
    if is("user/max_user_namespaces", "0") {
        return "user.max_user_namespaces is 0; let root run: sysctl -w user.max_user_namespaces=15000".to_owned();
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        return "kernel.unprivileged_userns_clone is 0; let root run: sysctl -w kernel.unprivileged_userns_clone=1".to_owned();
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "AppArmor restricts them; let root run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give mkpanda an AppArmor profile with the rule `userns,`".to_owned();
    }
    match errno {
        Errno::ENOSPC => "the limit user.max_user_namespaces is reached; raise it".to_owned(),
        Errno::EPERM => "a seccomp or LSM policy of an outer container refuses them; start that container with a profile that permits unshare and clone with new user namespaces".to_owned(),
        _ => "this kernel was built without them, or an outer sandbox refuses them".to_owned(),
    }
}

/// What [`probe`] found inside the namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// What is not as on a plain machine.
    pub conditions: Vec<Condition>,
    /// How roots can be made.
    pub root: RootKind,
}

/// Tries what a build will need. Called inside the namespaces, as the container's root, with a
/// private tmpfs and a folder on the scratch filesystem to try things on.
pub fn probe(tmpfs: &Path, scratch: &Path) -> std::io::Result<Probed> {
    let mut conditions = Vec::new();
    let place = fresh(tmpfs, "special")?;
    if !can_mount("proc", &place)? {
        conditions.push(Condition::NestedProc);
    } else if !can_mount("sysfs", &place)? {
        let is_there = Path::new("/sys/kernel").exists();
        conditions.push(if is_there { Condition::OuterSys } else { Condition::NoSys });
    }
    let own_name = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUTS);
    if own_name.and_then(|()| nix::unistd::sethostname(super::sandbox::HOST_NAME)).is_err() {
        conditions.push(Condition::OuterHostName);
    }
    if sys::landlock_version() < LANDLOCK_WITH_SCOPES {
        conditions.push(Condition::NoLandlockScope);
    }
    let root = if can_overlay(tmpfs, scratch)? {
        RootKind::Overlay
    } else if can_overlay(tmpfs, tmpfs)? {
        RootKind::OverlayOnTmpfs { size: tmpfs_size() }
    } else {
        RootKind::Copy
    };
    Ok(Probed { conditions, root })
}

/// The Landlock version that scopes signals and abstract sockets.
pub const LANDLOCK_WITH_SCOPES: u32 = 6;

fn can_mount(kind: &str, place: &Path) -> std::io::Result<bool> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if mount(Some(kind), place, Some(kind), flags, None::<&str>).is_err() {
        return Ok(false);
    }
    umount2(place, MntFlags::MNT_DETACH)?;
    Ok(true)
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
