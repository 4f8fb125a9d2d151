//! YAML as text, for engines: mappings in their order, and scalars that mean the same to every reader.

use std::fmt::{Display, Write as _};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A scalar as it is written: a number, a truth value, or a text without quotes.
    Plain(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A mapping, in this order.
    Map(Entries),
}

/// Entries of a mapping.
pub(super) type Entries = Vec<(String, Value)>;

/// Words that readers take for something else than text.
const WORDS: [&str; 11] =
    ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

impl Value {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number or a truth value.
    pub(super) fn plain(value: impl Display) -> Self {
        Self::Plain(format!("{value}"))
    }

    /// A list of texts.
    pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// A mapping.
    pub(super) fn map<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The value with all that another one adds or replaces: mappings are merged, lists joined.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Map(own), Self::Map(others)) => Self::Map(merged(own, others)),
            (Self::List(mut own), Self::List(others)) => {
                own.extend(others);
                Self::List(own)
            }
            (_, other) => other,
        }
    }

    /// The text of a document with this value.
    pub(super) fn document(&self) -> String {
        let mut text = String::new();
        self.write(0, &mut text);
        text
    }

    /// Scalar or empty value on one line.
    fn inline(&self) -> Option<String> {
        match self {
            Self::Plain(text) => Some(text.clone()),
            Self::Text(text) => Some(scalar(text)),
            Self::List(items) if items.is_empty() => Some("[]".to_owned()),
            Self::Map(entries) if entries.is_empty() => Some("{}".to_owned()),
            Self::List(_) | Self::Map(_) => None,
        }
    }

    /// Writes lines that are indented so far.
    fn write(&self, indent: usize, to: &mut String) {
        let margin = " ".repeat(indent);
        if let Some(text) = self.inline() {
            _ = writeln!(to, "{margin}{text}");
        }
        match self {
            Self::List(items) => {
                for item in items {
                    let mut text = String::new();
                    item.write(indent + 2, &mut text);
                    // The first line begins behind the dash.
                    _ = write!(to, "{margin}- {}", &text[indent + 2..]);
                }
            }
            Self::Map(entries) => {
                for (key, value) in entries {
                    let key = scalar(key);
                    if let Some(text) = value.inline() {
                        _ = writeln!(to, "{margin}{key}: {text}");
                    } else {
                        _ = writeln!(to, "{margin}{key}:");
                        value.write(indent + 2, to);
                    }
                }
            }
            Self::Plain(_) | Self::Text(_) => {}
        }
    }
}

/// Entries with those of others, which replace and add.
pub(super) fn merged(mut own: Entries, others: Entries) -> Entries {
    for (key, other) in others {
        match own.iter_mut().find(|(known, _)| *known == key) {
            Some((_, value)) => {
                let before = std::mem::replace(value, Value::Plain(String::new()));
                *value = before.with(other);
            }
            None => own.push((key, other)),
        }
    }
    own
}

/// A text as a scalar: without quotes where no reader can take it for anything else.
fn scalar(text: &str) -> String {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || "_./-@=+(), :".contains(letter);
    // No digit first: `1e3`, `0x1f`, `12:30` and `2026-11-30` are numbers or times to some readers.
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '.';
    // `.nan` and `.inf` are numbers (YAML 1.2.2, 10.3.2), in any case.
    let bare = text.trim_start_matches('.').to_ascii_lowercase();
    let is_plain = text.starts_with(first)
        && text.chars().all(letters)
        && bare.starts_with(|letter: char| letter.is_ascii_alphabetic())
        // A colon before a blank ends a key.
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
        && !WORDS.contains(&bare.as_str());
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// A text in double quotes (YAML 1.2.2, 7.3.1).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // Controls, line breaks of Unicode, and the mark of byte order.
            letter if letter.is_control() || "\u{2028}\u{2029}\u{feff}".contains(letter) => {
                _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::yaml::YamlNode;

    #[test]
    fn texts_are_read_as_they_were() {
        for text in [
            "",
            " ",
            "a",
            "a b",
            "a ",
            "-",
            "- a",
            "a: b",
            "a:b",
            "a:",
            "a :b, c@d=(e)",
            "a #b",
            "#",
            "yes",
            "No",
            "null",
            "~",
            "1",
            "1e3",
            "0x1",
            ".5",
            ".inf",
            ".NaN",
            "1.10",
            "it's",
            "\"",
            "a\\b",
            "a\nb",
            "\t",
            "\u{85}\u{2028}",
            "\u{7}",
            "!tag",
            "&a",
            "*a",
            "{",
            "[",
            "|",
            ">",
            "%a",
            "@a",
            "`",
            "?",
            "\u{f6}",
            "${{ x }}",
            "a: 'b'",
            "2001-01-01",
            "=",
            "<<",
        ] {
            let map = Value::map([("k", Value::List(vec![Value::text(text)]))]).document();
            let node = YamlNode::parse(&map).unwrap().to_json();
            assert_eq!(node, serde_json::json!({"k": [text]}), "{map}");
            let map = Value::Map(vec![(text.to_owned(), Value::plain(1))]).document();
            assert_eq!(
                YamlNode::parse(&map).unwrap().get(text).unwrap().text(),
                Some("1"),
                "{map}"
            );
        }
        assert_eq!(Value::text("build a-b/c.d").document(), "build a-b/c.d\n");
    }

    #[test]
    fn values_within_values_have_their_place() {
        let inner = Value::map([("b", Value::texts(["c", "d"])), ("e", Value::map([]))]);
        let list = Value::List(vec![inner, Value::List(vec![Value::plain(1), Value::plain(2)])]);
        let text = Value::map([("a", list), ("f", Value::List(Vec::new()))]).document();
        assert_eq!(text, "a:\n  - b:\n      - c\n      - d\n    e: {}\n  - - 1\n    - 2\nf: []\n");
        let read = YamlNode::parse(&text).unwrap().to_json();
        assert_eq!(
            read,
            serde_json::json!({"a": [{"b": ["c", "d"], "e": {}}, ["1", "2"]], "f": []})
        );
    }

    #[test]
    fn what_is_added_is_merged() {
        let own =
            Value::map([("l", Value::texts(["a"])), ("m", Value::map([("x", Value::plain(1))]))]);
        let more = Value::map([
            ("m", Value::map([("x", Value::plain(2)), ("z", Value::plain(3))])),
            ("l", Value::texts(["b"])),
            ("o", Value::plain(4)),
        ]);
        assert_eq!(own.with(more).document(), "l:\n  - a\n  - b\nm:\n  x: 2\n  z: 3\no: 4\n");
    }
}
