//! The caller's terminal while a container's terminal is shown in it: raw mode, and its end in every case.
//!
//! Panics end it by unwinding, SIGINT, SIGTERM and SIGHUP by the end of the run that they cause, and
//! a second one of those by [`restore`]. Only SIGKILL and SIGSTOP leave the terminal as it is.

use std::io;
use std::sync::{Mutex, PoisonError};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Modes of the terminal before it was made raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode of the terminal at stdin, until dropped.
#[derive(Debug)]
pub struct RawMode(());

impl RawMode {
    /// Makes the terminal raw.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        *lock() = Some(before);
        let raw = Self(());
        raw.renew()?;
        Ok(raw)
    }

    /// Makes the terminal raw again, after a stop.
    pub fn renew(&self) -> io::Result<()> {
        if let Some(before) = &*lock() {
            let mut modes = before.clone();
            cfmakeraw(&mut modes);
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &modes)?;
        }
        Ok(())
    }

    /// Restores the terminal for the time of a stop.
    pub fn suspend(&self) {
        if let Some(before) = &*lock() {
            // A terminal that is gone has no modes.
            _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal, if it is raw.
pub fn restore() {
    if let Some(before) = lock().take() {
        // A terminal that is gone has no modes.
        _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &before);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}
