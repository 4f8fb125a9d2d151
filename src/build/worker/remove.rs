//! Removing, measuring and copying what a namespace's ids own.

use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::event::Phase;
use crate::base::removal::remove_all;
use crate::container::copy::merge_layer;
use crate::container::namespace::{self, Network};
use crate::container::view::View;
use crate::runner::measure::Meter;

use super::super::job::{Answer, CopyJob, Failure, RemoveJob};
use super::{Finished, failure, unprepared};

/// Removes folders from inside the namespace in which their files were made.
pub(super) fn remove(job: &RemoveJob) -> Result<Finished, Failure> {
    let view = enter(job)?;
    for name in &job.names {
        let folder = view.input(0);
        let (path, doomed) = (folder.join(name), folder.join(format!("{TEMPORARY_PREFIX}{name}")));
        // Whoever is killed in the middle leaves nothing half-removed under a name that counts.
        remove_all(&doomed).map_err(unprepared)?;
        let doomed = if fs_err::rename(&path, &doomed).is_ok() { doomed } else { path };
        remove_all(&doomed).map_err(unprepared)?;
    }
    Ok(Finished::With(Answer::Removed))
}

/// Says what folders take on the disk.
pub(super) fn measure(job: &RemoveJob) -> Result<Finished, Failure> {
    let view = enter(job)?;
    let mut meter = Meter::default();
    let usages = job.names.iter().map(|name| meter.measure(&view.input(0).join(name)));
    Ok(Finished::With(Answer::Measured(usages.map(|usage| usage.bytes).sum())))
}

/// Becomes root in the map, and shows the folder.
fn enter(job: &RemoveJob) -> Result<View, Failure> {
    let plain =
        |name: &String| !name.is_empty() && name != "." && name != ".." && !name.contains('/');
    if !job.names.iter().all(plain) {
        return Err(failure(
            Phase::Prepare,
            "the helper was asked to remove something that is no plain name",
        ));
    }
    namespace::enter(Network::None).map_err(unprepared)?;
    let view =
        View::create(&job.view, std::slice::from_ref(&job.folder), &job.map).map_err(unprepared)?;
    namespace::become_root(&job.map).map_err(unprepared)?;
    Ok(view)
}

/// Copies a folder, from inside the namespace in which its files were made.
pub(super) fn copy(job: &CopyJob) -> Result<Finished, Failure> {
    namespace::enter(Network::None).map_err(unprepared)?;
    let folders = [job.from.clone(), job.to.clone()];
    let view = View::create(&job.view, &folders, &job.map).map_err(unprepared)?;
    namespace::become_root(&job.map).map_err(unprepared)?;
    merge_layer(&view.input(0), &view.input(1)).map_err(unprepared)?;
    Ok(Finished::With(Answer::Copied))
}
