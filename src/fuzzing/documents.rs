//! The texts that describe packages, trees and settings, and `H`, the hash over such values.

use std::path::Path;

use serde_json::Value;

use crate::cli::{config as settings, value};
use crate::install::PackageInfo;
use crate::package::contents;
use crate::package::hash::hash_value;
use crate::package::json::{JsonNode, canonical};
use crate::package::{BuildInfo, PackageId, PackageSource, Problem, SourceSpec, TreeInfo, Variant};
use crate::tree;

pub(super) fn buildinfo(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let package = "package".parse().expect("a package's name");
    for variant in [Variant::DEFAULT, "variant".parse().expect("a variant's name")] {
        let info = match BuildInfo::parse(text, &package, &variant) {
            Ok(info) => info,
            Err(problem) => return shown(problem, text),
        };
        for warning in &info.warnings {
            shown(warning.clone(), text);
        }
        plain_below(&info.build_script);
        for (name, source) in &info.sources {
            plain_below(name.as_str());
            checked_source(source);
        }
        // Lists in there may have no order, and everything else has a hash.
        let environment = Value::Object(info.environment.clone());
        if !environment.as_object().into_iter().flatten().any(|(_, value)| value.is_array()) {
            hash_value(&environment).expect("what is let through has a hash");
        }
        if let Some(sysctl) = info.sysctl.clone().map(Value::Object) {
            hash_value(&sysctl).expect("what is let through has a hash");
            printed_and_read(&sysctl);
        }
        printed_and_read(&environment);
        printed_and_read(&info.requires_as_written);
    }
    true
}

pub(super) fn treeinfo(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match TreeInfo::parse(text) {
        Err(problem) => shown(problem, text),
        Ok(info) => {
            for names in [&info.core_package_list, &info.bootstrap_package_list] {
                assert!(!names.iter().flatten().any(|name| info.exclude.contains(name)));
            }
            true
        }
    }
}

pub(super) fn upstream(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match tree::parse_upstream(text) {
        Err(problem) => shown(problem, text),
        Ok(source) => {
            checked_source(&source);
            true
        }
    }
}

pub(super) fn pkginfo(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match PackageInfo::parse(text) {
        Err(problem) => shown(problem, text),
        Ok(info) => {
            for (name, value) in &info.environment {
                let line = format!("{name}={value}");
                assert!(!line.contains(['\n', '\0']) && line.find('=') == Some(name.len()));
            }
            true
        }
    }
}

pub(super) fn config(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match settings::parse(Path::new("mkpanda.toml"), text) {
        Err(error) => {
            no_control_characters(&error.to_string());
            false
        }
        Ok(file) => {
            let text = |value: &Option<String>| {
                let (origin, value) =
                    ("mkpanda.toml".to_owned(), value.clone().unwrap_or_default());
                value::Text { origin, value }
            };
            drop(text(&file.limits.time).duration());
            drop(text(&file.limits.memory).size());
            drop(text(&file.limits.unpacked).size());
            for place in file.images.values() {
                super::names::image_location(place);
            }
            true
        }
    }
}

/// `H` doesn't depend on how a value is written.
pub(super) fn hash(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let placed = match JsonNode::parse(text) {
        Ok(node) => node.to_value(),
        Err(problem) => return shown(problem, text),
    };
    let hash = match hash_value(&placed) {
        Ok(hash) => hash,
        Err(error) => return error.to_string().is_empty(),
    };
    printed_and_read(&placed);
    let mut backwards = String::new();
    let booleans = write_backwards(&placed, &mut backwards);
    let backwards = JsonNode::parse(&backwards).expect("what was written is JSON").to_value();
    // `true` and `1` are equal in Python, so the first of them stays first.
    if !booleans {
        assert_eq!(hash_value(&backwards), Ok(hash.clone()), "{text}");
    }
    let document = format!("{{\"build_ids\": {text}}}");
    let id: PackageId = format!("package--{hash}").parse().expect("a package's id");
    drop(contents::check(&id, Some(document.as_bytes())));
    if let Value::Object(mut map) = placed
        && !map.contains_key("version_extra")
    {
        map.insert("name".to_owned(), "package".into());
        let ids = Value::Object(map);
        let hash = hash_value(&ids).expect("a string more has a hash, too");
        let id: PackageId = format!("package--{hash}").parse().expect("a package's id");
        let document = format!("{{\"build_ids\": {}}}", canonical(&ids));
        assert_eq!(contents::check(&id, Some(document.as_bytes())), Ok(None), "{text}");
    }
    true
}

/// Writes a value with its lists and objects in reverse; returns true if there are booleans. A list
/// within a list keeps its order, by which the outer list is sorted.
fn write_backwards(value: &Value, text: &mut String) -> bool {
    match value {
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().rev().map(Value::to_string).collect();
            text.extend(["[\n", &texts.join(" , "), "]"]);
            items.iter().any(has_booleans)
        }
        Value::Object(map) => {
            text.push('{');
            let mut booleans = false;
            for (index, (key, value)) in map.iter().rev().enumerate() {
                text.push_str(if index > 0 { "\t,\r\n" } else { "" });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(" : ");
                booleans |= write_backwards(value, text);
            }
            text.push('}');
            booleans
        }
        plain => {
            text.push_str(&plain.to_string());
            plain.is_boolean()
        }
    }
}

fn has_booleans(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::Array(items) => items.iter().any(has_booleans),
        Value::Object(map) => map.values().any(has_booleans),
        _ => false,
    }
}

/// Checks that JSON written into a package is read back unchanged.
fn printed_and_read(value: &Value) {
    let text = canonical(value);
    assert!(text.is_ascii(), "{text}");
    let read = JsonNode::parse(&text).expect("what was printed is JSON").to_value();
    assert_eq!(&read, value);
    assert_eq!(canonical(&read), text);
    assert_eq!(hash_value(&read), hash_value(value));
}

fn checked_source(source: &PackageSource) {
    match &source.spec {
        SourceSpec::Git { url, ref_origin, .. } => {
            assert!(!url.starts_with('-') && !ref_origin.starts_with('-'));
        }
        SourceSpec::GitLocal { rel_path } => assert!(!rel_path.starts_with('/')),
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
            let name = file.file_name();
            plain_below(name);
            assert!(!name.contains('/'));
        }
    }
    printed_and_read(&Value::Object(source.as_written.clone()));
}

/// Checks that a path stays below its base folder.
pub(super) fn plain_below(path: &str) {
    let parts = Path::new(path).components();
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    assert!(!path.is_empty() && !path.contains('\0') && parts.into_iter().all(plain), "{path:?}");
}

/// Shows a problem as a person sees it: a file must not be able to steer a terminal.
fn shown(problem: Problem, text: &str) -> bool {
    no_control_characters(&problem.in_file(Path::new("file.json"), text).to_string());
    false
}

pub(super) fn no_control_characters(text: &str) {
    assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
}
