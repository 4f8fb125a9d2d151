//! Units that the machine names in texts alone: other names of its units, and those that it would start if
//! they were there (systemd.unit(5), systemd.socket(5), systemd.special(7), and D-Bus's files of services).
//!
//! Only what comes with the machine's own packages counts. A unit of an administrator's, in `/etc`, may name
//! one of a package, as that is how services are tied to those that are installed here.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::unit_name::{is_unit_name, template_of};
use crate::base::regular::open_regular;

/// Upper limit of a unit's text in bytes; of a longer one the beginning counts.
const LONGEST: u64 = 1 << 20;

/// Folders in which D-Bus finds services of the system's that systemd starts.
const BUS_FOLDERS: [&str; 5] = [
    "/run/dbus-1/system-services",
    "/etc/dbus-1/system-services",
    "/usr/local/share/dbus-1/system-services",
    "/usr/share/dbus-1/system-services",
    "/lib/dbus-1/system-services",
];

/// Settings whose values are units: other names, and what is started along or in turn.
const SETTINGS: [&str; 15] = [
    "Alias",
    "Also",
    "BindsTo",
    "OnFailure",
    "OnSuccess",
    "PropagatesReloadTo",
    "RequiredBy",
    "Requires",
    "Service",
    "Sockets",
    "SystemdService",
    "Unit",
    "Upholds",
    "WantedBy",
    "Wants",
];

/// Names that systemd gives to units of the machine's wherever it has them (systemd.special(7)), which are links
/// there, or nothing yet.
const SPECIAL: [&str; 9] = [
    "autovt@.service",
    "ctrl-alt-del.target",
    "dbus.service",
    "dbus.socket",
    "default.target",
    "display-manager.service",
    "kbrequest.target",
    "sigpwr.target",
    "syslog.service",
];

/// True if a name is one by which systemd or D-Bus start a unit of the machine's, whatever that is called.
pub(super) fn is_special(unit: &str) -> bool {
    let is_of_bus = unit.starts_with("dbus-org.freedesktop.") && unit.ends_with(".service");
    is_of_bus || SPECIAL.contains(&unit)
}

/// Units that texts in folders of units name, with the files that do.
pub(super) fn named_in_units<'a>(
    folders: impl IntoIterator<Item = &'a Path>,
) -> Vec<(PathBuf, String)> {
    let mut named = BTreeSet::new();
    for folder in folders {
        for path in files_in(folder) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if is_unit_name(name) {
                add(&path, Some(name), &mut named);
            } else if path.extension().is_some_and(|end| end == "d") {
                for path in files_in(&path) {
                    if path.extension().is_some_and(|end| end == "conf") {
                        add(&path, None, &mut named);
                    }
                }
            }
        }
    }
    named.into_iter().collect()
}

/// Units that D-Bus would have systemd start.
pub(super) fn named_in_bus() -> Vec<(PathBuf, String)> {
    let mut named = BTreeSet::new();
    for path in BUS_FOLDERS.iter().flat_map(|folder| files_in(Path::new(folder))) {
        add(&path, None, &mut named);
    }
    named.into_iter().collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn add(path: &Path, unit: Option<&str>, named: &mut BTreeSet<(PathBuf, String)>) {
    let mut text = Vec::new();
    let read = open_regular(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    if read.is_ok() {
        let units = units_of(&String::from_utf8_lossy(&text), unit);
        named.extend(units.into_iter().map(|unit| (path.to_owned(), unit)));
    }
}

/// Units that a text names; `unit` is the name of the unit whose text it is.
fn units_of(text: &str, unit: Option<&str>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_explicit = false;
    // A backslash at a line's end continues it, and stands for a blank (systemd.syntax(7)).
    for line in text.replace("\\\n", " ").lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.trim();
        if !SETTINGS.contains(&key) {
            continue;
        }
        // With such a line, the unit of the same name is not started.
        is_explicit |= key == "Unit" || key == "Service";
        found.extend(value.split_whitespace().filter_map(unit_of));
    }
    if !is_explicit {
        found.extend(unit.into_iter().flat_map(triggered));
    }
    found
}

/// The unit that a value is: of one that is only known when it is used, the template.
fn unit_of(value: &str) -> Option<String> {
    if !value.contains('%') {
        return is_unit_name(value).then(|| value.to_owned());
    }
    // A specifier (`%i`) may be anything, so only a name that has it in the instance alone leads to
    // a known template.
    let plain = value.replace('%', "_");
    template_of(&plain).filter(|template| is_unit_name(template) && !template.contains('_'))
}

/// Units that a unit starts that says nothing of them.
fn triggered(unit: &str) -> Vec<String> {
    match unit.rsplit_once('.') {
        Some((stem, "timer" | "path")) => vec![format!("{stem}.service")],
        // One for each connection, or one for all.
        Some((stem, "socket")) if stem.contains('@') => vec![format!("{stem}.service")],
        Some((stem, "socket")) => vec![format!("{stem}.service"), format!("{stem}@.service")],
        Some((stem, "automount")) => vec![format!("{stem}.mount")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_other_names_and_what_is_started() {
        let table: [(&str, Option<&str>, &[&str]); 14] = [
            ("[Install]\nAlias=a.service b.service\n", None, &["a.service", "b.service"]),
            ("Wants = a.service \\\n  b.target\n", None, &["a.service", "b.target"]),
            ("Requires=a.service\nBindsTo=b.mount\n", None, &["a.service", "b.mount"]),
            ("SystemdService=dbus-x.service\n", None, &["dbus-x.service"]),
            ("Wants=modprobe@drm.service\n", None, &["modprobe@drm.service"]),
            ("Wants=user@%i.service\n", None, &["user@.service"]),
            ("Wants=%i.service\n", None, &[]),
            // An order is only one where both are there.
            (
                "After=a.service\nBefore=b.service\nConflicts=c.service\nPartOf=d.service\n",
                None,
                &[],
            ),
            ("# Wants=a.service\n;Wants=b.service\nDescription=Wants=c.service\n", None, &[]),
            ("Wants=a b.device ../c.service -x.service\n", None, &[]),
            ("", Some("a.timer"), &["a.service"]),
            ("Unit=b.service\n", Some("a.timer"), &["b.service"]),
            ("", Some("a.socket"), &["a.service", "a@.service"]),
            ("", Some("a@.socket"), &["a@.service"]),
        ];
        for (text, unit, expected) in table {
            assert_eq!(units_of(text, unit).iter().collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn names_that_the_machine_gives_are_known() {
        for unit in ["display-manager.service", "dbus-org.freedesktop.resolve1.service"] {
            assert!(is_special(unit), "{unit}");
        }
        for unit in ["dbus-x.service", "manager.service", "dbus-org.freedesktop.a.socket"] {
            assert!(!is_special(unit), "{unit}");
        }
    }
}
