//! Results of a job.
//!
//! ```text
//! out/package.tar.xz   package, if it was built
//! out/log              output of the build script
//! out/record.json      a JobRecord: written last, so whatever it says is there
//! ```

use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::atomic::{self, AtomicFile};
use crate::base::confinement::open_plain;
use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::build::record::Record;
use crate::package::PackageId;

/// Name of the package.
pub(super) const PACKAGE: &str = "package.tar.xz";

/// Name of the log.
pub(super) const LOG: &str = "log";

/// Name of the record.
const RECORD: &str = "record.json";

/// Largest record that is read, in bytes.
const LARGEST: u64 = 32 << 20;

/// Record of a job that was carried out, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Version of the format.
    pub version: u32,
    /// Package.
    pub id: PackageId,
    /// Sum of the job's `job.json`.
    pub job: Sha256Sum,
    /// Outcome.
    pub outcome: Outcome,
    /// Sums of `package.tar.xz`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageSums>,
    /// Reason why there is no package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Remedy, if one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Record of the build, as builds of a tree have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Record>,
}

/// Outcome of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The package was built.
    Built,
    /// The build failed, as it would elsewhere.
    Failed,
    /// The machine could not carry the job out.
    Unable,
}

impl Outcome {
    /// Word of the record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Failed => "failed",
            Self::Unable => "unable",
        }
    }
}

/// Sums of a package's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSums {
    /// SHA-256.
    pub sha256: Sha256Sum,
    /// SHA-1.
    pub sha1: Sha1Sum,
    /// Size in bytes.
    pub bytes: u64,
}

impl JobRecord {
    /// Reads the record in a folder of results, if there is one.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        let file = match open_plain(folder, Path::new(RECORD)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text)?;
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// Writes the record.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        atomic::write(&folder.join(RECORD), text.as_bytes())
    }
}

/// Makes the folder of results, and removes those of an earlier run, the record first.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    match fs_err::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    if !fs_err::symlink_metadata(folder)?.is_dir() {
        let message = format!("{} is not a folder", folder.display());
        return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
    }
    for name in [RECORD, LOG, PACKAGE] {
        match fs_err::remove_file(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Puts a copy of a finished file among the results. Nothing in the folder is followed or overwritten, so
/// that whoever can write to the folder has no file of the caller's changed.
pub(super) fn put(file: &Path, folder: &Path, name: &str) -> io::Result<()> {
    let mut from = fs_err::File::open(file)?;
    let mut target = AtomicFile::create(&folder.join(name))?;
    io::copy(&mut from, target.file())?;
    target.commit()
}
