//! `mkpanda clean`, and the trees that `mkpanda gc` names.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::schema_check::{check_schema, schema};
use crate::support::{Place, files_below, sha1};

fn machine() -> Place {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    source(&place, "first");
    place
}

/// Gives the package another source, and so another id.
fn source(place: &Place, name: &str) {
    place.write(&format!("p/{name}"), name);
    let sum = sha1(name.as_bytes());
    let info = format!(
        r#"{{"sources": {{"s": {{"kind": "url", "url": "file://{name}", "sha1": "{sum}"}}}}}}"#
    );
    place.package("p", &info, "cp /pkg/src/s/* $PKG_PATH/");
}

fn files(place: &Place) -> Vec<String> {
    let cache = place.packages.join("cache");
    let name = |path: PathBuf| path.strip_prefix(&cache).unwrap().to_string_lossy().into_owned();
    files_below(&cache).into_iter().map(name).collect()
}

fn cleaned(place: &Place, options: &[&str]) -> Vec<String> {
    let ran = place.run(".", &[&["clean", "--format=json"], options].concat()).ok();
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    check_schema(&schema(place, "clean"), &shown, "value");
    let removed = shown["removed"].as_array().unwrap();
    removed.iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_no_current_id_needs_goes_and_nothing_else() {
    let place = machine();
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    let first = files(&place);
    assert!(cleaned(&place, &[]).is_empty());
    assert_eq!(files(&place), first);
    source(&place, "second");
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    let both = files(&place);
    let old: Vec<String> = first.iter().filter(|name| !name.contains("latest")).cloned().collect();
    assert_eq!(old.len(), 4, "{old:?}");
    assert_eq!(cleaned(&place, &["--dry-run"]), sorted(&old));
    assert_eq!(files(&place), both, "a dry run changes nothing");
    assert_eq!(cleaned(&place, &[]), sorted(&old));
    let left: Vec<String> = both.into_iter().filter(|name| !old.contains(name)).collect();
    assert_eq!(files(&place), left);
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    assert_eq!(files(&place), left, "all that is needed is there");
}

/// In the order in which they are found.
fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_by_key(|name| (name.starts_with("bootstrap"), name.clone()));
    names
}

#[test]
fn what_mkpanda_did_not_make_stays() {
    let place = machine();
    place.run(".", &["tree"]).ok();
    let outside = place.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("gone--1.tar.xz"), "x").unwrap();
    let cache = place.packages.join("cache");
    let own = [
        "packages/p/notes.txt",
        "packages/p/src/file",
        "packages/p/result/file",
        "packages/p/other--1.tar.xz",
        "packages/gone/folder/sub/file",
        "packages/p/my notes/todo.txt",
        "bootstrap/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.bootstrap.tar.xz",
        "packages/note",
        "bootstrap/notes.txt",
        "bootstrap/abc.bootstrap.tar.xz",
        "complete/x",
        "mine/file",
    ];
    for name in own {
        let path = cache.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "mine").unwrap();
    }
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, cache.join(name)).unwrap();
    };
    link(&outside, "packages/linked");
    link(&outside.join("gone--1.tar.xz"), "packages/p/p--0.tar.xz");
    // What a fetch leaves in the home.
    let source = cache.canonicalize().unwrap().join("packages/gone/src1");
    let lock = format!("source-{}.lock", sha1(source.as_os_str().as_encoded_bytes()));
    std::fs::write(place.home.join("locks").join(lock), "").unwrap();
    // Of packages that are gone, and of older states.
    let gone = [
        "packages/gone/gone--1.tar.xz",
        "packages/gone/gone--1.tar.xz.minisig",
        "packages/gone/latest",
        "packages/gone/src1/download",
        "packages/p/p--2.tar.xz",
        "packages/p/s/older",
        "packages/p/s/first.corrupt",
        "complete/old.complete.latest.json",
        "bootstrap/old.bootstrap.latest",
    ];
    for name in gone {
        let path = cache.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "ours").unwrap();
    }
    let before = files(&place);
    let removed = cleaned(&place, &[]);
    let mut expected: Vec<String> = gone.map(str::to_owned).to_vec();
    expected.sort();
    let mut found = removed;
    found.sort();
    assert_eq!(found, expected);
    let left: Vec<String> =
        before.into_iter().filter(|name| !gone.contains(&name.as_str())).collect();
    assert_eq!(files(&place), left);
    assert!(outside.join("gone--1.tar.xz").exists());
}

#[test]
fn archives_and_downloads_of_faulty_packages_stay() {
    let place = machine();
    place.package("user", r#"{"requires": ["p"]}"#, "true");
    place.package("other", "", "true");
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    let before = files(&place);
    // A mistake while the file is edited.
    place.write("p/buildinfo.json", r#"{"sources": "#);
    let ran = place.run(".", &["clean"]).ok();
    assert_eq!(files(&place), before, "{}", ran.stdout);
    let warning = "2 packages are not valid, or require some that are not: all their archives stay";
    assert!(ran.stderr.contains(warning), "{}", ran.stderr);
    assert!(ran.stderr.contains("mkpanda check"), "{}", ran.stderr);
    // What belongs to others is still cleaned.
    place.package("other", "", "true # changed");
    let removed = cleaned(&place, &[]);
    assert!(
        matches!(removed.as_slice(), [one] if one.starts_with("packages/other/")),
        "{removed:?}"
    );
}

#[test]
fn archives_of_unknown_ids_stay() {
    let place = machine();
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    // Its image is not built, so what its id is cannot be told.
    place.write("p/docker/Dockerfile", "FROM scratch\nCOPY x /x\n");
    place.write("p/docker/x", "");
    place.package("p", r#"{"docker": "dcos/dcos-builder:p_dockerdir-latest"}"#, "true");
    let ran = place.run(".", &["clean"]).ok();
    assert!(ran.stderr.contains("the id of 1 package is not known"), "{}", ran.stderr);
    let left = files(&place);
    assert_eq!(left.iter().filter(|name| name.ends_with(".tar.xz")).count(), 2, "{left:?}");
    assert!(!left.iter().any(|name| name.starts_with("packages/p/s/")), "{left:?}");
}

#[test]
fn nothing_goes_while_a_run_builds() {
    let place = machine();
    place.run(".", &["tree"]).ok();
    place.package("slow", "{}", "touch /pkg/src/begun; sleep 600");
    source(&place, "second");
    let mut child =
        place.command("slow", &[]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("build slow--")), "the build begins");
    // Files that the build itself writes come and go meanwhile.
    let settled = || files(&place).into_iter().filter(|name| !name.contains("/.tmp-"));
    let before: Vec<String> = settled().collect();
    place.run(".", &["clean"]).fails(1).says("a run of mkpanda builds packages of this tree");
    // What would go can be shown.
    assert!(!cleaned(&place, &["--dry-run"]).is_empty());
    assert_eq!(settled().collect::<Vec<_>>(), before);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!cleaned(&place, &[]).is_empty());
}

/// The tree changes while a cleaning waits for a collection, or for a build that begins.
#[test]
fn what_is_needed_is_found_out_when_nobody_builds() {
    use std::os::fd::AsRawFd;
    let place = machine();
    place.run(".", &["tree"]).ok();
    let first = place.archive("p");
    source(&place, "second");
    place.run(".", &["tree"]).ok();
    let second = place.archive("p");
    source(&place, "first");
    let lock = std::fs::File::create(place.home.join("locks/gc")).unwrap();
    #[expect(deprecated, reason = "as mkpanda locks")]
    nix::fcntl::flock(lock.as_raw_fd(), nix::fcntl::FlockArg::LockExclusive).unwrap();
    let mut child =
        place.command(".", &["clean"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("waiting for a collection")), "it waits");
    source(&place, "second");
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert!(second.is_file() && !first.is_file());
}

#[test]
fn gc_names_the_trees_whose_caches_were_filled() {
    let place = machine();
    let ran = place.run(".", &["gc", "--dry-run"]).ok();
    assert!(!ran.stdout.contains("cache of the tree"), "{}", ran.stdout);
    place.run(".", &["fetch"]).ok();
    let ran = place.run(".", &["gc", "--dry-run"]).ok();
    let line = format!("cache of the tree {}", place.packages.display());
    assert!(ran.stdout.contains(&line), "{}", ran.stdout);
    let moved = place.path().join("moved");
    std::fs::rename(place.packages.parent().unwrap(), &moved).unwrap();
    let mut gc = place.command("", &["gc"]);
    gc.current_dir(&moved);
    let ran = crate::support::ran(&gc.output().unwrap()).ok();
    assert!(!ran.stdout.contains("cache of the tree"), "{}", ran.stdout);
}
