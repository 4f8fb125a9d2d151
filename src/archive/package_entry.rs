//! Entries of packages, and their headers in archives of ours.

use std::io::{Read, Write};

use super::attributes::Attributes;
use super::error::PackError;
use super::path::EntryPath;
use super::tar_block::BLOCK;
use super::tar_outline::TarOutline;
use super::tar_write::{TarWriter, entry_bytes};

/// Entry of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageEntry {
    /// Path.
    pub path: EntryPath,
    /// Kind.
    pub kind: EntryKind,
    /// Mode, time and capability.
    pub attributes: Attributes,
}

/// Type of an entry in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file.
    File {
        /// Size in bytes.
        size: u64,
    },
    /// A symlink, never followed.
    Symlink {
        /// Target, any bytes except NUL.
        target: Vec<u8>,
    },
    /// Another name of a file.
    HardLink {
        /// Path of an earlier file.
        target: EntryPath,
    },
    /// A FIFO.
    Fifo,
}

impl PackageEntry {
    /// Size of the content with the padding behind, in bytes.
    pub fn padded_size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size } => size.next_multiple_of(BLOCK as u64),
            _ => 0,
        }
    }

    /// Sizes in an archive of [`TarWriter`], with and without headers.
    fn tar_sizes(&self) -> (u64, u64) {
        let (is_directory, link, size) = match &self.kind {
            EntryKind::Directory => (true, 0, 0),
            EntryKind::File { size } => (false, 0, *size),
            EntryKind::HardLink { target } => (false, target.as_bytes().len() + 2, 0),
            EntryKind::Symlink { target } => (false, target.len(), 0),
            EntryKind::Fifo => (false, 0, 0),
        };
        let capability = self.attributes.capability.as_deref();
        (entry_bytes(&self.path, is_directory, link, size, capability), size)
    }
}

/// Outline of a package's tar as [`TarWriter`] writes it.
pub fn package_outline(entries: &[PackageEntry]) -> TarOutline {
    TarOutline::of(entries.iter().map(PackageEntry::tar_sizes))
}

impl<W: Write> TarWriter<W> {
    /// Writes an entry of a package whose root is a folder of the archive; of a file, `content` must
    /// have its content, and may have more.
    pub fn package_entry(
        &mut self,
        folder: &EntryPath,
        entry: &PackageEntry,
        content: impl Read,
    ) -> Result<(), PackError> {
        self.package_header(folder, entry)?;
        match entry.kind {
            EntryKind::File { size } => {
                self.content(&folder.join(&entry.path), size, content.take(size))
            }
            _ => Ok(()),
        }
    }

    /// Writes all of an entry but its content and the padding behind.
    fn package_header(
        &mut self,
        folder: &EntryPath,
        entry: &PackageEntry,
    ) -> Result<(), PackError> {
        let path = folder.join(&entry.path);
        let with = &entry.attributes;
        match &entry.kind {
            EntryKind::Directory => self.directory(&path, with),
            EntryKind::File { size } => self.file_header(&path, *size, with),
            EntryKind::Symlink { target } => self.symlink(&path, target, with),
            EntryKind::HardLink { target } => self.hard_link(&path, &folder.join(target), with),
            EntryKind::Fifo => self.fifo(&path, with),
        }
    }
}

/// Makes the headers of entries without their contents.
#[derive(Debug)]
pub struct HeaderWriter {
    tar: TarWriter<Vec<u8>>,
    folder: EntryPath,
}

impl HeaderWriter {
    /// Makes headers for a folder of an archive whose entries are not younger than
    /// `source_date_epoch`, in seconds since 1970.
    pub fn new(folder: EntryPath, source_date_epoch: u64) -> Self {
        Self { tar: TarWriter::new(Vec::new(), source_date_epoch), folder }
    }

    /// The header of an entry, with the extensions before it.
    pub fn header(&mut self, entry: &PackageEntry) -> Vec<u8> {
        let Self { tar, folder } = self;
        let written = tar.package_header(folder, entry);
        debug_assert!(written.is_ok(), "a vector takes everything");
        std::mem::take(tar.get_mut())
    }
}
