//! `mkpanda log`: logs of past builds, and of one that runs.

use std::process::Stdio;
use std::time::Duration;

use crate::interrupt::Gate;
use crate::support::{Place, ran};

#[test]
fn the_log_of_the_last_build_is_shown_whether_it_failed_or_not() {
    let place = Place::new();
    place.package("good", "{}", "echo fine; echo second");
    place.package("bad", "{}", "echo broken >&2; exit 3");
    place.run("good", &[]).ok();
    let failed = place.run("bad", &[]).fails(1).says("hint: the whole log: mkpanda log bad\n");
    assert_eq!(place.run("", &["log", "good"]).ok().stdout, "fine\nsecond\n");
    assert_eq!(place.run("bad", &["log"]).ok().stdout, "broken\n");
    // By the id, by the beginning of one, and by the beginning of a version.
    let id = failed.stderr.split_whitespace().find(|word| word.starts_with("bad--")).unwrap();
    let version = id.strip_prefix("bad--").unwrap();
    for arguments in [&[id][..], &[&id[..12]], &["bad", &version[..6]], &["bad", id]] {
        let shown = place.run("", &[&["log"], arguments].concat()).ok().stdout;
        assert_eq!(shown, "broken\n", "{arguments:?}");
    }
    // Another id: the last build counts, and the first can be named.
    place.package("bad", "{}", "echo mended");
    place.run("bad", &[]).ok();
    assert_eq!(place.run("", &["log", "bad"]).ok().stdout, "mended\n");
    assert_eq!(place.run("", &["log", "bad", &version[..20]]).ok().stdout, "broken\n");
    place.run("", &["log", "bad", ""]).fails(1).says("is the beginning of several ids: bad--");
    place.run("", &["log", "god"]).fails(1).says("hint: did you mean good?\n");
    place.run("", &["log", "bad", "zz"]).fails(1).says("no build of bad zz is known here");
    place.run("", &["log"]).fails(1).says("name one: mkpanda log PACKAGE");
    // The form of a list, and no list.
    place.run("", &["log", "bad", "--format", "json"]).fails(2).says("--list");
    // Nothing at all would look like a fault of the command.
    place.package("silent", "{}", "true");
    place.run("silent", &[]).ok();
    let silent = place.run("", &["log", "silent"]).ok().says("the build silent--");
    assert!(silent.stdout.is_empty() && silent.stderr.ends_with(" has printed nothing\n"));
}

#[test]
fn past_builds_are_listed_the_last_one_first() {
    let place = Place::new();
    assert_eq!(place.run("", &["log", "--list"]).ok().stdout, "");
    place.package("one", "{}", "true");
    place.package("two", "{}", "exit 1");
    place.run("one", &[]).ok();
    place.run("two", &[]).fails(1);
    let text = place.run("", &["log", "--list"]).ok().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("BEGAN ") && lines.len() == 3, "{text}");
    assert!(lines[1].contains("  failed (build)  ") && lines[1].contains("  two--"), "{text}");
    assert!(lines[2].contains("  built  ") && lines[2].contains("  one--"), "{text}");
    let columns: Vec<usize> = lines.iter().map(|line| line.rfind("  ").unwrap()).collect();
    assert!(columns.iter().all(|column| *column == columns[0]), "the columns are aligned: {text}");
    let json = place.run("", &["log", "two", "--list", "--format", "json"]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let builds = json["builds"].as_array().unwrap();
    assert_eq!(builds.len(), 1);
    let two = &builds[0];
    assert_eq!((&two["outcome"], &two["phase"]), (&"failed".into(), &"build".into()), "{json:#}");
    assert!(two["milliseconds"].is_u64() && two["began"].as_u64().unwrap() > 1_600_000_000);
    let log = two["log"].as_str().unwrap();
    assert!(std::fs::metadata(log).unwrap().is_file(), "{log}");
}

#[test]
fn a_running_build_is_followed_to_its_end() {
    let place = Place::new();
    let gate = Gate::new();
    place.package("p", "{}", &format!("echo before; {}; echo after", gate.script()));
    let build = place.command("p", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let build = build.unwrap();
    gate.wait(1);
    let list = place.run("", &["log", "--list"]).ok().stdout;
    assert!(list.contains("  running  "), "{list}");
    assert_eq!(place.run("", &["log", "p"]).ok().stdout, "before\n");
    let follower = place.command("", &["log", "--follow", "p"]).stdout(Stdio::piped()).spawn();
    std::thread::sleep(Duration::from_millis(300));
    gate.open(1);
    ran(&build.wait_with_output().unwrap()).ok();
    let followed = ran(&follower.unwrap().wait_with_output().unwrap()).ok();
    assert!(
        followed.stdout.starts_with("before\n") && followed.stdout.ends_with("after\n"),
        "{followed:?}"
    );
    // Of a build that has ended there is nothing more to come.
    assert_eq!(place.run("", &["log", "-f", "p"]).ok().stdout, followed.stdout);
}

#[test]
fn a_folder_with_variants_alone_is_a_packages() {
    let place = Place::new();
    place.write("only/small.buildinfo.json", "{}");
    let ran = place.run("only", &["log"]).fails(1).says("only");
    assert!(!ran.stderr.contains("mkpanda log PACKAGE"), "{}", ran.stderr);
}
