//! Running a [`Sandbox`] with libcontainer, from its start to its end.
//!
//! libcontainer changes directory and duplicates descriptors process-wide, so a process runs one
//! container and has one thread (eight at once in one process hung in one round of six).

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::notify_socket::{NOTIFY_FILE, NotifySocket};
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_spec::runtime::Spec;

use super::output::Output;
use super::sandbox::Sandbox;
use super::view::View;
use super::{namespace, sys};
use crate::base::causes::with_causes;

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its command exited.
    Exited(i32),
    /// A signal ended its command.
    Signalled(i32),
    /// It ran longer than it may, and was killed.
    TimedOut,
}

/// The container could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The specification could not be made.
    #[error("the container can't be described")]
    Spec {
        /// What the builder of specifications said.
        #[source]
        source: oci_spec::OciSpecError,
    },
    /// libcontainer failed; its details are in the log.
    #[error("the container could not be started: {reason}")]
    Container {
        /// libcontainer's words, from the outermost cause to the innermost.
        reason: String,
    },
    /// What the container says can't be kept.
    #[error("the log can't be written")]
    Log {
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// A step of ours failed.
    #[error("{step}: {errno}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the kernel answered.
        errno: nix::errno::Errno,
    },
    /// A file could not be prepared.
    #[error("can't prepare the container")]
    Prepare {
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
}

/// What a run needs besides the container itself.
#[derive(Debug)]
pub struct RunOptions<'a> {
    /// Where the command's output goes.
    pub log: &'a File,
    /// How long it may run.
    pub time_limit: Option<Duration>,
    /// The seccomp filter.
    pub filter: Vec<libc::sock_filter>,
    /// Whether to enter a Landlock scope.
    pub landlock: bool,
    /// What the command inherits besides its standard streams, under the same numbers.
    pub inherited: Arc<[OwnedFd]>,
}

/// Runs a container and waits for its end; nothing that it started is left then.
pub fn run(sandbox: &Sandbox, view: &View, options: &RunOptions<'_>) -> Result<Ending, RunError> {
    show_unwritable_cgroups()?;
    let prepare = |source| RunError::Prepare { source };
    let spec = sandbox.to_spec().map_err(|source| RunError::Spec { source })?;
    // libcontainer reads the specification from the disk.
    let text = serde_json::to_vec(&spec).map_err(|error| prepare(error.into()))?;
    fs_err::write(view.bundle().join("config.json"), text).map_err(prepare)?;
    let mut output = Output::new().map_err(prepare)?;
    let input: OwnedFd = fs_err::File::open("/dev/null").map_err(prepare)?.into_parts().0.into();
    let executor = BuildExecutor {
        filter: options.filter.clone(),
        landlock: options.landlock,
        inherited: Arc::clone(&options.inherited),
    };
    let started = Instant::now();
    let built = ContainerBuilder::new("build".to_owned(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(view.state())
        .map_err(container_error)?
        .with_stdin(input)
        .with_stdout(output.writer().map_err(prepare)?)
        .with_stderr(output.writer().map_err(prepare)?)
        .as_init(view.bundle())
        .with_systemd(false)
        .with_detach(true)
        .build();
    let log = |source| RunError::Log { source };
    output.pass_on(options.log).map_err(log)?;
    let container = built.map_err(container_error)?;
    let Some(init) = container.pid().map(|pid| Pid::from_raw(pid.as_raw())) else {
        return Err(RunError::Container { reason: "it has no first process".to_owned() });
    };
    let step = |step| move |errno| RunError::Step { step, errno };
    let watch = sys::pidfd_open(init).map_err(step("watching the container's first process"))?;
    // Not `Container::start`: it asks `/proc` how the process is, by a number that means another
    // process in the `/proc` that a helper sees.
    NotifySocket::new(container.root.join(NOTIFY_FILE))
        .notify_container_start()
        .map_err(|error| RunError::Container { reason: error.to_string() })?;
    let deadline = options.time_limit.and_then(|limit| started.checked_add(limit));
    let ended = wait(&watch, &mut output, options.log, deadline);
    if !matches!(ended, Ok(true)) {
        kill(init, Signal::SIGKILL).map_err(step("ending the container"))?;
    }
    // The first process of a pid namespace takes all others with it.
    let code = namespace::wait_exit_code(init);
    let ended = ended?;
    // Nobody writes any more, and a pipe holds no more than a portion.
    output.pass_on(options.log).map_err(log)?;
    // libcontainer's own clean-up is about cgroups, which it can't write here, and about its state,
    // which vanishes with the view.
    Ok(match code {
        _ if !ended => Ending::TimedOut,
        code if code > 128 => Ending::Signalled(code - 128),
        code => Ending::Exited(code),
    })
}

/// Writes what the container says into the log until its first process, `watch`, has ended; `false`
/// if that took too long.
fn wait(
    watch: &OwnedFd,
    output: &mut Output,
    log: &File,
    deadline: Option<Instant>,
) -> Result<bool, RunError> {
    let step = |errno| RunError::Step { step: "waiting for the container", errno };
    loop {
        sys::wait_readable(&[watch.as_fd(), output.readable()], deadline).map_err(step)?;
        output.pass_on(log).map_err(|source| RunError::Log { source })?;
        if sys::wait_readable(&[watch.as_fd()], Some(Instant::now())).map_err(step)? {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn container_error(error: LibcontainerError) -> RunError {
    RunError::Container { reason: with_causes(&error) }
}

/// Shows libcontainer cgroups that it can't write. It can't be told to leave cgroups alone; its
/// rootless version 2 manager carries on when it may not write, its version 1 manager fails.
/// Limits are set from outside (see [`super::cgroup`]).
fn show_unwritable_cgroups() -> Result<(), RunError> {
    let place = "/sys/fs/cgroup";
    let is_version_2 = nix::sys::statfs::statfs(place)
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC);
    if is_version_2 {
        return Ok(());
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("cgroup2"), place, Some("cgroup2"), flags, None::<&str>).map_err(|errno| {
        RunError::Step { step: "mounting a read-only cgroup2 for libcontainer", errno }
    })
}

/// The last steps before the command: signals as a program expects them, Landlock, seccomp.
#[derive(Clone)]
struct BuildExecutor {
    filter: Vec<libc::sock_filter>,
    landlock: bool,
    inherited: Arc<[OwnedFd]>,
}

impl Executor for BuildExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let fail = |what: &str, errno: nix::errno::Errno| {
            // The container's stderr is the log: this is where a person looks.
            tracing::error!("{what}: {errno}");
            ExecutorError::Other(format!("{what}: {errno}"))
        };
        let arguments = spec.process().as_ref().and_then(|process| process.args().clone());
        let arguments = arguments.ok_or(ExecutorError::InvalidArg)?;
        let arguments =
            arguments.into_iter().map(std::ffi::CString::new).collect::<Result<Vec<_>, _>>();
        let arguments = arguments.map_err(|error| ExecutorError::Other(error.to_string()))?;
        let program = arguments.first().ok_or(ExecutorError::InvalidArg)?;
        sys::reset_signals().map_err(|errno| fail("can't reset signals", errno))?;
        // libcontainer has marked all descriptors to be closed.
        for descriptor in self.inherited.iter() {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))
                .map_err(|errno| fail("can't pass a descriptor on", errno))?;
        }
        if self.landlock {
            sys::enter_landlock_scope()
                .map_err(|errno| fail("can't enter a Landlock scope", errno))?;
        }
        sys::install_seccomp(&self.filter)
            .map_err(|errno| fail("can't install the seccomp filter", errno))?;
        match nix::unistd::execvp(program, &arguments) {
            Ok(never) => match never {},
            Err(errno) => Err(fail(&format!("can't execute {}", program.to_string_lossy()), errno)),
        }
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, environment: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        libcontainer::workload::default::get_executor().setup_envs(environment)
    }
}
