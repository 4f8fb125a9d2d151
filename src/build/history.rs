//! Past builds, and those that run: what `builds/<name>/<id>/` has of the last build of each id.
//!
//! A build begins by emptying its log, and ends by writing its record. So a log that is newer than the record is
//! that of a build that runs, as the lock of its package tells, or that was interrupted.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::place::BuildPlace;
use super::record::{self, BuildEnding, Record};
use crate::base::event::Phase;
use crate::base::lock::FileLock;
use crate::base::total::total;
use crate::package::{PackageId, PackageName};
use crate::runner::home::Home;

/// Outcome of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "outcome")]
pub enum BuildOutcome {
    /// The package was made.
    Built,
    /// The build failed.
    Failed {
        /// Phase in which it failed.
        phase: Phase,
        /// Reason.
        message: String,
    },
    /// The run ended before the build did.
    Interrupted,
    /// The build runs.
    Running,
}

impl BuildOutcome {
    /// The outcome as a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Failed { .. } => "failed",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
        }
    }
}

/// The last build of an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PastBuild {
    /// Id of the package.
    pub id: PackageId,
    /// Time of the beginning, in seconds of the epoch; for builds without a record that of the last output.
    pub began: u64,
    /// Duration in milliseconds, where a record has it.
    pub milliseconds: Option<u64>,
    /// Outcome.
    #[serde(flatten)]
    pub outcome: BuildOutcome,
    /// Place of the build, if it was on another machine.
    #[serde(skip)]
    pub ran_on: Option<BuildPlace>,
    /// Path of the log.
    pub log: PathBuf,
    /// Time of the last output.
    #[serde(skip)]
    written: SystemTime,
}

impl PastBuild {
    /// True if the build came to its end, and made no package.
    pub fn has_failed(&self) -> bool {
        matches!(self.outcome, BuildOutcome::Failed { .. })
    }
}

/// Names of packages that were built.
pub fn names(home: &Home) -> io::Result<Vec<PackageName>> {
    let mut names: Vec<PackageName> =
        entries(&home.all_builds())?.iter().filter_map(|name| name.parse().ok()).collect();
    names.sort();
    Ok(names)
}

/// Builds of a name, the last one first.
pub fn of_name(home: &Home, name: &PackageName) -> io::Result<Vec<PastBuild>> {
    let ids = entries(&home.builds(name))?;
    let ids = ids.iter().filter_map(|id| id.parse::<PackageId>().ok());
    let mut builds: Vec<PastBuild> = ids.filter_map(|id| of_id(home, id)).collect();
    builds.sort_by(|one, other| (other.written, &one.id).cmp(&(one.written, &other.id)));
    Ok(builds)
}

/// Builds of all names, the last one first.
pub fn all(home: &Home) -> io::Result<Vec<PastBuild>> {
    let mut builds = Vec::new();
    for name in names(home)? {
        builds.extend(of_name(home, &name)?);
    }
    builds.sort_by(|one, other| (other.written, &one.id).cmp(&(one.written, &other.id)));
    Ok(builds)
}

/// Names of a folder's entries; none where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    Ok(names)
}

/// The last build of an id, if its log is there.
pub fn of_id(home: &Home, id: PackageId) -> Option<PastBuild> {
    let folder = home.build(&id);
    let log = folder.join("log");
    let written = fs_err::metadata(&log).ok()?.modified().ok()?;
    let recorded = fs_err::metadata(record::path(&folder)).and_then(|data| data.modified());
    // Equal counts as over: times of some filesystems have whole seconds.
    let is_over = recorded.is_ok_and(|recorded| recorded >= written);
    let record = is_over.then(|| record::read::<Record>(&folder)).flatten();
    Some(match record {
        Some(record) => PastBuild {
            began: record.began,
            milliseconds: Some(total(record.phases.values().copied())),
            ran_on: record.ran_on,
            outcome: match record.ending {
                BuildEnding::Built(_) => BuildOutcome::Built,
                BuildEnding::Failed { phase, message } => BuildOutcome::Failed { phase, message },
            },
            id,
            log,
            written,
        },
        None => PastBuild {
            began: written.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            milliseconds: None,
            ran_on: None,
            outcome: if is_running(home, &id) {
                BuildOutcome::Running
            } else {
                BuildOutcome::Interrupted
            },
            id,
            log,
            written,
        },
    })
}

/// True if a process holds the lock of a package, into whichever cache it builds.
pub fn is_running(home: &Home, id: &PackageId) -> bool {
    let locks = home.package_locks(id).unwrap_or_default();
    locks.iter().any(|lock| matches!(FileLock::try_acquire_made(lock), Ok(None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_without_its_record_is_that_of_a_build_that_runs_or_was_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned(), None);
        let id =
            |letter: &str| -> PackageId { format!("p--{}", letter.repeat(40)).parse().unwrap() };
        for letter in ["a", "b"] {
            fs_err::create_dir_all(home.build(&id(letter))).unwrap();
            fs_err::write(home.build(&id(letter)).join("log"), "").unwrap();
        }
        fs_err::write(home.build(&id("b")).join("record.json"), "cut o").unwrap();
        let held = FileLock::acquire(&home.package_lock(Path::new("/c"), &id("a")), || ()).unwrap();
        let outcomes = |held: &Option<FileLock>| {
            let builds = of_name(&home, &"p".parse().unwrap()).unwrap();
            let running =
                builds.iter().filter(|build| build.outcome == BuildOutcome::Running).count();
            assert_eq!(builds.len(), 2, "{held:?}");
            running
        };
        // The id of another package, which ends like this one's.
        let other = format!("x-{}", id("b")).parse().unwrap();
        let _other = FileLock::acquire(&home.package_lock(Path::new("/c"), &other), || ()).unwrap();
        let held = Some(held);
        assert_eq!(outcomes(&held), 1);
        drop(held);
        assert_eq!(outcomes(&None), 0);
        assert_eq!(names(&home).unwrap().len(), 1);
        assert!(of_name(&home, &"q".parse().unwrap()).unwrap().is_empty());
    }
}
