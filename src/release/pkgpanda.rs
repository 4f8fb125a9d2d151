//! The static `pkgpanda`: a host without anything else checks, unpacks and sets up by it.

use std::path::{Path, PathBuf};

use super::artifact::{ArtifactContent, ExistingObject, ReleaseArtifact};
use super::error::ReleaseError;
use super::layout::LayoutError;
use crate::base::digest::Sha256Sum;
use crate::base::elf::static_machine;
use crate::base::regular::open_regular;

/// A static executable, and its sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticPkgpanda {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the content.
    pub sha256: Sha256Sum,
}

impl StaticPkgpanda {
    /// Reads a file, which has to be an executable without a dynamic linker.
    pub fn read(path: &Path) -> Result<Self, ReleaseError> {
        let unusable = |reason: String| ReleaseError::Pkgpanda { path: path.to_owned(), reason };
        let unread = |error: std::io::Error| unusable(error.to_string());
        let file = open_regular(path).map_err(unread)?;
        // A host may have no C library, or one of another version.
        static_machine(file).map_err(|error| unusable(error.to_string()))?;
        let sha256 = Sha256Sum::of_file(path).map_err(unread)?;
        Ok(Self { path: path.to_owned(), sha256 })
    }

    /// Path below a repository.
    pub fn repository_path(&self) -> String {
        format!("pkgpanda/{}/pkgpanda", self.sha256)
    }

    /// The artifact, the same for all channels.
    pub fn artifact(&self) -> Result<ReleaseArtifact, ReleaseError> {
        let key = self.repository_path().parse().map_err(LayoutError::from)?;
        let source = ArtifactContent::File(self.path.clone());
        Ok(ReleaseArtifact::reproducible(key, source, ExistingObject::HasToBeEqual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_that_needs_a_linker_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let error = StaticPkgpanda::read(&own).unwrap_err();
        assert!(error.to_string().contains("dynamic linker"), "the tests are linked dynamically");
        assert!(error.hint().is_some());
        assert!(StaticPkgpanda::read(folder.path()).is_err());
    }
}
