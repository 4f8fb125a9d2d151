//! Walks over a tar archive that nobody vouches for, without ever unpacking it: names are texts to
//! compare with, contents are streams.
//!
//! The `tar` crate reads long names and PAX records into memory whatever their size, so the walk
//! over the blocks is done here; fields, checksums and records are read by the crate.

use std::io::{self, Read};

use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Long names and PAX records beyond this many bytes are refused: they are read into memory.
const LONGEST_RECORD: u64 = 1024 * 1024;
/// No file system has files beyond this many bytes.
const LARGEST_ENTRY: u64 = 1 << 62;

/// Why an archive can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Reading or decompressing failed, or the archive ends too early.
    #[error("it can't be read to its end: {0}")]
    Read(io::Error),
    /// What should be a header is none.
    #[error("it is no tar archive, or a damaged one: no header at byte {offset} of the tar")]
    Header {
        /// Where the header should be, uncompressed.
        offset: u64,
    },
    /// A name or record is too long to be meant.
    #[error("a name or record of {bytes} bytes at byte {offset} of the tar is too long")]
    Record {
        /// Its size.
        bytes: u64,
        /// Where it is, uncompressed.
        offset: u64,
    },
    /// An entry of a kind that images don't have.
    #[error("{name:?} is a sparse entry, which is not supported")]
    Sparse {
        /// The entry's name.
        name: String,
    },
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file; its content is what [`Walk`] reads until the next entry.
    File { name: String },
    /// A symbolic link.
    Symlink { name: String, target: String },
    /// A hard link, to a name from the archive's root.
    Link { name: String, target: String },
}

/// A walk over the entries. Reading from it gives the content of the entry it stands at.
pub(super) struct Walk<R> {
    input: R,
    offset: u64,
    left: u64,
    padding: u64,
}

/// What records said of the entry that follows them.
#[derive(Default)]
struct Pending {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Walk<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, offset: 0, left: 0, padding: 0 }
    }

    /// Goes to the next entry; `None` at the end, when the input has been read to its own end, so
    /// that a compressed stream's checksum was checked and a pipe's writer is done.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut pending = Pending::default();
        loop {
            let rest = self.left + self.padding;
            self.left = rest;
            self.padding = 0;
            let skipped = io::copy(self, &mut io::sink()).map_err(TarError::Read)?;
            debug_assert_eq!(skipped, rest, "reading less is an error");
            let Some(header) = self.header()? else {
                io::copy(&mut self.input, &mut io::sink()).map_err(TarError::Read)?;
                return Ok(None);
            };
            let at = self.offset - BLOCK as u64;
            let own = header.entry_size().map_err(|_error| TarError::Header { offset: at })?;
            let kind = header.entry_type();
            let record = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            self.left = if record { own } else { pending.size.unwrap_or(own) };
            if self.left > LARGEST_ENTRY {
                return Err(TarError::Header { offset: at });
            }
            self.padding = self.left.next_multiple_of(BLOCK as u64) - self.left;
            if record {
                self.read_record(kind, at, &mut pending)?;
            } else if let Some(entry) = entry(&header, std::mem::take(&mut pending))? {
                return Ok(Some(entry));
            }
        }
    }

    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                // An archive without its end marker is whole if it ends between two entries.
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        let offset = self.offset;
        self.offset += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let plain = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let blank = 8 * u32::from(b' ');
        let sum = plain(&block[..148]) + blank + plain(&block[156..]);
        match header.cksum() {
            Ok(stored) if stored == sum => Ok(Some(header)),
            _ => Err(TarError::Header { offset }),
        }
    }

    fn read_record(
        &mut self,
        kind: EntryType,
        offset: u64,
        pending: &mut Pending,
    ) -> Result<(), TarError> {
        if self.left > LONGEST_RECORD {
            return Err(TarError::Record { bytes: self.left, offset });
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(TarError::Read)?;
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            while bytes.last() == Some(&0) {
                bytes.pop();
            }
            let slot = if kind.is_gnu_longname() { &mut pending.name } else { &mut pending.target };
            *slot = Some(bytes);
            return Ok(());
        }
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        for extension in tar::PaxExtensions::new(&bytes) {
            let extension = extension.map_err(|_error| TarError::Header { offset })?;
            let value = extension.value_bytes().to_owned();
            match extension.key_bytes() {
                b"path" => pending.name = Some(value),
                b"linkpath" => pending.target = Some(value),
                b"size" => {
                    let size = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                    pending.size = Some(size.ok_or(TarError::Header { offset })?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Walk<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.offset += count as u64;
        Ok(count)
    }
}

/// What a header stands for; `None` for folders, devices and whatever else images don't consist of.
fn entry(header: &Header, pending: Pending) -> Result<Option<Entry>, TarError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = text(&pending.name.unwrap_or_else(|| header.path_bytes().into_owned()));
    let target = pending
        .target
        .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
        .map(|bytes| text(&bytes))
        .unwrap_or_default();
    Ok(match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => Some(Entry::File { name }),
        EntryType::Symlink => Some(Entry::Symlink { name, target }),
        EntryType::Link => Some(Entry::Link { name, target }),
        EntryType::GNUSparse => return Err(TarError::Sparse { name }),
        _ => None,
    })
}

/// A name as it is compared with others: without `.` and with `..` resolved by text; `None` for
/// one that is absolute or leaves the archive. `from` is the folder that a link stands in.
pub(super) fn normalize(from: &str, name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
