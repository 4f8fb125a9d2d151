//! Results of a job.
//!
//! ```text
//! out/package.tar.xz   package, if it was built
//! out/log              output of the build script
//! out/record.json      a JobRecord: written last, so whatever it says is there
//! ```

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};

use super::error::PortableJobError;
use super::folder::JobFolder;
use super::unable::Unable;
use crate::base::atomic::{self, AtomicFile};
use crate::base::confinement::open_plain;
use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::base::lock;
use crate::build::record::Record;
use crate::package::PackageId;

/// Name of the package.
pub const PACKAGE: &str = "package.tar.xz";

/// Name of the log.
pub const LOG: &str = "log";

/// Name of the record.
const RECORD: &str = "record.json";

/// Version of the format that is written, and the only one that is read.
pub(super) const VERSION: u64 = 1;

/// Largest record that is read, in bytes.
const LARGEST: u64 = 32 << 20;

/// Record of a job that was carried out, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Version of the format.
    pub version: u64,
    /// Package.
    pub id: PackageId,
    /// Sum of the job's `job.json`.
    pub job: Sha256Sum,
    /// Outcome.
    pub outcome: JobOutcome,
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
pub enum JobOutcome {
    /// The package was built.
    Built,
    /// The build failed, as it would elsewhere.
    Failed,
    /// The machine could not carry the job out.
    Unable,
}

impl JobOutcome {
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

#[derive(Deserialize)]
struct Versioned {
    version: u64,
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
        // The version decides first: another one may have other keys.
        let Versioned { version } = serde_json::from_slice(&text)?;
        if version != VERSION {
            let problem = format!(
                "{RECORD} is of version {version}, and this mkpanda knows version {VERSION} only"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        Ok(Some(serde_json::from_slice(&text)?))
    }

    /// True if the record is that of a job, rather than of another whose results were in the same folder.
    pub fn is_of(&self, job: &JobFolder) -> bool {
        self.job == job.sum
    }
}

/// Folder of results, which is opened once: another user that can write to the job's folder could put a link
/// in its place meanwhile. The folder is locked as long as it is open: two runs would mix their results.
#[derive(Debug)]
pub(super) struct Results {
    path: PathBuf,
    folder: fs_err::File,
}

impl Results {
    /// Makes the folder, and removes results of an earlier run, the record first. A folder that the caller
    /// names may have files of those names that are not results.
    pub(super) fn prepare(named: Option<&Path>, job: &JobFolder) -> Result<Self, PortableJobError> {
        let path = named.map_or_else(|| job.place("out"), Path::to_owned);
        match fs_err::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(Unable::file("make a folder for the results"))?,
        }
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let opened = fs_err::OpenOptions::new().read(true).custom_flags(flags).open(&path);
        // A link is not a folder either, with these flags.
        let folder = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => PortableJobError::OutNoFolder(path.clone()),
            _ => Unable::file("open the folder for the results")(error).into(),
        })?;
        if !lock::lock_folder(folder.file()) {
            return Err(Unable::OutInUse(path).into());
        }
        let results = Self { path, folder };
        if named.is_some() {
            results.check(job)?;
        } else if fs_err::read_link(results.handle()).ok().as_deref() != Some(&*results.path) {
            // Its owner has put a link in the place of the job's folder, which is one without links.
            return Err(PortableJobError::OutMoved(results.path));
        }
        results.clear().map_err(Unable::file("remove earlier results"))?;
        Ok(results)
    }

    /// Refuses a folder of something else.
    fn check(&self, job: &JobFolder) -> Result<(), PortableJobError> {
        let open = Unable::file("open the folder for the results");
        let same = |one: std::fs::Metadata, other: std::fs::Metadata| {
            (one.dev(), one.ino()) == (other.dev(), other.ino())
        };
        let of_job = fs_err::metadata(job.path()).map_err(open)?;
        if same(self.folder.metadata().map_err(open)?, of_job) {
            return Err(PortableJobError::OutIsJob);
        }
        let is_there = |name: &&str| fs_err::symlink_metadata(self.place(name)).is_ok();
        match [RECORD, LOG, PACKAGE].iter().find(|name| is_there(name)) {
            Some(name) if !matches!(JobRecord::read(&self.handle()), Ok(Some(_))) => {
                Err(PortableJobError::OutOfOthers { path: self.path.clone(), name })
            }
            _ => Ok(()),
        }
    }

    /// Removes all results, the record first.
    pub(super) fn clear(&self) -> io::Result<()> {
        // The record first: what it says must be there as long as it is there.
        for name in [RECORD, LOG, PACKAGE] {
            match fs_err::remove_file(self.place(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(|error| self.named(&error))?,
            }
        }
        Ok(())
    }

    /// Path of a result, for the caller.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the open folder.
    fn handle(&self) -> PathBuf {
        // Leads to the folder that was opened, whatever has its name by now (proc_pid_fd(5)).
        PathBuf::from(format!("/proc/self/fd/{}", self.folder.file().as_raw_fd()))
    }

    /// Path of a result below the open folder.
    fn place(&self, name: &str) -> PathBuf {
        self.handle().join(name)
    }

    /// Names the folder by its path in an error.
    fn named(&self, error: &io::Error) -> io::Error {
        let [handle, path] = [&self.handle(), &self.path].map(|path| path.display().to_string());
        io::Error::new(error.kind(), error.to_string().replace(&handle, &path))
    }

    /// Puts a copy of a finished file among the results. Nothing in the folder is followed or overwritten, so
    /// that another user that can write to the folder has no file of the caller's changed.
    pub(super) fn put(&self, file: &Path, name: &str) -> io::Result<()> {
        let put = || {
            let mut from = fs_err::File::open(file)?;
            let mut target = AtomicFile::create(&self.place(name))?;
            io::copy(&mut from, target.file())?;
            target.commit()
        };
        put().map_err(|error| self.named(&error))
    }

    /// Writes the record.
    pub(super) fn write(&self, record: &JobRecord) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(record)?;
        text.push('\n');
        atomic::write(&self.place(RECORD), text.as_bytes()).map_err(|error| self.named(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_becomes_a_link_removes_nothing_elsewhere() {
        let place = tempfile::tempdir().unwrap();
        let place = fs_err::canonicalize(place.path()).unwrap();
        let (folder, elsewhere) = (place.join("job"), place.join("elsewhere"));
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::create_dir_all(elsewhere.join("out")).unwrap();
        let sum = Sha256Sum::of(b"");
        let text = format!(
            r#"{{"version": 1, "id": "p--1", "variant": null, "image": {{"host": {{"id": "{sum}"}}}},
            "package": "{sum}", "sources": [], "dependencies": [], "buildinfo_full": null, "pkginfo": null,
            "environment": {{}}, "source_date_epoch": 1, "limits": {{}}}}"#
        );
        fs_err::write(folder.join("job.json"), text).unwrap();
        let job = JobFolder::open(&folder).unwrap();
        Results::prepare(None, &job).unwrap();
        let log = elsewhere.join("out/log");
        fs_err::write(&log, "of the caller's").unwrap();
        fs_err::rename(&folder, place.join("moved")).unwrap();
        fs_err::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        let refused = Results::prepare(None, &job).unwrap_err();
        assert!(matches!(&refused, PortableJobError::OutMoved(out) if *out == folder.join("out")));
        assert!(log.exists());
    }
}
