//! Users, groups and state directories. Programs that write down what they are asked stand for those
//! that would change the machine.

use std::os::unix::fs::MetadataExt;

use super::{Machine, is_root};

/// `useradd` writes down what it is asked, and adds to a list that `getent` knows.
fn machine() -> Machine {
    let machine = Machine::new();
    let (log, passwd) = (machine.path("log"), machine.path("passwd"));
    machine.write(
        "bin/useradd",
        &format!(
            "#!/bin/sh\necho \"$*\" >> '{}'\nfor name; do :; done\necho \"$name:x:4242:4242::/:/\" >> '{}'\n",
            log.display(),
            passwd.display()
        ),
    );
    machine.write(
        "bin/getent",
        &format!("#!/bin/sh\n[ \"$1\" = passwd ] && grep \"^$2:\" '{}'\n", passwd.display()),
    );
    machine.write("passwd", "dcos_there:x:4343:4343::/:/\n");
    machine
}

const STATE: &str = r#"{"state_directory": true, "username": "dcos_x"}"#;

#[test]
fn missing_users_are_made_before_anything_changes() {
    let machine = machine();
    machine.package("x--1", STATE, &["bin/x"]);
    machine.package("g--1", r#"{"username": "dcos_g", "group": "daemon"}"#, &[]);
    if !is_root() {
        machine.run(&["activate", "x--1"]).fails(1).says("only root can make it");
        assert_eq!(machine.root(), Vec::<String>::new());
        return;
    }
    assert!(machine.says(&["activate", "x--1", "--dry-run"]).contains("users:\n  + dcos_x\n"));
    assert!(!machine.path("log").exists());
    machine.write("state/x/old/file", "");
    machine.run(&["activate", "x--1", "g--1"]).ok();
    let made = "--system -c DCOS System User --home-dir /opt/mesosphere --shell /sbin/nologin";
    let expected = format!("{made} -g daemon dcos_g\n{made} --user-group dcos_x\n");
    assert_eq!(machine.read("log"), expected);
    for path in ["state/x", "state/x/old", "state/x/old/file"] {
        assert_eq!(machine.path(path).metadata().unwrap().uid(), 4242, "{path}");
    }
    machine.run(&["activate", "x--1", "g--1"]).fails(1).says("dcos_g to be in the group daemon");
    machine.run(&["activate", "x--1"]).ok();
    assert_eq!(machine.read("log"), expected);
}

#[test]
fn users_can_be_somebody_elses_affair() {
    let machine = machine();
    machine.package("x--1", STATE, &["bin/x"]);
    machine.package("y--1", r#"{"username": "dcos_there"}"#, &[]);
    machine.write("conf/manual_host_users", "");
    machine.run(&["activate", "x--1"]).fails(1).says("manual_host_users is set");
    assert_eq!(machine.root(), Vec::<String>::new());
    machine.run(&["activate", "y--1"]).ok();
    assert!(!machine.path("log").exists());
}

#[test]
fn groups_must_exist_and_users_must_be_theirs() {
    let machine = machine();
    machine.package("x--1", r#"{"username": "dcos_x", "group": "nosuchgroup"}"#, &[]);
    machine.package("y--1", r#"{"username": "dcos_there", "group": "daemon"}"#, &[]);
    machine.package("z--1", r#"{"group": "daemon"}"#, &[]);
    machine.run(&["activate", "x--1"]).fails(1).says("group nosuchgroup, which doesn't exist");
    machine.run(&["activate", "y--1"]).fails(1).says("usermod --append --groups daemon dcos_there");
    machine.run(&["activate", "z--1"]).fails(1).says("a group without a username");
}

#[test]
fn state_outlives_its_package() {
    let machine = machine();
    machine.package("x--1", r#"{"state_directory": true}"#, &[]);
    machine.package("y--1", "{}", &[]);
    machine.run(&["activate", "x--1"]).ok();
    assert_eq!(machine.path("state/x").metadata().unwrap().mode() & 0o7777, 0o755);
    machine.write("state/x/kept", "");
    machine.run(&["activate", "y--1"]).ok();
    machine.run(&["activate", "x--1"]).ok();
    assert!(machine.path("state/x/kept").exists());
    std::fs::remove_dir_all(machine.path("state/x")).unwrap();
    machine.write("state/x", "in the way");
    machine.run(&["activate", "x--1"]).fails(1).says("state/x");
    assert_eq!(machine.says(&["active"]), "x--1\n");
}
