//! Texts that are typed at a terminal without being shown.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Asks for a text at the terminal. Fails with [`io::ErrorKind::Interrupted`] at Ctrl-C, and with another
/// kind without a terminal.
pub fn ask_unseen(prompt: &str) -> io::Result<String> {
    // At Ctrl-C, rpassword 7.5 raises SIGINT before it gives the terminal its settings back.
    let interrupt = SigSet::from(Signal::SIGINT);
    let before = interrupt.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let typed = rpassword::prompt_password(prompt);
    if let Ok(before) = before {
        _ = before.thread_set_mask();
    }
    typed
}
