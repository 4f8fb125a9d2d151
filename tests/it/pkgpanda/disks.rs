//! An install root on a disk that is full, or that takes nothing at all.

use std::process::Command;

use super::{Machine, binary, is_root};
use crate::inside::left_out;

/// A shell script in a mount namespace of its own, with `$P` for pkgpanda and its options; what it printed. `None`
/// where there are no such namespaces.
pub(super) fn in_namespace(machine: &Machine, script: &str) -> Option<String> {
    let user: &[&str] = if is_root() { &[] } else { &["--user", "--map-root-user"] };
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(user).args(["--mount", "sh", "-c", script]).current_dir(machine.path(""));
        command.output().unwrap()
    };
    if !unshare("mount -t tmpfs none root && umount root").status.success() {
        left_out("mounts of a test's own", "it-root");
        return None;
    }
    let options = "--root=root --repository=repo --config-dir=conf --state-dir-root=state --rooted-systemd --no-systemd";
    let output = unshare(&format!(
        "PKGPANDA={0}; P() {{ c=$1; shift; {0} $c {options} \"$@\"; }}\nset -e\n{script}",
        binary().display()
    ));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_full_disk_leaves_the_set_as_it_is() {
    let machine = Machine::with_two_sets();
    let script = "
        for inodes in $(seq 20 80); do
            mount -t tmpfs -o nr_inodes=$inodes none root
            if P activate a--1 s--1 2> said; then
                P active > before
                if P activate a--2 b--1 2> said; then
                    echo room
                else
                    grep -q 'No space left' said
                    P active | cmp - before
                    ! ls root | grep '\\.new$\\|install_progress'
                    readlink root/bin/a | grep -q a--1
                    echo full
                fi
            else
                grep -q 'No space left' said
                ! ls root | grep .
                echo never
            fi
            umount root
        done";
    let Some(said) = in_namespace(&machine, script) else { return };
    for outcome in ["never", "full", "room"] {
        assert!(said.lines().any(|line| line == outcome), "no {outcome} in {said}");
    }
}

#[test]
fn a_root_that_is_read_only_is_named() {
    let machine = Machine::with_two_sets();
    machine.run(&["activate", "a--1", "s--1"]).ok();
    let script = "
        mount --bind root root && mount -o remount,ro,bind root
        for command in 'activate a--2 b--1' 'swap a--2' rollback uninstall; do
            if P $command 2> said; then exit 9; else [ $? = 1 ]; fi
            grep -q 'Read-only file system\\|no set before' said
            grep -q root/ said || grep -q 'no set before' said
        done
        P active; P check; P setup 2>&1";
    let Some(said) = in_namespace(&machine, script) else { return };
    assert!(said.starts_with("a--1\ns--1\n"), "{said}");
    machine.run(&["activate", "a--2", "b--1"]).ok();
}
