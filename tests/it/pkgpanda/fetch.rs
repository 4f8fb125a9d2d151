//! Packages that come and go.

use super::Machine;
use crate::server::{Reply, Server};
use crate::support::sha256;

const INFO: &str = "{}";

pub(super) fn nothing_is_left(machine: &Machine) {
    let entries = std::fs::read_dir(machine.path("repo")).unwrap();
    for name in entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(!name.starts_with(".tmp-"), "{name}");
    }
}

#[test]
fn packages_are_fetched_added_listed_and_removed() {
    let machine = Machine::new();
    machine.offer("a--1", INFO, &["bin/a"]);
    machine.offer("a--2", INFO, &["bin/a"]);
    let b = machine.offer("b--1", INFO, &["bin/b"]);
    let fetch = ["fetch", "--repository-url=file://remote", "a--2", "a--1", "a--2"];
    let said = machine.says(&fetch);
    let line = |id: &str| format!("\rFetching: {id}\rFetched: {id}\n");
    assert_eq!(said, [line("a--2"), line("a--1"), line("a--2")].concat());
    assert_eq!(machine.read("repo/a--1/bin/a"), "a--1 bin/a\n");
    let ran = machine.run(&["add", b.to_str().unwrap()]).ok();
    assert_eq!((ran.stdout, ran.stderr), (String::new(), String::new()));
    machine.run(&["add", b.to_str().unwrap()]).ok().says("there already");
    std::fs::create_dir(machine.path("repo/no-package")).unwrap();
    assert_eq!(machine.says(&["list"]), "a:\n  1\n  2\nb--1\n");
    let json: serde_json::Value =
        serde_json::from_str(&machine.says(&["list", "--format=json"])).unwrap();
    assert_eq!(json[2], serde_json::json!({"id": "b--1", "name": "b", "version": "1"}));
    machine.run(&["remove", "b--1"]).fails(1).says("no folder active");
    machine.run(&["activate", "a--1"]).ok();
    assert_eq!(machine.says(&["remove", "b--1", "gone--1"]), "\rRemoving: b--1\rRemoved: b--1\n");
    machine.run(&["remove", "a--2", "a--1"]).fails(1).says("a--1 is active");
    assert_eq!(machine.says(&["list"]), "a:\n  1\n  2\n");
    nothing_is_left(&machine);
}

#[test]
fn what_is_no_package_is_named_and_leaves_nothing() {
    let machine = Machine::new();
    let good = machine.offer("good--1", INFO, &["bin/good"]);
    machine.offer("sum--1", INFO, &[]);
    machine.write("remote/packages/sum/sum--1.tar.xz.sha256", &"0".repeat(64));
    machine.offer("other--1", INFO, &[]);
    machine.write("source/other--1/buildinfo.full.json", r#"{"build_ids": {"name": "other"}}"#);
    machine.offer("other--1", INFO, &[]);
    let half = std::fs::read(&good).unwrap();
    machine.write("remote/packages/rubbish/rubbish--1.tar.xz", "nope");
    std::fs::create_dir_all(machine.path("remote/packages/half")).unwrap();
    std::fs::write(machine.path("remote/packages/half/half--1.tar.xz"), &half[..half.len() - 9])
        .unwrap();
    for (id, text) in [
        ("gone--1", "has no package gone--1"),
        ("rubbish--1", "can't unpack package rubbish--1"),
        ("half--1", "cut off or damaged"),
        ("sum--1", "sum--1.tar.xz.sha256 says 0000"),
        ("other--1", "other--1 is another package"),
        ("../good--1", "not a valid package name"),
    ] {
        let ran = machine.run(&["fetch", "--repository-url", &machine.url(), id]).fails(1);
        assert!(ran.stderr.contains(text), "{id}: {}", ran.stderr);
        assert_eq!(machine.says(&["list"]), "", "{id}");
        nothing_is_left(&machine);
    }
    let ran = machine.run(&["fetch", "--repository-url", &machine.url(), "gone--1"]);
    assert_eq!(ran.stdout, "\rFetching: gone--1\n");
    machine
        .run(&["fetch", "--repository-url=ftp://x", "a--1"])
        .fails(1)
        .says("is not a valid repository");
    machine.write("a.tar", "");
    machine.run(&["add", "a.tar"]).fails(1).says("must be called <name>--<version>.tar.xz");
    machine.run(&["add", "gone--1.tar.xz"]).fails(1).says("gone--1.tar.xz");
}

#[test]
fn what_no_activation_would_take_is_not_added() {
    let machine = Machine::new();
    let units: &[&str] = &["dcos.target.wants/dcos.target"];
    for (number, (info, files, part)) in [
        (r#"{"environment": {"PATH": "/x"}}"#, &[][..], "no package may set this variable"),
        (r#"{"environment": {"A": null}}"#, &[], "the value of A"),
        (r#"{"username": "root"}"#, &[], "root"),
        (r#"{"sysctl": []}"#, &[], "sysctl"),
        ("{", &[], "pkginfo.json"),
        ("{}", units, "dcos.target"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("x{number}--1");
        let archive = machine.offer(&id, info, files);
        let url = format!("--repository-url={}", machine.url());
        machine.run(&["add", archive.to_str().unwrap()]).fails(1).says(part);
        machine.run(&["fetch", &url, &id]).fails(1).says(part);
    }
    assert_eq!(machine.says(&["list"]), "");
    let left = super::listing(&machine.path("repo"));
    assert!(!left.iter().any(|line| line.contains("x0")), "{left:?}");
}

#[test]
fn an_archive_does_not_climb_out() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("evil")).unwrap();
    for (name, transform) in [("up--1", "s,x,../../up,"), ("root--1", "s,x,/tmp/pkgpanda-evil,")] {
        machine.write("evil/x", "");
        let archive = machine.path(&format!("{name}.tar.xz"));
        let made = std::process::Command::new("tar")
            .args(["--create", "--xz", "--absolute-names", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(machine.path("evil"))
            .args([&format!("--transform={transform}"), "./", "x"])
            .status()
            .unwrap();
        assert!(made.success());
        machine.run(&["add", archive.to_str().unwrap()]).fails(1).says("the archive is refused");
        nothing_is_left(&machine);
    }
    assert!(!machine.path("up").exists() && machine.says(&["list"]).is_empty());
}

#[test]
fn a_server_may_fail_for_a_while_and_sums_are_checked() {
    let machine = Machine::new();
    let archive = std::fs::read(machine.offer("a--1", INFO, &["bin/a"])).unwrap();
    let sum = sha256(&archive);
    let server = Server::start(move |request, before| match request.target.as_str() {
        _ if before == 0 => Reply::status(503).with("Retry-After", "0"),
        "/packages/a/a--1.tar.xz" if before == 1 => {
            Reply { cut: Some(10), ..Reply::new(archive.clone()) }
        }
        "/packages/a/a--1.tar.xz" => Reply::new(archive.clone()),
        "/packages/a/a--1.tar.xz.sha256" => Reply::new(format!("{sum}  a--1.tar.xz\n")),
        _ => Reply::status(404),
    });
    let url = server.url("/");
    let ran = machine.run(&["fetch", "--repository-url", &url, "a--1"]).ok();
    assert_eq!(ran.stdout, "\rFetching: a--1\rFetched: a--1\n");
    assert!(ran.stderr.contains("trying again"), "{}", ran.stderr);
    assert!(server.targets().contains(&"/packages/a/a--1.tar.xz.sha256".to_owned()));
    assert_eq!(machine.says(&["list"]), "a--1\n");
}

#[test]
fn what_a_killed_fetch_left_is_swept() {
    let machine = Machine::new();
    let a = machine.offer("a--1", INFO, &["bin/a"]);
    machine.write("repo/.tmp-a--1/bin/half", "");
    machine.write("repo/.tmp-x", "half");
    machine.run(&["add", a.to_str().unwrap()]).ok();
    assert!(!machine.path("repo/a--1/bin/half").exists());
    nothing_is_left(&machine);
}
