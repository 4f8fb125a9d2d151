//! Packages that aren't what they were any more.

use std::os::unix::fs::PermissionsExt;

use super::{Machine, link};

#[test]
fn what_is_missing_changed_or_too_much_is_told() {
    let machine = Machine::new();
    for id in ["a--1", "b--1"] {
        machine.package_in("source", id, "{}", &["bin/x", "bin/y", "etc/z"]);
        link("x", &machine.path(&format!("source/{id}/bin/link")));
        machine.offer(id, "{}", &[]);
    }
    machine.run(&["fetch", "--repository-url=file://remote", "a--1", "b--1"]).ok();
    machine.run(&["activate", "a--1", "b--1"]).fails(1).says("bin/link");
    machine.run(&["activate", "a--1"]).ok();
    assert_eq!(machine.says(&["verify"]), "");
    let record = machine.path("repo/.pkgpanda").metadata().unwrap().permissions();
    assert_eq!(record.mode() & 0o7777, 0o700);
    assert_eq!(machine.says(&["verify", "a--1", "--repository-url=file://remote"]), "");
    std::fs::remove_file(machine.path("repo/a--1/bin/y")).unwrap();
    machine.write("repo/a--1/bin/x", "a--1 bin/X\n");
    machine.write("repo/a--1/etc/z", "longer than it was\n");
    machine.write("repo/a--1/odd name\u{e4}", "");
    std::fs::remove_file(machine.path("repo/a--1/bin/link")).unwrap();
    link("y", &machine.path("repo/a--1/bin/link"));
    let expected = "changed a--1/bin/link: it leads to y instead of x\n\
                    changed a--1/bin/x: its content is another\n\
                    missing a--1/bin/y\n\
                    changed a--1/etc/z: it has 19 bytes instead of 11\n\
                    extra   a--1/odd name\u{e4}\n";
    for from in [&[][..], &["--repository-url=file://remote"]] {
        let arguments = [&["verify", "a--1", "b--1"], from].concat();
        assert_eq!(machine.run(&arguments).fails(1).stdout, expected);
    }
    let json = machine.run(&["verify", "--format=json"]).fails(1).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["differences"][2], serde_json::json!({"path": "bin/y", "is": "missing"}));
}

#[test]
fn without_a_record_there_is_nothing_to_compare_with() {
    let machine = Machine::with_two_sets();
    machine.run(&["verify", "a--1"]).fails(1).says("--repository-url");
    machine.run(&["verify", "gone--1"]).fails(1).says("gone--1 is not in");
    machine.run(&["verify"]).fails(1).says("no folder active");
}

#[test]
fn names_do_not_steer_a_terminal() {
    let machine = Machine::new();
    machine.offer("a--1", "{}", &["bin/x\u{1b}[2J", "dcos.target.wants/x.service"]);
    link("x\u{1b}c", &machine.path("source/a--1/lib/link"));
    machine.write("source/a--1/check/c\u{1b}]0;x\u{7}\u{9b}1m", "#!/bin/sh\nexit 1\n");
    machine.offer("a--1", "{}", &[]);
    machine.run(&["fetch", "--repository-url=file://remote", "a--1"]).ok();
    let preview = machine.says(&["activate", "--dry-run", "a--1"]);
    assert!(preview.contains("bin/x\\u{1b}[2J"), "{preview}");
    machine.run(&["activate", "a--1"]).ok();
    std::fs::remove_file(machine.path("repo/a--1/lib/link")).unwrap();
    link("y\u{1b}c", &machine.path("repo/a--1/lib/link"));
    machine.write("repo/a--1/n\new\rline", "");
    let verified = machine.run(&["verify"]).fails(1).stdout;
    let expected = "changed a--1/lib/link: it leads to y%1bc instead of x%1bc\n\
                    extra   a--1/n\\new\\rline\n";
    assert_eq!(verified, expected);
    let listed = machine.says(&["check", "--list"]);
    assert_eq!(listed, "a--1\n - c\\u{1b}]0;x\\u{7}\\u{9b}1m\n");
    let ran = machine.run(&["check"]).fails(1);
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() && c != '\n');
    assert!(
        [&preview, &verified, &listed, &ran.stdout, &ran.stderr].into_iter().all(|t| is_plain(t))
    );
    // Data for machines has the names themselves.
    let json = |arguments: &[&str]| -> serde_json::Value {
        let said = machine.run(&[arguments, &["--format=json"]].concat()).stdout;
        serde_json::from_str(&said).unwrap()
    };
    assert_eq!(json(&["check", "--list"])[0]["checks"][0], "c\u{1b}]0;x\u{7}\u{9b}1m");
    assert_eq!(json(&["verify"])[0]["differences"][1]["path"], "n\new\rline");
}

#[test]
fn what_came_in_a_bootstrap_is_compared_with_the_repository_of_the_setup() {
    let machine = Machine::new();
    for id in ["a--1", "b--1"] {
        machine.offer(id, "{}", &[&format!("bin/{}", &id[..1])]);
    }
    // One was unpacked with the bootstrap, the other one fetched.
    machine.package("a--1", "{}", &["bin/a"]);
    machine.run(&["fetch", "--repository-url=file://remote", "b--1"]).ok();
    machine.run(&["activate", "a--1", "b--1"]).ok();
    machine.run(&["verify"]).fails(1).says("a--1").says("--repository-url=URL");
    machine.write("conf/setup-flags/repository-url", "file://remote\n");
    assert_eq!(machine.says(&["verify"]), "");
    machine.write("repo/a--1/bin/a", "a--1 bin/A\n");
    let differs = "changed a--1/bin/a: its content is another\n";
    assert_eq!(machine.run(&["verify"]).fails(1).stdout, differs);
    // What has a record needs no repository.
    std::fs::remove_dir_all(machine.path("remote")).unwrap();
    assert_eq!(machine.says(&["verify", "b--1"]), "");
    machine.run(&["verify", "a--1"]).fails(1);
}
