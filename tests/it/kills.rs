//! `kill -9` at each system call by which `pkgpanda` changes a file: what comes next finds the set before or
//! the one after, whole, and nothing else. The same calls with errors: what fails changes nothing.
//!
//! As root all of them are tried; a run as somebody else, who takes the same way, tries every fifth.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::inside::left_out;
use crate::pkgpanda::{Machine, listing};
use crate::support::copy_folder;

/// What changes files. Of `openat` only what makes or empties a file is meant.
const CHANGING: &[&str] = &[
    "openat",
    "write",
    "pwrite64",
    "writev",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "fchownat",
    "lchown",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "utimensat",
    "fsync",
    "fdatasync",
    "syncfs",
    "ioctl",
    "mknod",
    "mknodat",
    "setxattr",
    "fsetxattr",
];

/// A system call of a run: its name, and which of that name it is, from 1.
pub(crate) type Point = (String, usize);

/// `strace` with some options before the command.
fn traced(machine: &Machine, arguments: &[&str], options: &[&str]) -> Command {
    traced_command(&machine.command(arguments), options)
}

pub(crate) fn traced_command(plain: &Command, options: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(options).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(plain.get_current_dir().unwrap()).env_clear();
    let variables = plain.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.envs(variables).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The points of a run at which it changes something, on a copy of the machine.
pub(crate) fn points(machine: &Machine, arguments: &[&str]) -> Vec<Point> {
    let log = machine.path("strace.log");
    let set = format!("trace={}", CHANGING.join(","));
    let ended = traced(
        machine,
        arguments,
        &["-f", "-qq", "-s", "0", "-e", &set, "-o", log.to_str().unwrap()],
    )
    .status()
    .unwrap();
    assert!(ended.success(), "{arguments:?}");
    let (mut counts, mut found, mut processes) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let Some((process, call)) = line.split_once(char::is_whitespace) else { continue };
        let Some((name, rest)) = call.trim_start().split_once('(') else { continue };
        if !CHANGING.contains(&name) {
            continue;
        }
        processes.insert(process.to_owned());
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let changes = name != "openat"
            || ["O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| rest.contains(flag));
        if changes && processes.len() == 1 {
            found.push((name.to_owned(), *count));
        }
    }
    assert!(found.len() > 3, "{arguments:?} changes next to nothing: {found:?}");
    let is_sample = std::env::var("MKPANDA_TEST_AS").is_ok_and(|kind| kind != "root");
    let last = found.len() - 1;
    let chosen = found.into_iter().enumerate();
    let chosen = chosen.filter(|(at, _)| !is_sample || at % 5 == 0 || *at == last);
    chosen.map(|(_, point)| point).collect()
}

/// Runs a command that is killed when it comes to a point; whether it was.
fn killed(machine: &Machine, arguments: &[&str], (name, count): &Point) -> bool {
    let injected = format!("inject={name}:signal=KILL:when={count}");
    let traced_call = format!("trace={name}");
    let mut command =
        traced(machine, arguments, &["-f", "-qq", "-e", &traced_call, "-e", &injected]);
    !command.status().unwrap().success()
}

/// A machine like another one: its folders, copied below the same path.
pub(crate) fn restore(machine: &Machine, kept: &Path) {
    for name in ["root", "repo", "conf", "state"] {
        drop(std::fs::remove_dir_all(machine.path(name)));
        if kept.join(name).exists() {
            copy_folder(&kept.join(name), &machine.path(name));
        }
    }
}

pub(crate) fn keep(machine: &Machine, kept: &Path) {
    for name in ["root", "repo", "conf", "state"] {
        if machine.path(name).exists() {
            copy_folder(&machine.path(name), &kept.join(name));
        }
    }
}

/// What counts of a machine: all but what `rollback` goes back to.
pub(crate) fn counts(machine: &Machine) -> Vec<String> {
    let mut lines = machine.live();
    for name in ["repo", "state"] {
        if machine.path(name).exists() {
            lines.extend(listing(&machine.path(name)).iter().map(|line| format!("{name}/{line}")));
        }
    }
    // Where the rollback leads to is not what is active; a folder for records may be empty.
    let folders = ["repo/.pkgpanda/", "repo/.pkgpanda/files/"];
    let is_more = |line: &String| {
        folders.contains(&line.as_str())
            || line.starts_with("state/.pkgpanda/")
            // The file that is locked stays.
            || line.ends_with(".pkgpanda.lock ")
    };
    lines.retain(|line| !is_more(line));
    lines
}

/// Kills a command at each point, has `recover` run, and looks at what is there.
fn survives(machine: &Machine, command: &[&str], recover: &[&str]) {
    if cannot_trace() {
        return left_out("kills at each system call (strace may not trace here)", "it-root");
    }
    let kept = tempfile::tempdir().unwrap();
    keep(machine, kept.path());
    machine.run(recover).ok();
    let before = counts(machine);
    let points = points(machine, command);
    machine.run(recover).ok();
    let after = counts(machine);
    assert_ne!(before, after, "{command:?} changes nothing");
    let (mut befores, mut afters) = (0, 0);
    for point in &points {
        restore(machine, kept.path());
        assert!(killed(machine, command, point), "{command:?} comes to no {point:?}");
        machine.run(recover).ok();
        let now = counts(machine);
        if now == before {
            befores += 1;
        } else {
            assert_eq!(now, after, "{command:?}, killed at {point:?}");
            afters += 1;
        }
        // What was cut off can be done.
        machine.run(command).ok();
        machine.run(recover).ok();
        assert_eq!(counts(machine), after, "{command:?} again, killed at {point:?}");
    }
    assert!(
        befores > 0 && afters > 0,
        "{command:?}: {befores} times the set before, {afters} the one after"
    );
}

pub(crate) fn cannot_trace() -> bool {
    let tried = Command::new("strace")
        .args(["-qq", "-e", "trace=none", "/bin/true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    !tried.expect("strace is missing; run: scripts/test prepare").success()
}

#[test]
fn a_first_activation_survives() {
    let machine = Machine::with_two_sets();
    survives(&machine, &["activate", "a--1", "s--1"], &["setup"]);
}

#[test]
fn an_activation_over_another_set_survives() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    survives(&machine, &["activate", "a--2", "b--1"], &["setup"]);
}

/// Of the set before the next one takes what it has, and of the active one the links that it lacks.
pub(crate) fn with_something_of_each() -> Machine {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--2", "b--1"]).ok();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    machine
}

#[test]
fn an_activation_out_of_the_set_before_survives() {
    let machine = with_something_of_each();
    survives(&machine, &["activate", "a--1", "b--1"], &["setup"]);
}

/// Has a system call of a command fail: the machine is as it was, or the command came to its end, or says
/// what is left to do.
fn withstands(machine: &Machine, command: &[&str]) {
    if cannot_trace() {
        return left_out("errors at each system call (strace may not trace here)", "it-root");
    }
    let kept = tempfile::tempdir().unwrap();
    keep(machine, kept.path());
    let before = counts(machine);
    let points = points(machine, command);
    let after = counts(machine);
    let errors =
        [("ENOSPC", "No space left"), ("EROFS", "Read-only"), ("EIO", "Input/output error")];
    let (mut failed, mut left) = (0, 0);
    for ((name, count), (error, text)) in points.iter().zip(errors.iter().cycle()) {
        restore(machine, kept.path());
        let (call, injected) =
            (format!("trace={name}"), format!("inject={name}:error={error}:when={count}"));
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", &call, "-e", &injected];
        let mut run = traced(machine, command, &options);
        let ran = crate::support::ran(&run.stderr(Stdio::piped()).output().unwrap());
        let point = format!("{command:?} with {error} at {name} {count}: {}", ran.stderr);
        let now = counts(machine);
        match ran.code {
            0 => assert_eq!(now, after, "{point}"),
            1 if now == before => {
                assert!(ran.stderr.contains(text), "{point}");
                failed += 1;
            }
            // The very end, at which there is no way back.
            1 => {
                assert!(ran.stderr.contains(text), "{point}");
                machine.run(&["setup"]).ok();
                assert_eq!(counts(machine), after, "{point}");
                left += 1;
            }
            code => panic!("{point}: {code}"),
        }
    }
    assert!(failed > points.len() / 3, "{failed} of {} failed", points.len());
    assert!(left < 8, "after {left} errors something was left to do");
}

#[test]
fn an_activation_that_fails_changes_nothing() {
    withstands(&with_something_of_each(), &["activate", "a--1", "b--1"]);
}

#[test]
fn an_addition_that_fails_changes_nothing() {
    let machine = Machine::with_two_sets();
    let archive = machine.offer("n--1", "{}", &["bin/n", "etc/n/one"]);
    withstands(&machine, &["add", archive.to_str().unwrap()]);
}

#[test]
fn a_swap_survives() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--2", "b--1"]).ok();
    machine.run(&["activate", "a--1", "b--1"]).ok();
    survives(&machine, &["swap", "a--2"], &["setup"]);
}

#[test]
fn a_setup_survives() {
    let machine = Machine::with_two_sets();
    machine.write("root/bootstrap", "");
    machine.write("conf/setup-flags/active.json", r#"["a--1", "s--1"]"#);
    // What was cut off is what is done again.
    survives_setup(&machine);
}

/// `setup` is its own recovery: it always comes to its end.
fn survives_setup(machine: &Machine) {
    if cannot_trace() {
        return left_out("kills at each system call (strace may not trace here)", "it-root");
    }
    let kept = tempfile::tempdir().unwrap();
    keep(machine, kept.path());
    let points = points(machine, &["setup"]);
    let after = counts(machine);
    for point in &points {
        restore(machine, kept.path());
        assert!(killed(machine, &["setup"], point), "it comes to no {point:?}");
        machine.run(&["setup"]).ok();
        assert_eq!(counts(machine), after, "killed at {point:?}");
    }
}

#[test]
fn the_recovery_survives() {
    if cannot_trace() {
        return left_out("kills at each system call (strace may not trace here)", "it-root");
    }
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    let whole = tempfile::tempdir().unwrap();
    keep(&machine, whole.path());
    let change = ["activate", "a--2", "b--1"];
    let renames: Vec<Point> = points(&machine, &change);
    machine.run(&["setup"]).ok();
    let after = counts(&machine);
    let renames: Vec<&Point> =
        renames.iter().filter(|(name, _)| name.starts_with("rename")).collect();
    for first in [&renames[renames.len() / 2], &renames[renames.len() * 4 / 5]] {
        restore(&machine, whole.path());
        assert!(killed(&machine, &change, first));
        let cut = tempfile::tempdir().unwrap();
        keep(&machine, cut.path());
        for second in &points(&machine, &["setup"]) {
            restore(&machine, cut.path());
            assert!(killed(&machine, &["setup"], second), "{first:?}, {second:?}");
            machine.run(&["setup"]).ok();
            assert_eq!(counts(&machine), after, "killed at {first:?}, then at {second:?}");
        }
    }
}

#[test]
fn a_rollback_survives() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--2", "b--1"]).ok();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    if cannot_trace() {
        return left_out("kills at each system call (strace may not trace here)", "it-root");
    }
    let kept = tempfile::tempdir().unwrap();
    keep(&machine, kept.path());
    let before = counts(&machine);
    let points = points(&machine, &["rollback"]);
    let after = counts(&machine);
    assert_ne!(before, after);
    for point in &points {
        restore(&machine, kept.path());
        assert!(killed(&machine, &["rollback"], point), "it comes to no {point:?}");
        machine.run(&["setup"]).ok();
        let now = counts(&machine);
        assert!(now == before || now == after, "killed at {point:?}: {now:#?}");
    }
}

#[test]
fn an_added_package_is_whole_or_not_there() {
    let machine = Machine::with_two_sets();
    let archive = machine.offer("n--1", "{}", &["bin/n", "etc/n/one"]);
    survives(&machine, &["add", archive.to_str().unwrap()], &["setup"]);
}

#[test]
fn an_uninstallation_can_be_done_again() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    if cannot_trace() {
        return left_out("kills at each system call (strace may not trace here)", "it-root");
    }
    let kept = tempfile::tempdir().unwrap();
    keep(&machine, kept.path());
    for point in &points(&machine, &["uninstall"]) {
        restore(&machine, kept.path());
        assert!(killed(&machine, &["uninstall"], point), "it comes to no {point:?}");
        machine.run(&["uninstall"]).ok();
        assert!(!machine.path("root").exists(), "killed at {point:?}");
        assert!(machine.path("repo/a--1/pkginfo.json").exists());
    }
}
