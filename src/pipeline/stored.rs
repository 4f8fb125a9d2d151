//! Packages that stores have.

use std::collections::BTreeSet;

use crate::artifact::repository::Repository;
use crate::base::event::Observer;
use crate::base::parallel;
use crate::package::PackageId;
use crate::store::StoreError;

/// Number of packages that are looked up at once: a store far away answers after its latency.
const AT_ONCE: usize = 32;

/// Looks packages up in stores, and fetches none. Of a package that the first store has, the others are not asked.
pub fn stored(
    repositories: &[Repository],
    ids: &[PackageId],
    observer: &dyn Observer,
) -> Result<BTreeSet<PackageId>, StoreError> {
    let found = parallel::each(ids, AT_ONCE, observer, |id| {
        for repository in repositories {
            if repository.has(id, observer)? {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    });
    if observer.is_interrupted() {
        // What was not looked up would be taken for missing, and be built.
        return Err(StoreError::Interrupted);
    }
    let found: Result<Vec<Option<PackageId>>, StoreError> = found.into_iter().flatten().collect();
    Ok(found?.into_iter().flatten().collect())
}
