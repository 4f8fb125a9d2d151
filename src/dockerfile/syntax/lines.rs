//! Lines: directives at the top, comments, continuations, and the lines of here-documents.

use crate::dockerfile::model::Directives;
use crate::package::Problem;

/// An instruction's lines, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logical {
    /// Offset of the first byte that is not a space.
    pub(super) offset: usize,
    /// Number of the first line, from 1.
    pub(super) line: usize,
    /// Text without continuations, comments between them, and outer spaces.
    pub(super) text: String,
}

/// Reads a text line by line.
#[derive(Debug)]
pub(super) struct LineReader<'t> {
    text: &'t str,
    position: usize,
    line: usize,
    pub(super) escape: char,
}

impl<'t> LineReader<'t> {
    /// Begins behind the directives.
    pub(super) fn new(text: &'t str) -> Result<(Self, Directives), Problem> {
        // Some editors put it there; it is no part of the first instruction.
        let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut directives = Directives { syntax: None, escape: '\\', check: None };
        let mut position = start;
        let mut seen: Vec<String> = Vec::new();
        for line in text[start..].split_inclusive('\n') {
            let Some((key, value)) = directive(line) else { break };
            if seen.contains(&key) {
                let message = format!("the directive {key} is given twice");
                return Err(Problem::at(position, message));
            }
            match &*key {
                "syntax" => directives.syntax = Some(value.to_owned()),
                "check" => directives.check = Some(value.to_owned()),
                "escape" if matches!(value, "\\" | "`") => {
                    directives.escape = if value == "`" { '`' } else { '\\' };
                }
                "escape" => {
                    let message = format!("the escape {value:?} is neither \\ nor `");
                    return Err(Problem::at(position, message));
                }
                // An unknown key is a comment, and a comment ends the directives.
                _ => break,
            }
            seen.push(key);
            position += line.len();
        }
        let reader = Self { text, position: start, line: 0, escape: directives.escape };
        Ok((reader, directives))
    }

    /// Returns the next physical line with its end, and its offset.
    fn physical(&mut self) -> Option<(usize, &'t str)> {
        let offset = self.position;
        let line = self.text[offset..].split_inclusive('\n').next()?;
        self.position += line.len();
        self.line += 1;
        Some((offset, line))
    }

    /// The next instruction's lines.
    pub(super) fn next(&mut self) -> Option<Logical> {
        loop {
            let (offset, line) = self.physical()?;
            let indent = line.len() - line.trim_start().len();
            if is_comment(line) {
                continue;
            }
            let first = self.line;
            let (part, continues) = self.part(line.trim_start());
            if !continues && part.trim().is_empty() {
                continue;
            }
            let mut text = part.to_owned();
            let mut continues = continues;
            while continues {
                let Some((_, line)) = self.physical() else { break };
                // Within a continued line, comments and empty lines do not end it: Docker warns of
                // the latter, and goes on.
                if is_comment(line) || line.trim().is_empty() {
                    continue;
                }
                let part;
                (part, continues) = self.part(line);
                text.push_str(part);
            }
            if text.trim().is_empty() {
                continue;
            }
            let text = text.trim().to_owned();
            return Some(Logical { offset: offset + indent, line: first, text });
        }
    }

    /// Returns a line without its end and its continuation, and true for a continuation: an
    /// unescaped escape at the end.
    fn part<'l>(&self, line: &'l str) -> (&'l str, bool) {
        let line = line.trim_end_matches(['\r', '\n']);
        let text = line.trim_end_matches([' ', '\t']);
        match text.strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before, true),
            _ => (line, false),
        }
    }

    /// Lines of a here-document; `None` if its end is missing.
    pub(super) fn document(&mut self, name: &str, strip_tabs: bool) -> Option<&'t str> {
        let start = self.position;
        loop {
            let (offset, line) = self.physical()?;
            let line = line.trim_end_matches(['\r', '\n']);
            let line = if strip_tabs { line.trim_start_matches('\t') } else { line };
            if line == name {
                return Some(&self.text[start..offset]);
            }
        }
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// Parses a line as `# key=value`.
fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.strip_prefix('#')?.split_once('=')?;
    let (key, value) = (key.trim(), value.trim());
    let word = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.chars().all(|letter| letter.is_ascii_alphanumeric());
    (word && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String)> {
        let (mut reader, _) = LineReader::new(text).unwrap();
        std::iter::from_fn(|| reader.next()).map(|line| (line.line, line.text)).collect()
    }

    #[test]
    fn lines_are_joined_and_comments_between_them_dropped() {
        let one = |line: usize, text: &str| vec![(line, text.to_owned())];
        for (text, lines) in [
            ("", vec![]),
            ("\n\n# x\n  # y\n", vec![]),
            ("A b\n", one(1, "A b")),
            ("\n  A b  \n", one(2, "A b")),
            ("A \\\n  b\n", one(1, "A   b")),
            ("A b\\\n# comment\n\n   # other\nc\n", one(1, "A bc")),
            ("A b \\ \t\r\nc\r\n", one(1, "A b c")),
            ("A b\\\\\nB", vec![(1, "A b\\\\".to_owned()), (2, "B".to_owned())]),
            ("A \\", one(1, "A")),
            ("\\\nA", one(1, "A")),
            ("A # no comment\n", one(1, "A # no comment")),
            ("\u{feff}A\n", one(1, "A")),
        ] {
            assert_eq!(read(text), lines, "{text:?}");
        }
    }

    #[test]
    fn directives_stand_at_the_top() {
        let directives = |text| LineReader::new(text).map(|(_, directives)| directives);
        let all =
            directives("#Escape = `\n# syntax=docker/dockerfile:1\n# check=skip=all\n").unwrap();
        assert_eq!((all.escape, all.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
        assert_eq!(all.check.as_deref(), Some("skip=all"));
        for late in ["# x\n# escape=`", "\n# escape=`", "FROM x\n# escape=`", "# odd=1\n# escape=`"]
        {
            assert_eq!(directives(late).unwrap().escape, '\\', "{late:?}");
        }
        assert!(directives("# escape=x").unwrap_err().message.contains("neither"));
        assert!(directives("# escape=`\n# escape=`").unwrap_err().message.contains("twice"));
        assert_eq!(read("# escape=`\nA `\nb\\\nC"), [(2, "A b\\".to_owned()), (4, "C".to_owned())]);
    }

    #[test]
    fn documents_end_at_their_names() {
        let (mut reader, _) = LineReader::new("RUN <<E\na\\\n#b\n\tE\nE\nX\n").unwrap();
        assert_eq!(reader.next().unwrap().text, "RUN <<E");
        assert_eq!(reader.document("E", false), Some("a\\\n#b\n\tE\n"));
        assert_eq!(reader.next().unwrap().line, 6);
        let (mut reader, _) = LineReader::new("R\n\ta\r\n\tE").unwrap();
        reader.next();
        assert_eq!(reader.document("E", true), Some("\ta\r\n"));
        assert_eq!(reader.document("E", true), None);
    }
}
