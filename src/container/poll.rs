//! Waiting for descriptors, and descriptors by which the end of a process or thread is waited for.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rustix::process::PidfdFlags;

/// Opens a descriptor that becomes readable when the process ends.
pub fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    pidfd(pid, PidfdFlags::empty())
}

/// Opens a descriptor of a thread; before Linux 6.9 only of the first thread of a process.
pub fn thread_pidfd_open(thread: Pid) -> nix::Result<OwnedFd> {
    const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
    match pidfd(thread, PIDFD_THREAD) {
        Err(Errno::EINVAL) => pidfd(thread, PidfdFlags::empty()),
        opened => opened,
    }
}

fn pidfd(pid: Pid, flags: PidfdFlags) -> nix::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    rustix::process::pidfd_open(pid, flags).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

/// Waits until a descriptor is readable; `false` if the deadline came first.
pub fn wait_readable(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> nix::Result<bool> {
    Ok(wait_any(fds, deadline)?.is_some())
}

/// Waits until a descriptor is readable, and returns the state of each; `None` at the deadline.
pub fn wait_any(
    fds: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> nix::Result<Option<Vec<PollFlags>>> {
    loop {
        let timeout = match deadline {
            None => PollTimeout::NONE,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let capped = left.min(Duration::from_secs(3600));
                // Rounded up, so that the last millisecond isn't spent spinning.
                // No more than a `PollTimeout` takes without an error; the loop waits again for the
                // rest.
                let millis = u16::try_from(capped.as_millis().min(60_000)).unwrap_or(u16::MAX);
                PollTimeout::from(millis.saturating_add(u16::from(!left.is_zero())))
            }
        };
        let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, timeout) {
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                return Ok(None);
            }
            // poll(2) is never restarted after a signal, whatever its handler says (signal(7)).
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                let said = polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
                return Ok(Some(said.collect()));
            }
            Err(error) => return Err(error),
        }
    }
}
