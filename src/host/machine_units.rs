//! Units of the machine's, which no package may take over.
//!
//! A unit shadows one of the machine's if systemd finds that under the same name, in whatever folder, or
//! finds by that name the machine's template; if the machine starts something by that name already, or an
//! instance of that template; if a unit that came with the machine names it (`unit_text`); and if systemd has it
//! without a file (`fileless`).

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::fileless::{InUse, is_built_in};
use super::paths::Host;
use super::unit_name::template_of;
use super::unit_text::{is_special, named_in_bus, named_in_units};
use crate::install::WANTS;

/// Folders in which systemd looks for units (systemd.unit(5), table 1), generators' among them.
const UNIT_PATHS: [&str; 13] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// A unit that the machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineUnit {
    /// A file, or a link to one, perhaps one that leads nowhere.
    File(PathBuf),
    /// One that systemd has built in.
    BuiltIn,
    /// One whose name systemd or D-Bus look for.
    Special,
    /// One that a file of the machine's names.
    Named(PathBuf),
    /// What is mounted.
    Mount(PathBuf),
    /// What is used as swap space.
    Swap(PathBuf),
}

impl fmt::Display for MachineUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::BuiltIn => f.write_str("systemd makes it itself"),
            Self::Special => f.write_str("by that name the machine starts one, whatever it is"),
            Self::Named(path) => write!(f, "{} names it", path.display()),
            Self::Mount(path) => write!(f, "{} is mounted", path.display()),
            Self::Swap(path) => write!(f, "{} is swap space", path.display()),
        }
    }
}

/// The machine's units, as far as others can shadow them.
#[derive(Debug)]
pub(super) struct MachineUnits {
    /// Folders in which systemd looks for units, that of the copies first; `true` for that one.
    folders: Vec<(PathBuf, bool)>,
    /// Links by which the machine may start a unit, and that unit's name.
    links: Vec<(PathBuf, String)>,
    /// Files of the machine's own packages that name a unit, and that unit's name.
    texts: Vec<(PathBuf, String)>,
    in_use: InUse,
}

impl MachineUnits {
    /// Looks which folders and links there are, and what is mounted.
    pub(super) fn of(host: &Host) -> Self {
        if host.is_rooted() {
            let folders = vec![(host.units().to_owned(), true)];
            let in_use = InUse::default();
            return Self { folders, links: Vec::new(), texts: Vec::new(), in_use };
        }
        let mut all = Self::in_folders(host.units(), UNIT_PATHS.map(Path::new));
        all.in_use = InUse::read();
        all.texts.extend(named_in_bus());
        all
    }

    fn in_folders<'a>(units: &Path, paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let identity =
            |path: &Path| fs_err::metadata(path).map(|data| (data.dev(), data.ino())).ok();
        let own = identity(units);
        let mut folders = vec![(units.to_owned(), true)];
        for path in paths.into_iter().filter(|path| *path != units) {
            if let Some(found) = identity(path) {
                // One folder may have several names.
                folders.push((path.to_owned(), own == Some(found)));
            }
        }
        let mut links = Vec::new();
        for (folder, _) in &folders {
            links.extend(starts_in(folder));
            links.extend(aliases_in(folder, &folders));
        }
        let vendors =
            folders.iter().filter(|(path, is_units)| !is_units && !path.starts_with("/etc"));
        let texts = named_in_units(vendors.map(|(path, _)| path.as_path()));
        Self { folders, links, texts, in_use: InUse::default() }
    }

    /// What a unit would shadow; copies of the units of `own` are ours.
    pub(super) fn shadowed(&self, unit: &str, own: &[String]) -> Option<MachineUnit> {
        if is_built_in(unit) {
            return Some(MachineUnit::BuiltIn);
        }
        if is_special(unit) {
            return Some(MachineUnit::Special);
        }
        let is_own = |name: &str| own.iter().any(|own| own == name);
        let file = |name: &str| {
            let is_ours = is_own(name);
            let folders = self.folders.iter().filter(|(_, is_units)| !(*is_units && is_ours));
            let mut places = folders.map(|(folder, _)| folder.join(name));
            places.find(|place| place.symlink_metadata().is_ok())
        };
        let template = || template_of(unit).and_then(|template| file(&template));
        let found = file(unit).or_else(template).or_else(|| self.started(unit));
        let named = || self.named(unit).map(MachineUnit::Named);
        found.map(MachineUnit::File).or_else(named).or_else(|| {
            // One that is ours is in use because of us.
            let path = self.in_use.find(unit).filter(|_| !is_own(unit))?;
            let is_swap = unit.strip_suffix(".swap").is_some();
            Some(if is_swap { MachineUnit::Swap(path) } else { MachineUnit::Mount(path) })
        })
    }

    /// A link by which the machine starts a unit of a name, or an instance of that template, and which
    /// doesn't lead to our copy: that one an administrator has made for ours.
    fn started(&self, unit: &str) -> Option<PathBuf> {
        let (units, _) = self.folders.first()?;
        let mut links = self.links.iter().filter(|(_, name)| self.is_by(name, unit));
        let is_ours =
            |link: &Path| target_of(link).is_some_and(|it| it == plain(&units.join(unit)));
        links.find(|(link, _)| !is_ours(link)).map(|(link, _)| link.clone())
    }

    /// A file of the machine's that names a unit, or an instance of that template.
    fn named(&self, unit: &str) -> Option<PathBuf> {
        let mut texts = self.texts.iter();
        texts.find(|(_, name)| self.is_by(name, unit)).map(|(path, _)| path.clone())
    }

    /// True if a name leads to a unit: it is that one's, or that of an instance of it without a file of its own.
    fn is_by(&self, name: &str, unit: &str) -> bool {
        let has_own =
            || self.folders.iter().any(|(folder, _)| fs_err::metadata(folder.join(name)).is_ok());
        name == unit || (template_of(name).is_some_and(|it| it == unit) && !has_own())
    }
}

/// Path to which a link leads, as it reads.
fn target_of(link: &Path) -> Option<PathBuf> {
    let target = fs_err::read_link(link).ok()?;
    Some(plain(&link.parent()?.join(target)))
}

/// Links by which units start others, but for those of our own target.
fn starts_in(folder: &Path) -> Vec<(PathBuf, String)> {
    let is_starts = |name: &str| {
        [".wants", ".requires", ".upholds"].iter().any(|end| name.ends_with(end)) && name != WANTS
    };
    let folders = named(folder).into_iter().filter(|(_, name)| is_starts(name));
    folders.flat_map(|(folder, _)| named(&folder)).collect()
}

/// Other names for units: links to a name in a folder of units, whether that is there or not.
fn aliases_in(folder: &Path, folders: &[(PathBuf, bool)]) -> Vec<(PathBuf, String)> {
    let aliased = named(folder).into_iter().filter_map(|(link, _)| {
        let target = target_of(&link)?;
        let is_unit = folders.iter().any(|(folder, _)| target.parent() == Some(folder));
        let name = target.file_name()?.to_str().filter(|_| is_unit)?.to_owned();
        Some((link, name))
    });
    aliased.collect()
}

/// What is in a folder, if that can be read.
fn named(folder: &Path) -> Vec<(PathBuf, String)> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut named: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
        .collect();
    named.sort_unstable();
    named
}

/// A path without dots, as it reads.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
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
            (
                "lib/multi.target.wants/a.service",
                "a.service",
                Some("lib/multi.target.wants/a.service"),
            ),
            (
                "etc/x.service.requires/a.service",
                "a.service",
                Some("etc/x.service.requires/a.service"),
            ),
            (
                "run/x.service.upholds/a.service",
                "a.service",
                Some("run/x.service.upholds/a.service"),
            ),
            ("etc/dcos.target.wants/a.service", "a.service", None),
            (
                "etc/my.target.wants/a@x.service",
                "a@.service",
                Some("etc/my.target.wants/a@x.service"),
            ),
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
        assert_eq!(
            shadows(home.path(), "ours.service", false).as_deref(),
            Some("etc/ours.service")
        );
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
}
