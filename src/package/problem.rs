//! Problems in files written by people, displayed with their place.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::base::http::redact_text;
use crate::base::suggestion::among;
use crate::base::text::steers_terminal;

/// Problem in a text, at a byte offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Offset of the first affected byte; `None` for the whole file.
    pub offset: Option<usize>,
    /// Fault.
    pub message: String,
    /// Remedy, if not obvious from the message.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn at(offset: usize, message: impl Into<String>) -> Self {
        Self { offset: Some(offset), message: message.into(), hint: None }
    }

    /// A problem of the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self { offset: None, message: message.into(), hint: None }
    }

    /// Adds a remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the keys that there are to the problem of an unknown key, and first the one that is most like it.
    #[must_use]
    pub(super) fn hint_of_keys(self, typed: &str, keys: &[&str]) -> Self {
        self.hint(among(typed, "keys", keys.iter().copied()))
    }

    /// Ties the problem to its file: the text is needed for line, column and the line itself.
    pub fn in_file(self, path: &Path, text: &str) -> Report {
        let excerpt = self.offset.map(|offset| Excerpt::of(text, offset));
        Report { path: path.to_owned(), excerpt, message: self.message, hint: self.hint }
    }
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: usize,
    column: usize,
    /// Line without secrets in URLs.
    content: String,
    /// Column in `content`.
    shown_column: usize,
}

impl Excerpt {
    fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        // Parsers count bytes, and may stop inside of a letter.
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[offset..].find('\n').map_or(text.len(), |length| offset + length);
        Self {
            line: before.matches('\n').count() + 1,
            column: text[start..offset].chars().count() + 1,
            // The line of a URL may have a password, and messages end up in logs.
            content: redact_text(text[start..end].trim_end_matches('\r')),
            // Counted anew: what is left out before the place moves the mark.
            shown_column: redact_text(&text[start..offset]).chars().count() + 1,
        }
    }
}

/// Problem in a file in readable form: path, line, column, the line itself, and the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    path: PathBuf,
    excerpt: Option<Excerpt>,
    message: String,
    hint: Option<String>,
}

impl Report {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Line and column, counted from 1, if the problem is at a place.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        self.excerpt.as_ref().map(|excerpt| (excerpt.line, excerpt.column))
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Remedy, if needed.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Of a line longer than this, only a window around the column is shown.
const SHOWN_COLUMNS: usize = 120;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Text quoted from the file must not control a terminal.
        let message: String = self.message.chars().map(visible).collect();
        let Some(Excerpt { line, column, content, shown_column }) = &self.excerpt else {
            return write!(f, "{}: {message}", self.path.display());
        };
        let far = *shown_column > SHOWN_COLUMNS;
        let skip = if far { shown_column - SHOWN_COLUMNS / 2 } else { 0 };
        let shown: String = content.chars().skip(skip).take(SHOWN_COLUMNS).map(visible).collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(shown_column - skip - 1);
        write!(
            f,
            "{}:{line}:{column}: {message}\n {margin} |\n {number} | {shown}\n {margin} | {indent}^",
            self.path.display(),
        )
    }
}

fn visible(letter: char) -> char {
    if steers_terminal(letter) { ' ' } else { letter }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_not_quoted() {
        let text = r#"{"url": "https://u:secret@h/f?token=secret", "sha1": 1}"#;
        let at = text.find("1}").unwrap();
        let report = Problem::at(at, "odd").in_file(Path::new("f"), text).to_string();
        let lines: Vec<&str> = report.lines().collect();
        assert!(report.starts_with("f:1:54: odd"), "{report}");
        assert!(!report.contains("secret") && lines[2].contains("https://h/f?token="), "{report}");
        assert_eq!(lines[2].find("1}"), lines[3].find('^'), "{report}");
    }

    #[test]
    fn a_report_shows_the_line_and_the_column() {
        let text = "{\n  \"ä\": 1,\n  \"b\": x\n}";
        let report = Problem::at(text.find('x').unwrap(), "odd").in_file(Path::new("f.json"), text);
        assert_eq!(report.to_string(), "f.json:3:8: odd\n   |\n 3 |   \"b\": x\n   |        ^");
        let end = Problem::at(9999, "ends").in_file(Path::new("f"), "{");
        assert_eq!(end.to_string(), "f:1:2: ends\n   |\n 1 | {\n   |  ^");
    }
}
