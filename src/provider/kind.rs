//! Kinds of text that templates give, and how values are put into each such that the text stays valid.
//!
//! In JSON, YAML and shell text a value first stands as a token, a quoted text that no template can have
//! ([`MARK`]). The text with tokens is parsed: a token that is not a whole scalar (JSON, YAML) or a whole
//! word of an assignment (shell) is an error, whatever its value is. Only then values take the place of
//! tokens. So the structure of the text comes from the template alone.

use std::fmt::Write as _;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;

/// Character around the number of a token: from the private use area, and refused in templates.
pub(super) const MARK: char = '\u{f8ff}';

/// Kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// JSON: a value is a whole JSON value.
    Json,
    /// JSON of Azure's resource manager, in which a string that begins with `[` is an expression: strings
    /// among the values are none.
    Arm,
    /// YAML: a value is a whole scalar, a list or a mapping in flow style.
    Yaml,
    /// POSIX shell: values are single-quoted, and only in assignments and after `set --`.
    Shell,
    /// HTML: values are escaped as text and attributes.
    Html,
    /// Any other text: values are put in as they are.
    Text,
}

/// A fault of a rendered text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputFault {
    /// Offset in the text with tokens.
    pub(super) offset: usize,
    /// Fault.
    pub(super) reason: String,
}

impl Kind {
    /// All kinds by name.
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("json", Self::Json),
        ("arm", Self::Arm),
        ("yaml", Self::Yaml),
        ("shell", Self::Shell),
        ("html", Self::Html),
        ("text", Self::Text),
    ];

    /// The name of the kind in `provider.yaml`.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The kind of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(other, _)| *other == name).map(|(_, kind)| *kind)
    }

    /// The kind that the ending of a file's name stands for.
    pub(super) fn of_file(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            Some("sh" | "env") => Self::Shell,
            Some("html") => Self::Html,
            _ => Self::Text,
        }
    }

    /// Text that takes the place of a token.
    pub(super) fn written(self, value: &Value) -> String {
        match self {
            Self::Json | Self::Yaml => json(value),
            Self::Arm => json(&without_expressions(value)),
            Self::Shell => match value {
                Value::Array(items) => {
                    items.iter().map(|item| quoted(&plain(item))).collect::<Vec<_>>().join(" ")
                }
                _ => quoted(&plain(value)),
            },
            Self::Html => html(&plain(value)),
            Self::Text => plain(value),
        }
    }

    /// Quotes around a token; nothing for kinds that do without tokens.
    pub(super) fn token_quote(self) -> Option<char> {
        match self {
            Self::Json | Self::Arm | Self::Yaml => Some('"'),
            Self::Shell => Some('\''),
            Self::Html | Self::Text => None,
        }
    }

    /// Checks a text with tokens.
    pub(super) fn check(self, text: &str, values: &[Value]) -> Result<(), OutputFault> {
        match self {
            Self::Json | Self::Arm => check_json(text, values),
            Self::Yaml => check_yaml(text, values),
            Self::Shell => check_shell(text),
            Self::Html | Self::Text => Ok(()),
        }
    }

    /// Puts values in place of their tokens.
    pub(super) fn bind(self, text: &str, values: &[Value]) -> String {
        let Some(quote) = self.token_quote() else { return text.to_owned() };
        let (mut bound, mut rest) = (String::with_capacity(text.len()), text);
        while let Some((range, index)) = next_token(rest, quote) {
            bound.push_str(&rest[..range.start]);
            if let Some(value) = values.get(index) {
                bound.push_str(&self.written(value));
            }
            rest = &rest[range.end..];
        }
        bound.push_str(rest);
        bound
    }
}

/// The token of a value.
pub(super) fn token(quote: char, index: usize) -> String {
    format!("{quote}{MARK}{index}{MARK}{quote}")
}

/// The first token of a text, quotes included, and the number in it.
fn next_token(text: &str, quote: char) -> Option<(Range<usize>, usize)> {
    let mark = text.find(MARK)?;
    let number = &text[mark + MARK.len_utf8()..];
    let digits = number.find(MARK)?;
    let index = number[..digits].parse().ok()?;
    let end = mark + 2 * MARK.len_utf8() + digits + quote.len_utf8();
    Some((mark - quote.len_utf8()..end, index))
}

/// The number of a token that is the whole of a scalar.
fn whole_token(scalar: &str) -> Option<usize> {
    scalar.strip_prefix(MARK)?.strip_suffix(MARK)?.parse().ok()
}

/// Checks a scalar that must be a token, or must contain none.
fn check_scalar(scalar: &str, is_key: bool, values: &[Value]) -> Result<(), String> {
    if !scalar.contains(MARK) {
        return Ok(());
    }
    let Some(value) = whole_token(scalar).and_then(|index| values.get(index)) else {
        let remedy = "join texts in the expression instead: {{ \"text\" ~ name }}";
        return Err(format!("a value stands within other text; {remedy}"));
    };
    if is_key && !value.is_string() {
        return Err("a key must be text".to_owned());
    }
    Ok(())
}

fn check_json(text: &str, values: &[Value]) -> Result<(), OutputFault> {
    let parsed: Value = serde_json::from_str(text).map_err(|error| OutputFault {
        offset: offset_of_line(text, error.line(), error.column()),
        reason: error.to_string(),
    })?;
    check_json_value(&parsed, values).map_err(|(scalar, reason)| OutputFault {
        offset: text
            .find(MARK)
            .filter(|_| scalar.is_empty())
            .or_else(|| place(text, &scalar))
            .unwrap_or_default(),
        reason,
    })
}

/// Place of the first mark in a scalar that is written in a text.
fn place(text: &str, scalar: &str) -> Option<usize> {
    let mark = scalar.find(MARK)?;
    let rest = &scalar[mark + MARK.len_utf8()..];
    let token = &scalar[mark..mark + MARK.len_utf8() + rest.find(MARK)? + MARK.len_utf8()];
    text.find(token)
}

fn check_json_value(value: &Value, values: &[Value]) -> Result<(), (String, String)> {
    let scalar = |text: &str, is_key| {
        check_scalar(text, is_key, values).map_err(|reason| (text.to_owned(), reason))
    };
    match value {
        Value::String(text) => scalar(text, false),
        Value::Array(items) => items.iter().try_for_each(|item| check_json_value(item, values)),
        Value::Object(entries) => entries.iter().try_for_each(|(key, value)| {
            scalar(key, true)?;
            check_json_value(value, values)
        }),
        _ => Ok(()),
    }
}

fn check_yaml(text: &str, values: &[Value]) -> Result<(), OutputFault> {
    let byte = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    // For each collection that is open: true if it is a mapping, and if its next node is a key.
    let mut open: Vec<(bool, bool)> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| OutputFault {
            offset: byte(error.marker().index()),
            reason: error.info().to_owned(),
        })?;
        let is_key = open.last().is_some_and(|(is_map, is_key)| *is_map && *is_key);
        let mut node = || {
            if let Some((_, is_key)) = open.last_mut() {
                *is_key = !*is_key;
            }
        };
        match event {
            Event::Scalar(scalar, style, ..) => {
                node();
                let fault = |reason| OutputFault { offset: byte(span.start.index()), reason };
                if scalar.contains(MARK) && style != ScalarStyle::DoubleQuoted {
                    return Err(fault(
                        "a value stands within other text; join texts in the expression instead: \
                         {{ \"text\" ~ name }}"
                            .to_owned(),
                    ));
                }
                check_scalar(&scalar, is_key, values).map_err(fault)?;
            }
            Event::Alias(_) => node(),
            Event::SequenceStart(..) => {
                node();
                open.push((false, false));
            }
            Event::MappingStart(..) => {
                node();
                open.push((true, true));
            }
            Event::SequenceEnd | Event::MappingEnd => drop(open.pop()),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that tokens stand in lines `NAME=TOKEN` (with `export` or `readonly` before) and `set -- …` alone.
fn check_shell(text: &str) -> Result<(), OutputFault> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(mark) = line.find(MARK)
            && !is_assignment(line.trim())
        {
            return Err(OutputFault {
                offset: start + mark,
                reason:
                    "a value must be the whole right side of an assignment, NAME={{ name }}, or \
                         stand in a line: set -- {{ name }}"
                        .to_owned(),
            });
        }
        start += line.len();
    }
    Ok(())
}

fn is_assignment(line: &str) -> bool {
    let is_token = |word: &str| {
        let scalar = word.strip_prefix('\'').and_then(|word| word.strip_suffix('\''));
        scalar.is_some_and(|scalar| whole_token(scalar).is_some())
    };
    if let Some(words) = line.strip_prefix("set -- ") {
        return words.split(' ').all(|word| is_token(word) || word == "\"$@\"");
    }
    let line =
        ["export ", "readonly "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
    line.split_once('=')
        .is_some_and(|(name, value)| crate::package::is_variable_name(name) && is_token(value))
}

fn offset_of_line(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

/// Serializes a value as JSON on one line, in characters that YAML accepts unescaped, too: other
/// printable characters (YAML 1.2.2, 5.1) and line breaks are escaped.
fn json(value: &Value) -> String {
    let text = value.to_string();
    let is_odd = |letter: char| {
        matches!(
            letter,
            '\u{7f}'
                ..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | MARK
        )
    };
    if !text.contains(is_odd) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_odd(letter) {
            _ = write!(escaped, "\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// A value in which no string begins like an expression of Azure's resource manager.
fn without_expressions(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with('[') => Value::String(format!("[{text}")),
        Value::Array(items) => items.iter().map(without_expressions).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), without_expressions(value))).collect()
        }
        other => other.clone(),
    }
}

/// A value as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A text as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}
