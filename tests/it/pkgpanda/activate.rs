//! Changing the active set.

use super::{Machine, link};

#[test]
fn a_set_is_what_its_packages_have() {
    let machine = Machine::with_two_sets();
    machine.write("conf/roles/master", "");
    machine.write("repo/a--1/etc_master/role", "");
    machine.write("repo/a--1/other/file", "");
    let ran = machine.run(&["activate", "b--1", "a--1", "--silent"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(machine.says(&["active"]), "a--1\nb--1\n");
    let repo = machine.path("repo");
    for (path, target) in [
        ("bin/a", "a--1/bin/a"),
        ("etc/a/one", "a--1/etc/a/one"),
        ("etc/a/two", "b--1/etc/a/two"),
        ("etc/role", "a--1/etc_master/role"),
        ("active/b", "b--1"),
    ] {
        let path = machine.path("root").join(path);
        assert_eq!(std::fs::read_link(&path).unwrap(), repo.join(target), "{}", path.display());
    }
    assert!(!machine.path("root/other").exists());
    assert_eq!(machine.read("root/a.service"), "a--1 dcos.target.wants/a.service\n");
    let wanted = std::fs::read_link(machine.path("root/dcos.target.wants/a.service")).unwrap();
    assert_eq!(wanted, machine.path("root/a.service"));
    assert!(
        machine.read("root/environment").ends_with("# package: a--1\nA=1\n\n# package: b--1\n\n")
    );
    assert!(!machine.root().iter().any(|line| line.contains(".new") || line.contains(".old")));
}

#[test]
fn a_swap_changes_one_package_and_keeps_what_was() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1", "b--1", "s--1"]).ok();
    machine.run(&["swap", "a--2"]).ok();
    assert_eq!(machine.says(&["active"]), "a--2\nb--1\ns--1\n");
    assert!(machine.path("root/bin/a2").exists() && machine.path("root/active.old/a").exists());
    assert_eq!(machine.read("root/a.service"), "a--2 dcos.target.wants/a.service\n");
    machine.run(&["activate", "a--2"]).ok();
    assert!(!machine.path("root/s.service").exists());
    machine.run(&["swap", "b--1"]).fails(1).says("no package called b is active");
}

#[test]
fn the_set_before_comes_back_also_after_failures() {
    let machine = Machine::with_two_sets();
    machine.package("c--1", "{}", &["bin/a"]);
    machine.run(&["activate", "a--1", "s--1"]).ok();
    let before = machine.live();
    machine.run(&["rollback"]).fails(1).says("no set before");
    machine.run(&["activate", "a--2", "b--1"]).ok();
    let after = machine.live();
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.live(), before);
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.live(), after);
    // As the original, this leaves no .old.
    machine.run(&["activate", "a--1", "c--1"]).fails(1).says("bin/a");
    assert_eq!(machine.root(), after);
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.live(), before);
}

#[test]
fn what_does_not_fit_changes_nothing_and_is_named() {
    let machine = Machine::with_two_sets();
    machine.package("c--1", "{}", &["bin/a"]);
    machine.package("d--1", "{}", &["etc/a"]);
    machine.package("e--1", r#"{"environment": {"A": "2"}}"#, &[]);
    machine.package("r--1", "{}", &["dcos.target.wants/dcos-setup.service"]);
    machine.package("x--1", "{}", &["dcos.target.wants/-x.service"]);
    machine.package("f--1", "{}", &["dcos.target.wants/environment"]);
    machine.package("g--1", "{}", &["dcos.target.wants/sshd"]);
    machine.package("h--1", "{}", &["dcos.target.wants/foo.service.d"]);
    machine.package("u--1", "{}", &[]);
    link("/etc", &machine.path("repo/u--1/bin"));
    machine.package("y--1", "[]", &[]);
    machine.package("z--1", "{", &[]);
    std::fs::create_dir(machine.path("repo/n--1")).unwrap();
    machine.run(&["activate", "a--1"]).ok();
    let before = machine.root();
    for (ids, texts) in [
        (["a--1", "c--1"], vec!["a--1", "c--1", "bin/a"]),
        (["a--1", "d--1"], vec!["a--1", "d--1", "etc/a"]),
        (["a--1", "e--1"], vec!["a--1", "e--1", "variable A"]),
        (["a--1", "a--2"], vec!["a--1", "a--2", "one name"]),
        (["a--1", "a--1"], vec!["a--1", "twice"]),
        (["b--1", "s--1"], vec!["b--1 requires a"]),
        (["a--1", "r--1"], vec!["r--1", "dcos-setup.service", "reserved"]),
        (["a--1", "x--1"], vec!["x--1", "-x.service"]),
        (["a--1", "f--1"], vec!["f--1", "the install itself", "./environment"]),
        (["a--1", "g--1"], vec!["g--1", "\"sshd\"", "x.service"]),
        (["a--1", "h--1"], vec!["h--1", "\"foo.service.d\""]),
        (["a--1", "u--1"], vec!["u--1", "bin is not a folder"]),
        (["a--1", "n--1"], vec!["n--1", "no file pkginfo.json"]),
        (["a--1", "y--1"], vec!["y--1/pkginfo.json:1:1", "must be an object"]),
        (["a--1", "z--1"], vec!["z--1/pkginfo.json:1", "not valid JSON"]),
        (["a--1", "gone--1"], vec!["gone--1 is not in", "pkgpanda fetch"]),
        (["a--1", "../a--1"], vec!["../a", "not a valid package name"]),
        (["a--1", "plain"], vec!["no package on this machine is called plain"]),
    ] {
        let ran = machine.run(&["activate", ids[0], ids[1]]).fails(1);
        for text in texts {
            assert!(ran.stderr.contains(text), "{ids:?}: no {text:?} in {}", ran.stderr);
        }
        assert_eq!(machine.root(), before, "{ids:?}");
    }
    machine.run(&["activate"]).fails(2);
    std::fs::rename(machine.path("root"), machine.path("elsewhere")).unwrap();
    machine.run(&["activate", "a--1"]).fails(1).says("root");
    machine.run(&["active"]).fails(1).says("no folder active");
}

#[test]
fn packages_are_never_written_to() {
    let machine = Machine::new();
    machine.package("a--1", "{}", &["share/file"]);
    link("../share", &machine.path("repo/a--1/etc/shared"));
    machine.package("b--1", "{}", &["etc/shared/other"]);
    let before = super::listing(&machine.path("repo"));
    machine.run(&["activate", "a--1", "b--1"]).fails(1).says("./etc/shared is a folder of");
    assert_eq!(super::listing(&machine.path("repo")), before);
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let machine = Machine::with_two_sets();
    machine.package("st--1", r#"{"state_directory": true}"#, &[]);
    machine.run(&["activate", "a--1", "s--1"]).ok();
    let before = machine.root();
    let text = machine.says(&["activate", "a--2", "b--1", "st--1", "--dry-run"]);
    let state = machine.path("state/st");
    let expected = [
        "packages:",
        "  - a--1",
        "  - s--1",
        "  + a--2",
        "  + b--1",
        "  + st--1",
        "links:",
        "  - etc/a/one",
        "  * bin/a",
        "  + bin/a2",
        "  + etc/a/two",
        "  + lib/b",
        "files:",
        "  * active.buildinfo.full.json",
        "  * environment",
        "  * environment.export",
        "units:",
        "  - s.service",
        "  * a.service",
        "state directories:",
        &format!("  + {}", state.display()),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let json = machine.says(&["activate", "a--2", "--dry-run", "--format=json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["packages"]["added"], serde_json::json!(["a--2"]));
    assert_eq!(json["units"]["changed"], serde_json::json!(["a.service"]));
    machine.run(&["activate", "gone--1", "--dry-run"]).fails(1);
    assert_eq!((machine.root(), state.exists()), (before, false));
    assert_eq!(machine.says(&["activate", "a--1", "s--1", "--dry-run"]), "");
}

#[test]
fn two_never_act_at_once() {
    let machine = Machine::with_two_sets();
    let lock = std::fs::File::open(machine.path("root")).unwrap();
    lock.lock().unwrap();
    let mut child = machine.command(&["activate", "a--1"]);
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = [0; 7];
    std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"waiting");
    assert_eq!(machine.root(), Vec::<String>::new());
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(machine.says(&["active"]), "a--1\n");
}
