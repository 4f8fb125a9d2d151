//! Kinds of text that templates give, and how values are put into each such that the text stays valid.
//!
//! In JSON, YAML and shell text a value first stands as a token, a quoted text that no template can have
//! ([`MARK`]). The text with tokens is parsed: a token that is not a whole scalar (JSON, YAML) or a whole
//! word of an assignment (shell, variables) is an error, whatever its value is. Only then values take the
//! place of tokens. So the structure of the text comes from the template alone.

use std::fmt::Write as _;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;

use super::token::{MARK, OutputFault, next_token, whole_token};
use super::{env, shell};
use crate::base::escape::{html, shell_word};

/// Longest key of YAML that a value may give, in bytes of JSON.
const LONGEST_KEY: usize = 1000;

/// Kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextKind {
    /// JSON: a value is a whole JSON value.
    Json,
    /// JSON of Azure's resource manager, in which a string that begins with `[` is an expression: strings
    /// among the values are none.
    Arm,
    /// YAML: a value is a whole scalar, a list or a mapping in flow style.
    Yaml,
    /// POSIX shell: values are single-quoted, and only in assignments and after `set --`.
    Shell,
    /// Variables that a shell and systemd read alike: values are double-quoted, and only in assignments.
    Env,
    /// HTML: values are escaped as text and attributes.
    Html,
    /// Any other text: values are put in as they are.
    Text,
}

impl TextKind {
    /// All kinds by name.
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("json", Self::Json),
        ("arm", Self::Arm),
        ("yaml", Self::Yaml),
        ("shell", Self::Shell),
        ("env", Self::Env),
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
            Some("sh") => Self::Shell,
            Some("env") => Self::Env,
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
                    items.iter().map(|item| shell_word(&plain(item))).collect::<Vec<_>>().join(" ")
                }
                _ => shell_word(&plain(value)),
            },
            Self::Env => env::quoted(&plain(value)),
            Self::Html => html(&plain(value)),
            Self::Text => plain(value),
        }
    }

    /// Quotes around a token; nothing for kinds that do without tokens.
    pub(super) fn token_quote(self) -> Option<char> {
        match self {
            Self::Json | Self::Arm | Self::Yaml => Some('"'),
            Self::Shell | Self::Env => Some('\''),
            Self::Html | Self::Text => None,
        }
    }

    /// Checks a text with tokens.
    pub(super) fn check(self, text: &str, values: &[Value]) -> Result<(), OutputFault> {
        match self {
            Self::Json | Self::Arm => check_json(text, values),
            Self::Yaml => check_yaml(text, values),
            Self::Shell => shell::check(text, values),
            Self::Env => env::check(text, values),
            Self::Html | Self::Text => Ok(()),
        }
    }

    /// Puts values in place of their tokens.
    pub(super) fn bind(self, text: &str, values: &[Value]) -> String {
        let Some(quote) = self.token_quote() else { return text.to_owned() };
        let (mut bound, mut rest) = (String::with_capacity(text.len()), text);
        // In one pass: a value that looks like a token is never looked at again.
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

/// Faults of a scalar that has to be a token or to have none in it.
fn check_scalar(scalar: &str, is_key: bool, values: &[Value]) -> Result<(), String> {
    if !scalar.contains(MARK) {
        return Ok(());
    }
    let Some(value) = whole_token(scalar).and_then(|index| values.get(index)) else {
        let remedy = "join texts in the expression instead: {{ \"text\" ~ name }}";
        return Err(format!("a value stands within other text; {remedy}"));
    };
    // JSON has no other keys, and YAML's `1:` and `"1":` are two.
    if is_key && !value.is_string() {
        return Err("a key must be text".to_owned());
    }
    Ok(())
}

/// True if a key is longer than YAML takes it, also within a mapping on one line (YAML 1.2.2, 7.4.2).
fn has_long_key(value: &Value, is_key: bool) -> bool {
    let is_long = |key: &Value| json(key).len() > LONGEST_KEY;
    match value {
        Value::Array(items) => items.iter().any(|item| has_long_key(item, false)),
        Value::Object(entries) => entries
            .iter()
            .any(|(key, value)| is_long(&key.as_str().into()) || has_long_key(value, false)),
        value => is_key && is_long(value),
    }
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
    // The parser counts characters.
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
                // In a plain or single-quoted scalar the JSON text that takes the token's place
                // would mean something else.
                if scalar.contains(MARK) && style != ScalarStyle::DoubleQuoted {
                    return Err(fault(
                        "a value stands within other text; join texts in the expression instead: \
                         {{ \"text\" ~ name }}"
                            .to_owned(),
                    ));
                }
                check_scalar(&scalar, is_key, values).map_err(fault)?;
                let value = whole_token(&scalar).and_then(|index| values.get(index));
                if value.is_some_and(|value| has_long_key(value, is_key)) {
                    return Err(fault(format!("a key has more than {LONGEST_KEY} bytes")));
                }
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
        // Of a string without the closing one, the manager takes an opening bracket for what it is.
        Value::String(text) if text.starts_with('[') && text.ends_with(']') => {
            Value::String(format!("[{text}"))
        }
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
