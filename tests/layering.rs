//! Imports point down: a module may use what lies below it, never a sibling of its own layer.
//!
//! The table is the one in `src/lib.rs`; modules that have no code yet are not in the tree. Within a
//! module, files import each other in no cycle, and neither do the things of one folder. Comments and
//! documents refer to sections that exist (`layering/references.rs`). Doc comments and messages are
//! plain English (`layering/english.rs`).

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "layering/english.rs"]
mod english;
#[path = "layering/imports.rs"]
mod imports;
#[path = "layering/references.rs"]
mod references;
#[path = "layering/trust.rs"]
mod trust;

use imports::{Code, Crate, cycles};

const LAYERS: &[(u32, &[&str])] = &[
    (0, &["base", "graph"]),
    (1, &["package", "archive", "store"]),
    (2, &["source", "image", "container", "install", "artifact"]),
    (3, &["runner", "tree"]),
    (4, &["dockerfile", "host"]),
    (5, &["build", "provider"]),
    (6, &["bootstrap", "installer", "mirror", "portable"]),
    (7, &["exchange", "inspect", "pipeline", "release", "scaffold", "tidy"]),
    (8, &["remote"]),
    (9, &["cli", "host_cli"]),
    (10, &["fuzzing"]),
];

/// Files of `src` that are the root of a program or of the library.
const ROOTS: [&str; 3] = ["main", "pkgpanda", "lib"];

fn layers() -> BTreeMap<&'static str, u32> {
    LAYERS.iter().flat_map(|(layer, names)| names.iter().map(move |name| (*name, *layer))).collect()
}

/// The module that a file belongs to, its path below `src`, and its text.
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
                found.push((module, relative.to_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The names and texts of files.
fn named(files: &[(String, PathBuf, String)]) -> impl Iterator<Item = (&str, &str)> {
    files.iter().map(|(_, path, text)| (path.to_str().unwrap(), text.as_str()))
}

#[test]
fn imports_point_down() {
    let (layers, files) = (layers(), files());
    let read = Crate::read(named(&files), Code::All);
    let mut wrong = BTreeSet::new();
    for (module, imports) in read.imports() {
        let Some(top) = module.first().filter(|top| !ROOTS.contains(&top.as_str())) else {
            continue;
        };
        let Some(layer) = layers.get(top.as_str()) else {
            wrong.insert(format!("{top} is in no layer: add it to the table"));
            continue;
        };
        for other in imports.iter().filter_map(|other| other.first()).filter(|other| *other != top)
        {
            if layers.get(other.as_str()).is_none_or(|other| other >= layer) {
                wrong.insert(format!("{}: {top} ({layer}) imports {other}", module.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Cycles of files, and of what lies in one folder, each as the names of its members.
fn cycles_within(read: &Crate) -> Vec<BTreeSet<String>> {
    let imports = read.imports();
    let folders: BTreeSet<&[String]> =
        imports.keys().flat_map(|module| (0..module.len()).map(|end| &module[..end])).collect();
    let mut graphs = vec![BTreeMap::<String, BTreeSet<String>>::new(); folders.len() + 1];
    for (module, others) in &imports {
        graphs[0]
            .entry(module.join("/"))
            .or_default()
            .extend(others.iter().map(|other| other.join("/")));
        for (folder, graph) in folders.iter().zip(&mut graphs[1..]) {
            let unit = |module: &[String]| {
                let below = module.strip_prefix(*folder)?.first()?;
                Some([*folder, std::slice::from_ref(below)].concat().join("/"))
            };
            let Some(unit_of_module) = unit(module) else { continue };
            let units = others
                .iter()
                .filter_map(|other| unit(other))
                .filter(|other| *other != unit_of_module);
            graph.entry(unit_of_module.clone()).or_default().extend(units);
        }
    }
    let found: BTreeSet<_> = graphs.iter().flat_map(cycles).collect();
    found.into_iter().collect()
}

#[test]
fn no_cycle_of_files() {
    let files = files();
    let found = cycles_within(&Crate::read(named(&files), Code::Product));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn cycles_are_found_whatever_the_import_looks_like() {
    for (cycle, a, b) in [
        (true, "use super::b::B;", "use crate::m::a::A;"),
        (true, "use crate::{x::Y, m::{b as c, z}};", "fn f(a: super::a::A) {}"),
        (true, "use super::b;", "use super::A;"),
        (true, "use super::b;", "use super::Renamed;"),
        (true, "use super::b;", "use super::deep::C;"),
        (true, "#[cfg(not(test))] use super::b;", "const C: char = '\"'; use super::a;"),
        (
            true,
            "fn f<'a>(x: &'a str) { vec![super::b::c()] }",
            "mod inner { use super::super::a; }",
        ),
        (false, "use super::b;", "use super::Other;"),
        (
            false,
            "use super::b;",
            "// use super::a;\n/* super::a::A */ const S: &str = \"super::a::A\";",
        ),
        (false, "use super::b;", "#[cfg(test)] mod tests { use crate::m::a::A; }"),
        (
            false,
            "use super::b;",
            "#[cfg(test)] use super::a::A; #[cfg(test)] fn f(a: super::a::A) {}",
        ),
        (
            false,
            "use super::b;",
            "pub(in crate::m::a) fn f(x: &[u8], a: &'a str) { r#\"super::a::A\"#; }",
        ),
        (false, "use super::b;", "use std::a::A; use other::{a, super_::a};"),
    ] {
        let module = "mod a; mod b; pub use a::{A, A as Renamed}; pub use crate::m::c::Other;";
        let files = [
            ("lib.rs", "pub mod m;"),
            ("m/mod.rs", module),
            ("m/a.rs", a),
            ("m/b.rs", b),
            ("m/c.rs", "pub struct Other;"),
            ("m/deep.rs", "pub use super::A as C;"),
            ("m/tests/x.rs", "use super::super::a; use super::super::b;"),
        ];
        let found = cycles_within(&Crate::read(files, Code::Product));
        let expected = BTreeSet::from(["m/a", "m/b"].map(str::to_owned));
        assert_eq!(found, if cycle { vec![expected] } else { Vec::new() }, "{a} {b}");
    }
}

#[test]
fn cycles_of_folders_and_of_a_folder_with_its_files_are_found() {
    for (files, cycle) in [
        (
            [("m/a/x.rs", "use crate::m::b::y;"), ("m/b/z.rs", "use crate::m::a::w;")],
            ["m/a", "m/b"],
        ),
        ([("m/mod.rs", "mod c; use c::g;"), ("m/c.rs", "use super::f;")], ["m", "m/c"]),
    ] {
        let more = ["m/a/w.rs", "m/b/y.rs"].map(|name| (name, ""));
        let found = cycles_within(&Crate::read(files.into_iter().chain(more), Code::Product));
        assert_eq!(found, [BTreeSet::from(cycle.map(str::to_owned))]);
    }
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
