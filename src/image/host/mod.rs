//! The embedded builder `host`: the machine's own programs as an image, without an image.
//!
//! The image's root is an empty folder into which `/usr` and its parts are mounted read-only, with
//! the few files of `/etc` that programs need. `/usr/local`, `/home`, `/root` and all other state
//! of the machine are not part of the image. This module is data only: the helper mounts. The id
//! depends on the installed programs (`identity`): the id changes when packages of the machine are
//! installed, updated or removed.

mod identity;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::RunConfig;
use super::digest::ImageId;

/// Entry point of the stock builder image, for build scripts.
const ENTRYPOINT: [&str; 7] = ["/bin/bash", "-o", "nounset", "-o", "pipefail", "-o", "errexit"];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Folders beside `/usr`, or links into `/usr`.
const TOP: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"];

/// Entries of `/etc` that programs read: library paths, certificates, and the parts of interpreters
/// that distributions keep there. Nothing secret, and nothing about this machine's network or time
/// zone: builds run in UTC.
const ETC: [&str; 32] = [
    "alpine-release",
    "alternatives",
    "arch-release",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "ld-musl-aarch64.path",
    "ld-musl-x86_64.path",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "login.defs",
    "lsb-release",
    "magic",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls",
    "protocols",
    "redhat-release",
    "rpc",
    "rpm",
    "services",
    "sgml",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "xml",
];

/// Families of folders in `/etc` whose names contain a version.
const ETC_FAMILIES: [&str; 2] = ["java-", "python3"];

/// Folders hidden where they exist: an administrator's own installations are not part of the
/// system.
const HIDDEN: [&str; 1] = ["usr/local"];

/// Folders that programs expect, empty here, with their modes.
const FOLDERS: [(&str, u32); 7] = [
    ("/home", 0o755),
    ("/opt", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/tmp", 0o1777),
    ("/var", 0o755),
    ("/var/tmp", 0o1777),
];

/// The machine as an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostImage {
    /// Digest of the system's identity, in place of an image's id.
    pub id: ImageId,
    /// Name of the system, for people.
    pub system: String,
    /// Parts of the root.
    pub root: HostRoot,
    /// Settings for a process, as in the stock builder image.
    pub config: RunConfig,
}

/// Parts of a root, in an otherwise empty folder. Targets are absolute paths in the root; a path's
/// parent folders come from the folders here, from binds, or are made with mode 0755.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostRoot {
    /// Folders to make.
    pub folders: Vec<HostFolder>,
    /// Read-only bind mounts of files and folders, in mount order.
    pub binds: Vec<HostBind>,
    /// Symbolic links to make.
    pub symlinks: Vec<Symlink>,
    /// Folders of a bind that are hidden below an empty mount.
    pub hidden: Vec<PathBuf>,
}

/// A folder to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFolder {
    /// Path in the root.
    pub path: PathBuf,
    /// Permissions of the folder.
    pub mode: u32,
}

/// A file or folder to mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBind {
    /// Path on the machine.
    pub source: PathBuf,
    /// Path in the root.
    pub target: PathBuf,
}

/// A symbolic link to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// Path in the root.
    pub path: PathBuf,
    /// Target of the symlink.
    pub target: PathBuf,
}

/// The machine can't be a builder.
#[derive(Debug, thiserror::Error)]
pub enum HostBuilderError {
    /// A program of the entry point is missing.
    #[error("the builder `host` needs {0}, which this machine doesn't have")]
    Program(&'static str),
    /// There is no `/usr`.
    #[error("the builder `host` needs {}, which is not a folder here", .0.display())]
    NoUsr(PathBuf),
    /// The system has no os-release file.
    #[error("the builder `host` can't tell which system this is: there is no os-release file")]
    NoRelease,
    /// No package database exists, so that the builds of different states could not be told apart.
    #[error(
        "the builder `host` can't tell which programs this machine has: it has no package \
         database of dpkg, rpm, apk or pacman"
    )]
    NoPackages,
    /// Something can't be read.
    #[error("the builder `host` can't be described: {0}")]
    Read(io::Error),
}

impl HostImage {
    /// Describes the machine whose root is `root`: `/`, but for tests.
    pub fn detect(root: &Path) -> Result<Self, HostBuilderError> {
        if !root.join("usr").is_dir() {
            return Err(HostBuilderError::NoUsr(root.join("usr")));
        }
        // Build scripts are run by bash, as by the original.
        if !["bin/bash", "usr/bin/bash"].iter().any(|path| root.join(path).exists()) {
            return Err(HostBuilderError::Program("/bin/bash"));
        }
        let system = identity::system(root)?;
        let host = host_root(root).map_err(HostBuilderError::Read)?;
        let id = identity::id(root)?;
        Ok(Self { id, system, root: host, config: config() })
    }
}

fn config() -> RunConfig {
    RunConfig {
        entrypoint: ENTRYPOINT.map(str::to_owned).to_vec(),
        cmd: Vec::new(),
        env: vec![("PATH".to_owned(), PATH.to_owned())],
        user: String::new(),
        working_dir: PathBuf::from("/"),
        unusable: None,
    }
}

fn host_root(root: &Path) -> io::Result<HostRoot> {
    let mut host = HostRoot {
        folders: FOLDERS.map(|(path, mode)| HostFolder { path: path.into(), mode }).to_vec(),
        ..HostRoot::default()
    };
    add(root, Path::new("usr"), &mut host)?;
    for name in TOP {
        add(root, Path::new(name), &mut host)?;
    }
    let mut etc: Vec<PathBuf> = ETC.iter().map(PathBuf::from).collect();
    for entry in entries(&root.join("etc"))? {
        let name = entry.to_string_lossy();
        if ETC_FAMILIES.iter().any(|family| name.starts_with(family)) {
            etc.push(entry);
        }
    }
    etc.sort();
    for name in etc {
        add(root, &Path::new("etc").join(name), &mut host)?;
    }
    host.hidden = HIDDEN
        .iter()
        .filter(|path| root.join(path).is_dir())
        .map(|path| Path::new("/").join(path))
        .collect();
    Ok(host)
}

/// Adds an existing path: a link into `/usr` as that link, all else as a mount.
fn add(root: &Path, path: &Path, host: &mut HostRoot) -> io::Result<()> {
    let place = root.join(path);
    let Ok(data) = fs_err::symlink_metadata(&place) else { return Ok(()) };
    let target = Path::new("/").join(path);
    if data.is_symlink() {
        let points_to = fs_err::read_link(&place)?;
        // As a link, so that `/bin/sh` and `/usr/bin/sh` stay the same file, as packages of merged
        // systems expect.
        if leads_into_usr(path, &points_to) {
            host.symlinks.push(Symlink { path: target, target: points_to });
            return Ok(());
        }
    }
    // A dangling link, or a link to an unreadable file, is left out. Resolved here: in the
    // namespace the same link would be followed from another root.
    if let Ok(source) = fs_err::canonicalize(&place) {
        host.binds.push(HostBind { source, target });
    }
    Ok(())
}

fn leads_into_usr(link: &Path, points_to: &Path) -> bool {
    let folder = Path::new("/").join(link.parent().unwrap_or(Path::new("")));
    let mut parts = Vec::new();
    for part in folder.join(points_to).components() {
        match part {
            std::path::Component::ParentDir => drop(parts.pop()),
            std::path::Component::Normal(name) => parts.push(name.to_owned()),
            _ => {}
        }
    }
    parts.first().is_some_and(|first| first == "usr")
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name().into())).collect(),
    }
}

#[cfg(test)]
mod tests;
