//! Whose a unit is: ours, or the machine's.
//!
//! ```text
//! <systemd>/dcos.target.wants/<unit>     a link to the copy of a unit of the active set
//! <systemd>/dcos.target.wants/.pkgpanda  the names of these units, a name a line
//! ```
//!
//! What `systemctl enable` links into that folder is the machine's, so the record decides: it becomes active
//! with the set, and systemd passes over names that begin with a dot. A set that an older version made
//! active has none; its units are those that its packages bring. With `--rooted-systemd` the folder is the
//! install root's own, and everything in it is ours.
//!
//! A unit shadows one of the machine's if systemd finds that under the same name, in whatever folder, or
//! finds by that name the machine's template; if the machine starts something by that name already; and if
//! systemd has it built in (systemd.unit(5), systemd.special(7)).

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::active::linked;
use super::paths::Host;
use super::repository::PackageRepository;
use super::systemd::{SystemdError, units_in};
use super::unit_name::{is_unit_name, template_of};
use crate::archive::EntryPath;
use crate::base::event::Silent;
use crate::install::{InstallPlan, Node, WANTS, plan_install};

/// Name of the record in the folder of links.
const RECORD: &str = ".pkgpanda";

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

/// Units that have no file: systemd has them built in.
const BUILT_IN: [&str; 3] = ["init.scope", "system.slice", "-.slice"];

/// Names of the units in a folder of links that are ours, sorted; `active` has the set's packages.
pub(super) fn own(host: &Host, wants: &Path, active: &Path) -> Result<Vec<String>, SystemdError> {
    // An older version took everything for a unit; what isn't can neither be stopped nor replaced.
    let mut links = units_in(wants)?;
    links.retain(|name| is_unit_name(name));
    if host.is_rooted() {
        return Ok(links);
    }
    if let Some(recorded) = recorded(wants).map_err(SystemdError::Units)? {
        return Ok(recorded);
    }
    if links.is_empty() {
        return Ok(links);
    }
    let is_copy = |unit: &String| {
        fs_err::read_link(wants.join(unit)).is_ok_and(|target| target == host.units().join(unit))
    };
    // Where the packages can't be read any more, the links are all that tells.
    let brought = brought(host, active);
    let is_brought = |unit: &String| brought.as_ref().is_none_or(|units| units.contains(unit));
    Ok(links.into_iter().filter(|unit| is_copy(unit) && is_brought(unit)).collect())
}

fn recorded(wants: &Path) -> io::Result<Option<Vec<String>>> {
    let text = match fs_err::read(wants.join(RECORD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let text = String::from_utf8_lossy(&text);
    Ok(Some(text.lines().filter(|name| is_unit_name(name)).map(str::to_owned).collect()))
}

/// Units that the packages of a set bring.
fn brought(host: &Host, active: &Path) -> Option<BTreeSet<String>> {
    let ids = linked(active).ok()??;
    let packages = PackageRepository::new(host, &Silent).load_all(&ids).ok()?;
    let roles = host.roles().ok()?;
    let plan = plan_install(&packages, &host.install_options(&roles)).ok()?;
    Some(names(&plan).collect())
}

fn names(plan: &InstallPlan) -> impl Iterator<Item = String> {
    plan.units.iter().map(|unit| String::from_utf8_lossy(unit.name.as_bytes()).into_owned())
}

/// Adds the record to a plan, and the links that are the machine's.
pub(super) fn add_record(host: &Host, plan: &mut InstallPlan) -> Result<(), SystemdError> {
    if host.is_rooted() {
        return Ok(());
    }
    let place = |name: &str| {
        let path = format!("{WANTS}/{name}");
        EntryPath::parse(path.as_bytes()).unwrap_or_default()
    };
    let mut text = String::new();
    for name in names(plan) {
        text.extend([&name, "\n"]);
    }
    plan.nodes.insert(place(RECORD), Node::File(text.into_bytes()));
    let wants = host.wants();
    let own = own(host, &wants, &host.root().join("active"))?;
    for unit in units_in(&wants)?.into_iter().filter(|unit| !own.contains(unit)) {
        // What is no link does nothing there.
        if let Ok(target) = fs_err::read_link(wants.join(&unit)) {
            let link = Node::Symlink(target.as_os_str().as_bytes().to_vec());
            plan.nodes.entry(place(&unit)).or_insert(link);
        }
    }
    Ok(())
}

/// The machine's units, as far as others can shadow them.
#[derive(Debug)]
pub(super) struct MachineUnits {
    /// Folders in which systemd looks for units, that of the copies first; `true` for that one.
    folders: Vec<(PathBuf, bool)>,
    /// Folders of links by which units start others.
    starts: Vec<PathBuf>,
}

impl MachineUnits {
    /// Looks which folders there are.
    pub(super) fn of(host: &Host) -> Self {
        if host.is_rooted() {
            return Self { folders: vec![(host.units().to_owned(), true)], starts: Vec::new() };
        }
        Self::in_folders(host.units(), UNIT_PATHS.map(Path::new))
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
        let starts = folders.iter().flat_map(|(folder, _)| starts_in(folder)).collect();
        Self { folders, starts }
    }

    /// Place of what a unit would shadow. `is_own` says that the copy of that name is ours.
    pub(super) fn shadowed(&self, unit: &str, is_own: bool) -> Option<PathBuf> {
        if BUILT_IN.contains(&unit) {
            return Some(unit.into());
        }
        let is_there = |place: &PathBuf| place.symlink_metadata().is_ok();
        let same = self.folders.iter().filter(|(_, is_units)| !(*is_units && is_own));
        let same = same.map(|(folder, _)| folder.join(unit)).find(is_there);
        let template = template_of(unit).and_then(|template| {
            self.folders.iter().map(|(folder, _)| folder.join(&template)).find(is_there)
        });
        same.or(template).or_else(|| self.started(unit))
    }

    /// A link by which the machine starts a unit of a name, and which doesn't lead to our copy: that one
    /// an administrator has made for ours.
    fn started(&self, unit: &str) -> Option<PathBuf> {
        let (units, _) = self.folders.first()?;
        let mut links = self.starts.iter().map(|folder| folder.join(unit));
        links.find(|link| match (link.symlink_metadata(), fs_err::read_link(link)) {
            (Ok(_), Ok(target)) => {
                let target = link.parent().unwrap_or(units).join(target);
                plain(&target) != plain(&units.join(unit))
            }
            (there, _) => there.is_ok(),
        })
    }
}

/// Folders of links by which units start others, but for that of our own target.
fn starts_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let starts = names.filter(|name| {
        let ends = [".wants", ".requires", ".upholds"];
        ends.iter().any(|end| name.as_bytes().ends_with(end.as_bytes())) && name != WANTS
    });
    starts.map(|name| folder.join(name)).collect()
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
        let [etc, lib, run] = ["etc", "lib", "run"].map(|name| home.join(name));
        let paths = [run.as_path(), etc.as_path(), lib.as_path()];
        let found = MachineUnits::in_folders(&etc, paths).shadowed(unit, is_own)?;
        Some(found.strip_prefix(home).unwrap_or(&found).display().to_string())
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
            ("lib/x", "init.scope", Some("init.scope")),
            ("lib/x", "system.slice", Some("system.slice")),
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
    fn one_folder_may_have_two_names() {
        let home = machine();
        fs_err::remove_dir(home.path().join("lib")).unwrap();
        symlink("etc", home.path().join("lib")).unwrap();
        fs_err::write(home.path().join("etc/ours.service"), "").unwrap();
        assert_eq!(shadows(home.path(), "ours.service", true), None);
        assert!(shadows(home.path(), "ours.service", false).is_some());
    }
}
