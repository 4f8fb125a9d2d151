//! A container without a command, run by the code that runs builds: proof that the whole works where the
//! probe ([`super::machine`]) has tried the parts.
//!
//! On a plain machine each part is given, and the whole has been seen to work: there a rehearsal would
//! cost each run 5 ms for nothing. Where a part is refused, an outer sandbox is at work, and only
//! a try shows the effect of its policies on the whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::console::Streams;
use super::machine::{Condition, Machine, RootKind};
use super::namespace::Network;
use super::overlay::{self, RootError};
use super::run::{self, ContainerEnding, ContainerRunOptions, RunError};
use super::sandbox::{Sandbox, User};
use super::seccomp;
use super::view::View;

/// Time limit of a rehearsal.
const LIMIT: Duration = Duration::from_secs(60);

/// The parts of a container are given here, but not the whole.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The container's root could not be made.
    #[error("a container's root cannot be made here")]
    Root {
        /// Reason.
        #[source]
        source: RootError,
    },
    /// The container could not be started.
    #[error("a container cannot be started here: {reason}")]
    Run {
        /// Words of libcontainer, and the first line of its log.
        reason: String,
    },
    /// A file of the rehearsal could not be used.
    #[error("a container cannot be tried")]
    File {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl RehearsalError {
    /// Change that helps, if known.
    pub fn remedy(&self) -> Option<&'static str> {
        matches!(self, Self::Run { .. }).then_some(
            "let the outer sandbox's policy (seccomp, AppArmor, SELinux) permit it: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined",
        )
    }
}

/// Runs a container without a command. `scratch` is an empty folder of the container's root's.
pub fn rehearse(view: &View, scratch: &Path, machine: &Machine) -> Result<(), RehearsalError> {
    let file = |source| RehearsalError::File { source };
    make_root(view, scratch, &machine.root)?;
    let path = view.path().join("rehearsal.log");
    let log = fs_err::File::create(&path).map_err(file)?.into_parts().0;
    let options = ContainerRunOptions {
        log: &log,
        time_limit: Some(LIMIT),
        log_limit: 1 << 20,
        filter: seccomp::build(&seccomp::table::refused()),
        landlock: !machine.has(&Condition::NoLandlockScope),
        inherited: Vec::new().into(),
        sole_user: None,
        recording: None,
        streams: Streams::Log,
    };
    let ended = run::run(&sandbox(view.root(), machine), view, &options);
    let text = fs_err::read_to_string(&path).map_err(file)?;
    // The first line is the innermost cause.
    let detail = text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    let reason = match ended {
        Ok(ContainerEnding::Exited(0)) => return Ok(()),
        Ok(ending) => detail.unwrap_or_else(|| format!("{ending:?}")),
        Err(RunError::Container { reason }) => {
            detail.map_or_else(|| reason.clone(), |detail| format!("{reason} ({detail})"))
        }
        Err(error) => crate::base::causes::with_causes(&error),
    };
    Err(RehearsalError::Run { reason })
}

/// Makes an empty root in the way that builds get theirs.
fn make_root(view: &View, scratch: &Path, kind: &RootKind) -> Result<(), RehearsalError> {
    let file = |source| RehearsalError::File { source };
    let root = |source| RehearsalError::Root { source };
    let home = match kind {
        RootKind::Overlay | RootKind::Copy => scratch.join("rehearsal"),
        RootKind::OverlayOnTmpfs { .. } => view.path().join("rehearsal"),
    };
    fs_err::create_dir(&home).map_err(file)?;
    if *kind == RootKind::Copy {
        return overlay::bind_root(&home, view).map_err(root);
    }
    let (upper, work) = (home.join("upper"), home.join("work"));
    for folder in [&upper, &work] {
        fs_err::create_dir(folder).map_err(file)?;
    }
    overlay::mount_layers(view, &view.root(), &view.skeleton(), &[], Some((&upper, &work)))
        .map_err(root)
}

/// Describes a container without mounts and without a command.
fn sandbox(root: PathBuf, machine: &Machine) -> Sandbox {
    Sandbox {
        root,
        binds: Vec::new(),
        arguments: Vec::new(),
        environment: vec!["PATH=".to_owned()],
        working_directory: "/".into(),
        user: User::default(),
        network: Network::None,
        outer_proc: machine.has(&Condition::NestedProc),
        sysfs: machine.sysfs(),
        left_out: machine.left_out(),
        own_host_name: !machine.has(&Condition::OuterHostName),
        no_new_privileges: true,
    }
}
