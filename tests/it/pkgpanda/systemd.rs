//! What systemd is asked: a `systemctl` writes it down.

use super::Machine;

fn machine() -> Machine {
    let mut machine = Machine::with_two_sets();
    machine.options.clear();
    recorded(&machine, "");
    machine
}

/// A `systemctl` that writes down what it is asked, and then does what a text says.
fn recorded(machine: &Machine, then: &str) {
    let log = machine.path("log");
    machine.write(
        "bin/systemctl",
        &format!(
            "#!/bin/sh\n[ \"$1\" = --version ] || echo \"$*\" >> '{}'\n{then}\n",
            log.display()
        ),
    );
}

fn asked(machine: &Machine) -> Vec<String> {
    let log = machine.path("log");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    drop(std::fs::remove_file(log));
    // Only looks at what came of the rest.
    let is_look = |line: &&str| line.starts_with("is-active ");
    text.lines().filter(|line| !is_look(line)).map(str::to_owned).collect()
}

const START: [&str; 3] = ["daemon-reload", "enable dcos.target --no-reload", "start dcos.target"];

#[test]
fn services_stop_before_and_start_after() {
    let mut machine = machine();
    machine.run(&["activate", "a--1", "s--1", "--silent"]).ok();
    assert_eq!(asked(&machine), START);
    machine.run(&["activate", "a--2"]).ok();
    assert_eq!(asked(&machine), [&["stop a.service s.service"][..], &START].concat());
    machine.options.push("--no-block-systemd".to_owned());
    machine.run(&["swap", "a--1"]).ok();
    let expected =
        ["stop --no-block a.service", START[0], START[1], "start dcos.target --no-block"];
    assert_eq!(asked(&machine), expected);
    machine.options.push("--no-systemd".to_owned());
    machine.run(&["swap", "a--2"]).ok();
    assert_eq!(asked(&machine), Vec::<String>::new());
}

#[test]
fn units_that_systemd_does_not_know_are_stopped() {
    let machine = machine();
    machine.run(&["activate", "a--1"]).ok();
    recorded(&machine, "[ \"$1\" != stop ] || exit 5");
    machine.run(&["swap", "a--2"]).ok();
    assert_eq!(machine.says(&["active"]), "a--2\n");
}

#[test]
fn units_that_are_not_loaded_do_not_keep_others_from_being_asked_to_stop() {
    let mut machine = machine();
    machine.options.push("--no-block-systemd".to_owned());
    machine.run(&["activate", "a--1", "s--1"]).ok();
    asked(&machine);
    // One is not loaded, and the other one stops at its leisure.
    let script = |second: &str| {
        format!(
            "case $1 in stop) [ \"$3$4\" = s.service ] && {second}; exit 5 ;; \
             is-active) echo unknown; echo deactivating; exit 3 ;; esac"
        )
    };
    recorded(&machine, &script("exit 1"));
    let refused = machine.run(&["activate", "a--2"]).fails(1);
    refused.says("`systemctl stop --no-block s.service` failed: exit code 1");
    asked(&machine);
    recorded(&machine, &script("exit 0"));
    machine.run(&["activate", "a--2"]).ok();
    let expected = ["stop --no-block a.service s.service", "stop --no-block s.service"];
    assert_eq!(asked(&machine)[..2], expected);
    assert_eq!(machine.says(&["active"]), "a--2\n");
}

#[test]
fn services_that_cannot_be_started_again_are_told_of_and_left_to_the_next_command() {
    let machine = machine();
    machine.run(&["activate", "a--1"]).ok();
    recorded(&machine, "case $1 in stop | daemon-reload) exit 1 ;; esac");
    let refused = machine.run(&["swap", "a--2"]).fails(1);
    refused.says("can't be started again").says("`systemctl daemon-reload` failed");
    assert_eq!(machine.says(&["active"]), "a--1\n");
    recorded(&machine, "");
    asked(&machine);
    machine.run(&["setup"]).ok();
    assert_eq!(asked(&machine), START);
    machine.run(&["setup"]).ok();
    assert_eq!(asked(&machine), Vec::<String>::new());
}

#[test]
fn services_that_do_not_stop_keep_the_set_as_it_is() {
    let machine = machine();
    machine.run(&["activate", "a--1"]).ok();
    let before = machine.root();
    recorded(&machine, "[ \"$1\" != stop ] || exit 1");
    machine.run(&["swap", "a--2"]).fails(1).says("`systemctl stop a.service` failed: exit code 1");
    assert_eq!(machine.root(), before);
    machine.write("bin/systemctl", "");
    machine.run(&["swap", "a--2"]).fails(1).says("--no-systemd");
    assert_eq!(machine.root(), before);
}

#[test]
fn the_set_before_stays_to_go_back_to_when_services_do_not_stop() {
    let machine = machine();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["activate", "a--2"]).ok();
    recorded(&machine, "[ \"$1\" != stop ] || exit 1");
    for _ in 0..2 {
        machine.run(&["activate", "s--1"]).fails(1).says("failed: exit code 1");
        assert_eq!(machine.says(&["active"]), "a--2\n");
    }
    recorded(&machine, "");
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\n");
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.says(&["active"]), "a--2\n");
}

#[test]
fn services_that_do_not_start_are_told_of() {
    let machine = machine();
    recorded(&machine, "[ \"$1\" != start ] || exit 1");
    machine.run(&["activate", "a--1"]).fails(1).says("their services can't be started");
    assert_eq!(machine.says(&["active"]), "a--1\n");
    assert!(!machine.path("root/install_progress").exists());
}

#[test]
fn a_finished_swap_starts_services() {
    let machine = machine();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["activate", "a--2"]).ok();
    asked(&machine);
    machine.write("root/install_progress", r#"{"stage": "move_new", "extension": ".new"}"#);
    machine.run(&["setup"]).ok();
    assert_eq!(asked(&machine), START);
    machine.run(&["setup"]).ok();
    assert_eq!(asked(&machine), Vec::<String>::new());
}

#[test]
fn what_has_no_units_name_is_neither_stopped_nor_removed() {
    let machine = machine();
    machine.run(&["activate", "a--1"]).ok();
    // As an older version made it active, which took every file for a unit.
    for name in ["sshd", "environment.export"] {
        let target = machine.path("root").join(name);
        super::link(target.to_str().unwrap(), &machine.path("root/dcos.target.wants").join(name));
    }
    machine.write("root/sshd", "notes");
    asked(&machine);
    machine.run(&["activate", "a--2"]).ok();
    assert_eq!(asked(&machine), [&["stop a.service"][..], &START].concat());
    assert_eq!(machine.read("root/sshd"), "notes");
    assert!(machine.read("root/environment.export").starts_with("# Pkgpanda"));
    assert!(!machine.path("root/dcos.target.wants/sshd").is_symlink());
    machine.run(&["uninstall"]).ok();
    assert!(!machine.path("root").exists());
}

#[test]
fn of_a_template_only_what_runs_is_stopped() {
    let machine = machine();
    machine.package(
        "t--1",
        "{}",
        &["dcos.target.wants/t@.service", "dcos.target.wants/t@x.service"],
    );
    machine.run(&["activate", "a--1", "t--1"]).ok();
    assert_eq!(asked(&machine), START);
    // systemd starts the instance of a link's folder, which is the target's.
    machine.run(&["swap", "a--2"]).ok();
    let expected = ["stop a.service t@dcos.service t@x.service"];
    assert_eq!(asked(&machine), [&expected[..], &START].concat());
    machine.run(&["activate", "a--2"]).ok();
    assert_eq!(asked(&machine), [&expected[..], &START].concat());
    assert!(!machine.path("root/t@.service").exists());
}
