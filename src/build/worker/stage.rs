//! `/opt/mesosphere` of a build, with its installed dependencies.
//!
//! Each dependency is unpacked once, into the builder's own folder of packages, and mounted
//! read-only by every build that needs it; only the symlinks and files of an installation are made
//! per build.

use std::path::{Path, PathBuf};

use super::jobserver::IdleCores;
use crate::archive::unpack_package;
use crate::base::atomic::{TEMPORARY_PREFIX, sweep_under_lock};
use crate::base::causes::with_causes;
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::lock::FileLock;
use crate::base::regular::open_regular;
use crate::base::removal::{remove_all, remove_all_closed};
use crate::base::tap::Tap;
use crate::base::times::set_times;
use crate::build::job::{BuildJob, Dependency};
use crate::install::{InstallError, InstallOptions, PackageContents, plan_install};
use crate::package::PackageId;
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// Makes the install folder in the view.
pub(super) fn stage(workspace: &Workspace<'_>, job: &BuildJob) -> Result<(), JobFailure> {
    let packages = workspace.in_view(&job.packages);
    let mut contents = Vec::new();
    let mut mount_points = vec![job.package.id.clone()];
    for dependency in &job.package.dependencies {
        let folder = unpacked(workspace, &packages, dependency, job)?;
        let found = PackageContents::from_directory(&dependency.id, &folder);
        contents.push(found.map_err(|error| unstaged(&error))?);
        mount_points.push(dependency.id.clone());
    }
    let plan = plan_install(&contents, &InstallOptions::staging(&mount_points))
        .map_err(|error| unstaged(&error))?;
    let folder = |id: &PackageId| {
        let found = job.package.dependencies.iter().find(|needed| needed.id == *id);
        packages.join(found.map_or_else(|| id.to_string(), Dependency::folder))
    };
    let install = workspace.view().install();
    plan.write(&install, folder).map_err(JobFailure::of)?;
    set_times(&install, job.package.source_date_epoch).map_err(JobFailure::of)
}

/// Failure of required packages that cannot be installed together.
fn unstaged(error: &InstallError) -> JobFailure {
    let message = format!("its requirements can't be installed: {}", with_causes(error));
    JobFailure { hint: error.hint(), ..JobFailure::new(message) }
}

/// Folder of a dependency, unpacked if it is not there yet.
fn unpacked(
    workspace: &Workspace<'_>,
    packages: &Path,
    dependency: &Dependency,
    job: &BuildJob,
) -> Result<PathBuf, JobFailure> {
    let wrong = |error: &dyn std::error::Error| {
        let archive = dependency.archive.display();
        JobFailure::new(format!("dependency {} ({archive}): {}", dependency.id, with_causes(error)))
    };
    let Some(sum) = &dependency.sha256 else {
        return Err(JobFailure::new(format!(
            "the sum of dependency {} is not known",
            dependency.id
        )));
    };
    let place = packages.join(dependency.folder());
    if is_ours(&place) {
        return Ok(place);
    }
    // One lock for all packages: unpacking uses all idle cores anyway.
    let lock = packages.join(".lock");
    let _lock = FileLock::acquire(&lock, || ()).map_err(|error| wrong(&error))?;
    if is_ours(&place) {
        return Ok(place);
    }
    sweep_under_lock(packages).log();
    let fresh = packages.join(format!("{TEMPORARY_PREFIX}{}", dependency.folder()));
    // Leftovers of the sweep must not become part of this package.
    remove_all_closed(&fresh).map_err(|error| wrong(&error))?;
    let archive =
        open_regular(&workspace.in_view(&dependency.archive)).map_err(|error| wrong(&error))?;
    let mut found = Sha256::new();
    let mut archive = Tap::new(archive, |bytes: &[u8]| found.update(bytes));
    let cores = IdleCores::take(workspace, job);
    let limits = cores.limits(&workspace.folders().limits);
    let unpacked = unpack_package(&mut archive, &fresh, &limits);
    drop(cores);
    // The unpacked archive must match the digest in its name, which is over all bytes.
    let read = unpacked.map_err(|error| wrong(&error)).and_then(|_| {
        std::io::copy(&mut archive, &mut std::io::sink()).map_err(|error| wrong(&error))
    });
    let checked = read.and_then(|_| {
        let is_whole = Sha256Sum::from_hasher(found) == *sum;
        let other = || wrong(&std::io::Error::other("the archive was replaced meanwhile"));
        is_whole.then_some(()).ok_or_else(other)
    });
    if let Err(failure) = checked {
        let message = format!("{} (unpacked into {})", failure.message, packages.display());
        // The next one to unpack the package removes what cannot be removed now.
        drop(remove_all(&fresh));
        return Err(JobFailure::new(message));
    }
    put_in_place(&fresh, &place).map_err(|error| wrong(&error))?;
    Ok(place)
}

/// True if an unpacked package belongs to this container's root: with another id map, its files
/// belong to unmapped ids, and private files are unreadable.
fn is_ours(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs_err::symlink_metadata(place).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0)
}

fn put_in_place(fresh: &Path, place: &Path) -> std::io::Result<()> {
    if place.exists() {
        let mut old = fresh.as_os_str().to_owned();
        old.push(".old");
        let old = PathBuf::from(old);
        // Renamed before it is removed: mounts of running builds keep the folder, but nobody finds
        // half of it.
        fs_err::rename(place, &old)?;
        remove_all(&old)?;
    }
    fs_err::rename(fresh, place)
}
