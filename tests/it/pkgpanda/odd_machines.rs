//! Machines as they are: stray files, two roots, services that fail, disks that are full.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use super::Machine;

/// A machine whose `systemctl` does what a text says; `$1` is its command.
fn with_systemctl(then: &str) -> Machine {
    let mut machine = Machine::with_two_sets();
    machine.options.clear();
    systemctl(&machine, then);
    machine
}

fn systemctl(machine: &Machine, then: &str) {
    let log = machine.path("log");
    machine.write(
        "bin/systemctl",
        &format!("#!/bin/sh\necho \"$*\" >> '{}'\n{then}\n", log.display()),
    );
    drop(std::fs::remove_file(log));
}

#[test]
fn copies_of_units_have_the_modes_of_their_units() {
    let machine = Machine::with_two_sets();
    for (mode, copied) in [(0o600, 0o600), (0o644, 0o644), (0o666, 0o644), (0o640, 0o640)] {
        let unit = machine.path("repo/a--1/dcos.target.wants/a.service");
        std::fs::set_permissions(unit, PermissionsExt::from_mode(mode)).unwrap();
        machine.run(&["activate", "a--1"]).ok();
        let copy = std::fs::metadata(machine.path("root/a.service")).unwrap();
        assert_eq!(copy.permissions().mode() & 0o7777, copied, "{mode:o}");
    }
}

#[test]
fn stray_entries_of_active_block_nothing() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    machine.write("root/active/README", "notes");
    std::fs::create_dir(machine.path("root/active/folder")).unwrap();
    symlink("/nowhere/at all", machine.path("root/active/odd")).unwrap();
    symlink(machine.path("repo/a--1"), machine.path("root/active/a.bak")).unwrap();
    let listed = machine.run(&["active"]).ok();
    assert_eq!(listed.stdout, "a--1\n");
    for name in ["README", "folder", "odd", "a.bak"] {
        assert!(listed.stderr.contains(&format!("active/{name} is not a link to a package")));
    }
    machine.run(&["remove", "s--1"]).ok();
    machine.run(&["activate", "a--2"]).ok();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["uninstall"]).ok();
    assert!(!machine.path("root").exists());
}

#[test]
fn files_in_the_places_of_folders_of_a_set_block_nothing() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    for name in ["active.old", "bin.old", "lib.new", "active.new", "dcos.target.wants.old"] {
        machine.write(&format!("root/{name}"), "stray");
    }
    symlink("/etc", machine.path("root/etc.old")).unwrap();
    machine.run(&["activate", "a--2"]).ok();
    assert_eq!(machine.run(&["active"]).ok().stdout, "a--2\n");
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.run(&["active"]).ok().stdout, "a--1\n");
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[test]
fn a_record_that_cannot_be_read_has_a_remedy_that_helps() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    machine.write("root/install_progress", "");
    let record = machine.path("root/install_progress");
    let remedy = format!("rm {}", record.display());
    machine.run(&["activate", "a--2"]).fails(1).says(&remedy);
    machine.run(&["setup"]).fails(1).says(&remedy);
    std::fs::remove_file(record).unwrap();
    machine.run(&["activate", "a--2"]).ok();
}

#[test]
fn a_list_has_what_can_be_activated() {
    let machine = Machine::with_two_sets();
    machine.write("repo/file--1", "not a package");
    symlink("nowhere", machine.path("repo/gone--1")).unwrap();
    symlink("a--1", machine.path("repo/link--1")).unwrap();
    std::fs::create_dir(machine.path("repo/lost+found")).unwrap();
    let listed = machine.run(&["list"]).ok();
    assert!(listed.stdout.contains("link--1"), "{}", listed.stdout);
    for name in ["file", "gone", "lost"] {
        assert!(!listed.stdout.contains(name), "{}", listed.stdout);
    }
    machine.run(&["activate", "file--1"]).fails(1).says("file--1 is not in");
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["remove", "file--1", "gone--1"]).ok();
    assert!(machine.path("repo/gone--1").symlink_metadata().is_err());
}

#[test]
fn the_same_set_again_keeps_the_set_before() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["activate", "s--1"]).ok();
    for _ in 0..3 {
        machine.run(&["activate", "s--1"]).ok();
    }
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\n");
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.says(&["active"]), "s--1\n");
}

#[test]
fn what_one_root_goes_back_to_is_nothing_of_another_ones() {
    let machine = Machine::with_two_sets();
    std::fs::create_dir(machine.path("other")).unwrap();
    machine.package("c--1", "{}", &["bin/a"]);
    let other = |arguments: &[&str]| {
        let output = std::process::Command::new(super::binary())
            .args(arguments)
            .args([
                "--root=other",
                "--repository=repo",
                "--config-dir=conf",
                "--state-dir-root=state",
            ])
            .args(["--rooted-systemd", "--no-systemd"])
            .current_dir(machine.path(""))
            .output();
        crate::support::ran(&output.unwrap())
    };
    other(&["activate", "s--1"]).ok();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["activate", "a--2"]).ok();
    machine.run(&["activate", "a--1", "c--1"]).fails(1);
    other(&["rollback"]).fails(1).says("no set before this one");
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\n");
    assert_eq!(other(&["active"]).ok().stdout, "s--1\n");
    assert!(!machine.path("repo/.pkgpanda").exists(), "nothing is written into the repository");
}

#[test]
fn services_that_could_not_be_started_are_by_the_next_command() {
    for refused in ["daemon-reload", "enable", "start"] {
        let machine = with_systemctl(&format!("[ \"$1\" != {refused} ] || exit 1"));
        machine.run(&["activate", "a--1"]).fails(1).says("start them: pkgpanda setup");
        assert_eq!(machine.says(&["active"]), "a--1\n");
        // It still can't.
        let again = machine.run(&["setup"]).fails(1);
        again.says("their services can't be started").says("start them: pkgpanda setup");
        let others = machine.run(&["remove", "b--1"]).ok();
        assert!(others.stderr.contains("still can't be started"), "{refused}: {}", others.stderr);
        systemctl(&machine, "");
        machine.run(&["remove", "b--1"]).ok();
        assert!(machine.read("log").contains("start dcos.target"), "{refused}");
        systemctl(&machine, "");
        machine.run(&["setup"]).ok();
        assert!(!machine.path("log").exists(), "{refused}: nothing is left to do");
    }
}

#[test]
fn services_start_also_where_that_cannot_be_noted() {
    let machine = with_systemctl("");
    machine.run(&["activate", "a--1"]).ok();
    // As on a full disk: there is no place for the note.
    machine.write("root/.pkgpanda.pending/file", "");
    systemctl(&machine, "");
    machine.run(&["activate", "a--2"]).ok().says("cannot record that services are to be started");
    let log = machine.read("log");
    let (_, after) = log.split_once("stop a.service").unwrap();
    assert!(after.contains("start dcos.target"), "{log}");
    systemctl(&machine, "[ \"$1\" != start ] || exit 1");
    machine.run(&["activate", "a--1"]).fails(1).says("start them: pkgpanda setup");
    assert_eq!(machine.says(&["active"]), "a--1\n");
    // The next command knows of it nevertheless.
    std::fs::remove_dir_all(machine.path("root/.pkgpanda.pending")).unwrap();
    systemctl(&machine, "");
    machine.run(&["setup"]).ok();
    assert!(machine.read("log").contains("start dcos.target"));
    systemctl(&machine, "");
    machine.run(&["setup"]).ok();
    assert!(!machine.path("log").exists(), "nothing is left to do");
}

#[test]
fn units_that_still_run_are_named() {
    let script = "case $1 in stop) exit 5 ;; is-active) echo inactive; echo active; exit 3 ;; esac";
    let machine = with_systemctl("");
    machine.run(&["activate", "a--1", "s--1"]).ok();
    systemctl(&machine, script);
    machine.run(&["activate", "b--1", "a--2"]).fails(1).says("has not stopped s.service");
    assert_eq!(machine.says(&["active"]), "a--1\ns--1\n");
    systemctl(&machine, &script.replace("echo active", "echo unknown"));
    machine.run(&["activate", "a--2"]).ok();
}

#[test]
fn units_that_have_failed_are_named_and_forgotten_when_they_are_gone() {
    let machine = with_systemctl("[ \"$1\" != is-active ] || echo failed");
    machine.run(&["activate", "a--1"]).fails(1).says("these units have failed: a.service");
    assert_eq!(machine.says(&["active"]), "a--1\n");
    machine.package("e--1", "{}", &["bin/e"]);
    machine.run(&["activate", "e--1"]).ok();
    assert!(machine.read("log").contains("reset-failed -- a.service"));
}

#[test]
fn a_swap_that_fails_puts_units_back() {
    let machine = Machine::with_two_sets();
    machine.package("z--1", "{}", &["dcos.target.wants/z.service"]);
    machine.run(&["activate", "a--1", "z--1"]).ok();
    let before = machine.live();
    // Where the unit that goes is put aside there is a folder that nobody removes.
    machine.write("root/z.service.unit.old/file", "");
    machine.run(&["activate", "a--2", "s--1"]).fails(1).says("stays as it is");
    std::fs::remove_dir_all(machine.path("root/z.service.unit.old")).unwrap();
    assert_eq!(machine.live(), before);
    machine.run(&["activate", "a--2", "s--1"]).ok();
    let units = ["a.service", "s.service", "z.service", "z.service.unit.old"];
    let there = units.map(|unit| machine.path("root").join(unit).exists());
    assert_eq!(there, [true, true, false, false]);
}

#[test]
fn checks_fail_where_a_package_is_gone() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    machine.run(&["check"]).ok();
    std::fs::remove_dir_all(machine.path("repo/a--1")).unwrap();
    machine.run(&["check"]).fails(1).says("a--1 is active, but is not in the repository");
}

#[test]
fn listings_that_cannot_be_written_fail() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    for command in [
        &["active"][..],
        &["list"],
        &["active", "--format", "json"],
        &["list", "--format", "json"],
        &["activate", "--dry-run", "a--2"],
        &["--help"],
        &["list", "--help"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = machine.command(command).stdout(Stdio::from(full)).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("can't write the output"));
    }
}

#[test]
fn one_folder_may_be_the_root_and_the_repository() {
    let machine = Machine::with_two_sets();
    std::fs::remove_dir(machine.path("root")).unwrap();
    symlink("repo", machine.path("root")).unwrap();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["remove", "b--1"]).ok();
    assert!(!machine.path("repo/b--1").exists());
    assert!(!machine.path("repo/.pkgpanda.lock").exists());
}

#[test]
fn what_is_there_without_an_active_set_is_told() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1"]).ok();
    machine.run(&["activate", "s--1"]).ok();
    machine.write("root/install_progress", r#"{"stage": "archive", "extension": ".new"}"#);
    let listed = machine.run(&["active"]).ok();
    assert!(listed.stderr.contains("cut off") && listed.stdout == "s--1\n", "{listed:?}");
    std::fs::remove_file(machine.path("root/install_progress")).unwrap();
    std::fs::remove_dir_all(machine.path("root/active")).unwrap();
    machine.run(&["active"]).fails(1).says("pkgpanda rollback");
    machine.run(&["rollback"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1\n");
}

#[test]
fn listings_have_the_form_of_their_schemas() {
    let machine = Machine::with_two_sets();
    machine.package("c--1", r#"{"state_directory": true}"#, &["bin/c"]);
    machine.write("repo/c--1/check/one", "#!/bin/sh\n");
    let added = machine.offer("v--1", "{}", &["bin/v", "lib/v"]);
    machine.run(&["add", added.to_str().unwrap()]).ok();
    machine.run(&["activate", "a--1", "c--1", "v--1"]).ok();
    machine.write("repo/v--1/bin/v", "changed");
    machine.write("repo/v--1/bin/extra", "");
    std::fs::remove_file(machine.path("repo/v--1/lib/v")).unwrap();
    macro_rules! schema {
        ($name:literal) => {
            include_str!(concat!("../../../docs/schemas/pkgpanda-", $name, ".json"))
        };
    }
    for (schema, command, lines) in [
        (schema!("active"), &["active"][..], 3),
        (schema!("list"), &["list"], 6),
        (schema!("check"), &["check"], 1),
        (schema!("check-list"), &["check", "--list"], 1),
        (schema!("verify"), &["verify", "v--1"], 1),
        (schema!("preview"), &["activate", "--dry-run", "a--2", "s--1"], 6),
    ] {
        let arguments = [command, &["--format", "json"]].concat();
        let shown = machine.run(&arguments).stdout;
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let schema = serde_json::from_str(schema).unwrap();
        crate::schema_check::check(&schema, &value, &command.join(" ")).unwrap();
        let found = value.as_array().map_or_else(|| value.as_object().unwrap().len(), Vec::len);
        assert_eq!(found, lines, "{command:?}: {shown}");
    }
}

#[test]
fn a_preview_of_odd_paths_is_shown() {
    use std::os::unix::ffi::OsStrExt;
    let machine = Machine::with_two_sets();
    machine.package("c--1", r#"{"state_directory": true}"#, &["bin/c"]);
    let output = std::process::Command::new(super::binary())
        .args([
            "activate",
            "--dry-run",
            "--format=json",
            "c--1",
            "--root=root",
            "--repository=repo",
        ])
        .args(["--config-dir=conf", "--rooted-systemd", "--no-systemd", "--state-dir-root"])
        .arg(std::ffi::OsStr::from_bytes(b"st\xff"))
        .current_dir(machine.path(""))
        .output();
    let shown = crate::support::ran(&output.unwrap()).ok().stdout;
    assert!(shown.contains("st\u{fffd}/c"), "{shown}");
}

#[test]
fn a_service_without_settings_needs_none() {
    let machine = Machine::with_two_sets();
    let none = "no package wants settings for a.service: none made\n";
    machine.run(&["apply-service-configuration", "a.service"]).ok().says(none);
    machine.write("root/etc/dcos-service-configuration.json", r#"{"sysctl": {"a": {"../x": 1}}}"#);
    machine.run(&["apply-service-configuration", "b"]).ok().says("no package wants settings for b");
    // As with the original, that is no failure: units run it before any service.
    let near = "hint: did you mean a?\n";
    machine.run(&["apply-service-configuration", "a.service"]).ok().says(near);
    machine.run(&["apply-service-configuration", "a"]).fails(1).says("can't set ../x");
}
