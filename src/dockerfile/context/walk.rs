//! Walk over the entries of a selected folder.

use std::collections::VecDeque;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{ContextError, ContextFiles, FileChoice, Selected};
use crate::dockerfile::ignore::Matched;

/// A file, folder, symlink or anything else that is copied.
#[derive(Debug, Clone)]
pub struct ContextEntry {
    /// Path below the root.
    pub path: PathBuf,
    /// Path relative to the destination; empty for the folder whose content goes there.
    pub place: PathBuf,
    /// Kind.
    pub kind: ContextEntryKind,
    /// Metadata of the file.
    pub metadata: Metadata,
}

/// Type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextEntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink, with its target.
    Link(PathBuf),
    /// A pipe, a device or a socket.
    Other,
}

impl ContextEntry {
    /// The mode's twelve bits.
    pub fn mode(&self) -> u32 {
        self.metadata.mode() & 0o7777
    }
}

/// Entries of a selection, in the order of names, each folder before its contents.
#[derive(Debug)]
pub struct ContextEntries<'f> {
    files: &'f ContextFiles,
    selected: &'f Selected,
    choice: &'f FileChoice,
    walk: walkdir::IntoIter,
    /// Patterns that matched the current folders: those of the ignore file, and the excluding
    /// patterns.
    matched: Vec<(Matched, Matched)>,
    /// Folders that are emitted only if one of their entries is, by depth.
    held: VecDeque<(usize, ContextEntry)>,
    /// Held entries that are due now.
    ready: VecDeque<ContextEntry>,
}

impl<'f> ContextEntries<'f> {
    pub(super) fn new(
        files: &'f ContextFiles,
        selected: &'f Selected,
        choice: &'f FileChoice,
    ) -> Self {
        // The order of names, as that of a disk is anything, and the digest depends on it.
        let walk = WalkDir::new(files.root.join(&selected.path)).sort_by_file_name().into_iter();
        let (matched, held, ready) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { files, selected, choice, walk, matched, held, ready }
    }

    /// Examines the next entry; `None` if the entry is left out.
    fn look(&mut self, found: &walkdir::DirEntry) -> Result<Option<ContextEntry>, ContextError> {
        let depth = found.depth();
        let path = found.path().strip_prefix(&self.files.root).unwrap_or(found.path());
        let inside = found.path().strip_prefix(self.files.root.join(&self.selected.path));
        let inside = inside.unwrap_or(Path::new("")).to_owned();
        let place = if inside.as_os_str().is_empty() {
            self.selected.place.clone()
        } else {
            self.selected.place.join(&inside)
        };
        let folder = found.file_type().is_dir();
        self.matched.truncate(depth);
        while self.held.back().is_some_and(|(held, _)| *held >= depth) {
            self.held.pop_back();
        }
        let above = self.matched.last().cloned().unwrap_or_default();
        // The replacement for invalid UTF-8 in a name matters for few patterns.
        let name = path.to_string_lossy();
        let (ignored, ignoring) = if depth == 0 {
            above_of(&self.files.ignore, &name)
        } else {
            self.files.ignore.visit(&name, &above.0)
        };
        let own = place.to_string_lossy();
        let (excluded, excluding) = if own.is_empty() {
            (false, Matched::default())
        } else {
            self.choice.exclude.visit(&own, &above.1)
        };
        if (ignored || excluded) && !folder {
            return Ok(None);
        }
        if ignored || excluded {
            let may = (!ignored || self.files.ignore.may_keep_below(&name))
                && (!excluded || self.choice.exclude.may_keep_below(&own));
            if !may {
                // Folders such as `node_modules` are left out for the time that it takes to read
                // them.
                self.walk.skip_current_dir();
                return Ok(None);
            }
        }
        let entry = entry(found, path, place)?;
        if folder {
            self.matched.push((ignoring, excluding));
            if (ignored || excluded) && depth > 0 {
                self.held.push_back((depth, entry));
                return Ok(None);
            }
        }
        Ok(Some(entry))
    }
}

/// Matches the patterns against a selected path, whose parent folders were not walked.
fn above_of(patterns: &crate::dockerfile::ignore::Patterns, path: &str) -> (bool, Matched) {
    let mut matched = Matched::default();
    let mut out = false;
    if path.is_empty() {
        return (out, matched);
    }
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    for end in ends {
        (out, matched) = patterns.visit(&path[..end], &matched);
    }
    (out, matched)
}

fn entry(
    found: &walkdir::DirEntry,
    path: &Path,
    place: PathBuf,
) -> Result<ContextEntry, ContextError> {
    let look = |source| ContextError::Look { source };
    let metadata = found.metadata().map_err(|error| look(error.into()))?;
    let kind = found.file_type();
    let kind = if kind.is_file() {
        ContextEntryKind::File
    } else if kind.is_dir() {
        ContextEntryKind::Folder
    } else if kind.is_symlink() {
        ContextEntryKind::Link(fs_err::read_link(found.path()).map_err(look)?)
    } else {
        ContextEntryKind::Other
    };
    Ok(ContextEntry { path: path.to_owned(), place, kind, metadata })
}

impl Iterator for ContextEntries<'_> {
    type Item = Result<ContextEntry, ContextError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            let found = match self.walk.next()? {
                Ok(found) => found,
                Err(error) => return Some(Err(ContextError::Look { source: error.into() })),
            };
            match self.look(&found) {
                Err(error) => return Some(Err(error)),
                Ok(None) => {}
                Ok(Some(entry)) => {
                    // An entry that comes brings the folders that it is in.
                    self.ready.extend(self.held.drain(..).map(|(_, held)| held));
                    self.ready.push_back(entry);
                }
            }
        }
    }
}
