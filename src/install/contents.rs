//! Contents of a package that matter for its installation.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::InstallError;
use super::info::{PackageInfo, check_variables};
use super::listing::{ListedKind, PackageListing};
use super::{WANTS, WELL_KNOWN};
use crate::archive::{EntryPath, PackageIndex};
use crate::package::{PackageId, Problem, RESERVED_UNITS};

/// No description of a package is that long.
const LONGEST_DESCRIPTION: u64 = 64 << 20;

/// Package to install: its description, and the names of its files.
#[derive(Debug, Clone)]
pub struct PackageContents {
    /// Id of the package.
    pub id: PackageId,
    /// Contents of `pkginfo.json`.
    pub info: PackageInfo,
    /// Contents of `buildinfo.full.json`, if present.
    pub buildinfo_full: Option<Value>,
    pub(super) listing: PackageListing,
}

impl PackageContents {
    /// Reads the relevant contents of a package unpacked in a folder.
    pub fn from_directory(id: &PackageId, folder: &Path) -> Result<Self, InstallError> {
        let unreadable = |source| InstallError::Unreadable { package: id.clone(), source };
        let document = |name: &str| read_document(&folder.join(name)).map_err(unreadable);
        let (info, buildinfo_full) = (document("pkginfo.json")?, document("buildinfo.full.json")?);
        // The folder itself may lie in a view that only one process has.
        let shown = PathBuf::from(id.to_string());
        let info = parse_info(id, &shown, info.as_deref())?;
        let buildinfo_full = parse_buildinfo(id, &shown, buildinfo_full.as_deref())?;
        let mut listing =
            PackageListing::of_directory(folder, is_put_together).map_err(unreadable)?;
        // Services can lie anywhere, and links can lead anywhere inside of the package. Only then
        // is the whole folder read: a package may have thousands of files, and few of them are
        // merged.
        let links_matter = listing.iter().any(|(path, kind)| {
            let mut parts = path.parts();
            let top = parts.next().is_some_and(is_put_together);
            let unit = path.as_bytes().starts_with(WANTS.as_bytes());
            matches!(kind, ListedKind::Link(_)) && top && (unit || parts.next().is_none())
        });
        if links_matter || !info.sysctl.is_empty() {
            listing = PackageListing::of_directory(folder, |_| true).map_err(unreadable)?;
        }
        Ok(Self { id: id.clone(), info, buildinfo_full, listing })
    }

    /// Makes the contents from the index of a package's archive, whose path is `path`.
    pub fn from_index(
        id: &PackageId,
        path: &Path,
        index: &PackageIndex,
    ) -> Result<Self, InstallError> {
        Ok(Self {
            id: id.clone(),
            info: parse_info(id, path, index.pkginfo.as_deref())?,
            buildinfo_full: parse_buildinfo(id, path, index.buildinfo.as_deref())?,
            listing: PackageListing::of_index(index),
        })
    }

    /// Checks what can be checked when the package is built, whose script may have written everything in
    /// the folder: units, that `pkginfo.json` is there and an object, and the names and characters of variables
    /// (docs/format.md, "Units").
    pub fn check_built(id: &PackageId, folder: &Path) -> Result<(), InstallError> {
        // At the build already: a host would refuse the package only when it is activated.
        Self::check_units(id, folder)?;
        let unreadable = |source| InstallError::Unreadable { package: id.clone(), source };
        let shown = PathBuf::from(id.to_string());
        let content = read_document(&folder.join("pkginfo.json")).map_err(unreadable)?;
        let content = content.ok_or_else(|| InstallError::NoDescription(id.clone()))?;
        let text = utf8(id, &shown, "pkginfo.json", &content)?;
        check_variables(text).map_err(|problem| broken(id, &shown, "pkginfo.json", problem, text))
    }

    /// Checks units: no unit may have a reserved name, and a folder of units must be a folder
    /// (docs/format.md, "Units").
    fn check_units(id: &PackageId, folder: &Path) -> Result<(), InstallError> {
        let unreadable = |source| InstallError::Unreadable { package: id.clone(), source };
        let is_units = |name: &[u8]| name.starts_with(WANTS.as_bytes());
        let mut listing = PackageListing::of_directory(folder, is_units).map_err(unreadable)?;
        let tops: Vec<(EntryPath, ListedKind)> = listing
            .iter()
            .filter(|(path, _)| path.parts().count() == 1 && is_units(path.as_bytes()))
            .map(|(path, kind)| (path.clone(), kind.clone()))
            .collect();
        if tops.iter().any(|(_, kind)| matches!(kind, ListedKind::Link(_))) {
            listing = PackageListing::of_directory(folder, |_| true).map_err(unreadable)?;
        }
        for (top, _) in tops {
            for (unit, _) in folder_of(&listing, id, &top)? {
                check_unit_name(id, unit.as_bytes())?;
            }
        }
        Ok(())
    }

    /// The names of the services whose units lie anywhere in the package, without `.service`.
    pub(super) fn services(&self) -> BTreeSet<String> {
        let files = self.listing.iter().filter(|(_, kind)| **kind != ListedKind::Directory);
        let names = files.filter_map(|(path, _)| path.split().map(|(_, name)| name));
        let services = names.filter_map(|name| name.strip_suffix(b".service"));
        services.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// Entries below one of the merged folders; empty if missing.
    pub(super) fn folder(&self, name: &str) -> Result<Vec<(EntryPath, &ListedKind)>, InstallError> {
        // A role can have any name that a file can have.
        match EntryPath::parse(name.as_bytes()) {
            Ok(path) => folder_of(&self.listing, &self.id, &path),
            // No package can have a folder of such a name, so there is nothing to merge.
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The file that a unit is, links followed.
    pub(super) fn unit_file(
        &self,
        folder: &str,
        unit: &EntryPath,
    ) -> Result<EntryPath, InstallError> {
        let path = format!("{folder}/{}", String::from_utf8_lossy(unit.as_bytes()));
        let no_file =
            || InstallError::UnitIsNoFile { package: self.id.clone(), path: path.clone() };
        let full = EntryPath::parse(folder.as_bytes()).map_err(|_invalid| no_file())?.join(unit);
        let target = self.listing.resolve(&self.id, &full).ok_or_else(no_file)?;
        match self.listing.get(&target) {
            // A FIFO would hold up whoever copies the unit, a device may be anything.
            Some(ListedKind::File) => Ok(target),
            _ => Err(no_file()),
        }
    }
}

/// Entries below a folder, or below the target of a link; empty if missing.
fn folder_of<'a>(
    listing: &'a PackageListing,
    id: &PackageId,
    path: &EntryPath,
) -> Result<Vec<(EntryPath, &'a ListedKind)>, InstallError> {
    if listing.get(path).is_none() {
        return Ok(Vec::new());
    }
    let target = listing.resolve(id, path);
    match target.as_ref().and_then(|target| Some((target, listing.get(target)?))) {
        Some((target, ListedKind::Directory)) => Ok(listing.below(target)),
        // A file, or a link out of the package: nothing outside is read or listed on a package's
        // behalf.
        _ => Err(InstallError::NoFolder { package: id.clone(), path: path.to_string() }),
    }
}

/// Refuses units that belong to the host side.
pub(super) fn check_unit_name(id: &PackageId, unit: &[u8]) -> Result<(), InstallError> {
    match RESERVED_UNITS.iter().find(|reserved| reserved.as_bytes() == unit) {
        None => Ok(()),
        Some(unit) => {
            Err(InstallError::ReservedUnit { package: id.clone(), unit: (*unit).to_owned() })
        }
    }
}

/// True if a package's folder is merged into the root, perhaps for some role only.
fn is_put_together(name: &[u8]) -> bool {
    WELL_KNOWN.iter().chain([&WANTS]).any(|known| {
        let rest = name.strip_prefix(known.as_bytes());
        // The roles of hosts are not known here: `<folder>_<role>` is a folder of some role.
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_"))
    })
}

fn read_document(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Only regular files are documents; a link could lead anywhere.
    match fs_err::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() <= LONGEST_DESCRIPTION => {
            let mut content = Vec::new();
            // Limited once more, since the file may have grown after its length was read.
            fs_err::File::open(path)?.take(LONGEST_DESCRIPTION).read_to_end(&mut content)?;
            Ok(Some(content))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_info(
    id: &PackageId,
    place: &Path,
    content: Option<&[u8]>,
) -> Result<PackageInfo, InstallError> {
    let content = content.ok_or_else(|| InstallError::NoDescription(id.clone()))?;
    let text = utf8(id, place, "pkginfo.json", content)?;
    PackageInfo::parse(text).map_err(|problem| broken(id, place, "pkginfo.json", problem, text))
}

fn parse_buildinfo(
    id: &PackageId,
    place: &Path,
    content: Option<&[u8]>,
) -> Result<Option<Value>, InstallError> {
    const NAME: &str = "buildinfo.full.json";
    let Some(content) = content else { return Ok(None) };
    let text = utf8(id, place, NAME, content)?;
    let node = crate::package::json::JsonNode::parse(text);
    node.map(|node| Some(node.to_value())).map_err(|problem| broken(id, place, NAME, problem, text))
}

fn utf8<'a>(
    id: &PackageId,
    place: &Path,
    name: &str,
    content: &'a [u8],
) -> Result<&'a str, InstallError> {
    std::str::from_utf8(content).map_err(|_place_is_of_no_use| {
        broken(id, place, name, Problem::whole("this is not UTF-8"), "")
    })
}

fn broken(id: &PackageId, place: &Path, name: &str, problem: Problem, text: &str) -> InstallError {
    let report = Box::new(problem.in_file(&place.join(name), text));
    InstallError::Description { package: id.clone(), report }
}
