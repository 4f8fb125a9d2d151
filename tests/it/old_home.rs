//! A home and a mirror as versions before made them (`data/old-home`, `data/old-mirror`): they are still read,
//! without the mark and the keys that came later.

use crate::support::{Place, copy_folder, data};

/// The build of which the old home has log and record.
const ID: &str = "app--0123456789abcdef0123456789abcdef01234567";

fn place() -> Place {
    let place = Place::new();
    copy_folder(&data().join("old-home"), &place.home);
    // A record is written after its log, and a checkout writes files in any order.
    let record = place.home.join("builds/app").join(ID).join("record.json");
    let record = std::fs::File::options().write(true).open(record).unwrap();
    record.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
    place.package("app", "{}", "true");
    place
}

#[test]
fn a_home_of_the_version_before_is_adopted_and_its_records_are_read() {
    let place = place();
    assert_eq!(place.run("", &["log", "app"]).ok().stdout, "one line\nanother one\n");
    let list = place.run("", &["log", "app", "--list", "--format", "json"]).ok().stdout;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let build = &list["builds"][0];
    assert_eq!((&build["id"], &build["milliseconds"]), (&ID.into(), &1500.into()), "{list}");
    assert_eq!(build["outcome"], "built", "{list}");
    // What it unpacked is known by its last use, and stays.
    let unpacked = "3830143a743943b8583672430d7e671bd6ceede294f02ce4244fa258de912574";
    let unpacked = place.home.join("packages").join(unpacked);
    let long_ago =
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::open(&unpacked).unwrap().set_modified(long_ago).unwrap();
    place.run("", &["gc", "--keep-days", "1"]).ok();
    assert!(unpacked.is_dir());
    place.run("app", &[]).ok();
    assert!(place.home.join("mkpanda-home").is_file(), "the home has the mark");
    let said = place.run("", &["explain", "app", "--against", ID]).ok().stdout;
    assert!(said.contains(&format!("against {ID}")), "{said}");
}

#[test]
fn a_mirror_of_the_version_before_is_read() {
    let place = place();
    let mirror = place.path().join("mirror");
    copy_folder(&data().join("old-mirror"), &mirror);
    let mirror = mirror.to_str().unwrap();
    let sha1 = "55ca6286e3e4f4fba5d0448333fa99fc5a404a73";
    let source = format!(
        r#"{{"single_source": {{"kind": "url", "url": "https://example.org/f.txt", "sha1": "{sha1}"}}}}"#
    );
    place.package("app", &source, "cp /pkg/src/app/f.txt $PKG_PATH/");
    place.run("app", &["--offline", "--mirror", mirror]).ok();
    assert_eq!(place.file_of("app", "f.txt"), "hi\n");
    place.run("", &["mirror", "verify", mirror]).ok();
}

#[test]
fn images_of_the_version_before_are_listed_saved_and_kept() {
    let place = place();
    place.run("", &["gc"]).ok();
    let list = place.run("", &["image", "list", "--format", "json"]).ok().stdout;
    assert!(list.contains("old:1") && list.contains("e1a76fd04521"), "{list}");
    let inspected = place.run("", &["image", "inspect", "old:1"]).ok().stdout;
    assert!(inspected.contains("A=old"), "{inspected}");
    let file = place.path().join("old.tar");
    place.run("", &["image", "save", "old:1", "-o", file.to_str().unwrap()]).ok();
    place.run("", &["image", "rm", "old:1"]).ok();
    place.run("", &["image", "load", "--name", "again:1", file.to_str().unwrap()]).ok();
    let list = place.run("", &["image", "list", "--format", "json"]).ok().stdout;
    assert!(!list.contains("old:1") && list.contains("e1a76fd04521"), "{list}");
}
