//! Activations that are cut off.

use super::Machine;

const OLD: [&str; 2] = ["a--1", "s--1"];
const NEW: [&str; 2] = ["a--2", "b--1"];

/// What a machine is before and after an activation.
struct Sets {
    machine: Machine,
    old: Vec<String>,
    new: Vec<String>,
}

fn sets() -> Sets {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", NEW[0], NEW[1]]).ok();
    let new = machine.live();
    machine.run(&["activate", OLD[0], OLD[1]]).ok();
    let old = machine.live();
    Sets { machine, old, new }
}

/// Puts the machine where a swap is, after as many renamings as `done` says.
fn cut_off(sets: &Sets, stage: &str, done: usize) {
    let root = sets.machine.path("root");
    let names = [
        "bin",
        "etc",
        "include",
        "lib",
        "dcos.target.wants",
        "environment",
        "environment.export",
        "active",
        "active.buildinfo.full.json",
    ];
    let rename =
        |from: String, to: String| std::fs::rename(root.join(from), root.join(to)).unwrap();
    // What is there becomes the prepared set, and its .old the active one.
    for name in names {
        rename(name.to_owned(), format!("{name}.new"));
        rename(format!("{name}.old"), name.to_owned());
    }
    std::fs::rename(root.join("a.service"), root.join("a.service.unit.new")).unwrap();
    sets.machine.write("root/a.service", "a--1 dcos.target.wants/a.service\n");
    sets.machine.write("root/s.service", "s--1 dcos.target.wants/s.service\n");
    let archived = if stage == "archive" { done } else { names.len() };
    for name in &names[..archived] {
        rename((*name).to_owned(), format!("{name}.old"));
    }
    let moved = if stage == "archive" { 0 } else { done };
    for name in &names[..moved] {
        rename(format!("{name}.new"), (*name).to_owned());
    }
    let text = format!(r#"{{"stage": "{stage}", "extension": ".new"}}"#);
    sets.machine.write("root/install_progress", &text);
}

#[test]
fn a_swap_is_finished_from_every_point_of_it() {
    let sets = sets();
    for stage in ["archive", "move_new"] {
        for done in 0..=9 {
            sets.machine.run(&["activate", OLD[0], OLD[1]]).ok();
            sets.machine.run(&["activate", NEW[0], NEW[1]]).ok();
            cut_off(&sets, stage, done);
            sets.machine.run(&["setup"]).ok().says("finished an activation");
            assert_eq!(sets.machine.live(), sets.new, "{stage} {done}");
            assert_eq!(sets.machine.says(&["setup"]), "");
            sets.machine.run(&["rollback"]).ok();
            assert_eq!(sets.machine.live(), sets.old, "{stage} {done}");
        }
    }
}

#[test]
fn whatever_changes_something_finishes_first_and_whatever_reads_says_so() {
    let sets = sets();
    sets.machine.run(&["activate", NEW[0], NEW[1]]).ok();
    cut_off(&sets, "move_new", 3);
    sets.machine.run(&["active"]).fails(1).says("pkgpanda setup");
    sets.machine.run(&["check"]).fails(1).says("cut off");
    sets.machine.run(&["activate", "a--1", "--dry-run"]).fails(1).says("cut off");
    assert_eq!(sets.machine.says(&["list"]), "a:\n  1\n  2\nb--1\ns--1\n");
    sets.machine.run(&["remove", "s--1", "a--2"]).fails(1).says("a--2 is active");
    assert_eq!(sets.machine.live(), sets.new);
}

#[test]
fn a_set_that_was_only_prepared_goes() {
    let sets = sets();
    sets.machine.write("root/bin.new/half", "");
    sets.machine.write("root/active.new/half", "");
    sets.machine.write("root/x.service.unit.new", "");
    sets.machine.write("root/install_progress.new", "{");
    sets.machine.run(&["setup"]).ok();
    assert_eq!(sets.machine.live(), sets.old);
    // And so does what is left of an archive that was being removed.
    std::fs::remove_dir_all(sets.machine.path("root/active.old")).unwrap();
    sets.machine.run(&["setup"]).ok();
    assert_eq!(sets.machine.root(), sets.old);
}

#[test]
fn a_swap_that_cannot_be_finished_is_left_alone() {
    let sets = sets();
    sets.machine.run(&["activate", NEW[0], NEW[1]]).ok();
    cut_off(&sets, "archive", 2);
    std::fs::remove_dir_all(sets.machine.path("root/lib.new")).unwrap();
    std::fs::remove_dir_all(sets.machine.path("root/lib")).unwrap();
    let before = sets.machine.root();
    sets.machine.run(&["setup"]).fails(1).says("lib.new");
    assert_eq!(sets.machine.root(), before);
    sets.machine.write("root/install_progress", "{}");
    sets.machine.run(&["setup"]).fails(1).says("install_progress");
    sets.machine.write("root/install_progress", r#"{"stage": "archive", "extension": "/../x"}"#);
    sets.machine.run(&["activate", "a--1"]).fails(1).says("/../x");
}

#[test]
fn the_commands_for_a_lost_set_put_the_previous_one_back() {
    for (stage, done) in [("archive", 5), ("move_new", 3)] {
        let sets = sets();
        sets.machine.run(&["activate", NEW[0], NEW[1]]).ok();
        cut_off(&sets, stage, done);
        std::fs::remove_dir_all(sets.machine.path("root/lib.new")).unwrap();
        let said = sets.machine.run(&["setup"]).fails(1).says("put the previous set back").stderr;
        let commands: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        assert_eq!(commands.last(), Some(&"pkgpanda setup"), "{said}");
        for command in &commands[..commands.len() - 1] {
            let ended = std::process::Command::new("sh").args(["-ec", command]).status().unwrap();
            assert!(ended.success(), "{command}");
        }
        sets.machine.run(&["setup"]).ok();
        assert_eq!(sets.machine.live(), sets.old, "{stage}: {said}");
    }
}

#[test]
fn what_cannot_be_written_is_undone() {
    let sets = sets();
    let before = sets.machine.live();
    if !super::is_root() {
        use std::os::unix::fs::PermissionsExt;
        let root = sets.machine.path("root");
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o555)).unwrap();
        sets.machine.run(&["activate", NEW[0], NEW[1]]).fails(1).says("denied");
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(sets.machine.live(), before);
    }
    // Not even root can write where a file is no folder.
    sets.machine.package("st--1", r#"{"state_directory": true}"#, &["bin/st"]);
    sets.machine.write("state", "no folder");
    sets.machine.run(&["activate", "st--1"]).fails(1).says("state/st");
    assert_eq!(sets.machine.live(), before);
    sets.machine.run(&["rollback"]).ok();
    assert_eq!(sets.machine.live(), sets.new);
}
