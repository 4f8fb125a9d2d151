//! Output of a source archive into a folder: all files belong to the caller, and have a single
//! name.

use std::io::Read;

use super::destination::{EntryMetadata, UnpackFolder};
use super::error::UnpackError;
use super::limits::ArchiveLimits;
use super::names::{SeenEntry, SeenPaths};
use super::path::EntryPath;
use super::unpack::UnpackSummary;

/// Permissions that are kept: an owner's rights without the owner make no sense.
const KEPT: u32 = 0o777;

/// Writes the entries of a source archive, and counts them.
pub(super) struct SourceWriter {
    destination: UnpackFolder,
    names: SeenPaths,
    summary: UnpackSummary,
}

impl SourceWriter {
    pub(super) fn new(destination: UnpackFolder, limits: &ArchiveLimits) -> Self {
        Self { destination, names: SeenPaths::new(limits), summary: UnpackSummary::default() }
    }

    pub(super) fn directory(
        &mut self,
        path: &EntryPath,
        mode: u32,
        mtime: i64,
    ) -> Result<(), UnpackError> {
        self.add(path, SeenEntry::Directory)?;
        self.destination.directory(path, &plain(mode, mtime))
    }

    pub(super) fn file(
        &mut self,
        path: &EntryPath,
        mode: u32,
        mtime: i64,
        size: u64,
        content: impl Read,
    ) -> Result<(), UnpackError> {
        if self.names.get(path) == Some(SeenEntry::File) {
            return self.destination.repeated_file(path, size, content, &plain(mode, mtime));
        }
        self.add(path, SeenEntry::File)?;
        self.summary.file_bytes += size;
        self.destination.file(path, size, content, &plain(mode, mtime))
    }

    pub(super) fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        mtime: i64,
    ) -> Result<(), UnpackError> {
        if self.names.get(path) == Some(SeenEntry::Other)
            && self.destination.has_symlink(path, target)?
        {
            return Ok(());
        }
        self.add(path, SeenEntry::Other)?;
        self.destination.symlink(path, target, &plain(0o777, mtime))
    }

    pub(super) fn hard_link(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
        mtime: i64,
    ) -> Result<(), UnpackError> {
        // GNU tar writes one where it has a file twice in its arguments.
        let is_there = matches!(self.names.get(path), Some(SeenEntry::File | SeenEntry::Other));
        if is_there && self.destination.is_one_file(path, target) {
            return Ok(());
        }
        self.add(path, SeenEntry::Other)?;
        self.destination.hard_link(path, target, &plain(0, mtime))
    }

    pub(super) fn fifo(
        &mut self,
        path: &EntryPath,
        mode: u32,
        mtime: i64,
    ) -> Result<(), UnpackError> {
        self.add(path, SeenEntry::Other)?;
        self.destination.fifo(path, &plain(mode, mtime))
    }

    fn add(&mut self, path: &EntryPath, what: SeenEntry) -> Result<(), UnpackError> {
        // GNU tar itself writes a folder twice where two of its arguments overlap.
        self.names.add(path, what, true).map_err(|conflict| conflict.of(path))?;
        self.summary.entries += 1;
        Ok(())
    }

    /// Says when the top folder was changed; the first one to say so counts.
    pub(super) fn root(&mut self, mtime: i64) -> Result<(), UnpackError> {
        let root = EntryPath::root();
        if self.names.get(&root).is_none() {
            self.destination.directory(&root, &plain(0o755, mtime))?;
            self.names
                .add(&root, SeenEntry::Directory, true)
                .map_err(|conflict| conflict.of(&root))?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<UnpackSummary, UnpackError> {
        self.root(0)?;
        self.summary.attributes_lost = self.destination.attributes_lost;
        self.destination.finish()?;
        Ok(self.summary)
    }
}

fn plain(mode: u32, mtime: i64) -> EntryMetadata<'static> {
    EntryMetadata { mode: mode & KEPT, mtime, owner: None, attributes: &[] }
}
