//! Removing and copying what a namespace's ids own.

use std::path::Path;

use crate::base::event::Phase;
use crate::container::copy::merge_layer;
use crate::container::namespace::{self, Network};
use crate::container::view::View;

use super::super::job::{Answer, CopyJob, Failure, RemoveJob};
use super::{Finished, failure, unprepared};

/// Removes folders from inside the namespace in which their files were made.
pub(super) fn remove(job: &RemoveJob) -> Result<Finished, Failure> {
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
    for name in &job.names {
        remove_tree(&view.input(0).join(name)).map_err(unprepared)?;
    }
    Ok(Finished::With(Answer::Removed))
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

/// Removes a folder and all in it; it may be gone already.
pub(super) fn remove_tree(folder: &Path) -> std::io::Result<()> {
    match fs_err::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
