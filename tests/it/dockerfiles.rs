//! The Dockerfiles of `data/dockerfiles`, built as whoever runs the tests, with whatever isolation there
//! is. `scripts/compare-dockerfiles` compares what comes out with what another builder makes of them.

use std::path::PathBuf;

use crate::inside::{has_no_whiteouts, left_out};
use crate::support::{Place, data};
use crate::tiny::tiny_image;

fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data().join("dockerfiles")).unwrap();
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

#[test]
fn all_build_and_are_found_built_the_second_time() {
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "localhost/tiny", &image]).ok();
    let cases = cases();
    assert!(cases.len() >= 10);
    let mut failed = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let given = std::fs::read_to_string(case.join("arguments")).unwrap_or_default();
        let folder = case.display().to_string();
        let given = given.replace("src=", &format!("src={folder}/"));
        let mut arguments = vec!["image", "build", "--network=none", "-t", &name];
        arguments.extend(given.split_whitespace());
        arguments.push(&folder);
        let first = place.run("", &arguments);
        if has_no_whiteouts(&first) {
            left_out(&format!("the Dockerfile {name}"), "it-root");
            continue;
        }
        let again = place.run("", &arguments);
        if first.code != 0 || again.stdout != first.stdout {
            failed.push(format!("{name}: {}{}{}", first.stderr, first.stdout, again.stdout));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_command_may_say_nothing_for_longer_than_a_lost_helper_is_waited_for() {
    let kind = std::env::var("MKPANDA_TEST_AS").unwrap_or_else(|_| "root".to_owned());
    if kind != "root" {
        return left_out("a minute's sleep in a Dockerfile", "it-root");
    }
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "localhost/tiny", &image]).ok();
    // The second one has a helper that waited.
    place
        .write("context/Dockerfile", "FROM localhost/tiny\nRUN true\nRUN sleep 61; echo > /woke\n");
    let context = place.packages.join("context").display().to_string();
    place.run("", &["image", "build", "--network=none", "-t", "x", &context]).ok();
}
