//! Places in files for problems that are found only with the whole tree.

use crate::package::json::{JsonKind, JsonNode, Object};
use crate::package::{Problem, Requirement};

/// A problem at a place, if the place is known.
pub(super) fn problem(offset: Option<usize>, message: String, hint: String) -> Problem {
    Problem { offset, message, hint: Some(hint) }
}

/// Offset of a name in a list of names.
pub(super) fn entry_of_list(text: &str, key: &str, name: &str) -> Option<usize> {
    let object = object(text)?;
    let JsonKind::List(items) = &object.get(key)?.kind else { return None };
    let item =
        items.iter().find(|item| matches!(&item.kind, JsonKind::String(text) if text == name));
    item.map(|item| item.offset)
}

/// Offset of a key in the object under another key.
pub(super) fn key_in(text: &str, key: &str, inner: &str) -> Option<usize> {
    let object = object(text)?;
    let JsonKind::Object(object) = &object.get(key)?.kind else { return None };
    object.entries().iter().find(|entry| entry.key == inner).map(|entry| entry.key_offset)
}

/// Offset of an entry of `requires`.
pub(super) fn requirement(text: &str, wanted: &Requirement) -> Option<usize> {
    let object = object(text)?;
    let JsonKind::List(items) = &object.get("requires")?.kind else { return None };
    let item = items.iter().find(|item| Requirement::from_json(item).as_ref() == Ok(wanted));
    item.map(|item| item.offset)
}

/// Offset of the value that keys lead to, each in the object of the one before, or of the last one that is there.
pub(super) fn value_at(text: &str, keys: &[&str]) -> Option<usize> {
    let mut node = JsonNode::parse(text).ok()?;
    let mut offset = None;
    for key in keys {
        let JsonKind::Object(object) = &node.kind else { break };
        let Some(value) = object.get(key) else { break };
        offset = Some(value.offset);
        node = value.clone();
    }
    offset
}

/// Offset of the last of several equal entries of `requires`.
pub(super) fn last_requirement(text: &str, wanted: &Requirement) -> Option<usize> {
    let object = object(text)?;
    let JsonKind::List(items) = &object.get("requires")?.kind else { return None };
    let is_it = |item: &&JsonNode| Requirement::from_json(item).as_ref() == Ok(wanted);
    items.iter().rev().find(is_it).map(|item| item.offset)
}

fn object(text: &str) -> Option<Object> {
    match JsonNode::parse(text).ok()?.kind {
        JsonKind::Object(object) => Some(object),
        _ => None,
    }
}
