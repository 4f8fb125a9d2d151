//! Results of a job that other machines have carried out: copied, and compared with what was asked for.

use std::fmt::Display;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use crate::archive::verify_package;
use crate::artifact::record::PackageRecord;
use crate::base::confinement::open_plain;
use crate::base::digest::{Sha256Sum, Tee, Until};
use crate::base::event::Phase;
use crate::build::elsewhere::{ElsewhereTask, FailedElsewhere};
use crate::build::job::Built;
use crate::build::record::{BuildEnding, Record};
use crate::container::idmap::Tier;
use crate::container::namespace::Network;
use crate::package::{PackageId, contents};
use crate::portable::{JobOutcome, JobRecord, LOG, PACKAGE, PackageSums};

/// Bytes of a log beside its limit: what stands in for the middle of a long one.
const MARGIN: u64 = 4096;

/// A result is not that of the job, or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultError {
    /// The record cannot be read.
    #[error("its record.json is not the record of a job")]
    Unreadable(#[source] io::Error),
    /// The record is that of something else, or contradicts itself.
    #[error("{what} of its record does not fit: {said}, and {wanted} is right")]
    Misfit {
        /// Part of the record.
        what: &'static str,
        /// Value of the record.
        said: String,
        /// Right value.
        wanted: String,
    },
    /// The package cannot be read.
    #[error("its {PACKAGE} cannot be read")]
    Package(#[source] io::Error),
    /// The package is not valid.
    #[error("its {PACKAGE} is not a package of {id}: {problem}")]
    Contents {
        /// Package.
        id: PackageId,
        /// Fault.
        problem: String,
    },
    /// The package cannot be copied to this machine.
    #[error("the package cannot be copied")]
    Copy(#[source] io::Error),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Checked result of a job.
#[derive(Debug)]
pub(super) struct CheckedResult {
    /// Sums of the package, or the failure of the build.
    pub(super) result: Result<Built, FailedElsewhere>,
    /// Record of the build, unless it ended without one.
    pub(super) record: Option<Record>,
}

fn misfit(what: &'static str, said: impl Into<String>, wanted: impl Into<String>) -> ResultError {
    ResultError::Misfit { what, said: said.into(), wanted: wanted.into() }
}

/// Fails unless two values are the same.
fn same<T: PartialEq + Display + ?Sized>(
    what: &'static str,
    said: &T,
    wanted: &T,
) -> Result<(), ResultError> {
    if said == wanted { Ok(()) } else { Err(misfit(what, said.to_string(), wanted.to_string())) }
}

/// Reads the record in the folder of a job's results, if there is one. A filesystem that is away for a while
/// has none.
pub(super) fn read_record(
    out: &Path,
    job: &Sha256Sum,
    id: &PackageId,
) -> Result<Option<JobRecord>, ResultError> {
    let record = match JobRecord::read(out) {
        Ok(record) => record,
        Err(error)
            if error.kind() == io::ErrorKind::InvalidData || error.raw_os_error().is_none() =>
        {
            return Err(ResultError::Unreadable(error));
        }
        Err(error) => {
            tracing::debug!(%error, "a record cannot be read");
            return Ok(None);
        }
    };
    if let Some(record) = &record {
        same("the job", record.job.as_str(), job.as_str())?;
        same("the package", &record.id, id)?;
    }
    Ok(record)
}

/// Checks the result of a job that was built or failed, and copies the package and the log. `tier` is the tier that
/// the job demands.
pub(super) fn take(
    record: JobRecord,
    out: &Path,
    task: &ElsewhereTask<'_>,
    tier: Option<Tier>,
) -> Result<CheckedResult, ResultError> {
    // First: it explains a result that is refused, too.
    copy_log(out, task).map_err(ResultError::Copy)?;
    let JobRecord { outcome, package, message, hint, build, .. } = record;
    if let Some(record) = &build {
        check_record(record, task, tier)?;
    }
    if outcome == JobOutcome::Built {
        let (Some(package), Some(record)) = (package, build) else {
            return Err(misfit("the outcome", "built without sums", "a record with sums"));
        };
        let BuildEnding::Built(built) = record.ending.clone() else {
            return Err(misfit("the outcome", "built", "failed, as the record of the build says,"));
        };
        check_sums(&built, &package)?;
        copy_package(&built, out, task)?;
        return Ok(CheckedResult { result: Ok(built), record: Some(record) });
    }
    let phase = match build.as_ref().map(|record| &record.ending) {
        Some(BuildEnding::Built(_)) => {
            return Err(misfit("the outcome", "failed", "built, as the record of the build says,"));
        }
        Some(BuildEnding::Failed { phase, .. }) => *phase,
        None => Phase::Build,
    };
    let ended = build.as_ref().map(|record| record.ending.clone());
    let message = match ended {
        Some(BuildEnding::Failed { message, .. }) => message,
        _ => message.unwrap_or_else(|| "the build came to no answer".to_owned()),
    };
    Ok(CheckedResult { result: Err(FailedElsewhere { phase, message, hint }), record: build })
}

/// Compares the record of the build with the package that was asked for.
fn check_record(
    record: &Record,
    task: &ElsewhereTask<'_>,
    tier: Option<Tier>,
) -> Result<(), ResultError> {
    let wanted = &task.request.package;
    same("the built package", &record.id, &wanted.id)?;
    let buildinfo: Value = serde_json::from_str(&wanted.buildinfo_full).unwrap_or_default();
    if record.buildinfo != buildinfo {
        return Err(misfit("the description", "it differs", "the one of the job"));
    }
    let ids = |ids: &mut dyn Iterator<Item = &PackageId>| {
        let mut ids: Vec<String> = ids.map(ToString::to_string).collect();
        ids.sort_unstable();
        ids.join(" ")
    };
    let said = ids(&mut record.dependencies.iter());
    same(
        "the list of required packages",
        &said,
        &ids(&mut wanted.dependencies.iter().map(|needed| &needed.id)),
    )?;
    same("source_date_epoch", &record.source_date_epoch, &wanted.source_date_epoch)?;
    // Jobs run without network: such a build had inputs that the id does not have.
    if record.network != Network::None {
        return Err(misfit("the network", "that of the machine", "none"));
    }
    match tier {
        Some(tier) => same("the tier", &record.tier, &tier),
        None => Ok(()),
    }
}

/// Compares the two sums of a record.
fn check_sums(built: &Built, package: &PackageSums) -> Result<(), ResultError> {
    same("the SHA-256", package.sha256.as_str(), built.sha256.as_str())?;
    same("the SHA-1", package.sha1.as_str(), built.sha1.as_str())?;
    same("the size", &package.bytes, &built.bytes)
}

/// Copies the package to this machine, and checks the copy.
fn copy_package(built: &Built, out: &Path, task: &ElsewhereTask<'_>) -> Result<(), ResultError> {
    let ends = || task.interrupt.is_raised();
    let (id, limits) = (&task.request.package.id, &task.archives);
    if built.bytes > limits.max_bytes {
        return Err(misfit(
            "the size",
            built.bytes.to_string(),
            format!("at most {}", limits.max_bytes),
        ));
    }
    // Without links: the folder is that of all machines of the cluster.
    let file = open_plain(out, Path::new(PACKAGE)).map_err(ResultError::Package)?;
    // A byte more than the record says, so that a file that goes on is told from a whole one.
    let mut tee = Tee::with_sha1(Until::new(file.take(built.bytes.saturating_add(1)), ends));
    let copied = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .truncate(true)
        .open(task.output)
        .and_then(|mut copy| io::copy(&mut tee, &mut copy).map(|_| copy));
    let mut copy = match copied {
        Err(_) if ends() => return Err(ResultError::Interrupted),
        copied => copied.map_err(ResultError::Copy)?,
    };
    let sums = tee.finish().1;
    same("the size of the package", &built.bytes, &sums.bytes)?;
    same("the SHA-256 of the package", built.sha256.as_str(), sums.sha256.as_str())?;
    same("the SHA-1 of the package", built.sha1.as_str(), sums.sha1.as_str())?;
    let faulty = |problem: String| {
        if ends() {
            ResultError::Interrupted
        } else {
            ResultError::Contents { id: id.clone(), problem }
        }
    };
    let mut rewind = || copy.seek(SeekFrom::Start(0)).and_then(|_| copy.try_clone());
    let reader = rewind().map_err(ResultError::Copy)?;
    let index = verify_package(Until::new(reader, ends), limits)
        .map_err(|error| faulty(crate::base::causes::with_causes(&error)))?;
    contents::check(id, index.buildinfo.as_deref()).map_err(faulty)?;
    let reader = rewind().map_err(ResultError::Copy)?;
    let found = PackageRecord::of_reader(id, reader, Value::Null, limits, ends)
        .map_err(|error| faulty(error.to_string()))?;
    let said = built.tar_sha256.as_ref().map_or("none", Sha256Sum::as_str);
    same("the SHA-256 of the tar", said, found.tar_sha256.as_str())?;
    same("the size of the tar", &built.unpacked, &found.tar_size)
}

/// Copies the log. A build that came to an end before its script has none.
fn copy_log(out: &Path, task: &ElsewhereTask<'_>) -> io::Result<()> {
    let log = match open_plain(out, Path::new(LOG)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        log => log?,
    };
    let limit = task.request.package.log_limit.saturating_add(MARGIN);
    let mut copy = fs_err::OpenOptions::new().write(true).truncate(true).open(task.log)?;
    io::copy(&mut log.take(limit), &mut copy).map(drop)
}
