//! The commit that a release is made of.

use std::path::Path;

use super::error::ReleaseError;
use super::layout::Commit;

/// Returns the commit that the caller names, else the one at HEAD of the git checkout with a folder.
pub fn commit(folder: &Path, named: Option<&str>) -> Result<Commit, ReleaseError> {
    if let Some(named) = named {
        return Ok(named.parse()?);
    }
    let head = git2::Repository::discover(folder)
        .and_then(|repository| Ok(repository.head()?.peel_to_commit()?.id()));
    match head {
        Ok(id) => Ok(id.to_string().parse()?),
        Err(error) => Err(ReleaseError::NoCommit {
            folder: folder.to_owned(),
            reason: error.message().to_owned(),
        }),
    }
}
