//! Going into namespaces, by a process with one thread.
//!
//! The order is the kernel's: the user namespace first, since the user namespace gives the right to
//! make the others; its maps are written from outside (a child stays behind for that) or, with a
//! single id, by the process itself. Writing the maps is the most expensive step (`newuidmap` and
//! `newgidmap` are two set-id programs, 6 ms), so a helper does it once ([`enter_user_namespace`],
//! see [`super::keeper`]), and each of its jobs makes its own namespaces ([`enter`]).
//!
//! Every generation is killed with its parent, so that killing the outermost process ends
//! everything. The request comes too late for a parent that is already dead: so each process then
//! checks that its parent is alive.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Instant;

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid, getppid, pipe};

pub use super::network::Network;

use super::idmap::{IdMap, MapWriter, Tier, map_text};
use super::refusal::{self, Refusal};
use super::{poll, sys};

/// Reason why the namespaces could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The kernel gave no user namespace.
    #[error("the kernel gave no user namespace ({errno}): {}", refusal.cause)]
    User {
        /// Error of the kernel.
        errno: Errno,
        /// Cause and remedy.
        refusal: Refusal,
    },
    /// Something that every container needs is missing here, or refused.
    #[error("{}", .0.cause)]
    Refused(Refusal),
    /// The id maps could not be written.
    #[error("the id maps could not be written: {reason}")]
    Map {
        /// Reason, as given by the writer of the maps.
        reason: String,
    },
    /// One step of the set-up failed.
    #[error("{step}: {errno}")]
    Step {
        /// Attempted step.
        step: &'static str,
        /// Answer of the kernel.
        errno: Errno,
    },
}

impl NamespaceError {
    /// Change that lifts the refusal, if known.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::User { refusal, .. } | Self::Refused(refusal) => Some(&refusal.remedy),
            Self::Map { .. } | Self::Step { .. } => None,
        }
    }
}

fn step(step: &'static str) -> impl Fn(Errno) -> NamespaceError {
    move |errno| NamespaceError::Step { step, errno }
}

/// Network of the namespaces that this process entered in advance.
static AHEAD: OnceLock<Network> = OnceLock::new();

/// Enters namespaces as [`enter`] does with a network namespace, in advance; returns true on
/// success.
pub fn enter_ahead() -> bool {
    enter(Network::None).is_ok() && AHEAD.set(Network::None).is_ok()
}

/// Enters mount and cgroup namespaces, and a network namespace unless the machine's network is asked
/// for. The process is in the user namespace already, and in a pid namespace of its own. The mounts
/// are private; the user is still the caller, so that the caller's files can be bound; see
/// [`become_root`].
pub fn enter(network: Network) -> Result<(), NamespaceError> {
    if let Some(entered) = AHEAD.get() {
        if *entered == network {
            return Ok(());
        }
        return Err(NamespaceError::Step { step: "giving back a network", errno: Errno::EINVAL });
    }
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP;
    if network == Network::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    nix::sched::unshare(flags).map_err(step("making namespaces"))?;
    let none: Option<&str> = None;
    // The copies are slaves of the machine's mounts (mount_namespaces(7)), and would get what the machine
    // mounts later.
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(step("making the mounts private"))?;
    if network == Network::None {
        sys::raise_loopback().map_err(step("raising the loopback interface"))?;
    }
    Ok(())
}

/// Process descriptor of the parent outside, readable when the parent is dead; [`getppid`] cannot
/// see a parent outside of the namespace.
static OUTER: OnceLock<OwnedFd> = OnceLock::new();

/// Asks to die with the process outside, and ends if that is dead.
pub fn die_with_outer(outer: OwnedFd) -> nix::Result<()> {
    drop(OUTER.set(outer));
    ask_to_die()
}

fn ask_to_die() -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if let Some(outer) = OUTER.get()
        && poll::wait_readable(&[outer.as_fd()], Some(Instant::now()))?
    {
        sys::exit_now(1);
    }
    Ok(())
}

/// Sets the parent-death signal, and ends this process if `parent` is already dead.
pub fn die_with_parent(parent: u32) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The kernel sends nothing for a parent that died before the request (PR_SET_PDEATHSIG,
    // prctl(2)).
    if u32::try_from(getppid().as_raw()) != Ok(parent) {
        sys::exit_now(1);
    }
    Ok(())
}

/// Becomes the container's root. Files that only the caller can reach must be bound before.
pub fn become_root(map: &IdMap) -> Result<(), NamespaceError> {
    use nix::unistd::{setgroups, setresgid, setresuid};
    // With a single id the kernel refuses the call: see `write_own_map`.
    if map.tier == Tier::Ranges {
        setgroups(&[]).map_err(step("giving up supplementary groups"))?;
    }
    let root = 0;
    setresgid(root.into(), root.into(), root.into()).map_err(step("becoming the group root"))?;
    setresuid(root.into(), root.into(), root.into()).map_err(step("becoming root"))?;
    // The kernel forgets the wish when ids change.
    ask_to_die().map_err(step("asking to die with the parent"))
}

/// True if the process still has ids that the container doesn't know, as real root does.
pub fn is_unmapped(map: &IdMap) -> bool {
    map.writer == MapWriter::Privileged && !Uid::current().is_root()
}

/// The exit code of a child; 128 and the signal's number if a signal ended it.
pub fn wait_exit_code(child: Pid) -> i32 {
    loop {
        match sys::reap(Some(child)) {
            Ok(Some((_, code))) => return code,
            Ok(None) | Err(Errno::EINTR) => {}
            Err(_) => return 255,
        }
    }
}

/// Enters a user namespace with the map.
pub fn enter_user_namespace(map: &IdMap) -> Result<(), NamespaceError> {
    // Here, since the kernel wants CAP_SYS_NICE of the machine's own user namespace for it.
    super::resources::take_niceness_0();
    let unshare = || {
        nix::sched::unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| NamespaceError::User {
            errno,
            refusal: refusal::of_user_namespace(errno),
        })
    };
    if map.writer == MapWriter::Own {
        // In its own namespace a process has all capabilities.
        let could_map_root = super::capabilities::may_map_root();
        unshare()?;
        return write_own_map(map).map_err(|error| {
            match refusal::of_id_map(&error, could_map_root, map.root().0 == 0) {
                Some(refusal) => NamespaceError::Refused(refusal),
                None => NamespaceError::Map { reason: error.to_string() },
            }
        });
    }
    // The child stays in the namespace that we leave, and writes our maps from there.
    let (ready_read, ready_write) = pipe().map_err(step("making a pipe"))?;
    let (answer_read, answer_write) = pipe().map_err(step("making a pipe"))?;
    // Before the fork: in the writer, `/proc/self` is the writer.
    let number = own_number().map_err(step("finding this process in /proc"))?;
    let writer = sys::fork().map_err(step("starting the writer of the id maps"))?;
    let Some(writer) = writer else {
        drop(ready_write);
        drop(answer_read);
        write_maps_when_ready(map, &number, &ready_read, &answer_write);
    };
    drop(ready_read);
    drop(answer_write);
    let unshared = unshare();
    if unshared.is_ok() {
        nix::unistd::write(&ready_write, b"x")
            .map_err(step("telling the writer of the id maps"))?;
    }
    drop(ready_write);
    let mut reason = String::new();
    io::Read::read_to_string(&mut std::fs::File::from(answer_read), &mut reason).map_err(
        |_error| NamespaceError::Map { reason: "their writer gave no answer".to_owned() },
    )?;
    let code = wait_exit_code(writer);
    unshared?;
    if code == 0 { Ok(()) } else { Err(NamespaceError::Map { reason: reason.trim().to_owned() }) }
}

/// Divisor of the caller's limit of inotify instances and watches for each user namespace.
const SHARE: u64 = 4;

/// Limits the share of a container in kernel resources that are counted per user, so that the
/// caller's own programs keep the rest: the kernel has a separate limit for each user namespace.
pub fn share_with_the_caller() {
    for (limit, all) in [
        ("max_inotify_instances", "max_user_instances"),
        ("max_inotify_watches", "max_user_watches"),
    ] {
        let all = fs_err::read_to_string(format!("/proc/sys/fs/inotify/{all}"));
        let Some(all) = all.ok().and_then(|text| text.trim().parse::<u64>().ok()) else { continue };
        let share = (all / SHARE).max(1).to_string();
        // Older kernels have no such limit, and outer containers show it read-only.
        if let Err(error) = fs_err::write(format!("/proc/sys/user/{limit}"), share) {
            tracing::debug!(%error, "no limit for the namespace");
        }
    }
}

/// Number of this process in `/proc`, which may belong to another pid namespace.
fn own_number() -> nix::Result<String> {
    let link = nix::fcntl::readlink("/proc/self")?;
    Ok(link.to_string_lossy().into_owned())
}

fn write_own_map(map: &IdMap) -> io::Result<()> {
    // Without it, the kernel takes no group map of an unprivileged process (Linux 3.19, CVE-2014-8989):
    // giving up a group could give access to files that are closed to that group.
    fs_err::write("/proc/self/setgroups", "deny")?;
    fs_err::write("/proc/self/uid_map", map_text(&map.uids))?;
    fs_err::write("/proc/self/gid_map", map_text(&map.gids))
}

/// Child's part: waits for the message, writes the maps, reports a failure, exits.
fn write_maps_when_ready(map: &IdMap, number: &str, ready: &OwnedFd, answer: &OwnedFd) -> ! {
    let mut byte = [0];
    if !matches!(nix::unistd::read(ready, &mut byte), Ok(1)) {
        sys::exit_now(1);
    }
    let result = match &map.writer {
        MapWriter::Own => Ok(()),
        MapWriter::Privileged => {
            let write = |file: &str, ranges| {
                fs_err::write(format!("/proc/{number}/{file}"), map_text(ranges))
            };
            write("uid_map", &map.uids)
                .and_then(|()| write("gid_map", &map.gids))
                .map_err(|error| error.to_string())
        }
        MapWriter::Programs { newuidmap, newgidmap } => {
            run_map_program(newuidmap, number, &map.uids)
                .and_then(|()| run_map_program(newgidmap, number, &map.gids))
        }
    };
    let code = match result {
        Ok(()) => 0,
        Err(reason) => {
            // Without a reader, the exit code suffices.
            _ = nix::unistd::write(answer, reason.as_bytes());
            1
        }
    };
    sys::exit_now(code)
}

fn run_map_program(
    program: &std::path::Path,
    number: &str,
    ranges: &[super::idmap::IdRange],
) -> Result<(), String> {
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    let output = std::process::Command::new(program)
        .arg(number)
        .args(numbers.map(|number| number.to_string()))
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A descriptor's path below `/proc/self/fd`, for calls that take paths only.
pub fn fd_path(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
