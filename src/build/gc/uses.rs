//! What runs use of the builder's own folder, and when it was used last.
//!
//! ```text
//! $MKPANDA_HOME/locks/gc                    held while something is removed, or a run registers
//! $MKPANDA_HOME/locks/uses/<run>.lock       held by the run's process
//! $MKPANDA_HOME/locks/uses/<run>.json       what it uses: Used; its time is when the run began
//! $MKPANDA_HOME/locks/uses/last.json        when things were used by runs that are over
//! ```
//!
//! A run registers before its first build, and what it registered stays while its process lives. The
//! files of runs that are over are folded into `last.json`, by a collection or when there are many.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::base::atomic;
use crate::base::lock::FileLock;
use crate::build::home::Home;

const LAST: &str = "last.json";

/// How many runs' files may lie there before the next run folds them.
const MOST_FILES: usize = 32;

/// How long what was used is remembered.
const REMEMBERED: Duration = Duration::from_secs(400 * 24 * 3600);

/// What a run uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Images: the digits of their ids.
    pub images: BTreeSet<String>,
    /// Their layers, unpacked: the digits of diff ids.
    pub layers: BTreeSet<String>,
    /// Packages, unpacked.
    pub packages: BTreeSet<String>,
}

impl Used {
    fn extend(&mut self, other: Self) {
        self.images.extend(other.images);
        self.layers.extend(other.layers);
        self.packages.extend(other.packages);
    }
}

/// Seconds of the epoch at which things were used last, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LastUses {
    /// Images, by the digits of their ids.
    pub images: BTreeMap<String, u64>,
    /// Unpacked layers, by the digits of their diff ids.
    pub layers: BTreeMap<String, u64>,
    /// Unpacked packages.
    pub packages: BTreeMap<String, u64>,
}

impl LastUses {
    fn add(&mut self, used: Used, at: u64) {
        let note = |times: &mut BTreeMap<String, u64>, names: BTreeSet<String>| {
            for name in names {
                let time = times.entry(name).or_default();
                *time = at.max(*time);
            }
        };
        note(&mut self.images, used.images);
        note(&mut self.layers, used.layers);
        note(&mut self.packages, used.packages);
    }

    fn forget_before(&mut self, time: u64) {
        for times in [&mut self.images, &mut self.layers, &mut self.packages] {
            times.retain(|_name, at| *at >= time);
        }
    }
}

/// What is in use now, and what was.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// By runs that go on.
    pub now: Used,
    /// When, by any run.
    pub last: LastUses,
}

/// A run's registration; it ends when this is dropped, or its process dies.
#[derive(Debug)]
pub struct Registration {
    _held: FileLock,
}

/// Nothing may be removed, and no run may register, as long as this lives. `waiting` is called if
/// somebody else has it.
pub fn lock(home: &Home, waiting: impl FnOnce()) -> io::Result<FileLock> {
    FileLock::acquire(&home.locks().join("gc"), waiting)
}

/// Registers what a run is about to use.
pub fn register(home: &Home, used: &Used, waiting: impl FnOnce()) -> io::Result<Registration> {
    let folder = home.locks().join("uses");
    let _gc = lock(home, waiting)?;
    if count(&folder)? >= MOST_FILES {
        fold(&folder)?;
    }
    for attempt in 0_u32.. {
        let name = format!("{}-{attempt}", std::process::id());
        let Some(held) = FileLock::try_acquire(&folder.join(format!("{name}.lock")))? else {
            continue;
        };
        let file = folder.join(format!("{name}.json"));
        if file.exists() {
            // It is the number of a process that is no more.
            continue;
        }
        fs_err::write(file, serde_json::to_vec(used)?)?;
        return Ok(Registration { _held: held });
    }
    Err(io::Error::other("no free name for a run"))
}

/// What is used. The lock has to be held.
pub fn read(home: &Home) -> io::Result<Uses> {
    fold(&home.locks().join("uses"))
}

fn count(folder: &Path) -> io::Result<usize> {
    match fs_err::read_dir(folder) {
        Ok(entries) => Ok(entries.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Folds what runs used that are over into one file.
fn fold(folder: &Path) -> io::Result<Uses> {
    let mut uses = Uses::default();
    let last = folder.join(LAST);
    if let Ok(text) = fs_err::read(&last) {
        // What can't be read is forgotten: then things count as used when they were made.
        uses.last = serde_json::from_slice(&text).unwrap_or_default();
    }
    let mut over: Vec<(PathBuf, FileLock)> = Vec::new();
    for entry in entries(folder)? {
        if entry.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let file = entry.with_extension("json");
        let held = FileLock::try_acquire(&entry)?;
        let used: Used = fs_err::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        let began = fs_err::metadata(&file).and_then(|file| file.modified());
        uses.last.add(used.clone(), seconds(began.unwrap_or_else(|_error| SystemTime::now())));
        match held {
            Some(held) => over.push((entry, held)),
            None => uses.now.extend(used),
        }
    }
    if over.is_empty() {
        return Ok(uses);
    }
    let oldest = SystemTime::now().checked_sub(REMEMBERED).unwrap_or(UNIX_EPOCH);
    uses.last.forget_before(seconds(oldest));
    atomic::write(&last, &serde_json::to_vec(&uses.last)?)?;
    for (entry, _held) in over {
        remove_if_there(&entry.with_extension("json"))?;
        remove_if_there(&entry)?;
    }
    Ok(uses)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Seconds of the epoch.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(package: &str) -> Used {
        Used { packages: [package.to_owned()].into(), ..Used::default() }
    }

    #[test]
    fn what_runs_use_is_told_from_what_they_used() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        let (one, other) = (used("one--1"), used("other--1"));
        let running = register(&home, &one, || ()).unwrap();
        drop(register(&home, &other, || ()).unwrap());
        let uses = read(&home).unwrap();
        assert_eq!(uses.now, one);
        assert_eq!(uses.last.packages.len(), 2);
        drop(running);
        let uses = read(&home).unwrap();
        assert_eq!(uses.now, Used::default());
        assert_eq!(uses.last.packages.len(), 2, "it is remembered");
        let left: Vec<_> = entries(&home.locks().join("uses")).unwrap();
        assert_eq!(left, [home.locks().join("uses").join(LAST)]);
    }

    #[test]
    fn many_runs_leave_few_files() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        for run in 0..3 * MOST_FILES {
            drop(register(&home, &used(&format!("p{run}--1")), || ()).unwrap());
        }
        assert!(count(&home.locks().join("uses")).unwrap() <= MOST_FILES + 2);
        assert_eq!(read(&home).unwrap().last.packages.len(), 3 * MOST_FILES);
    }
}
