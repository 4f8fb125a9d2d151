//! `mkpanda list`, `graph` and `check`: a tree is looked at, and nothing is fetched, built or written.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::schema_check::check_schema;
use crate::support::*;

/// An app that needs zlib on two ways, a package in two variants, and two trees.
fn place() -> Place {
    let place = Place::new();
    place.package("app", r#"{"requires": ["lib", "tool"]}"#, "true");
    place.package("lib", r#"{"requires": ["zlib"]}"#, "true");
    place.package("tool", r#"{"requires": ["lib"]}"#, "true");
    place.package("zlib", "{}", "true");
    place.package("odd", "{}", "true");
    place.write("odd/small.buildinfo.json", r#"{"requires": ["zlib"], "build_script": "build"}"#);
    place.write("treeinfo.json", "{}");
    place.write(
        "small.treeinfo.json",
        r#"{"core_package_list": ["odd"], "variants": {"odd": "small"}}"#,
    );
    place
}

/// The result as JSON, which has the form of its schema.
#[track_caller]
fn json(place: &Place, schema: &str, arguments: &[&str]) -> Value {
    let shown = place.run(".", &[arguments, &["--format=json"]].concat());
    let value: Value = serde_json::from_str(&shown.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", shown.stdout, shown.stderr));
    check_schema(&serde_json::from_str(schema).unwrap(), &value, "value");
    value
}

const LIST: &str = include_str!("../../docs/schemas/list.json");
const GRAPH: &str = include_str!("../../docs/schemas/graph.json");
const WHY: &str = include_str!("../../docs/schemas/graph-why.json");
const CHECK: &str = include_str!("../../docs/schemas/check.json");

#[test]
fn packages_are_listed_with_ids_and_where_they_are_built() {
    let place = place();
    let listed = json(&place, LIST, &["list"]);
    let packages = listed["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 6);
    assert!(packages.iter().all(|package| package["built"] == false && package["id"].is_string()));
    place.run("lib", &[]).ok();
    // A cache that is a folder is looked into.
    let cache = place.path().join("shared");
    place.run("tool", &["--cache", cache.to_str().unwrap()]).ok();
    std::fs::remove_file(place.archive("tool")).unwrap();
    let listed = json(&place, LIST, &["list", "--cache", cache.to_str().unwrap()]);
    let state: Vec<String> = listed["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one["name"],
                one["built"],
                one["in_caches"].as_array().unwrap().len()
            )
        })
        .collect();
    assert!(state.contains(&"\"zlib\" true 0".to_owned()), "{state:?}");
    assert!(state.contains(&"\"tool\" false 1".to_owned()), "{state:?}");
    // As text: a header, aligned columns.
    let text = place.run(".", &["list"]).ok().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("NAME  VARIANT"), "{text}");
    let column = lines[0].find("BUILT").unwrap();
    assert!(
        lines[1..]
            .iter()
            .all(|line| ["yes", "no"].contains(&line[column..].split(' ').next().unwrap())),
        "{text}"
    );
    assert!(text.contains("zlib  <default>"), "{text}");
    let small = json(&place, LIST, &["list", "--variant", "small"]);
    let names: Vec<&str> = small["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["odd", "zlib"]);
    assert_eq!(small["packages"][0]["variant"], "small");
    assert_eq!(small["packages"][1]["trees"], serde_json::json!([null, "small"]));
    place.run(".", &["list", "--variant", "smal"]).fails(1).says("has <default>, small");
}

#[test]
fn a_fault_of_one_package_leaves_the_others_their_ids() {
    let place = place();
    place.write("lib/buildinfo.json", r#"{"requries": []}"#);
    place.package("two", r#"{"requires": ["one"]}"#, "true");
    place.package("one", r#"{"requires": ["two"]}"#, "true");
    place.package("gone", r#"{"requires": ["nothing"]}"#, "true");
    place.package("far", r#"{"docker": "registry.invalid/none:1"}"#, "true");
    let listed = json(&place, LIST, &["list"]);
    let find = |name: &str| {
        let packages = listed["packages"].as_array().unwrap();
        packages.iter().find(|one| one["name"] == name).unwrap().clone()
    };
    assert!(find("zlib")["id"].is_string());
    assert!(find("lib")["fault"].as_str().unwrap().contains("no key \"requries\""));
    for (name, why) in [
        ("app", "it requires lib, which has none"),
        ("one", "it requires itself, directly or not"),
        ("gone", "it requires nothing, which has none"),
        ("far", "its image registry.invalid/none:1 is not on this machine"),
    ] {
        assert_eq!(find(name)["why_no_id"], why, "{name}");
    }
    let ran = place.run(".", &["list"]).ok().says("1 package is not valid").says("mkpanda check");
    assert!(ran.stdout.contains("not valid"), "{}", ran.stdout);
    // A graph would look whole otherwise.
    let warning = "1 package is not valid";
    place.run(".", &["graph"]).ok().says(warning).says("mkpanda check");
    place.run(".", &["graph", "--format=json", "app"]).ok().says(warning);
    place.run(".", &["graph", "--why", "app", "zlib"]).ok().says(warning);
    let other = place.run(".", &["graph", "zlib"]).ok();
    assert!(!other.stderr.contains(warning), "{}", other.stderr);
    // What is wrong below is said in place of a remedy that would not help.
    place.run(".", &["explain", "app"]).fails(1).says("no key \"requries\"");
    place.run(".", &["explain", "far"]).fails(1).says("mkpanda fetch");
}

#[test]
fn graphs_are_lines_dots_and_json() {
    let place = place();
    let text = place.run(".", &["graph"]).ok().stdout;
    let wanted = "\
app
├── lib
│   └── zlib
└── tool
    └── lib (above)
odd
odd (variant small)
└── zlib
";
    assert_eq!(text, wanted);
    assert_eq!(place.run("lib", &["graph", "lib"]).ok().stdout, "lib\n└── zlib\n");
    let users = place.run(".", &["graph", "--reverse", "lib"]).ok().stdout;
    assert_eq!(users, "lib\n├── app\n└── tool\n    └── app\n");
    let small = place.run(".", &["graph", "--variant", "small"]).ok().stdout;
    assert_eq!(small, "odd (variant small)\n└── zlib\n");
    assert_eq!(place.run(".", &["graph", "odd:small"]).ok().stdout, small);
    let value = json(&place, GRAPH, &["graph", "tool"]);
    assert_eq!(value["packages"].as_array().unwrap().len(), 3);
    let dot = place.run(".", &["graph", "--format=dot", "odd:small", "tool"]).ok().stdout;
    assert_dot(&dot);
    assert!(dot.contains("  \"odd:small\" -> \"zlib\";\n"), "{dot}");
    place
        .run(".", &["graph", "zlip"])
        .fails(1)
        .says("has no package zlip")
        .says("did you mean zlib?");
    place.run(".", &["graph", "odd:smal"]).fails(1).says("it has <default>, small");
    place
        .run(".", &["graph", "--variant=small", "app"])
        .fails(1)
        .says("app is not part of the tree small");
}

/// Checks the grammar (<https://graphviz.org/doc/info/lang.html>) of quoted ids, edges and attribute lists.
#[track_caller]
fn assert_dot(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], *lines.last().unwrap()), ("digraph packages {", "}"));
    let id = |text: &str| {
        text.len() > 2
            && text.starts_with('"')
            && text.ends_with('"')
            && !text[1..text.len() - 1].contains('"')
    };
    for line in &lines[1..lines.len() - 1] {
        let statement = line.trim().strip_suffix(';').unwrap_or_else(|| panic!("{line}"));
        let (statement, attributes) = statement.split_once(" [").unwrap_or((statement, "]"));
        assert!(attributes.ends_with(']'), "{line}");
        assert!(statement == "node" || statement.split(" -> ").all(id), "{line}");
    }
}

#[test]
fn chains_say_why_one_package_needs_another() {
    let place = place();
    let text = place.run(".", &["graph", "--why", "app", "zlib"]).ok().stdout;
    assert_eq!(text, "app -> lib -> zlib\napp -> tool -> lib -> zlib\n");
    let text = place.run(".", &["graph", "--why", "zlib", "app"]).ok().stdout;
    assert_eq!(text, "zlib does not need app\n");
    // Of several variants those that need it are shown.
    let text = place.run(".", &["graph", "--why", "odd", "zlib"]).ok().stdout;
    assert_eq!(text, "odd (variant small) -> zlib\n");
    let value = json(&place, WHY, &["graph", "--why", "app", "zlib"]);
    assert_eq!(value[0]["chains"].as_array().unwrap().len(), 2);
    assert_dot(&place.run(".", &["graph", "--format=dot", "--why", "app", "zlib"]).ok().stdout);
    place.run(".", &["graph", "--why", "app"]).fails(2);
    place.run(".", &["graph", "--reverse", "--why", "app", "zlib"]).fails(2);
}

/// Rules and places of findings.
fn findings(value: &Value) -> Vec<String> {
    let line = |one: &Value| {
        let path = one["path"].as_str().unwrap();
        let file = path.rsplit("/packages/").next().unwrap();
        format!(
            "{} {} {file}:{}",
            one["severity"].as_str().unwrap(),
            one["rule"].as_str().unwrap(),
            one["line"]
        )
    };
    value["findings"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_good_tree_has_no_findings_and_nothing_is_written() {
    let place = place();
    place.run(".", &["tree"]).ok();
    let before = files_below(place.path());
    place.run(".", &["check"]).ok().says("6 packages checked, nothing found");
    place.run(".", &["check", "--strict", "app"]).ok().says("4 packages checked");
    place.run("lib", &["check"]).ok().says("2 packages checked");
    place.run("..", &["check", "packages"]).ok().says("6 packages checked");
    place.run(".", &["check", "ap"]).fails(1).says("did you mean app?");
    // Folders of packages, as shells complete them.
    place.run(".", &["check", "lib/"]).ok().says("2 packages checked");
    place.run(".", &["check", "./lib", "app"]).ok().says("4 packages checked");
    place.run("..", &["check", "packages/lib", "packages/zlib/"]).ok().says("2 packages checked");
    place.run("lib", &["check", "../zlib"]).ok().says("1 package checked");
    place
        .run("..", &["check", "packages/lib", "tree/zlib"])
        .fails(1)
        .says("no package packages/lib");
    place.run(".", &["explain", "lib/"]).ok();
    place.run("lib", &["graph", "--reverse", "../zlib/"]).ok();
    place.run(".", &["log", "./lib/"]).ok();
    assert_eq!(files_below(place.path()), before);
}

#[test]
fn all_errors_are_found_at_once() {
    let place = place();
    place.write("mkpanda.toml", "nonsense = 1\n");
    place.write("mkpanda.lock", "version = \"x\"\n");
    place.write("app/buildinfo.json", "{\"requires\": [\"lib\", \"tol\", 5],\n\"dokcer\": \"x\"}");
    place.write("tool/buildinfo.json", r#"{"requires": ["nothing"]}"#);
    place.package("one", r#"{"requires": ["two"]}"#, "true");
    place.package("two", r#"{"requires": ["one"]}"#, "true");
    place.package("ring", r#"{"requires": ["ring"]}"#, "true");
    place.package("both", r#"{"requires": ["odd", {"name": "odd", "variant": "small"}]}"#, "true");
    place.write(
        "sums/buildinfo.json",
        r#"{"single_source": {"kind": "url", "url": "https://h/x", "sha1": "12"}}"#,
    );
    place.write(".b.treeinfo.json", "{}");
    place.write("third.treeinfo.json", r#"{"bogus": 1}"#);
    let value = json(&place, CHECK, &["check"]);
    let found = findings(&value);
    for wanted in [
        "error invalid mkpanda.toml:1",
        "error invalid mkpanda.lock:1",
        "error invalid app/buildinfo.json:1",
        "error invalid app/buildinfo.json:2",
        "error invalid tool/buildinfo.json:1",
        "error invalid one/buildinfo.json:1",
        "error invalid ring/buildinfo.json:1",
        "error invalid both/buildinfo.json:1",
        "error invalid sums/buildinfo.json:1",
        "error invalid third.treeinfo.json:1",
    ] {
        assert!(found.contains(&wanted.to_owned()), "no {wanted} in {found:#?}");
    }
    let hints: Vec<&str> = value["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["hint"].as_str())
        .collect();
    assert!(hints.iter().any(|hint| hint.starts_with("did you mean docker?")), "{hints:#?}");
    // As text: places and lines, and how many.
    let ran = place.run(".", &["check"]).fails(1);
    assert!(ran.stdout.is_empty());
    assert!(
        ran.stderr.contains("app/buildinfo.json:2:1: a buildinfo.json has no key \"dokcer\""),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.trim_end().ends_with(" errors"), "{}", ran.stderr);
    // Each is an event.
    let said = place.run(".", &["check", "--progress=json"]).fails(1).stderr;
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors =
        events.iter().filter(|event| event["event"] == "error" && event["rule"] == "invalid");
    let count = errors
        .inspect(|event| assert!(event["path"].is_string() && event["hints"].is_array()))
        .count();
    assert_eq!(count, usize::try_from(value["errors"].as_u64().unwrap()).unwrap(), "{said}");
}

#[test]
fn oddities_are_warnings_and_errors_only_where_that_is_asked_for() {
    let place = Place::new();
    let sum = sha1(b"other");
    place.package(
        "app",
        &format!(
            r#"{{"requires": ["lib", "lib"], "sources": {{
                "unused": {{"kind": "url", "url": "http://example.org/x", "sha1": "{sum}"}},
                "here": {{"kind": "url", "url": "file://here", "sha1": "{sum}"}},
                "gone": {{"kind": "url", "url": "file://gone", "sha1": "{sum}"}},
                "code": {{"kind": "git", "git": "git://example.org/x", "ref": "{sum}", "ref_origin": "main"}}
            }}}}"#
        ),
        "ls /pkg/src/here /pkg/src/gone /pkg/src/code",
    );
    place.write("app/here", "not that");
    place.write("app/old.build", "#!/bin/sh\n");
    place.package("lib", "{}", "true");
    place.write("lib/build", "true\r\ntrue\r\n");
    std::fs::set_permissions(place.packages.join("lib/build"), PermissionsExt::from_mode(0o644))
        .unwrap();
    std::fs::create_dir_all(place.packages.join("lib/extra")).unwrap();
    let large = std::fs::File::create(place.packages.join("lib/extra/large")).unwrap();
    large.set_len(11 << 20).unwrap();
    place.package("alone", "{}", "true");
    place.write("typo/buildinf.json", "{}");
    place.write("cache/buildinfo.json", "{}");
    place.write(
        "treeinfo.json",
        r#"{"core_package_list": ["app"], "exclude": ["nobody"], "variants": {"noone": "x"}}"#,
    );
    let value = json(&place, CHECK, &["check"]);
    assert_eq!(value["errors"], 0, "{value:#}");
    let mut found = findings(&value);
    found.sort();
    let wanted = [
        "warning dos-line-ends lib/build:1",
        "warning large-file lib/extra/large:null",
        "warning missing-file app/buildinfo.json:4",
        "warning no-shebang lib/build:1",
        "warning not-a-package typo:null",
        "warning not-executable lib/build:null",
        "warning odd cache:null",
        "warning odd treeinfo.json:1",
        "warning odd treeinfo.json:1",
        "warning plain-transport app/buildinfo.json:2",
        "warning plain-transport app/buildinfo.json:5",
        "warning repeated-requirement app/buildinfo.json:1",
        "warning stray-script app/old.build:null",
        "warning unneeded-package alone/buildinfo.json:null",
        "warning unused-source app/buildinfo.json:2",
        "warning wrong-sum app/buildinfo.json:3",
    ];
    assert_eq!(found, wanted);
    place.run(".", &["check"]).ok().says("3 packages checked, 16 warnings");
    place.run(".", &["check", "--strict"]).fails(1).says("0 errors, 16 warnings");
}

#[test]
fn a_lock_that_does_not_fit_is_an_error() {
    let place = Place::new();
    let sum = sha1(b"x");
    let info = |url: &str| {
        format!(r#"{{"single_source": {{"kind": "url", "url": "{url}", "sha1": "{sum}"}}}}"#)
    };
    place.package("app", &info("file://x"), "cp /pkg/src/app/x $PKG_PATH");
    place.write("app/x", "x");
    place.write("treeinfo.json", "{}");
    place.run(".", &["lock"]).ok();
    place.run(".", &["check"]).ok();
    place.write("app/buildinfo.json", &info("https://example.org/x"));
    let value = json(&place, CHECK, &["check"]);
    assert_eq!(findings(&value), ["error lock mkpanda.lock:null"]);
}

#[test]
fn an_upstream_that_is_not_expanded_is_told_and_not_fetched() {
    let place = Place::new();
    let up = place.path().join("up");
    std::fs::create_dir_all(up.join("packages/base")).unwrap();
    std::fs::write(up.join("packages/base/buildinfo.json"), "{}").unwrap();
    std::fs::write(up.join("packages/base/build"), SCRIPT).unwrap();
    let commit = repository(&up);
    place.write(
        "upstream.json",
        &format!(
            r#"{{"kind": "git", "git": "{}", "ref": "{commit}", "ref_origin": "main"}}"#,
            up.display()
        ),
    );
    place.package("app", r#"{"requires": ["base"]}"#, "true");
    place.write("treeinfo.json", "{}");
    let before = files_below(&place.packages);
    let value = json(&place, CHECK, &["check"]);
    assert_eq!(findings(&value), ["warning upstream upstream.json:null"]);
    let listed = json(&place, LIST, &["list"]);
    assert!(listed["missing_upstream"].as_str().unwrap().ends_with("/upstream.json"));
    assert_eq!(files_below(&place.packages), before);
    place.run(".", &["fetch"]).ok();
    place.run(".", &["check"]).ok();
    let listed = json(&place, LIST, &["list"]);
    assert_eq!(listed["packages"].as_array().unwrap().len(), 2);
}
