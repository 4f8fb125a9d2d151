//! What is kept of a build: `builds/<name>/<id>/record.json`, beside the log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::job::{BuildJob, Built};
use crate::base::event::Phase;
use crate::container::idmap::Tier;
use crate::container::machine::Condition;
use crate::container::machine::RootKind;
use crate::container::namespace::Network;
use crate::package::{ImageName, PackageId, Requirement};

/// A build, as its record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The form of this file.
    pub version: u32,
    /// The package.
    pub id: PackageId,
    /// What was hashed into its version, as `buildinfo.full.json` has it.
    pub buildinfo: serde_json::Value,
    /// The isolation tier.
    pub tier: Tier,
    /// What was not as on a plain machine.
    pub conditions: Vec<Condition>,
    /// How the root was made.
    pub root: RootKind,
    /// The network.
    pub network: Network,
    /// The packages that were installed beside it.
    pub dependencies: Vec<PackageId>,
    /// The packages that it required itself; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Vec<Requirement>>,
    /// The name of its builder image; absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The latest time in the package.
    pub source_date_epoch: u64,
    /// How many cores it was told to use.
    pub cores: u32,
    /// When it began, in seconds of the epoch.
    pub began: u64,
    /// How long each phase took, in milliseconds.
    pub phases: BTreeMap<String, u64>,
    /// Ending.
    pub ending: Ending,
}

/// Declarations of a package that its id has in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Direct requirements.
    pub requires: Vec<Requirement>,
    /// Name of its builder image.
    pub image: ImageName,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The package is there.
    Built(Built),
    /// It failed.
    Failed {
        /// In which phase.
        phase: Phase,
        /// Reason.
        message: String,
    },
}

/// What of a record tells how long a build takes. All else is passed over unread.
#[derive(Debug, Deserialize)]
pub(super) struct Times {
    phases: BTreeMap<String, u64>,
    ending: EndingKind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndingKind {
    Built(IgnoredAny),
    Failed(IgnoredAny),
}

/// No build takes longer, whatever its record says.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Times {
    /// How long preparing, building and packing took together, if the build went well.
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
    /// A phase begins, and with it the one before ends.
    pub fn enter(&mut self, phase: Phase) {
        self.end_phase();
        self.current = Some((phase, std::time::Instant::now()));
    }

    /// The phase that it is in.
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
    pub fn record(mut self, declared: &Declared, job: &BuildJob, ending: Ending) -> Record {
        self.end_phase();
        Record {
            version: 1,
            id: job.package.id.clone(),
            buildinfo: serde_json::from_str(&job.package.buildinfo_full).unwrap_or_default(),
            tier: job.place.machine.tier(),
            conditions: job.place.machine.conditions.clone(),
            root: job.place.machine.root.clone(),
            network: job.command.network,
            dependencies: job.package.dependencies.iter().map(|needed| needed.id.clone()).collect(),
            requires: Some(declared.requires.clone()),
            image: Some(declared.image.to_string()),
            source_date_epoch: job.package.source_date_epoch,
            cores: job.threads,
            began: self.began.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs(),
            phases: self.phases,
            ending,
        }
    }
}
