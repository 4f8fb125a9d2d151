//! Symlinks, followed as if the root of the files were `/`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many as the kernel follows.
// `MAXSYMLINKS` (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// Reason why a path cannot be resolved.
#[derive(Debug)]
pub(super) enum ResolveError {
    Links,
    Look(io::Error),
}

/// Resolves a path below the root to a path relative to the root without symlinks; `None` if the
/// path does not exist.
pub(super) fn resolve(root: &Path, path: &Path) -> Result<Option<PathBuf>, ResolveError> {
    let mut found = PathBuf::new();
    let mut links = 0;
    let mut rest: VecDeque<OsString> = names(path).collect();
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            // At the root nothing is left to pop, and `..` stays there, as for a process whose root
            // this is.
            found.pop();
            continue;
        }
        let next = found.join(&name);
        let full = root.join(&next);
        let metadata = match fs_err::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(ResolveError::Look(error)),
        };
        if !metadata.is_symlink() {
            found = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(ResolveError::Links);
        }
        let target = fs_err::read_link(&full).map_err(ResolveError::Look)?;
        if target.is_absolute() {
            found = PathBuf::new();
        }
        for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(name);
        }
    }
    Ok(Some(found))
}

pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}
