//! What a source of COPY means.

use std::path::{Path, PathBuf};

use super::resolve::{ResolveError, is_absence, resolve};
use super::{Choice, ContextError, Files};
use crate::dockerfile::glob::Glob;

/// What ends the part of a source that `--parents` leaves out.
const PIVOT: &str = "/./";

/// A file or folder that a source means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Where it is below the root, through no symlink.
    pub path: PathBuf,
    /// What it is called at its destination: a file's name; with `--parents` the folders before it
    /// too. Empty for a folder, whose content goes to the destination.
    pub place: PathBuf,
    /// True if it is a folder.
    pub folder: bool,
}

pub(super) fn select(
    files: &Files,
    source: &str,
    choice: &Choice,
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
        let kept = if before.is_empty() { path.as_str() } else { below(&path, before) };
        match one(files, &path, kept, choice) {
            // A pattern means what is there and not left out.
            Err(ContextError::LeftOut { .. } | ContextError::Missing { .. }) if !literal => {}
            other => selected.extend(other?),
        }
    }
    if selected.is_empty() && literal && !is_excluded(&pattern, choice) {
        let root = files.root.clone();
        return Err(ContextError::Missing { source_path: source.to_owned(), root });
    }
    Ok(selected)
}

/// The part of a path that lies below as many folders as the pattern before the pivot has.
fn below<'p>(path: &'p str, before: &str) -> &'p str {
    let count = before.split('/').count();
    let start = path.match_indices('/').nth(count - 1).map_or(path.len(), |(end, _)| end + 1);
    &path[start..]
}

fn is_literal(pattern: &str) -> Result<bool, ContextError> {
    let glob = Glob::flat(pattern).map_err(|_bad| ContextError::Pattern(pattern.to_owned()))?;
    Ok(glob.is_literal())
}

fn is_excluded(pattern: &str, choice: &Choice) -> bool {
    let name = pattern.rsplit('/').next().unwrap_or(pattern);
    choice.exclude.leaves_out(if choice.parents { pattern } else { name })
}

fn one(
    files: &Files,
    path: &str,
    kept: &str,
    choice: &Choice,
) -> Result<Option<Selected>, ContextError> {
    let missing =
        || ContextError::Missing { source_path: path.to_owned(), root: files.root.clone() };
    let left_out = || ContextError::LeftOut { source_path: path.to_owned() };
    let found = resolve(&files.root, Path::new(path))
        .map_err(|error| unresolved(path, error))?
        .ok_or_else(missing)?;
    let full = files.root.join(&found);
    let look = |source| ContextError::Look { source };
    let folder = fs_err::symlink_metadata(&full).map_err(look)?.is_dir();
    for name in [Some(path), found.to_str()].into_iter().flatten().filter(|name| !name.is_empty()) {
        if files.ignore.leaves_out(name) && !(folder && files.ignore.may_keep_below(name)) {
            return Err(left_out());
        }
    }
    let name = kept.rsplit('/').next().unwrap_or(kept);
    let place = match (choice.parents, folder) {
        (true, _) => kept,
        (false, true) => "",
        (false, false) => name,
    };
    if !folder && choice.exclude.leaves_out(place) {
        return Ok(None);
    }
    Ok(Some(Selected { path: found, place: place.into(), folder }))
}

fn unresolved(path: &str, error: ResolveError) -> ContextError {
    match error {
        ResolveError::Links => ContextError::Links(path.to_owned()),
        ResolveError::Look(source) => ContextError::Look { source },
    }
}

/// The paths that a pattern means, each part of it one name.
fn matching(files: &Files, pattern: &str) -> Result<Vec<String>, ContextError> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let glob = Glob::flat(part).map_err(|_bad| ContextError::Pattern(pattern.to_owned()))?;
        let mut next = Vec::new();
        for path in found {
            if let Some(name) = glob.literal() {
                next.push(joined(&path, &name));
                continue;
            }
            let Some(folder) =
                resolve(&files.root, Path::new(&path)).map_err(|error| unresolved(&path, error))?
            else {
                continue;
            };
            for name in names(&files.root.join(folder))? {
                if glob.matches(&name) {
                    next.push(joined(&path, &name));
                }
            }
        }
        found = next;
    }
    Ok(found)
}

/// The paths that a pattern with `**` means.
fn matching_anywhere(files: &Files, pattern: &str) -> Result<Vec<String>, ContextError> {
    let glob = Glob::deep(pattern).map_err(|_bad| ContextError::Pattern(pattern.to_owned()))?;
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&files.root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| ContextError::Look { source: error.into() })?;
        let path = entry.path().strip_prefix(&files.root).unwrap_or(entry.path());
        if let Some(path) = path.to_str().filter(|path| glob.matches(path)) {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}

/// The names in a folder, sorted; none if it is no folder. Names that are no text match nothing.
fn names(folder: &Path) -> Result<Vec<String>, ContextError> {
    let look = |source| ContextError::Look { source };
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absence(&error) => return Ok(Vec::new()),
        Err(error) => return Err(look(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(look)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}
