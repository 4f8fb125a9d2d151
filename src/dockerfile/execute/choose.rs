//! Resolution of sources into lists for a helper, and the digests of those lists.

use std::path::Path;

use super::job::{CopyEntry, Match};
use crate::archive::{EntryPath, Noted, OwnerNote};
use crate::base::digest::Sha256Sum;
use crate::dockerfile::context::{Choice, ContextError, Files, Sum};
use crate::dockerfile::ignore::Patterns;
use crate::image::layers::KnownOwners;

/// Makes the choice of files from an instruction's exclusions.
pub(super) fn choice(exclude: &[String], parents: bool) -> Result<Choice, ContextError> {
    let exclude =
        Patterns::new(exclude.iter().map(String::as_str)).map_err(ContextError::Pattern)?;
    Ok(Choice { exclude, parents })
}

/// Lists all files of a source.
pub(super) fn choose(
    files: &Files,
    source: &str,
    choice: &Choice,
) -> Result<Vec<Match>, ContextError> {
    let mut matches = Vec::new();
    for selected in files.select(source, choice)? {
        let mut entries = Vec::new();
        for entry in files.entries(&selected, choice) {
            let entry = entry?;
            entries.push(CopyEntry { path: entry.path, place: entry.place });
        }
        matches.push(Match { is_folder: selected.folder, entries });
    }
    Ok(matches)
}

/// Owners of files in a tree of layers.
pub(super) enum Owners<'a> {
    /// Root owns all files.
    None,
    /// Owners on disk.
    Disk,
    /// Recorded owners, in the single-id tier.
    Told(&'a KnownOwners),
}

/// Lists all files of a source, with their digest.
pub(super) fn choose_with_digest(
    files: &Files,
    source: &str,
    choice: &Choice,
    owners: &Owners<'_>,
) -> Result<(Vec<Match>, Sha256Sum), ContextError> {
    let mut sum = Sum::new(matches!(owners, Owners::Disk));
    let mut matches = Vec::new();
    for selected in files.select(source, choice)? {
        sum.say(if selected.folder { "folder" } else { "file" });
        let mut entries = Vec::new();
        for entry in files.entries(&selected, choice) {
            let entry = entry?;
            sum.add(files, &entry)?;
            if let Owners::Told(known) = owners {
                let (uid, gid) = owner(known, files.root(), &entry.path);
                sum.say(&format!("{uid}:{gid}"));
            }
            entries.push(CopyEntry { path: entry.path, place: entry.place });
        }
        matches.push(Match { is_folder: selected.folder, entries });
    }
    Ok((matches, sum.finish()))
}

/// Owner of a tree's file with one id: from its extended attribute, or from the layers' records.
pub(super) fn owner(known: &KnownOwners, root: &Path, path: &Path) -> (u32, u32) {
    told_owner(&root.join(path)).unwrap_or_else(|| {
        let name = path.as_os_str().as_encoded_bytes();
        EntryPath::parse(name).map_or((0, 0), |path| known.of(&path))
    })
}

fn told_owner(path: &Path) -> Option<(u32, u32)> {
    match OwnerNote::read(path).ok()?? {
        OwnerNote { user: Noted::Is(user), group: Noted::Is(group) } => Some((user, group)),
        _ => None,
    }
}
