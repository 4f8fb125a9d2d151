//! The build of one package by an engine: files of the build, the record, and the way back to this machine.

use std::cell::RefCell;
use std::path::PathBuf;

use super::cache::Cache;
use super::elsewhere::{
    Elsewhere, ElsewhereAnswer, ElsewhereFailure, ElsewhereTask, FailedElsewhere,
};
use super::failed::{BuildError, FailedBuild};
use super::job::Built;
use super::package_runner::{Phases, interrupted, start_log};
use super::place::BuildPlace;
use super::request::PackageRequest;
use crate::base::atomic::AtomicFile;
use crate::base::causes::with_causes;
use crate::base::event::{Event, Phase};
use crate::base::remedy::with_hint;
use crate::package::SourceName;
use crate::runner::job::JobFailure;
use crate::runner::log_tail::last_lines;
use crate::runner::session::RunnerSettings;
use crate::source::FetchedSource;

/// A package that an engine is asked for.
pub(super) struct DelegatedBuild<'a> {
    pub(super) elsewhere: &'a Elsewhere,
    pub(super) cache: &'a Cache,
    pub(super) settings: &'a RunnerSettings,
    pub(super) shows_output: bool,
    pub(super) request: &'a PackageRequest,
    pub(super) sources: &'a [(SourceName, FetchedSource)],
}

impl DelegatedBuild<'_> {
    /// Has the engine build the package, and puts it into the cache. `None` if it is to be built here.
    pub(super) fn build(&self, phases: &mut Phases<'_>) -> Result<Option<Built>, BuildError> {
        let id = &self.request.package.id;
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let (home, observer) = (&self.settings.home, phases.observer);
        let kept = home.build(id);
        let log = kept.join("log");
        fs_err::create_dir_all(&kept).map_err(file("make the build's folder"))?;
        start_log(&log).map_err(file("start the log"))?;
        let output =
            // In the cache's folder, so that the engine's result gets its name by a rename.
            AtomicFile::create(&self.cache.archive(id)).map_err(file("start the archive"))?;
        // The executor takes a `Fn`, which may be called while it is inside of itself; phases
        // change.
        let entered = RefCell::new(&mut *phases);
        let on_phase = |phase: Phase| entered.borrow_mut().enter(phase);
        let answer = self.elsewhere.executor.build(&ElsewhereTask {
            request: self.request,
            sources: self.sources,
            output: output.temporary_path(),
            log: &log,
            shows_output: self.shows_output,
            home,
            archives: self.settings.archives,
            interrupt: &self.settings.interrupt,
            observer,
            on_phase: &on_phase,
        });
        let answer = match answer {
            Err(error) if error.kind == ElsewhereFailure::Interrupted => {
                return Err(interrupted(id));
            }
            Err(error)
                if error.kind == ElsewhereFailure::Unable
                    && self.elsewhere.fallback
                    && !self.settings.interrupt.is_raised() =>
            {
                let message = format!("{}; it is built on this machine", with_causes(&error));
                let message = with_hint(message, error.hint.as_deref());
                observer.event(Event::Warning { subject: id.to_string(), message });
                return Ok(None);
            }
            Err(source) => {
                return Err(BuildError::Elsewhere { id: id.clone(), source: Box::new(source) });
            }
            Ok(answer) => answer,
        };
        let ElsewhereAnswer { place, result, record, clear_up } = answer;
        // Before the archive gets its name: a package without a record could not be explained.
        if let Some(record) = record {
            record.write(&kept).map_err(file("write the record"))?;
        }
        observer.event(Event::RanOn { package: id.to_string(), place: place.to_string() });
        let result = match result {
            Ok(built) => {
                output.commit().map_err(file("put the archive in place"))?;
                Ok(Some(built))
            }
            Err(failed) => Err(self.failed(failed, &place, log)),
        };
        // Last: what the engine keeps is what one looks at if anything above failed.
        clear_up();
        result
    }

    fn failed(&self, failed: FailedElsewhere, place: &BuildPlace, log: PathBuf) -> BuildError {
        let FailedElsewhere { phase, message, hint } = failed;
        let tail = last_lines(&log);
        let (see_log, message) = (!tail.is_empty(), format!("{message}, on {place}"));
        let failure = JobFailure { message, hint, see_log, no_room: false };
        let log = see_log.then_some(log);
        let (id, is_kept) = (self.request.package.id.clone(), false);
        BuildError::Failed(Box::new(FailedBuild { id, phase, failure, log, tail, is_kept }))
    }
}
