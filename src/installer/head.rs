//! The shell script at the beginning of an installer.
//!
//! The line `check='<sha256> <bytes>'` has the sum of the whole file without that line, and the file's
//! size. The script is one function that is called in the last line, so that a truncated script
//! runs nothing: its end is a syntax error.

use crate::base::digest::Sha256Sum;
use crate::base::escape::shell_word;

const TEMPLATE: &str = include_str!("head.sh");

/// Offset of the program's first byte in the archive: one header is before.
const PROGRAM_OFFSET: usize = 512;

/// Sum and size while neither is known.
const EMPTY: (&str, u64) = ("0000000000000000000000000000000000000000000000000000000000000000", 0);

/// Values in the script.
#[derive(Debug, Clone)]
pub(super) struct ScriptHead<'a> {
    pub(super) variant: &'a str,
    pub(super) version: &'a str,
    pub(super) machine: &'a str,
    pub(super) program_bytes: u64,
}

impl ScriptHead<'_> {
    /// The text, whose length does not depend on the sum.
    pub(super) fn text(&self, check: Option<(&Sha256Sum, u64)>) -> String {
        let (sum, size) = check.map_or(EMPTY, |(sum, size)| (sum.as_str(), size));
        let text = |bytes: usize| {
            TEMPLATE
                .replace("@CHECK@", &format!("'{sum} {size:020}'"))
                .replace("@HEAD_BYTES@", &format!("{bytes:08}"))
                .replace("@PROGRAM_OFFSET@", &format!("{:08}", bytes + PROGRAM_OFFSET))
                .replace("@PROGRAM_BYTES@", &self.program_bytes.to_string())
                .replace("@MACHINE@", &shell_word(self.machine))
                .replace("@VARIANT@", &shell_word(self.variant))
                .replace("@VERSION@", &shell_word(self.version))
        };
        // The numbers have a fixed width, so the length is that of the text with its own length in
        // it.
        text(text(0).len())
    }

    /// The text without the line of the sum, for the sum.
    pub(super) fn summed(&self) -> String {
        let text = self.text(None);
        text.split_inclusive('\n').filter(|line| !line.starts_with("check=")).collect()
    }
}
