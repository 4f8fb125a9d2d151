//! Writes tar such that equal entries give equal bytes: GNU form, owner and group 0 without names,
//! times not later than one given time, nothing of the machine.
//!
//! The fields for the owners' names say `0`, the number as text: no name, but not empty either,
//! which the comparison with the original's recordings doesn't take. No system has a user called
//! `0`, so that all readers fall back to the number beside it (GNU tar, Python, busybox: tried).
//!
//! Names of 100 bytes and more go into GNU's extension, which keeps any bytes and which GNU tar,
//! Python and busybox read; only file capabilities need a POSIX extended header.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::attributes::Attributes;
use super::error::PackError;
use super::path::EntryPath;
use super::pax::{CAPABILITY, attribute_record};
use super::tar_block::BLOCK;

/// The length from which a name or a link's target goes into an extension.
const LONG: usize = 100;

const BUFFER: usize = 256 * 1024;

/// Summary of a packed archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackSummary {
    /// Number of entries, including the root.
    pub entries: u64,
    /// Size of the tar before compression, in bytes.
    pub uncompressed_bytes: u64,
}

/// Writes entries in the given order: for reproducible archives the byte order of their paths, with
/// folders before their contents.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    latest: i64,
    buffer: Vec<u8>,
    summary: PackSummary,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive whose entries are not younger than `source_date_epoch`, in seconds
    /// since 1970.
    pub fn new(out: W, source_date_epoch: u64) -> Self {
        let latest = i64::try_from(source_date_epoch).unwrap_or(i64::MAX);
        Self { out, latest, buffer: vec![0; BUFFER], summary: PackSummary::default() }
    }

    /// A folder; the root's path is that of the root entry `./`.
    pub fn directory(&mut self, path: &EntryPath, with: &Attributes) -> Result<(), PackError> {
        self.entry(EntryType::Directory, path, b"", 0, with)
    }

    /// A symlink to any bytes; its mode is always 0777.
    pub fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        with: &Attributes,
    ) -> Result<(), PackError> {
        let with = Attributes { mode: 0o777, ..with.clone() };
        self.entry(EntryType::Symlink, path, target, 0, &with)
    }

    /// A hard link to a file that was written before.
    pub fn hard_link(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
        with: &Attributes,
    ) -> Result<(), PackError> {
        let target = entry_name(EntryType::Link, target);
        // The file itself has it.
        let with = Attributes { capability: None, ..with.clone() };
        self.entry(EntryType::Link, path, &target, 0, &with)
    }

    /// A FIFO.
    pub fn fifo(&mut self, path: &EntryPath, with: &Attributes) -> Result<(), PackError> {
        self.entry(EntryType::Fifo, path, b"", 0, with)
    }

    /// Writes a file with the reader's content, which must be `size` bytes.
    pub fn file(
        &mut self,
        path: &EntryPath,
        size: u64,
        content: impl Read,
        with: &Attributes,
    ) -> Result<(), PackError> {
        self.file_header(path, size, with)?;
        self.content(path, size, content)
    }

    /// Writes the header of a file, whose content follows.
    pub(super) fn file_header(
        &mut self,
        path: &EntryPath,
        size: u64,
        with: &Attributes,
    ) -> Result<(), PackError> {
        self.entry(EntryType::Regular, path, b"", size, with)
    }

    /// Writes the content behind the header of a file.
    pub(super) fn content(
        &mut self,
        path: &EntryPath,
        size: u64,
        mut content: impl Read,
    ) -> Result<(), PackError> {
        let mut left = size;
        loop {
            // Up to the end, past `size`: a file that has grown would otherwise be cut off in
            // silence.
            let count = match content.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PackError::Input(error)),
            };
            let changed = || PackError::Changed { path: path.clone(), size };
            left = left.checked_sub(count as u64).ok_or_else(changed)?;
            if count == 0 {
                return if left == 0 { self.pad(size) } else { Err(changed()) };
            }
            self.out.write_all(&self.buffer[..count]).map_err(PackError::Output)?;
            self.summary.uncompressed_bytes += count as u64;
        }
    }

    /// Returns the inner writer. Between two entries, any change that keeps the archive valid is
    /// allowed.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Ends the archive; returns the inner writer.
    pub fn finish(mut self) -> Result<(W, PackSummary), PackError> {
        self.write(&[0; ARCHIVE_END])?;
        Ok((self.out, self.summary))
    }

    fn entry(
        &mut self,
        kind: EntryType,
        path: &EntryPath,
        link: &[u8],
        size: u64,
        with: &Attributes,
    ) -> Result<(), PackError> {
        let name = entry_name(kind, path);
        if name.len() >= LONG {
            self.extension(EntryType::GNULongName, b"././@LongLink", &[&name[..], b"\0"].concat())?;
        }
        if link.len() >= LONG {
            self.extension(EntryType::GNULongLink, b"././@LongLink", &[link, b"\0"].concat())?;
        }
        if let Some(value) = &with.capability {
            let record = attribute_record(CAPABILITY, value);
            self.extension(EntryType::XHeader, b"././@PaxHeader", &record)?;
        }
        // The classic field has no negative numbers.
        let mtime = with.mtime.clamp(0, self.latest).unsigned_abs();
        self.write(header(kind, &name, link, size, with.mode, mtime).as_bytes())?;
        self.summary.entries += 1;
        Ok(())
    }

    fn extension(&mut self, kind: EntryType, name: &[u8], data: &[u8]) -> Result<(), PackError> {
        let size = data.len() as u64;
        self.write(header(kind, name, b"", size, 0o644, 0).as_bytes())?;
        self.write(data)?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        let zeros = [0; BLOCK];
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.write(&zeros[..usize::try_from(padding).unwrap_or(0)])
    }

    fn write(&mut self, data: &[u8]) -> Result<(), PackError> {
        self.summary.uncompressed_bytes += data.len() as u64;
        self.out.write_all(data).map_err(PackError::Output)
    }
}

/// Number of bytes for an entry; the archive's end needs another 1024.
pub(super) fn entry_bytes(
    path: &EntryPath,
    is_directory: bool,
    link: usize,
    size: u64,
    capability: Option<&[u8]>,
) -> u64 {
    let extension = |length: usize| BLOCK as u64 + (length as u64).next_multiple_of(BLOCK as u64);
    let kind = if is_directory { EntryType::Directory } else { EntryType::Regular };
    let name = entry_name(kind, path).len();
    let mut bytes = extension(0) + size.next_multiple_of(BLOCK as u64);
    for length in [name, link] {
        if length >= LONG {
            bytes += extension(length + 1);
        }
    }
    bytes + capability.map_or(0, |value| extension(attribute_record(CAPABILITY, value).len()))
}

/// Number of bytes at an archive's end.
pub const ARCHIVE_END: usize = 2 * BLOCK;

pub(super) const END_BYTES: u64 = ARCHIVE_END as u64;

fn entry_name(kind: EntryType, path: &EntryPath) -> Vec<u8> {
    let slash: &[u8] = if kind == EntryType::Directory && !path.is_root() { b"/" } else { b"" };
    [b"./", path.as_bytes(), slash].concat()
}

fn header(kind: EntryType, name: &[u8], link: &[u8], size: u64, mode: u32, mtime: u64) -> Header {
    let mut header = bare_header(kind, name, link, size, mode, mtime);
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.uname[0] = b'0';
        gnu.gname[0] = b'0';
    }
    header.set_cksum();
    header
}

/// Makes a header without checksum, and without names of its owner, which is 0. Longer names are in
/// an extension before this header, which has their beginning.
pub(super) fn bare_header(
    kind: EntryType,
    name: &[u8],
    link: &[u8],
    size: u64,
    mode: u32,
    mtime: u64,
) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime);
    let old = header.as_old_mut();
    for (field, value) in [(&mut old.name, name), (&mut old.linkname, link)] {
        // One byte stays 0: not every reader takes a name that fills the field.
        let length = value.len().min(LONG - 1);
        field[..length].copy_from_slice(&value[..length]);
    }
    header
}
