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

/// Folders in which systemd searches units (systemd.unit(5), table 1), including those of
/// generators.
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

/// Unit of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineUnit {
    /// A file or a link, possibly broken.
    File(PathBuf),
    /// A built-in unit.
    BuiltIn,
    /// One whose name systemd or D-Bus look for.
    Special,
    /// One that a file of the machine's names.
    Named(PathBuf),
    /// What is mounted.
    Mount(PathBuf),
    /// Active swap space.
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
    /// Folders in which systemd searches units, the folder of our copies first, marked with `true`.
    folders: Vec<(PathBuf, bool)>,
    /// Links by which the machine may start a unit, with the unit's name.
    links: Vec<(PathBuf, String)>,
    /// Files of the machine's own packages that name a unit, and that unit's name.
    texts: Vec<(PathBuf, String)>,
    in_use: InUse,
}

impl MachineUnits {
    /// Reads the machine's folders, links and mounts.
    pub(super) fn of(host: &Host) -> Self {
        // Units stay within the root then, so that systemd never sees them beside the machine's.
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
                // One folder may have several names: `/lib` is a link to `/usr/lib` on merged
                // machines.
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

    /// Returns the machine's unit that a unit would shadow; copies of the units of `own` are ours.
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
            // Also a dangling link, or one to `/dev/null`: that is how a unit is masked.
            places.find(|place| place.symlink_metadata().is_ok())
        };
        // systemd takes the template's file for an instance without one of its own
        // (systemd.unit(5)).
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

    /// Returns a link by which the machine starts a unit of a name, or an instance of that
    /// template, except a link to our copy, which an administrator has made for our unit.
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

/// Target of a link, unresolved.
fn target_of(link: &Path) -> Option<PathBuf> {
    let target = fs_err::read_link(link).ok()?;
    Some(plain(&link.parent()?.join(target)))
}

/// Returns links by which units start others, except those of our own target.
fn starts_in(folder: &Path) -> Vec<(PathBuf, String)> {
    let is_starts = |name: &str| {
        // The three kinds of folders whose links are dependencies (systemd.unit(5)).
        [".wants", ".requires", ".upholds"].iter().any(|end| name.ends_with(end)) && name != WANTS
    };
    let folders = named(folder).into_iter().filter(|(_, name)| is_starts(name));
    folders.flat_map(|(folder, _)| named(&folder)).collect()
}

/// Aliases of units: links to a name in a folder of units, even to a missing one.
fn aliases_in(folder: &Path, folders: &[(PathBuf, bool)]) -> Vec<(PathBuf, String)> {
    let aliased = named(folder).into_iter().filter_map(|(link, _)| {
        let target = target_of(&link)?;
        let is_unit = folders.iter().any(|(folder, _)| target.parent() == Some(folder));
        let name = target.file_name()?.to_str().filter(|_| is_unit)?.to_owned();
        Some((link, name))
    });
    aliased.collect()
}

/// Entries of a folder, if readable.
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
mod tests;
