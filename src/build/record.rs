//! Record of a build: `builds/<name>/<id>/record.json`, beside the log.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::job::{BuildJob, Built};
use super::place::BuildPlace;
use crate::base::atomic;
use crate::base::event::Phase;
use crate::base::regular::read_regular;
use crate::container::idmap::Tier;
use crate::container::machine::Condition;
use crate::container::machine::RootKind;
use crate::container::namespace::Network;
use crate::package::{ImageName, PackageId, Requirement};

/// The largest record that is read; `buildinfo.full.json` is in it.
const LARGEST_RECORD: u64 = 4 << 20;

/// Name of the record in the folder of a build.
const FILE: &str = "record.json";

/// Path of the record in the folder of a build.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Reads the record in the folder of a build, or a part of it. A record that is cut off, of another form or too
/// large says nothing, nor does anything but a regular file.
pub fn read<T: DeserializeOwned>(folder: &Path) -> Option<T> {
    serde_json::from_slice(&read_regular(&path(folder), LARGEST_RECORD).ok()?).ok()
}

/// A build, as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version of the format.
    pub version: u32,
    /// The package.
    pub id: PackageId,
    /// Hashed input of the version, as in `buildinfo.full.json`.
    pub buildinfo: serde_json::Value,
    /// The isolation tier.
    pub tier: Tier,
    /// Deviations from a build on a plain machine.
    pub conditions: Vec<Condition>,
    /// Method of making the root.
    pub root: RootKind,
    /// The network.
    pub network: Network,
    /// Packages installed for the build.
    pub dependencies: Vec<PackageId>,
    /// The packages that it required itself; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Vec<Requirement>>,
    /// The name of its builder image; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The latest time in the package.
    pub source_date_epoch: u64,
    /// Number of cores in `NUM_CORES`.
    pub cores: u32,
    /// Start of the build, in seconds since the epoch.
    pub began: u64,
    /// Duration of each phase, in milliseconds.
    pub phases: BTreeMap<String, u64>,
    /// Place of the build, if an engine carried it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_on: Option<BuildPlace>,
    /// Ending.
    pub ending: BuildEnding,
}

impl Record {
    /// Writes the record into the folder of a build.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        // Not synced: a record that is lost with the power is no loss.
        let temporary = folder.join(format!("{}{FILE}", atomic::TEMPORARY_PREFIX));
        let written =
            fs_err::write(&temporary, text).and_then(|()| fs_err::rename(&temporary, path(folder)));
        if written.is_err() {
            // On a full disk, the rest would only be in the way.
            drop(fs_err::remove_file(temporary));
        }
        written
    }
}

/// Declarations of a package that its id has in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedDeclarations {
    /// Direct requirements.
    pub requires: Vec<Requirement>,
    /// Name of its builder image.
    pub image: ImageName,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildEnding {
    /// The package was built.
    Built(Built),
    /// The build failed.
    Failed {
        /// Phase of the failure.
        phase: Phase,
        /// Reason.
        message: String,
    },
}

/// Durations in a record. All other keys are skipped.
#[derive(Debug, Deserialize)]
pub(super) struct RecordedTimes {
    phases: BTreeMap<String, u64>,
    ending: EndingKind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndingKind {
    Built(IgnoredAny),
    Failed(IgnoredAny),
}

/// Upper limit of a build's duration in a record.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl RecordedTimes {
    /// Returns the total duration of a successful build: preparing, building and packing.
    pub(super) fn of_a_good_build(&self) -> Option<Duration> {
        let counts = [Phase::Prepare, Phase::Build, Phase::Pack].map(Phase::as_str);
        let phases = counts.iter().filter_map(|phase| self.phases.get(*phase));
        let took = Duration::from_millis(phases.copied().reduce(u64::saturating_add)?);
        (matches!(self.ending, EndingKind::Built(_)) && took <= LONGEST).then_some(took)
    }
}

/// Times of a build's phases, while they pass.
#[derive(Debug, Clone)]
pub struct Stopwatch {
    began: SystemTime,
    current: Option<(Phase, std::time::Instant)>,
    phases: BTreeMap<String, u64>,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self { began: SystemTime::now(), current: None, phases: BTreeMap::new() }
    }
}

impl Stopwatch {
    /// Ends the current phase, and starts another one.
    pub fn enter(&mut self, phase: Phase) {
        self.end_phase();
        self.current = Some((phase, std::time::Instant::now()));
    }

    /// Current phase.
    pub fn phase(&self) -> Phase {
        self.current.map_or(Phase::Wait, |(phase, _)| phase)
    }

    fn end_phase(&mut self) {
        if let Some((phase, began)) = self.current.take() {
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            *self.phases.entry(phase.as_str().to_owned()).or_default() += millis;
        }
    }

    /// The record of a build that ends now.
    pub fn record(
        mut self,
        declared: &RecordedDeclarations,
        job: &BuildJob,
        ending: BuildEnding,
    ) -> Record {
        self.end_phase();
        Record {
            version: 1,
            id: job.package.id.clone(),
            buildinfo: serde_json::from_str(&job.package.buildinfo_full).unwrap_or_default(),
            tier: job.folders.machine.tier(),
            conditions: job.folders.machine.conditions.clone(),
            root: job.folders.machine.root.clone(),
            network: job.command.network,
            dependencies: job.package.dependencies.iter().map(|needed| needed.id.clone()).collect(),
            requires: Some(declared.requires.clone()),
            image: Some(declared.image.to_string()),
            source_date_epoch: job.package.source_date_epoch,
            cores: job.threads,
            began: self.began.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs(),
            phases: self.phases,
            ran_on: None,
            ending,
        }
    }
}
