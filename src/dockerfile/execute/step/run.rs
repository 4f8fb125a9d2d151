//! RUN: the command in a container.

use std::path::PathBuf;

use super::super::job::StepNetwork;
use super::LayerMaker;
use crate::base::event::Phase;
use crate::container::console::Streams;
use crate::container::recorder::{RecordedOwners, Recorder};
use crate::dockerfile::step::RunStep;
use crate::image::layers::StepOwners;
use crate::runner::command::{
    Attachments, CommandRoot, ContainerCommand, NameLookup, TextFile, names_files, no_overlay,
    prepare,
};
use crate::runner::job::{JobFailure, enter_phase};

impl LayerMaker<'_> {
    /// Small files of every RUN.
    fn files(&self) -> Vec<TextFile> {
        let mut files = match &self.job.network {
            StepNetwork::None => names_files(NameLookup::Own),
            StepNetwork::Own(uplink) => names_files(NameLookup::Server(uplink.name_server())),
            StepNetwork::Host => names_files(NameLookup::Machine),
        };
        if self.workspace.is_single() {
            // The command would continue as a user who does not exist.
            files.push(TextFile {
                path: "/etc/apt/apt.conf.d/00mkpanda".into(),
                text: "APT::Sandbox::User \"root\";\n".to_owned(),
                writable: false,
            });
        }
        files
    }

    /// Runs the command; returns the folders of the layers below, and the folder with the changes.
    pub(super) fn run(&self, step: &RunStep) -> Result<(Vec<PathBuf>, PathBuf), JobFailure> {
        let job = self.job;
        let mounts = self.mounts(step)?;
        let mut environment = step.environment.clone();
        environment.extend(step.proxies.iter().cloned());
        environment.extend(mounts.variables);
        let command = ContainerCommand {
            root: CommandRoot::Layers(job.below.clone()),
            mounts: mounts.all,
            files: self.files(),
            folders: Vec::new(),
            arguments: step.command.clone(),
            environment,
            working_directory: PathBuf::from(&step.workdir),
            user: step.user.clone(),
            network: job.network.of_namespace(),
            time_limit: job.time_limit,
            log_limit: job.log_limit,
            // `sudo` and package managers in images need set-id programs; within the namespace
            // these give no right outside.
            no_new_privileges: false,
        };
        let prepared = prepare(&self.workspace, &command)?;
        let upper = prepared.upper().ok_or_else(no_overlay)?.to_owned();
        let recorder = self.workspace.is_single().then(|| Recorder::new(&upper, prepared.user()));
        enter_phase(Phase::Build);
        prepared.run(Attachments {
            name: "the command",
            log: &self.log,
            log_path: &job.log,
            inherited: Vec::new(),
            recorder: recorder.as_ref(),
            streams: Streams::Log,
        })?;
        if let Some(recorder) = recorder {
            let RecordedOwners { notes, is_incomplete } = recorder.finish();
            let step_owners = StepOwners { maker: prepared.ids(), notes };
            self.recorded.replace((step_owners, is_incomplete));
        }
        Ok((prepared.layers().to_vec(), upper))
    }
}
