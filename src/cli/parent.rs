//! `--die-with-parent`: ends this process together with its parent process.
//!
//! The kernel sends the signal when the *thread* that started mkpanda ends, and to mkpanda alone: the
//! run then ends as on SIGTERM, and the helpers with the run.

use nix::sys::prctl;
use nix::sys::signal::{Signal, raise};
use nix::unistd::{Pid, getppid};

/// Parent process at the start of mkpanda.
#[derive(Debug, Clone, Copy)]
pub struct Parent(Pid);

impl Parent {
    /// Finds the parent. Called first in `main`: a parent that ends before goes unnoticed.
    pub fn find() -> Self {
        Self(getppid())
    }

    /// Asks for SIGTERM when the parent ends, and raises SIGTERM if the parent has ended already. Called
    /// by the first thread: the request ends with its thread.
    pub fn die_with(self) -> nix::Result<()> {
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        // An orphan has another parent, by which it was adopted.
        if getppid() != self.0 {
            raise(Signal::SIGTERM)?;
        }
        Ok(())
    }
}
