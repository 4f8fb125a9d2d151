//! Execution of a [`Sandbox`] with libcontainer, from start to end.
//!
//! libcontainer's `ContainerBuilder` is for containers that outlive their creator: it saves a state and a
//! specification, makes a cgroup, and starts three processes, of which the last waits on a socket
//! for `start` (0.8 ms of a trivial build). A single public function makes the container,
//! `container_init_process`: namespaces, mounts, `pivot_root`, masks, ids, capabilities. So this
//! module forks into a pid namespace and calls that function there, with the start message already
//! in the socket. libcontainer checks the path of each mount with about 80 system calls;
//! `container::binds` and `container::system_mounts` make the mounts that need no namespace of the
//! container beforehand, with 5 each. The first process of a trivial build makes 557 system calls,
//! after 1,487 with all mounts by libcontainer (`strace -f`).
//!
//! libcontainer changes the working directory and duplicates descriptors process-wide, so a process
//! runs a single container and has a single thread (eight containers in one process hung in one
//! round of six).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libcgroups::common::CgroupConfig;
use libcontainer::notify_socket::{NotifyListener, NotifySocket};
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::channel::{self, InitReceiver, MainSender};
use libcontainer::process::init::container_init_process;
use libcontainer::syscall::syscall::SyscallType;
use nix::mount::{MsFlags, mount};
use nix::poll::PollFlags;
use nix::sched::CloneFlags;
use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_spec::runtime::Spec;

use super::binds::mount_binds;
use super::console::Streams;
use super::executor::{BuildExecutor, NotifyingFilter};
use super::messages::{Messages, with_messages};
use super::output::OutputPipe;
use super::recorder::{Notifications, Recorder};
use super::sandbox::{Sandbox, Special};
use super::system_mounts::mount_devices;
use super::view::View;
use super::{namespace, poll, sys};
use crate::base::causes::with_causes;

/// Result of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerEnding {
    /// The command exited.
    Exited(i32),
    /// A signal ended the command.
    Signalled(i32),
    /// The time limit was exceeded, and the container was killed.
    TimedOut,
}

/// The container could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The specification could not be made.
    #[error("the container can't be described")]
    Spec {
        /// Error of the specification's builder.
        #[source]
        source: oci_spec::OciSpecError,
    },
    /// libcontainer failed; its details are in the log.
    #[error("the container could not be started: {reason}")]
    Container {
        /// libcontainer's words, from the outermost cause to the innermost.
        reason: String,
    },
    /// The output cannot be written into the log.
    #[error("the log can't be written")]
    Log {
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The seccomp notifications cannot be received or answered.
    #[error("the container's questions can't be answered")]
    Notifications {
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A step of ours failed.
    #[error("{step}: {errno}")]
    Step {
        /// Attempted step.
        step: &'static str,
        /// Answer of the kernel.
        errno: nix::errno::Errno,
    },
    /// A file could not be prepared.
    #[error("can't prepare the container")]
    Prepare {
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Settings of a run beside the container.
#[derive(Debug)]
pub struct ContainerRunOptions<'a> {
    /// Log file for the command's output.
    pub log: &'a File,
    /// Time limit.
    pub time_limit: Option<Duration>,
    /// Largest log, in bytes.
    pub log_limit: u64,
    /// The seccomp filter.
    pub filter: Vec<libc::sock_filter>,
    /// True to enter a Landlock scope.
    pub landlock: bool,
    /// Descriptors inherited by the command besides its standard streams, under the same numbers.
    pub inherited: Arc<[OwnedFd]>,
    /// User and group as which the container's command sees itself in the single-id tier, if not
    /// root.
    pub sole_user: Option<(u32, u32)>,
    /// Recording of file owners, if needed.
    pub recording: Option<Recording<'a>>,
    /// Standard streams of the command.
    pub streams: Streams,
}

/// Recording of file owners.
#[derive(Debug)]
pub struct Recording<'a> {
    /// The recorder.
    pub recorder: &'a Recorder,
    /// Filter with notifications. Where notifications are unavailable, the container gets the other
    /// filter.
    pub filter: Vec<libc::sock_filter>,
}

/// Runs a container and waits for its end; no process of the container is left then.
pub fn run(
    sandbox: &Sandbox,
    view: &View,
    options: &ContainerRunOptions<'_>,
) -> Result<ContainerEnding, RunError> {
    let log = |source| RunError::Log { source };
    let messages = Messages::new(options.log).map_err(log)?;
    let places = messages.try_clone().map_err(log)?;
    let ending = with_messages(places, || run_logged(sandbox, view, options));
    if matches!(ending, Err(RunError::Container { .. })) {
        messages.tell_details().map_err(log)?;
    }
    ending
}

fn run_logged(
    sandbox: &Sandbox,
    view: &View,
    options: &ContainerRunOptions<'_>,
) -> Result<ContainerEnding, RunError> {
    if sandbox.shows_outer_sysfs() {
        show_unwritable_cgroups()?;
    }
    let prepare = |source| RunError::Prepare { source };
    let spec = sandbox.to_spec().map_err(|source| RunError::Spec { source })?;
    let mut output = OutputPipe::new(options.log_limit).map_err(prepare)?;
    let started = Instant::now();
    let (channel, theirs) = UnixStream::pair().map_err(prepare)?;
    let init = start(sandbox, spec, view, &output, options, theirs);
    let log = |source| RunError::Log { source };
    output.pass_on(options.log).map_err(log)?;
    let init = init?;
    let step = |step| move |errno| RunError::Step { step, errno };
    let watch = poll::pidfd_open(init).map_err(step("watching the container's first process"))?;
    let deadline = options.time_limit.and_then(|limit| started.checked_add(limit));
    let recorder = options.recording.as_ref().map(|recording| recording.recorder);
    let mut notifications = match recorder {
        Some(recorder) => Notifications::Expected { channel, recorder },
        None => Notifications::None,
    };
    let ended = wait(&watch, &mut output, options.log, &mut notifications, deadline);
    if !matches!(ended, Ok(true)) {
        kill(init, Signal::SIGKILL).map_err(step("ending the container"))?;
    }
    // The first process of a pid namespace takes all others with it.
    let code = namespace::wait_exit_code(init);
    // No writer is left, and a pipe holds no more than a portion.
    let finished = output.finish(options.log).map_err(log);
    let ended = ended?;
    finished?;
    Ok(match code {
        _ if !ended => ContainerEnding::TimedOut,
        // From `init::run`; a shell that exits so means the same.
        code if code > 128 => ContainerEnding::Signalled(code - 128),
        code => ContainerEnding::Exited(code),
    })
}

/// Starts the container's first process, and returns when that process needs nothing more.
/// libcontainer's intermediate process is skipped: see the module's documentation.
fn start(
    sandbox: &Sandbox,
    spec: Spec,
    view: &View,
    output: &OutputPipe,
    options: &ContainerRunOptions<'_>,
    channel: UnixStream,
) -> Result<Pid, RunError> {
    let prepare = |source| RunError::Prepare { source };
    let step = |step| move |errno| RunError::Step { step, errno };
    let said = |error: &dyn std::error::Error| RunError::Container { reason: with_causes(error) };
    let socket = view.start_socket();
    let notify_listener = NotifyListener::new(&socket).map_err(|error| said(&error))?;
    // The start message is already in the socket, so the send never blocks.
    NotifySocket::new(socket).notify_container_start().map_err(|error| said(&error))?;
    let [input, stdout, stderr] = streams(output, &options.streams).map_err(prepare)?;
    let arguments = ContainerArgs {
        container_type: ContainerType::InitContainer,
        syscall: SyscallType::default(),
        spec: Rc::new(spec),
        rootfs: fs_err::canonicalize(&sandbox.root).map_err(prepare)?,
        console_socket: None,
        notify_listener,
        preserve_fds: 0,
        container: None,
        user_ns_config: None,
        cgroup_config: CgroupConfig {
            cgroup_path: "/mkpanda".into(),
            systemd_cgroup: false,
            container_name: "build".to_owned(),
        },
        detached: true,
        executor: Box::new(BuildExecutor {
            environment: sandbox.environment.clone(),
            no_new_privileges: sandbox.no_new_privileges,
            filter: options.filter.clone(),
            landlock: options.landlock,
            inherited: Arc::clone(&options.inherited),
            sole_user: options.sole_user,
            notifying: options.recording.as_ref().map(|recording| NotifyingFilter {
                filter: recording.filter.clone(),
                channel: Arc::new(channel),
            }),
            terminal: match &options.streams {
                Streams::Terminal(terminal) => Some(terminal.clone()),
                Streams::Log | Streams::Pipes(_) => None,
            },
        }),
        no_pivot: false,
        stdin: Some(input.as_raw_fd()),
        stdout: Some(stdout.as_raw_fd()),
        stderr: Some(stderr.as_raw_fd()),
        as_sibling: false,
        pid_file: None,
    };
    let (mut to_us, mut from_init) = channel::main_channel().map_err(|error| said(&error))?;
    let (to_init, mut from_us) = channel::init_channel().map_err(|error| said(&error))?;
    // As in libcontainer, against processes that could inspect this one.
    nix::sys::prctl::set_dumpable(false).map_err(step("hiding the helper's memory"))?;
    mount_devices(&sandbox.root, !sandbox.left_out.contains(&Special::Terminals))
        .map_err(|error| said(&error))?;
    mount_binds(&sandbox.root, &sandbox.binds).map_err(|error| said(&error))?;
    let forked = sys::fork_into(CloneFlags::CLONE_NEWPID)
        .map_err(step("starting the container's first process"))?;
    let Some(init) = forked else {
        drop((from_init.close(), to_init.close()));
        become_container(&arguments, &mut to_us, &mut from_us);
    };
    drop((to_us.close(), from_us.close(), to_init.close()));
    let ready = from_init.wait_for_init_ready();
    drop(from_init.close());
    ready.map_err(|error| {
        // It may have ended already.
        _ = kill(init, Signal::SIGKILL);
        namespace::wait_exit_code(init);
        said(&error)
    })?;
    Ok(init)
}

/// Standard streams until the command begins, and of a command without a terminal.
fn streams(output: &OutputPipe, streams: &Streams) -> std::io::Result<[OwnedFd; 3]> {
    match streams {
        Streams::Pipes([stdin, stdout, stderr]) => {
            Ok([stdin.try_clone()?, stdout.try_clone()?, stderr.try_clone()?])
        }
        Streams::Log | Streams::Terminal(_) => {
            let input = fs_err::File::open("/dev/null")?.into_parts().0.into();
            Ok([input, output.writer()?, output.writer()?])
        }
    }
}

/// Turns this process into the container's first process.
fn become_container(
    arguments: &ContainerArgs,
    to_parent: &mut MainSender,
    from_parent: &mut InitReceiver,
) -> ! {
    let no_core_dumps = nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let reason = match no_core_dumps {
        Err(errno) => errno.to_string(),
        Ok(()) => match container_init_process(arguments, to_parent, from_parent) {
            Ok(()) => "it did not start".to_owned(),
            Err(error) => with_causes(&error),
        },
    };
    // A parent that was told of the start no longer reads this channel, so the log has the reason too.
    tracing::error!("the command could not be started: {reason}");
    drop(to_parent.exec_failed(reason));
    sys::exit_now(255)
}

/// Copies the container's output into the log, and answers its seccomp notifications, until the
/// first process, `watch`, has ended; returns `false` at the deadline.
fn wait(
    watch: &OwnedFd,
    output: &mut OutputPipe,
    log: &File,
    notifications: &mut Notifications<'_>,
    deadline: Option<Instant>,
) -> Result<bool, RunError> {
    let step = |errno| RunError::Step { step: "waiting for the container", errno };
    loop {
        let mut waited = vec![watch.as_fd(), output.readable()];
        waited.extend(notifications.readable());
        let said = poll::wait_any(&waited, deadline).map_err(step)?.unwrap_or_default();
        let of = |index: usize| said.get(index).copied().unwrap_or(PollFlags::empty());
        let (has_ended, has_said, notified) = (!of(0).is_empty(), !of(1).is_empty(), of(2));
        notifications.handle(notified).map_err(|source| RunError::Notifications { source })?;
        if has_said {
            output.pass_on(log).map_err(|source| RunError::Log { source })?;
        }
        if has_ended {
            return Ok(true);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(false);
        }
    }
}

/// Covers the machine's cgroups where the container is shown the machine's `/sys`: with version 1,
/// they are many mounts, and its own are none of its business.
fn show_unwritable_cgroups() -> Result<(), RunError> {
    let place = "/sys/fs/cgroup";
    match nix::sys::statfs::statfs(place) {
        Ok(found) if found.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC => {
            return Ok(());
        }
        // A `/sys` of which an outer sandbox shows parts.
        Err(nix::errno::Errno::ENOENT) => return Ok(()),
        _ => {}
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let cover = |kind: &str| mount(Some(kind), place, Some(kind), flags, None::<&str>);
    // Without version 2 in the kernel, or where a policy refuses it, with nothing.
    cover("cgroup2")
        .or_else(|_errno| cover("tmpfs"))
        .map_err(|errno| RunError::Step { step: "covering the machine's cgroups", errno })
}
