//! `mkpanda init`: new trees and packages that pass `check` and build at once.

use serde_json::Value;

use crate::schema_check::check_schema;
use crate::support::*;

const SCHEMA: &str = include_str!("../../docs/schemas/init.json");

/// Runs mkpanda in the folder above the packages folder, in which there is no tree.
fn run(place: &Place, arguments: &[&str]) -> Ran {
    place.run("..", arguments)
}

#[test]
fn a_new_tree_passes_its_check_and_builds() {
    let place = Place::bare();
    let made = run(&place, &["init", "demo", "--format=json"]).ok().stdout;
    let made: Value = serde_json::from_str(&made).unwrap();
    check_schema(&serde_json::from_str(SCHEMA).unwrap(), &made, "value");
    assert_eq!((&made["kind"], made["files"].as_array().unwrap().len()), (&"tree".into(), 5));
    run(&place, &["-C", "demo", "init", "zlib"]).ok();
    // What comes from a URL is summed.
    let file = place.path().join("data.txt");
    std::fs::write(&file, "data").unwrap();
    let url = format!("file://{}", file.display());
    run(&place, &["-C", "demo", "init", "data", "--from", &url]).ok();
    run(&place, &["-C", "demo", "check", "--strict"])
        .ok()
        .says("3 packages checked, nothing found");
    run(&place, &["-C", "demo", "tree"]).ok();
    let listed = run(&place, &["-C", "demo", "list", "--format=json"]).ok().stdout;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert!(
        listed["packages"].as_array().unwrap().iter().all(|one| one["built"] == true),
        "{listed:#}"
    );
    let info = std::fs::read_to_string(place.path().join("tree/demo/data/buildinfo.json")).unwrap();
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["sources"]["data"]["sha1"], sha1(b"data"));
    assert_eq!(info["sources"]["data"]["sha256"], sha256(b"data"));
}

#[test]
fn nothing_is_replaced() {
    let place = Place::bare();
    let folder = place.path().join("tree/demo");
    std::fs::create_dir_all(folder.join("hello")).unwrap();
    std::fs::write(folder.join("hello/build"), "mine").unwrap();
    run(&place, &["init", "demo"])
        .fails(1)
        .says("hello/build is there already, so nothing was written");
    assert_eq!(files_below(&folder).len(), 1);
    std::fs::remove_file(folder.join("hello/build")).unwrap();
    run(&place, &["-C", "demo", "init"]).ok();
    run(&place, &["init", "demo"]).fails(1).says("is a tree already").says("demo init NAME");
    run(&place, &["-C", "demo", "init", "hello"]).fails(1).says("is there already");
    std::fs::create_dir(folder.join("varied")).unwrap();
    std::fs::write(folder.join("varied/one.buildinfo.json"), "{}").unwrap();
    run(&place, &["-C", "demo", "init", "varied"]).fails(1).says("is there already");
    // The tree's own folder, in which no package is found.
    run(&place, &["-C", "demo", "init", "cache"]).fails(1).says("is the cache of the tree");
    assert!(!folder.join("cache").exists());
    run(&place, &["-C", "demo", "init", "-a"]).fails(2);
    run(&place, &["-C", "demo", "init", "a b"]).fails(1).says("package name");
}

#[test]
fn a_gitignore_that_is_there_stays() {
    let place = Place::bare();
    let file = place.path().join("tree/demo/.gitignore");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "*.o\n").unwrap();
    let ran = run(&place, &["init", "demo"]).ok().says("demo/.gitignore does not have the tree's");
    ran.says("hint: add this line to it: /cache/");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "*.o\n");
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "cache/\n").unwrap();
    assert!(!run(&place, &["init", "demo"]).ok().stderr.contains(".gitignore"));
}

#[test]
fn sources_are_fetched_where_that_is_asked_for_and_allowed() {
    let place = Place::bare();
    run(&place, &["init", "demo"]).ok();
    let url = "https://registry.invalid/x.tar.gz";
    let init =
        |more: &[&str]| run(&place, &[&["-C", "demo", "init", "x", "--from", url], more].concat());
    init(&["--offline"])
        .fails(1)
        .says("without a network, its sum is not known")
        .says("--sha1 SUM");
    init(&["--sha1", "12"]).fails(1).says("--sha1: ");
    init(&["--offline", "--sha1", &sha1(b"x")]).ok();
    let info = std::fs::read_to_string(place.path().join("tree/demo/x/buildinfo.json")).unwrap();
    assert!(info.contains("url_extract") && info.contains(&sha1(b"x")), "{info}");
    run(&place, &["init", "other", "--from", url]).fails(1).says("mkpanda init DIR");
    let secret = "https://anna:geheim@127.0.0.1:9/x.tar.gz?token=geheim";
    let ran = run(&place, &["-C", "demo", "init", "z", "--from", secret, "--offline"]).fails(1);
    assert!(!ran.stderr.contains("geheim") && ran.stderr.contains("--sha1"), "{}", ran.stderr);
    let git = "https://registry.invalid/x.git";
    run(&place, &["-C", "demo", "init", "y", "--from", git]).fails(1).says("git ls-remote");
    assert!(!place.path().join("tree/demo/y").exists());
}

#[test]
fn a_source_from_a_server_is_summed() {
    let place = Place::bare();
    run(&place, &["init", "demo"]).ok();
    let files = place.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("x-1.tar"), "content").unwrap();
    let server = crate::server::Server::files(&files);
    let url = format!("http://127.0.0.1:{}/x-1.tar", server.port());
    run(&place, &["-C", "demo", "init", "x", "--from", &url]).ok();
    let info = std::fs::read_to_string(place.path().join("tree/demo/x/buildinfo.json")).unwrap();
    assert!(info.contains(&sha1(b"content")), "{info}");
}

#[test]
fn above_a_tree_its_folder_is_named() {
    let place = Place::bare();
    place.write("packages/treeinfo.json", "{}");
    for command in ["list", "graph", "check"] {
        let ran = place.run(".", &[command]).ok().says("has no treeinfo.json");
        ran.says("hint: the tree is in a folder of this one: mkpanda -C ").says("/packages …");
        let inside = place.run("packages", &[command]).ok();
        assert!(!inside.stderr.contains("describes no tree"), "{}", inside.stderr);
    }
    place.run(".", &["tree"]).fails(1).says("the tree is in a folder of this one: mkpanda -C ");
}
