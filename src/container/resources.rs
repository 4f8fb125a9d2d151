//! Resource limits of every command, independent of the caller's own limits.
//!
//! Tests and linkers depend on the soft limits of open files and stacks. Inherited limits would
//! make two users' builds of one package differ. Hard limits cannot be raised without privileges: a
//! hard limit below the command's own limit is kept, and named ([`lowered`]).

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use rustix::process;

/// Soft limits of a command, as a login or a container engine gives them, with their names for people.
const SOFT: [(Resource, rlim_t, &str); 11] = [
    (Resource::RLIMIT_AS, RLIM_INFINITY, "address space"),
    // A core file would be a file of the package.
    (Resource::RLIMIT_CORE, 0, "core files"),
    (Resource::RLIMIT_CPU, RLIM_INFINITY, "processor time"),
    (Resource::RLIMIT_DATA, RLIM_INFINITY, "data segments"),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY, "file sizes"),
    (Resource::RLIMIT_LOCKS, RLIM_INFINITY, "file locks"),
    // This and the following limits are those that the kernel gives its first process, unless
    // unlimited; programs that use `select(2)` fail with more than 1024 open files.
    (Resource::RLIMIT_MEMLOCK, 8 << 20, "locked memory"),
    (Resource::RLIMIT_MSGQUEUE, 800 << 10, "message queues"),
    (Resource::RLIMIT_NOFILE, 1024, "open files"),
    (Resource::RLIMIT_RSS, RLIM_INFINITY, "resident memory"),
    (Resource::RLIMIT_STACK, 8 << 20, "stacks"),
];

/// Divisor of the user's process limit for each container: other builds and the user's own programs
/// need processes, too.
const SHARE_OF_PROCESSES: rlim_t = 4;

/// Gives this thread niceness 0, whatever started mkpanda with less priority. An ordinary user may not, and
/// nobody may within a user namespace: helpers do it before they enter theirs.
pub(super) fn take_niceness_0() -> bool {
    process::setpriority_process(None, 0).is_ok()
}

/// Niceness of this process that commands have, too, since it cannot be taken back.
pub fn kept_niceness() -> Option<i32> {
    let niceness = process::getpriority_process(None).ok().filter(|niceness| *niceness > 0)?;
    // Linux gives each thread its own niceness, so that of the process stays.
    let may_change = std::thread::spawn(take_niceness_0).join().unwrap_or(false);
    (!may_change).then_some(niceness)
}

/// Sets the limits of this process, and niceness 0 where permitted.
pub(super) fn set_own() -> nix::Result<()> {
    for (resource, soft, _) in SOFT {
        let (current, hard) = getrlimit(resource)?;
        if current != soft.min(hard) {
            setrlimit(resource, soft.min(hard), hard)?;
        }
    }
    // Counted per user of the machine, hence over all containers.
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    if hard != RLIM_INFINITY {
        let share = (hard / SHARE_OF_PROCESSES).max(1);
        setrlimit(Resource::RLIMIT_NPROC, share, share)?;
    }
    // Of any sign; where it stays, [`kept_niceness`] has told.
    take_niceness_0();
    Ok(())
}

/// Names of this process's hard limits that are lower than a command's own soft ones.
pub fn lowered() -> Vec<String> {
    let lower = SOFT.into_iter().filter_map(|(resource, soft, name)| {
        let (_, hard) = getrlimit(resource).ok()?;
        (hard < soft).then(|| format!("{name}: {hard} instead of {}", text(soft)))
    });
    lower.collect()
}

fn text(limit: rlim_t) -> String {
    if limit == RLIM_INFINITY { "unlimited".to_owned() } else { limit.to_string() }
}
