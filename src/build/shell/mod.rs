//! A shell in the container of a build: same mounts, variables, user, filter and network, before the
//! script runs, or as a failed one left everything.
//!
//! ```text
//! Shell::open ─ session, scratch folder, ShellJob
//! Shell::run ── ConsoleSocket ─► caller: a thread that attends to the command's streams
//!            └─ ShellJob ──────► helper: build::worker::shell
//! ```

mod bundle;
mod error;
mod job;

use std::io::{self, PipeReader};

use crate::base::event::{Observer, Phase};
use crate::base::regular::read_own;
use crate::container::console::{ConsoleSocket, TerminalSize};
use crate::container::helper::HelperSlot;
use crate::package::SourceName;
use crate::runner::command::CommandRoot;
use crate::runner::session::{RunnerSettings, Session};
use crate::runner::uses::{self, Registration, Used};
use crate::source::FetchedSource;

use super::execute::demand;
use super::failed::BuildError;
use super::job::PackageBuild;
use super::jobserver::{Jobserver, Style};
use super::kept::KeptState;
use super::package_runner::{BuildFiles, CoreShare, PackageRunner, failed};
use super::schedule::Cores;

pub use error::ShellError;
pub use job::{BundleJob, ShellJob};

/// Shell of the image: bash, else sh. Neither reads a file of the image that the build would not read.
const SHELL: [&str; 3] =
    ["/bin/sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash --norc; fi; exec sh"];

/// Inputs of a shell.
#[derive(Debug)]
pub struct ShellInputs {
    /// Build whose container it is.
    pub build: PackageBuild,
    /// Fetched sources; none over a kept state.
    pub sources: Vec<(SourceName, FetchedSource)>,
    /// Registration of the inputs; without one, those that are unpacked are registered.
    pub registration: Option<Registration>,
    /// State of a failed build.
    pub kept: Option<KeptState>,
}

/// Cores of a shell.
#[derive(Debug, Clone, Copy)]
pub struct ShellCores {
    /// Number of cores of the machine.
    pub cores: usize,
    /// Way of announcing the jobserver; `None` for a fixed number of cores.
    pub jobserver: Option<Style>,
}

/// Shell, ready to start.
#[derive(Debug)]
pub struct Shell {
    // Before the session, whose scratch folder contains the fifo.
    jobserver: Option<Jobserver>,
    job: ShellJob,
    files: BuildFiles,
    socket: ConsoleSocket,
    helper: HelperSlot,
    runner: PackageRunner,
    _kept: Option<KeptState>,
}

/// End of a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellEnd {
    /// Exit code of the command, or 128 and the number of the signal that ended it.
    pub code: i32,
    /// Messages about the command, such as that it is not there.
    pub messages: String,
}

impl Shell {
    /// Opens a session of containers, and prepares the job.
    pub fn open(
        settings: &RunnerSettings,
        inputs: ShellInputs,
        cores: ShellCores,
        observer: &dyn Observer,
    ) -> Result<Self, ShellError> {
        let ShellInputs { mut build, sources, registration, kept } = inputs;
        let mut settings = settings.clone();
        // A person takes the time that it takes.
        settings.limits.time = None;
        (build.time_limit, build.keep, build.keep_failed) = (None, false, false);
        let home = &settings.home;
        let registration = match registration {
            Some(registration) => registration,
            None => uses::register(home, &used(&build), || uses::say_waiting(observer))
                .map_err(ShellError::Home)?,
        };
        let (session, helper) = Session::open(&settings, observer)?;
        let map = &session.machine().map;
        if let Some(kept) = &kept
            // Its files have owners of another map, which this container's root could not even
            // read.
            && kept.build.mapping != map.digest()
        {
            return Err(ShellError::OtherIds { id: build.id.clone(), tier: kept.build.tier });
        }
        let runner = PackageRunner::of_one_build(&build, &settings, session, registration, false)
            .map_err(ShellError::Home)?;
        let scratch = runner.session.scratch();
        let jobserver = Jobserver::start_if_useful(scratch, cores.cores, cores.jobserver, observer);
        let share = share(&build, cores.cores, jobserver.as_ref());
        let place = runner.session.inputs().map_err(ShellError::Home)?;
        // A shell makes no package; the job has the fields all the same.
        let files = runner.files(&build.id, &place.join("unused"), place.join("kept"))?;
        let socket = ConsoleSocket::bind(&place).map_err(ShellError::Console)?;
        let job = ShellJob {
            build: runner.job(&build, &share, &sources, &files)?,
            arguments: Vec::new(),
            environment: Vec::new(),
            console: socket.path().to_owned(),
            terminal: None,
            kept: kept.as_ref().map(KeptState::path),
        };
        Ok(Self { jobserver, job, files, socket, helper, runner, _kept: kept })
    }

    /// Command line of the build script in the container.
    pub fn script(&self) -> &[String] {
        &self.job.build.command.arguments
    }

    /// Runs a command, or the image's shell, and waits for its end. `attend` gets the socket at which
    /// the container calls, and a pipe that ends when the command has; a thread runs it.
    pub fn run(
        mut self,
        command: Option<&[String]>,
        terminal: Option<(TerminalSize, Option<String>)>,
        attend: impl FnOnce(&ConsoleSocket, &PipeReader) -> io::Result<()> + Send,
    ) -> Result<ShellEnd, ShellError> {
        self.job.arguments = match command {
            Some(command) => command.to_vec(),
            None => SHELL.map(str::to_owned).to_vec(),
        };
        if let Some((size, kind)) = terminal {
            self.job.terminal = Some(size);
            self.job.environment.extend(kind.map(|kind| ("TERM".to_owned(), kind)));
        }
        let Self { jobserver, job, files, socket, mut helper, runner, _kept } = self;
        let (over, running) = io::pipe().map_err(ShellError::Console)?;
        let mut phase = Phase::Prepare;
        let id = &job.build.package.id;
        let (ran, attended) = std::thread::scope(|scope| {
            let attending = scope.spawn(|| attend(&socket, &over));
            let scratch = files.scratch;
            let ran =
                runner.session.run(&mut helper, &id.to_string(), &job, scratch, |now| phase = now);
            // The end of the pipe, by which the attending thread sees that the command is over.
            drop(running);
            let attended = attending.join();
            (ran, attended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // After the command, which has the fifo open, and before the session with its folder.
        drop(jobserver);
        let ran = ran.map_err(|source| BuildError::Job { id: id.clone(), source })?;
        let code = ran.result.map_err(|failure| failed(&job.build, phase, failure))?;
        attended.map_err(ShellError::Console)?;
        let messages = read_own(&job.build.log).unwrap_or_default();
        Ok(ShellEnd { code, messages: String::from_utf8_lossy(&messages).into_owned() })
    }
}

/// The cores of a build that runs alone.
fn share(build: &PackageBuild, cores: usize, jobserver: Option<&Jobserver>) -> CoreShare {
    let share = Cores::new(cores, 1).take(0, demand(jobserver, build));
    CoreShare::new(&share, jobserver)
}

/// Items of the home that a kept build uses.
fn used(build: &PackageBuild) -> Used {
    let mut used = Used::default();
    if let CommandRoot::Layers(layers) = &build.root {
        used.layers.extend(layers.iter().map(|layer| layer.diff_id.hex().to_owned()));
    }
    used
}
