//! Helper's side of [`super::helper`]: a process that keeps a user namespace and does jobs inside,
//! one after another, each in a child process.
//!
//! ```text
//! keeper ── user namespace
//!   └─ job ── pid (as its process 1), mount, cgroup, network namespaces
//!        └─ the container's first process ── pid, mount, ipc, uts namespaces
//! ```
//!
//! Starting the executable costs 4 ms, a user namespace with ranges of ids 6 ms, a fork 0.3 ms: so
//! all three happen once for a series of builds, and only the fork for each of them. No state of a
//! job is left for the next: the end of a job ends its pid namespace, and thereby every process,
//! mount and socket; a user namespace itself has no state that a build could leave behind (no
//! keyring, since seccomp refuses those calls, and no setting, since `/proc/sys` is read-only).
//!
//! Making a network namespace takes 0.7 ms, and longer while the previous one is removed. So the
//! process for the next job is made in advance, in its namespaces, during the previous job:
//! otherwise a machine with two cores and one build at a time would have one core idle.
//!
//! Every process is killed with its parent (`PR_SET_PDEATHSIG`), so that killing the keeper ends
//! everything. A job that has answered may still be clearing up when the next job begins.

use std::io::{self, BufRead, BufReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;

use nix::sched::CloneFlags;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::cleaner;
use super::helper::{BEGUN, GO, HELD, SPARED, STARTED, Start};
use super::namespace::{self, NamespaceError};
use super::{poll, refusal, sys};
use crate::base::digest::{Sha1Sum, Sha256Sum};

/// Work of a job's process, and its messages of refusal.
pub trait Worker {
    /// Reports that the user namespace is missing.
    fn refuse(&self, error: NamespaceError);

    /// Does the job that the text says, and gives the process's exit code.
    fn work(&self, job: &[u8]) -> u8;
}

/// Does the jobs that come on stdin until there are no more; returns the exit code.
pub fn keep(worker: &impl Worker) -> u8 {
    // The caller's, and of those who started it.
    sys::close_from(3);
    // In lists of processes, which would show the last part of the path it was started from.
    _ = nix::sys::prctl::set_name(c"mkpanda");
    let mut orders = BufReader::new(io::stdin().lock());
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        orders.read_until(b'\n', line).is_ok_and(|length| length > 0)
    };
    if !next(&mut line) {
        return 0;
    }
    let entered = serde_json::from_slice::<Start>(&line)
        .map_err(|error| NamespaceError::Map { reason: error.to_string() })
        .inspect(|start| {
            // Before anything else: processes that start later die with this one. Without it, stdin ends.
            _ = namespace::die_with_parent(start.parent);
        })
        .and_then(|start| match refusal::of_devices() {
            Some(refusal) => Err(NamespaceError::Refused(refusal)),
            None => namespace::enter_user_namespace(&start.map).map(|()| start.cleaning),
        });
    let prepared = entered.and_then(|cleaning| {
        if let Some(cleaning) = cleaning {
            // Before there is anything to clean. Without it, a later run sweeps.
            _ = cleaner::start(&cleaning);
        }
        namespace::share_with_the_caller();
        let watching = |errno| NamespaceError::Step { step: "watching the helper", errno };
        poll::pidfd_open(Pid::this()).map_err(watching)
    });
    let own = match prepared {
        Ok(own) => own,
        Err(error) => {
            worker.refuse(error);
            return 1;
        }
    };
    look_up_processor();
    let mut jobs = Vec::new();
    let mut spare: Option<Started> = None;
    while next(&mut line) {
        // Not before: the parent opens a job's process by its number, which must not be another's.
        jobs.retain(|job| !has_ended(*job, WaitPidFlag::WNOHANG));
        let Some((&kind, job)) = line.split_first() else { break };
        let waiting = spare.take_if(|_| kind == SPARED);
        // A spare process whose namespaces were refused has ended. The one made instead enters them
        // with a job, whose answer can say why.
        let waiting = waiting.filter(|spare| !has_ended(spare.process, WaitPidFlag::WNOHANG));
        let started = match waiting.map_or_else(|| start(worker, Ahead::No, &own), Ok) {
            Ok(started) => started,
            Err(error) => {
                complain(&format!("can't start a job: {error}"));
                return 1;
            }
        };
        jobs.push(started.process);
        let job = job.to_vec();
        let may_begin =
            announce(started.process) && (kind != HELD || (next(&mut line) && line == GO));
        if !may_begin {
            break;
        }
        // A process that has died is no reader; the parent sees that it did.
        drop(started.orders_to(&job));
        if kind == SPARED && spare.is_none() {
            spare = start(worker, Ahead::Yes, &own).ok();
        }
    }
    // Its pipe is closed here, by which a spare process ends.
    jobs.extend(spare.map(|spare| spare.process));
    jobs.retain(|job| !has_ended(*job, WaitPidFlag::empty()));
    0
}

/// Has the libraries look up the processor's instructions, which all forked processes then know: each look asks
/// CPUID some twenty times, and leaves a virtual machine for it (3.5 µs as measured in one).
fn look_up_processor() {
    #[cfg(target_arch = "x86_64")]
    let _ = std::arch::is_x86_feature_detected!("avx2");
    drop((Sha1Sum::of(b""), Sha256Sum::of(b"")));
}

/// Process that waits for its job.
struct Started {
    process: Pid,
    orders: PipeWriter,
}

impl Started {
    fn orders_to(self, job: &[u8]) -> io::Result<()> {
        let mut orders = self.orders;
        orders.write_all(job)
    }
}

/// Namespace entry of a spare process, before its job is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ahead {
    Yes,
    No,
}

/// Starts the process of a job.
fn start(worker: &impl Worker, ahead: Ahead, keeper: &OwnedFd) -> io::Result<Started> {
    let (mut waiting, orders) = io::pipe()?;
    if let Some(process) = sys::fork_into(CloneFlags::CLONE_NEWPID)? {
        return Ok(Started { process, orders });
    }
    drop(orders);
    let mut job = Vec::new();
    let is_ready = is_kept(keeper)
        && (ahead == Ahead::No || namespace::enter_ahead())
        && waiting.read_to_end(&mut job).is_ok();
    // Without a job, it was for nothing.
    let begins = is_ready && !job.is_empty() && write_line(BEGUN);
    let code = if begins { worker.work(&job) } else { 1 };
    sys::exit_now(code.into());
}

/// True if the job's process dies with the keeper, and reads none of its orders.
fn is_kept(keeper: &OwnedFd) -> bool {
    let is_kept = keeper.try_clone().is_ok_and(|keeper| namespace::die_with_outer(keeper).is_ok());
    let has_own_input = fs_err::File::open("/dev/null")
        .is_ok_and(|null| nix::unistd::dup2_stdin(null.file()).is_ok());
    is_kept && has_own_input
}

/// Tells the parent a job's number.
fn announce(job: Pid) -> bool {
    write_line(format!("{}{job}\n", char::from(STARTED)).as_bytes())
}

/// Writes a line to the parent, at once: others write to the same pipe.
fn write_line(text: &[u8]) -> bool {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).is_ok()
}

/// Checks for the end of a job, and reports the cause if the job cannot have done so.
fn has_ended(job: Pid, flag: WaitPidFlag) -> bool {
    loop {
        match waitpid(job, Some(flag)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(WaitStatus::Signaled(_, signal, _)) => complain(&format!("a job got {signal}")),
            Ok(WaitStatus::Exited(..)) | Err(nix::errno::Errno::ECHILD) => {}
            Ok(_) | Err(_) => continue,
        }
        return true;
    }
}

/// Writes a message for the parent's error; a missing reader is ignored.
fn complain(message: &str) {
    drop(writeln!(io::stderr(), "{message}"));
}
