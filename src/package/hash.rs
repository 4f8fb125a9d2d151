//! `H`, the hash of JSON values in package and bootstrap ids (docs/format.md, "The hash H").
//!
//! Ids are the contract with the original, which is Python: lists are hashed in Python's sorted
//! order, booleans are the texts `True` and `False` and sort as 1 and 0, integers are of any length.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};
use sha1::Digest as _;

use crate::base::digest::Sha1Sum;

/// Reason why a value has no hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// `null` has none.
    #[error("{0} is null, which has no hash")]
    Null(String),
    /// A number that isn't an integer has none.
    #[error("{path} is {number}: fractions are not allowed")]
    Fraction {
        /// Path of the number in the document.
        path: String,
        /// The number as written.
        number: String,
    },
    /// A list that can't be sorted has none.
    #[error("the items of {0} have no order: they must be all strings, all numbers, or all lists")]
    Unsortable(String),
}

/// The `H` of a value.
pub fn hash_value(value: &Value) -> Result<Sha1Sum, HashError> {
    hash_at(value, &ValuePath { before: None, step: HashStep::Root })
}

/// The `H` of a list of strings.
pub fn hash_strings<'a>(items: impl IntoIterator<Item = &'a str>) -> Sha1Sum {
    let mut items: Vec<&str> = items.into_iter().collect();
    // By bytes of UTF-8, which is the order of code points, as Python's.
    items.sort_unstable();
    hash_list(items.into_iter().map(|item| Sha1Sum::of(item.as_bytes())))
}

/// The `H` of a list, from the hashes of its items in their order.
pub(crate) fn hash_list<S: Borrow<Sha1Sum>>(items: impl IntoIterator<Item = S>) -> Sha1Sum {
    let mut hasher = sha1::Sha1::new();
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            hasher.update(b",");
        }
        hasher.update(item.borrow().as_str());
    }
    Sha1Sum::from_hasher(hasher)
}

/// The `H` of a dictionary, from the hashes of its values.
pub(crate) fn hash_entries<K: AsRef<str> + Ord>(entries: &BTreeMap<K, Sha1Sum>) -> Sha1Sum {
    let mut hasher = sha1::Sha1::new();
    for (index, (key, hash)) in entries.iter().enumerate() {
        if index > 0 {
            hasher.update(b",");
        }
        hasher.update(key.as_ref());
        hasher.update(b"=");
        hasher.update(hash.as_str());
    }
    Sha1Sum::from_hasher(hasher)
}

/// The `H` of an object, called `name` in errors.
#[cfg(feature = "builder")]
pub(crate) fn hash_object(map: &Map<String, Value>, name: &str) -> Result<Sha1Sum, HashError> {
    let root = ValuePath { before: None, step: HashStep::Root };
    object_at(map, &ValuePath { before: Some(&root), step: HashStep::Key(name) })
}

/// Path of a value in the document, for errors only: a list of steps on the stack.
struct ValuePath<'a> {
    before: Option<&'a Self>,
    step: HashStep<'a>,
}

enum HashStep<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl ValuePath<'_> {
    fn text(&self) -> String {
        let before = self.before.map(ValuePath::text).unwrap_or_default();
        match self.step {
            HashStep::Root => before,
            HashStep::Key(key) if before.is_empty() => key.to_owned(),
            HashStep::Key(key) => format!("{before}.{key}"),
            HashStep::Index(index) => format!("{before}[{index}]"),
        }
    }

    fn shown(&self) -> String {
        let text = self.text();
        if text.is_empty() { "the value".to_owned() } else { text }
    }
}

fn hash_at(value: &Value, path: &ValuePath<'_>) -> Result<Sha1Sum, HashError> {
    match value {
        // The original had no hash for None, either.
        Value::Null => Err(HashError::Null(path.shown())),
        Value::Bool(value) => Ok(Sha1Sum::of(if *value { b"True" } else { b"False" })),
        Value::Number(number) => match integer(number) {
            Some(text) => Ok(Sha1Sum::of(text.as_bytes())),
            None => Err(HashError::Fraction { path: path.shown(), number: number.to_string() }),
        },
        Value::String(text) => Ok(Sha1Sum::of(text.as_bytes())),
        Value::Array(items) => {
            let mut sorted: Vec<(usize, &Value)> = items.iter().enumerate().collect();
            sorted.sort_by(|(_, a), (_, b)| order(a, b));
            // `order` is total, so that sorting always ends; where Python has no order, two that
            // can't be compared are neighbours now.
            if sorted.windows(2).any(|pair| !comparable(pair[0].1, pair[1].1)) {
                return Err(HashError::Unsortable(path.shown()));
            }
            let hashes: Vec<Sha1Sum> = sorted
                .into_iter()
                .map(|(index, item)| {
                    hash_at(item, &ValuePath { before: Some(path), step: HashStep::Index(index) })
                })
                .collect::<Result<_, _>>()?;
            Ok(hash_list(hashes))
        }
        Value::Object(map) => object_at(map, path),
    }
}

fn object_at(map: &Map<String, Value>, path: &ValuePath<'_>) -> Result<Sha1Sum, HashError> {
    let entries = map.iter().map(|(key, value)| {
        Ok((key, hash_at(value, &ValuePath { before: Some(path), step: HashStep::Key(key) })?))
    });
    Ok(hash_entries(&entries.collect::<Result<BTreeMap<_, _>, _>>()?))
}

/// Integer in Python's notation; `None` for other numbers.
fn integer(number: &Number) -> Option<String> {
    let text = number.to_string();
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Python has no negative zero among integers.
    Some(if digits == "0" { digits.to_owned() } else { text })
}

/// Python's order where defined, extended to a total order.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => a
            .iter()
            .zip(b)
            .map(|(a, b)| order(a, b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
        _ => match (integer_of(a), integer_of(b)) {
            (Some(a), Some(b)) => integer_order(&a, &b),
            _ => rank(a).cmp(&rank(b)).then_with(|| a.to_string().cmp(&b.to_string())),
        },
    }
}

/// True if Python has an order of two values.
fn comparable(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(_), Value::String(_)) => true,
        // Lists are compared at the first items that differ, and by length if there are none.
        (Value::Array(a), Value::Array(b)) => {
            a.iter().zip(b).find(|(a, b)| order(a, b).is_ne()).is_none_or(|(a, b)| comparable(a, b))
        }
        _ => integer_of(a).is_some() && integer_of(b).is_some(),
    }
}

/// Ranks of kinds that are comparable only among themselves. Fractions are a kind of their own:
/// fractions are ordered by their texts, and integers by value, so a common kind would have no
/// order.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(number) => 1 + u8::from(integer(number).is_none()),
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

fn integer_of(value: &Value) -> Option<String> {
    match value {
        // In Python, booleans are integers.
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::Number(number) => integer(number),
        _ => None,
    }
}

/// The order of two integers of any length: JSON has no leading zeros.
fn integer_order(a: &str, b: &str) -> Ordering {
    let by_size = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, None) => by_size(a, b),
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => by_size(b, a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Result<String, HashError> {
        hash_value(&serde_json::from_str(text).unwrap()).map(|sum| sum.to_string())
    }

    #[test]
    fn hashes_are_those_of_the_original() {
        for (text, sum) in [
            (r#""""#, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (r#""h\u00e9""#, "96565112c667eb63e672b56c4401d0541eeada0e"),
            ("-5", "740f5849a5ca4bbed4d445ec762b06967025d7a2"),
            ("0", "b6589fc6ab0dc82cf12099d1c2d40ab994e8410c"),
            ("-0", "b6589fc6ab0dc82cf12099d1c2d40ab994e8410c"),
            ("100000000000000000000", "9373a2047ab666d5e662012ddd7a1cb36601e65b"),
            ("true", "88b33e4e12f75ac8bf792aebde41f1a090f3a612"),
            ("false", "97cdbdc7feff827efb082a6b6dd2727237cd49fd"),
            ("[]", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (r#"["b", "a"]"#, "0421aff1ede93c890870a448b6fcfe3b0079f5ec"),
            ("[[]]", "10a34637ad661d98ba3344717656fcc76209c2f8"),
            (r#"[["b"], ["a"]]"#, "e79e08560f70cf95b349650c90f730541a6499d3"),
            (r#"{"a": {}}"#, "ab80b98352ccb5da9267e7f5109e9559e91b16c3"),
            (r#"{"b": 1, "a": true}"#, "a440486b075496c4c65b0b28abb2672c4214ee25"),
            (
                r#"{"é": "x", "z": "y", "Z": "y", "a,b": "c=d"}"#,
                "8e49c0b5ffdf483d6a5b379a0a1aa50631a71704",
            ),
            (r#"[{"a": 1}]"#, "0907fc06de2cd019b8e8fafccacf600e918963a0"),
        ] {
            assert_eq!(hash(text).as_deref(), Ok(sum), "{text}");
        }
        assert_eq!(hash_strings(["b", "a"]).to_string(), hash(r#"["a", "b"]"#).unwrap());
    }

    #[test]
    fn lists_are_sorted_as_python_sorts_them() {
        for (one, other) in [
            ("[10, 9, -1, -20]", "[-20, -1, 9, 10]"),
            ("[100000000000000000000, 5]", "[5, 100000000000000000000]"),
            ("[-100000000000000000000, -5]", "[-5, -100000000000000000000]"),
            ("[2, true, false]", "[false, true, 2]"),
            (r#"[["a", "b"], ["a"], []]"#, r#"[[], ["a"], ["a", "b"]]"#),
            ("[[{}], []]", "[[], [{}]]"),
        ] {
            assert_eq!(hash(one), hash(other), "{one}");
        }
        // Equal in Python, so they stay as they are; but their texts differ.
        assert_ne!(hash("[true, 1]"), hash("[1, true]"));
    }

    #[test]
    fn what_has_no_hash_is_named() {
        for (text, message) in [
            ("null", "the value is null, which has no hash"),
            (r#"{"a": [1, {"b": 1.5}]}"#, "the items of a have no order"),
            (r#"{"a": [{"b": 1.5}]}"#, "a[0].b is 1.5: fractions are not allowed"),
            ("1e2", "fractions"),
            ("[1, \"a\"]", "the items of the value have no order"),
            (r#"[{"a": 1}, {"b": 1}]"#, "no order"),
            ("[{}, {}]", "no order"),
            (r#"[["a", 1], ["a", "x"], ["a"]]"#, "no order"),
            ("[[{\"a\": 1}], [{\"b\": 1}]]", "no order"),
        ] {
            let error = hash(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
