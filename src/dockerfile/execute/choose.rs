//! Resolution of sources into lists for a helper, and the digests of those lists.

use std::collections::HashSet;
use std::fs::Metadata;
use std::path::Path;

use super::job::{CopyEntry, Match};
use crate::archive::{EntryPath, NotedId, OwnerNote};
use crate::base::digest::Sha256Sum;
use crate::dockerfile::context::{
    ContextEntry, ContextEntryKind, ContextError, ContextFiles, FileChoice, Sum,
};
use crate::dockerfile::ignore::Patterns;
use crate::image::layers::KnownOwners;

/// Makes the choice of files from an instruction's exclusions.
pub(super) fn choice(exclude: &[String], parents: bool) -> Result<FileChoice, ContextError> {
    let exclude =
        Patterns::new(exclude.iter().map(String::as_str)).map_err(ContextError::Pattern)?;
    Ok(FileChoice { exclude, parents })
}

/// Lists all files of a source.
pub(super) fn choose(
    files: &ContextFiles,
    source: &str,
    choice: &FileChoice,
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
pub(super) enum TreeOwners<'a> {
    /// Root owns all files.
    None,
    /// Owners on disk.
    Disk,
    /// Recorded owners, in the single-id tier.
    Known(&'a KnownOwners),
}

/// Lists all files of a source, with their digest.
pub(super) fn choose_with_digest(
    files: &ContextFiles,
    source: &str,
    choice: &FileChoice,
    owners: &TreeOwners<'_>,
) -> Result<(Vec<Match>, Sha256Sum), ContextError> {
    let mut sum = Sum::new(matches!(owners, TreeOwners::Disk));
    let mut matches = Vec::new();
    let mut added = HashSet::new();
    for selected in files.select(source, choice)? {
        for (place, source) in folders_above(&selected.path, &selected.place) {
            let Some((path, metadata)) = model_of(files.root(), source) else { continue };
            if added.insert(place.to_owned()) {
                let (path, place) = (path.to_owned(), place.to_owned());
                sum.add_label("above");
                add(
                    &mut sum,
                    files,
                    &ContextEntry { path, place, kind: ContextEntryKind::Folder, metadata },
                    owners,
                )?;
            }
        }
        sum.add_label(if selected.folder { "folder" } else { "file" });
        let mut entries = Vec::new();
        for entry in files.entries(&selected, choice) {
            let entry = entry?;
            add(&mut sum, files, &entry, owners)?;
            entries.push(CopyEntry { path: entry.path, place: entry.place });
        }
        matches.push(Match { is_folder: selected.folder, entries });
    }
    Ok((matches, sum.finish()))
}

fn add(
    sum: &mut Sum,
    files: &ContextFiles,
    entry: &ContextEntry,
    owners: &TreeOwners<'_>,
) -> Result<(), ContextError> {
    sum.add(files, entry)?;
    if let TreeOwners::Known(known) = owners {
        let (uid, gid) = owner(known, files.root(), &entry.path);
        sum.add_label(&format!("{uid}:{gid}"));
    }
    Ok(())
}

/// Folders that an entry is in below the destination, the highest first, each with the folder of that name
/// that it is in where it is taken from: there is none where a symlink has another name.
pub(super) fn folders_above<'e>(
    path: &'e Path,
    place: &'e Path,
) -> impl Iterator<Item = (&'e Path, Option<&'e Path>)> {
    let sources: Vec<&Path> = path.ancestors().skip(1).collect();
    let places: Vec<&Path> = place.ancestors().skip(1).collect();
    places.into_iter().enumerate().rev().filter(|(_, place)| !place.as_os_str().is_empty()).map(
        move |(number, place)| {
            let same = |source: &&Path| source.file_name() == place.file_name();
            (place, sources.get(number).copied().filter(same))
        },
    )
}

/// The folder that a missing one above an entry is made like, with what the filesystem says of it.
pub(super) fn model_of<'e>(root: &Path, source: Option<&'e Path>) -> Option<(&'e Path, Metadata)> {
    let source = source?;
    let data = fs_err::symlink_metadata(root.join(source)).ok()?;
    data.is_dir().then_some((source, data))
}

/// Returns the owner of a file of a tree in the tier `single`: by the note on the file, else by the owners that
/// are kept beside the layers.
pub(super) fn owner(known: &KnownOwners, root: &Path, path: &Path) -> (u32, u32) {
    told_owner(&root.join(path)).unwrap_or_else(|| {
        let name = path.as_os_str().as_encoded_bytes();
        EntryPath::parse(name).map_or((0, 0), |path| known.of(&path))
    })
}

fn told_owner(path: &Path) -> Option<(u32, u32)> {
    match OwnerNote::read(path).ok()?? {
        OwnerNote { user: NotedId::Is(user), group: NotedId::Is(group) } => Some((user, group)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folders_that_are_copied_with_a_source_count() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().join("a/b");
        fs_err::create_dir_all(&above).unwrap();
        fs_err::write(above.join("file"), "x").unwrap();
        let digest = |source: &str, parents: bool| {
            let files = ContextFiles::of_tree(folder.path());
            let choice = choice(&[], parents).unwrap();
            choose_with_digest(&files, source, &choice, &TreeOwners::Disk).unwrap().1
        };
        let mut cases = Vec::new();
        for (source, parents, counts) in [
            ("a/b/file", true, true),
            ("a/./b/file", true, true),
            ("**/file", true, true),
            ("a/b/./file", true, false),
            ("a/b/file", false, false),
        ] {
            cases.push((source, parents, counts, digest(source, parents)));
        }
        fs_err::set_permissions(&above, std::fs::Permissions::from_mode(0o700)).unwrap();
        for (source, parents, counts, before) in cases {
            assert_eq!(digest(source, parents) != before, counts, "{source} {parents}");
        }
    }
}
