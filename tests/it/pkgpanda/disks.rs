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

/// A root whose set is in the lower layer of an overlay: its folders cannot be renamed, as in an image.
const OVERLAY: &str = "
    P activate a--1 b--1
    mkdir layers; mount -t tmpfs none layers; mkdir layers/upper layers/work
    if ! mount -t overlay -o lowerdir=root,upperdir=layers/upper,workdir=layers/work,redirect_dir=off none root; then
        echo skipped; exit 0
    fi
    rests() { find root layers/upper -name '*.gone.new' -o -name '*.moving.new' -o -name '*.new'; }
";

fn over_a_layer(machine: &Machine, script: &str) -> Option<String> {
    let said = in_namespace(machine, &format!("{OVERLAY}{script}"))?;
    if said.ends_with("skipped\n") {
        left_out("an overlay of a test's own", "it-root");
        return None;
    }
    Some(said)
}

#[test]
fn a_set_in_a_lower_layer_is_changed_as_any_other() {
    let machine = Machine::with_two_sets();
    let script = "
        if mv root/etc root/moved 2> /dev/null && [ -e layers/upper/moved ]; then mv root/moved root/etc; fi
        P activate a--2 s--1; P active; readlink root/bin/a2; rests
        P rollback 2> /dev/null; P active; readlink root/etc/a/one; rests
        P uninstall 2> /dev/null; ls -A root";
    let Some(said) = over_a_layer(&machine, script) else { return };
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    assert_eq!((&lines[..2], &lines[3..5]), (&["a--2", "s--1"][..], &["a--1", "b--1"][..]));
    assert!(lines[2].ends_with("repo/a--2/bin/a2") && lines[5].ends_with("repo/a--1/etc/a/one"));
}

#[test]
fn a_set_that_has_half_moved_is_not_taken_for_the_one_that_was() {
    let machine = Machine::with_two_sets();
    // What is mounted in a folder keeps that from being removed once it is copied.
    let script = "
        mount -t tmpfs none root/etc/a
        if P activate a--2 s--1 2> said; then exit 9; fi
        cat said; ls root | grep install_progress
        if P setup 2> said; then exit 9; fi
        umount root/etc/a
        P setup 2> /dev/null; P active; ls root/etc; rests
        P activate b--1 a--1; P active; readlink root/etc/a/two; rests";
    let Some(said) = over_a_layer(&machine, script) else { return };
    assert!(said.contains("and so did putting it back"), "{said}");
    assert!(!said.contains("stays as it is"), "{said}");
    let (_, after) = said.split_once("install_progress\n").unwrap();
    let lines: Vec<&str> = after.lines().collect();
    let expected = ["a--2", "s--1", "dcos-service-configuration.json", "a--1", "b--1"];
    assert_eq!(lines[..5], expected, "{said}");
    assert!(lines.len() == 6 && lines[5].ends_with("repo/b--1/etc/a/two"), "{said}");
}

#[test]
fn roots_and_repositories_may_be_mounts_and_links() {
    for (name, prepare, root, left) in [
        ("a mount", "mount -t tmpfs none root", "root", "packages\n"),
        ("a link", "rmdir root; mkdir real; ln -s real root", "root", "packages\n"),
        (
            "a link to a mount",
            "mkdir real; mount -t tmpfs none real; ln -s real linked",
            "linked",
            "packages\n",
        ),
        (
            "a mount in a mount",
            "mount -t tmpfs none root; mkdir root/r; mount -t tmpfs none root/r",
            "root/r",
            "packages\n",
        ),
    ] {
        let machine = Machine::with_two_sets();
        let script = format!(
            "{prepare}
            mkdir {root}/packages; mount -t tmpfs none {root}/packages; cp -a repo/. {root}/packages
            R() {{ c=$1; shift; \"$PKGPANDA\" $c --root={root} --repository={root}/packages --config-dir=conf --state-dir-root=state --rooted-systemd --no-systemd \"$@\"; }}
            R activate a--1 s--1; R activate a--2; R rollback 2> /dev/null; R active
            R swap a--2; R setup; R remove s--1 2> said && exit 9
            cat {root}/bin/a2 {root}/environment | head -n 1
            R rollback 2> /dev/null; R activate a--2; R remove s--1 > said; R list
            R uninstall 2> /dev/null; ls -A {root}; ls {root}/packages"
        );
        let Some(said) = in_namespace(&machine, &script) else { return };
        let expected =
            format!("a--1\ns--1\na--2 bin/a2\na:\n  1\n  2\nb--1\n{left}a--1\na--2\nb--1\n");
        assert_eq!(said, expected, "{name}");
    }
}
