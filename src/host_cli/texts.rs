//! Listings as text and as JSON; scripts parse the text, so it equals the original's, except for
//! control characters in names of files, which would control a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::archive::{EntryPath, readable};
use crate::host::{FileDifference, HostCheck, Preview};
use crate::package::PackageId;

/// Ids with their parts as JSON.
pub(super) fn ids(ids: &[PackageId]) -> Value {
    ids.iter().map(|id| json!({ "id": id, "name": id.name(), "version": id.version() })).collect()
}

/// Single versions as a line of name and id, others as a name with its versions below.
pub(super) fn list(ids: &[PackageId]) -> String {
    let mut text = String::new();
    for group in ids.chunk_by(|one, other| one.name() == other.name()) {
        match group {
            [id] => _ = writeln!(text, "{id}"),
            [first, ..] => {
                _ = writeln!(text, "{}:", first.name());
                for id in group {
                    _ = writeln!(text, "  {}", id.version());
                }
            }
            [] => {}
        }
    }
    text
}

/// Changes of an activation, one per line, by kind.
pub(super) fn preview(preview: &Preview) -> String {
    let mut text = String::new();
    let kinds = [
        ("packages", &preview.packages),
        ("links", &preview.links),
        ("files", &preview.files),
        ("units", &preview.units),
    ];
    for (kind, changes) in kinds {
        let lines = [('-', &changes.removed), ('*', &changes.changed), ('+', &changes.added)];
        let lines = lines.iter();
        let lines = lines.flat_map(|(sign, names)| names.iter().map(move |name| (*sign, &**name)));
        section(&mut text, kind, lines);
    }
    section(&mut text, "users", preview.users.iter().map(|user| ('+', &**user)));
    let states: Vec<String> =
        preview.state_directories.iter().map(|path| path.display().to_string()).collect();
    section(&mut text, "state directories", states.iter().map(|path| ('+', &**path)));
    text
}

fn section<'a>(text: &mut String, kind: &str, lines: impl Iterator<Item = (char, &'a str)>) {
    for (index, (sign, name)) in lines.enumerate() {
        if index == 0 {
            _ = writeln!(text, "{kind}:");
        }
        _ = writeln!(text, "  {sign} {}", visible(name));
    }
}

/// Packages with the names of their checks below.
pub(super) fn checks(checks: &[HostCheck]) -> String {
    let mut text = String::new();
    for group in checks.chunk_by(|one, other| one.package == other.package) {
        _ = writeln!(text, "{}", group[0].package);
        for check in group {
            _ = writeln!(text, " - {}", visible(&check.name));
        }
    }
    text
}

/// A name with its control characters escaped.
fn visible(name: &str) -> String {
    readable(name.as_bytes())
}

/// Differences of a package, one line per file.
pub(super) fn differences(
    id: &PackageId,
    differences: &BTreeMap<EntryPath, FileDifference>,
) -> String {
    let mut text = String::new();
    for (path, difference) in differences {
        let path = visible(&String::from_utf8_lossy(path.as_bytes()));
        _ = match difference {
            FileDifference::Missing => writeln!(text, "missing {id}/{path}"),
            FileDifference::Extra => writeln!(text, "extra   {id}/{path}"),
            FileDifference::Changed(how) => writeln!(text, "changed {id}/{path}: {how}"),
        };
    }
    text
}

/// The same as JSON.
pub(super) fn differences_json(differences: &BTreeMap<EntryPath, FileDifference>) -> Value {
    let differences = differences.iter().map(|(path, difference)| {
        let path = String::from_utf8_lossy(path.as_bytes());
        match difference {
            FileDifference::Missing => json!({ "path": path, "is": "missing" }),
            FileDifference::Extra => json!({ "path": path, "is": "extra" }),
            FileDifference::Changed(how) => json!({ "path": path, "is": "changed", "how": how }),
        }
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_has_its_id_and_others_their_versions() {
        let ids = ["a--1", "a--2", "a-b--1"].map(|id| id.parse().unwrap());
        assert_eq!(list(&ids), "a:\n  1\n  2\na-b--1\n");
        assert_eq!(list(&[]), "");
    }
}
