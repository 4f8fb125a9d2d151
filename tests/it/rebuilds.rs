//! `mkpanda rebuild --check`: building again, and comparing.

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
