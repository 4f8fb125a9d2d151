//! The helper's side of a step: a root of the layers below with an upper directory above, the command
//! or the copies in it, and a layer of the changes.
//!
//! ```text
//! <scratch>/upper/          becomes the unpacked layer
//! <scratch>/upper.owners    with one id: owners of its files
//! <scratch>/work/           overlayfs's own
//! <scratch>/mounts/         files that mounts of a command write, which are lost
//! ```

mod copy;
mod copy_source;
mod copying;
mod digest;
mod inputs;
mod linked;
mod mounts;
mod run;

use std::cell::RefCell;
use std::fs::File;
use std::path::PathBuf;

use fs_err::OpenOptions;

use super::job::{LayerJob, StepLayer, StepNetwork};
use crate::archive::EntryTimes;
use crate::base::event::Phase;
use crate::container::namespace::Network;
use crate::container::uplink::Waiting;
use crate::dockerfile::context::ContextError;
use crate::dockerfile::step::{CopyOrigin, LayerStep};
use crate::image::layers::{KnownOwners, StepOwners, write_layer};
use crate::runner::command::{Point, make_root, no_overlay};
use crate::runner::job::{Job, JobFailure, Performed, enter_phase};
use crate::runner::workspace::Workspace;

impl Job for LayerJob {
    const KIND: &'static str = "layer";
    type Answer = StepLayer;

    fn perform(&self) -> Performed<'_, StepLayer> {
        enter_phase(Phase::Prepare);
        let perform = || {
            // Opened as the caller: the container's root may not reach them.
            let blob = OpenOptions::new().write(true).open(&self.output).map_err(JobFailure::of)?;
            let log = OpenOptions::new().append(true).open(&self.log).map_err(JobFailure::of)?;
            let network = match &self.step {
                LayerStep::Run(_) => &self.network,
                LayerStep::Copy(_) | LayerStep::Folder(_) => &StepNetwork::None,
            };
            let waiting = match network {
                StepNetwork::Own(uplink) => {
                    // Before the namespaces are entered: from within, the network's program could
                    // not be started as the caller.
                    Some(uplink.start(&self.folders.machine.map).map_err(JobFailure::of)?)
                }
                StepNetwork::None | StepNetwork::Host => None,
            };
            let workspace =
                Workspace::enter(&self.folders, inputs::of(self), network.of_namespace())?;
            let connected = waiting.map(Waiting::connect).transpose().map_err(|error| {
                let hint = error.hint().map(str::to_owned);
                JobFailure { hint, ..JobFailure::of(error) }
            })?;
            let maker = LayerMaker {
                job: self,
                workspace,
                log: log.into_parts().0,
                told: RefCell::default(),
                recorded: RefCell::default(),
            };
            let made = maker.make(blob.into_parts().0).map_err(|failure| JobFailure {
                message: maker.workspace.named_outside(&failure.message),
                ..failure
            });
            Ok((maker, connected, made))
        };
        let (maker, connected, result) = match perform() {
            Ok(performed) => performed,
            Err(failure) => return Err(failure).into(),
        };
        let is_done = result.is_ok();
        let clear_up = move || {
            drop(connected);
            // The parent takes the upper directory, and removes the rest.
            let is_kept =
                |name: &std::ffi::OsStr| is_done && name.as_encoded_bytes().starts_with(b"upper");
            drop(maker.workspace.clear_up(is_kept));
        };
        Performed { result, clear_up: Some(Box::new(clear_up)) }
    }
}

impl StepNetwork {
    /// Network of the namespaces that the command runs in.
    pub(super) fn of_namespace(&self) -> Network {
        match self {
            Self::Host => Network::Host,
            Self::None | Self::Own(_) => Network::None,
        }
    }
}

/// Turns an error of choosing files into a failure.
fn from_context(error: ContextError) -> JobFailure {
    let hint = error.hint().map(str::to_owned);
    JobFailure { hint, ..JobFailure::of(error) }
}

/// A step under way, inside the namespaces.
struct LayerMaker<'a> {
    job: &'a LayerJob,
    workspace: Workspace<'a>,
    log: File,
    /// Owners of files that cannot have extended attributes, in the single-id tier.
    told: RefCell<Vec<(PathBuf, (u32, u32))>>,
    /// In the single tier: owners recorded while a command ran; true if the record may be incomplete.
    recorded: RefCell<(StepOwners, bool)>,
}

impl LayerMaker<'_> {
    fn make(&self, blob: File) -> Result<StepLayer, JobFailure> {
        let job = self.job;
        let (below, changes) = match &job.step {
            LayerStep::Run(step) => self.run(step)?,
            LayerStep::Copy(step) => {
                let below = self.workspace.unpacked(&job.below)?;
                let changes = self.copy(step, &below)?;
                (below, changes)
            }
            LayerStep::Folder(step) => {
                let below = self.workspace.unpacked(&job.below)?;
                let changes = self.folder(step, &below)?;
                (below, changes)
            }
        };
        enter_phase(Phase::Pack);
        let (making, is_incomplete) = self.recorded.take();
        let owners = if self.workspace.is_single() {
            let mut owners = KnownOwners::read(&below).map_err(JobFailure::of)?;
            for (path, owner) in self.told.borrow().iter() {
                owners.record(path, *owner);
            }
            owners.made_by(making);
            Some(owners)
        } else {
            None
        };
        let times = match &job.step {
            LayerStep::Copy(step) if step.from == CopyOrigin::Context => {
                // Files of a context have the times of a checkout, which differ from machine to
                // machine.
                EntryTimes::All(job.source_date_epoch)
            }
            _ => EntryTimes::Latest(job.source_date_epoch),
        };
        let limits = &job.folders.limits;
        let made =
            write_layer(&changes, blob, times, owners.as_ref(), limits).map_err(JobFailure::of)?;
        let has_changes = made.packed.entries > 0;
        Ok(StepLayer {
            layer: has_changes.then_some(made.layer),
            upper: (has_changes && changes.starts_with(self.workspace.scratch("")))
                .then(|| "upper".to_owned()),
            flattened: has_changes && is_incomplete,
        })
    }

    /// Mounts the root of a step without a command; returns the folder that receives the changes.
    fn make_root(&self, below: &[PathBuf]) -> Result<PathBuf, JobFailure> {
        let points: &[Point] = &[];
        make_root(&self.workspace, below, None, points)?.ok_or_else(no_overlay)
    }
}
