//! Errors at each system call of a fetch, whose threads do the work, and a signal at each of what changes
//! something: what is half-done is taken back at once, and the next run works.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use crate::inside::left_out;
use crate::kills::{
    cannot_trace, counts, keep, points, restore, traced_command, with_something_of_each,
};
use crate::pkgpanda::Machine;
use crate::support::{Ran, ran};

/// What may fail while packages are fetched.
const FAILING: [&str; 9] = [
    "openat",
    "write",
    "copy_file_range",
    "rename",
    "fsync",
    "fdatasync",
    "syncfs",
    "mkdirat",
    "ftruncate",
];

const ERRORS: [(&str, &str); 2] = [("ENOSPC", "No space left"), ("EIO", "Input/output error")];

/// What is fetched, in the order in which it is asked for.
const PACKAGES: [&str; 2] = ["n--1", "o--1"];

/// `strace` counts for each thread by itself. So that what the loader opens, and what is said in the end, doesn't
/// fail with what a thread opens and writes, the process that becomes the command opens and writes more before.
const CALLS_BEFORE: usize = 100;

fn fetch(machine: &Machine, ids: &[&str]) -> Command {
    let url = machine.url();
    let plain = machine.command(&[&["fetch", "--repository-url", &url], ids].concat());
    let calls = format!(
        "i=0; while [ $i -lt {CALLS_BEFORE} ]; do echo > /dev/null; i=$((i + 1)); done 2> /dev/null; exec \"$@\""
    );
    let mut command = Command::new("busybox");
    command.args(["sh", "-c", &calls, "sh"]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(plain.get_current_dir().unwrap()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn run(command: &mut Command) -> Ran {
    ran(&command.stderr(Stdio::piped()).output().unwrap())
}

/// How often a thread makes each of these calls, at the most.
fn calls(machine: &Machine) -> BTreeMap<String, usize> {
    let log = machine.path("strace.log");
    let set = format!("trace={}", FAILING.join(","));
    let options = ["-f", "-qq", "-s", "0", "-e", &set, "-o", log.to_str().unwrap()];
    run(&mut traced_command(&fetch(machine, &PACKAGES), &options)).ok();
    let text = std::fs::read_to_string(log).unwrap();
    let mut found: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if name.starts_with('<') {
            // The end of a call that was cut in two.
            continue;
        }
        *found.entry((thread, name)).or_default() += 1;
    }
    let (main, _) = text.split_once(char::is_whitespace).unwrap();
    let mut most = BTreeMap::new();
    for ((thread, name), count) in found {
        if thread != main {
            let entry = most.entry(name.to_owned()).or_default();
            *entry = count.max(*entry);
        }
    }
    assert!(most.values().all(|most| *most < CALLS_BEFORE) && most.len() > 4, "{most:?}");
    most
}

fn is_sample() -> bool {
    std::env::var("MKPANDA_TEST_AS").is_ok_and(|kind| kind != "root")
}

#[test]
fn a_fetch_that_fails_leaves_whole_packages_and_nothing_else() {
    if cannot_trace() {
        return left_out("errors at each system call (strace may not trace here)", "it-root");
    }
    let machine = Machine::with_two_sets();
    for id in PACKAGES {
        machine.offer(id, "{}", &["bin/file", "etc/file"]);
    }
    let kept = tempfile::tempdir().unwrap();
    keep(&machine, kept.path());
    let mut whole = BTreeSet::new();
    for ids in [&PACKAGES[..0], &PACKAGES[..1], &PACKAGES[1..], &PACKAGES[..]] {
        restore(&machine, kept.path());
        if !ids.is_empty() {
            run(&mut fetch(&machine, ids)).ok();
        }
        whole.insert(counts(&machine));
    }
    let all = counts(&machine);
    restore(&machine, kept.path());
    let calls = calls(&machine);
    let points = calls.iter().flat_map(|(name, most)| (1..=*most).map(move |count| (name, count)));
    let points = points.enumerate().filter(|(at, _)| !is_sample() || at % 5 == 0);
    let (mut failed, mut tried) = (0, 0);
    for (at, (name, count)) in points {
        let (error, text) = ERRORS[at % ERRORS.len()];
        restore(&machine, kept.path());
        let (call, injected) =
            (format!("trace={name}"), format!("inject={name}:error={error}:when={count}"));
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", &call, "-e", &injected];
        let ran = run(&mut traced_command(&fetch(&machine, &PACKAGES), &options));
        let point = format!("{error} at {name} {count}: {}", ran.stderr);
        let now = counts(&machine);
        tried += 1;
        match ran.code {
            0 => assert_eq!(now, all, "{point}"),
            1 => {
                let named = PACKAGES.iter().any(|id| ran.stderr.contains(id))
                    || ran.stderr.contains(machine.path("repo").to_str().unwrap());
                assert!(ran.stderr.contains(text) && named, "{point}");
                assert!(whole.contains(&now), "{point}: {now:#?}");
                failed += 1;
            }
            code => panic!("{point}: {code}"),
        }
        run(&mut fetch(&machine, &PACKAGES)).ok();
        assert_eq!(counts(&machine), all, "{point}");
    }
    assert!(failed > tried / 2, "{failed} of {tried} failed");
}

/// Sends a signal at every other point: the command takes back what it has begun, or comes to its end.
fn takes_back(machine: &Machine, command: &[&str]) {
    takes_back_to(machine, command, &[], 2);
}

/// The same, where what was fetched before stays.
fn takes_back_to(machine: &Machine, command: &[&str], fetched: &[&str], step: usize) {
    if cannot_trace() {
        return left_out("signals at each system call (strace may not trace here)", "it-root");
    }
    let kept = tempfile::tempdir().unwrap();
    keep(machine, kept.path());
    let before = [counts(machine), {
        if !fetched.is_empty() {
            machine.run(fetched).ok();
        }
        counts(machine)
    }];
    restore(machine, kept.path());
    let points = points(machine, command);
    let after = counts(machine);
    let (mut backs, mut ends) = (0, 0);
    for (at, (name, count)) in points.iter().enumerate().step_by(step) {
        restore(machine, kept.path());
        let signal = ["INT", "TERM"][at / step % 2];
        let (call, injected) =
            (format!("trace={name}"), format!("inject={name}:signal={signal}:when={count}"));
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", &call, "-e", &injected];
        let ran = run(&mut traced_command(&machine.command(command), &options));
        let point = format!("{command:?} with {signal} at {name} {count}: {}", ran.stderr);
        let now = counts(machine);
        match ran.code {
            0 => assert_eq!(now, after, "{point}"),
            130 => {
                assert!(ran.stderr.contains("interrupted"), "{point}");
                assert!(before.contains(&now), "{point}: {now:#?}");
                machine.run(command).ok();
                assert_eq!(counts(machine), after, "{point}");
            }
            code => panic!("{point}: {code}"),
        }
        if ran.code == 0 { ends += 1 } else { backs += 1 }
    }
    assert!(backs > 0 && ends > 0, "{command:?}: {backs} times back, {ends} to the end");
}

#[test]
fn an_activation_that_is_interrupted_changes_nothing() {
    takes_back(&with_something_of_each(), &["activate", "a--1", "b--1"]);
}

#[test]
fn an_addition_that_is_interrupted_changes_nothing() {
    let machine = Machine::with_two_sets();
    let archive = machine.offer("n--1", "{}", &["bin/n", "etc/n/one"]);
    takes_back(&machine, &["add", archive.to_str().unwrap()]);
}

#[test]
fn a_setup_that_is_interrupted_changes_nothing() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    machine.offer("n--1", "{}", &["bin/n"]);
    machine.write("root/bootstrap", "");
    machine.write("root/dcos.target", "[Install]\nWantedBy=multi-user.target\n");
    machine.write("conf/setup-flags/active.json", r#"["a--1", "n--1"]"#);
    machine.write("conf/setup-flags/repository-url", "file://remote");
    let url = machine.url();
    takes_back_to(&machine, &["setup"], &["fetch", "--repository-url", &url, "n--1"], 5);
}
