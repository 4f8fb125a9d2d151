//! The seam for engines that build packages on other machines. A run schedules as for local builds, and
//! hands each package to an [`Executor`] with all of its inputs at hand.
//!
//! An executor brings the package back, and proves that it is what the record says; the caller puts it into
//! the tree's cache and the stores, and writes the log and the record into the home, as for a local build.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::job::Built;
use super::place::BuildPlace;
use super::record::Record;
use super::request::PackageRequest;
use crate::archive::ArchiveLimits;
use crate::base::event::{Observer, Phase};
use crate::container::helper::Interrupt;
use crate::package::SourceName;
use crate::runner::home::Home;
use crate::source::FetchedSource;

/// Engine that builds packages on other machines. Several threads call it at once.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Builds a package, and waits for its end.
    fn build(&self, task: &ElsewhereTask<'_>) -> Result<ElsewhereAnswer, ElsewhereError>;
}

/// Engine of a run.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Engine.
    pub executor: Arc<dyn Executor>,
    /// True to build here what the engine cannot.
    pub fallback: bool,
    /// Packages that this machine builds beside the engine.
    pub local: LocalShare,
}

/// Number of packages that this machine may build at once beside an engine.
#[derive(Debug, Clone)]
pub struct LocalShare(Arc<AtomicUsize>);

/// Place for one of them.
#[derive(Debug)]
pub(super) struct LocalPlace(Arc<AtomicUsize>);

impl LocalShare {
    /// Share of so many packages.
    pub fn new(packages: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(packages)))
    }

    /// A place, if one is free.
    pub(super) fn take(&self) -> Option<LocalPlace> {
        let less = |free: usize| free.checked_sub(1);
        let taken = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        taken.ok().map(|_before| LocalPlace(Arc::clone(&self.0)))
    }
}

impl Drop for LocalPlace {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Build of one package that an engine is to carry out.
pub struct ElsewhereTask<'a> {
    /// Inputs that the plan knows.
    pub request: &'a PackageRequest,
    /// Fetched sources.
    pub sources: &'a [(SourceName, FetchedSource)],
    /// Empty file that receives the package.
    pub output: &'a Path,
    /// Empty file that receives the log of the build.
    pub log: &'a Path,
    /// True if the output of the build is shown while it runs.
    pub shows_output: bool,
    /// Folder of the builder itself.
    pub home: &'a Home,
    /// Limits of archives.
    pub archives: ArchiveLimits,
    /// Interruption of the run, the same for all packages.
    pub interrupt: &'a Arc<Interrupt>,
    /// Observer of the run.
    pub observer: &'a dyn Observer,
    /// Called at the start of each phase.
    pub on_phase: &'a dyn Fn(Phase),
}

impl fmt::Debug for ElsewhereTask<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElsewhereTask")
            .field("id", &self.request.package.id)
            .finish_non_exhaustive()
    }
}

/// Build that came to an end on an engine.
pub struct ElsewhereAnswer {
    /// Place of the build.
    pub place: BuildPlace,
    /// Sums of the package, or the failure of the build.
    pub result: Result<Built, FailedElsewhere>,
    /// Checked record of the build, unless it ended without one.
    pub record: Option<Record>,
    /// Removes what the engine has kept; called once the package is in the cache.
    pub clear_up: Box<dyn FnOnce()>,
}

impl fmt::Debug for ElsewhereAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ElsewhereAnswer").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Build that failed on an engine, as it would here.
#[derive(Debug)]
pub struct FailedElsewhere {
    /// Phase of the failure.
    pub phase: Phase,
    /// Reason.
    pub message: String,
    /// Remedy, if one is known.
    pub hint: Option<String>,
}

/// An engine did not build a package.
#[derive(Debug)]
pub struct ElsewhereError {
    /// Kind of the failure.
    pub kind: ElsewhereFailure,
    /// Cause, in the words of the engine's module.
    pub source: Box<dyn Error + Send + Sync>,
    /// Remedy, if one is known.
    pub hint: Option<String>,
}

/// Kind of an engine's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElsewhereFailure {
    /// The run was interrupted.
    Interrupted,
    /// The engine, or its machines, cannot carry the job out; this machine may.
    Unable,
    /// No machine can make up for it: the job cannot be made, or its result is refused.
    Final,
}

impl fmt::Display for ElsewhereError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for ElsewhereError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}
