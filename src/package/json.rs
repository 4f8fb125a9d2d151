//! JSON values with their positions, for errors that show the place.
//!
//! `serde_json` parses the text: a borrowed [`RawValue`] is a slice of the text, so its address
//! gives its offset. Numbers keep their text, since integers of any length have a hash
//! (docs/format.md, "The hash H"). For a repeated key the last value counts, as in the original;
//! [`Object::repeated`] has the others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::Problem;
pub use super::json_text::{canonical, indented};

/// Upper limit of nested lists and objects, against stack overflows: `serde_json`'s own limit, as
/// output of this program is read with `serde_json`.
const DEEPEST: usize = 127;

/// Value with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonNode {
    /// Offset of the value's first byte.
    pub offset: usize,
    /// The value.
    pub kind: JsonKind,
}

/// Content of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(Number),
    /// A string.
    String(String),
    /// A list.
    List(Vec<JsonNode>),
    /// An object.
    Object(Object),
}

/// An object: its entries in the order of the text, the last of several with one key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    entries: Vec<JsonEntry>,
    /// Repeated keys, with the offset of the later occurrence.
    pub repeated: Vec<(String, usize)>,
}

/// An entry of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonEntry {
    /// The key.
    pub key: String,
    /// Offset of the key's opening quote.
    pub key_offset: usize,
    /// The value.
    pub value: JsonNode,
}

impl Object {
    /// The entries.
    pub fn entries(&self) -> &[JsonEntry] {
        &self.entries
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&JsonNode> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

/// Place of the first list or object of a valid text that is too deep in others. Each level is parsed
/// anew, so a deeply nested text would take a time of its length times its depth.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string && depth == DEEPEST => return Some(offset),
            b'[' | b'{' if !is_string => depth += 1,
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

impl JsonNode {
    /// Parses a text. Nesting is limited to 127 levels, as everywhere in `serde_json`; a raw value
    /// isn't limited by the parser.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| syntax_problem(text, &error))?;
        if let Some(offset) = too_deep(text) {
            let message = format!("lists and objects may be {DEEPEST} deep in each other, no more");
            return Err(Problem::at(offset, message));
        }
        Self::from_raw(raw, text)
    }

    fn from_raw(raw: &RawValue, text: &str) -> Result<Self, Problem> {
        let slice = raw.get();
        // Sound, since a borrowed raw value is always a slice of the text that was parsed.
        let offset = slice.as_ptr() as usize - text.as_ptr() as usize;
        let fail = |error: serde_json::Error| Problem::at(offset, error.to_string());
        let kind = match slice.as_bytes().first() {
            Some(b'{') => {
                let raw: RawObject<'_> = serde_json::from_str(slice).map_err(fail)?;
                JsonKind::Object(raw.place(text)?)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(slice).map_err(fail)?;
                JsonKind::List(
                    items
                        .into_iter()
                        .map(|item| Self::from_raw(item, text))
                        .collect::<Result<_, _>>()?,
                )
            }
            _ => match serde_json::from_str(slice).map_err(fail)? {
                Value::Null => JsonKind::Null,
                Value::Bool(value) => JsonKind::Bool(value),
                Value::Number(value) => JsonKind::Number(value),
                Value::String(value) => JsonKind::String(value),
                Value::Array(_) | Value::Object(_) => {
                    return Err(Problem::at(offset, "the value is neither plain nor nested"));
                }
            },
        };
        Ok(Self { offset, kind })
    }

    /// Name of the value's kind, for messages.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            JsonKind::Null => "null",
            JsonKind::Bool(_) => "a boolean",
            JsonKind::Number(_) => "a number",
            JsonKind::String(_) => "a string",
            JsonKind::List(_) => "a list",
            JsonKind::Object(_) => "an object",
        }
    }

    /// Returns the value without positions.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            JsonKind::Null => Value::Null,
            JsonKind::Bool(value) => Value::Bool(*value),
            JsonKind::Number(value) => Value::Number(value.clone()),
            JsonKind::String(value) => Value::String(value.clone()),
            JsonKind::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            JsonKind::Object(object) => Value::Object(object.to_map()),
        }
    }

    /// Returns the string, or a problem that names the expected kind of `what`.
    pub fn string(&self, what: &str) -> Result<&str, Problem> {
        match &self.kind {
            JsonKind::String(value) => Ok(value),
            _ => Err(self.wrong(what, "a string")),
        }
    }

    /// Returns the list, or a problem that names the expected kind of `what`.
    pub fn list(&self, what: &str, of: &str) -> Result<&[Self], Problem> {
        match &self.kind {
            JsonKind::List(items) => Ok(items),
            _ => Err(self.wrong(what, &format!("a list of {of}"))),
        }
    }

    /// Returns the object, or a problem that names the expected kind of `what`.
    pub fn object(&self, what: &str) -> Result<&Object, Problem> {
        match &self.kind {
            JsonKind::Object(object) => Ok(object),
            _ => Err(self.wrong(what, "an object")),
        }
    }

    /// Makes the problem that `what` has another kind than the expected one.
    pub fn wrong(&self, what: &str, expected: &str) -> Problem {
        Problem::at(self.offset, format!("{what} must be {expected}, but is {}", self.describe()))
    }
}

impl Object {
    /// Returns the object without positions.
    pub fn to_map(&self) -> Map<String, Value> {
        self.entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value())).collect()
    }
}

/// An object's entries in their order, still as slices of the text.
struct RawObject<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl RawObject<'_> {
    fn place(self, text: &str) -> Result<Object, Problem> {
        let mut object = Object::default();
        let mut seen = BTreeMap::new();
        for (key, value) in self.0 {
            let key = JsonNode::from_raw(key, text)?;
            let value = JsonNode::from_raw(value, text)?;
            let JsonKind::String(name) = key.kind else {
                return Err(Problem::at(key.offset, "a key must be a string"));
            };
            let entry = JsonEntry { key: name.clone(), key_offset: key.offset, value };
            if let Some(&index) = seen.get(&name) {
                object.repeated.push((name, key.offset));
                // In the place of the first one, as in a dictionary of Python.
                object.entries[index] = entry;
            } else {
                seen.insert(name, object.entries.len());
                object.entries.push(entry);
            }
        }
        Ok(object)
    }
}

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = RawObject<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawObject(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

fn syntax_problem(text: &str, error: &serde_json::Error) -> Problem {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let offset = line_start + error.column().saturating_sub(1);
    let message = error.to_string();
    let message = match text.strip_prefix('\u{feff}') {
        // It cannot be seen in an editor.
        Some(_) => "it begins with a byte order mark: save it without one",
        None => message.split(" at line ").next().unwrap_or_default(),
    };
    Problem::at(offset, format!("this is not valid JSON: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = " {\"a\": [1, {\"b\": \"x\"}], \"n\": 100000000000000000000}";
        let node = JsonNode::parse(text).unwrap();
        let object = node.object("it").unwrap();
        let items = object.get("a").unwrap().list("a", "x").unwrap();
        let inner = items[1].object("").unwrap();
        assert_eq!(inner.entries()[0].key_offset, text.find("\"b\"").unwrap());
        assert_eq!(inner.get("b").unwrap().offset, text.find("\"x\"").unwrap());
        assert_eq!(object.get("n").unwrap().to_value().to_string(), "100000000000000000000");
    }

    #[test]
    fn the_last_of_two_equal_keys_counts_and_is_told() {
        let node = JsonNode::parse(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap();
        let object = node.object("it").unwrap();
        assert_eq!(object.entries().len(), 2);
        assert_eq!(object.get("a").unwrap().to_value().to_string(), "3");
        assert_eq!(object.repeated, [("a".to_owned(), 17)]);
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        assert_eq!(JsonNode::parse("{\n  \"a\" 1}").unwrap_err().offset, Some(8));
        assert!(JsonNode::parse("{").unwrap_err().message.starts_with("this is not valid JSON"));
        let marked = JsonNode::parse("\u{feff}{}").unwrap_err();
        assert_eq!(marked.offset, Some(0));
        assert!(marked.message.ends_with("byte order mark: save it without one"), "{marked:?}");
        assert!(JsonNode::parse(&"[".repeat(100_000)).is_err());
        let brackets = "[".repeat(200);
        assert!(JsonNode::parse(&format!(r#"["{brackets}\"{brackets}", [], {{}}]"#)).is_ok());
        for (depth, taken) in [(127, true), (128, false), (200_000, false)] {
            let text = format!("{}0{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(JsonNode::parse(&text).is_ok(), taken, "{depth}");
            assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), taken, "{depth}");
        }
        assert!(JsonNode::parse("[NaN]").is_err() && JsonNode::parse("\u{feff}{}").is_err());
    }
}
