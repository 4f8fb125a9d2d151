//! Merging of packages: the contents of an install root, before any write.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::contents::{PackageContents, check_unit_name};
use super::environment::{environment, service_configuration};
use super::error::{EntryOwner, InstallError};
use super::listing::ListedKind;
use super::{INSTALL_ROOT, WANTS, WELL_KNOWN};
use crate::archive::EntryPath;
use crate::package::json::canonical;
use crate::package::{PackageId, PackageName};

/// Options for the layout of an install root.
#[derive(Debug, Clone, Copy)]
pub struct InstallOptions<'a> {
    /// Final path of the install root, as used in its files.
    pub root: &'a str,
    /// Final path of the packages, as used in links.
    pub repository: &'a str,
    /// The machine's roles: `bin_<role>` counts as `bin`, and so on.
    pub roles: &'a [String],
    /// Handling of the packages' units.
    pub units: Units<'a>,
    /// Packages for which `packages/<id>/` is made, for something to be mounted there.
    pub mount_points: &'a [PackageId],
}

/// Handling of the packages' units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units<'a> {
    /// They are left out, and so is `dcos.target.wants`.
    None,
    /// They are copied into the install root itself.
    Root,
    /// Units are copied by the caller to this folder, the target of the links.
    Elsewhere(&'a str),
}

impl InstallOptions<'_> {
    /// Options for a bootstrap: in the install root, without units.
    pub fn bootstrap() -> Self {
        Self {
            root: INSTALL_ROOT,
            repository: "/opt/mesosphere/packages",
            roles: &[],
            units: Units::None,
            mount_points: &[],
        }
    }
}

impl<'a> InstallOptions<'a> {
    /// Options for a build: in the install root, with units, and with folders as mount points of
    /// packages.
    pub fn staging(mount_points: &'a [PackageId]) -> Self {
        Self { units: Units::Root, mount_points, ..Self::bootstrap() }
    }
}

/// Contents of an install root, without the packages themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallPlan {
    /// Entries by path below the root: in byte order, so folders precede their contents. Folders
    /// have mode 0755, files 0644.
    pub nodes: BTreeMap<EntryPath, InstallNode>,
    /// Units in `dcos.target.wants`.
    pub units: Vec<Unit>,
    /// Questionable but accepted contents.
    pub warnings: Vec<String>,
}

/// Entry of an install root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallNode {
    /// A folder.
    Directory,
    /// A symlink.
    Symlink(Vec<u8>),
    /// A file.
    File(Vec<u8>),
    /// A copy of a package's file.
    Copy {
        /// The package.
        package: PackageId,
        /// File in the package.
        file: EntryPath,
    },
}

/// A package's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Name, such as `dcos-x.service`.
    pub name: EntryPath,
    /// The package.
    pub package: PackageId,
    /// File in the package, not a link.
    pub file: EntryPath,
}

/// Puts packages together, sorted by id whatever order they come in.
pub fn plan_install(
    packages: &[PackageContents],
    options: &InstallOptions<'_>,
) -> Result<InstallPlan, InstallError> {
    let mut packages: Vec<&PackageContents> = packages.iter().collect();
    packages.sort_by_cached_key(|package| package.id.to_string());
    // Sorted before: which of two packages is named first in an error does not depend on their
    // order.
    let warnings = check_set(&packages)?;
    let mut farm = Farm { nodes: BTreeMap::new(), options };
    // They are there even if no package has such a folder: variables and services name them.
    for folder in WELL_KNOWN.into_iter().chain(["active"]) {
        farm.directory(path(folder), &EntryOwner::Install)?;
    }
    let texts = environment(options.root, &packages)?;
    // Before the packages' files, so that a conflict names the package as the one at fault.
    farm.file("environment", texts.0)?;
    farm.file("environment.export", texts.1)?;
    farm.file("etc/dcos-service-configuration.json", service_configuration(&packages)?)?;
    farm.file("active.buildinfo.full.json", buildinfos(&packages))?;
    for package in &packages {
        let link = path(&format!("active/{}", package.id.name()));
        let target = format!("{}/{}", options.repository, package.id);
        farm.leaf(link, InstallNode::Symlink(target.into()), &EntryOwner::Install)?;
        for folder in WELL_KNOWN {
            for part in farm.with_roles(folder) {
                farm.link_folder(package, folder, &part)?;
            }
        }
    }
    let mut units = Vec::new();
    if options.units != Units::None {
        farm.directory(path(WANTS), &EntryOwner::Install)?;
        for package in &packages {
            for part in farm.with_roles(WANTS) {
                farm.link_units(package, &part, &mut units)?;
            }
        }
    }
    if !options.mount_points.is_empty() {
        farm.directory(path("packages"), &EntryOwner::Install)?;
        for id in options.mount_points {
            farm.directory(path(&format!("packages/{id}")), &EntryOwner::Install)?;
        }
    }
    let nodes = farm.nodes.into_iter().map(|(path, (node, _))| (path, node)).collect();
    Ok(InstallPlan { nodes, units, warnings })
}

/// Converts a text that is a valid path by the rules of ids and constants.
fn path(text: &str) -> EntryPath {
    EntryPath::parse(text.as_bytes()).unwrap_or_default()
}

/// Checks the packages against one another by their names; returns warnings.
fn check_set(packages: &[&PackageContents]) -> Result<Vec<String>, InstallError> {
    let mut names: BTreeMap<&PackageName, &PackageContents> = BTreeMap::new();
    for package in packages {
        if let Some(other) = names.insert(package.id.name(), package) {
            return Err(if other.id == package.id {
                InstallError::Twice(package.id.clone())
            } else {
                InstallError::SameName(other.id.clone(), package.id.clone())
            });
        }
    }
    let mut warnings = Vec::new();
    for package in packages {
        for requirement in &package.info.requires {
            let Some(found) = names.get(&requirement.name) else {
                let (package, requirement) = (package.id.clone(), requirement.clone());
                return Err(InstallError::Requirement { package, requirement });
            };
            // A pkginfo.json doesn't say which variant it is; the other file may.
            let variant = found.buildinfo_full.as_ref().and_then(|info| info.get("variant"));
            // Only a warning: the original activates such a set, since it compares names alone
            // (`validate_compatible`).
            if variant.is_some_and(|variant| variant.as_str() != requirement.variant.name()) {
                warnings.push(format!(
                    "package {} requires {} in variant {}, but {} is another variant",
                    package.id, requirement.name, requirement.variant, found.id
                ));
            }
        }
    }
    Ok(warnings)
}

fn buildinfos(packages: &[&PackageContents]) -> String {
    let all: Map<String, Value> = packages
        .iter()
        .map(|package| {
            let info = package.buildinfo_full.clone().unwrap_or(Value::Null);
            (package.id.name().to_string(), info)
        })
        .collect();
    canonical(&Value::Object(all))
}

struct Farm<'a> {
    nodes: BTreeMap<EntryPath, (InstallNode, EntryOwner)>,
    options: &'a InstallOptions<'a>,
}

impl Farm<'_> {
    /// A folder, and the same of each role.
    fn with_roles(&self, folder: &str) -> Vec<String> {
        let roles = self.options.roles.iter().map(|role| format!("{folder}_{role}"));
        std::iter::once(folder.to_owned()).chain(roles).collect()
    }

    fn file(&mut self, name: &str, content: String) -> Result<(), InstallError> {
        self.leaf(path(name), InstallNode::File(content.into_bytes()), &EntryOwner::Install)
    }

    /// A folder, which can be several packages'.
    fn directory(&mut self, path: EntryPath, owner: &EntryOwner) -> Result<(), InstallError> {
        match self.nodes.get(&path) {
            Some((InstallNode::Directory, _)) => Ok(()),
            Some((_, file)) => Err(InstallError::FileAndFolder {
                path: shown(&path),
                folder: owner.clone(),
                file: file.clone(),
            }),
            None => {
                self.nodes.insert(path, (InstallNode::Directory, owner.clone()));
                Ok(())
            }
        }
    }

    /// Adds an entry other than a folder, which only a single package may have.
    fn leaf(
        &mut self,
        path: EntryPath,
        node: InstallNode,
        owner: &EntryOwner,
    ) -> Result<(), InstallError> {
        self.check_free(&path, owner)?;
        self.nodes.insert(path, (node, owner.clone()));
        Ok(())
    }

    /// Fails if there is something at a path already.
    fn check_free(&self, path: &EntryPath, owner: &EntryOwner) -> Result<(), InstallError> {
        match self.nodes.get(path) {
            None => Ok(()),
            Some((InstallNode::Directory, folder)) => Err(InstallError::FileAndFolder {
                path: shown(path),
                folder: folder.clone(),
                file: owner.clone(),
            }),
            Some((_, one)) => Err(InstallError::SameFile {
                path: shown(path),
                one: one.clone(),
                other: owner.clone(),
            }),
        }
    }

    /// Merges a package's folder `part` into `folder`: folders become folders, all else links.
    fn link_folder(
        &mut self,
        package: &PackageContents,
        folder: &str,
        part: &str,
    ) -> Result<(), InstallError> {
        let owner = EntryOwner::Package(package.id.clone());
        let prefix = format!("{}/{}/{part}/", self.options.repository, package.id);
        for (below, kind) in package.folder(part)? {
            let place = path(folder).join(&below);
            // A link to a folder stays a link, even where another package has a folder: only real
            // ones are merged.
            if *kind == ListedKind::Directory {
                self.directory(place, &owner)?;
            } else {
                let target = [prefix.as_bytes(), below.as_bytes()].concat();
                self.leaf(place, InstallNode::Symlink(target), &owner)?;
            }
        }
        Ok(())
    }

    /// Links a package's units, which are files and are copied.
    fn link_units(
        &mut self,
        package: &PackageContents,
        part: &str,
        units: &mut Vec<Unit>,
    ) -> Result<(), InstallError> {
        let owner = EntryOwner::Package(package.id.clone());
        for (name, _) in package.folder(part)? {
            // Checked here as well: packages of other tools were not checked when they were built.
            check_unit_name(&package.id, name.as_bytes())?;
            let file = package.unit_file(part, &name)?;
            let unit = Unit { name: name.clone(), package: package.id.clone(), file };
            let copies = match self.options.units {
                Units::None => continue,
                Units::Elsewhere(folder) => {
                    // Files that the caller copies into the root must not replace the root's own
                    // files.
                    if folder == self.options.root {
                        self.check_free(&name, &owner)?;
                    }
                    folder
                }
                Units::Root => {
                    let (package, file) = (unit.package.clone(), unit.file.clone());
                    self.leaf(name.clone(), InstallNode::Copy { package, file }, &owner)?;
                    self.options.root
                }
            };
            let target = [copies.as_bytes(), b"/", name.as_bytes()].concat();
            self.leaf(path(WANTS).join(&name), InstallNode::Symlink(target), &owner)?;
            units.push(unit);
        }
        Ok(())
    }
}

fn shown(path: &EntryPath) -> String {
    path.to_string()
}
