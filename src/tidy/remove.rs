//! Removal of unneeded files from a tree's cache.

use std::io;
use std::path::Path;

use super::search::{Needs, TidySearch};
use super::{Cleaned, UnusedItem};
use crate::base::atomic::Unswept;
use crate::base::confinement;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::base::removal::remove_all;
use crate::build::project::{Project, ProjectError};
use crate::runner::measure::Meter;
use crate::runner::{trees, uses};

/// A cache cannot be cleaned.
#[derive(Debug, thiserror::Error)]
pub enum TidyError {
    /// The tree cannot be read.
    #[error(transparent)]
    Project(Box<ProjectError>),
    /// A run builds in the tree.
    #[error("a run of mkpanda builds packages of this tree, so its cache stays as it is")]
    InUse,
    /// A file of the cache, or of the builder's own folder, cannot be read or removed.
    #[error("the tree's cache cannot be cleaned")]
    Io(#[source] io::Error),
}

impl From<ProjectError> for TidyError {
    fn from(error: ProjectError) -> Self {
        Self::Project(Box::new(error))
    }
}

impl TidyError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Project(error) => error.hint(),
            Self::InUse => Some("clean again when the run has ended".to_owned()),
            Self::Io(_) => None,
        }
    }
}

/// Finds and removes unneeded files of a tree's cache; with `dry_run`, nothing is removed.
pub fn clean(
    project: &Project,
    dry_run: bool,
    observer: &dyn Observer,
) -> Result<Cleaned, TidyError> {
    // Once before the lock: fetching an image takes time, and would keep builds from beginning.
    Needs::of(project, observer)?;
    // While this lock is held, no run begins.
    let waiting = || {
        let message = "waiting for a collection, or for a build that begins".to_owned();
        observer.event(Event::Note { message });
    };
    let _gc = uses::lock(project.home(), waiting).map_err(TidyError::Io)?;
    let now = uses::read(project.home()).map_err(TidyError::Io)?.now;
    if !dry_run && now.trees.contains(&trees::name_of(project.tree.root())) {
        return Err(TidyError::InUse);
    }
    // While the lock was waited for, a build may have ended, or the tree changed.
    let project = &project.reread(observer)?;
    let (needs, unknown) = Needs::of(project, observer)?;
    let mut search =
        TidySearch { project, needs: &needs, found: Vec::new(), meter: Meter::default() };
    search.run().map_err(TidyError::Io)?;
    let mut cleaned = Cleaned { unknown, ..Cleaned::default() };
    let mut unswept = Unswept::default();
    for item in search.found {
        // Between two items, so that none is removed by half.
        if observer.is_interrupted() {
            return Err(ProjectError::Interrupted.into());
        }
        if dry_run {
            cleaned.items.push(item);
            continue;
        }
        match remove(project.cache.root(), &item) {
            Ok(true) => cleaned.items.push(item),
            Ok(false) => cleaned.in_use.push(item),
            // One that cannot be removed does not keep the others; the first error is reported at
            // the end.
            Err(error) => unswept.note(Err(error)),
        }
    }
    unswept.first().map_err(TidyError::Io)?;
    Ok(cleaned)
}

/// Removes an item, and folders that are empty then; `false` if a process uses the item.
fn remove(root: &Path, item: &UnusedItem) -> io::Result<bool> {
    let lock = item.lock.as_ref().map(|lock| FileLock::try_acquire(lock)).transpose()?;
    // Not waited for: who holds the lock may be at work for hours.
    if matches!(lock, Some(None)) {
        return Ok(false);
    }
    // Against a link in the place of a folder, through which files outside of the cache would be
    // removed.
    confinement::without_links(root, item.path.parent().unwrap_or(&item.path))?;
    let path = root.join(&item.path);
    remove_all(&path)?;
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        // Usually ENOTEMPTY, and the folders above are not empty then either.
        if fs_err::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(true)
}
