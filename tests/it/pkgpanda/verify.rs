//! Packages that aren't what they were any more.

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
