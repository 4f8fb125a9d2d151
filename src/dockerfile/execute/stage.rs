//! A stage: its steps, in order, each found in the cache or carried out by a helper.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::agent::AgentSocket;
use super::error::StepError;
use super::job::{CopyInput, DigestJob, LayerJob, MountInput, StepLayer, StepNetwork};
use super::provision_error::ProvisionError;
use super::readable::make_readable;
use super::shared::{FinishedStage, ImageBuild};
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::container::helper::HelperSlot;
use crate::dockerfile::cache::{StepResult, step_key};
use crate::dockerfile::evaluate::EvaluatedStage;
use crate::dockerfile::graph::PlannedStage;
use crate::dockerfile::step::{CopySource, LayerStep};
use crate::image::digest::DiffId;
use crate::image::layers::adopt;
use crate::image::store::{BuiltLayer, ImageStoreError, LayerBlob};
use crate::runner::follow::following;
use crate::runner::isolation::may_have_ranges;
use crate::runner::job::Job;
use crate::runner::log_tail::last_lines;
use crate::runner::scratch::{Leftovers, ScratchDir};
use crate::runner::session::Session;
use crate::runner::workspace::JobFolders;

/// Carries out the steps of a stage.
pub(super) struct StageBuilder<'b, 'a> {
    pub(super) build: &'b ImageBuild<'a>,
    planned: &'b PlannedStage,
    layers: Vec<BuiltLayer>,
    flattened: bool,
    helper: Option<(Arc<Session>, HelperSlot)>,
    /// Leftovers of the step before, which are cleared up meanwhile.
    left: Option<Leftovers>,
    /// Locks on caches, held while a command has them.
    pub(super) locks: Vec<FileLock>,
    /// Sockets for agents, open while a command runs.
    pub(super) agents: Vec<AgentSocket>,
    number: u32,
    /// True if a step of this build has written to the stage's log.
    has_log: bool,
}

/// Inputs of a step, with their digests.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) inputs: Vec<CopyInput>,
    pub(super) mounts: Vec<MountInput>,
    pub(super) contents: Vec<Sha256Sum>,
}

fn file(what: &'static str) -> impl Fn(io::Error) -> StepError {
    move |source| StepError::File { what, source }
}

pub(super) fn unprovided(error: ProvisionError) -> StepError {
    StepError::Provision(Box::new(error))
}

fn stored(error: ImageStoreError) -> StepError {
    StepError::Store(Box::new(error))
}

impl<'b, 'a> StageBuilder<'b, 'a> {
    pub(super) fn new(
        build: &'b ImageBuild<'a>,
        planned: &'b PlannedStage,
        base: FinishedStage,
    ) -> Self {
        Self {
            build,
            planned,
            layers: base.layers,
            flattened: base.flattened,
            helper: None,
            left: None,
            locks: Vec::new(),
            agents: Vec::new(),
            number: 0,
            has_log: false,
        }
    }

    /// Returns the result of the stage.
    pub(super) fn done(self, finished: EvaluatedStage) -> FinishedStage {
        FinishedStage { finished, layers: self.layers.clone(), flattened: self.flattened }
    }

    pub(super) fn stage_label(&self) -> &str {
        &self.planned.label
    }

    /// Carries out a step; returns its layer, if any.
    pub(super) fn carry_out(
        &mut self,
        step: &LayerStep,
        shown: &str,
        observer: &dyn Observer,
    ) -> Result<Option<BuiltLayer>, StepError> {
        self.number += 1;
        let mut gathered = self.gather(step, observer)?;
        // Nothing of it depends on what lies below.
        let is_linked = matches!(step, LayerStep::Copy(step) if step.link);
        let below = if is_linked { Vec::new() } else { self.layers.clone() };
        let diff_ids: Vec<DiffId> = below.iter().map(|layer| layer.diff_id.clone()).collect();
        let epoch = self.build.options.source_date_epoch;
        let key = step_key(&diff_ids, step, &gathered.contents, epoch);
        let builder = self.build.builder;
        let known = if self.build.options.no_cache {
            None
        } else {
            let claim = |layer: &BuiltLayer| self.use_layer(layer, observer);
            self.build.cache.step(&key, builder.store, claim)?
        };
        // Where owners can be set, a layer without owners is not accepted.
        let known =
            known.filter(|made| !made.flattened || !may_have_ranges(&builder.runner.isolation));
        self.build.count(known.is_some());
        let made = if let Some(made) = known {
            tracing::info!(stage = self.stage_label(), step = shown, "in the cache");
            made
        } else {
            let task = format!("[{} {}] {}", self.stage_label(), self.number, first_line(shown));
            observer.event(Event::TaskBegan { task: task.clone() });
            let made = self.make(step, &mut gathered, &below, observer);
            observer.event(Event::TaskEnded { task });
            // At once, even after a failure: commands of other builds wait for these caches.
            self.locks.clear();
            self.agents.clear();
            let made = made?;
            self.build.cache.put_step(&key, &made).map_err(file("write the build cache"))?;
            made
        };
        self.flattened |= made.flattened;
        self.layers.extend(made.layer.clone());
        Ok(made.layer)
    }

    fn make(
        &mut self,
        step: &LayerStep,
        gathered: &mut Gathered,
        below: &[BuiltLayer],
        observer: &dyn Observer,
    ) -> Result<StepResult, StepError> {
        let mut network = StepNetwork::None;
        match step {
            LayerStep::Run(run) => {
                network = self.network(run)?;
                gathered.mounts = self.mounts(run, observer)?;
            }
            LayerStep::Copy(copy) => self.fetch_missing(copy, &mut gathered.inputs, observer)?,
            LayerStep::Folder(_) => {}
        }
        let limits = self.build.builder.runner.limits;
        let name = format!("{}-{}", self.planned.number, self.number);
        let room = self.build.blob_room(observer).map_err(stored)?;
        let output = room.file(&name).map_err(stored)?;
        let map = self.helper(observer)?.0.machine().map.clone();
        let inputs = self.build.inputs().map_err(file("make a folder for copies"))?;
        let copies = inputs.join(format!("{name}-copies"));
        make_readable(&mut gathered.inputs, &mut gathered.mounts, &map, &copies)
            .map_err(file("copy what only root may read"))?;
        let log = self.build.log(self.planned);
        let used = self.build.use_folder(self.build.logs(), observer);
        used.map_err(unprovided)?;
        start_log(&log, !self.has_log).map_err(file("write the log"))?;
        self.has_log = true;
        let job = |folders| LayerJob {
            folders,
            below: self.build.blob_list(below),
            step: step.clone(),
            inputs: std::mem::take(&mut gathered.inputs),
            mounts: std::mem::take(&mut gathered.mounts),
            network,
            output: output.clone(),
            log: log.clone(),
            time_limit: limits.time,
            log_limit: limits.log,
            source_date_epoch: self.build.options.source_date_epoch,
        };
        let scratch = self.scratch_dir(observer)?;
        let job = job(scratch.1);
        let (answer, left) = self.run(&job, scratch.0, &log, observer)?;
        let StepLayer { layer, upper, flattened } = answer;
        if let Some(layer) = &layer {
            // Before the store has the layer: otherwise a collection might find it unneeded.
            self.use_layer(layer, observer)?;
            let turn = self.build.take_turn();
            room.keep_layer(&output, layer, observer).map_err(stored)?;
            drop(turn);
            if let Some(upper) = upper {
                let upper = left.scratch().path().join(upper);
                let layers = self.helper(observer)?.0.layers().to_owned();
                adopt(&layers, &upper, &layer.diff_id)
                    .map_err(|error| file("keep an unpacked layer")(io::Error::other(error)))?;
            }
        }
        self.left = Some(left);
        Ok(StepResult { layer, flattened })
    }

    fn use_layer(&self, layer: &BuiltLayer, observer: &dyn Observer) -> Result<(), StepError> {
        self.build.use_layer(layer, observer).map_err(unprovided)
    }

    /// The digest of files in layers.
    pub(super) fn digest(
        &mut self,
        layers: Vec<LayerBlob>,
        sources: &[CopySource],
        exclude: &[String],
        parents: bool,
        observer: &dyn Observer,
    ) -> Result<Sha256Sum, StepError> {
        let (sources, exclude) = (sources.to_vec(), exclude.to_vec());
        let (scratch, folders) = self.scratch_dir(observer)?;
        let job = DigestJob { folders, layers, sources, exclude, parents };
        let log = self.build.log(self.planned);
        let (digest, left) = self.run(&job, scratch, &log, observer)?;
        self.left = Some(left);
        Ok(digest)
    }

    /// Returns the stage's helper, which is started on first use.
    pub(super) fn helper(
        &mut self,
        observer: &dyn Observer,
    ) -> Result<&mut (Arc<Session>, HelperSlot), StepError> {
        let helper = if let Some(helper) = self.helper.take() {
            helper
        } else {
            self.build.session(observer).map_err(unprovided)?
        };
        Ok(self.helper.insert(helper))
    }

    /// Scratch folder of the next step, and the place of its job.
    fn scratch_dir(
        &mut self,
        observer: &dyn Observer,
    ) -> Result<(ScratchDir, JobFolders), StepError> {
        let session = &self.helper(observer)?.0;
        let scratch = session.scratch_dir("step-").map_err(file("make a scratch folder"))?;
        let folders = session.job_folders(&scratch);
        Ok((scratch, folders))
    }

    /// Runs a job in the stage's helper.
    fn run<J: Job>(
        &mut self,
        job: &J,
        scratch: ScratchDir,
        log: &Path,
        observer: &dyn Observer,
    ) -> Result<(J::Answer, Leftovers), StepError> {
        // Those of the step before are cleared up while this one begins.
        let _before = self.left.take();
        let shows_output = self.build.builder.shows_output;
        let subject = format!("[{} {}]", self.stage_label(), self.number);
        let name = scratch.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (session, helper) = self.helper(observer)?;
        let run = || session.run(helper, &name, job, scratch, |_phase| ());
        let ran = if shows_output { following(log, &subject, observer, run) } else { run() };
        let ran = ran.map_err(StepError::Job)?;
        match ran.result {
            Ok(answer) => Ok((answer, ran.leftovers)),
            Err(failure) => {
                let tail = if failure.see_log { last_lines(log) } else { Vec::new() };
                Err(StepError::Failed { failure, log: log.to_owned(), tail })
            }
        }
    }
}

/// Gives the container's root access to a file and its folder.
pub(super) fn let_in(folder: &Path, path: &Path) -> io::Result<()> {
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

/// Makes the log of a stage. Each build has a new one, whatever steps of the stage are in the cache: the file of an
/// earlier build, or of one at the same time, is left to that.
fn start_log(log: &Path, is_new: bool) -> io::Result<()> {
    if let Some(folder) = log.parent() {
        fs_err::create_dir_all(folder)?;
    }
    if is_new {
        match fs_err::remove_file(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    fs_err::OpenOptions::new().create(true).append(true).open(log).map(drop)
}

fn first_line(text: &str) -> String {
    const LONGEST: usize = 100;
    text.lines().next().unwrap_or_default().chars().take(LONGEST).collect()
}
