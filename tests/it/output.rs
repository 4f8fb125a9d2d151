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
    assert_eq!(ran.stdout, format!("{}\n", place.archive("p").canonicalize().unwrap().display()));
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
    assert!(text.contains("build   p--"), "a live line: {text:?}");
    place.package("p", "{}", "true");
    let (_, plain) = on_a_terminal(&place, &["--progress", "plain"], &[]);
    assert!(!plain.contains('\u{1b}') && plain.contains("   built p--"), "{plain:?}");
    // Drawn although it is no terminal: it may be one that isn't known as such.
    place.package("p", "{}", "true 2");
    place.run("p", &["--progress=tty"]).ok().says("built p--");
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
