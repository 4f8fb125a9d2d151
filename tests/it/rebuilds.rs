//! `mkpanda rebuild --check`: building again, and comparing.

use crate::inside::tier;
use crate::support::Place;

#[test]
fn a_planted_time_stamp_is_found_and_named() {
    let place = Place::new();
    place.package("good", "{}", "echo always > $PKG_PATH/text; mkdir $PKG_PATH/in");
    let stamp = "mkdir $PKG_PATH/in; echo \"built at $(date +%s)\" > $PKG_PATH/in/stamp
echo always > $PKG_PATH/text; echo $$ $RANDOM$RANDOM > $PKG_PATH/number";
    place.package("bad", r#"{"requires": ["good"]}"#, stamp);
    place.run("", &["rebuild", "bad", "--check"]).fails(1).says("bad--").says("not in the cache");
    place.run("bad", &[]).ok();
    let archive = std::fs::read(place.archive("bad")).unwrap();
    let again = place.run("", &["rebuild", "good", "--check"]).ok();
    assert!(again.stdout.contains(": the same bytes again\n"), "{}", again.stdout);

    // The clock of the build has seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = place.run("", &["rebuild", "good", "bad", "--check"]).fails(1);
    let again = again.says("1 package is not the same when it is built again");
    let lines: Vec<&str> = again.stdout.lines().collect();
    assert!(lines[0].ends_with(": the same bytes again"), "{lines:#?}");
    assert!(lines[1].starts_with("bad--") && lines[1].contains("2 of "), "{lines:#?}");
    let stamp = lines.iter().position(|line| line.starts_with("  ./in/stamp differs")).unwrap();
    assert!(lines[stamp].contains("built at 1"), "{lines:#?}");
    assert!(lines[stamp + 1].contains("likely cause: the time of the build"), "{lines:#?}");
    let number = lines.iter().position(|line| line.starts_with("  ./number differs")).unwrap();
    assert!(lines[number + 1].contains("likely cause: a random number"), "{lines:#?}");
    assert!(!again.stdout.contains("./text"), "{lines:#?}");

    // Nothing is built before all packages are looked for, and a log stays.
    place.package("never", "{}", "true");
    let refused = place.run("", &["rebuild", "good", "never", "--check"]).fails(1);
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
    refused.says("never--").says("not in the cache");

    // The cache has what it had.
    assert_eq!(std::fs::read(place.archive("bad")).unwrap(), archive);
    place.run("", &["rebuild", "bad"]).fails(2).says("--check");
    place.assert_clean();
}

#[test]
fn the_log_of_a_build_that_fails_again_is_kept() {
    let place = Place::new();
    // What differs is in no id.
    place.package("p", "{}", "cat /pkg/build/note; [[ $(< /pkg/build/note) == good ]]");
    let note = place.write("p/note", "good\n");
    place.run("p", &[]).ok();
    let archive = place.archive("p");
    let bytes = std::fs::read(&archive).unwrap();
    std::fs::write(note, "bad news\n").unwrap();
    let failed = place.run("", &["rebuild", "p", "--check"]).fails(1);
    let failed = failed.says("exited with code 1").says("| bad news");
    let id = archive.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.xz").unwrap();
    let kept = place.home.join("builds/p").join(id);
    assert_eq!(std::fs::read_to_string(kept.join("rebuild.log")).unwrap(), "bad news\n");
    assert_eq!(std::fs::read_to_string(kept.join("log")).unwrap(), "good\n");
    failed.says(&kept.join("rebuild.log").display().to_string());
    assert_eq!(std::fs::read(&archive).unwrap(), bytes);
    place.assert_clean();
}

#[test]
fn a_package_is_built_again_in_the_other_tier() {
    let place = Place::new();
    place.package("p", "{}", "echo always > $PKG_PATH/text");
    place.run("p", &[]).ok();
    let arguments = ["rebuild", "p", "--check", "--isolation", "single"];
    // Real root has ranges only.
    if tier() == "ranges" && nix::unistd::geteuid().is_root() {
        place.run("", &arguments).fails(75).says("single");
        return;
    }
    let again = place.run("", &arguments).ok();
    assert!(again.stdout.ends_with(": the same bytes again\n"), "{}", again.stdout);
    place.assert_clean();
}

#[test]
fn without_a_network_the_sources_that_are_missing_are_listed_before_a_build() {
    let place = Place::new();
    let source = place.path().join("file");
    std::fs::write(&source, "text\n").unwrap();
    let sum = crate::support::sha1(b"text\n");
    let url = "http://127.0.0.1:9/file";
    let info = serde_json::json!({"single_source": {"kind": "url", "url": url, "sha1": sum}});
    place.package("p", &info.to_string(), "true");
    let cached = place.packages.join("cache/packages/p/p/file");
    std::fs::create_dir_all(cached.parent().unwrap()).unwrap();
    std::fs::copy(source, &cached).unwrap();
    place.run("p", &[]).ok();
    std::fs::remove_file(cached).unwrap();
    // The package itself is there.
    place.run("p", &["--offline"]).ok();
    let job = place.path().join("job").display().to_string();
    for command in [["rebuild", "p", "--check"].as_slice(), &["job", "export", "p", &job]] {
        let arguments = [command, &["--offline"]].concat();
        place.run("", &arguments).fails(1).says("p/p").says("mkpanda mirror create");
    }
}
