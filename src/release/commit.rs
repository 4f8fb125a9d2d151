//! The commit that a release is made of.

use std::path::Path;

use super::error::ReleaseError;
use super::layout::Commit;
use crate::source::head_of_checkout;

/// Returns the commit that the caller names, else the one at HEAD of the git checkout with a folder.
pub fn commit(folder: &Path, named: Option<&str>) -> Result<Commit, ReleaseError> {
    if let Some(named) = named {
        return Ok(named.parse()?);
    }
    match head_of_checkout(folder) {
        Ok(id) => Ok(id.to_string().parse()?),
        Err(reason) => Err(ReleaseError::NoCommit { folder: folder.to_owned(), reason }),
    }
}
