//! Identity of a system: its release and its packages.
//!
//! The digest is computed over lines, so that irrelevant changes do not count: of dpkg's status
//! file, the names and versions of installed packages count, and their descriptions do not.
//! Databases in a binary format are hashed whole.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::{HostBuilderError, entries};
use crate::base::digest::{Sha256, Sha256Sum};
use crate::image::digest::ImageId;

/// Version of the digest, changed together with its meaning, or with the builder's view of the
/// machine.
const VERSION: &str = "mkpanda host 2";

const RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];
const DPKG: &str = "var/lib/dpkg/status";
/// Folder with one file per package, in images without dpkg.
const DPKG_PARTS: &str = "var/lib/dpkg/status.d";
const APK: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
const PACMAN: &str = "var/lib/pacman/local";
const RPM: [&str; 2] = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
const RPM_FILES: [&str; 4] = ["Packages", "Packages.db", "rpmdb.sqlite", "rpmdb.sqlite-wal"];

/// Name of the system in its os-release file.
pub(super) fn system(root: &Path) -> Result<String, HostBuilderError> {
    let text = release(root)?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    Ok(value("PRETTY_NAME").or_else(|| value("NAME")).unwrap_or_else(|| "Linux".to_owned()))
}

/// The digest of release, packages and processor.
pub(super) fn id(root: &Path) -> Result<ImageId, HostBuilderError> {
    let mut lines = vec![
        VERSION.to_owned(),
        format!("architecture {}", std::env::consts::ARCH),
        format!("release {}", Sha256Sum::of(release(root)?.as_bytes())),
    ];
    let packages = packages(root).map_err(HostBuilderError::Read)?;
    // Without a list of packages the id would never change, and stale results would be taken for
    // new.
    if packages.is_empty() {
        return Err(HostBuilderError::NoPackages);
    }
    lines.extend(packages);
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    Ok(Sha256Sum::from_hasher(hasher).into())
}

fn release(root: &Path) -> Result<String, HostBuilderError> {
    for name in RELEASE {
        match fs_err::read_to_string(root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            text => return text.map_err(HostBuilderError::Read),
        }
    }
    Err(HostBuilderError::NoRelease)
}

fn packages(root: &Path) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    if let Some(file) = open(&root.join(DPKG))? {
        dpkg(file, &mut lines)?;
    }
    for part in entries(&root.join(DPKG_PARTS))? {
        if let Some(file) = open(&root.join(DPKG_PARTS).join(part))? {
            dpkg(file, &mut lines)?;
        }
    }
    for name in APK {
        digest("apk", &root.join(name), &mut lines)?;
    }
    for name in entries(&root.join(PACMAN))? {
        // A folder is called `<name>-<version>-<release>`; the file beside them is the database's
        // version.
        if root.join(PACMAN).join(&name).is_dir() {
            lines.push(format!("pacman {}", name.display()));
        }
    }
    // On newer systems, one of the two folders is a link to the other.
    if let Some(folder) = RPM.iter().map(|name| root.join(name)).find(|folder| folder.is_dir()) {
        for name in RPM_FILES {
            digest("rpm", &folder.join(name), &mut lines)?;
        }
    }
    lines.sort();
    lines.dedup();
    Ok(lines)
}

fn digest(kind: &str, path: &Path, lines: &mut Vec<String>) -> io::Result<()> {
    if let Some(file) = open(path)? {
        lines.push(format!("{kind} {}", Sha256Sum::of_reader(file)?));
    }
    Ok(())
}

/// Opens a file, if there is one.
fn open(path: &Path) -> io::Result<Option<fs_err::File>> {
    match fs_err::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(file) if !file.metadata()?.is_file() => Ok(None),
        opened => opened.map(Some),
    }
}

/// A stanza of dpkg's database, as far as it counts.
#[derive(Default)]
struct Stanza {
    package: String,
    version: String,
    architecture: String,
    /// Databases in parts have no status: all listed packages are installed.
    removed: bool,
}

fn dpkg(file: impl Read, lines: &mut Vec<String>) -> io::Result<()> {
    let mut stanza = Stanza::default();
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            stanza_line(&std::mem::take(&mut stanza), lines);
        } else if let Some((key, value)) = line.split_once(':') {
            let value = value.trim();
            match key {
                "Package" => value.clone_into(&mut stanza.package),
                "Version" => value.clone_into(&mut stanza.version),
                "Architecture" => value.clone_into(&mut stanza.architecture),
                // The third word, after the wish and the fault: `deinstall ok config-files` is a
                // removed package. Files of `status.d` have no such line.
                "Status" => stanza.removed = value.rsplit(' ').next() != Some("installed"),
                _ => {}
            }
        }
    }
    stanza_line(&stanza, lines);
    Ok(())
}

fn stanza_line(stanza: &Stanza, lines: &mut Vec<String>) {
    if !stanza.package.is_empty() && !stanza.removed {
        let Stanza { package, version, architecture, .. } = stanza;
        lines.push(format!("dpkg {package} {architecture} {version}"));
    }
}
