//! All inputs of one package's build, brought here: for a portable job.

use super::{BuildOptions, IdentifiedPackages, Project, ProjectError};
use crate::base::event::Observer;
use crate::build::request::PackageRequest;
use crate::container::helper::Interrupt;
use crate::package::SourceName;
use crate::runner::uses::Registration;
use crate::source::{self, FetchedSource};
use crate::tree::PackageKey;

/// Inputs of a package's build. Their files stay while the value lives.
#[derive(Debug)]
pub struct PackageInputs {
    /// Package, as its builder gets it.
    pub request: PackageRequest,
    /// Fetched sources.
    pub sources: Vec<(SourceName, FetchedSource)>,
    /// Registration of the image.
    pub registration: Registration,
}

impl Project {
    /// Interruption of the run.
    pub fn interrupt(&self) -> &Interrupt {
        &self.options.runner.interrupt
    }

    /// Fetches the sources of a package that has an id, and keeps a collection from its image. Required
    /// packages must be in the cache.
    pub fn inputs(
        &self,
        identified: &IdentifiedPackages,
        key: &PackageKey,
        options: &BuildOptions,
        observer: &dyn Observer,
    ) -> Result<PackageInputs, ProjectError> {
        let registration = self.register(identified, &[key], observer)?;
        let request = self.request_of(identified, key, options);
        let Some(package) = self.tree.package(key) else {
            unreachable!("a package with an id is in the tree")
        };
        let fetch = |(name, declared, id): &(SourceName, _, source::SourceId)| {
            let wanted = self.request(package, name, declared);
            let fetched = source::fetch(&wanted, id, &self.options.fetch, observer)?;
            Ok::<_, source::SourceError>((name.clone(), fetched))
        };
        let sources = request.sources.iter().map(fetch).collect::<Result<_, _>>();
        let sources = match sources {
            Err(_) if observer.is_interrupted() => return Err(ProjectError::Interrupted),
            sources => sources.map_err(|source| ProjectError::Source(Box::new(source)))?,
        };
        Ok(PackageInputs { request, sources, registration })
    }
}
