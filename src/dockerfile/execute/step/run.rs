//! RUN: the command in a container.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::super::job::{LayerWork, StepFailure, StepNetwork};
use super::{Work, failed};
use crate::base::causes::with_causes;
use crate::container::machine::Condition;
use crate::container::namespace::Network;
use crate::container::recorder::{Recorded, Recorder};
use crate::container::run::{self, Ending, Recording, RunOptions};
use crate::container::sandbox::{Sandbox, User};
use crate::container::seccomp::{self, table::Row};
use crate::container::within_root::{Ownership, locate, make_folders, read_text};
use crate::dockerfile::step::RunStep;
use crate::image::layers::Making;
use crate::image::user::{UserSpec, resolve_user};

/// Where programs are looked for in an image that doesn't say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Work<'_> {
    /// Runs the command; gives the folder with what it changed.
    pub(super) fn run(
        &self,
        step: &RunStep,
        work: &LayerWork,
        below: &[PathBuf],
        log: &std::fs::File,
    ) -> Result<PathBuf, StepFailure> {
        let mounts = self.mounts(step, work)?;
        let upper = self.make_root(below, &mounts.points)?;
        let root = self.view.root();
        let passwd = read_text(&root, "etc/passwd").map_err(failed)?;
        let group = read_text(&root, "etc/group").map_err(failed)?;
        let user = resolve_user(&step.user, passwd.as_deref(), group.as_deref()).map_err(failed)?;
        let workdir = locate(&root, Path::new(&step.workdir), false).map_err(failed)?;
        let owner = Ownership { ids: (0, 0), single: self.is_single() };
        make_folders(&root, &workdir, owner).map_err(failed)?;
        let machine = &self.job.machine;
        let mut variables = step.environment.clone();
        variables.extend(step.proxies.iter().cloned());
        variables.extend(mounts.variables);
        let sandbox = Sandbox {
            root,
            binds: mounts.binds,
            arguments: step.command.clone(),
            environment: environment(&variables, &user),
            working_directory: PathBuf::from(&step.workdir),
            // With one id, root prepares all, and the command is somebody else in the end.
            user: if self.is_single() { User::default() } else { of(&user) },
            network: match work.network {
                StepNetwork::Host => Network::Host,
                _ => Network::None,
            },
            outer_proc: machine.has(&Condition::NestedProc),
            sysfs: machine.sysfs(),
            left_out: machine.left_out(),
            own_host_name: !machine.has(&Condition::OuterHostName),
            // With one id there is nobody to become.
            no_new_privileges: self.is_single(),
        };
        if self.is_single() {
            let recorder = Recorder::new(&upper, of(&user));
            self.run_sandbox(&sandbox, work.time_limit, log, Some((&recorder, &user)))?;
            let Recorded { notes, is_incomplete } = recorder.finish();
            let making = Making { maker: (user.uid, user.gid), notes };
            self.recorded.replace((making, is_incomplete));
        } else {
            self.run_sandbox(&sandbox, work.time_limit, log, None)?;
        }
        Ok(upper)
    }

    /// Runs the command; with one id, by `sole` user, and with somebody who writes down owners.
    fn run_sandbox(
        &self,
        sandbox: &Sandbox,
        time_limit: Option<Duration>,
        log: &std::fs::File,
        sole: Option<(&Recorder, &UserSpec)>,
    ) -> Result<(), StepFailure> {
        let refused = seccomp::table::refused();
        let with = |rows: Vec<Row>| seccomp::build(&[&refused[..], &rows].concat());
        let is_root = sole.is_none_or(|(_, user)| user.uid == 0);
        // Another user than root is told by the kernel what it may not become.
        let pretended = match sole {
            Some(_) if is_root => seccomp::table::pretended(),
            _ => Vec::new(),
        };
        let recording = sole.map(|(recorder, _)| {
            let asked = if is_root {
                seccomp::table::recorded()
            } else {
                seccomp::table::recorded_owners()
            };
            let filter = with([&asked[..], &pretended].concat());
            Recording { recorder, filter }
        });
        let ids = sole.map(|(_, user)| (user.uid, user.gid));
        let options = RunOptions {
            log,
            time_limit,
            filter: with(pretended),
            landlock: !self.job.machine.has(&Condition::NoLandlockScope),
            inherited: Arc::new([]),
            sole_user: ids.filter(|ids| *ids != (0, 0)),
            recording,
        };
        // libcontainer's details go to `tracing` alone, and belong into the log.
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .with_ansi(false)
            .without_time()
            .with_writer(std::sync::Mutex::new(log.try_clone().map_err(failed)?))
            .finish();
        let ended = tracing::subscriber::with_default(subscriber, || {
            run::run(sandbox, &self.view, &options)
        });
        let see_log = |message: String| StepFailure { see_log: true, ..StepFailure::new(message) };
        match ended.map_err(|error| see_log(with_causes(&error)))? {
            Ending::Exited(0) => Ok(()),
            Ending::Exited(code) => Err(see_log(format!("the command exited with code {code}"))),
            Ending::Signalled(number) => Err(see_log(match Signal::try_from(number) {
                Ok(signal) => format!("the command was ended by {signal}"),
                Err(_) => format!("the command exited with code {}", 128 + number),
            })),
            Ending::TimedOut => {
                let seconds = time_limit.unwrap_or_default().as_secs();
                let hint = "raise `time` in [limits] of the configuration, or MKPANDA_LIMITS_TIME";
                Err(StepFailure {
                    hint: Some(hint.to_owned()),
                    ..see_log(format!("the command took longer than {seconds} s, its limit"))
                })
            }
        }
    }
}

/// The ids of a user of the image.
fn of(user: &UserSpec) -> User {
    User { uid: user.uid, gid: user.gid, groups: user.additional_gids.clone() }
}

/// The step's variables, later ones of a name counting, and those that every program expects.
fn environment(variables: &[(String, String)], user: &UserSpec) -> Vec<String> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for (name, value) in variables {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => all.push((name, value.clone())),
        }
    }
    for (name, value) in
        [("PATH", DEFAULT_PATH.to_owned()), ("HOME", user.home.display().to_string())]
    {
        if !all.iter().any(|(known, _)| *known == name) {
            all.push((name, value));
        }
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
