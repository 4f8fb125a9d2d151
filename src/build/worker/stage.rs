//! `/opt/mesosphere` of one build: its dependencies, installed.
//!
//! Each dependency is unpacked once, into the builder's own folder of packages, and mounted
//! read-only by every build that needs it; what is made per build are the symlinks and files that
//! installing them gives.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::unpack_package;
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::event::Phase;
use crate::base::lock::FileLock;

use super::super::job::{Dependency, Failure, with_causes};
use super::build::Work;
use super::{failure, remove, unprepared};

/// Makes the install folder in the scratch space.
pub(super) fn stage(work: &Work<'_>) -> Result<(), Failure> {
    let install = work.scratch("install");
    fs_err::create_dir_all(install.join("packages").join(work.job.id.to_string()))
        .map_err(unprepared)?;
    for dependency in &work.job.dependencies {
        let _folder = unpacked(work, dependency)?;
        fs_err::create_dir_all(install.join("packages").join(dependency.id.to_string()))
            .map_err(unprepared)?;
    }
    Ok(())
}

/// The folder of a dependency, unpacked if it isn't yet.
fn unpacked(work: &Work<'_>, dependency: &Dependency) -> Result<PathBuf, Failure> {
    let wrong = |error: &dyn std::error::Error| {
        let archive = dependency.archive.display();
        failure(
            Phase::Prepare,
            format!("dependency {}: {} ({archive})", dependency.id, with_causes(error)),
        )
    };
    let folder = work.place(&work.job.packages);
    let place = folder.join(dependency.id.to_string());
    if is_ours(&place) {
        return Ok(place);
    }
    let lock = folder.join(format!(".lock-{}", dependency.id));
    let _lock = FileLock::acquire(&lock, || ()).map_err(|error| wrong(&error))?;
    if is_ours(&place) {
        return Ok(place);
    }
    let fresh = folder.join(format!("{TEMPORARY_PREFIX}{}", dependency.id));
    let archive =
        fs_err::File::open(work.place(&dependency.archive)).map_err(|error| wrong(&error))?;
    replace(&fresh, &place, |fresh| {
        unpack_package(archive, fresh, &work.job.limits).map(drop).map_err(|error| wrong(&error))
    })
    .map_err(|error| wrong(&error))??;
    // The lock file of a package that is there is never asked for again.
    drop(fs_err::remove_file(lock));
    Ok(place)
}

/// Whether a package is there and belongs to this container's root: with another id map, its files
/// are nobody's, and those that only their owner may read can't be read.
fn is_ours(place: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs_err::symlink_metadata(place).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == 0)
}

fn replace<E>(
    fresh: &Path,
    place: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> io::Result<Result<(), E>> {
    remove::remove_tree(fresh)?;
    if let Err(error) = fill(fresh) {
        remove::remove_tree(fresh)?;
        return Ok(Err(error));
    }
    if place.exists() {
        let old = fresh.with_extension("old");
        fs_err::rename(place, &old)?;
        remove::remove_tree(&old)?;
    }
    fs_err::rename(fresh, place)?;
    Ok(Ok(()))
}
