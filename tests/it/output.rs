//! What a person sees: plain lines, quiet, verbose, a terminal, colours.

use std::io::Read;
use std::os::fd::OwnedFd;

use crate::support::Place;

#[test]
fn quiet_says_warnings_and_errors_alone() {
    let place = Place::new();
    place.package("p", r#"{"group": "users"}"#, "");
    let ran = place.run("p", &["-q"]).ok();
    assert!(ran.stderr.starts_with("warning: ") && !ran.stderr.contains("built"), "{}", ran.stderr);
    place.package("p", "{}", "");
    let ran = place.run("p", &["--quiet"]).ok();
    assert_eq!(ran.stderr, "");
    place.package("p", "{}", "exit 1");
    place.run("p", &["-q"]).fails(1).says("error: p--");
}

#[test]
fn progress_is_a_line_for_each_thing_that_happened() {
    let place = Place::new();
    place.package("p", "{}", "");
    let ran = place.run("p", &[]).ok();
    // What came of it is data.
    let path = place.archive("p").canonicalize().unwrap();
    assert_eq!(ran.stdout, format!("<default>:{}\n", path.display()));
    assert!(ran.stderr.starts_with("isolation: "), "{}", ran.stderr);
    assert_eq!(
        place.generic(&ran.stderr),
        "   build p--<sha1>
   built p--<sha1> in N s"
    );
    assert!(!ran.stderr.contains('\u{1b}'));
    place.package("p", "{}", "true");
    place.run("p", &["-vv"]).ok().says("built p--");
}

/// Runs with a terminal as stderr; gives the exit code and all that was written to it.
fn on_a_terminal(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = nix::pty::openpty(Some(&size), None).unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        let mut master = std::fs::File::from(terminal.master);
        // The end of a terminal is an error.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let slave: OwnedFd = terminal.slave;
    let mut command = place.command("p", arguments);
    command.env("TERM", "xterm").envs(variables.iter().copied()).stderr(slave);
    let status = command.status().unwrap();
    // The command holds the other end open.
    drop(command);
    (status.code().unwrap(), reader.join().unwrap())
}

#[test]
fn a_terminal_shows_what_runs_and_ends_clean() {
    let place = Place::new();
    place.package("p", "{}", "sleep 0.5");
    let (code, text) = on_a_terminal(&place, &[], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("   built p--"), "{text}");
    assert!(text.contains("build  ") && text.contains("0 of 1"), "live lines: {text:?}");
    place.package("p", "{}", "sleep 0.3");
    let (_, text) = on_a_terminal(&place, &[], &[("NO_COLOR", "1")]);
    assert!(text.contains("\u{1b}[2K") && !text.contains("\u{1b}[1m"), "no colours: {text:?}");
    place.package("p", "{}", "true");
    let (_, plain) = on_a_terminal(&place, &["--progress", "plain"], &[]);
    assert!(!plain.contains('\u{1b}') && plain.contains("   built p--"), "{plain:?}");
    let (_, dumb) = on_a_terminal(&place, &[], &[("TERM", "dumb")]);
    assert!(!dumb.contains('\u{1b}'), "{dumb:?}");
    // Drawn although it is no terminal: it may be one that isn't known as such.
    place.package("p", "{}", "true 2");
    place.run("p", &["--progress=tty"]).ok().says("built p--");
}

/// JSON lines without what differs from run to run.
fn generic_json(place: &Place, text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut object: serde_json::Value = serde_json::from_str(line).expect(line);
        for key in ["at", "seconds"] {
            if let Some(value) = object.get_mut(key) {
                assert!(value.is_number(), "{line}");
                *value = "N".into();
            }
        }
        if let Some(longest) = object.get_mut("longest") {
            *longest = longest.as_array().unwrap().len().into();
        }
        if object["event"] != "note" {
            lines.push(place.generic(&object.to_string()));
        }
    }
    lines.join("\n")
}

#[test]
fn programs_get_an_object_per_line_for_all_that_is_said() {
    let mut place = Place::new();
    place.package("good", "{}", "");
    place.package("odd", r#"{"group": "users"}"#, "");
    place.package("bad", r#"{"requires": ["good"]}"#, "echo said; exit 3");
    place.package("last", r#"{"requires": ["bad"]}"#, "");
    place.write("treeinfo.json", "{}");
    let first =
        place.run(".", &["tree", "-j1", "-v", "--keep-going", "--progress", "json"]).fails(1);
    assert!(first.stderr.contains(r#"{"event":"trace","at":"#), "{}", first.stderr);
    let ran = place.run(".", &["tree", "-j1", "--progress", "json"]).fails(1);
    insta::assert_snapshot!(generic_json(&place, &ran.stderr), @r#"
    {"at":"N","event":"start","format":1,"mkpanda":"0.1.0"}
    {"at":"N","event":"warning","hints":["add a username, or take the group out"],"message":"<place>/tree/packages/odd/buildinfo.json:1:11: a group without a username: the package builds, but can't be activated or required\n   |\n 1 | {\"group\": \"users\"}\n   |           ^","subject":null}
    {"at":"N","cached":2,"event":"plan","expected_seconds":null,"jobs":1,"packages":2,"unknown":2}
    {"at":"N","event":"phase","id":"bad--<sha1>","phase":"fetch"}
    {"at":"N","event":"phase","id":"bad--<sha1>","phase":"prepare"}
    {"at":"N","event":"phase","id":"bad--<sha1>","phase":"build"}
    {"at":"N","event":"failed","id":"bad--<sha1>","log":"<place>/home/builds/bad/bad--<sha1>/log","phase":"build","seconds":"N"}
    {"at":"N","built":0,"cached":2,"downloaded_bytes":0,"event":"summary","failed":1,"fetched":0,"longest":1,"not_built":1,"result":"failed","seconds":"N","sources":{"cache":0,"local":0,"mirror":0,"network":0}}
    {"at":"N","because":"bad--<sha1>","event":"skipped","id":"last--<sha1>"}
    {"at":"N","event":"error","hints":["the whole log: mkpanda log bad","to look around in what it leaves, add --keep-failed to the command, and then: mkpanda shell bad --failed"],"id":"bad--<sha1>","log":"<place>/home/builds/bad/bad--<sha1>/log","message":"bad--<sha1> failed (build): the build script exited with code 3","tail":["said"]}
    "#);
    place.variables.push(("MKPANDA_PROGRESS".to_owned(), "json".to_owned()));
    place.package("bad", r#"{"requires": ["good"]}"#, "");
    place.run(".", &["tree"]).ok();
    let ran = place.run(".", &["tree"]).ok();
    insta::assert_snapshot!(generic_json(&place, &ran.stderr), @r#"
    {"at":"N","event":"start","format":1,"mkpanda":"0.1.0"}
    {"at":"N","event":"warning","hints":["add a username, or take the group out"],"message":"<place>/tree/packages/odd/buildinfo.json:1:11: a group without a username: the package builds, but can't be activated or required\n   |\n 1 | {\"group\": \"users\"}\n   |           ^","subject":null}
    {"at":"N","built":0,"cached":4,"downloaded_bytes":0,"event":"summary","failed":0,"fetched":0,"longest":0,"not_built":0,"result":"done","seconds":"N","sources":{"cache":0,"local":0,"mirror":0,"network":0}}
    "#);
    let ran = place.run("good", &["-q"]).ok();
    insta::assert_snapshot!(generic_json(&place, &ran.stderr), @"");
    let ran = place.run(".", &["-C", "nowhere"]);
    insta::assert_snapshot!(generic_json(&place, &ran.stderr), @r#"
    {"at":"N","event":"start","format":1,"mkpanda":"0.1.0"}
    {"at":"N","event":"error","hints":[],"id":null,"log":null,"message":"can't work in nowhere: nowhere does not exist","tail":[]}
    "#);
}

#[test]
fn a_run_of_several_packages_ends_with_a_summary() {
    let place = Place::new();
    place.package("one", "{}", "");
    place.package("two", r#"{"requires": ["one"]}"#, "");
    place.write("treeinfo.json", "{}");
    let summary = |ran: &crate::support::Ran| {
        let text = place.generic(&ran.stderr);
        text.split_once("    done ").map_or("", |(_, summary)| summary).trim_end().to_owned()
    };
    assert_eq!(summary(&place.run(".", &["tree"]).ok()), "2 built in N s");
    let nothing = "nothing to build: 2 packages are in the cache";
    assert_eq!(summary(&place.run(".", &["tree"]).ok()), nothing);
    assert_eq!(place.run(".", &["tree", "-q"]).ok().stderr, "");
    place.package("three", r#"{"requires": ["one"]}"#, "");
    assert_eq!(summary(&place.run("three", &[]).ok()), "", "a single package's line says it all");
}

#[test]
fn errors_are_red_unless_colours_are_not_wanted() {
    let place = Place::new();
    place.package("p", r#"{"nonsense": 1}"#, "");
    let (code, text) = on_a_terminal(&place, &[], &[]);
    assert_eq!(code, 1);
    assert!(text.contains("\u{1b}[1;31merror\u{1b}[0m: "), "{text:?}");
    let (_, text) = on_a_terminal(&place, &[], &[("NO_COLOR", "1")]);
    assert!(text.starts_with("error: "), "{text:?}");
}

#[test]
fn a_log_and_a_record_are_kept_of_each_build() {
    let place = Place::new();
    place.package("p", "{}", "echo to stdout; echo to stderr >&2; echo again > /dev/stdout; echo twice | tee /dev/stderr");
    place.run("p", &[]).ok();
    let archive = place.archive("p");
    let id = archive.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.xz").unwrap();
    let folder = place.home.join("builds/p").join(id);
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!(log, "to stdout\nto stderr\nagain\ntwice\ntwice\n");
    let record = std::fs::read_to_string(folder.join("record.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let bytes = std::fs::read(&archive).unwrap();
    assert!(record.to_string().contains(&crate::support::sha256(&bytes)), "{record}");
    // A failure has both, too, and the next build of that id starts a new log.
    place.package("p", "{}", "cat /pkg/build/say; exit 1");
    place.write("p/say", "first\n");
    let ran = place.run("p", &[]).fails(1).says("  | first\n");
    let log = ran.stderr.lines().find_map(|line| line.trim().strip_prefix("log: ")).unwrap();
    place.write("p/say", "second\n");
    place.run("p", &[]).fails(1);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "second\n");
}
