//! Imports point down: a module may use what lies below it, never a sibling of its own layer.
//!
//! The table is the one in `src/lib.rs`; modules that have no code yet are not in the tree.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LAYERS: &[(u32, &[&str])] = &[
    (0, &["base", "graph"]),
    (1, &["package", "archive", "store"]),
    (2, &["source", "image", "container", "install", "artifact"]),
    (3, &["tree", "dockerfile"]),
    (4, &["build", "host"]),
    (5, &["bootstrap"]),
    (6, &["release"]),
    (7, &["cli", "host_cli"]),
    (8, &["fuzzing"]),
];

fn layers() -> BTreeMap<&'static str, u32> {
    LAYERS.iter().flat_map(|(layer, names)| names.iter().map(move |name| (*name, *layer))).collect()
}

/// The module that a file belongs to, and the text of the file.
fn files() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&src).unwrap();
                let first = relative.components().next().unwrap().as_os_str().to_string_lossy();
                let module = first.trim_end_matches(".rs").to_owned();
                found.push((module, path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The modules that a text names after `crate::`, braces included.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest.to_owned()],
        };
        let word = |text: &String| {
            text.trim()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect()
        };
        found.extend(names.iter().map(word).filter(|name: &String| !name.is_empty()));
    }
    found
}

/// The parts of a braced list, not looking into inner braces.
fn top_level(list: &str) -> Vec<String> {
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {}
        }
        if letter != ',' || depth > 0 {
            part.push(letter);
        }
    }
    parts.push(part);
    parts
}

#[test]
fn imports_point_down() {
    let layers = layers();
    let mut wrong = Vec::new();
    for (module, path, text) in files() {
        if ["main", "pkgpanda", "lib"].contains(&module.as_str()) {
            continue;
        }
        let Some(layer) = layers.get(module.as_str()) else {
            wrong.push(format!("{}: {module} is in no layer: add it to the table", path.display()));
            continue;
        };
        for import in imports(&text) {
            let Some(other) = layers.get(import.as_str()) else {
                wrong.push(format!("{}: crate::{import} is in no layer", path.display()));
                continue;
            };
            if import != module && other >= layer {
                wrong.push(format!(
                    "{}: {module} ({layer}) imports {import} ({other})",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_sees_braces() {
    let text = "use crate::base::{a, b}; use crate::{cli::{x, y}, tree}; crate::build::z()";
    assert_eq!(imports(text), ["base", "cli", "tree", "build"]);
}

#[test]
fn unsafe_is_in_one_file() {
    for (_, path, text) in files() {
        let allowed = path.ends_with("container/sys.rs");
        let has = text.lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && (line.contains("unsafe {") || line.contains("unsafe fn"))
        });
        assert!(!has || allowed, "{} has unsafe code", path.display());
    }
}

#[test]
fn only_the_command_line_prints_and_reads_the_environment() {
    for (module, path, text) in files() {
        let test =
            path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        if ["cli", "host_cli", "main", "pkgpanda"].contains(&module.as_str()) || test {
            continue;
        }
        for needle in ["println!", "eprintln!", "print!(", "env::var"] {
            let found = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(needle));
            assert!(!found, "{} has {needle}", path.display());
        }
    }
}
