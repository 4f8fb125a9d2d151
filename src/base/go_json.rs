//! JSON as programs in Go write and read it (`encoding/json`), which nearly all tools for images are.
//!
//! - `null` counts as absent: Go writes it for lists and maps that were never made. As an element of a
//!   list, or as a value of a map, it is the zero of its type.
//! - A key of a structure is known in any case, as Go's decoder takes `user` for `User`. Keys of maps,
//!   such as those of labels, stay as they are.
//! - A key that comes again, in whatever spelling, is decoded into what is there: of texts and numbers the
//!   last one counts, structures and maps are merged, lists element by element. `null` after a list or a
//!   map removes it, and changes nothing else.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

/// Form of a document, as far as keys have to be told apart.
#[derive(Debug)]
pub enum Shape {
    /// A text, a number or a list of texts; or anything, of which no key is a structure's.
    Any,
    /// A list of items with one shape.
    List(&'static Self),
    /// A map from any keys to one form.
    Map(&'static Self),
    /// A structure, by its keys; other keys may be there.
    Structure(&'static [(&'static str, Self)]),
}

/// Reads a document.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], shape: &Shape) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Read { shape, before: Value::Null }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    serde_json::from_value(value)
}

/// Reads a value of a form into what is there before.
struct Read<'s> {
    shape: &'s Shape,
    before: Value,
}

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(match (self.shape, self.before) {
            (Shape::List(_) | Shape::Map(_), _)
            | (Shape::Any, Value::Array(_) | Value::Object(_)) => Value::Null,
            (Shape::Any | Shape::Structure(_), before) => before,
        })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let shape = match self.shape {
            Shape::List(item) => item,
            _ => &Shape::Any,
        };
        let mut before = match self.before {
            Value::Array(items) => items.into_iter(),
            _ => Vec::new().into_iter(),
        };
        let mut list = Vec::new();
        loop {
            let before = before.next().unwrap_or_default();
            let Some(value) = items.next_element_seed(Read { shape, before })? else { break };
            list.push(if value.is_null() { shape.zero() } else { value });
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = match (self.shape, self.before) {
            (Shape::Structure(_) | Shape::Map(_), Value::Object(map)) => map,
            _ => Map::new(),
        };
        while let Some(key) = entries.next_key::<String>()? {
            let (key, shape) = self.shape.of(key);
            let before = match self.shape {
                Shape::Structure(_) => map.remove(&key).unwrap_or_default(),
                // Go makes each value of a map anew.
                Shape::Map(_) | Shape::Any | Shape::List(_) => Value::Null,
            };
            let value = entries.next_value_seed(Read { shape, before })?;
            match self.shape {
                Shape::Map(_) if value.is_null() => drop(map.insert(key, shape.zero())),
                _ if value.is_null() => drop(map.remove(&key)),
                _ => drop(map.insert(key, value)),
            }
        }
        Ok(map.into())
    }
}

impl Shape {
    /// The key's own spelling, and the form of its value.
    fn of(&self, key: String) -> (String, &Self) {
        match self {
            Self::Structure(keys) => {
                // A key in its own spelling goes first, as in `encoding/json` (Unmarshal).
                let exact = keys.iter().find(|(known, _)| *known == key);
                let found = exact.or_else(|| {
                    let folded = folded(&key);
                    keys.iter().find(|(known, _)| known.eq_ignore_ascii_case(&folded))
                });
                match found {
                    Some((known, shape)) => ((*known).to_owned(), shape),
                    None => (key, &Self::Any),
                }
            }
            Self::Map(shape) => (key, shape),
            Self::Any | Self::List(_) => (key, &Self::Any),
        }
    }

    /// The value that Go has where there is none.
    fn zero(&self) -> Value {
        match self {
            Self::Any => Value::String(String::new()),
            Self::List(_) => Value::Array(Vec::new()),
            Self::Map(_) | Self::Structure(_) => Value::Object(Map::new()),
        }
    }
}

/// A key with ASCII letters for the two others that Go takes for such ones.
fn folded(key: &str) -> String {
    // The long s and the sign of Kelvin: Unicode folds them to ASCII, and so does Go.
    key.replace('\u{17f}', "s").replace('\u{212a}', "k")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHAPE: Shape = Shape::Structure(&[
        ("User", Shape::Any),
        ("Labels", Shape::Map(&Shape::Any)),
        ("list", Shape::List(&Shape::Structure(&[("size", Shape::Any)]))),
        ("config", Shape::Structure(&[("User", Shape::Any), ("Cmd", Shape::Any)])),
        ("ports", Shape::Map(&Shape::Structure(&[]))),
    ]);

    #[test]
    fn documents_are_read_as_go_reads_them() {
        for (text, expected) in [
            (r#"{"user": "1"}"#, json!({"User": "1"})),
            (r#"{"USER": "1", "User": "2", "user": "3"}"#, json!({"User": "3"})),
            (r#"{"User": "1", "user": null}"#, json!({"User": "1"})),
            (r#"{"Config": {"uSER": 1}}"#, json!({"config": {"User": 1}})),
            (
                r#"{"labels": {"user": "a", "User": "b"}}"#,
                json!({"Labels": {"user": "a", "User": "b"}}),
            ),
            (r#"{"other": {"user": 1, "x": null}}"#, json!({"other": {"user": 1}})),
            (
                r#"{"LIST": [{"Size": 1}, null, {"SIZE": null}]}"#,
                json!({"list": [{"size": 1}, {}, {}]}),
            ),
            (
                r#"{"config": {"User": "1", "Cmd": ["a"]}, "Config": {"cmd": ["b"]}}"#,
                json!({"config": {"User": "1", "Cmd": ["b"]}}),
            ),
            (
                r#"{"config": {"User": "1", "Cmd": ["a"]}, "config": {"cmd": null, "user": null}}"#,
                json!({"config": {"User": "1"}}),
            ),
            (r#"{"config": {"User": "1"}, "config": null}"#, json!({"config": {"User": "1"}})),
            (r#"{"config": {"U\u017fer": "1"}}"#, json!({"config": {"User": "1"}})),
            (
                r#"{"Labels": {"a": "1", "b": "2"}, "labels": {"b": null, "c": "3"}}"#,
                json!({"Labels": {"a": "1", "b": "", "c": "3"}}),
            ),
            (r#"{"Labels": {"a": "1"}, "labels": null}"#, json!({})),
            (r#"{"ports": {"80": null}}"#, json!({"ports": {"80": {}}})),
            (
                r#"{"list": [{"size": 1}, {"size": 2}], "list": [{"x": 3}]}"#,
                json!({"list": [{"size": 1, "x": 3}]}),
            ),
            (r#"{"User": ["a", "b", "c"], "user": [null, "d"]}"#, json!({"User": ["a", "d"]})),
            (r#"{"list": null, "Labels": null}"#, json!({})),
            (r#"{"a": [null, "x", 1.5, -1, true]}"#, json!({"a": ["", "x", 1.5, -1, true]})),
            ("null", Value::Null),
        ] {
            assert_eq!(parse::<Value>(text.as_bytes(), &SHAPE).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_document_is_an_error_with_its_place() {
        for text in ["", "{", "{} x", "\u{feff}{}", r#"{"a": 1"#] {
            let error = parse::<Value>(text.as_bytes(), &SHAPE).unwrap_err();
            assert!(error.line() > 0, "{text}: {error}");
        }
        let deep = "[".repeat(100_000);
        parse::<Value>(deep.as_bytes(), &SHAPE).unwrap_err();
    }
}
