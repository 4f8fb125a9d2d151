//! Paths of a machine.

use std::io;
use std::path::{Path, PathBuf, absolute};

use crate::install::{InstallOptions, Units, WANTS, WELL_KNOWN};
use crate::package::noncharacter_in;

/// Files that are swapped beside the merged folders.
const FILES: [&str; 4] =
    ["environment", "environment.export", "active", "active.buildinfo.full.json"];

/// Paths of a machine; relative ones are resolved against the current folder.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The install root.
    pub root: PathBuf,
    /// The folder of unpacked packages.
    pub repository: PathBuf,
    /// Folder with the machine's configuration, such as its roles.
    pub config: PathBuf,
    /// Folder for services' state.
    pub state: PathBuf,
    /// Folder of units; the install root itself if `None`.
    pub systemd: Option<PathBuf>,
}

/// A machine's folders, absolute.
#[derive(Debug, Clone)]
pub struct Host {
    root: String,
    repository: String,
    units: String,
    config: PathBuf,
    state: PathBuf,
}

/// Path that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// The path is needed in text files.
    #[error("{} can't be used: it is not UTF-8, or has a line break or what is not a character", .0.display())]
    Text(PathBuf),
    /// There is no current folder.
    #[error("can't tell where {} is", path.display())]
    Absolute {
        /// The path.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// Something in the configuration can't be read.
    #[error("can't read the machine's configuration")]
    Config(#[source] io::Error),
}

impl Host {
    /// Determines the paths, without access to the filesystem.
    pub fn new(options: &HostOptions) -> Result<Self, PathError> {
        let root = text(&options.root)?;
        Ok(Self {
            repository: text(&options.repository)?,
            units: options.systemd.as_ref().map_or(Ok(root.clone()), |folder| text(folder))?,
            config: whole(&options.config)?,
            state: whole(&options.state)?,
            root,
        })
    }

    /// The install root.
    pub fn root(&self) -> &Path {
        Path::new(&self.root)
    }

    /// The folder of unpacked packages.
    pub fn repository(&self) -> &Path {
        Path::new(&self.repository)
    }

    /// The folder that units are copied to.
    pub fn units(&self) -> &Path {
        Path::new(&self.units)
    }

    /// True if units go into the install root instead of systemd's folder.
    pub(super) fn is_rooted(&self) -> bool {
        self.units == self.root
    }

    /// The folder of links to units that are wanted.
    pub fn wants(&self) -> PathBuf {
        self.units().join(WANTS)
    }

    /// Folder with the machine's configuration, such as its roles.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Folder for services' state.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Options for the layout of the install root.
    pub(super) fn install_options<'a>(&'a self, roles: &'a [String]) -> InstallOptions<'a> {
        InstallOptions {
            root: &self.root,
            repository: &self.repository,
            roles,
            units: Units::Elsewhere(&self.units),
            mount_points: &[],
        }
    }

    /// Paths that are swapped when a set becomes active.
    pub(super) fn swapped(&self) -> Vec<PathBuf> {
        let folders = WELL_KNOWN.iter().map(|name| self.root().join(name));
        let files = FILES.iter().map(|name| self.root().join(name));
        folders.chain([self.wants()]).chain(files).collect()
    }

    /// The machine's roles, sorted: the names of the files in `roles`.
    pub fn roles(&self) -> Result<Vec<String>, PathError> {
        let folder = self.config.join("roles");
        let entries = match fs_err::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(PathError::Config)?,
        };
        let mut roles = Vec::new();
        for entry in entries {
            let name = entry.map_err(PathError::Config)?.file_name();
            roles.push(name.into_string().map_err(|name| PathError::Text(folder.join(name)))?);
        }
        roles.sort_unstable();
        Ok(roles)
    }
}

/// A path with something at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The path from the root, without dots: `bin/..` is meant as it reads.
fn whole(path: &Path) -> Result<PathBuf, PathError> {
    let path =
        absolute(path).map_err(|source| PathError::Absolute { path: path.to_owned(), source })?;
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            std::path::Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    Ok(plain)
}

fn text(path: &Path) -> Result<String, PathError> {
    let path = whole(path)?;
    match path.to_str() {
        // The paths are written into `environment`, where a line is a setting.
        Some(text) if !text.contains(['\n', '\0']) && noncharacter_in(text).is_none() => {
            Ok(text.to_owned())
        }
        _ => Err(PathError::Text(path)),
    }
}
