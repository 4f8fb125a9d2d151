//! SIGINT and SIGTERM while something is waited for: a server, systemd, another `pkgpanda`.

use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGTERM};
use nix::unistd::Pid;

use super::Machine;
use super::fetch::nothing_is_left;
use crate::interrupt::eventually;
use crate::server::{Reply, Server};
use crate::support::{Ran, ran};

/// What a loaded machine may take to come to the point at which it waits, and to end.
const LIMIT: Duration = Duration::from_secs(20);

fn start(machine: &Machine, arguments: &[&str]) -> Child {
    let mut command = machine.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal, and waits for the end, which must come soon.
#[track_caller]
fn interrupted(child: Child, signal: Signal) -> Ran {
    let began = Instant::now();
    nix::sys::signal::kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let ran = ran(&child.wait_with_output().unwrap());
    assert!(began.elapsed() < LIMIT, "{ran:?}");
    ran
}

#[test]
fn a_fetch_is_given_up_and_leaves_whole_packages_only() {
    let machine = Machine::new();
    let a = std::fs::read(machine.offer("a--1", "{}", &["bin/a"])).unwrap();
    let b = std::fs::read(machine.offer("b--1", "{}", &["bin/b"])).unwrap();
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    // Of the second package only a part comes, and then nothing.
    let server = Server::start(move |request, _| match request.target.as_str() {
        "/packages/a/a--1.tar.xz" => Reply::new(a.clone()),
        "/packages/b/b--1.tar.xz" if is_well.load(Ordering::Relaxed) => Reply::new(b.clone()),
        "/packages/b/b--1.tar.xz" => {
            std::thread::sleep(3 * LIMIT);
            Reply::status(500)
        }
        _ => Reply::status(404),
    });
    let url = server.url("");
    let fetch = ["fetch", "--repository-url", &url, "a--1", "b--1"];
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let before = server.targets().len();
        let child = start(&machine, &fetch);
        eventually("both are asked for", LIMIT, || {
            let asked = server.targets()[before..].to_vec();
            asked.iter().any(|target| target.contains("b--1")) && machine.path("repo/a--1").exists()
        });
        let ran = interrupted(child, signal).fails(130).says("interrupted: package b--1");
        assert_eq!(ran.stdout, "\rFetching: a--1\rFetched: a--1\n\rFetching: b--1\n");
        assert_eq!(machine.says(&["list"]), "a--1\n");
        nothing_is_left(&machine);
    }
    well.store(true, Ordering::Relaxed);
    machine.run(&fetch).ok();
    assert_eq!(machine.says(&["list"]), "a--1\nb--1\n");
}

/// A `systemctl` that hangs when it is asked for something.
fn hanging(machine: &Machine, verb: &str) {
    let log = machine.path("log");
    machine.write(
        "bin/systemctl",
        &format!(
            "#!/bin/sh\necho \"$*\" >> '{}'\n[ \"$*\" != '{verb}' ] || exec sleep 100\n",
            log.display()
        ),
    );
}

fn waits_for(machine: &Machine, verb: &str) {
    let is_asked = || {
        let log = std::fs::read_to_string(machine.path("log")).unwrap_or_default();
        log.lines().any(|line| line == verb)
    };
    eventually("systemctl is asked", LIMIT, is_asked);
}

#[test]
fn services_that_do_not_stop_are_given_up_and_the_set_stays() {
    let mut machine = Machine::with_two_sets();
    machine.options.clear();
    hanging(&machine, "");
    machine.run(&["activate", "a--1"]).ok();
    let before = machine.live();
    hanging(&machine, "stop a.service");
    for signal in [SIGINT, SIGTERM] {
        std::fs::remove_file(machine.path("log")).unwrap();
        let child = start(&machine, &["activate", "a--2", "b--1"]);
        waits_for(&machine, "stop a.service");
        interrupted(child, signal).fails(130).says("interrupted: the active set stays as it is");
        assert_eq!(machine.live(), before);
        // What was stopped is started.
        assert!(machine.read("log").ends_with("start dcos.target --no-block\n"));
    }
    hanging(&machine, "");
    machine.run(&["activate", "a--2", "b--1"]).ok();
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.live(), before);
}

#[test]
fn services_that_do_not_start_are_not_waited_for() {
    let mut machine = Machine::with_two_sets();
    machine.options.clear();
    hanging(&machine, "start dcos.target");
    for signal in [SIGINT, SIGTERM] {
        drop(std::fs::remove_file(machine.path("log")));
        let child = start(&machine, &["activate", "a--1"]);
        waits_for(&machine, "start dcos.target");
        interrupted(child, signal).fails(130).says("interrupted: the packages are active");
        assert_eq!(machine.says(&["active"]), "a--1\n");
        assert!(!machine.path("root/install_progress").exists());
        assert!(machine.read("log").ends_with("start dcos.target --no-block\n"));
    }
}

#[test]
fn a_lock_is_no_longer_waited_for() {
    let machine = Machine::with_two_sets();
    let archive = machine.offer("n--1", "{}", &[]);
    for (folder, arguments) in
        [("root", ["activate", "a--1"]), ("repo", ["add", archive.to_str().unwrap()])]
    {
        let before = machine.root();
        let lock = std::fs::File::open(machine.path(folder)).unwrap();
        lock.lock().unwrap();
        let mut child = start(&machine, &arguments);
        let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
        std::io::BufRead::read_line(&mut said, &mut String::new()).unwrap();
        interrupted(child, SIGTERM).fails(130);
        assert_eq!(machine.root(), before);
        drop(lock);
        machine.run(&arguments).ok();
    }
}

#[test]
fn a_signal_that_is_ignored_stays_so() {
    let machine = Machine::with_two_sets();
    let lock = std::fs::File::open(machine.path("root")).unwrap();
    lock.lock().unwrap();
    let plain = machine.command(&["activate", "a--1"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(plain.get_program());
    command.args(plain.get_args()).current_dir(machine.path("")).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut String::new()).unwrap();
    nix::sys::signal::kill(Pid::from_raw(child.id().cast_signed()), SIGHUP).unwrap();
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(machine.says(&["active"]), "a--1\n");
}
