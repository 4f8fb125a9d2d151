//! Packages, services and other users that do harm: folders without end, names and values that are code,
//! locks, hard links, units of the machine's.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::disks::in_namespace;
use super::{Machine, is_root};
use crate::inside::left_out;
use crate::interrupt::eventually;
use crate::support::{Ran, ran};

/// What a loaded machine may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Another user.
const OTHER: &str = "65534";

/// Runs a command with few descriptors.
fn with_few(machine: &Machine, arguments: &[&str]) -> Ran {
    let plain = machine.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$@\"", "sh"]).arg(plain.get_program());
    command.args(plain.get_args()).current_dir(machine.path("")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&command.stdin(Stdio::null()).output().unwrap())
}

/// Makes an archive of a package by Python's `tarfile`, entries as `add(NAME, DATA)`, `folder(NAME)` and
/// `deep(FOLDER)`.
fn archive(machine: &Machine, id: &str, entries: &str) -> String {
    const MAKE: &str = "
import io, sys, tarfile
with tarfile.open(sys.argv[1], 'w:xz', format=tarfile.PAX_FORMAT) as tar:
    def add(name, data=b''):
        info = tarfile.TarInfo('./' + name); info.size = len(data); info.mode = 0o755
        tar.addfile(info, io.BytesIO(data))
    def folder(name):
        info = tarfile.TarInfo('./' + name); info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    def deep(top):
        for depth in range(301): folder(top + '/d' * depth)
        add(top + '/d' * 300 + '/f')
    folder('')
    exec(sys.argv[2])
";
    let path = machine.path(&format!("{id}.tar.xz")).display().to_string();
    let made = Command::new("python3").args(["-c", MAKE, &path, entries]).status();
    assert!(made.expect("python3 is missing; run: scripts/test prepare").success());
    path
}

const INFO: &str = "add('pkginfo.json', b'{}')\n";

#[test]
fn no_depth_of_folders_stops_anything() {
    let machine = Machine::new();
    let plain = archive(&machine, "a--1", &format!("{INFO}folder('bin')\nadd('bin/a')"));
    with_few(&machine, &["add", &plain]).ok();
    let refused = format!("{INFO}deep('share')\nadd('../x')");
    with_few(&machine, &["add", &archive(&machine, "refused--1", &refused)]).fails(1);
    let units = "folder('dcos.target.wants')\nadd('dcos.target.wants/d.service')";
    let entries = format!("{INFO}deep('bin')\n{units}");
    with_few(&machine, &["add", &archive(&machine, "deep--1", &entries)]).ok();
    with_few(&machine, &["add", &archive(&machine, "deep--2", &entries)]).ok();
    for ids in [&["a--1", "deep--1"][..], &["deep--2"], &["deep--1", "a--1"]] {
        with_few(&machine, &[&["activate"], ids].concat()).ok();
        with_few(&machine, &["verify"]).ok();
    }
    with_few(&machine, &["activate", "--dry-run", "deep--2"]).ok();
    with_few(&machine, &["rollback"]).ok();
    with_few(&machine, &["activate", "a--1"]).ok();
    with_few(&machine, &["remove", "deep--1", "deep--2"]).ok();
    assert_eq!(machine.says(&["list"]), "a--1\n");
    with_few(&machine, &["uninstall"]).ok();
    assert!(!machine.path("root").exists());
}

#[test]
fn what_cannot_be_swept_is_told_of_and_stops_nothing() {
    let machine = Machine::new();
    machine.offer("a--1", "{}", &["bin/a"]);
    let left = ["repo/.tmp-a--1.old", "repo/.tmp-held/in/it", "repo/.tmp-z"];
    for name in left {
        machine.write(&format!("{name}/file"), "");
    }
    machine.package("b--1", "{}", &[]);
    let script = "
        P activate b--1
        mount -t tmpfs none repo/.tmp-held/in/it
        echo kept > repo/.tmp-held/in/it/kept
        P add remote/packages/a/a--1.tar.xz 2> said
        cat said repo/.tmp-held/in/it/kept
        P remove a--1 2>&1
        ls -A repo";
    let Some(said) = in_namespace(&machine, script) else { return };
    let warning = "warning: what an earlier run left cannot be removed: failed to remove";
    assert_eq!(said.matches(warning).count(), 2, "{said}");
    assert!(said.contains("/repo/.tmp-held/in/it`: something is mounted there"), "{said}");
    assert!(said.contains("\nkept\n"), "{said}");
    assert!(
        said.ends_with("\rRemoving: a--1\rRemoved: a--1\n.pkgpanda\n.tmp-held\nb--1\n"),
        "{said}"
    );
}

/// Another user's process that holds a lock, until the test ends.
pub struct Holder(Child);

/// Has another user lock what any user can open.
pub fn locked_by_another(path: &Path) -> Option<Holder> {
    if !is_root() {
        left_out("another user's locks", "it-root");
        return None;
    }
    let folder = path.parent().unwrap();
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", OTHER, "--regid", OTHER, "--clear-groups", "flock", "--no-fork"]);
    let child = command.arg(path).args(["sleep", "1000"]).spawn().unwrap();
    let is_locked = || {
        let file = std::fs::File::open(path).unwrap();
        matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
    };
    eventually("the lock is taken", LIMIT, is_locked);
    Some(Holder(child))
}

impl Holder {
    /// Gives the lock up.
    pub fn end(self) {
        drop(self);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn another_users_lock_is_not_waited_for() {
    let machine = Machine::with_two_sets();
    machine.offer("n--1", "{}", &[]);
    let archive = machine.path("remote/packages/n/n--1.tar.xz").display().to_string();
    for (folder, arguments) in [("root", ["activate", "a--1"]), ("repo", ["add", &archive])] {
        let Some(other) = locked_by_another(&machine.path(folder)) else { return };
        let said = machine.run(&arguments).ok().stderr;
        assert!(!said.contains("waiting"), "{said}");
        other.end();
        assert!(!machine.path(folder).join(".pkgpanda.lock").exists());
    }
    assert_eq!(machine.says(&["active"]), "a--1\n");
}

#[test]
fn older_and_other_ones_are_kept_out_while_another_user_has_the_lock() {
    let mut machine = Machine::with_two_sets();
    machine.options.clear();
    machine
        .write("bin/systemctl", "#!/bin/sh\n[ \"$1\" != start ] || [ -e go ] || exec sleep 1000\n");
    let Some(other) = locked_by_another(&machine.path("root")) else { return };
    let start = |arguments: &[&str]| {
        let mut command = machine.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = start(&["activate", "a--1"]);
    eventually("the first one starts services", LIMIT, || {
        std::fs::read_dir(machine.path("root/active"))
            .is_ok_and(|mut entries| entries.next().is_some())
    });
    // Another one of this version waits for the file, which nobody else can open.
    let mut second = start(&["activate", "b--1", "a--2"]);
    let mut said = [0; 7];
    std::io::Read::read_exact(second.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"waiting");
    let lock = machine.path("root/.pkgpanda.lock");
    assert_eq!(lock.metadata().unwrap().mode() & 0o7777, 0o600);
    other.end();
    // As an older one would, which takes no other lock.
    let folder = std::fs::File::open(machine.path("root")).unwrap();
    eventually("the folder's lock is taken, too", LIMIT, || {
        let is_held = matches!(folder.try_lock(), Err(std::fs::TryLockError::WouldBlock));
        if !is_held {
            folder.unlock().unwrap();
        }
        is_held
    });
    machine.write("go", "");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(first.id().cast_signed()),
        nix::sys::signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(130));
    assert!(second.wait().unwrap().success());
    assert_eq!(machine.says(&["active"]), "a--2\nb--1\n");
}

#[test]
fn an_older_one_that_waits_behind_another_user_goes_first() {
    let machine = Machine::with_two_sets();
    let Some(other) = locked_by_another(&machine.path("root")) else { return };
    // As an older one, which is done when there is a file.
    let mut older = Command::new("flock");
    older.arg("--no-fork").arg(machine.path("root"));
    older.args(["sh", "-c", "until [ -e go ]; do sleep 0.01; done"]);
    let mut older = Holder(older.current_dir(machine.path("")).spawn().unwrap());
    let waits = || std::fs::read_to_string("/proc/locks").unwrap();
    let inode = format!(":{} ", machine.path("root").metadata().unwrap().ino());
    let is_waiting = |line: &str| line.contains("->") && line.contains(&inode);
    eventually("the older one waits", LIMIT, || waits().lines().any(is_waiting));
    let mut command = machine.command(&["activate", "a--1"]);
    let mut newer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 7];
    std::io::Read::read_exact(newer.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"waiting");
    other.end();
    std::thread::sleep(Duration::from_secs(2));
    assert!(!machine.path("root/active").exists(), "two at once");
    assert!(newer.try_wait().unwrap().is_none());
    machine.write("go", "");
    assert!(older.0.wait().unwrap().success() && newer.wait().unwrap().success());
    assert_eq!(machine.says(&["active"]), "a--1\n");
}

#[test]
fn values_are_values_and_names_are_names() {
    let machine = Machine::new();
    machine.package(
        "a--1",
        r#"{"environment": {"A": "$(touch ran)", "B": "it's \"x\\", "C": "plain=1"}}"#,
        &[],
    );
    let ran = machine.run(&["activate", "a--1"]).ok();
    ran.says("warning: package a--1: systemd reads the value of B differently: it has a backslash");
    let plain = machine.read("root/environment");
    assert!(plain.contains("\nA=$(touch ran)\nB=it's \"x\\\nC=plain=1\n"), "{plain}");
    let script = "cd root && . ./environment.export && printf '%s|%s|%s' \"$A\" \"$B\" \"$C\"";
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", script]).current_dir(machine.path("")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), r#"$(touch ran)|it's "x\|plain=1"#);
    assert!(!machine.path("root/ran").exists());
    assert!(machine.read("root/environment.export").contains("\nexport C=plain=1\n"));
    for name in ["A B", "X;touch ran;Y", "", "1A", "A-B"] {
        machine.package("b--1", &format!(r#"{{"environment": {{"{name}": "x"}}}}"#), &[]);
        machine.run(&["activate", "b--1"]).fails(1).says("can't be the name of a variable");
    }
}

#[test]
fn a_file_with_another_name_is_not_given_away() {
    if !is_root() {
        return left_out("files of another user's", "it-root");
    }
    let machine = Machine::new();
    // Whoever has this id: nothing runs as that user here.
    let group = "#!/bin/sh\n[ \"$1\" = passwd ] && echo \"$2:x:4242:4242::/:/\"\n";
    machine.write("bin/getent", group);
    let info = r#"{"state_directory": true, "username": "dcos_nobodys"}"#;
    machine.package("s--1", info, &[]);
    machine.run(&["activate", "s--1"]).ok();
    machine.write("roots", "secret");
    std::fs::hard_link(machine.path("roots"), machine.path("state/s/link")).unwrap();
    machine.write("state/s/deep/plain", "");
    symlink("../../roots", machine.path("state/s/symlink")).unwrap();
    let said = machine.run(&["activate", "s--1"]).ok();
    said.says("warning: s--1: files in").says("stay whose they are").says("\"link\"");
    let owner = |name: &str| machine.path(name).symlink_metadata().unwrap().uid();
    assert_eq!(owner("roots"), 0);
    for name in ["state/s", "state/s/deep", "state/s/deep/plain", "state/s/symlink"] {
        assert_eq!(owner(name), 4242, "{name}");
    }
}

/// The machine's folders of units, empty, in a mount namespace of the test's own, and a `systemctl`; `S`
/// is pkgpanda with units there.
const UNITS: &str = "
    for folder in /etc/systemd/system /usr/lib/systemd/system /run/systemd; do
        [ -d $folder ] || { echo skipped; exit 0; }
        mount -t tmpfs none $folder
    done
    U=/etc/systemd/system
    S() { c=$1; shift; \"$PKGPANDA\" $c --root=root --repository=repo --config-dir=conf --state-dir-root=state --no-systemd \"$@\"; }
    refused() { if S activate \"$@\" 2> said; then echo \"$* is not refused\"; else cat said >&2; grep -q \"$WHERE\" said || echo \"no $WHERE\"; fi; }
";

fn with_units(machine: &Machine, script: &str) -> Option<String> {
    let said = in_namespace(machine, &format!("{UNITS}{script}"))?;
    if said.ends_with("skipped\n") {
        left_out("folders of systemd's units", "it-root");
        return None;
    }
    Some(said)
}

#[test]
fn units_of_the_machine_stay_the_machines() {
    let machine = Machine::with_two_sets();
    machine.package("o--1", "{}", &["dcos.target.wants/o.service"]);
    machine.package("t--1", "{}", &["dcos.target.wants/t@x.service"]);
    let script = "
        echo m > /usr/lib/systemd/system/a.service; WHERE=/usr/lib/systemd/system/a.service refused a--1
        rm /usr/lib/systemd/system/a.service
        mkdir -p /run/systemd/generator; echo m > /run/systemd/generator/a.service
        WHERE=/run/systemd/generator/a.service refused a--1; rm /run/systemd/generator/a.service
        echo m > /usr/lib/systemd/system/t@.service; WHERE=t@.service refused t--1
        mkdir $U/multi-user.target.wants; ln -s /usr/lib/systemd/system/a.service $U/multi-user.target.wants
        WHERE=multi-user.target.wants/a.service refused a--1; rm $U/multi-user.target.wants/a.service
        ls -A $U root; echo activated
        S activate a--1 o--1
        cat $U/dcos.target.wants/.pkgpanda
        # An administrator enables a unit of the machine's, and one of ours; and disables one of ours.
        echo m > $U/m.service; ln -s $U/m.service $U/dcos.target.wants/m.service
        ln -s ../a.service $U/multi-user.target.wants/a.service
        rm $U/dcos.target.wants/o.service
        S activate a--2 s--1
        cat $U/m.service; readlink $U/dcos.target.wants/m.service
        cd $U; ls *.service; cd - > /dev/null
        S uninstall
        cd $U; find . -type f; cd - > /dev/null";
    let Some(said) = with_units(&machine, script) else { return };
    let lines: Vec<&str> = said.lines().skip_while(|line| *line != "activated").skip(1).collect();
    let expected = [
        "a.service",
        "o.service",
        "m",
        "/etc/systemd/system/m.service",
        "a.service",
        "m.service",
        "s.service",
        "./m.service",
    ];
    assert_eq!(lines, expected, "{said}");
    let complaints =
        said.lines().filter(|line| line.contains(" not refused") || line.starts_with("no "));
    assert_eq!(complaints.collect::<Vec<_>>(), [""; 0], "{said}");
}

#[test]
fn files_of_an_administrators_beside_units_stay() {
    let machine = Machine::with_two_sets();
    let script = "
        for name in m.service.unit.old m.service.unit.new notes.unit.old notes.unit.new; do
            echo m > $U/$name
        done
        S activate a--1 s--1; S activate a--2; S rollback; S remove a--2 > said; S setup
        # What was cut off at its very end.
        echo old > $U/a.service.unit.old; echo new > $U/s.service.unit.new
        S activate a--1
        ls $U/*.unit.*; S uninstall; ls $U; cat $U/*.unit.*";
    let Some(said) = with_units(&machine, script) else { return };
    let names = ["m.service.unit.new", "m.service.unit.old", "notes.unit.new", "notes.unit.old"];
    let expected: Vec<String> = names
        .iter()
        .map(|name| format!("/etc/systemd/system/{name}"))
        .chain(names.map(str::to_owned))
        .chain(std::iter::repeat_n("m".to_owned(), names.len()))
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn units_that_the_machine_only_names_are_the_machines() {
    let machine = Machine::new();
    let units = ["greeter", "display-manager", "dbus-org.freedesktop.x", "plain"];
    for (number, unit) in units.iter().enumerate() {
        machine.package(
            &format!("p{number}--1"),
            "{}",
            &[&format!("dcos.target.wants/{unit}.service")],
        );
    }
    let script = "
        printf '[Install]\nAlias=greeter.service\n' > /usr/lib/systemd/system/gdm.service
        printf '[Unit]\nRequires=plain.service\n' > $U/mine.service
        WHERE='systemd/system/gdm.service names it' refused p0--1
        WHERE='the machine starts one' refused p1--1
        WHERE='the machine starts one' refused p2--1
        S activate p3--1; S active";
    let Some(said) = with_units(&machine, script) else { return };
    assert_eq!(said, "p3--1\n");
}

#[test]
fn units_of_a_set_that_an_older_version_made_active_are_ours() {
    let machine = Machine::with_two_sets();
    machine.package("o--1", "{}", &["dcos.target.wants/o.service"]);
    let script = "
        S activate a--1 o--1
        rm $U/dcos.target.wants/.pkgpanda
        echo m > $U/m.service; ln -s $U/m.service $U/dcos.target.wants/m.service
        S activate a--2
        cd $U; ls *.service; cat dcos.target.wants/.pkgpanda";
    let Some(said) = with_units(&machine, script) else { return };
    assert_eq!(said, "a.service\nm.service\na.service\n");
}

#[test]
fn a_template_is_there_and_nothing_of_it_starts() {
    let machine = Machine::with_two_sets();
    machine.package("t--1", "{}", &["dcos.target.wants/t@.service"]);
    let point = machine.path("point");
    let escaped = point.to_str().unwrap().trim_start_matches('/').replace('-', "\\x2d");
    let unit = format!("dcos.target.wants/{}.mount", escaped.replace('/', "-"));
    machine.package("m--1", "{}", &[&unit]);
    let script = "
        S activate a--1 t--1
        cat $U/dcos.target.wants/.pkgpanda; ls $U $U/dcos.target.wants
        # As an older version made it active.
        rm $U/dcos.target.wants/.pkgpanda; ln -s $U/t@.service $U/dcos.target.wants/
        S activate a--2; rm -r $U/*.old
        ls $U $U/dcos.target.wants
        mkdir point; mount -t tmpfs none point
        WHERE='/point is mounted' refused m--1
        umount point; S activate m--1; mount -t tmpfs none point; S activate a--1 m--1; echo done";
    let Some(said) = with_units(&machine, script) else { return };
    let said: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let [units, wants] = ["/etc/systemd/system:", "/etc/systemd/system/dcos.target.wants:"];
    let first = ["a.service", "t@.service", units, "a.service", "dcos.target.wants", "t@.service"];
    let second = [wants, "a.service", units, "a.service", "dcos.target.wants", wants, "a.service"];
    assert_eq!(said[..13], [&first[..], &second].concat(), "{said:?}");
    // Neither "is not refused", nor that the message has not the reason.
    assert_eq!(said[13..], ["done"], "{said:?}");
}
