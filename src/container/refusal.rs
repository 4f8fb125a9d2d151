//! Causes of refusals: settings of the machine, and policies or gaps of an outer sandbox, that keep
//! containers from being made; each with its remedy.
//!
//! The kernel gives one error number for many causes. A cause is named for certain only with a proof;
//! otherwise all possible causes are named.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::getppid;

/// Cause and remedy of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Cause, in words.
    pub cause: String,
    /// Change that lifts the refusal.
    pub remedy: String,
}

impl Refusal {
    fn new(cause: &str, remedy: &str) -> Self {
        Self { cause: cause.to_owned(), remedy: remedy.to_owned() }
    }
}

/// One of several alternatives in the text of a remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy<'t> {
    /// Command for root.
    Command(&'t str),
    /// Advice in words.
    Advice(&'t str),
}

impl<'t> Remedy<'t> {
    /// Splits the text of a remedy into the parts that help alone.
    pub fn all(text: &'t str) -> impl Iterator<Item = Self> {
        text.split("; or ").map(|part| match part.strip_prefix("let root run: ") {
            Some(command) => Self::Command(command),
            None => Self::Advice(part),
        })
    }
}

/// Remedy for a sandbox without capabilities whose user is uid 0.
const OTHER_UID: &str = "run mkpanda as another uid inside (bwrap --uid 1000, docker run --user 1000, REAPI's property unixUID), or leave it CAP_SETFCAP";

/// Remedy for a chroot.
const NO_CHROOT: &str = "enter that root by pivot_root instead of chroot: bwrap --bind ROOT / --proc /proc --dev /dev, or systemd-nspawn -D ROOT";

/// Remedy for a policy of an outer container.
const PERMIT: &str = "start the outer container with a profile that permits unshare and clone with new user namespaces (docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined)";

/// Explains why `unshare(CLONE_NEWUSER)` failed.
pub fn of_user_namespace(errno: Errno) -> Refusal {
    let is = |name: &str, value: &str| setting(name).is_some_and(|text| text == value);
    if is("user/max_user_namespaces", "0") {
        return Refusal::new(
            "user.max_user_namespaces is 0",
            "let root run: sysctl -w user.max_user_namespaces=15000",
        );
    }
    // A setting of Debian's kernels, which the upstream kernel doesn't have.
    if is("kernel/unprivileged_userns_clone", "0") {
        return Refusal::new(
            "kernel.unprivileged_userns_clone is 0",
            "let root run: sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    // On by default since Ubuntu 23.10.
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        return Refusal::new(
            "AppArmor restricts them",
            "let root run: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0; or give mkpanda an AppArmor profile with the rule `userns,`",
        );
    }
    match errno {
        Errno::ENOSPC => Refusal::new(
            "the limit user.max_user_namespaces of this user namespace or of one around it is reached, or they are nested 32 deep",
            "let root run: sysctl -w user.max_user_namespaces=15000; or start the outer sandbox without bwrap's --disable-userns",
        ),
        // Since Linux 3.9 (EPERM, unshare(2)).
        Errno::EPERM if is_surely_chrooted() => {
            Refusal::new("this runs in a chroot, in which the kernel refuses them", NO_CHROOT)
        }
        Errno::EPERM => Refusal {
            cause: "this runs in a chroot, in which the kernel refuses them, or a policy (seccomp, AppArmor, SELinux) of an outer container does".to_owned(),
            remedy: format!("in a chroot, {NO_CHROOT}; in a container, {PERMIT}"),
        },
        _ => Refusal::new(
            "this kernel was built without them, or an outer sandbox refuses them",
            "run mkpanda where `unshare --user true` succeeds",
        ),
    }
}

/// True if the root of this process is certainly not the root of its mount namespace. A chroot cannot be
/// told from a container while no process outside is visible.
fn is_surely_chrooted() -> bool {
    let read = |process: &str| {
        fs_err::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default()
    };
    let own = read("self");
    let parent = getppid().to_string();
    !own.is_empty() && ["1", &parent].iter().any(|other| is_chroot(&own, &read(other)))
}

/// Compares `/proc/<pid>/mountinfo` of this process and of another process: mount points are relative to
/// the reader's root, mount numbers are the same for all processes.
fn is_chroot(own: &str, other: &str) -> bool {
    fn fields(line: &str) -> Option<(&str, &str)> {
        let mut words = line.split(' ');
        Some((words.next()?, words.nth(3)?))
    }
    // Of several mounts on `/`, the last one is seen.
    let root = own.lines().filter_map(fields).rfind(|(_, at)| *at == "/");
    match root {
        // The root is a folder within a mount that cannot be seen.
        None => true,
        Some((number, _)) => {
            other.lines().filter_map(fields).any(|(known, at)| known == number && at != "/")
        }
    }
}

/// Explains why an id map could not be written. `could_map_root`: the process had `CAP_SETFCAP` when the
/// user namespace was made. `has_own_root`: uid 0 of the outer namespace is in the map.
pub fn of_id_map(error: &io::Error, could_map_root: bool, has_own_root: bool) -> Option<Refusal> {
    match error.kind() {
        // user_namespaces(7), "Defining user and group ID mappings"
        io::ErrorKind::PermissionDenied if has_own_root && !could_map_root => Some(Refusal::new(
            "mkpanda runs as uid 0 without the capability CAP_SETFCAP, and Linux 5.12 and newer refuse an id map that has that 0 in it",
            OTHER_UID,
        )),
        io::ErrorKind::ReadOnlyFilesystem => Some(Refusal::new(
            "/proc is mounted read-only here",
            "give the outer sandbox a writable /proc: bwrap --proc /proc",
        )),
        _ => None,
    }
}

/// Devices of every container, bound from here: a user namespace cannot make devices.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom"];

/// Explains that devices are missing here, if any are.
pub fn of_devices() -> Option<Refusal> {
    let is_device =
        |path: &&str| fs_err::metadata(path).is_ok_and(|data| data.file_type().is_char_device());
    let missing: Vec<&str> = DEVICES.iter().filter(|path| !is_device(path)).copied().collect();
    (!missing.is_empty()).then(|| Refusal {
        cause: format!("there is no {} here, which containers are shown", missing.join(", ")),
        remedy: "give the outer sandbox a whole /dev: bwrap --dev /dev, or --dev-bind /dev /dev"
            .to_owned(),
    })
}

/// Explains that `/proc` of this process's pid namespace is missing, if so.
pub fn of_proc() -> Option<Refusal> {
    let is_there = fs_err::symlink_metadata("/proc/self/exe").is_ok();
    (!is_there).then(|| {
        Refusal::new(
            "there is no /proc here, or that of another pid namespace",
            "mount one: mount -t proc proc /proc, or bwrap --proc /proc",
        )
    })
}

/// Explains why files in memory cannot be executed; `None` if they can.
pub fn of_executable_memory() -> Option<Refusal> {
    setting("vm/memfd_noexec").is_some_and(|value| value == "2").then(|| {
        Refusal::new(
            "vm.memfd_noexec is 2, and mkpanda's helpers are started from a copy in memory",
            "let root run: sysctl -w vm.memfd_noexec=1",
        )
    })
}

/// Value of a kernel setting, where present.
fn setting(name: &str) -> Option<String> {
    let text = fs_err::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chroot_is_told_by_what_is_mounted_where() {
        let machine =
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:20 / /srv/root rw - ext4 a rw\n";
        for (own, other, expected) in [
            (machine, machine, false),
            // The chroot's folder is no mount point: nothing is mounted on its `/`.
            ("22 25 0:21 / /proc rw - proc proc rw\n", machine, true),
            // It is one, and a process outside has it elsewhere.
            ("40 22 0:20 / / rw - ext4 a rw\n", machine, true),
            // A mount namespace of its own.
            ("80 1 0:20 / / rw - ext4 a rw\n", machine, false),
            // A root that covers another one.
            ("2 1 0:2 / / rw - rootfs rootfs rw\n80 2 0:20 / / rw - ext4 a rw\n", machine, false),
            // The other one cannot be read.
            ("80 1 0:20 / / rw - ext4 a rw\n", "", false),
        ] {
            assert_eq!(is_chroot(own, other), expected, "{own:?} {other:?}");
        }
    }

    #[test]
    fn a_refused_map_names_the_cause_that_holds() {
        let said = |errno: Errno, could_map_root, has_own_root| {
            let error = io::Error::from(errno);
            of_id_map(&error, could_map_root, has_own_root).map(|refusal| refusal.cause)
        };
        assert!(said(Errno::EPERM, false, true).unwrap().contains("CAP_SETFCAP"));
        assert_eq!(said(Errno::EPERM, true, true), None);
        assert_eq!(said(Errno::EPERM, false, false), None);
        assert!(said(Errno::EROFS, true, false).unwrap().contains("read-only"));
    }

    #[test]
    fn commands_for_root_are_told_from_advice() {
        use Remedy::{Advice, Command};
        for (text, parts) in [
            ("let root run: sysctl -w a=1", vec![Command("sysctl -w a=1")]),
            (
                "let root run: sysctl -w a=1; or give mkpanda a profile",
                vec![Command("sysctl -w a=1"), Advice("give mkpanda a profile")],
            ),
            ("raise a, or let root run less", vec![Advice("raise a, or let root run less")]),
        ] {
            assert_eq!(Remedy::all(text).collect::<Vec<_>>(), parts);
        }
        let full = of_user_namespace(Errno::ENOSPC);
        let is_command = |part| matches!(part, Command(command) if !command.contains(" or "));
        assert!(Remedy::all(&full.remedy).any(is_command), "{}", full.remedy);
    }

    #[test]
    fn a_refused_namespace_is_never_surely_a_seccomp_profile() {
        let refusal = of_user_namespace(Errno::EPERM);
        assert!(!refusal.cause.contains("seccomp") || refusal.cause.contains("chroot"));
        assert!(!refusal.remedy.is_empty());
    }
}
