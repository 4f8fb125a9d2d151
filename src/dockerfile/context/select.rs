//! Selection of files by a source of COPY.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::resolve::{ResolveError, is_absence, resolve};
use super::{ContextError, ContextFiles, FileChoice};
use crate::dockerfile::glob::Glob;

/// End of the part of a source that `--parents` leaves out.
const PIVOT: &str = "/./";

/// A file or folder that a source means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Path below the root, without symlinks.
    pub path: PathBuf,
    /// Path relative to the destination: a file's name; with `--parents`, preceded by its folders.
    /// Empty for a folder, whose content goes to the destination.
    pub place: PathBuf,
    /// True for a folder.
    pub folder: bool,
}

pub(super) fn select(
    files: &ContextFiles,
    source: &str,
    choice: &FileChoice,
) -> Result<Vec<Selected>, ContextError> {
    let (before, after) = match source.split_once(PIVOT).filter(|_| choice.parents) {
        Some((before, after)) => (before, after),
        None => ("", source),
    };
    let pattern = if before.is_empty() { after.to_owned() } else { format!("{before}/{after}") };
    let paths = if choice.parents && pattern.contains("**") {
        matching_anywhere(files, &pattern)?
    } else {
        matching(files, &pattern)?
    };
    let literal = is_literal(&pattern)?;
    let mut selected = Vec::new();
    for path in paths {
        let kept = if before.is_empty() { path.clone() } else { below(&path, before) };
        match one(files, &path, &kept, choice) {
            // A pattern matches existing files that are not left out.
            Err(ContextError::LeftOut { .. } | ContextError::Missing { .. }) if !literal => {}
            other => selected.extend(other?),
        }
    }
    if selected.is_empty() && literal && !is_excluded(&pattern, choice) {
        return Err(files.missing(source.to_owned()));
    }
    Ok(selected)
}

/// The part of a path that lies below as many folders as the pattern before the pivot has.
fn below(path: &Path, before: &str) -> PathBuf {
    path.components().skip(before.split('/').count()).collect()
}

fn is_literal(pattern: &str) -> Result<bool, ContextError> {
    let glob = Glob::flat(pattern).map_err(|_bad| ContextError::Pattern(pattern.to_owned()))?;
    Ok(glob.is_literal())
}

fn is_excluded(pattern: &str, choice: &FileChoice) -> bool {
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    choice.exclude.leaves_out(if choice.parents { pattern } else { name })
}

fn one(
    files: &ContextFiles,
    path: &Path,
    kept: &Path,
    choice: &FileChoice,
) -> Result<Option<Selected>, ContextError> {
    let shown = || path.display().to_string();
    let found = resolve(&files.root, path)
        .map_err(|error| unresolved(path, error))?
        .ok_or_else(|| files.missing(shown()))?;
    let full = files.root.join(&found);
    let look = |source| ContextError::Look { source };
    let folder = fs_err::symlink_metadata(&full).map_err(look)?.is_dir();
    let mut is_left_out = false;
    // Both: a symlink must not be a way around the patterns.
    for name in [path, &found] {
        // The replacement for invalid UTF-8 in a name matters for few patterns.
        let name = name.to_string_lossy();
        if !name.is_empty() && files.ignore.leaves_out(&name) {
            is_left_out = true;
            if !folder || !files.ignore.may_keep_below(&name) {
                return Err(ContextError::LeftOut { source_path: shown() });
            }
        }
    }
    let place = match (choice.parents, folder) {
        (true, _) => kept.to_owned(),
        (false, true) => PathBuf::new(),
        (false, false) => kept.file_name().unwrap_or_default().into(),
    };
    if !folder && choice.exclude.leaves_out(&place.to_string_lossy()) {
        return Ok(None);
    }
    let selected = Selected { path: found, place, folder };
    // A folder that is left out is there for the sake of a file in it alone.
    if is_left_out && !holds_anything(files, &selected)? {
        return Err(ContextError::LeftOut { source_path: shown() });
    }
    Ok(Some(selected))
}

/// True if something below a folder is not left out of the context.
fn holds_anything(files: &ContextFiles, folder: &Selected) -> Result<bool, ContextError> {
    let choice = FileChoice::default();
    for entry in files.entries(folder, &choice) {
        if entry?.path != folder.path {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unresolved(path: &Path, error: ResolveError) -> ContextError {
    match error {
        ResolveError::Links => ContextError::Links(path.display().to_string()),
        ResolveError::Look(source) => ContextError::Look { source },
    }
}

/// Paths that match a pattern; each part of the pattern matches one name.
fn matching(files: &ContextFiles, pattern: &str) -> Result<Vec<PathBuf>, ContextError> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let glob = Glob::flat(part).map_err(|_bad| ContextError::Pattern(pattern.to_owned()))?;
        let mut next = Vec::new();
        for path in found {
            if let Some(name) = glob.literal() {
                next.push(path.join(name));
                continue;
            }
            let Some(folder) =
                resolve(&files.root, &path).map_err(|error| unresolved(&path, error))?
            else {
                continue;
            };
            for name in names(&files.root.join(folder))? {
                if glob.matches(&name.to_string_lossy()) {
                    next.push(path.join(name));
                }
            }
        }
        found = next;
    }
    Ok(found)
}

/// The paths that a pattern with `**` means.
fn matching_anywhere(files: &ContextFiles, pattern: &str) -> Result<Vec<PathBuf>, ContextError> {
    let glob = Glob::deep(pattern).map_err(|_bad| ContextError::Pattern(pattern.to_owned()))?;
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&files.root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| ContextError::Look { source: error.into() })?;
        let path = entry.path().strip_prefix(&files.root).unwrap_or(entry.path());
        if glob.matches(&path.to_string_lossy()) {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}

/// The names in a folder, sorted; none if it is no folder.
fn names(folder: &Path) -> Result<Vec<OsString>, ContextError> {
    let look = |source| ContextError::Look { source };
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(look(error)),
    };
    let names = entries.map(|entry| Ok(entry.map_err(look)?.file_name()));
    let mut names = names.collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}
