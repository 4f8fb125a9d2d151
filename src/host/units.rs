//! Owner of a unit: our packages, or the machine.
//!
//! ```text
//! <systemd>/dcos.target.wants/<unit>     a link to the copy of a unit of the active set
//! <systemd>/dcos.target.wants/.pkgpanda  the names of these units, a name a line
//! ```
//!
//! Links made by `systemctl enable` in that folder belong to the machine, so the record decides:
//! the record becomes active with the set, and systemd ignores names with a leading dot. A set
//! activated by an older version has no record; its units are those of its packages. With
//! `--rooted-systemd` the folder belongs to the install root, and everything inside is ours.
//!
//! A template has no link: systemd would start its instance `dcos` (`resolve_template`), which
//! nobody wants. Links of older versions mean that instance, which is stopped in place of the
//! template.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::active::linked;
use super::fileless::is_built_in;
use super::paths::{Host, with_suffix};
use super::repository::PackageRepository;
use super::systemd::{SystemdError, TARGET, units_in};
use super::unit_name::{instance_of, is_template, is_unit_name};
use crate::archive::EntryPath;
use crate::base::event::Silent;
use crate::install::{InstallNode, InstallPlan, WANTS, plan_install};

/// Name of the record in the folder of links.
const RECORD: &str = ".pkgpanda";

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
    // If the packages are unreadable, the links are the only source.
    let brought = brought(host, active);
    let is_brought = |unit: &String| brought.as_ref().is_none_or(|units| units.contains(unit));
    Ok(links.into_iter().filter(|unit| is_copy(unit) && is_brought(unit)).collect())
}

/// Names of the units that are ours of the set whose names end so. Half of a set may be in place already.
pub(super) fn own_of(host: &Host, end: &str) -> Result<Vec<String>, SystemdError> {
    let [wants, active] = [host.wants(), host.root().join("active")];
    own(host, &with_suffix(&wants, end), &with_suffix(&active, end))
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
    plan.nodes.insert(place(RECORD), InstallNode::File(text.into_bytes()));
    for template in names(plan).filter(|name| is_template(name)).collect::<Vec<_>>() {
        plan.nodes.remove(&place(&template));
    }
    let wants = host.wants();
    let own = own(host, &wants, &host.root().join("active"))?;
    for unit in units_in(&wants)?.into_iter().filter(|unit| !own.contains(unit)) {
        // An entry other than a link has no effect there.
        if let Ok(target) = fs_err::read_link(wants.join(&unit)) {
            let link = InstallNode::Symlink(target.as_os_str().as_bytes().to_vec());
            // The folder is swapped whole: links of `systemctl enable` would go with the set
            // before.
            plan.nodes.entry(place(&unit)).or_insert(link);
        }
    }
    Ok(())
}

/// Returns the units to stop when units with links in a folder are removed: none that the machine
/// has anyway, and for a template, which cannot be stopped, the instance that its link starts.
pub(super) fn stopped(wants: &Path, units: &[String]) -> Vec<String> {
    let target = TARGET.split_once('.').map_or(TARGET, |(prefix, _)| prefix);
    let units = units.iter().filter(|unit| !is_built_in(unit));
    let running = units.filter_map(|unit| {
        if !is_template(unit) {
            return Some(unit.clone());
        }
        wants.join(unit).is_symlink().then(|| instance_of(unit, target)).flatten()
    });
    running.collect()
}
