//! `job.json`: the description of a portable job.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::PortableJobError;
use crate::base::digest::Sha256Sum;
use crate::container::idmap::Tier;
use crate::image::digest::DiffId;
use crate::package::{CommitId, PackageId, SourceName, Variant};

/// Version of the format that is written, and the only one that is read.
pub(super) const VERSION: u64 = 1;

/// Name of the description in a job's folder.
pub(super) const NAME: &str = "job.json";

/// Largest description that is read, in bytes.
pub(super) const LARGEST: u64 = 16 << 20;

/// Latest time of a file: the end of the year 9999.
// Beyond it, dates have five digits, which not every program reads.
const LATEST: u64 = 253_402_300_799;

/// Description of a portable job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDocument {
    /// Version of the format.
    pub version: u64,
    /// Package to be built.
    pub id: PackageId,
    /// Variant of the package.
    pub variant: Variant,
    /// Builder image.
    pub image: JobImage,
    /// Sum of `package.tar`.
    pub package: Sha256Sum,
    /// Sources, in the order of the package's description.
    pub sources: Vec<JobSource>,
    /// All required packages, direct and indirect, in the order of their ids.
    pub dependencies: Vec<JobDependency>,
    /// `buildinfo.full.json` of the package.
    pub buildinfo_full: Value,
    /// `pkginfo.json` of the package.
    pub pkginfo: Value,
    /// Variables of the build script beside the image's, `PKG_PATH` and `NUM_CORES`.
    pub environment: BTreeMap<String, String>,
    /// Latest time of files in the package, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// Limits, which can only lower those of the machine.
    pub limits: JobLimits,
    /// Tier that the build has to have; any by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

/// Builder image of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum JobImage {
    /// Embedded builder: the machine's own programs, if they are the same.
    Host {
        /// Id of the system.
        id: Sha256Sum,
    },
    /// Image.
    Layers {
        /// Id: the sum of the configuration.
        id: Sha256Sum,
        /// Diff ids of the layers, the lowest first.
        layers: Vec<DiffId>,
    },
}

/// Source of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSource {
    /// Name of the source.
    pub name: SourceName,
    /// Sum of the file, the archive or the bundle.
    pub file: Sha256Sum,
    /// Commit of a `git_local` source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Sum of the tar of files that git converts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<Sha256Sum>,
}

/// Required package of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobDependency {
    /// Id.
    pub id: PackageId,
    /// Sum of the archive.
    pub sha256: Sha256Sum,
}

/// Limits of a job; those that are missing are the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobLimits {
    /// Longest run time of the build script, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Number of processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Largest log, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u64>,
    /// Unpacked bytes of an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
    /// Entries of an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl JobDocument {
    /// Reads a description. The version decides first: another one may have other keys.
    pub fn parse(text: &[u8]) -> Result<Self, PortableJobError> {
        let Versioned { version } =
            serde_json::from_slice(text).map_err(PortableJobError::Document)?;
        if version != VERSION {
            return Err(PortableJobError::ForeignVersion { found: version, known: VERSION });
        }
        let document: Self = serde_json::from_slice(text).map_err(PortableJobError::Document)?;
        document.check()?;
        Ok(document)
    }

    /// Text of the description: the same for the same job.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    fn check(&self) -> Result<(), PortableJobError> {
        let wrong = |key, problem| Err(PortableJobError::Value { key, problem });
        // Their order goes into the id; another one would be a job whose sum differs for the same
        // package.
        let is_sorted = |pair: &[JobDependency]| pair[0].id.cmp_as_text(&pair[1].id).is_lt();
        if !self.dependencies.windows(2).all(is_sorted) {
            return wrong("dependencies", "they are not in the order of their ids, each once");
        }
        let names: BTreeSet<&SourceName> = self.sources.iter().map(|source| &source.name).collect();
        if names.len() != self.sources.len() {
            return wrong("sources", "two have the same name");
        }
        if self.source_date_epoch > LATEST {
            return wrong("source_date_epoch", "it is after the year 9999");
        }
        let JobLimits { time, memory, processes, log, unpacked, entries } = self.limits;
        if [time, memory, processes, log, unpacked, entries].contains(&Some(0)) {
            return wrong("limits", "a limit of 0 permits nothing");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> JobDocument {
        let sum = Sha256Sum::of(b"");
        JobDocument {
            version: VERSION,
            id: "p--1".parse().unwrap(),
            variant: Variant::DEFAULT,
            image: JobImage::Host { id: sum.clone() },
            package: sum.clone(),
            sources: Vec::new(),
            dependencies: ["a--1", "b--1"]
                .map(|id| JobDependency { id: id.parse().unwrap(), sha256: sum.clone() })
                .into(),
            buildinfo_full: Value::Null,
            pkginfo: Value::Null,
            environment: BTreeMap::new(),
            source_date_epoch: 1,
            limits: JobLimits::default(),
            tier: None,
        }
    }

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let document = document();
        assert_eq!(JobDocument::parse(document.text().as_bytes()).unwrap(), document);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let text = document().text();
        let source =
            |name: &str| format!("{{\"name\": \"{name}\", \"file\": \"{}\"}}", Sha256Sum::of(b""));
        for (old, new, problem) in [
            ("\"version\": 1", "\"version\": 2, \"later\": 1", "version 2"),
            ("\"version\": 1", "\"version\": 1, \"network\": \"host\"", "network"),
            ("\"a--1\"", "\"c--1\"", "dependencies"),
            ("\"a--1\"", "\"b--1\"", "dependencies"),
            ("\"a--1\"", "\"../a--1\"", "package name"),
            ("\"limits\": {}", "\"limits\": {\"time\": 0}", "limits"),
            ("\"limits\": {}", "\"limits\": {\"time\": -1}", "-1"),
            ("_epoch\": 1", "_epoch\": 253402300800", "source_date_epoch"),
            ("\"sources\": []", &format!("\"sources\": [{0}, {0}]", source("a")), "sources"),
            ("\"sources\": []", &format!("\"sources\": [{}]", source("../a")), "../a"),
            ("\"package\": \"e3", "\"package\": \"/3", "sha-256"),
        ] {
            let changed = text.replacen(old, new, 1);
            assert_ne!(changed, text, "{old}");
            let error = JobDocument::parse(changed.as_bytes()).unwrap_err();
            let said = crate::base::causes::with_causes(&error);
            assert!(said.to_lowercase().contains(problem), "{new}: {said}");
        }
    }
}
