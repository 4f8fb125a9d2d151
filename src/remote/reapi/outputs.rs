//! The result of an action: files that are downloaded into a folder, and checked there.

use std::path::Path;

use bazel_remote_apis::build::bazel::remote::execution::v2::{ActionResult, OutputFile};

use futures_util::future::join3;

use super::action::{OutputPaths, output_paths};
use super::blob::BlobDigest;
use super::call::Calls;
use super::error::{ReapiError, plain};
use super::read::ReadError;
use crate::base::digest::Sha256Sum;
use crate::portable::{JobOutcome, JobRecord, LOG, PACKAGE};
use crate::remote::checked::{self, ResultError};

/// Largest record that is downloaded, in bytes.
const LARGEST_RECORD: u64 = 32 << 20;

/// Bytes of a log beside its limit.
const MARGIN: u64 = 4096;

/// Largest stderr that is read, in bytes.
const LARGEST_STDERR: u64 = 64 << 10;

/// Lines of stderr in a message.
const LAST_LINES: usize = 4;

/// A result is not one.
#[derive(Debug)]
pub(super) enum OutputError {
    /// It is not complete: the text says of what.
    Incomplete(String),
    /// It does not fit.
    Result(ResultError),
    /// A file has other bytes than its name says.
    OtherBytes(&'static str),
    /// The engine or this machine fails.
    Other(ReapiError),
}

/// Result of an action, to be downloaded.
pub(super) struct Outputs<'a> {
    pub(super) calls: &'a Calls<'a>,
    pub(super) result: &'a ActionResult,
    /// Sum of the job.
    pub(super) job: &'a Sha256Sum,
    /// Folder for the files.
    pub(super) folder: &'a Path,
}

impl Outputs<'_> {
    /// Downloads the files of the result. The record decides on the others.
    pub(super) async fn download(&self) -> Result<JobRecord, OutputError> {
        let OutputPaths { log, package, record } = output_paths();
        let exit_code = self.result.exit_code;
        let Some(found) = self.find(&record) else {
            return Err(OutputError::Incomplete(self.ending().await));
        };
        let task = self.calls.task;
        let log_limit = task.request.package.log_limit.saturating_add(MARGIN);
        // All at once: on a long way, three answers take as long as one.
        let (fetched, log, package) = join3(
            self.fetch(found, "record.json", LARGEST_RECORD),
            self.fetch_if(self.find(&log), LOG, log_limit),
            self.fetch_if(self.find(&package), PACKAGE, task.archives.max_bytes),
        )
        .await;
        fetched?;
        let record = checked::read_record(self.folder, self.job, &task.request.package.id)
            .map_err(OutputError::Result)?
            .ok_or_else(|| OutputError::Incomplete("its record is empty".to_owned()))?;
        let code = match record.outcome {
            JobOutcome::Built => 0,
            JobOutcome::Failed => 1,
            JobOutcome::Unable => 75,
        };
        if exit_code != code {
            return Err(OutputError::Result(ResultError::Misfit {
                what: "the outcome",
                said: record.outcome.as_str().to_owned(),
                wanted: format!("that of the exit code {exit_code}"),
            }));
        }
        log?;
        if record.outcome == JobOutcome::Built && !package? {
            return Err(OutputError::Incomplete("it has no package".to_owned()));
        }
        Ok(record)
    }

    /// Downloads a file if the result has it. False if it has not.
    async fn fetch_if(
        &self,
        file: Option<&OutputFile>,
        name: &'static str,
        limit: u64,
    ) -> Result<bool, OutputError> {
        match file {
            None => Ok(false),
            Some(file) => self.fetch(file, name, limit).await.map(|()| true),
        }
    }

    fn find(&self, path: &str) -> Option<&OutputFile> {
        self.result.output_files.iter().find(|file| file.path == path)
    }

    async fn fetch(
        &self,
        file: &OutputFile,
        name: &'static str,
        limit: u64,
    ) -> Result<(), OutputError> {
        let Some(digest) = BlobDigest::read(file.digest.as_ref()) else {
            return Err(OutputError::Incomplete(format!("its {name} has no digest")));
        };
        if digest.bytes > limit {
            return Err(OutputError::Result(ResultError::Misfit {
                what: "the size of a file",
                said: format!("{name} of {} bytes", digest.bytes),
                wanted: format!("at most {limit}"),
            }));
        }
        self.calls.read(&digest, &self.folder.join(name)).await.map_err(|error| match error {
            ReadError::Lost => OutputError::Incomplete(format!("its {name} is lost")),
            ReadError::OtherBytes => OutputError::OtherBytes(name),
            ReadError::Other(error) => OutputError::Other(error),
        })
    }

    /// Exit code and last words of a program that left no record.
    async fn ending(&self) -> String {
        let ActionResult { exit_code, stderr_raw, stderr_digest, .. } = self.result;
        let mut said = stderr_raw.clone();
        if let Some(digest) = BlobDigest::read(stderr_digest.as_ref())
            && said.is_empty()
            && digest.bytes <= LARGEST_STDERR
        {
            let path = self.folder.join("stderr");
            if self.calls.read(&digest, &path).await.is_ok() {
                said = fs_err::read(path).unwrap_or_default();
            }
        }
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("; ");
        match last.as_str() {
            "" => format!("exit code {exit_code}, and no record"),
            last => format!("exit code {exit_code}, and no record: {}", plain(last)),
        }
    }
}
