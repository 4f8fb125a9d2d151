//! Packages by name, and by the beginning of an id.

use super::Machine;

#[test]
fn names_and_beginnings_that_mean_one_package_do_for_ids() {
    let machine = Machine::new();
    for id in ["a--1f00", "a--2f00", "ab--3c", "b--4d"] {
        machine.package(id, "{}", &[]);
    }
    machine.run(&["activate", "a--1", "ab", "b--"]).ok();
    assert_eq!(machine.says(&["active"]), "a--1f00\nab--3c\nb--4d\n");
    machine.run(&["swap", "a--2"]).ok();
    assert_eq!(machine.says(&["active"]), "a--2f00\nab--3c\nb--4d\n");
    machine
        .run(&["swap", "a"])
        .fails(1)
        .says("a is not one package: a--1f00, a--2f00\n")
        .says("hint: ");
    machine
        .run(&["activate", "--dry-run", "nix"])
        .fails(1)
        .says("no package on this machine is called nix");
    machine.run(&["verify", "abb"]).fails(1).says("hint: did you mean ab?");
    // What is active counts where it is looked at.
    machine.run(&["verify", "a"]).fails(1).says("no record of the files that package a--2f00 had");
    machine.run(&["remove", "a--1f"]).ok();
    machine.run(&["remove", "ab"]).fails(1).says("ab--3c");
    machine.run(&["remove", "c--9"]).ok();
    assert_eq!(machine.says(&["list"]), "a--2f00\nab--3c\nb--4d\n");
}
