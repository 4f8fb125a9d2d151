//! `mkpanda explain`: inputs of ids, and root causes of changes.

use serde_json::Value;

use crate::schema_check::check_schema;
use crate::support::*;

const SCHEMA: &str = include_str!("../../docs/schemas/explain.json");

/// An app, a library that it requires, and what that requires.
fn place() -> Place {
    let place = Place::new();
    place.package("app", r#"{"requires": ["lib"], "environment": {"A": "1"}}"#, "true");
    source(&place, "one");
    place.package("base", "{}", "true");
    place.write("treeinfo.json", "{}");
    place
}

/// Gives lib another source.
fn source(place: &Place, text: &str) {
    place.write("lib/foo", text);
    let sum = sha1(text.as_bytes());
    let info = format!(
        r#"{{"requires": ["base"], "sources": {{"foo": {{"kind": "url", "url": "file://foo", "sha1": "{sum}"}}}}}}"#
    );
    place.package("lib", &info, "cp /pkg/src/foo/foo $PKG_PATH");
}

#[track_caller]
fn explain(place: &Place, arguments: &[&str]) -> Value {
    let arguments = [&["explain"], arguments, &["--format=json"]].concat();
    let value: Value = serde_json::from_str(&place.run(".", &arguments).ok().stdout).unwrap();
    check_schema(&serde_json::from_str(SCHEMA).unwrap(), &value, "value");
    value
}

/// The sentence of a comparison.
#[track_caller]
fn cause(place: &Place, arguments: &[&str]) -> String {
    let text = place.run(".", &[&["explain"], arguments].concat()).ok().stdout;
    let at = text.find("against ").unwrap_or_else(|| panic!("{text}"));
    text[at..].lines().nth(1).unwrap().trim().to_owned()
}

#[test]
fn inputs_are_those_of_the_id() {
    let place = place();
    let explained = explain(&place, &["lib"]);
    assert_eq!((&explained["built"], &explained["comparison"]), (&false.into(), &Value::Null));
    let input = |name: &str| {
        let inputs = explained["inputs"].as_array().unwrap();
        inputs.iter().find(|one| one["input"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    assert_eq!(input("sources/foo")["value"], sha1(b"one"));
    assert_eq!(input("sources/foo")["origin"], "url file://foo");
    let script = std::fs::read(place.packages.join("lib/build")).unwrap();
    assert_eq!(input("build")["value"], sha1(&script));
    assert_eq!(input("docker")["origin"], BUILDER);
    assert_eq!(explained["dependencies"][0]["direct"], true);
    let app = explain(&place, &["app"]);
    let direct: Vec<bool> = app["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["direct"].as_bool().unwrap())
        .collect();
    assert_eq!(direct, [false, true]);
    // The inputs are all that a record has.
    place.run("lib", &[]).ok();
    let id = explained["id"].as_str().unwrap();
    let record = place.home.join("builds/lib").join(id).join("record.json");
    let record: Value = serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap();
    let hashed = &record["buildinfo"]["build_ids"];
    assert_eq!(record["requires"], serde_json::json!([{"name": "base", "variant": null}]));
    assert_eq!(record["image"], BUILDER);
    for key in hashed.as_object().unwrap().keys() {
        let is_shown = explained["inputs"].as_array().unwrap().iter().any(|one| {
            let name = one["input"].as_str().unwrap();
            name == key || name.starts_with(&format!("{key}/"))
        });
        let is_empty = hashed[key].as_object().is_some_and(serde_json::Map::is_empty);
        assert!(is_shown || is_empty || key == "requires", "{key}");
    }
    assert_eq!(
        place.run("lib", &["explain"]).ok().stdout,
        place.run(".", &["explain", "lib"]).ok().stdout
    );
    place.run(".", &["explain"]).fails(1).says("name one: mkpanda explain PACKAGE");
    place.run(".", &["explain", "lbi"]).fails(1).says("did you mean lib?");
    let text = place.run(".", &["explain", "lib"]).ok().stdout;
    assert!(text.contains("nothing changed since the last build, lib--"), "{text}");
}

#[test]
fn a_change_is_followed_down_to_its_root() {
    let place = place();
    place.run("app", &[]).ok();
    let first = explain(&place, &["app"])["id"].as_str().unwrap().to_owned();
    source(&place, "two");
    let (one, two) = (sha1(b"one"), sha1(b"two"));
    let wanted = format!(
        "app changed because lib changed because the source foo changed from {one} to {two}"
    );
    assert_eq!(cause(&place, &["app"]), wanted);
    let explained = explain(&place, &["app"]);
    let chain = explained["comparison"]["chain"].as_array().unwrap();
    assert_eq!((chain.len(), &chain[1]["name"]), (2, &"lib".into()));
    assert_eq!(explained["comparison"]["against"], first);
    // Its own inputs come first.
    place.package("app", r#"{"requires": ["lib"], "environment": {"A": "2"}}"#, "true");
    assert_eq!(cause(&place, &["app"]), "app changed because the variable A changed from 1 to 2");
    place.package("app", r#"{"requires": ["lib", "base"], "environment": {"A": "1"}}"#, "true");
    assert_eq!(
        cause(&place, &["app"]),
        "app changed because the requirement of base was added: base"
    );
    place.package("app", r#"{"requires": ["lib"], "environment": {"A": "1"}}"#, "false");
    assert!(
        cause(&place, &["app"])
            .starts_with("app changed because the sum of the build script changed from ")
    );
}

#[test]
fn any_build_that_is_known_can_be_compared_with() {
    let place = place();
    let cache = place.path().join("shared");
    let cache = cache.to_str().unwrap();
    place.run("app", &["--cache", cache]).ok();
    let first = explain(&place, &["app"])["id"].as_str().unwrap().to_owned();
    source(&place, "two");
    place.run("app", &[]).ok();
    let wanted = "app changed because lib changed because the source foo changed from ";
    let record = place.home.join("builds/app").join(&first).join("record.json");
    for against in [first.as_str(), &first[..12], &first[5..12], record.to_str().unwrap(), cache] {
        let found = cause(&place, &["app", "--against", against]);
        assert!(found.starts_with(wanted), "{against}: {found}");
    }
    // Without records, archives in the tree's cache say what went into them.
    std::fs::remove_dir_all(place.home.join("builds")).unwrap();
    assert!(cause(&place, &["app", "--against", &first]).starts_with(wanted));
    std::fs::remove_file(place.packages.join(format!("cache/packages/app/{first}.tar.xz")))
        .unwrap();
    place
        .run(".", &["explain", "app", "--against", &first])
        .fails(1)
        .says("nothing is known of a build");
    place.run(".", &["explain", "app", "--against", "base--1"]).fails(1);
    place
        .run(".", &["explain", "app", "--against", "https://h/x"])
        .fails(1)
        .says("on this machine alone");
    let empty = place.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    place
        .run(".", &["explain", "app", "--against", empty.to_str().unwrap()])
        .fails(1)
        .says("has no record");
    let file = place.write("app/x.json", "{}");
    place
        .run(".", &["explain", "app", "--against", file.to_str().unwrap()])
        .fails(1)
        .says("is not the record");
    place.package("far", r#"{"docker": "registry.invalid/none:1"}"#, "true");
    let fetch = "hint: fetch what is missing (mkpanda fetch)";
    place.run(".", &["explain", "far"]).fails(1).says("is not on this machine").says(fetch);
    place.package("near", r#"{"requires": ["far"]}"#, "true");
    let explain = "hint: see why: mkpanda explain far";
    place
        .run(".", &["explain", "near"])
        .fails(1)
        .says("it requires far, which has none")
        .says(explain);
    place.write("far/tiny.buildinfo.json", r#"{"docker": "registry.invalid/none:1"}"#);
    let variant = r#"{"requires": [{"name": "far", "variant": "tiny"}]}"#;
    place.package("by", variant, "true");
    place
        .run(".", &["explain", "by"])
        .fails(1)
        .says("it requires far (variant tiny), which has none")
        .says("hint: see why: mkpanda explain far:tiny\n");
    place.run(".", &["explain", "far:tiny"]).fails(1).says("is not on this machine");
    let broken = place.path().join("broken.tar");
    std::fs::write(&broken, "not an archive\n".repeat(200)).unwrap();
    place.configure_first(&format!(
        "[images]\n\"registry.invalid/none:1\" = \"docker-archive:{}\"\n",
        broken.display()
    ));
    place.run(".", &["explain", "far"]).fails(1).says("hint: save or copy the image again");
}

#[test]
fn a_record_that_others_put_into_a_cache_is_not_waited_for() {
    let place = place();
    let id = explain(&place, &["app"])["id"].as_str().unwrap().to_owned();
    let cache = place.path().join("shared");
    std::fs::create_dir_all(cache.join("records/app")).unwrap();
    let record = cache.join(format!("records/app/{id}.json"));
    let shared = cache.to_str().unwrap();
    let refused = |name: &str| {
        let by_id = ["explain", "app", "--cache", shared, "--against", id.as_str()];
        let ran = place.run(".", &by_id).fails(1);
        assert!(ran.stderr.contains("nothing is known of a build"), "{name}: {}", ran.stderr);
        let by_folder = ["explain", "app", "--against", shared];
        let ran = place.run(".", &by_folder).fails(1);
        assert!(ran.stderr.contains("has no record of a build"), "{name}: {}", ran.stderr);
    };
    nix::unistd::mkfifo(&record, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("FIFO");
    let text = format!(r#"{{"id": "{id}", "build_ids": {{"name": "secret"}}}}"#);
    let private = place.write("private.json", &text);
    for target in [private.as_path(), std::path::Path::new("/dev/zero")] {
        std::fs::remove_file(&record).unwrap();
        std::os::unix::fs::symlink(target, &record).unwrap();
        refused("symlink");
    }
    // As a regular file it is one.
    std::fs::remove_file(&record).unwrap();
    std::fs::copy(private, &record).unwrap();
    place.run(".", &["explain", "app", "--cache", shared, "--against", &id]).ok();
}
