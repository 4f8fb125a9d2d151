//! What a build gets.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::json;
use walkdir::WalkDir;

use super::*;
use crate::archive::ArchiveLimits;
use crate::base::removal::remove_all;

/// That no file is the same in two folders.
pub(super) fn assert_apart(one: &Path, other: &Path) {
    let files = |folder: &Path| -> HashSet<(u64, u64)> {
        let entries = WalkDir::new(folder).into_iter().map(Result::unwrap);
        let metadata = entries.map(|entry| entry.metadata().unwrap());
        metadata.map(|metadata| (metadata.dev(), metadata.ino())).collect()
    };
    assert!(files(one).is_disjoint(&files(other)));
}

#[test]
fn a_file_is_copied_under_its_name() {
    let world = World::new();
    world.write("packages/p/f", b"x");
    let sum = Sha1Sum::of(b"x");
    let fetched =
        world.fetch(json!({"kind": "url", "url": "file://f", "sha1": sum.as_str()})).unwrap();
    let dest = world.path("out/s");
    check_out(&fetched, &dest, &ArchiveLimits::default()).unwrap();
    assert_eq!(list(&dest), ["f"]);
    assert_apart(&world.path("packages"), &dest);
    let error = check_out(&fetched, &dest, &ArchiveLimits::default()).unwrap_err();
    assert!(matches!(error, CheckOutError::NotEmpty(_)), "{error}");
    let text = serde_json::to_string(&fetched).unwrap();
    assert_eq!(serde_json::from_str::<FetchedSource>(&text).unwrap(), fetched);
}

#[test]
fn checked_out_files_are_what_the_commit_says() {
    let world = World::new();
    world.repository("packages/.r");
    let repository = world.path("packages/.r");
    symlink("dir/more", repository.join("link")).unwrap();
    world.write("packages/.r/run", b"#!/bin/sh\n");
    fs_err::set_permissions(repository.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    world.write("packages/.r/.gitattributes", b"*.bat eol=crlf\n");
    let commit = world.commit("packages/.r", "x.bat", b"a\nb\n");
    // It is in the index as it will be checked out.
    git(&repository, &["rm", "-q", "--cached", "x.bat"]);
    git(&repository, &["reset", "-q", "--hard"]);
    let fetched = world.fetch(json!({"kind": "git_local", "rel_path": "../.r"})).unwrap();
    let dest = world.path("out/s");
    check_out(&fetched, &dest, &ArchiveLimits::default()).unwrap();
    assert_eq!(git(&dest, &["rev-parse", "HEAD"]), commit);
    assert_eq!(world.read("out/s/x.bat"), b"a\r\nb\r\n");
    assert_eq!(world.read("out/s/file"), b"one\n");
    assert_eq!(fs_err::read_link(dest.join("link")).unwrap(), Path::new("dir/more"));
    assert_eq!(fs_err::metadata(dest.join("run")).unwrap().mode() & 0o700, 0o700);
    let work_tree = WalkDir::new(&dest).into_iter();
    for entry in work_tree.filter_entry(|entry| entry.file_name() != ".git").map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().mtime(), TIME, "{:?}", entry.path());
    }
    // Plumbing that looks only at the index sees no change.
    assert_eq!(git(&dest, &["diff-index", "--name-only", "HEAD"]), "");
}

/// Run by [`the_users_git_configuration_has_no_say`] in a process with its own `HOME`.
#[test]
#[ignore = "a part of another test"]
fn configuration_child() {
    let home = std::env::home_dir().unwrap();
    let fetched = fs_err::read_to_string(home.join("fetched")).unwrap();
    check_out(&serde_json::from_str(&fetched).unwrap(), &home.join("s"), &ArchiveLimits::default())
        .unwrap();
}

#[test]
fn the_users_git_configuration_has_no_say() {
    let world = World::new();
    world.repository("packages/.r");
    let fetched = world.fetch(json!({"kind": "git_local", "rel_path": "../.r"})).unwrap();
    world.write("home/fetched", serde_json::to_string(&fetched).unwrap().as_bytes());
    world.write("home/.config/git/attributes", b"* eol=crlf\n");
    let run = |config: &[u8]| {
        world.write("home/.gitconfig", config);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "source::tests::check_out::configuration_child", "--ignored"])
            .env("HOME", world.path("home"))
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(world.read("home/s/file"), b"one\n");
        remove_all(&world.path("home/s")).unwrap();
    };
    run(b"[core]\nautocrlf = true\n");
    run(b"[this can't even be read");
}

#[test]
fn an_archive_is_extracted_and_a_bad_one_named() {
    let world = World::new();
    world.write("top/inner", b"x");
    let run = |arguments: &[&str]| {
        let status = Command::new("tar").current_dir(world.path(".")).args(arguments).status();
        assert!(status.unwrap().success());
    };
    run(&["-czf", "packages/p/a.tar.gz", "top"]);
    world.write("packages/p/b.tar.gz", b"no archive");
    let source = |name: &str| {
        let sum = Sha1Sum::of_file(&world.path("packages/p").join(name)).unwrap();
        let url = format!("file://{name}");
        json!({"kind": "url_extract", "url": url, "sha1": sum.as_str()})
    };
    let fetched = world.fetch(source("a.tar.gz")).unwrap();
    check_out(&fetched, &world.path("out/a"), &ArchiveLimits::default()).unwrap();
    assert_eq!(world.read("out/a/inner"), b"x");
    let fetched = world.fetch(source("b.tar.gz")).unwrap();
    let error = check_out(&fetched, &world.path("out/b"), &ArchiveLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot extract b.tar.gz");
}
