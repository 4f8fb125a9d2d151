//! Client that pulls and pushes images, and the order of the places to ask.

use std::sync::Arc;

use super::error::{RegistryError, RegistryProblem, Verb};
use super::options::ImageMirrors;
use crate::base::event::{Event, Observer};
use crate::image::reference::ImageRef;
use crate::store::Consequence;
use crate::store::registry::{
    Connections, Endpoint, RegistryExchangeError, RegistryOptions, RegistryWire,
};

/// Pulls and pushes images. Copies share connections, tokens and the knowledge about registries that
/// cannot be reached; nothing is opened or read before the first request.
#[derive(Debug, Clone, Default)]
pub struct Client {
    connections: Arc<Connections>,
    pub(super) mirrors: Arc<ImageMirrors>,
}

/// Mirrors whose failures became warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MirrorWarnings {
    /// All mirrors.
    All,
    /// All but the absence of the image.
    Faults,
}

impl Client {
    /// Creates a client.
    pub fn new(options: RegistryOptions) -> Self {
        Self { connections: Arc::new(Connections::new(options)), mirrors: Arc::default() }
    }

    /// Returns a client with the same options that soon gives up, for questions with another way out.
    #[must_use]
    pub fn giving_up_early(&self) -> Self {
        let connections = Arc::new(self.connections.giving_up_early());
        Self { connections, mirrors: Arc::clone(&self.mirrors) }
    }

    /// Returns a client with the same options that opens no connection and asks no mirror.
    #[must_use]
    pub fn without_network(&self) -> Self {
        Self::new(RegistryOptions { offline: true, ..self.connections.options().clone() })
    }

    /// True if no connection may be opened.
    pub fn is_offline(&self) -> bool {
        self.connections.options().offline
    }

    /// Asks the mirrors of a registry in their order, then the registry itself, until a place succeeds.
    /// A mirror's failure is a warning, the registry's is the result.
    pub(super) fn ask_places<T>(
        &self,
        reference: &ImageRef,
        warnings: MirrorWarnings,
        observer: &dyn Observer,
        work: impl Fn(&RegistryWire<'_>) -> Result<T, RegistryProblem>,
    ) -> Result<T, RegistryError> {
        for endpoint in self.connections.endpoints(reference) {
            let (problem, consequence) = match self.ask(&endpoint, observer, &work) {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            // What would fail at every place, such as a full disk, is no reason to ask the next
            // one.
            if !endpoint.is_mirror || !problem.is_the_places() {
                return Err(error(Verb::Pull, reference, &endpoint, problem));
            }
            let is_absent = matches!(
                problem,
                RegistryProblem::Exchange(RegistryExchangeError::NotFound { .. })
            );
            if consequence == Consequence::Skipped
                || (is_absent && warnings == MirrorWarnings::Faults)
            {
                continue;
            }
            let is_last = consequence == Consequence::Skip;
            let end = if is_last { "; it is not asked again in this run" } else { "" };
            let message = format!("the mirror {} doesn't give it: {problem}{end}", endpoint.host);
            observer.event(Event::Warning { subject: reference.familiar(), message });
        }
        unreachable!("the registry itself is the last place")
    }

    /// Asks the registry itself.
    pub(super) fn ask_registry<T>(
        &self,
        verb: Verb,
        reference: &ImageRef,
        observer: &dyn Observer,
        work: impl Fn(&RegistryWire<'_>) -> Result<T, RegistryProblem>,
    ) -> Result<T, RegistryError> {
        let endpoint = self.connections.endpoint(reference);
        self.ask(&endpoint, observer, work)
            .map_err(|(problem, _)| error(verb, reference, &endpoint, problem))
    }

    /// Sends a request to one place, and records if the place was reachable.
    fn ask<T>(
        &self,
        endpoint: &Endpoint,
        observer: &dyn Observer,
        work: impl Fn(&RegistryWire<'_>) -> Result<T, RegistryProblem>,
    ) -> Result<T, (RegistryProblem, Consequence)> {
        let wire = RegistryWire::new(&self.connections, endpoint, observer).map_err(|error| {
            let is_skipped = matches!(error, RegistryExchangeError::Skipped { .. });
            let consequence = if is_skipped { Consequence::Skipped } else { Consequence::Continue };
            (RegistryProblem::from(error), consequence)
        })?;
        let done = work(&wire);
        let failure = match &done {
            Err(RegistryProblem::Exchange(error)) => Some(error.kind()),
            _ => None,
        };
        let consequence = self.connections.note(endpoint, failure);
        done.map_err(|problem| (problem, consequence))
    }
}

fn error(
    verb: Verb,
    reference: &ImageRef,
    endpoint: &Endpoint,
    problem: RegistryProblem,
) -> RegistryError {
    RegistryError {
        verb,
        reference: Box::new(reference.clone()),
        host: endpoint.host.clone(),
        problem: Box::new(problem),
    }
}
