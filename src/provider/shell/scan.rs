//! The state of a shell at each line of a script.

/// An open construct; quotations in single quotes, comments and backquotes are passed as wholes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// `"…"`.
    Double,
    /// `$(…)`, with the number of open parentheses and of `case` without `esac`.
    Substitution { parentheses: usize, cases: usize },
    /// `$((…))`, with the number of open parentheses.
    Arithmetic { parentheses: usize },
    /// `${…}`.
    Parameter,
}

/// A here-document whose body has not begun.
struct ShellHereDocument {
    end: Vec<u8>,
    /// The body is not expanded.
    is_quoted: bool,
    /// Tabs at the beginnings of lines do not count: `<<-`.
    is_indented: bool,
}

/// A text on that shells read differently.
struct Ambiguous;

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    open: Vec<Frame>,
    documents: Vec<ShellHereDocument>,
    /// The next byte continues a word, so that a `#` does not begin a comment.
    is_in_word: bool,
    /// For each line that has begun: true if a command begins with it.
    lines: Vec<bool>,
}

/// For each line up to the last that is certain: true if a command begins with it.
pub(super) fn command_lines(text: &str) -> Vec<bool> {
    let mut scanner = Scanner {
        text: text.as_bytes(),
        at: 0,
        open: Vec::new(),
        documents: Vec::new(),
        is_in_word: false,
        lines: vec![true],
    };
    while scanner.at < scanner.text.len() {
        if scanner.step().is_err() {
            break;
        }
    }
    scanner.lines
}

impl Scanner<'_> {
    fn starts_with(&self, text: &[u8]) -> bool {
        self.text[self.at..].starts_with(text)
    }

    /// Passes bytes within which no command begins.
    fn pass(&mut self, bytes: usize) {
        let end = self.text.len().min(self.at + bytes);
        let lines = count(&self.text[self.at..end], b'\n');
        self.lines.extend(std::iter::repeat_n(false, lines));
        self.at = end;
    }

    fn step(&mut self) -> Result<(), Ambiguous> {
        let byte = self.text[self.at];
        let (lines, awaited) = (self.lines.len(), self.documents.len());
        match (byte, self.open.last().copied()) {
            // Continues the line, and the word.
            (b'\\', _) if self.starts_with(b"\\\n") => {
                self.pass(2);
                return Ok(());
            }
            (b'\\', _) => {
                self.is_in_word = true;
                self.pass(2);
            }
            (b'`', _) => self.backquotes()?,
            (b'$', top) => self.dollar(top)?,
            (b'"', Some(Frame::Double)) => {
                self.open.pop();
                self.pass(1);
            }
            (b'"', Some(Frame::Parameter)) if self.is_quoted() => return Err(Ambiguous),
            (b'"', _) => {
                self.is_in_word = true;
                self.open.push(Frame::Double);
                self.pass(1);
            }
            (_, Some(Frame::Double)) => self.pass(1),
            (_, Some(Frame::Parameter)) => self.parameter(byte)?,
            (_, Some(Frame::Arithmetic { parentheses })) => self.arithmetic(byte, parentheses)?,
            (b'\'', _) => self.single_quotes(),
            _ => self.command(byte)?,
        }
        // A here-document that would begin within a word of several lines.
        if awaited > 0 && !self.documents.is_empty() && self.lines.len() > lines {
            return Err(Ambiguous);
        }
        Ok(())
    }

    /// True within double quotes of the innermost command.
    fn is_quoted(&self) -> bool {
        let inner =
            self.open.iter().rev().take_while(|frame| !matches!(frame, Frame::Substitution { .. }));
        inner.into_iter().any(|frame| *frame == Frame::Double)
    }

    fn single_quotes(&mut self) {
        self.is_in_word = true;
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().position(|byte| *byte == b'\'').unwrap_or(rest.len());
        self.pass(length + 2);
    }

    /// Passes a substitution in backquotes: its end is the next one that has no backslash before it.
    fn backquotes(&mut self) -> Result<(), Ambiguous> {
        self.is_in_word = true;
        let start = self.at + 1;
        let mut end = start;
        while self.text.get(end).is_some_and(|byte| *byte != b'`') {
            end += if self.text[end] == b'\\' { 2 } else { 1 };
        }
        let inner = self.text.get(start..end).ok_or(Ambiguous)?;
        if !count(inner, b'\'').is_multiple_of(2)
            || !count(inner, b'"').is_multiple_of(2)
            || inner.windows(2).any(|pair| pair == b"<<")
        {
            return Err(Ambiguous);
        }
        self.pass(end + 1 - self.at);
        Ok(())
    }

    fn dollar(&mut self, top: Option<Frame>) -> Result<(), Ambiguous> {
        self.is_in_word = true;
        if self.starts_with(b"$((") {
            self.open.push(Frame::Arithmetic { parentheses: 2 });
            self.pass(3);
        } else if self.starts_with(b"$(") {
            self.open.push(Frame::Substitution { parentheses: 0, cases: 0 });
            self.is_in_word = false;
            self.pass(2);
        } else if self.starts_with(b"${") {
            self.open.push(Frame::Parameter);
            // The first letter may be a special parameter.
            self.pass(if self.starts_with(b"${}") { 2 } else { 3 });
        } else if self.starts_with(b"$'") && top != Some(Frame::Double) {
            // POSIX.1-2024 has escapes within; many shells do not.
            return Err(Ambiguous);
        } else {
            self.pass(1);
        }
        Ok(())
    }

    fn parameter(&mut self, byte: u8) -> Result<(), Ambiguous> {
        match byte {
            b'}' => {
                self.open.pop();
                self.pass(1);
            }
            // Within double quotes a quotation mark is text or not, by the operator and the shell.
            b'\'' if self.is_quoted() => return Err(Ambiguous),
            b'\'' => self.single_quotes(),
            _ => self.pass(1),
        }
        Ok(())
    }

    fn arithmetic(&mut self, byte: u8, parentheses: usize) -> Result<(), Ambiguous> {
        let parentheses = match byte {
            b'(' => parentheses + 1,
            b')' => parentheses - 1,
            // A subshell within a substitution, which looks alike.
            b'\'' | b';' | b'\n' => return Err(Ambiguous),
            b'#' if matches!(self.text[self.at - 1], b' ' | b'\t' | b'(') => return Err(Ambiguous),
            _ => parentheses,
        };
        self.open.pop();
        if parentheses > 0 {
            self.open.push(Frame::Arithmetic { parentheses });
        }
        self.pass(1);
        Ok(())
    }

    /// A byte where commands are read: at the top, or in `$(…)`.
    fn command(&mut self, byte: u8) -> Result<(), Ambiguous> {
        match byte {
            b'\n' => return self.end_line(),
            b'#' if !self.is_in_word => {
                let rest = &self.text[self.at..];
                let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                self.pass(length);
                return Ok(());
            }
            // A here-string; arithmetic, or two subshells.
            b'<' if self.starts_with(b"<<<") => return Err(Ambiguous),
            b'(' if self.starts_with(b"((") => return Err(Ambiguous),
            b'<' if self.starts_with(b"<<") => return self.here_document(),
            _ => {}
        }
        let was_in_word = self.is_in_word;
        self.is_in_word =
            !matches!(byte, b' ' | b'\t' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')');
        if let Some(Frame::Substitution { parentheses, cases }) = self.open.last_mut() {
            let rest = &self.text[self.at..];
            let is_word = |word: &[u8]| {
                let end = rest.get(word.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
                !was_in_word && end && rest.starts_with(word)
            };
            match byte {
                b'(' => *parentheses += 1,
                b')' if *parentheses > 0 => *parentheses -= 1,
                // The end of a pattern.
                b')' if *cases > 0 => {}
                b')' => {
                    self.open.pop();
                    self.is_in_word = true;
                }
                b'c' if is_word(b"case") => *cases += 1,
                b'e' if is_word(b"esac") => *cases = cases.saturating_sub(1),
                _ => {}
            }
        }
        self.pass(1);
        Ok(())
    }

    /// Reads the beginning of a here-document.
    fn here_document(&mut self) -> Result<(), Ambiguous> {
        self.pass(2);
        let is_indented = self.starts_with(b"-");
        self.pass(usize::from(is_indented));
        while self.starts_with(b" ") || self.starts_with(b"\t") {
            self.pass(1);
        }
        let (mut end, mut is_quoted) = (Vec::new(), false);
        while let Some(byte) = self.text.get(self.at).copied() {
            match byte {
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                b'\\' => {
                    is_quoted = true;
                    end.push(*self.text.get(self.at + 1).ok_or(Ambiguous)?);
                    self.pass(2);
                }
                b'\'' | b'"' => {
                    is_quoted = true;
                    let rest = &self.text[self.at + 1..];
                    let length = rest.iter().position(|other| *other == byte).ok_or(Ambiguous)?;
                    end.extend(&rest[..length]);
                    self.pass(length + 2);
                }
                b'$' | b'`' => return Err(Ambiguous),
                _ => {
                    end.push(byte);
                    self.pass(1);
                }
            }
        }
        if end.is_empty() || end.contains(&b'\n') || end.contains(&b'\\') {
            return Err(Ambiguous);
        }
        self.is_in_word = true;
        self.documents.push(ShellHereDocument { end, is_quoted, is_indented });
        Ok(())
    }

    /// Passes the end of a line, and the bodies of here-documents after it.
    fn end_line(&mut self) -> Result<(), Ambiguous> {
        self.is_in_word = false;
        self.pass(1);
        for document in std::mem::take(&mut self.documents) {
            let mut is_continued = false;
            loop {
                let rest = &self.text[self.at..];
                if rest.is_empty() {
                    return Err(Ambiguous);
                }
                let length = rest.iter().position(|byte| *byte == b'\n');
                let line = &rest[..length.unwrap_or(rest.len())];
                let tabs = line.iter().take_while(|byte| document.is_indented && **byte == b'\t');
                let is_end = line[tabs.count()..] == document.end;
                if is_end && is_continued {
                    return Err(Ambiguous);
                }
                if !is_end && !document.is_quoted {
                    // An expansion that goes on in the next line, and may have the last line in it.
                    if !count(line, b'`').is_multiple_of(2)
                        || line.windows(2).any(|pair| pair == b"$(")
                            && count(line, b'(') != count(line, b')')
                        || line.windows(2).any(|pair| pair == b"${")
                            && count(line, b'{') != count(line, b'}')
                    {
                        return Err(Ambiguous);
                    }
                    let slashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
                    is_continued = !slashes.is_multiple_of(2);
                }
                self.pass(line.len() + 1);
                if is_end {
                    break;
                }
            }
        }
        if let Some(line) = self.lines.last_mut() {
            *line = self.open.is_empty();
        }
        Ok(())
    }
}

fn count(bytes: &[u8], wanted: u8) -> usize {
    bytes.split(|byte| *byte == wanted).count() - 1
}
