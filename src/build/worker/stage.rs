//! `/opt/mesosphere` of one build: its dependencies, installed.
//!
//! Each dependency is unpacked once, into the builder's own folder of packages, and mounted
//! read-only by every build that needs it; what is made per build are the symlinks and files that
//! installing them gives.

use std::path::{Path, PathBuf};

use crate::archive::unpack_package;
use crate::base::atomic::{TEMPORARY_PREFIX, sweep_under_lock};
use crate::base::causes::with_causes;
use crate::base::event::Phase;
use crate::base::lock::FileLock;
use crate::install::{InstallError, InstallOptions, PackageContents, plan_install};
use crate::package::PackageId;

use super::super::job::{Dependency, Failure};
use super::build::Work;
use super::{failure, unprepared};
use crate::base::removal::remove_all;

/// Makes the install folder in the scratch space.
pub(super) fn stage(work: &Work<'_>) -> Result<(), Failure> {
    let packages = work.place(&work.job.packages);
    let mut contents = Vec::new();
    let mut mount_points = vec![work.job.id.clone()];
    for dependency in &work.job.dependencies {
        let folder = unpacked(work, &packages, dependency)?;
        let found = PackageContents::from_directory(&dependency.id, &folder);
        contents.push(found.map_err(|error| unstaged(&error))?);
        mount_points.push(dependency.id.clone());
    }
    let plan = plan_install(&contents, &InstallOptions::staging(&mount_points))
        .map_err(|error| unstaged(&error))?;
    plan.write(&work.view.install(), |id: &PackageId| packages.join(id.to_string()))
        .map_err(unprepared)
}

/// The packages that a build requires can't be installed together.
fn unstaged(error: &InstallError) -> Failure {
    Failure {
        hint: error.hint(),
        ..failure(
            Phase::Prepare,
            format!("its requirements can't be installed: {}", with_causes(error)),
        )
    }
}

/// The folder of a dependency, unpacked if it isn't yet.
fn unpacked(work: &Work<'_>, packages: &Path, dependency: &Dependency) -> Result<PathBuf, Failure> {
    let wrong = |error: &dyn std::error::Error| {
        let archive = dependency.archive.display();
        failure(
            Phase::Prepare,
            format!("dependency {} ({archive}): {}", dependency.id, with_causes(error)),
        )
    };
    let place = packages.join(dependency.id.to_string());
    if is_ours(&place) {
        return Ok(place);
    }
    let lock = packages.join(".lock");
    let _lock = FileLock::acquire(&lock, || ()).map_err(|error| wrong(&error))?;
    if is_ours(&place) {
        return Ok(place);
    }
    sweep_under_lock(packages).map_err(|error| wrong(&error))?;
    let fresh = packages.join(format!("{TEMPORARY_PREFIX}{}", dependency.id));
    let archive =
        fs_err::File::open(work.place(&dependency.archive)).map_err(|error| wrong(&error))?;
    if let Err(error) = unpack_package(archive, &fresh, &work.job.limits) {
        let place = packages.display();
        let message = format!("{} (unpacked into {place})", wrong(&error).message);
        let failure = failure(Phase::Prepare, message);
        // What can't be removed now is removed by whoever unpacks the package next.
        drop(remove_all(&fresh));
        return Err(failure);
    }
    put_in_place(&fresh, &place).map_err(|error| wrong(&error))?;
    Ok(place)
}

/// Whether a package is there and belongs to this container's root: with another id map, its files
/// are nobody's, and those that only their owner may read can't be read.
fn is_ours(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs_err::symlink_metadata(place).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0)
}

fn put_in_place(fresh: &Path, place: &Path) -> std::io::Result<()> {
    if place.exists() {
        let mut old = fresh.as_os_str().to_owned();
        old.push(".old");
        let old = PathBuf::from(old);
        fs_err::rename(place, &old)?;
        remove_all(&old)?;
    }
    fs_err::rename(fresh, place)
}
