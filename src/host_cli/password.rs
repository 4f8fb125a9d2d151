//! A password that is typed, or comes from stdin.

use std::io::{self, IsTerminal};

use super::error::CommandError;
use crate::base::hidden_input::{ask_unseen, first_line};

/// Longest password from stdin, in bytes.
const LONGEST: u64 = 4096;

/// Asks for a password twice at a terminal, or takes the first line of stdin.
pub(super) fn asked() -> Result<String, CommandError> {
    if io::stdin().is_terminal() {
        let typed = ask_unseen("Password: ").map_err(CommandError::Password)?;
        let again = ask_unseen("The same again: ").map_err(CommandError::Password)?;
        // Twice, since nothing that is typed is shown, and only its hash is kept.
        return if typed == again { Ok(typed) } else { Err(CommandError::PasswordsDiffer) };
    }
    first_line(io::stdin(), LONGEST).map_err(CommandError::Password)
}
