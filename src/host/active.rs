//! The active set, as the links in `active/` say.

use std::io;
use std::path::{Path, PathBuf};

use super::paths::{Host, with_suffix};
use crate::package::PackageId;

/// What is active can't be told.
#[derive(Debug, thiserror::Error)]
pub enum ActiveError {
    /// There is no active set.
    #[error("the install root {} has no folder active: has it been bootstrapped?", .0.display())]
    None(PathBuf),
    /// A swap was cut off.
    #[error("an activation in {} was cut off", .0.display())]
    CutOff(PathBuf),
    /// The links can't be read.
    #[error("can't tell what is active")]
    Unreadable(#[source] io::Error),
    /// A link to no package.
    #[error("{} should be a link to a package, but is not", .0.display())]
    NoPackage(PathBuf),
}

impl ActiveError {
    /// What to do, where that isn't plain.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::None(_) => Some(
                "unpack a bootstrap there, or activate packages: pkgpanda activate ID…".to_owned(),
            ),
            Self::CutOff(_) => Some("finish it: pkgpanda setup".to_owned()),
            Self::Unreadable(_) | Self::NoPackage(_) => None,
        }
    }
}

impl Host {
    /// The ids of the active packages, sorted as text.
    pub fn active(&self) -> Result<Vec<PackageId>, ActiveError> {
        let folder = self.root().join("active");
        match linked(&folder)? {
            Some(ids) => Ok(ids),
            None if [".old", ".new"].iter().any(|end| with_suffix(&folder, end).exists()) => {
                Err(ActiveError::CutOff(self.root().to_owned()))
            }
            None => Err(ActiveError::None(self.root().to_owned())),
        }
    }
}

/// The packages to which the links in a folder lead; nothing if there is no such folder.
pub(super) fn linked(folder: &Path) -> Result<Option<Vec<PackageId>>, ActiveError> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(ActiveError::Unreadable)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let path = entry.map_err(ActiveError::Unreadable)?.path();
        // By name: a bootstrap's links lead to where it will be.
        let target = fs_err::read_link(&path).ok();
        let name = target.as_ref().and_then(|target| target.file_name()?.to_str());
        let id = name.and_then(|name| name.parse::<PackageId>().ok());
        ids.push(id.ok_or(ActiveError::NoPackage(path))?);
    }
    ids.sort_by_cached_key(ToString::to_string);
    Ok(Some(ids))
}
