//! Units of the machine, and those that only seem to be.

use fs_err::os::unix::fs::symlink;

use super::*;

/// The units' folder, one of the machine's, and one of a generator's.
fn machine() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for folder in ["etc/multi-user.target.wants", "etc/dcos.target.wants", "lib", "run"] {
        fs_err::create_dir_all(home.path().join(folder)).unwrap();
    }
    home
}

fn shadows(home: &Path, unit: &str, is_own: bool) -> Option<String> {
    let own = [unit.to_owned()];
    found(home, unit, if is_own { &own } else { &[] })
}

fn found(home: &Path, unit: &str, own: &[String]) -> Option<String> {
    let [etc, lib, run] = ["etc", "lib", "run"].map(|name| home.join(name));
    let paths = [run.as_path(), etc.as_path(), lib.as_path()];
    let found = MachineUnits::in_folders(&etc, paths).shadowed(unit, own)?.to_string();
    let home = format!("{}/", home.display());
    Some(found.strip_prefix(&home).unwrap_or(&found).to_owned())
}

#[test]
fn no_unit_of_the_machines_is_shadowed() {
    // What the machine has, the unit that is brought, and what is found.
    let table = [
        ("etc/a.service", "a.service", Some("etc/a.service")),
        ("lib/a.service", "a.service", Some("lib/a.service")),
        ("run/a.service", "a.service", Some("run/a.service")),
        ("lib/b.service", "a.service", None),
        ("lib/a@.service", "a@.service", Some("lib/a@.service")),
        ("lib/a@.service", "a@x.service", Some("lib/a@.service")),
        ("etc/a@.service", "a@x.service", Some("etc/a@.service")),
        ("lib/a@.service", "a@x.socket", None),
        ("lib/a@.service", "a.service", None),
        ("lib/a@x.service", "a@.service", None),
        ("lib/a.service.d/x.conf", "a.service", None),
        ("lib/multi.target.wants/a.service", "a.service", Some("lib/multi.target.wants/a.service")),
        ("etc/x.service.requires/a.service", "a.service", Some("etc/x.service.requires/a.service")),
        ("run/x.service.upholds/a.service", "a.service", Some("run/x.service.upholds/a.service")),
        ("etc/dcos.target.wants/a.service", "a.service", None),
        ("etc/my.target.wants/a@x.service", "a@.service", Some("etc/my.target.wants/a@x.service")),
        (
            "lib/my.target.requires/a@x.y.service",
            "a@.service",
            Some("lib/my.target.requires/a@x.y.service"),
        ),
        ("etc/my.target.wants/a@x.service", "a@.socket", None),
        ("etc/my.target.wants/a@x.service", "b@.service", None),
        ("etc/my.target.wants/a@x.service", "a.service", None),
        ("etc/my.target.wants/a@.service", "a@x.service", None),
        ("lib/x", "system.slice", Some("systemd makes it itself")),
        ("lib/x", "user-1000.slice", Some("systemd makes it itself")),
    ];
    for (there, unit, expected) in table {
        let home = machine();
        let path = home.path().join(there);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "").unwrap();
        assert_eq!(shadows(home.path(), unit, false).as_deref(), expected, "{there}, {unit}");
    }
}

#[test]
fn links_are_the_machines_unless_they_lead_to_our_copy() {
    let home = machine();
    let link = |target: &str, name: &str| symlink(target, home.path().join(name)).unwrap();
    // An alias, a mask, a link that leads nowhere.
    link("/lib/systemd/system/sshd.service", "etc/ssh.service");
    link("/dev/null", "run/masked.service");
    link("/lib/systemd/system/gone.service", "etc/multi-user.target.wants/gone.service");
    for (unit, place) in [
        ("ssh.service", "etc/ssh.service"),
        ("masked.service", "run/masked.service"),
        ("gone.service", "etc/multi-user.target.wants/gone.service"),
    ] {
        assert_eq!(shadows(home.path(), unit, false).as_deref(), Some(place));
    }
    // By `systemctl enable` of a unit of ours, which may have gone meanwhile.
    link("../ours.service", "etc/multi-user.target.wants/ours.service");
    assert_eq!(shadows(home.path(), "ours.service", false), None);
    fs_err::write(home.path().join("etc/ours.service"), "").unwrap();
    assert_eq!(shadows(home.path(), "ours.service", true), None);
    assert_eq!(shadows(home.path(), "ours.service", false).as_deref(), Some("etc/ours.service"));
    // Another one appeared later.
    fs_err::write(home.path().join("lib/ours.service"), "").unwrap();
    assert_eq!(shadows(home.path(), "ours.service", true).as_deref(), Some("lib/ours.service"));
}

#[test]
fn no_template_gets_the_machines_instances() {
    let home = machine();
    let place = |name: &str| home.path().join(name);
    let wanted = "etc/multi-user.target.wants/t@tty1.service";
    let template = |is_own| shadows(home.path(), "t@.service", is_own);
    symlink("/lib/systemd/system/t@.service", place(wanted)).unwrap();
    assert_eq!(template(false).as_deref(), Some(wanted));
    assert_eq!(template(true).as_deref(), Some(wanted));
    // An instance that has a file of its own is no affair of the template's.
    fs_err::write(place("lib/t@tty1.service"), "").unwrap();
    assert_eq!(template(false), None);
    fs_err::remove_file(place("lib/t@tty1.service")).unwrap();
    // By `systemctl enable` of an instance of ours.
    fs_err::remove_file(place(wanted)).unwrap();
    symlink(place("etc/t@.service"), place(wanted)).unwrap();
    assert_eq!(template(false), None);
    fs_err::write(place("etc/t@.service"), "").unwrap();
    assert_eq!(template(true), None);
    // Nor are instances that come with their template.
    let own = ["t@.service".to_owned()];
    assert_eq!(found(home.path(), "t@x.service", &own), None);
    assert_eq!(found(home.path(), "t@x.service", &[]).as_deref(), Some("etc/t@.service"));
    fs_err::write(place("lib/t@.service"), "").unwrap();
    assert_eq!(found(home.path(), "t@x.service", &own).as_deref(), Some("lib/t@.service"));
}

#[test]
fn no_other_name_of_the_machines_leads_to_a_packages_unit() {
    let home = machine();
    let place = |name: &str| home.path().join(name);
    symlink(place("lib/gone.service"), place("etc/alias.service")).unwrap();
    symlink("../lib/t@x.service", place("run/instance.service")).unwrap();
    symlink("/opt/vendor/other.service", place("etc/linked.service")).unwrap();
    let found = |unit: &str| shadows(home.path(), unit, false);
    assert_eq!(found("gone.service").as_deref(), Some("etc/alias.service"));
    assert_eq!(found("t@.service").as_deref(), Some("run/instance.service"));
    assert_eq!(found("other.service"), None);
    // As `systemctl enable` makes it of an `Alias=` of ours.
    symlink(place("etc/ours.service"), place("etc/my.service")).unwrap();
    assert_eq!(found("ours.service"), None);
}

#[test]
fn what_a_text_of_the_machines_names_is_the_machines() {
    let home = machine();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    };
    write("lib/gdm.service", "[Install]\nAlias=greeter.service\nAlso=other.socket\n");
    write("lib/graphical.target", "[Unit]\nWants=wanted.service t@x.service\n");
    write("run/x.target.d/10.conf", "[Unit]\nRequires=required.service\n");
    write("lib/job.timer", "[Timer]\nOnCalendar=daily\n");
    // An administrator ties a unit to one of a package.
    write("etc/mine.service", "[Unit]\nRequires=ours.service\n");
    let found = |unit: &str| shadows(home.path(), unit, false);
    let named = |unit: &str| found(unit).is_some_and(|text| text.ends_with(" names it"));
    for unit in [
        "greeter.service",
        "other.socket",
        "wanted.service",
        "t@.service",
        "required.service",
        "job.service",
    ] {
        assert!(named(unit), "{unit}: {:?}", found(unit));
    }
    for unit in ["ours.service", "greeter.socket", "t@y.service", "x.service"] {
        assert_eq!(found(unit), None, "{unit}");
    }
    for unit in ["display-manager.service", "dbus-org.freedesktop.login1.service"] {
        assert!(found(unit).unwrap().contains("the machine starts one"), "{unit}");
    }
    // An instance with a file of its own is no affair of the template's.
    write("lib/t@x.service", "");
    assert_eq!(found("t@.service"), None);
}

#[test]
fn what_is_mounted_is_the_machines_unless_we_have_mounted_it() {
    let host = |systemd: Option<&str>| {
        Host::new(&crate::host::HostOptions {
            root: "/nowhere/root".into(),
            repository: "/nowhere/packages".into(),
            config: "/nowhere/config".into(),
            state: "/nowhere/state".into(),
            systemd: systemd.map(Into::into),
        })
        .unwrap()
    };
    let machine = MachineUnits::of(&host(Some("/nowhere/units")));
    let proc = MachineUnit::Mount("/proc".into());
    assert_eq!(proc.to_string(), "/proc is mounted");
    assert_eq!(machine.shadowed("proc.mount", &[]), Some(proc));
    assert_eq!(machine.shadowed("proc.mount", &["proc.mount".to_owned()]), None);
    // What is put together for another machine.
    assert_eq!(MachineUnits::of(&host(None)).shadowed("proc.mount", &[]), None);
}

#[test]
fn one_folder_may_have_two_names() {
    let home = machine();
    fs_err::remove_dir(home.path().join("lib")).unwrap();
    symlink("etc", home.path().join("lib")).unwrap();
    fs_err::write(home.path().join("etc/ours.service"), "").unwrap();
    assert_eq!(shadows(home.path(), "ours.service", true), None);
    assert!(shadows(home.path(), "ours.service", false).is_some());
}
