//! Places that jobs take packages from.

use super::super::super::error::CliError;
use super::super::super::settings::Settings;
use crate::artifact::repository::Repository;
use crate::artifact::shared_cache::SharedCache;
use crate::build::project::Project;
use crate::pipeline::PipelineError;

/// Places that jobs take packages from: caches and the repository. One of the caches has to be written to as well, since
/// packages pass from job to job through it.
pub(super) fn sources(settings: &Settings, project: &Project) -> Result<Vec<Repository>, CliError> {
    let caches = project.reachable_caches(&settings.shared_caches);
    let passes = |cache: &SharedCache| cache.reads() && cache.writes();
    if !caches.iter().any(passes) {
        return Err(PipelineError::NoStore.into());
    }
    let caches = caches.iter().filter(|cache| cache.reads()).map(SharedCache::sole_repository);
    let repository = project.reachable(settings.repository.as_ref()).cloned();
    Ok(caches.chain(repository).collect())
}
