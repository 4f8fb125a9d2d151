//! A package's archive as this version packs it, whose blocks a bootstrap's are made of.
//!
//! Archives of other programs are packed anew, and so are those of versions of ours that used liblzma, so that
//! the bytes of a bootstrap are the same whichever of them packed the package.

use std::fs::File;
use std::io::{self, Seek, Write};

use super::error::BootstrapError;
use super::member::{BootstrapMember, are_whole};
use super::options::BootstrapOptions;
use super::parts::PartStore;
use crate::archive::{
    EntryPath, OwnBlock, PackError, PackageEntry, TarWriter, XzWriter, own_blocks, package_outline,
};

/// Archive of this version.
#[derive(Debug)]
pub(super) struct OwnArchive {
    pub(super) file: File,
    pub(super) blocks: Vec<OwnBlock>,
    /// Entries in the archive's order.
    pub(super) entries: Vec<PackageEntry>,
}

impl OwnArchive {
    /// Opens a package's archive if this version packed it, or else packs the package anew. `idle` is
    /// flushed meanwhile, so that it can report an interruption.
    pub(super) fn open(
        member: &BootstrapMember<'_>,
        idle: &mut impl Write,
        options: &BootstrapOptions<'_>,
        parts: PartStore<'_>,
    ) -> Result<Self, BootstrapError> {
        let summary = member.summary(options, parts)?;
        let mut file = member.open_file()?.into_parts().0;
        let entries = summary.index.entries;
        if summary.in_order && summary.index.is_canonical {
            let found = own_blocks(&mut file).map_err(|error| member.unread(error))?;
            if let Some(blocks) = found.filter(|blocks| are_whole(blocks, &entries)) {
                return Ok(Self { file, blocks, entries });
            }
        }
        let mut entries = member.sorted(entries);
        let latest = i64::try_from(options.source_date_epoch).unwrap_or(i64::MAX);
        for entry in &mut entries {
            entry.attributes.mtime = entry.attributes.mtime.clamp(0, latest);
        }
        let failed = |source| member.unkept(options, source);
        let file = tempfile::tempfile_in(options.scratch).map_err(failed)?;
        let out = Scratch { file, idle };
        let outline = package_outline(&entries);
        let xz = XzWriter::new(out, options.threads, Some(outline.bytes)).map_err(failed)?;
        let xz = xz.with_regions(outline.large);
        let mut tar = TarWriter::new(xz, options.source_date_epoch);
        member.write(&mut tar, &EntryPath::root(), options).map_err(|error| match error {
            BootstrapError::Write(PackError::Output(source)) => failed(source),
            error => error,
        })?;
        let (xz, _) = tar.finish().map_err(BootstrapError::Write)?;
        let Scratch { mut file, .. } = xz.finish().map_err(failed)?;
        let found = own_blocks(&mut file).map_err(failed)?;
        let blocks = found.filter(|blocks| are_whole(blocks, &entries)).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidData, "it was not packed as expected"))
        })?;
        file.rewind().map_err(failed)?;
        Ok(Self { file, blocks, entries })
    }
}

/// A file without a name, whose writer looks after something else, too.
struct Scratch<'a, W> {
    file: File,
    idle: &'a mut W,
}

impl<W: Write> Write for Scratch<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.idle.flush()
    }
}
