//! The embedded builder `host`: the machine's own programs as an image, without an image.
//!
//! Its root is an empty one into which `/usr` and what belongs to it are mounted read-only, with
//! the few files of `/etc` that programs need. `/usr/local`, `/home`, `/root` and all other state
//! of the machine are not part of it. This is data only: the helper does the mounting. The id says
//! which programs there are (`identity`): it changes when packages of the machine are installed,
//! updated or removed.

mod identity;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::RunConfig;
use super::digest::ImageId;

/// What the stock builder image starts a build script with.
const ENTRYPOINT: [&str; 7] = ["/bin/bash", "-o", "nounset", "-o", "pipefail", "-o", "errexit"];
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What lies beside `/usr`, or is a link into it.
const TOP: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"];

/// What programs read in `/etc`: where libraries are, certificates, and the parts of
/// interpreters that distributions keep there. Nothing secret, nothing about this machine's network or
/// its time zone: builds run in UTC.
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

/// Families of folders in `/etc` whose names have a version in them.
const ETC_FAMILIES: [&str; 2] = ["java-", "python3"];

/// What is hidden where it exists: what an administrator installs there is no part of the system.
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
    /// The digest of what the system says of itself; stands where an image's id would.
    pub id: ImageId,
    /// What the system calls itself, for people.
    pub system: String,
    /// What its root is made of.
    pub root: HostRoot,
    /// How a process runs in it: as the stock builder image has it.
    pub config: RunConfig,
}

/// What a root is made of, in an otherwise empty folder. Targets are absolute paths in that root;
/// a path's parent folders come from the folders here, from binds, or are to be made, 0755.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostRoot {
    /// Folders to make.
    pub folders: Vec<Folder>,
    /// What to mount read-only, in this order; files and folders.
    pub binds: Vec<Bind>,
    /// Symbolic links to make.
    pub symlinks: Vec<Symlink>,
    /// Folders of a bind over which an empty one is to be mounted.
    pub hidden: Vec<PathBuf>,
}

/// A folder to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its path in the root.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// A file or folder to mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Its path on the machine.
    pub source: PathBuf,
    /// Its path in the root.
    pub target: PathBuf,
}

/// A symbolic link to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// Its path in the root.
    pub path: PathBuf,
    /// What it points to.
    pub target: PathBuf,
}

/// The machine can't be a builder.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A program that the entrypoint needs isn't there.
    #[error("the builder `host` needs {0}, which this machine doesn't have")]
    Program(&'static str),
    /// There is no `/usr`.
    #[error("the builder `host` needs {}, which is not a folder here", .0.display())]
    NoUsr(PathBuf),
    /// Nothing says which system this is.
    #[error("the builder `host` can't tell which system this is: there is no os-release file")]
    NoRelease,
    /// Nothing says which packages there are, so that builds could not be told apart.
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
    pub fn detect(root: &Path) -> Result<Self, HostError> {
        if !root.join("usr").is_dir() {
            return Err(HostError::NoUsr(root.join("usr")));
        }
        if !["bin/bash", "usr/bin/bash"].iter().any(|path| root.join(path).exists()) {
            return Err(HostError::Program("/bin/bash"));
        }
        let system = identity::system(root)?;
        let host = host_root(root).map_err(HostError::Read)?;
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
        folders: FOLDERS.map(|(path, mode)| Folder { path: path.into(), mode }).to_vec(),
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

/// Adds a path, if it is there: a link into `/usr` as that link, all else as a mount.
fn add(root: &Path, path: &Path, host: &mut HostRoot) -> io::Result<()> {
    let place = root.join(path);
    let Ok(data) = fs_err::symlink_metadata(&place) else { return Ok(()) };
    let target = Path::new("/").join(path);
    if data.is_symlink() {
        let points_to = fs_err::read_link(&place)?;
        if leads_into_usr(path, &points_to) {
            host.symlinks.push(Symlink { path: target, target: points_to });
            return Ok(());
        }
    }
    // What dangles, or leads to what the caller may not read, is left out.
    if let Ok(source) = fs_err::canonicalize(&place) {
        host.binds.push(Bind { source, target });
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
