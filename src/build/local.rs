//! Containers of this machine for the builds of a run, opened when the first build needs them: where an engine
//! builds the packages, this machine may have none.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::archive_sums::ArchiveSums;
use super::failed::OpenError;
use super::jobserver::{Jobserver, Style};
use super::package_runner::PackageRunner;
use crate::base::event::Observer;
use crate::container::helper::HelperSlot;
use crate::runner::home::give_folder;
use crate::runner::session::{RunnerSettings, Session};
use crate::runner::uses::Registration;

/// Builds of a run in containers of this machine.
#[derive(Debug)]
pub struct LocalBuilds {
    /// Settings of everything that runs in containers.
    pub settings: RunnerSettings,
    /// Registration of the run.
    pub registration: Arc<Registration>,
    /// Number of cores that the builds share.
    pub cores: usize,
    /// Way of announcing the jobserver; `None` for fixed shares.
    pub jobserver: Option<Style>,
    /// True if the output of build scripts is shown while they run.
    pub shows_output: bool,
    /// True if helpers can prepare the next build during a build.
    pub look_ahead: bool,
    opened: OnceLock<OpenedBuilds>,
    opening: Mutex<()>,
}

/// Opened containers.
#[derive(Debug)]
pub struct OpenedBuilds {
    /// Jobserver of the run; without one, builds have fixed shares of the cores.
    // Declared before the session, whose scratch folder contains the fifo.
    pub jobserver: Option<Jobserver>,
    /// Runner of the builds.
    pub runner: PackageRunner,
}

impl LocalBuilds {
    /// Makes the value without opening anything.
    pub fn new(settings: RunnerSettings, registration: Arc<Registration>, cores: usize) -> Self {
        Self {
            settings,
            registration,
            cores,
            jobserver: None,
            shows_output: false,
            look_ahead: false,
            opened: OnceLock::new(),
            opening: Mutex::new(()),
        }
    }

    /// Jobserver of the run, if the containers are opened and it is of use.
    pub fn running_jobserver(&self) -> Option<&Jobserver> {
        self.opened.get()?.jobserver.as_ref()
    }

    /// Opens the containers, unless they are open, and fills the slot of the calling thread.
    pub fn enter(
        &self,
        slot: &mut Option<HelperSlot>,
        observer: &dyn Observer,
    ) -> Result<&OpenedBuilds, OpenError> {
        let (opened, first) = self.open(observer)?;
        if slot.is_none() {
            let helper = first.unwrap_or_else(|| opened.runner.session.helper());
            *slot = Some(helper.look_ahead(self.look_ahead));
        }
        Ok(opened)
    }

    fn open(
        &self,
        observer: &dyn Observer,
    ) -> Result<(&OpenedBuilds, Option<HelperSlot>), OpenError> {
        // `OnceLock` would hold back an error, and two threads would open two sessions.
        let _alone = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = self.opened.get() {
            return Ok((opened, None));
        }
        let (session, helper) = Session::open(&self.settings, observer)?;
        let home = &self.settings.home;
        // The helper unpacks there as root of its namespace, which is another id on this machine.
        give_folder(&home.packages(), &session.machine().map).map_err(OpenError::Home)?;
        let jobserver =
            Jobserver::start_if_useful(session.scratch(), self.cores, self.jobserver, observer);
        let runner = PackageRunner {
            home: home.clone(),
            session,
            interrupt: Arc::clone(&self.settings.interrupt),
            registration: Arc::clone(&self.registration),
            sums: ArchiveSums::default(),
            shows_output: self.shows_output,
        };
        Ok((self.opened.get_or_init(|| OpenedBuilds { jobserver, runner }), Some(helper)))
    }
}
