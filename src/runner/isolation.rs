//! Isolation of a run: the best tier of the machine, tried before any build, with the reason and
//! the remedy for a lower tier.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{Gid, Uid, User};

use crate::base::atomic::{TEMPORARY_PREFIX, Unswept};
use crate::base::event::{Event, Observer};
use crate::base::removal;
use crate::container::capabilities;
use crate::container::helper::{HelperError, HelperSlot, Interrupt};
use crate::container::idmap::{self, IdMap, Identity, MapWriter, Tier};
use crate::container::machine::{Condition, Machine, RootKind};
use crate::image::layers::files_of_unpacked;

use super::home::{Home, RunScratch};
use super::job::{Job, JobFailure, run_job, run_job_once};
use super::jobs::folders::{MeasureJob, RemoveEntries, RemoveJob};
use super::jobs::probe::ProbeJob;
use super::scratch::{give_to_container_root, remove_as_container};

/// No container can be run here.
#[derive(Debug, thiserror::Error)]
pub enum IsolationError {
    /// The required tier is not available.
    #[error("the isolation tier {tier} is not available: {reason}")]
    Demanded {
        /// The tier.
        tier: Tier,
        /// Reason.
        reason: String,
        /// Remedy.
        remedy: Option<String>,
    },
    /// No tier can be had.
    #[error("no container can be run here: {reason}")]
    None {
        /// Reason.
        reason: String,
        /// Remedy.
        remedy: Option<String>,
    },
    /// A nested container would see processes of its user outside.
    #[error(
        "this runs inside a container that hides parts of /proc, so builds would be shown the processes outside, and the kernel has no Landlock (version 6) to keep them apart"
    )]
    ExposedProc,
    /// The try itself failed.
    #[error("can't find out what containers can have here")]
    Helper {
        /// Cause.
        #[source]
        source: HelperError,
    },
    /// A folder for the try can't be made.
    #[error("can't find out what containers can have here")]
    Scratch {
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

impl IsolationError {
    /// Remedy.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Demanded { remedy, .. } | Self::None { remedy, .. } => remedy.clone(),
            Self::ExposedProc => Some("give this user id ranges, start the outer container with an unmasked /proc, or use Linux 6.12 or newer".to_owned()),
            Self::Helper { source } => source.remedy().map(str::to_owned),
            Self::Scratch { .. } => None,
        }
    }
}

/// Parameters for the choice of a tier.
#[derive(Debug, Clone)]
pub struct TierRequest {
    /// Required tier, if any.
    pub tier: Option<Tier>,
    /// The ids that the configuration gives to real root's containers.
    pub root_range: Option<(u32, u32)>,
    /// `PATH`, to look for `newuidmap` in.
    pub search_path: String,
}

/// Finds and reports the best tier. Also returns the helper that tried it, for further jobs.
pub fn detect(
    request: &TierRequest,
    scratch: &RunScratch,
    interrupt: &Arc<Interrupt>,
    observer: &dyn Observer,
) -> Result<(Machine, HelperSlot), IsolationError> {
    let mut lacking = None;
    if request.tier != Some(Tier::Single) {
        let found = find_ranges(request).map_err(|error| (error.to_string(), Some(error.remedy())));
        let tried = match found {
            Ok(map) => {
                try_map(map, scratch, interrupt)?.map_err(|failure| (failure.message, failure.hint))
            }
            Err(reason) => Err(reason),
        };
        match tried {
            Ok((machine, slot)) => {
                return Ok((accept(machine, None, observer)?, slot));
            }
            Err((reason, remedy)) if request.tier == Some(Tier::Ranges) => {
                return Err(IsolationError::Demanded { tier: Tier::Ranges, reason, remedy });
            }
            Err(reason) => lacking = Some(reason),
        }
    }
    let (uid, gid) = (Uid::current().as_raw(), Gid::current().as_raw());
    if is_machines_root(uid) {
        let (reason, remedy) = lacking.unwrap_or_default();
        if request.tier.is_none() {
            return Err(IsolationError::None { reason, remedy });
        }
        let remedy = Some("run mkpanda as an ordinary user, or let root have id ranges".to_owned());
        let reason = "one id would make the container's root the machine's".to_owned();
        return Err(IsolationError::Demanded { tier: Tier::Single, reason, remedy });
    }
    match try_map(IdMap::single(uid, gid), scratch, interrupt)? {
        Ok((machine, slot)) => Ok((accept(machine, lacking, observer)?, slot)),
        Err(failure) => match request.tier {
            Some(tier) => Err(IsolationError::Demanded {
                tier,
                reason: failure.message,
                remedy: failure.hint,
            }),
            None => Err(IsolationError::None { reason: failure.message, remedy: failure.hint }),
        },
    }
}

fn accept(
    machine: Machine,
    lacking: Option<(String, Option<String>)>,
    observer: &dyn Observer,
) -> Result<Machine, IsolationError> {
    if is_exposed(&machine) {
        return Err(IsolationError::ExposedProc);
    }
    let mut message = format!("isolation: {}", machine.tier());
    if let Some((reason, remedy)) = lacking {
        // The note is repeated in every run, the remedy is not.
        let see = remedy.map_or("", |_| "; remedy: mkpanda doctor");
        message = format!("{message} (no ranges: {reason}{see})");
    }
    message.push_str(&conditions_in_words(&machine));
    match &machine.root {
        RootKind::Overlay => {}
        RootKind::OverlayOnTmpfs { size } => {
            message = format!("{message}; the scratch folder's filesystem can't carry an overlay, so builds write to a tmpfs of {} MiB (remedy: --scratch DIR)", size >> 20);
        }
        RootKind::Copy => message.push_str("; the kernel gives no overlay, so roots are copied (remedy: --scratch DIR on another filesystem)"),
    }
    observer.event(Event::Note { message });
    Ok(machine)
}

/// True if builds would see processes of their user outside.
pub(super) fn is_exposed(machine: &Machine) -> bool {
    machine.has(&Condition::NestedProc)
        && machine.has(&Condition::NoLandlockScope)
        // A container of real root has ids that no process outside has, so it can look into none of
        // them.
        && machine.map.writer != MapWriter::Privileged
}

/// Conditions that a person who reads a build's outcome has to know, each after a semicolon.
fn conditions_in_words(machine: &Machine) -> String {
    let has = |condition| machine.has(&condition);
    let shown = match (has(Condition::NestedProc), has(Condition::OuterSys)) {
        (true, true) => "inside another container, whose /proc and /sys are shown",
        (true, false) => "inside another container, whose /proc is shown",
        (false, true) => "inside another container, whose /sys is shown",
        (false, false) => "",
    };
    let others = [
        (Condition::NoSys, "builds have no /sys, as there is none here"),
        (Condition::NoTerminals, "builds have no pseudo-terminals, as devpts is refused here"),
        (Condition::NoMessageQueues, "builds have no message queues, as mqueue is refused here"),
        (Condition::OuterHostName, "builds see the outer container's host name"),
    ];
    let others = others.into_iter().filter(|(condition, _)| machine.has(condition));
    let all = std::iter::once(shown).chain(others.map(|(_, text)| text));
    let all: Vec<&str> = all.filter(|text| !text.is_empty()).collect();
    if all.is_empty() { String::new() } else { format!("; {}", all.join("; ")) }
}

/// True if a user id is the machine's root, and not that of an outer container.
pub(super) fn is_machines_root(uid: u32) -> bool {
    let map = fs_err::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let mut words = map.split_whitespace();
    uid == 0 && words.next() == Some("0") && words.next() == Some("0")
}

/// Works out the map with ranges, from the files and programs of the machine.
pub(super) fn find_ranges(request: &TierRequest) -> Result<IdMap, idmap::NoRanges> {
    let uid = Uid::current();
    let lacks = capabilities::lacking_for_ranges();
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let (own_uid_map, subuid, subgid) =
        (read("/proc/self/uid_map"), read("/etc/subuid"), read("/etc/subgid"));
    let user = User::from_uid(uid).ok().flatten();
    let name = user.map_or_else(|| uid.to_string(), |user| user.name);
    let program = |name| idmap::find_program(name, &request.search_path);
    idmap::ranges(&Identity {
        uid: uid.as_raw(),
        gid: Gid::current().as_raw(),
        name: &name,
        own_uid_map: &own_uid_map,
        subuid: &subuid,
        subgid: &subgid,
        privileged: uid.is_root() && lacks.is_empty(),
        lacks: lacks.iter().map(ToString::to_string).collect(),
        programs: program("newuidmap").zip(program("newgidmap")),
        root_range: request.root_range,
    })
}

/// Tries an id map: what containers have with it, or why there are none; and the helper that found it out.
pub(super) fn try_map(
    map: IdMap,
    scratch: &RunScratch,
    interrupt: &Arc<Interrupt>,
) -> Result<Result<(Machine, HelperSlot), JobFailure>, IsolationError> {
    let failed = |source| IsolationError::Scratch { source };
    let folder = tempfile::Builder::new()
        .prefix("probe-")
        .tempdir_in(scratch.folder())
        .map_err(failed)?
        .keep();
    give_to_container_root(&map, &folder).map_err(failed)?;
    let job =
        ProbeJob { map: map.clone(), scratch: folder.clone(), view: scratch.view().to_owned() };
    // Builds without a network are what nearly all runs have.
    let mut slot = HelperSlot::new(map.clone(), interrupt)
        .look_ahead(true)
        .with_cleaner(scratch.cleaning(Some(&map)));
    // Waits for the process's end, too, since the folder is removed next.
    let heard = run_job(&mut slot, &job, None, &Cell::default(), |_phase| ())
        .map(|(found, _process)| found);
    // The folder of a run that is interrupted meanwhile has to go as well.
    remove_as_container(&map, &folder, scratch.view(), &Arc::default())
        .map_err(|source| IsolationError::Helper { source })?;
    tracing::debug!(tier = %map.tier, uids = ?map.uids, ?heard, "tried an id map");
    let found = heard.map_err(|source| IsolationError::Helper { source })?;
    Ok(found.map(|found| (Machine { map, conditions: found.conditions, root: found.root }, slot)))
}

/// Every id map that there may be here, the one with more ids first.
pub(super) fn all_maps(request: &TierRequest) -> impl Iterator<Item = IdMap> {
    let own = IdMap::single(Uid::current().as_raw(), Gid::current().as_raw());
    find_ranges(request).ok().into_iter().chain([own])
}

/// The id map that a run most likely gets: looked up, not tried.
pub fn expected_map(request: &TierRequest) -> IdMap {
    let single = || IdMap::single(Uid::current().as_raw(), Gid::current().as_raw());
    let maps = || all_maps(request).find(|map| request.tier.is_none_or(|tier| tier == map.tier));
    maps().unwrap_or_else(single)
}

/// True if the machine seems to give ranges of ids: looked up, not tried.
pub fn may_have_ranges(request: &TierRequest) -> bool {
    request.tier != Some(Tier::Single) && find_ranges(request).is_ok()
}

/// Removes the scratch folders of dead runs, of whatever tier. Failures are reported, and the
/// folders stay for a later run.
pub fn sweep_orphans(
    request: &TierRequest,
    home: &Home,
    interrupt: &Arc<Interrupt>,
) -> std::io::Result<Unswept> {
    let mut unswept = Unswept::default();
    let orphans = home.orphans()?;
    if orphans.is_empty() {
        return Ok(unswept);
    }
    // On a full disk, this makes room for what follows.
    for orphan in &orphans {
        drop(removal::remove_all(orphan.folder()));
    }
    let run = home.start_run()?;
    for orphan in orphans {
        let folder = orphan.folder();
        let mut removed = Err(std::io::Error::other("there is no id map"));
        for map in all_maps(request) {
            let attempt = remove_as_container(&map, folder, run.view(), interrupt);
            removed = attempt.map_err(std::io::Error::other);
            if removed.is_ok() {
                break;
            }
        }
        unswept.note(removed.and_then(|()| orphan.forget()));
    }
    Ok(unswept)
}

/// Removes unpacked layers, by their diff ids' hex digits, in every id map that there may be here. That
/// no running build uses them is the caller's to see to.
pub fn remove_layers(
    request: &TierRequest,
    home: &Home,
    layers: &[String],
) -> Result<(), IsolationError> {
    let mut paths = Vec::new();
    for map in all_maps(request) {
        let folder = home.layers(&map.digest());
        paths.extend(layers.iter().flat_map(|layer| files_of_unpacked(&folder.join(layer))));
    }
    remove_all(request, home, &paths)
}

/// Removes files and folders, which may be missing, and whose files may belong to any of the
/// possible id maps. Entries of one folder are removed together.
pub fn remove_all(
    request: &TierRequest,
    home: &Home,
    paths: &[PathBuf],
) -> Result<(), IsolationError> {
    let mut left: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for path in paths {
        if let (Some(folder), Some(name)) = (path.parent(), remove_plainly(path)) {
            left.entry(folder.to_owned()).or_default().push(name);
        }
    }
    let mut removed = Ok(());
    for (folder, names) in left {
        // A failure does not stop the other removals; the first error is returned.
        let attempt = in_some_map(request, home, &folder, &names, RemoveJob);
        removed = removed.and(attempt);
    }
    removed
}

/// Disk space of a file or folder in bytes, measured as root of an id map.
pub fn measure(request: &TierRequest, home: &Home, path: &Path) -> Result<u64, IsolationError> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(0) };
    let names = [name.to_string_lossy().into_owned()];
    in_some_map(request, home, folder, &names, MeasureJob)
}

/// Removes everything the caller can; returns the name for a helper that must continue. A folder is
/// renamed first, so that a kill leaves no half-removed folder under a valid name.
fn remove_plainly(path: &Path) -> Option<String> {
    let data = path.symlink_metadata().ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    if !data.is_dir() {
        return fs_err::remove_file(path).err().map(|_error| name);
    }
    let hidden = format!("{TEMPORARY_PREFIX}{name}");
    let doomed = path.with_file_name(&hidden);
    if fs_err::rename(path, &doomed).is_err() {
        return Some(name);
    }
    removal::remove_all(&doomed).err().map(|_error| hidden)
}

/// Runs a job in the first id map in which it succeeds.
fn in_some_map<J: Job>(
    request: &TierRequest,
    home: &Home,
    folder: &Path,
    names: &[String],
    job: impl Fn(RemoveEntries) -> J,
) -> Result<J::Answer, IsolationError> {
    let run = home.start_run().map_err(|source| IsolationError::Scratch { source })?;
    let mut last = None;
    for map in all_maps(request) {
        let job = job(RemoveEntries {
            map: map.clone(),
            folder: folder.to_owned(),
            view: run.view().to_owned(),
            names: names.to_vec(),
        });
        match run_job_once(&map, &job, &Arc::default()) {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => {
                last = Some(IsolationError::None { reason: failure.message, remedy: failure.hint });
            }
            Err(source) => last = Some(IsolationError::Helper { source }),
        }
    }
    let reason = "there is no id map".to_owned();
    Err(last.unwrap_or(IsolationError::None { reason, remedy: None }))
}
