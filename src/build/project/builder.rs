//! The builder of a run's packages: in containers of this machine, or by an engine elsewhere.

use std::sync::Arc;

use super::{BuildOptions, Project, ProjectError};
use crate::artifact::shared_cache::SharedCaches;
use crate::base::event::Observer;
use crate::build::local::LocalBuilds;
use crate::build::supply::PackageBuilder;
use crate::build::upload::Uploads;
use crate::container::helper::HelperSlot;
use crate::container::namespace::Network;
use crate::runner::scratch::InputsFolder;
use crate::runner::session;
use crate::runner::uses::Registration;

impl Project {
    /// Makes the builder of a run, with a helper of the calling thread if this machine builds. The folder, if
    /// there is one, has to outlive the builder.
    pub(super) fn builder(
        &self,
        registration: Registration,
        caches: SharedCaches,
        options: &BuildOptions,
        observer: &dyn Observer,
    ) -> Result<(PackageBuilder, Option<HelperSlot>, Option<InputsFolder>), ProjectError> {
        let settings = &self.options.runner;
        let interrupt = &settings.interrupt;
        let registration = Arc::new(registration);
        let mut local = LocalBuilds::new(settings.clone(), registration, options.pace.cores);
        local.shows_output = self.options.shows_output;
        local.look_ahead = options.network == Network::None;
        let (mut first, mut inputs) = (None, None);
        let scratch = if options.elsewhere.is_some() {
            // What opening a session would do: without one, nothing else removes the folders of
            // dead runs.
            session::sweep(settings, observer);
            // Uploads of sources need a folder, whether this machine builds or not.
            let made = InputsFolder::create(&settings.home).map_err(ProjectError::Home)?;
            inputs.insert(made).path()
        } else {
            local.jobserver = options.jobserver;
            let opened = match local.enter(&mut first, observer) {
                Err(_) if interrupt.is_raised() => return Err(ProjectError::Interrupted),
                opened => opened.map_err(ProjectError::from)?,
            };
            opened.runner.session.scratch().to_owned()
        };
        let builder = PackageBuilder {
            cache: self.cache.clone(),
            fetch: self.options.fetch.clone(),
            repository: self.reachable(options.repository.as_ref()).cloned(),
            local,
            elsewhere: options.elsewhere.clone(),
            keep_failed: options.keep_failed,
            uploads: Uploads::new(caches, interrupt, self.options.fetch.clone(), scratch),
        };
        Ok((builder, first, inputs))
    }
}
