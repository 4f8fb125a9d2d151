//! JSON as programs in Go write and read it (`encoding/json`), which nearly all tools for images are.
//!
//! - `null` counts as absent: Go writes `null` for lists and maps that were never made.
//! - A key of a structure is known in any case, as Go's decoder takes `user` for `User`; of several
//!   spellings the last one counts. Keys of maps, such as those of labels, stay as they are.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

/// Form of a document, as far as keys have to be told apart.
#[derive(Debug)]
pub enum Shape {
    /// Anything, of which no key is a structure's.
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
    let value = Read(shape).deserialize(&mut deserializer)?;
    deserializer.end()?;
    serde_json::from_value(value)
}

/// Reads a value of a form.
struct Read<'s>(&'s Shape);

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
        Ok(Value::Null)
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
        let item = match self.0 {
            Shape::List(item) => item,
            _ => &Shape::Any,
        };
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(Read(item))? {
            if !value.is_null() {
                list.push(value);
            } else if matches!(item, Shape::Any) {
                // The zero of a list of texts, which all such lists here are.
                list.push(Value::String(String::new()));
            }
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let (key, shape) = self.0.of(key);
            let value = entries.next_value_seed(Read(shape))?;
            if !value.is_null() {
                map.insert(key, value);
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
                let exact = keys.iter().find(|(known, _)| *known == key);
                let found = exact
                    .or_else(|| keys.iter().find(|(known, _)| known.eq_ignore_ascii_case(&key)));
                match found {
                    Some((known, shape)) => ((*known).to_owned(), shape),
                    None => (key, &Self::Any),
                }
            }
            Self::Map(shape) => (key, shape),
            Self::Any | Self::List(_) => (key, &Self::Any),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHAPE: Shape = Shape::Structure(&[
        ("User", Shape::Any),
        ("Labels", Shape::Map(&Shape::Any)),
        ("list", Shape::List(&Shape::Structure(&[("size", Shape::Any)]))),
        ("config", Shape::Structure(&[("User", Shape::Any)])),
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
                json!({"list": [{"size": 1}, {}]}),
            ),
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
