//! One stage: its steps one after another, each found in the cache or carried out by a helper.

use std::cell::Cell;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agent::AgentSocket;
use super::build::{Build, Done};
use super::error::StepError;
use super::follow::following;
use super::inputs::Gathered;
use super::job::{
    DigestWork, LayerWork, Order, StepAnswer, StepJob, StepLayer, StepNetwork, StepWork,
};
use super::readable::make_readable;
use super::workplace::{Room, Using};
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::container::helper::{Finishing, HelperPlace};
use crate::container::idmap::IdMap;
use crate::dockerfile::cache::{Made, step_key};
use crate::dockerfile::evaluate::Finished;
use crate::dockerfile::graph::PlannedStage;
use crate::dockerfile::step::{CopySource, Sharing, Step};
use crate::image::digest::DiffId;
use crate::image::layers::adopt;
use crate::image::store::{BuiltLayer, LayerBlob, StoreError};

/// How many of the log's last lines are shown when a command fails.
const TAIL: usize = 20;

/// Carries out the steps of a stage.
pub(super) struct Runner<'b, 'a> {
    pub(super) build: &'b Build<'a>,
    planned: &'b PlannedStage,
    layers: Vec<BuiltLayer>,
    flattened: bool,
    helper: Option<(Arc<Room>, HelperPlace)>,
    /// What the step before left, which clears itself up.
    left: Option<Left>,
    /// Locks on caches, held while a command has them.
    locks: Vec<FileLock>,
    /// Sockets that lead to agents, open while a command has them.
    pub(super) agents: Vec<AgentSocket>,
    number: u32,
}

/// What a step leaves: dropping it waits for its process and removes its folder.
struct Left {
    process: Option<Finishing>,
    room: Arc<Room>,
    scratch: PathBuf,
}

impl Drop for Left {
    fn drop(&mut self) {
        drop(self.process.take());
        // A helper that came to its end left it empty.
        if fs_err::remove_dir(&self.scratch).is_err() {
            (self.room.remove)(&self.room.machine, &self.scratch, &self.room.view);
        }
    }
}

fn file(what: &'static str) -> impl Fn(io::Error) -> StepError {
    move |source| StepError::File { what, source }
}

fn stored(error: StoreError) -> StepError {
    StepError::Store(Box::new(error))
}

impl<'b, 'a> Runner<'b, 'a> {
    pub(super) fn new(build: &'b Build<'a>, planned: &'b PlannedStage, base: Done) -> Self {
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
        }
    }

    /// What the stage came to.
    pub(super) fn done(self, finished: Finished) -> Done {
        Done { finished, layers: self.layers.clone(), flattened: self.flattened }
    }

    pub(super) fn stage_label(&self) -> &str {
        &self.planned.label
    }

    /// Carries a step out; gives the layer that it makes, if it makes one.
    pub(super) fn carry_out(
        &mut self,
        step: &Step,
        shown: &str,
        observer: &dyn Observer,
    ) -> Result<Option<BuiltLayer>, StepError> {
        self.number += 1;
        let mut gathered = self.gather(step, observer)?;
        // Nothing of it depends on what lies below.
        let is_linked = matches!(step, Step::Copy(step) if step.link);
        let below = if is_linked { Vec::new() } else { self.layers.clone() };
        let diff_ids: Vec<DiffId> = below.iter().map(|layer| layer.diff_id.clone()).collect();
        let epoch = self.build.options.source_date_epoch;
        let key = step_key(&diff_ids, step, &gathered.contents, epoch);
        let workplace = self.build.workplace;
        let known = if self.build.options.no_cache {
            None
        } else {
            let claim = |layer: &BuiltLayer| self.using(Using::Layer(layer), observer);
            self.build.cache.step(&key, workplace.store, claim)?
        };
        // Where owners can be had, a layer without them won't do.
        let known = known.filter(|made| !made.flattened || !workplace.services.may_have_ranges());
        self.build.count(known.is_some());
        let made = if let Some(made) = known {
            tracing::info!(stage = self.stage_label(), step = shown, "in the cache");
            made
        } else {
            let task = format!("[{} {}] {}", self.stage_label(), self.number, first_line(shown));
            observer.event(Event::TaskBegan { task: task.clone() });
            let made = self.make(step, &mut gathered, &below, observer);
            observer.event(Event::TaskEnded { task });
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
        step: &Step,
        gathered: &mut Gathered,
        below: &[BuiltLayer],
        observer: &dyn Observer,
    ) -> Result<Made, StepError> {
        let mut network = StepNetwork::None;
        match step {
            Step::Run(run) => {
                network = self.network(run)?;
                gathered.mounts = self.mounts(run, observer)?;
            }
            Step::Copy(copy) => self.fetch_missing(copy, &mut gathered.inputs, observer)?,
            Step::Folder(_) => {}
        }
        let name = format!("{}-{}", self.planned.number, self.number);
        let room = self.build.blob_room(observer).map_err(stored)?;
        let output = room.file(&name).map_err(stored)?;
        let map = self.helper(observer)?.0.machine.map.clone();
        let inputs = self.build.workplace.services.inputs_folder();
        let inputs = inputs.map_err(|error| StepError::Service(Box::new(error)))?;
        let copies = inputs.join(format!("{name}-copies"));
        make_readable(&mut gathered.inputs, &mut gathered.mounts, &map, &copies)
            .map_err(file("copy what only root may read"))?;
        let log = self.build.log(self.planned);
        self.using(Using::Folder(&self.build.workplace.logs), observer)?;
        start_log(&log, self.number).map_err(file("write the log"))?;
        let work = LayerWork {
            below: self.build.blob_list(below),
            step: step.clone(),
            inputs: std::mem::take(&mut gathered.inputs),
            mounts: std::mem::take(&mut gathered.mounts),
            network,
            output: output.clone(),
            log: log.clone(),
            time_limit: self.build.workplace.time_limit,
            source_date_epoch: self.build.options.source_date_epoch,
        };
        let (answer, left) = self.ask(StepWork::Layer(Box::new(work)), &log, observer)?;
        let StepAnswer::Layer(StepLayer { layer, upper, flattened }) = answer else {
            return Err(StepError::Needed);
        };
        if let Some(layer) = &layer {
            // Before the store has it: else somebody might find that nobody needs it.
            self.using(Using::Layer(layer), observer)?;
            let turn = self.build.take_turn();
            room.keep_layer(&output, layer, observer).map_err(stored)?;
            drop(turn);
            if let Some(upper) = upper {
                let upper = left.scratch.join(upper);
                adopt(&left.room.layers, &upper, &layer.diff_id)
                    .map_err(|error| file("keep an unpacked layer")(io::Error::other(error)))?;
            }
        }
        self.left = Some(left);
        Ok(Made { layer, flattened })
    }

    fn using(&self, what: Using<'_>, observer: &dyn Observer) -> Result<(), StepError> {
        let services = self.build.workplace.services;
        services.using(what, observer).map_err(|error| StepError::Service(Box::new(error)))
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
        let work = DigestWork { layers, sources, exclude, parents };
        let log = self.build.log(self.planned);
        match self.ask(StepWork::Digest(work), &log, observer)? {
            (StepAnswer::Digest(digest), left) => {
                self.left = Some(left);
                Ok(digest)
            }
            _ => Err(StepError::Needed),
        }
    }

    /// The stage's helper, which is got when it is first needed.
    pub(super) fn helper(
        &mut self,
        observer: &dyn Observer,
    ) -> Result<&mut (Arc<Room>, HelperPlace), StepError> {
        let helper = if let Some(helper) = self.helper.take() {
            helper
        } else {
            let started = self.build.room(observer);
            started.map_err(|error| StepError::Service(Box::new(error)))?
        };
        Ok(self.helper.insert(helper))
    }

    /// Has a helper do something.
    fn ask(
        &mut self,
        work: StepWork,
        log: &Path,
        observer: &dyn Observer,
    ) -> Result<(StepAnswer, Left), StepError> {
        // It clears itself up while this one begins.
        let _before = self.left.take();
        let (limits, shows_output) =
            (self.build.workplace.limits, self.build.workplace.shows_output);
        let subject = format!("[{} {}]", self.stage_label(), self.number);
        let (room, place) = self.helper(observer)?;
        let scratch = tempfile::Builder::new()
            .prefix("step-")
            .tempdir_in(&room.scratch)
            .map_err(file("make a scratch folder"))?
            .keep();
        let mut left = Left { process: None, room: Arc::clone(room), scratch: scratch.clone() };
        give_to_container_root(&room.machine.map, &scratch)
            .map_err(file("make a scratch folder"))?;
        let job = StepJob {
            machine: room.machine.clone(),
            scratch,
            view: room.view.clone(),
            layers: room.layers.clone(),
            limits,
            work,
        };
        let mut run = || place.run(&Order::Step(&job), None, &Cell::default(), Some);
        let heard = if shows_output { following(log, &subject, observer, run) } else { run() };
        let (answer, process) = heard.map_err(StepError::Helper)?;
        left.process = Some(process);
        match answer {
            StepAnswer::Failed(failure) => {
                let tail = if failure.see_log { last_lines(log) } else { Vec::new() };
                Err(StepError::Failed { failure, log: log.to_owned(), tail })
            }
            answer => Ok((answer, left)),
        }
    }

    /// The folder of a cache, locked as its sharing says.
    pub(super) fn cache_folder(
        &mut self,
        id: &str,
        sharing: Sharing,
        observer: &dyn Observer,
    ) -> Result<PathBuf, StepError> {
        let map = &self.helper(observer)?.0.machine.map.clone();
        let home = self.build.workplace.caches.join(map.digest());
        let name = Sha256Sum::of(id.as_bytes());
        let failed = file("use a cache");
        for copy in 0_u32.. {
            let folder = home.join(format!("{}-{copy}", &name.as_str()[..32]));
            self.using(Using::Folder(&folder), observer)?;
            fs_err::create_dir_all(&folder).map_err(&failed)?;
            give_to_container_root(map, &folder).map_err(&failed)?;
            let lock = home.join(format!("{}-{copy}.lock", &name.as_str()[..32]));
            match sharing {
                Sharing::Shared => return Ok(folder),
                Sharing::Locked => {
                    let interrupt = &self.build.workplace.interrupt;
                    let lock = FileLock::acquire_unless(&lock, || (), || interrupt.is_raised());
                    self.locks.extend(lock.map_err(&failed)?);
                    return Ok(folder);
                }
                Sharing::Private => {
                    if let Some(lock) = FileLock::try_acquire(&lock).map_err(&failed)? {
                        self.locks.push(lock);
                        return Ok(folder);
                    }
                }
            }
        }
        Err(StepError::Needed)
    }
}

/// As real root, a folder goes to the id that containers have as root.
fn give_to_container_root(map: &IdMap, folder: &Path) -> io::Result<()> {
    let (uid, gid) = map.root();
    if uid != nix::unistd::Uid::current().as_raw() {
        chown(folder, Some(uid), Some(gid))?;
    }
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

/// Lets the container's root read a file and the folder that it lies in.
pub(super) fn let_in(folder: &Path, path: &Path) -> io::Result<()> {
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

/// A stage's log begins anew with its first step.
fn start_log(log: &Path, number: u32) -> io::Result<()> {
    if let Some(folder) = log.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let first = number == 1;
    fs_err::OpenOptions::new()
        .create(true)
        .write(true)
        .append(!first)
        .truncate(first)
        .open(log)
        .map(drop)
}

fn last_lines(log: &Path) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs_err::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(1 << 14)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let shown = |line: &&str| -> String {
        line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    };
    lines[lines.len().saturating_sub(TAIL)..].iter().map(shown).collect()
}

fn first_line(text: &str) -> String {
    const LONGEST: usize = 100;
    text.lines().next().unwrap_or_default().chars().take(LONGEST).collect()
}
