//! Setting up a machine, and removing all of it.

use std::os::unix::fs::PermissionsExt;

use super::{Machine, link};

const BEGIN: &str = "LATE_BIND_PLACEHOLDER_START_";
const END: &str = "_LATE_BIND_PLACEHOLDER_END";

/// A machine on which a bootstrap was unpacked: it has `a--1`, and its repository further packages.
fn machine() -> Machine {
    let machine = Machine::with_two_sets();
    // Links lead where the bootstrap belongs.
    link("/opt/mesosphere/packages/a--1", &machine.path("root/active/a"));
    machine.write("root/bootstrap", "");
    machine.offer("new--1", "{}", &["bin/new"]);
    machine.write("conf/setup-flags/repository-url", "file://remote\n");
    machine
}

#[test]
fn what_a_bootstrap_has_becomes_active() {
    let machine = machine();
    machine.run(&["setup", "--silent"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\n");
    assert_eq!(machine.read("root/dcos.target"), "[Install]\nWantedBy=multi-user.target\n");
    assert!(machine.path("root/bin/a").exists() && !machine.path("root/bootstrap").exists());
    let before = machine.root();
    machine.run(&["setup"]).ok();
    assert_eq!(machine.root(), before);
}

#[test]
fn flags_say_what_else_becomes_active() {
    let machine = machine();
    machine.write("conf/setup-flags/cluster-package-list", "abc\n");
    machine.write("remote/package_lists/abc.package_list.json", r#"["b--1", "new--1"]"#);
    machine.run(&["setup"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\nb--1\nnew--1\n");

    let machine = self::machine();
    machine.write("conf/setup-flags/active.json", r#"["a--2", "new--1"]"#);
    machine.write("conf/setup-flags/cluster-package-list", "not asked for");
    machine.run(&["setup"]).ok();
    assert_eq!(machine.says(&["active"]), "a--2\nnew--1\n");
}

#[test]
fn late_values_are_bound() {
    let machine = machine();
    machine.write(
        "conf/setup-flags/late-config.yaml",
        "\"bound_values\":\n  \"secret\": |-\n    s3cret\n  \"count\": 03\n\"late_bound_package_id\": |-\n  dcos-provider-x--setup\n",
    );
    machine.write(
        "remote/packages/dcos-provider-x/dcos-provider-x--setup.dcos_config",
        &format!(
            "package:\n- content: 'it is {BEGIN}secret{END}, {BEGIN}count{END} times'\n  path: /etc/late\n  permissions: '0600'\n- content: '{{}}'\n  path: pkginfo.json\n"
        ),
    );
    let ran = machine.run(&["setup"]).ok();
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
    assert_eq!(machine.says(&["active"]), "a--1\ndcos-provider-x--setup\n");
    assert_eq!(machine.read("root/etc/late"), "it is s3cret, 03 times");
    let mode = machine.path("root/etc/late").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(machine.says(&["verify", "dcos-provider-x--setup"]), "");
}

#[test]
fn other_late_values_make_another_package() {
    let machine = machine();
    machine.write(
        "remote/packages/x/x--setup.dcos_config",
        &format!("package:\n- {{path: etc/late, content: 'it is {BEGIN}secret{END}'}}\n"),
    );
    let set_up = |value: &str| {
        let config =
            format!("late_bound_package_id: x--setup\nbound_values: {{secret: {value}}}\n");
        machine.write("conf/setup-flags/late-config.yaml", &config);
        machine.write("root/bootstrap", "");
        machine.run(&["setup"])
    };
    set_up("one").ok();
    assert_eq!(machine.read("root/etc/late"), "it is one");
    set_up("one").ok();
    // Running services have those before.
    machine.write("root/bootstrap", "");
    let before = machine.live();
    set_up("two").fails(1).says("the values for x--setup have changed").says("pkgpanda remove");
    assert_eq!(machine.live(), before);
    machine.run(&["activate", "a--1"]).ok();
    // Not to be had, so what is there stays.
    machine.write("conf/setup-flags/repository-url", "file://gone\n");
    set_up("two").fails(1).says("x--setup.dcos_config");
    assert_eq!(machine.read("repo/x--setup/etc/late"), "it is one");
    machine.write("conf/setup-flags/repository-url", "file://remote\n");
    set_up("two").ok();
    assert_eq!(machine.read("root/etc/late"), "it is two");
    assert_eq!(machine.says(&["verify", "x--setup"]), "");
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["remove", "x--setup"]).ok();
    assert!(!machine.path("repo/.pkgpanda/late/x--setup").exists());
}

#[test]
fn flags_that_do_not_fit_are_named_and_change_nothing() {
    let flags = "conf/setup-flags/";
    for (file, text, says) in [
        ("active.json", "[\"a--2\", 1]", "active.json is not a list of package ids"),
        ("active.json", "[\"gone--1\"]", "the repository has no package gone--1"),
        ("active.json", "[\"a\"]", "not a valid package id"),
        ("active.json", "[\"a--1\", \"a--2\"]", "one name"),
        ("cluster-package-list", "../x", "can't be the id of a list"),
        ("cluster-package-list", "gone", "no package_lists/gone.package_list.json"),
        ("late-config.yaml", "a: [", "late-config.yaml:"),
        ("late-config.yaml", "bound_values: {}", "no late_bound_package_id"),
        ("late-config.yaml", "late_bound_package_id: a--1\nbound_values: {}", "version setup"),
        (
            "late-config.yaml",
            "late_bound_package_id: a--setup\nbound_values: {}",
            "a--setup.dcos_config",
        ),
        ("repository-url", "ftp://x", "is not a valid repository"),
        ("../setup-packages", "", "no longer supported"),
    ] {
        let machine = machine();
        let before = machine.root();
        machine.write(&format!("{flags}{file}"), text);
        if file == "repository-url" {
            machine.write(&format!("{flags}active.json"), "[\"new--1\"]");
        }
        machine.run(&["setup"]).fails(1).says(says);
        let after: Vec<String> =
            machine.root().into_iter().filter(|line| !line.starts_with("dcos.target ")).collect();
        assert_eq!(after, before, "{file} {text}");
        assert!(machine.path("root/bootstrap").exists());
    }
    let machine = machine();
    std::fs::remove_file(machine.path("conf/setup-flags/repository-url")).unwrap();
    machine.write("conf/setup-flags/active.json", "[\"new--1\"]");
    machine.run(&["setup"]).fails(1).says("setup-flags/repository-url");
}

#[test]
fn the_units_program_is_not_in_a_folder_that_is_swapped() {
    let docs = crate::support::data().join("../../docs/pkgpanda.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let program = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert!(program.starts_with('/') && !program.starts_with("/opt/mesosphere/"), "{program}");
    let (program, _) = program.split_once(' ').unwrap();
    let install = text.lines().find(|line| line.starts_with("install ")).unwrap();
    assert!(install.ends_with(program), "{install}");
}

#[test]
fn uninstall_leaves_nothing_but_state_and_packages_elsewhere() {
    let machine = machine();
    machine.package("st--1", r#"{"state_directory": true}"#, &[]);
    machine.run(&["setup"]).ok();
    machine.run(&["activate", "a--1", "st--1"]).ok();
    machine.write("root/var/file", "");
    machine.run(&["uninstall", "--silent"]).ok();
    assert!(!machine.path("root").exists());
    assert!(machine.path("state/st").exists() && machine.path("repo/a--1").exists());
    machine.run(&["uninstall"]).ok().says("nothing is installed");
    // A link to a mount is only a link.
    machine.write("root/bootstrap", "");
    link("/proc", &machine.path("root/link"));
    machine.run(&["uninstall"]).ok();
    assert!(!machine.path("root").exists());
    // Somebody's folder that never was an install root.
    machine.write("root/precious", "");
    machine.run(&["uninstall"]).fails(1).says("is not an install root");
    assert!(machine.path("root/precious").exists());
}
