//! Parent's side of a helper: starting, sending jobs, receiving answers, ending.
//!
//! A helper keeps a user namespace ([`super::keeper`]) and does jobs one after another, each in a
//! child process. The helper's stdin is a socket with lines: the start message, then a job per
//! line. The helper's stdout has lines, too: the process id of the job's process, then the answers
//! as JSON. Output on stderr means a fault of the helper, and is part of the error. A helper has a
//! process group of its own, so that a terminal's Ctrl-C reaches the parent alone, which then
//! decides.
//!
//! ```text
//! parent                         helper                    process of job 7
//!   ── {"map":…} ──────────────►  enters a user namespace, starts a cleaner
//!   ── r{"Build":…} ───────────►  forks ──────────────────► begins (after `h`: when it hears `go`)
//!   ◄─────────────────── p4711 ──                            │
//!   ◄────────────────────────────────────── {"Phase":…} ─────┤
//!   ◄────────────────────────────────────── {"Built":…} ─────┤  the last answer
//!   ── r{"Build":…} ───────────►  forks …                    clears up, ends
//! ```

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::cleaner::{self, Cleaning};
use super::executable;
use super::idmap::IdMap;
use super::lines::{LineRead, PipeLines};
use super::process::Process;
use super::refusal;

pub use super::helper_error::HelperError;
pub use super::interrupt::Interrupt;
pub use super::process::EndingProcess;

/// Argument that makes the executable run as a helper.
pub const HELPER_ARGUMENT: &str = "internal-helper";

/// Prefix of an order whose job begins at once.
const AT_ONCE: u8 = b'r';
/// Prefix of an order whose job gets a network namespace, and may use the spare process; then
/// another spare process is made.
pub(super) const SPARED: u8 = b's';
/// Prefix of an order whose job waits for [`GO`].
pub(super) const HELD: u8 = b'h';
/// Lets a job begin that is held.
pub(super) const GO: &[u8] = b"go\n";
/// Prefix of the line with the process id of a job's process.
pub(super) const STARTED: u8 = b'p';

/// First line to a helper.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Start {
    /// Process id of the parent, which may be dead by now. Not an argument, which every process of a container
    /// could read.
    pub(super) parent: u32,
    /// Id map of the helper's user namespace.
    pub(super) map: IdMap,
    /// Paths for the cleaner that the helper starts, if requested.
    pub(super) cleaning: Option<Cleaning>,
}

/// First message of a job's process.
pub(super) const BEGUN: &[u8] = b"b\n";

/// Time limit for a helper to start a job's process, and to end: a stopped helper would take
/// forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Slot for a helper, started with the first job, and restarted after a failure. The thread that
/// starts the helper must outlive it: the kernel kills a helper when that thread ends.
#[derive(Debug)]
pub struct HelperSlot {
    map: IdMap,
    /// Paths for the cleaner of the first helper only: the cleaner outlives the helper.
    cleaning: Option<Cleaning>,
    interrupt: Arc<Interrupt>,
    helper: Option<Helper>,
    /// True if the helper makes a process for the next job while one is done.
    looks_ahead: bool,
}

impl HelperSlot {
    /// A place for helpers that have a map.
    pub fn new(map: IdMap, interrupt: &Arc<Interrupt>) -> Self {
        let interrupt = Arc::clone(interrupt);
        Self { map, cleaning: None, interrupt, helper: None, looks_ahead: false }
    }

    /// Has the first helper start a cleaner before its first job.
    #[must_use]
    pub fn with_cleaner(mut self, cleaning: Cleaning) -> Self {
        self.cleaning = Some(cleaning);
        self
    }

    /// Sets if the coming jobs are alike, all with a network namespace: then the process for the
    /// next job is made during the current one.
    #[must_use]
    pub fn look_ahead(mut self, looks_ahead: bool) -> Self {
        self.looks_ahead = looks_ahead;
        self
    }

    /// Has a job done until its last answer; the job may still be clearing up, and [`EndingProcess`]
    /// waits for the end. `hear` receives each answer, and returns the result of `run` at the last
    /// answer. `deadline`, which `hear` may set, is the time limit of the next answer: a job limits
    /// its own time, but a stopped process cannot.
    pub fn run<Job: Serialize, Answer: DeserializeOwned, T>(
        &mut self,
        job: &Job,
        cgroup: Option<&Cgroup>,
        deadline: &Cell<Option<Instant>>,
        mut hear: impl FnMut(Answer) -> Option<T>,
    ) -> Result<(T, EndingProcess), HelperError> {
        let waiting = self.helper.take();
        let was_waiting = waiting.is_some();
        let mut helper = match waiting {
            Some(helper) => helper,
            None => Helper::start(self.map.clone(), self.cleaning.take(), &self.interrupt)?,
        };
        let kind = match cgroup {
            Some(_) => HELD,
            None if self.looks_ahead => SPARED,
            None => AT_ONCE,
        };
        let silence = was_waiting.then_some(PATIENCE);
        let talked = helper.talk(kind, job, cgroup, silence, deadline, &mut hear);
        if was_waiting && helper.has_said_nothing && !matches!(talked, Ok(Some(_))) {
            // Whatever befell it while it waited for a job has nothing to do with this one, of which
            // nothing is done: the first thing that a job does is to say so.
            drop(helper.child.kill());
            drop(helper);
            return self.run(job, cgroup, deadline, hear);
        }
        match talked {
            Ok(Some(heard)) => {
                // A helper that could not start a process is useless for the next job, too.
                self.helper = Some(helper).filter(|_| heard.1.has_process());
                Ok(heard)
            }
            Ok(None) => Err(helper.end()),
            Err(error) => {
                // The helper would wait forever for a reader of its answer.
                drop(helper.child.kill());
                let ended = helper.end();
                Err(if matches!(ended, HelperError::Interrupted) { ended } else { error })
            }
        }
    }
}

/// Has a single job done by a new helper, and waits for the end.
pub fn run_once<Job: Serialize, Answer: DeserializeOwned, T>(
    map: &IdMap,
    job: &Job,
    interrupt: &Arc<Interrupt>,
    hear: impl FnMut(Answer) -> Option<T>,
) -> Result<T, HelperError> {
    let mut place = HelperSlot::new(map.clone(), interrupt);
    place.run(job, None, &Cell::default(), hear).map(|(value, _process)| value)
}

/// A helper, alive as far as is known.
#[derive(Debug)]
struct Helper {
    child: Child,
    orders: Option<UnixStream>,
    answers: Option<PipeLines>,
    /// The process of the job under way.
    process: Option<Process>,
    /// True while the last job has sent no answer.
    has_said_nothing: bool,
    interrupt: Arc<Interrupt>,
}

impl Helper {
    fn start(
        map: IdMap,
        cleaning: Option<Cleaning>,
        interrupt: &Arc<Interrupt>,
    ) -> Result<Self, HelperError> {
        let start = |source| HelperError::Start { source };
        if cleaning.is_some() {
            cleaner::adopt();
        }
        let (mut orders, theirs) = UnixStream::pair().map_err(start)?;
        let executable =
            executable::unchangeable(&map).map_err(|source| {
                match refusal::of_proc().or_else(refusal::of_executable_memory) {
                    Some(refusal) => HelperError::Refused(refusal),
                    None => HelperError::Seal { source },
                }
            })?;
        let mut command = Command::new(executable.path());
        command
            .arg0("mkpanda")
            .arg(HELPER_ARGUMENT)
            // Nothing of the caller's reaches what an image or a build can look at.
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C thereby reaches the parent alone, which then decides.
            .process_group(0);
        let mut text = serde_json::to_vec(&Start { parent: std::process::id(), map, cleaning })
            .map_err(|error| start(error.into()))?;
        text.push(b'\n');
        let mut child = interrupt.start(&mut command)?;
        let stdout = child.stdout.take().map(OwnedFd::from);
        // From here on, dropping it sees to the process.
        let interrupt = Arc::clone(interrupt);
        let mut helper = Self {
            child,
            orders: None,
            answers: None,
            process: None,
            has_said_nothing: true,
            interrupt,
        };
        helper.answers = stdout.map(PipeLines::new).transpose().map_err(start)?;
        unless_gone(orders.write_all(&text)).map_err(start)?;
        helper.orders = Some(orders);
        Ok(helper)
    }

    /// Hands over a job. It has to say something within `silence`, if that is known. `None` if the helper is gone or gave up the job.
    fn talk<Job: Serialize, Answer: DeserializeOwned, T>(
        &mut self,
        kind: u8,
        job: &Job,
        cgroup: Option<&Cgroup>,
        silence: Option<Duration>,
        deadline: &Cell<Option<Instant>>,
        hear: &mut impl FnMut(Answer) -> Option<T>,
    ) -> Result<Option<(T, EndingProcess)>, HelperError> {
        let talk = |source| HelperError::Talk { source };
        let mut order = vec![kind];
        serde_json::to_writer(&mut order, job).map_err(|error| talk(error.into()))?;
        order.push(b'\n');
        self.has_said_nothing = true;
        self.order(&order)?;
        let now = Instant::now();
        let (starting, speaking) =
            (now.checked_add(PATIENCE), silence.and_then(|silence| now.checked_add(silence)));
        let mut last = None;
        while self.process.is_none() || last.is_none() {
            // A helper that has waited may have been stopped meanwhile, so its silence is limited,
            // too; an answer may take as long as a build does, unless the job has set a deadline.
            let until = match &self.process {
                None => starting,
                Some(_) if self.has_said_nothing => deadline.get().or(speaking),
                Some(_) => deadline.get(),
            };
            let said = match &mut self.answers {
                Some(answers) => answers.next(self.process.as_ref(), until).map_err(talk)?,
                None => LineRead::Nothing,
            };
            let line = match said {
                LineRead::Line(line) => line,
                LineRead::NotInTime => return Err(HelperError::Overdue),
                // A helper that gets no user namespace says so before it starts any process.
                LineRead::Nothing => return Ok(last.map(|value| (value, EndingProcess::new(None)))),
            };
            if let Some((&STARTED, number)) = line.split_first() {
                let number = String::from_utf8_lossy(number).trim().parse();
                let number = number.map_err(|error| talk(io::Error::other(error)))?;
                self.process = Some(Process::open(number).map_err(|errno| talk(errno.into()))?);
                // It does nothing before it hears `go`, so nothing of it escapes the cgroup.
                if let Some(cgroup) = cgroup {
                    let added = cgroup.add(number.unsigned_abs());
                    added.map_err(|source| HelperError::Limit { source })?;
                    self.order(GO)?;
                }
            } else if line == BEGUN {
                self.has_said_nothing = false;
            } else {
                let answer = serde_json::from_slice(&line);
                last = hear(answer.map_err(|error| talk(error.into()))?);
            }
        }
        Ok(last.map(|value| (value, EndingProcess::new(self.process.take()))))
    }

    fn order(&mut self, text: &[u8]) -> Result<(), HelperError> {
        let Some(orders) = &mut self.orders else { return Ok(()) };
        unless_gone(orders.write_all(text)).map_err(|source| HelperError::Talk { source })
    }

    /// Lets the helper end, and returns the error with the known cause.
    fn end(mut self) -> HelperError {
        let status = self.wait();
        let said = self.child.stderr.take().map_or_else(String::new, |stderr| {
            let mut said = String::new();
            drop(stderr.take(64 << 10).read_to_string(&mut said));
            said.trim().to_owned()
        });
        // Killed with the helper, it may be on its way out still.
        drop(EndingProcess::new(self.process.take()));
        if self.interrupt.is_raised() {
            return HelperError::Interrupted;
        }
        let ending = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        HelperError::Died { ending, said }
    }

    /// Waits for the helper's end: without orders, the helper ends as soon as its jobs do.
    fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        self.orders = None;
        let number = i32::try_from(self.child.id()).unwrap_or(0);
        if Process::open(number).is_ok_and(|process| !process.ends_within(PATIENCE)) {
            drop(self.child.kill());
        }
        self.child.wait()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.wait());
        self.interrupt.ended(self.child.id());
    }
}

/// Ignores a broken pipe, as the next read reports the helper's end.
fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
