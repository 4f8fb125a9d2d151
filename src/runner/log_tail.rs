//! The end of a log, for error messages.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::base::regular::open_measured;

/// Number of lines shown.
const LINES: usize = 30;

/// Number of bytes read at the end of the log.
const BYTES: u64 = 64 << 10;

/// Returns the last lines of a log without control characters: the log is a build's output, and a
/// terminal would obey it. An unreadable log has no lines.
pub fn last_lines(log: &Path) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let (mut file, length) = open_measured(log)?;
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let visible = |letter: char| if letter.is_control() && letter != '\t' { '·' } else { letter };
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| line.chars().map(visible).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown_without_control_characters() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert!(last_lines(&log).is_empty());
        let many: Vec<String> = (0..100_000).map(|number| format!("line {number}")).collect();
        fs_err::write(&log, format!("{}\n\x1b[31mred\tx\r\nno end", many.join("\n"))).unwrap();
        let lines = last_lines(&log);
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[LINES - 3..], ["line 99999", "·[31mred\tx", "no end"]);
    }
}
