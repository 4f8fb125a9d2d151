//! The helper's side of a step: a root of the layers below with an upper directory above, the command
//! or the copying in it, and a layer of what that changed.
//!
//! ```text
//! <scratch>/upper/          becomes the unpacked layer
//! <scratch>/upper.owners    with one id: whom its files belong to
//! <scratch>/work/           overlayfs's own
//! <scratch>/mounts/         what mounts of a command write, which is lost
//! ```
//!
//! What a command is shown and the layer must not have (`/proc`, `/etc/resolv.conf`, mounts) is mounted
//! on folders and files of the lowest layer of all, the skeleton, where the image has none. So nothing
//! of that reaches the upper directory.

mod copy;
mod digest;
mod inputs;
mod mounts;
mod root;
mod run;

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;
use nix::sys::stat::{Mode, umask};

use super::job::{LayerWork, StepAnswer, StepFailure, StepJob, StepLayer, StepNetwork, StepWork};
use crate::archive::Times;
use crate::base::causes::with_causes;
use crate::base::removal::remove_all;
use crate::container::idmap::Tier;
use crate::container::inputs::Inputs;
use crate::container::namespace::{self, Network};
use crate::container::overlay;
use crate::container::uplink::Waiting;
use crate::container::view::View;
use crate::dockerfile::context::ContextError;
use crate::dockerfile::step::{Origin, Step};
use crate::image::layers::{KnownOwners, Making, UnpackOptions, ensure_unpacked, write_layer};
use crate::image::store::LayerBlob;

/// Does a step, from inside the user namespace, and says how it went; gives the process's exit code.
pub fn run_step(job: &StepJob) -> u8 {
    let (answer, work) = match carry_out(job) {
        Ok((answer, work)) => (answer, Some(work)),
        Err(failure) => (Err(failure), None),
    };
    let is_done = answer.is_ok();
    let heard = say(&answer.unwrap_or_else(StepAnswer::Failed));
    // The parent goes on meanwhile, and removes what can't be removed here.
    drop(work.map(|work| work.clear_up(is_done)));
    u8::from(!(is_done && heard))
}

fn say(answer: &StepAnswer) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else { return false };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).is_ok()
}

/// Turns an error into a failure.
fn failed(error: impl std::error::Error + 'static) -> StepFailure {
    use crate::archive::{LimitExceeded, ReadError};
    let hint = ReadError::limit_among_causes(&error).and_then(LimitExceeded::remedy);
    StepFailure { hint: hint.map(str::to_owned), ..StepFailure::new(with_causes(&error)) }
}

/// Turns an error of choosing files into a failure.
fn from_context(error: ContextError) -> StepFailure {
    let hint = error.hint().map(str::to_owned);
    StepFailure { hint, ..failed(error) }
}

/// A step under way, inside the namespaces.
struct Work<'a> {
    job: &'a StepJob,
    inputs: Inputs,
    view: View,
    /// With one id, whose what was made is, where that can't say so itself.
    told: RefCell<Vec<(PathBuf, (u32, u32))>>,
    /// With one id, what was written down while a command ran, and whether it may be incomplete.
    recorded: RefCell<(Making, bool)>,
}

fn carry_out(job: &StepJob) -> Result<(Result<StepAnswer, StepFailure>, Work<'_>), StepFailure> {
    // Opened as the caller: the container's root may not reach them.
    let files = match &job.work {
        StepWork::Layer(work) => Some(Files {
            blob: OpenOptions::new().write(true).open(&work.output).map_err(failed)?.into_parts().0,
            log: OpenOptions::new().append(true).open(&work.log).map_err(failed)?.into_parts().0,
        }),
        StepWork::Digest(_) => None,
    };
    let inputs = inputs::of(job);
    let network = network(job);
    let waiting = match network {
        Some(StepNetwork::Own(uplink)) => Some(uplink.start(&job.machine.map).map_err(failed)?),
        _ => None,
    };
    namespace::enter(match network {
        Some(StepNetwork::Host) => Network::Host,
        _ => Network::None,
    })
    .map_err(failed)?;
    umask(Mode::from_bits_truncate(0o022));
    let view = View::create(&job.view, inputs.folders(), &job.machine.map).map_err(failed)?;
    namespace::become_root(&job.machine.map).map_err(failed)?;
    let _connected = waiting.map(Waiting::connect).transpose().map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        StepFailure { hint, ..failed(error) }
    })?;
    let work = Work { job, inputs, view, told: RefCell::default(), recorded: RefCell::default() };
    let answer = match (&job.work, files) {
        (StepWork::Digest(wanted), _) => work.digest(wanted).map(StepAnswer::Digest),
        (StepWork::Layer(layer), Some(files)) => work.layer(layer, files).map(StepAnswer::Layer),
        (StepWork::Layer(_), None) => unreachable!("they were opened above"),
    };
    let answer = answer.map_err(|failure| StepFailure {
        message: inputs::named_outside(&work.inputs, &work.view, &failure.message),
        ..failure
    });
    Ok((answer, work))
}

/// The network that the step's command gets; nothing without a command.
fn network(job: &StepJob) -> Option<&StepNetwork> {
    match &job.work {
        StepWork::Layer(work) if matches!(work.step, Step::Run(_)) => Some(&work.network),
        _ => None,
    }
}

/// Files of the caller's.
struct Files {
    blob: std::fs::File,
    log: std::fs::File,
}

impl Work<'_> {
    fn is_single(&self) -> bool {
        self.job.machine.tier() == Tier::Single
    }

    /// Where a path of the caller's is in the view.
    fn place(&self, path: &Path) -> PathBuf {
        self.inputs.place(&self.view, path)
    }

    /// A folder of this step's scratch space, as the view has it.
    fn scratch(&self, name: &str) -> PathBuf {
        self.place(&self.job.scratch).join(name)
    }

    /// Unpacks layers, if they aren't; gives their folders, the lowest first.
    fn unpacked(&self, layers: &[LayerBlob]) -> Result<Vec<PathBuf>, StepFailure> {
        let layers: Vec<LayerBlob> = layers
            .iter()
            .map(|layer| LayerBlob { path: self.place(&layer.path), ..layer.clone() })
            .collect();
        let options = UnpackOptions { single_id: self.is_single(), limits: self.job.limits };
        let home = self.place(&self.job.layers);
        let knows = |folder: &Path| overlay::knows_attribute_whiteouts(&self.view, folder);
        ensure_unpacked(&home, &layers, &options, knows).map_err(failed)
    }

    /// Removes what the scratch folder has, but for what the parent takes.
    fn clear_up(&self, is_done: bool) -> std::io::Result<()> {
        // In use, the overlay's folders can't go. Failing is fine: there may be no root.
        _ = nix::mount::umount2(&self.view.root(), nix::mount::MntFlags::MNT_DETACH);
        for entry in fs_err::read_dir(self.scratch(""))? {
            let entry = entry?;
            let name = entry.file_name();
            if is_done && name.as_encoded_bytes().starts_with(b"upper") {
                continue;
            }
            remove_all(&entry.path())?;
        }
        Ok(())
    }

    fn layer(&self, work: &LayerWork, files: Files) -> Result<StepLayer, StepFailure> {
        let below = self.unpacked(&work.below)?;
        let changes = match &work.step {
            Step::Run(step) => self.run(step, work, &below, &files.log)?,
            Step::Copy(step) => self.copy(step, work, &below)?,
            Step::Folder(step) => self.folder(step, &below)?,
        };
        let (making, is_incomplete) = self.recorded.take();
        let owners = if self.is_single() {
            let mut owners = KnownOwners::read(&below).map_err(failed)?;
            for (path, owner) in self.told.borrow().iter() {
                owners.tell(path, *owner);
            }
            owners.made_by(making);
            Some(owners)
        } else {
            None
        };
        let times = match &work.step {
            Step::Copy(step) if step.from == Origin::Context => Times::All(work.source_date_epoch),
            _ => Times::Latest(work.source_date_epoch),
        };
        let made = write_layer(&changes, files.blob, times, owners.as_ref()).map_err(failed)?;
        let has_changes = made.packed.entries > 0;
        Ok(StepLayer {
            layer: has_changes.then_some(made.layer),
            upper: (has_changes && changes.starts_with(self.scratch("")))
                .then(|| "upper".to_owned()),
            flattened: has_changes && is_incomplete,
        })
    }
}
