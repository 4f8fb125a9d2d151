//! The schemas of `docs/schemas`, against good and bad files, and against what the programs print.

use std::path::Path;

use serde_json::{Value, json};

use crate::schema_check::{check, schema};
use crate::support::{Place, data, files_below};
use crate::tiny::tiny_image;

/// JSON of a command, which has to be of a schema.
#[track_caller]
fn assert_output(place: &Place, name: &str, arguments: &[&str]) -> Value {
    let shown = place.run("", arguments).ok().stdout;
    let value: Value =
        serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
    if let Err(fault) = check(&schema(place, name), &value, name) {
        panic!("{arguments:?}: {fault}\n{shown}");
    }
    value
}

#[test]
fn schemas_are_listed_and_printed() {
    let place = Place::bare();
    let list = place.run("", &["schema"]).ok().stdout;
    for name in ["buildinfo", "treeinfo", "upstream", "mkpanda.toml", "config.toml", "events"] {
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(name)), "{list}");
    }
    assert_eq!(schema(&place, "buildinfo.json"), schema(&place, "buildinfo"));
    place.run("", &["schema", "bildinfo"]).fails(1).says("hint: did you mean buildinfo?");
}

#[test]
fn what_the_programs_print_is_of_its_schema() {
    let place = Place::new();
    place.user("[credentials.\"h\"]\npassword = \"x\"\n");
    place.package("good", "{}", "true");
    place.package("bad", "{}", "echo broken; exit 1");
    place.run("good", &[]).ok();
    place.run("bad", &[]).fails(1);
    place.run("", &["image", "load", tiny_image().to_str().unwrap(), "--name", "tiny"]).ok();
    let json = ["--format", "json"];
    assert_output(&place, "doctor", &[&["doctor"], &json[..]].concat());
    assert_output(&place, "clean", &[&["clean", "--dry-run"], &json[..]].concat());
    assert_output(&place, "config", &[&["config"], &json[..]].concat());
    let builds = assert_output(&place, "log", &[&["log", "--list"], &json[..]].concat());
    assert_eq!(builds["builds"].as_array().unwrap().len(), 2);
    assert_output(&place, "image-list", &[&["image", "ls"], &json[..]].concat());
    assert_output(&place, "image-inspect", &["image", "inspect", "tiny"]);
    let key = place.path().join("k.key");
    let key = key.to_str().unwrap();
    assert_output(&place, "key-new", &[&["key", "new", "--no-password", key], &json[..]].concat());
    assert_output(&place, "key-show", &[&["key", "show", key], &json[..]].concat());
    place.write("treeinfo.json", r#"{"exclude": ["bad"]}"#);
    let store = place.path().join("store");
    let store = store.to_str().unwrap();
    for (name, arguments) in [
        ("cache-push", ["cache", "push", store]),
        ("cache-stat", ["cache", "stat", store]),
        ("cache-verify", ["cache", "verify", store]),
        ("cache-index", ["cache", "index", store]),
        ("cache-pull", ["cache", "pull", store]),
    ] {
        assert_output(&place, name, &[&arguments[..], &json].concat());
    }
}

#[test]
fn progress_is_of_its_schema() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("a", r#"{"sources": {"s": {"kind": "url", "url": "file://f", "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}}}"#, "echo said");
    place.write("a/f", "");
    place.package("b", r#"{"requires": ["a"]}"#, "exit 1");
    place.package("c", r#"{"requires": ["b"]}"#, "true");
    let ran = place.run("", &["-v", "--progress", "json", "tree", "-j1"]).fails(1);
    let events = schema(&place, "events");
    let mut kinds = std::collections::BTreeSet::new();
    for line in ran.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        kinds.insert(event["event"].as_str().unwrap().to_owned());
        check(&events, &event, "event").unwrap_or_else(|fault| panic!("{line}: {fault}"));
    }
    for kind in [
        "start", "plan", "phase", "source", "output", "finish", "failed", "summary", "skipped",
        "error",
    ] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
}

/// A file that a schema is for: its schema and its value, if it can be read.
fn described(path: &Path) -> Option<(&'static str, Value)> {
    let text = std::fs::read_to_string(path).ok()?;
    let name = path.file_name()?.to_str()?;
    let kind = ["buildinfo", "treeinfo", "upstream"]
        .into_iter()
        .find(|kind| name == format!("{kind}.json") || name.ends_with(&format!(".{kind}.json")));
    match kind {
        Some(kind) => Some((kind, serde_json::from_str(&text).ok()?)),
        None if name == "mkpanda.toml" || name == "config" => {
            let table: toml::Table = text.parse().ok()?;
            Some(("mkpanda.toml", serde_json::to_value(table).ok()?))
        }
        None => None,
    }
}

/// Cases of `tests/data/bad` whose fault is one of a document's form, which its schema has to find.
const OF_FORM: [&str; 46] = [
    "both_sources_and_single_source",
    "config_has_a_size_without_number",
    "config_has_a_time_without_unit",
    "config_has_a_value_of_the_wrong_type",
    "config_has_an_unknown_key",
    "config_has_an_unknown_limit",
    "config_has_an_unknown_tier",
    "config_has_no_jobs",
    "environment_has_a_fraction",
    "environment_has_an_object",
    "environment_has_null",
    "environment_is_a_list",
    "git_local_with_a_ref",
    "git_local_without_path",
    "git_ref_is_a_branch",
    "git_without_ref_origin",
    "git_without_url",
    "info_docker_is_null",
    "info_has_an_unknown_key",
    "info_is_a_list",
    "info_is_null",
    "info_sets_the_format_version",
    "requires_a_number",
    "requires_is_a_string",
    "requires_no_name",
    "requires_with_a_third_key",
    "requires_without_variant",
    "source_is_a_string",
    "source_of_unknown_kind",
    "source_without_kind",
    "sources_is_a_list",
    "state_directory_is_a_string",
    "state_directory_is_two",
    "sysctl_has_a_list",
    "sysctl_is_flat",
    "tree_core_is_an_object",
    "tree_core_is_null",
    "tree_exclude_is_a_string",
    "tree_has_an_unknown_key",
    "tree_shows_all_that_is_wrong",
    "tree_variant_is_a_number",
    "tree_variants_is_a_list",
    "upstream_has_no_kind",
    "upstream_ref_is_a_branch",
    "url_with_a_bad_sha256",
    "url_without_sha1",
];

#[test]
fn bad_files_are_told_by_their_schemas_and_good_ones_pass() {
    let place = Place::bare();
    let own = data().join("../..");
    let mut good = 0;
    for folder in [own.join("examples"), data().join("dockerfiles"), own.join("rootfs")] {
        for path in files_below(&folder) {
            let Some((name, value)) = described(&path) else { continue };
            check(&schema(&place, name), &value, name)
                .unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
            good += 1;
        }
    }
    assert!(good > 3, "{good} files");
    for case in OF_FORM {
        let folder = ["run", "tree"].map(|kind| data().join("bad").join(kind).join(case));
        let folder = folder.into_iter().find(|folder| folder.is_dir()).unwrap();
        let documents: Vec<_> =
            files_below(&folder).iter().filter_map(|path| described(path)).collect();
        let is_refused = documents
            .iter()
            .any(|(name, value)| check(&schema(&place, name), value, name).is_err());
        assert!(is_refused, "{case}: {documents:?}");
    }
    for (name, text) in [
        ("buildinfo", r#"{"requires": ["a", {"name": "b", "variant": null}], "docker": "x:1"}"#),
        (
            "buildinfo",
            r#"{"single_source": {"kind": "git", "git": "u", "ref": "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5", "ref_origin": "main"}}"#,
        ),
        ("treeinfo", r#"{"exclude": ["a"], "variants": {"b": "x"}}"#),
        ("upstream", r#"{"kind": "git_local", "rel_path": "../x"}"#),
    ] {
        let value = serde_json::from_str(text).unwrap();
        check(&schema(&place, name), &value, name).unwrap();
    }
    // A tree's file has none of the user's own tables; the user's has all that a tree's has.
    let users = json!({ "jobs": 2, "trust": { "/t": { "allow": ["network"] } } });
    check(&schema(&place, "config.toml"), &users, "config").unwrap();
    assert!(check(&schema(&place, "mkpanda.toml"), &users, "config").is_err());
}
