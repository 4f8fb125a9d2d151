//! How the library says what it is doing: [`Event`]s through one [`Observer`]. The library never
//! prints; the command line draws what it is told here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Something that a person or a log may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something is not as it should be, but work goes on.
    Warning {
        /// What it is about: a package, a source; empty if the message says that itself.
        subject: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A fact that is said once per run, such as the isolation tier.
    Note {
        /// The fact, as a sentence.
        message: String,
    },
    /// A command said something; only where that was asked for.
    Output {
        /// Whose command: a stage and a step.
        subject: String,
        /// A line, without control characters.
        line: String,
    },
    /// What there is to build: said once per run, before the first package begins, and only if there
    /// is something to build.
    Planned(Arc<Planned>),
    /// Something that is no package, but may take long, such as a bootstrap, began.
    TaskBegan {
        /// What it is, in words; no two of a run have the same.
        task: String,
    },
    /// It came to its end, well or not.
    TaskEnded {
        /// Task in words; each of a run is named differently.
        task: String,
    },
    /// A source of a package is there.
    Source {
        /// Which one: `<package>/<source>`.
        subject: String,
        /// Where it was taken from.
        origin: Origin,
    },
    /// A download began or went on.
    Download {
        /// What is fetched: `<package>/<source>` or an image.
        subject: String,
        /// The URL, without credentials.
        url: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes that there will be, if the server says so.
        total: Option<u64>,
    },
    /// An upload began or went on.
    Upload {
        /// Artifact or image that is sent.
        subject: String,
        /// The URL, without credentials.
        url: String,
        /// Bytes that were sent.
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
        /// What is tried.
        subject: String,
        /// Why the last attempt failed.
        reason: String,
        /// How long until the next one.
        wait: Duration,
    },
    /// A package's build entered a phase.
    Phase {
        /// The package's id.
        package: String,
        /// The phase.
        phase: Phase,
    },
    /// A package is there.
    Finished {
        /// The package's id.
        package: String,
        /// How it came to be there.
        how: Outcome,
        /// How long it took.
        took: Duration,
    },
    /// A package's build failed; the error itself is returned, not sent.
    Failed {
        /// The package's id.
        package: String,
        /// The phase in which it failed.
        phase: Phase,
        /// How long it took until then.
        took: Duration,
        /// The build's log, if that says more.
        log: Option<PathBuf>,
    },
    /// A package's build was ended because the run was interrupted; the package has no fault.
    Interrupted {
        /// The package's id.
        package: String,
        /// The phase in which it was.
        phase: Phase,
        /// How long it took until then.
        took: Duration,
    },
}

/// What a run is about to build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    /// How many of the packages that are asked for are in the cache already.
    pub cached: usize,
    /// How many are built at once.
    pub jobs: usize,
    /// The others, each after all that it needs.
    pub packages: Vec<PlannedPackage>,
}

/// A package that is about to be built, or fetched if a repository has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPackage {
    /// Its id.
    pub id: String,
    /// The places, in the list, of those that it requires itself.
    pub needs: Vec<usize>,
    /// How long its build takes, as far as earlier builds tell.
    pub expected: Option<Duration>,
}

/// Where a source was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The tree's cache.
    Cache,
    /// A mirror.
    Mirror,
    /// Where it is declared to be, on the network.
    Network,
    /// Where it is declared to be, on this machine.
    Local,
}

impl Origin {
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

/// How a package came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was built.
    Built,
    /// It was fetched from a repository.
    Fetched,
    /// It was in the cache.
    Cached,
}

/// Takes the events of a run; called from several threads.
pub trait Observer: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);

    /// True if the run is over: then whoever waits for something outside (a server, git, another
    /// process) gives up.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// An observer that also knows whether the run is over.
pub struct Interruptible<'a, F> {
    observer: &'a dyn Observer,
    is_over: F,
}

impl<'a, F: Fn() -> bool + Send + Sync> Interruptible<'a, F> {
    /// Passes events on to an observer; `is_over` says whether the run is.
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
