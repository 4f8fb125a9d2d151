//! Uses of the builder's own folder by runs, and the times of the last uses.
//!
//! ```text
//! $MKPANDA_HOME/locks/gc                    held while something is removed, or a run registers
//! $MKPANDA_HOME/locks/uses/<run>.lock       held by the run's process
//! $MKPANDA_HOME/locks/uses/<run>.json       what it uses: a line of Used each time that it says more
//! $MKPANDA_HOME/locks/uses/last.json        when things were used by runs that are over
//! ```
//!
//! A run registers an item before its use, and registered items stay while the process lives: a
//! package build registers once, with all its inputs; an image build registers step by step, each
//! layer before the store has it. After the registration of an existing item, the run checks that
//! the item still exists. The files of ended runs are folded into `last.json`, by a collection or
//! when there are many.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::base::atomic;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::base::regular::read_own;
use crate::image::digest::BlobDigest;
use crate::image::store::Image;
use crate::runner::home::Home;

const LAST: &str = "last.json";

/// Number of runs' files before the next run folds them.
const MOST_FILES: usize = 32;

/// Maximum age of last uses.
const REMEMBERED: Duration = Duration::from_secs(400 * 24 * 3600);

/// Items in use by a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Images: the digits of their ids.
    pub images: BTreeSet<String>,
    /// Their layers, unpacked: the digits of diff ids.
    pub layers: BTreeSet<String>,
    /// Packages, unpacked.
    pub packages: BTreeSet<String>,
    /// Blobs of the image store.
    #[serde(default)]
    pub blobs: BTreeSet<BlobDigest>,
    /// Folders that runs keep something in, relative to the builder's own: caches of commands, logs.
    #[serde(default)]
    pub folders: BTreeSet<PathBuf>,
    /// Packages folders, by their names in the home ([`super::trees`]).
    #[serde(default)]
    pub trees: BTreeSet<String>,
}

impl Used {
    /// Items of an image: its blobs and unpacked layers.
    pub fn of_image(image: &Image) -> Self {
        Self {
            images: [image.id.hex().to_owned()].into(),
            layers: image.layers.iter().map(|layer| layer.diff_id.hex().to_owned()).collect(),
            blobs: image.blobs().collect(),
            ..Self::default()
        }
    }

    fn extend(&mut self, other: Self) {
        self.images.extend(other.images);
        self.layers.extend(other.layers);
        self.packages.extend(other.packages);
        self.blobs.extend(other.blobs);
        self.folders.extend(other.folders);
        self.trees.extend(other.trees);
    }

    fn without(&self, known: &Self) -> Self {
        Self {
            images: &self.images - &known.images,
            layers: &self.layers - &known.layers,
            packages: &self.packages - &known.packages,
            blobs: &self.blobs - &known.blobs,
            folders: &self.folders - &known.folders,
            trees: &self.trees - &known.trees,
        }
    }

    /// Parses a record, line by line. The last line of a killed process may be incomplete.
    fn parse(text: &[u8]) -> Self {
        let mut all = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            all.extend(serde_json::from_slice(line).unwrap_or_default());
        }
        all
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
    /// Folders used by runs.
    pub folders: BTreeMap<PathBuf, u64>,
}

impl LastUses {
    fn add(&mut self, used: Used, at: u64) {
        fn note<N: Ord>(times: &mut BTreeMap<N, u64>, names: BTreeSet<N>, at: u64) {
            for name in names {
                let time = times.entry(name).or_default();
                *time = at.max(*time);
            }
        }
        note(&mut self.images, used.images, at);
        note(&mut self.layers, used.layers, at);
        note(&mut self.packages, used.packages, at);
        note(&mut self.folders, used.folders, at);
    }

    fn forget_before(&mut self, time: u64) {
        for times in [&mut self.images, &mut self.layers, &mut self.packages] {
            times.retain(|_name, at| *at >= time);
        }
        self.folders.retain(|_name, at| *at >= time);
    }
}

/// Current and last uses.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// Items in use by running processes.
    pub now: Used,
    /// Times of the last use by any run.
    pub last: LastUses,
}

/// Registration of a run, ended by dropping the value or by the death of the process.
#[derive(Debug)]
pub struct Registration {
    home: Home,
    registered: Mutex<UsesFile>,
    _held: FileLock,
}

/// Items registered so far.
#[derive(Debug)]
struct UsesFile {
    file: fs_err::File,
    used: Used,
}

impl UsesFile {
    fn add(&mut self, used: Used) -> io::Result<()> {
        let mut line = serde_json::to_vec(&used)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.used.extend(used);
        Ok(())
    }
}

impl Registration {
    /// Registers more items. An item that existed before may have been removed: the caller must
    /// check again.
    pub fn add(&self, used: &Used, waiting: impl FnOnce()) -> io::Result<()> {
        let mut registered = self.registered.lock().unwrap_or_else(PoisonError::into_inner);
        let new = used.without(&registered.used);
        if new == Used::default() {
            return Ok(());
        }
        // A collection looks at the uses under this lock: what is registered before it stays.
        let _gc = lock(&self.home, waiting)?;
        registered.add(new)
    }
}

/// Lock against removals and registrations of other runs, for the lifetime of the value. `waiting`
/// is called if another holder exists.
pub fn lock(home: &Home, waiting: impl FnOnce()) -> io::Result<FileLock> {
    FileLock::acquire(&home.locks().join("gc"), waiting)
}

/// Says why a run doesn't go on yet.
pub fn say_waiting(observer: &dyn Observer) {
    let message = "waiting for `mkpanda gc`, which is removing things".to_owned();
    observer.event(Event::Note { message });
}

/// Registers the inputs of a run.
pub fn register(home: &Home, used: &Used, waiting: impl FnOnce()) -> io::Result<Registration> {
    let folder = home.locks().join("uses");
    let _gc = lock(home, waiting)?;
    // Runs alone keep the folder small: a user may never call `mkpanda gc`.
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
        let file = fs_err::File::create(file)?;
        let mut registered = UsesFile { file, used: Used::default() };
        registered.add(used.clone())?;
        return Ok(Registration {
            home: home.clone(),
            registered: Mutex::new(registered),
            _held: held,
        });
    }
    Err(io::Error::other("no free name for a run"))
}

/// Reads the uses. The caller must hold the lock.
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

/// Reads the uses without the lock: for display only, not for removals.
pub fn look(home: &Home) -> io::Result<Uses> {
    Ok(gather(&home.locks().join("uses"))?.0)
}

/// Folds the files of ended runs into one file.
fn fold(folder: &Path) -> io::Result<Uses> {
    let (mut uses, over) = gather(folder)?;
    if over.is_empty() {
        return Ok(uses);
    }
    let oldest = SystemTime::now().checked_sub(REMEMBERED).unwrap_or(UNIX_EPOCH);
    uses.last.forget_before(seconds(oldest));
    // Before the runs' files go: so a kill in between loses no use.
    atomic::write(&folder.join(LAST), &serde_json::to_vec(&uses.last)?)?;
    for (entry, _held) in over {
        // The lock file last: by it, the next one finds a record that a kill has left.
        remove_if_there(&entry.with_extension("json"))?;
        remove_if_there(&entry)?;
    }
    Ok(uses)
}

/// Reads all uses, with the locks of ended runs.
fn gather(folder: &Path) -> io::Result<(Uses, Vec<(PathBuf, FileLock)>)> {
    let mut uses = Uses::default();
    if let Ok(text) = read_own(&folder.join(LAST)) {
        // Unreadable records are dropped: then items count as used at their creation.
        uses.last = serde_json::from_slice(&text).unwrap_or_default();
    }
    let mut over: Vec<(PathBuf, FileLock)> = Vec::new();
    for entry in entries(folder)? {
        if entry.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let file = entry.with_extension("json");
        let held = FileLock::try_acquire(&entry)?;
        let used = read_own(&file).map(|text| Used::parse(&text)).unwrap_or_default();
        let modified = fs_err::metadata(&file).and_then(|file| file.modified());
        uses.last.add(used.clone(), seconds(modified.unwrap_or_else(|_error| SystemTime::now())));
        match held {
            Some(held) => over.push((entry, held)),
            None => uses.now.extend(used),
        }
    }
    Ok((uses, over))
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
fn seconds(time: SystemTime) -> u64 {
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
    fn a_run_says_more_from_step_to_step() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        let (one, other) = (used("one--1"), used("other--1"));
        let running = register(&home, &one, || ()).unwrap();
        running.add(&other, || ()).unwrap();
        running.add(&one, || panic!("what is known takes no lock")).unwrap();
        let mut both = one;
        both.extend(other);
        assert_eq!(look(&home).unwrap().now, both);
        // Half a line, as from a process that is killed during a write.
        running.registered.lock().unwrap().file.write_all(b"{\"images\": [").unwrap();
        assert_eq!(read(&home).unwrap().now, both);
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
