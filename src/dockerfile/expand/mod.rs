//! Variables, quotes and escapes in the words of a Dockerfile.
//!
//! The rules are Docker's, which are nearly a shell's: `$x`, `${x}`, `${x:-word}`, `${x-word}`,
//! `${x:+word}`, `${x+word}`, `${x:?word}`, `${x?word}`, `${x#pattern}`, `${x##pattern}`,
//! `${x%pattern}`, `${x%%pattern}`, `${x/pattern/word}`, `${x//pattern/word}`. Words and patterns
//! are expanded themselves; patterns have `*` and `?`. Single quotes keep everything, double quotes
//! all but variables and escapes. A variable that isn't set is empty.

mod error;
mod pattern;

use std::iter::Peekable;
use std::str::Chars;

pub use error::ExpandError;
use pattern::ExpansionPattern;

/// Upper limit of nested braces: each level is a recursive call.
const DEEPEST: usize = 64;

/// Settings for expanding texts.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that the rules ask about")]
pub struct Expander<'a> {
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    raw_quotes: bool,
    raw_escapes: bool,
    skip_quotes: bool,
    skip_unset: bool,
}

impl std::fmt::Debug for Expander<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expander").field("escape", &self.escape).finish_non_exhaustive()
    }
}

impl<'a> Expander<'a> {
    /// Words of instructions: quotes and escapes are taken off.
    pub fn new(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            escape,
            lookup,
            raw_quotes: false,
            raw_escapes: false,
            skip_quotes: false,
            skip_unset: false,
        }
    }

    /// The text of a here-document: quotes mean nothing, and the escape is always `\`.
    pub fn of_document(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { skip_quotes: true, ..Self::new('\\', lookup) }
    }

    /// Words of a command: nothing is taken off, and no variable is known.
    pub(super) fn raw() -> Self {
        let known = Self { skip_unset: true, ..Self::new('\\', &nothing) };
        Self { raw_quotes: true, raw_escapes: true, ..known }
    }

    /// As [`raw`](Self::raw), but quotes and escapes are taken off.
    pub(super) fn unquoting() -> Self {
        Self { skip_unset: true, ..Self::new('\\', &nothing) }
    }
}

fn nothing(_name: &str) -> Option<String> {
    None
}

/// Expands a text to one word.
pub fn expand(text: &str, expander: &Expander<'_>) -> Result<String, ExpandError> {
    let mut lexer = Lexer::new(text, expander);
    Ok(lexer.until(None, expander.raw_escapes)?.text)
}

/// Expands a text, and splits the result into words.
pub fn expand_words(text: &str, expander: &Expander<'_>) -> Result<Vec<String>, ExpandError> {
    let mut lexer = Lexer::new(text, expander);
    Ok(lexer.until(None, expander.raw_escapes)?.into_words())
}

/// Result so far, both as one text and as words.
#[derive(Default)]
struct Expanded {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Expanded {
    /// Adds text that is split at spaces.
    fn add(&mut self, text: &str) {
        for letter in text.chars() {
            if !letter.is_whitespace() {
                self.word.push(letter);
            } else if !self.word.is_empty() {
                self.words.push(std::mem::take(&mut self.word));
            }
        }
        self.text.push_str(text);
    }

    /// Adds text without splitting.
    fn add_quoted(&mut self, text: &str) {
        self.word.push_str(text);
        self.text.push_str(text);
    }

    fn into_words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Lexer<'t, 'e> {
    rest: Peekable<Chars<'t>>,
    expander: Expander<'e>,
    depth: usize,
}

impl<'t, 'e> Lexer<'t, 'e> {
    fn new(text: &'t str, expander: &Expander<'e>) -> Self {
        Self { rest: text.chars().peekable(), expander: *expander, depth: 0 }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    /// Reads up to a letter, which is taken too, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Expanded, ExpandError> {
        let outer = std::mem::replace(&mut self.expander.raw_escapes, raw_escapes);
        let result = self.until_inner(stop);
        self.expander.raw_escapes = outer;
        result
    }

    fn until_inner(&mut self, stop: Option<char>) -> Result<Expanded, ExpandError> {
        let mut read = Expanded::default();
        while let Some(letter) = self.peek() {
            if stop == Some(letter) {
                self.rest.next();
                return Ok(read);
            }
            match letter {
                '$' => read.add(&self.variable()?),
                '\'' if !self.expander.skip_quotes => read.add_quoted(&self.single_quoted()?),
                '"' if !self.expander.skip_quotes => read.add_quoted(&self.double_quoted()?),
                _ => {
                    self.rest.next();
                    let mut buffer = [0; 4];
                    if letter != self.expander.escape {
                        read.add(letter.encode_utf8(&mut buffer));
                        continue;
                    }
                    if self.expander.raw_escapes {
                        read.add_quoted(letter.encode_utf8(&mut buffer));
                    }
                    if let Some(next) = self.rest.next() {
                        read.add_quoted(next.encode_utf8(&mut buffer));
                    }
                }
            }
            // A few lines of ENV that double each other make terabytes (as with "billion laughs").
            ExpandError::check_length(&read.text)?;
        }
        match stop {
            None => Ok(read),
            Some(stop) => Err(ExpandError(format!("a {stop} is missing at the end"))),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        let quote = self.rest.next().filter(|_| self.expander.raw_quotes);
        text.extend(quote);
        loop {
            match self.rest.next() {
                None => return Err(ExpandError("a ' is not closed".to_owned())),
                Some('\'') => {
                    text.extend(quote);
                    return Ok(text);
                }
                Some(letter) => text.push(letter),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        let quote = self.rest.next().filter(|_| self.expander.raw_quotes);
        text.extend(quote);
        loop {
            match self.peek() {
                None => return Err(ExpandError("a \" is not closed".to_owned())),
                Some('"') => {
                    self.rest.next();
                    text.extend(quote);
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.variable()?),
                Some(letter) => {
                    self.rest.next();
                    let escape = self.expander.escape;
                    if letter != escape {
                        text.push(letter);
                        continue;
                    }
                    if self.expander.raw_escapes {
                        text.push(letter);
                    }
                    match self.peek() {
                        None => {}
                        Some(next) if matches!(next, '"' | '$') || next == escape => {
                            self.rest.next();
                            text.push(next);
                        }
                        // Before anything else an escape is an ordinary letter.
                        Some(_) => text.push(letter),
                    }
                }
            }
        }
    }

    fn variable(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        if self.peek() == Some('{') {
            self.rest.next();
            self.depth += 1;
            if self.depth > DEEPEST {
                return Err(ExpandError(format!("more than {DEEPEST} ${{…}} in one another")));
            }
            let result = self.braced();
            self.depth -= 1;
            return result;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        match (self.expander.lookup)(&name) {
            None if self.expander.skip_unset => Ok(format!("${name}")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    fn name(&mut self) -> String {
        match self.peek() {
            Some(letter) if letter.is_ascii_digit() => {
                let mut name = String::new();
                while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
                name
            }
            Some(letter @ ('@' | '*' | '#' | '?' | '-' | '$' | '!')) => {
                self.rest.next();
                letter.to_string()
            }
            _ => {
                let mut name = String::new();
                let part = |letter: &char| letter.is_alphanumeric() || *letter == '_';
                while let Some(letter) = self.rest.next_if(part) {
                    name.push(letter);
                }
                name
            }
        }
    }

    fn braced(&mut self) -> Result<String, ExpandError> {
        let unclosed = || ExpandError("a ${ has no }".to_owned());
        match self.peek() {
            None => return Err(unclosed()),
            Some('{' | '}' | ':') => {
                return Err(ExpandError("a ${ is followed by no name".to_owned()));
            }
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.expander.lookup)(&name);
        let kept = value.is_none() && self.expander.skip_unset;
        match self.rest.next() {
            Some('}') if kept => Ok(format!("${{{name}}}")),
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let operator = self.rest.next().ok_or_else(unclosed)?;
                if !matches!(operator, '-' | '+' | '?') {
                    return Err(unsupported(&format!(":{operator}")));
                }
                let word = self.until(Some('}'), false)?.text;
                if kept {
                    return Ok(format!("${{{name}:{operator}{word}}}"));
                }
                let empty = value.as_deref() == Some("");
                choose(operator, &name, value, word, empty)
            }
            Some(operator @ ('-' | '+' | '?')) => {
                let word = self.until(Some('}'), false)?.text;
                if kept {
                    return Ok(format!("${{{name}{operator}{word}}}"));
                }
                choose(operator, &name, value, word, false)
            }
            Some(operator @ ('#' | '%')) => {
                // Escapes stay: the pattern needs them, as `\*` is a star there.
                let word = self.until(Some('}'), true)?.text;
                if kept {
                    return Ok(format!("${{{name}{operator}{word}}}"));
                }
                let greedy = word.starts_with(operator);
                let pattern = ExpansionPattern::parse(if greedy { &word[1..] } else { &word })?;
                let value = value.unwrap_or_default();
                Ok(if operator == '#' {
                    pattern.without_prefix(&value, greedy)
                } else {
                    pattern.without_suffix(&value, greedy)
                })
            }
            Some('/') => self.replaced(&name, value, kept),
            Some(other) => Err(unsupported(&other.to_string())),
            None => Err(unclosed()),
        }
    }

    fn replaced(
        &mut self,
        name: &str,
        value: Option<String>,
        kept: bool,
    ) -> Result<String, ExpandError> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let written = self.until(Some('/'), true)?.text;
        let replacement = self.until(Some('}'), true)?.text;
        if kept {
            return Ok(format!("${{{name}/{written}/{replacement}}}"));
        }
        ExpansionPattern::parse(&written)?.replace(&value.unwrap_or_default(), &replacement, all)
    }
}

fn unsupported(operator: &str) -> ExpandError {
    ExpandError(format!("${{…{operator}…}} is not a known form of expansion"))
}

fn choose(
    operator: char,
    name: &str,
    value: Option<String>,
    word: String,
    counts_as_unset: bool,
) -> Result<String, ExpandError> {
    let set = value.filter(|_| !counts_as_unset);
    match (operator, set) {
        ('-' | '?', Some(value)) => Ok(value),
        ('-', None) | ('+', Some(_)) => Ok(word),
        ('?', None) if !word.is_empty() => Err(ExpandError(format!("{name}: {word}"))),
        ('?', None) => {
            let how = if counts_as_unset { "empty" } else { "unset" };
            Err(ExpandError(format!("{name} must not be {how}")))
        }
        _ => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests;
