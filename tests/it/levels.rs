//! Levels of compression: recorded, without effect on ids, and for this machine alone.

use std::path::Path;

use crate::release::Releases;
use crate::support::{Place, Ran, files_below};
use crate::tree::built;

/// A package that compresses, as a tree.
fn machine() -> Place {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    let script = "for n in 1 2 3 4 5 6 7 8 9; do\n\
                  for m in 1 2 3 4 5 6 7 8 9; do echo $n$m of $m$n is $n; done\n\
                  done > $PKG_PATH/text";
    place.package("text", "{}", script);
    place
}

fn record(place: &Place) -> serde_json::Value {
    let files = files_below(&place.home.join("builds"));
    let record = files.into_iter().find(|path| path.ends_with("record.json")).unwrap();
    serde_json::from_str(&std::fs::read_to_string(record).unwrap()).unwrap()
}

fn built_at(place: &Place, options: &[&str]) -> (String, Vec<u8>) {
    let ran: Ran = place.run(".", &[&["tree"], options].concat()).ok();
    assert_eq!(built(&ran.stderr).len(), 1, "{}", ran.stderr);
    let archive = place.archive("text");
    (archive.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(archive).unwrap())
}

#[test]
fn a_level_changes_the_bytes_alone_and_is_recorded() {
    let (plain, fast, small) = (machine(), machine(), machine());
    let (name, bytes) = built_at(&plain, &[]);
    fast.configure_first("compression = \"fast\"\n");
    let (fast_name, fast_bytes) = built_at(&fast, &[]);
    let (small_name, small_bytes) = built_at(&small, &["--compression=small"]);
    assert_eq!((&fast_name, &small_name), (&name, &name));
    assert!(fast_bytes != bytes && small_bytes != bytes && fast_bytes != small_bytes);
    let level = |place: &Place| record(place)["ending"]["built"]["compression"].clone();
    assert_eq!(level(&plain), serde_json::Value::Null);
    assert_eq!((level(&fast), level(&small)), ("fast".into(), "small".into()));
}

#[test]
fn only_the_default_level_leaves_the_machine() {
    let place = machine();
    let cache = place.path().join("cache");
    let option = format!("--cache={}", cache.display());
    let stored = |cache: &Path| cache.join("packages/text").exists();
    let ran = place.run(".", &["tree", "--compression=fast", &option]).ok();
    let remedy = format!("remove {} and build again", place.archive("text").display());
    ran.says("not sent: it was compressed with --compression=fast").says(&remedy);
    assert!(!stored(&cache));
    let push = ["cache", "push", cache.to_str().unwrap()];
    place.run(".", &push).fails(1).says("--compression=fast, for this machine alone").says(&remedy);
    // The remedy is one.
    std::fs::remove_file(place.archive("text")).unwrap();
    place.run(".", &["tree", "--compression=default"]).ok();
    place.run(".", &push).ok();
    assert!(stored(&cache));
}

#[test]
fn a_release_refuses_packages_of_other_levels() {
    let releases = Releases::new();
    releases.place.run(".", &["tree", "--compression=fast"]).ok();
    let ran = releases.run(&["create", "master", "1.0", "default"]).fails(1);
    ran.says("was compressed with --compression=fast, for this machine alone")
        .says("and build again with --compression=default");
    assert!(!releases.folder("main").join("testing").exists());
}
