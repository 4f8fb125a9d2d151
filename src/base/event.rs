//! Progress reports of the library: [`Event`]s through an [`Observer`]. The library never prints;
//! the command line displays the events.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Something that a person or a log may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A warning: work goes on.
    Warning {
        /// Package or source concerned; empty if the message names the subject itself.
        subject: String,
        /// Problem, with remedies below it in the form of `remedy::with_hint`.
        message: String,
    },
    /// A fact that is said once per run, such as the isolation tier.
    Note {
        /// The fact, as a sentence.
        message: String,
    },
    /// A command said something; only where that was asked for.
    Output {
        /// Stage and step of the command.
        subject: String,
        /// A line, without control characters.
        line: String,
    },
    /// The packages to build: sent once per run, before the first package begins, and only if at
    /// least one is to be built.
    Planned(Arc<Planned>),
    /// Something that is no package, but may take long, such as a bootstrap, began.
    TaskBegan {
        /// Description of the task, unique within a run.
        task: String,
    },
    /// A task has ended, successfully or not.
    TaskEnded {
        /// Task in words; each of a run is named differently.
        task: String,
    },
    /// A source of a package is present.
    Source {
        /// Source: `<package>/<source>`.
        subject: String,
        /// Origin of the content.
        origin: SourceOrigin,
    },
    /// A download began or went on.
    Download {
        /// Download: `<package>/<source>` or an image.
        subject: String,
        /// The URL, without credentials.
        url: String,
        /// Bytes received so far.
        done: u64,
        /// Bytes that there will be, if the server says so.
        total: Option<u64>,
    },
    /// An upload began or went on.
    Upload {
        /// Artifact or image to send.
        subject: String,
        /// The URL, without credentials.
        url: String,
        /// Bytes sent so far.
        done: u64,
        /// Size in bytes.
        total: Option<u64>,
    },
    /// A download or an upload came to its end, well or not.
    TransferEnded {
        /// The subject of its [`Event::Download`] or [`Event::Upload`] events.
        subject: String,
    },
    /// A store has taken an object.
    Sent {
        /// Name of the object in the store.
        subject: String,
        /// Name of the store.
        place: String,
        /// Size of the object in bytes.
        bytes: u64,
    },
    /// An attempt failed and is made again.
    Retry {
        /// Operation to retry.
        subject: String,
        /// Reason of the last failure.
        reason: String,
        /// Delay before the next attempt.
        wait: Duration,
    },
    /// A package's build entered a phase.
    Phase {
        /// The package's id.
        package: String,
        /// The phase.
        phase: Phase,
    },
    /// A package is present.
    Finished {
        /// The package's id.
        package: String,
        /// Way the package was obtained.
        how: PackageOutcome,
        /// Duration.
        took: Duration,
    },
    /// A build came to its end on another machine; the event that says how follows.
    RanOn {
        /// The package's id.
        package: String,
        /// Place of the build in words.
        place: String,
    },
    /// A package's build failed; the error itself is returned, not sent.
    Failed {
        /// The package's id.
        package: String,
        /// Phase of the failure.
        phase: Phase,
        /// Duration until the failure.
        took: Duration,
        /// The build's log, if that says more.
        log: Option<PathBuf>,
    },
    /// A package's build was ended because the run was interrupted; the package has no fault.
    Interrupted {
        /// The package's id.
        package: String,
        /// Phase of the interruption.
        phase: Phase,
        /// Duration until the interruption.
        took: Duration,
    },
}

/// Packages that a run is about to build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    /// Number of requested packages in the cache.
    pub cached: usize,
    /// Number of parallel builds.
    pub jobs: usize,
    /// True if packages are begun after one has failed.
    pub keeps_going: bool,
    /// The others, each after all that it needs.
    pub packages: Vec<PlannedPackage>,
}

/// Package that is about to be built, or fetched from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPackage {
    /// Id of the package.
    pub id: String,
    /// Indices of its direct requirements in the list.
    pub needs: Vec<usize>,
    /// Expected duration of the build, based on earlier builds.
    pub expected: Option<Duration>,
}

/// Origin of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOrigin {
    /// The tree's cache.
    Cache,
    /// A mirror.
    Mirror,
    /// Declared location on the network.
    Network,
    /// Declared location on this machine.
    Local,
}

impl SourceOrigin {
    /// The origin as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Mirror => "mirror",
            Self::Network => "network",
            Self::Local => "local",
        }
    }
}

/// The phases of one package's build, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Waiting for another process that builds the same package.
    Wait,
    /// Getting the sources.
    Fetch,
    /// Setting up sources, dependencies and root.
    Prepare,
    /// Running the build script.
    Build,
    /// Checking and compressing the result.
    Pack,
}

impl Phase {
    /// The phase as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Fetch => "fetch",
            Self::Prepare => "prepare",
            Self::Build => "build",
            Self::Pack => "pack",
        }
    }
}

/// Way a package was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageOutcome {
    /// Built in this run.
    Built,
    /// Fetched from a repository.
    Fetched,
    /// Found in the cache.
    Cached,
}

/// Takes the events of a run; called from several threads.
pub trait Observer: Send + Sync {
    /// Receives an event.
    fn event(&self, event: Event);

    /// True if the run is over: then all waits for servers, git and other processes end.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Observer with the state of the run.
pub struct Interruptible<'a, F> {
    observer: &'a dyn Observer,
    is_over: F,
}

impl<'a, F: Fn() -> bool + Send + Sync> Interruptible<'a, F> {
    /// Creates an observer that forwards events; `is_over` returns true at the end of the run.
    pub fn new(observer: &'a dyn Observer, is_over: F) -> Self {
        Self { observer, is_over }
    }
}

impl<F> std::fmt::Debug for Interruptible<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interruptible").finish_non_exhaustive()
    }
}

impl<F: Fn() -> bool + Send + Sync> Observer for Interruptible<'_, F> {
    fn event(&self, event: Event) {
        self.observer.event(event);
    }

    fn is_interrupted(&self) -> bool {
        (self.is_over)()
    }
}

/// An observer that does not pass downloads on: many small ones are of no interest one by one.
#[expect(missing_debug_implementations, reason = "an observer is not shown")]
pub struct WithoutDownloads<'a>(pub &'a dyn Observer);

impl Observer for WithoutDownloads<'_> {
    fn event(&self, event: Event) {
        if !matches!(event, Event::Download { .. }) {
            self.0.event(event);
        }
    }

    fn is_interrupted(&self) -> bool {
        self.0.is_interrupted()
    }
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: Event) {}
}
