//! Releases that are repeated, shown, promoted and compared.

use serde_json::{Value, json};

use super::{FIRST, Releases, SECOND};
use crate::signing::Key;

#[test]
fn a_release_is_repeated_shown_promoted_and_compared() {
    let releases = Releases::new();
    releases.configure(&releases.storages(), "  version: 1.14-dev\n");
    let create = ["create", "master", "1.0", "default"];
    let ran = releases.run(&create).ok().says("no tree installer");
    let path = releases.place.path().display().to_string();
    assert_eq!(
        ran.stdout,
        format!("file://{path}/main/testing/master\nfile://{path}/mirror/testing/master\n")
    );
    let before = releases.objects("main");
    assert_eq!(before["testing/master/version"], b"1.14-dev");
    let again = releases.run(&[&["--format", "json"], &create[..]].concat());
    let again: Value = serde_json::from_str(&again.ok().says(": 0 objects stored").stdout).unwrap();
    assert_eq!((&again["stored"], &again["commit"]), (&json!(0), &json!(FIRST)));
    assert_eq!(again["urls"][1], format!("file://{path}/mirror/testing/master"));
    assert_eq!(releases.objects("main"), before);

    // Only one of the two storages has what is promoted; the packages are not in the cache any more.
    std::fs::remove_dir_all(releases.folder("mirror")).unwrap();
    std::fs::remove_dir_all(releases.place.packages.join("cache")).unwrap();
    releases.run(&["promote", "testing/master", "stable"]).ok();
    releases.run(&["promote", "testing/master", "dev", "--destination-channel", "pull/1"]).ok();
    let objects = releases.objects("main");
    assert_eq!(
        releases.objects("mirror").keys().filter(|key| key.starts_with("stable/")).count(),
        objects.keys().filter(|key| key.starts_with("stable/")).count()
    );
    let (source, promoted) = (
        releases.json("main", "testing/master/metadata.json"),
        releases.json("mirror", "stable/metadata.json"),
    );
    let keys = source.as_object().unwrap().keys();
    let differ: Vec<&String> =
        keys.filter(|key| source[key.as_str()] != promoted[key.as_str()]).collect();
    assert_eq!(
        differ,
        [
            "build_name",
            "channel_artifacts",
            "cloudformation_s3_url_full",
            "repository_path",
            "repository_url",
            "reproducible_artifact_path"
        ]
    );
    assert_eq!(promoted["build_name"], "stable");
    assert_eq!(promoted["reproducible_artifact_path"], format!("stable/commit/{FIRST}"));
    let user_data: Value =
        serde_json::from_slice(&objects["stable/cloud-init/user-data.json"]).unwrap();
    assert_eq!(user_data["url"], format!("file://{path}/main/stable"), "rendered anew");
    for (key, content) in &before {
        if ["testing/packages/lib/", "testing/packages/app/", "testing/bootstrap/"]
            .iter()
            .any(|folder| key.starts_with(folder))
        {
            assert_eq!(&objects[&key.replacen("testing", "stable", 1)], content, "{key}");
        }
    }

    releases.change_packages();
    let releases = releases.at(SECOND);
    let created = releases.shown("release-create", &["create", "next", "2.0", "default"]);
    assert_eq!(created["commit"], SECOND);
    releases.shown("release-show", &["show", "testing/next"]);
    let listed = releases.run(&["list"]).ok().stdout;
    assert_eq!(
        listed,
        format!(
            "dev/pull/1 {FIRST} 1.0\nstable {FIRST} 1.0\ntesting/master {FIRST} 1.0\ntesting/next {SECOND} 2.0\n"
        )
    );
    let listed = releases.shown("release-list", &["list", "testing"]);
    assert_eq!(listed[1], json!({ "channel": "testing/next", "commit": SECOND, "tag": "2.0" }));
    let shown = releases.run(&["show", "testing/next"]).ok().stdout;
    assert!(
        shown.starts_with("release of testing/next: 2.0\n")
            && shown.contains("\ntree <default>: bootstrap"),
        "{shown}"
    );
    let page = releases.run(&["show", "testing/next", "--format", "html"]).ok().stdout;
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains("prefers-color-scheme: dark"),
        "{page}"
    );
    let diff = releases.run(&["diff", "stable", "testing/next"]).ok().stdout;
    let lines: Vec<&str> = diff.lines().filter(|line| line.starts_with('~')).collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("~ app: ") && lines[1].starts_with("~ lib: "),
        "{diff}"
    );
    let diff = releases.shown("release-diff", &["diff", "stable", "testing/next"]);
    assert_eq!(diff["changed"][0]["from"][0]["id"], source["all_completes"]["null"]["packages"][0]);
    assert_eq!(releases.run(&["diff", "stable", "dev/pull/1"]).ok().stdout, "");
    releases
        .run(&["promote", "testing/master", "stable"])
        .fails(1)
        .says("is a release of commit 1111")
        .says("hint: check the release's tree out, and name its commit: DCOS_IMAGE_COMMIT=1111");
    releases.place.assert_clean();
}

/// Others may write to the release that is promoted, and not to the destination.
#[test]
fn nothing_unchecked_of_the_promoted_release_gets_to_the_destination() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let honest = releases.objects("main");
    let key = |name: &str| {
        let folder = format!("testing/packages/{name}/");
        let mut keys = honest.keys();
        keys.find(|key| key.starts_with(&folder) && key.ends_with(".tar.xz")).unwrap().clone()
    };
    let (app, lib) = (key("app"), key("lib"));
    // This machine has the package, and does not look at the one there.
    let forged = releases.folder("main").join(&app);
    std::fs::write(&forged, "forged").unwrap();
    releases.run(&["promote", "testing/master", "stable"]).ok();
    let promoted = releases.objects("main");
    assert_eq!(promoted[&app.replacen("testing", "stable", 1)], honest[&app]);
    // A description that leaves the package out of what is fetched; the tree of it has the package.
    let path = releases.folder("main").join("testing/master/metadata.json");
    let mut metadata = releases.json("main", "testing/master/metadata.json");
    metadata["packages"] = json!([]);
    std::fs::write(&path, metadata.to_string()).unwrap();
    std::fs::write(&forged, &honest[&lib]).unwrap();
    std::fs::remove_dir_all(releases.place.packages.join("cache/packages")).unwrap();
    releases.run(&["promote", "testing/master", "dev"]).fails(1).says("/app--");
    assert!(!releases.folder("main").join("dev").exists());
    std::fs::write(&forged, &honest[&app]).unwrap();
    releases.run(&["promote", "testing/master", "dev"]).ok();
    assert_eq!(releases.objects("main")[&app.replacen("testing", "dev", 1)], honest[&app]);
}

#[test]
fn packages_of_a_storage_are_checked_before_they_are_compared() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let source = releases.json("main", "testing/master/metadata.json");
    releases.change_packages();
    let releases = releases.at(SECOND);
    releases.run(&["create", "next", "2.0", "default"]).ok();
    // They are not in the cache, and nobody has signed them.
    std::fs::remove_dir_all(releases.place.packages.join("cache/packages")).unwrap();
    let key = Key::new(releases.place.path(), "k");
    let diff = ["diff", "testing/master", "testing/next"];
    releases.run(&diff).ok();
    let unsigned = releases.command(&diff).arg(key.option()).output().unwrap();
    crate::support::ran(&unsigned).fails(1).says("signature");
    // A package that has the name of another one.
    let storage = releases.folder("main").join("testing/packages");
    let archive = |name: &str| {
        let id = source["all_completes"]["null"]["packages"].as_array().unwrap().iter();
        let id = id.filter_map(Value::as_str).find(|id| id.starts_with(&format!("{name}--")));
        storage.join(name).join(format!("{}.tar.xz", id.unwrap()))
    };
    std::fs::copy(archive("lib"), archive("app")).unwrap();
    releases.run(&diff).fails(1).says("packages/app/app--");
}
