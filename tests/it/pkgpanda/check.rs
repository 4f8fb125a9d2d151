//! The checks that packages bring.

use super::Machine;

#[test]
fn checks_run_and_those_that_fail_are_named() {
    let machine = Machine::new();
    machine.package("a--1", "{}", &[]);
    machine.write("repo/a--1/check/b", "#!/bin/sh\necho well\n");
    machine.write("repo/a--1/check/a", "#!/bin/sh\necho no >&2\nexit 3\n");
    machine.write("repo/a--1/check/below/c", "#!/bin/sh\nexit 1\n");
    machine.package("b--1", "{}", &["check/nothing"]);
    machine.write("repo/b--1/check/nothing", "not a program");
    machine.package("c--1", "{}", &[]);
    machine.write("repo/c--1/check/x", "");
    let x = machine.path("repo/c--1/check/x");
    std::fs::set_permissions(x, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    machine.run(&["activate", "a--1", "b--1", "c--1"]).ok();
    let ran = machine.run(&["check", "--list"]).ok();
    assert_eq!(ran.stdout, "a--1\n - a\n - b\nb--1\n - nothing\n");
    assert_eq!(ran.stderr, "WARNING: `x` is not executable\n");
    let ran = machine.run(&["check"]).fails(1);
    assert_eq!(ran.stdout, "well\n");
    assert!(ran.stderr.contains("\nno\nCheck failed: a\n"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("Check failed: nothing\n"), "{}", ran.stderr);
    let ran = machine.run(&["check", "--format=json"]).fails(1);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json[1], serde_json::json!({"package": "a--1", "check": "b", "passed": true}));
    machine.run(&["activate", "c--1"]).ok();
    machine.run(&["check"]).ok();
}
