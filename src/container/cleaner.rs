//! Process that outlives a killed run, and removes files that need the run's user namespace.
//!
//! A run that is killed by SIGKILL, alone or with its process group, leaves files of subordinate ids
//! and folders of mode 000 (overlayfs' `work/work`), which `rm -rf` of the user cannot remove. The
//! next run sweeps them, but workers of remote execution and CI runners remove the folder and never
//! run again in that place.
//!
//! ```text
//! run ── holds <scratch>/<run>.lock
//!  └─ keeper ── user namespace
//!      └─ cleaner ── the same user namespace; a session of its own; waits for the lock
//! ```
//!
//! The keeper forks the cleaner before its first job ([`super::keeper`]): a fork costs 0.3 ms, where
//! another user namespace with ranges costs 6 ms and another execution 4 ms. The cleaner keeps the
//! caller's ids, so that it owns the caller's files, and has every capability over the ids of the
//! namespace. The cleaner has no descriptor of the run, hence keeps no pipe open, and blocks in
//! `flock` on the lock file of the run's scratch folder, which the kernel unlocks however the run
//! dies. A run that ends regularly has removed the lock file: then the cleaner has nothing to do, and
//! the run waits for its end. Otherwise each run would leave a zombie in an outer container whose
//! process 1 waits for nobody (`sleep infinity` in many CI jobs), until no process can be started there.
//!
//! If the cleaner is killed together with the run (a pid namespace, a cgroup), the next run with
//! the same scratch folder sweeps by the same lock.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde::{Deserialize, Serialize};

use super::sys;
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::lock::FileLock;
use crate::base::removal::{remove_all, remove_all_closed};

/// First argument of a cleaner without a user namespace.
pub const CLEANER_ARGUMENT: &str = "internal-cleaner";

/// Upper limit of the time in which the processes of a killed run end; until then they still write.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interval between two attempts to remove files that are still written to.
const INTERVAL: Duration = Duration::from_millis(10);

/// Upper limit of the wait for cleaners that have nothing to do, and the interval between two looks. Other
/// processes, which a command of the run left behind, go on.
const LAST_WAIT: Duration = Duration::from_millis(100);
const LAST_INTERVAL: Duration = Duration::from_micros(200);

/// Name of the lock file of a folder with half-made entries.
const LOCK: &str = ".lock";

/// List of paths that a cleaner removes after its run has died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaning {
    /// Lock file of the scratch folder, held by the run as long as it lives.
    pub lock: PathBuf,
    /// Scratch folder of the run.
    pub scratch: PathBuf,
    /// Folders in which helpers make entries under temporary names, holding the folder's `.lock`.
    pub half_made: Vec<PathBuf>,
}

/// Starts a cleaner in the user namespace of this process, which must have a single thread.
pub(super) fn start(cleaning: &Cleaning) -> nix::Result<()> {
    if sys::fork()?.is_some() {
        return Ok(());
    }
    // Not `remove_all_closed`: with the namespace's capabilities no folder is closed, and a build that
    // is about to die could have links in the place of folders.
    outlive_and_clean(cleaning, remove_all);
}

/// Starts a cleaner with the caller's own rights, for files of no other ids.
pub fn spawn(cleaning: &Cleaning) -> io::Result<()> {
    let text = serde_json::to_vec(cleaning)?;
    let mut cleaner = Command::new("/proc/self/exe")
        .arg(CLEANER_ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match cleaner.stdin.take() {
        Some(mut stdin) => io::Write::write_all(&mut stdin, &text),
        None => Ok(()),
    }
}

/// Does the work of a cleaner started by [`spawn`]; returns the exit code.
pub fn run() -> u8 {
    let mut text = Vec::new();
    let read = io::stdin().read_to_end(&mut text).map(|_length| serde_json::from_slice(&text));
    match read {
        Ok(Ok(cleaning)) => outlive_and_clean(&cleaning, remove_all_closed),
        _ => 1,
    }
}

/// Makes this process the parent of its cleaners once their keepers have ended.
pub(super) fn adopt() {
    // Without it, process 1 is their parent, as is that of other programs.
    _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Waits for the end of the cleaners, shortly; for the end of a run.
pub fn wait_for_all() {
    let until = Instant::now() + LAST_WAIT;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < until => {
                std::thread::sleep(LAST_INTERVAL);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

type Remove = fn(&Path) -> io::Result<()>;

fn outlive_and_clean(cleaning: &Cleaning, remove: Remove) -> ! {
    // A reader of the run's pipes would wait for the cleaner, too.
    let is_apart = nix::unistd::setsid().is_ok()
        // A working directory would keep its filesystem from being unmounted.
        && nix::unistd::chdir("/").is_ok()
        && sys::leave_descriptors().is_ok();
    if is_apart {
        // For those who list processes.
        _ = nix::sys::prctl::set_name(c"mkpanda-cleaner");
        clean(cleaning, remove);
    }
    sys::exit_now(i32::from(!is_apart));
}

/// Waits for the run's end, and removes its remains.
fn clean(cleaning: &Cleaning, remove: Remove) {
    let Ok(lock) = FileLock::acquire_made(&cleaning.lock) else { return };
    // The run has ended well: it removed the file, whose name may belong to another run by now.
    if !lock.is_at(&cleaning.lock) {
        return;
    }
    let until = Instant::now() + PATIENCE;
    // The lock file goes only with the folder: by it, the next run finds what is left.
    if attempt(until, || remove(&cleaning.scratch).is_ok()) {
        drop(fs_err::remove_file(&cleaning.lock));
    }
    for folder in &cleaning.half_made {
        // Entries are made after the lock file: without a lock file they belong to another run.
        attempt(until, || !has_half_made(folder) || sweep(folder, remove).unwrap_or(true));
    }
}

fn attempt(until: Instant, succeeds: impl Fn() -> bool) -> bool {
    loop {
        if succeeds() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(INTERVAL);
    }
}

fn half_made(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let is_temporary = |entry: &fs_err::DirEntry| {
        entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
    };
    entries.filter(is_temporary).map(|entry| entry.path())
}

fn has_half_made(folder: &Path) -> bool {
    half_made(folder).next().is_some()
}

/// Removes half-made entries; returns false while another process, perhaps their owner, holds the
/// folder's lock.
fn sweep(folder: &Path, remove: Remove) -> io::Result<bool> {
    let Some(_lock) = FileLock::try_acquire_made(&folder.join(LOCK))? else { return Ok(false) };
    half_made(folder).try_for_each(|path| remove(&path))?;
    Ok(true)
}
