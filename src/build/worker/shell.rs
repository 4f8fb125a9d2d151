//! Another command in the container of a build.

use std::path::{Path, PathBuf};

use super::build::RunningBuild;
use super::state;
use crate::base::event::Phase;
use crate::build::shell::{BundleJob, ShellJob};
use crate::container::console::{self, ContainerTerminal, Streams};
use crate::container::run::ContainerEnding;
use crate::container::sandbox::Special;
use crate::runner::command::{Attachments, EarlierChanges};
use crate::runner::job::{Job, JobFailure, Performed, enter_phase};

impl Job for ShellJob {
    const KIND: &'static str = "shell";
    type Answer = i32;

    fn perform(&self) -> Performed<'_, i32> {
        enter_phase(Phase::Prepare);
        // As the caller: the container's root may not reach the socket.
        let entered = self
            .streams()
            .and_then(|streams| Ok((streams, RunningBuild::enter(&self.build, self.kept.iter())?)));
        let (streams, build) = match entered {
            Ok(entered) => entered,
            Err(failure) => return Err(failure).into(),
        };
        let result = self.carry_out(&build, streams);
        let result = result.map_err(|failure| build.workspace.explained(failure));
        let clear_up = move || drop(build.workspace.clear_up(|_name| false));
        Performed { result, clear_up: Some(Box::new(clear_up)) }
    }
}

impl ShellJob {
    fn streams(&self) -> Result<Streams, JobFailure> {
        let machine = &self.build.folders.machine;
        if self.terminal.is_some() && machine.left_out().contains(&Special::Terminals) {
            let message = "this machine's kernel refuses a container pseudo-terminals";
            return Err(JobFailure::new(message).with_hint(
                "run a command without a terminal: mkpanda shell PACKAGE -- CMD < /dev/null | cat",
            ));
        }
        let channel = console::connect(&self.console).map_err(JobFailure::of)?;
        Ok(match self.terminal {
            Some(size) => Streams::Terminal(ContainerTerminal { channel: channel.into(), size }),
            None => Streams::Pipes(console::receive_pipes(&channel).map_err(JobFailure::of)?),
        })
    }

    /// Runs the command; returns its exit code, or 128 and the number of the signal that ended it.
    fn carry_out(&self, build: &RunningBuild<'_>, streams: Streams) -> Result<i32, JobFailure> {
        let (copy, changes) = inputs(build, self.kept.as_deref())?;
        let mut command = build.command(&copy)?;
        command.arguments.clone_from(&self.arguments);
        command.environment.extend(self.environment.iter().cloned());
        let (prepared, membership) = build.enter_container(&command, changes.as_ref())?;
        enter_phase(Phase::Build);
        let ending = prepared.ended(Attachments {
            name: "the command",
            log: &build.log,
            log_path: &self.build.log,
            inherited: membership.descriptors,
            recorder: None,
            streams,
        })?;
        Ok(match ending {
            ContainerEnding::Exited(code) => code,
            ContainerEnding::Signalled(number) => 128 + number,
            ContainerEnding::TimedOut => 1,
        })
    }
}

impl Job for BundleJob {
    const KIND: &'static str = "bundle";
    type Answer = String;

    fn perform(&self) -> Performed<'_, String> {
        enter_phase(Phase::Prepare);
        let more = self.kept.iter().chain([&self.root, &self.mounts]);
        let build = match RunningBuild::enter(&self.build, more) {
            Ok(build) => build,
            Err(failure) => return Err(failure).into(),
        };
        let result = self.write(&build).map_err(|failure| build.workspace.explained(failure));
        let clear_up = move || drop(build.workspace.clear_up(|_name| false));
        Performed { result, clear_up: Some(Box::new(clear_up)) }
    }
}

impl BundleJob {
    fn write(&self, build: &RunningBuild<'_>) -> Result<String, JobFailure> {
        let (copy, changes) = inputs(build, self.kept.as_deref())?;
        let mut command = build.command(&copy)?;
        command.arguments.clone_from(&self.arguments);
        let (prepared, _) = build.enter_container(&command, changes.as_ref())?;
        let place = |path| build.workspace.in_view(path);
        prepared.write_bundle((&place(&self.root), &place(&self.mounts)), self.terminal)
    }
}

/// Makes what the script finds, or what it left. Returns the package's copy, and the changes in the root.
fn inputs(
    build: &RunningBuild<'_>,
    kept: Option<&Path>,
) -> Result<(PathBuf, Option<EarlierChanges>), JobFailure> {
    let Some(kept) = kept else { return Ok((build.lay_out()?, None)) };
    let (copy, changes) = state::restore(&build.workspace, &build.workspace.in_view(kept))?;
    build.stage()?;
    Ok((copy, Some(changes)))
}
