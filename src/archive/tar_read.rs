//! Reads tar as it comes from outside: v7, ustar, GNU (long names, sparse files) and POSIX.
//!
//! The `tar` crate decodes the headers' fields. The crate's iterator is not used, because of three
//! faults: extended headers of any length are read into memory, records are split at newlines that
//! may be part of a value, and a missing end mark is not reported.
//!
//! Archives that two readers understand differently are refused: a single block of zeros with entries behind
//! it, at which only some readers stop; names in two forms that differ.

use std::borrow::Cow;
use std::io::{self, BufReader, Read};

use tar::{EntryType, Header};

use super::error::ReadError;
use super::limits::{ArchiveLimits, EntryCount, MeteredReader};
use super::path::NameProblem;
use super::pax::{ExtendedAttribute, Pax, terminated};
use super::tar_block::{BLOCK, is_header};
use super::tar_content::TarContent;

/// Upper limit of an extended header: room for a name, and for some attributes of at most 64 KiB each.
const LARGEST_EXTENSION: u64 = 1 << 20;

const LONE_BLOCK: &str = "a block of zeros with something else behind it, where an archive ends for some programs, and goes on for others";

/// Type of a folder in an archive of `tar --listed-incremental`.
const DUMP_FOLDER: u8 = b'D';

const NO_NUMBER: &str = "a field of the header is not a number";

/// Unchecked entry of an archive.
#[derive(Debug)]
pub(crate) struct TarMember {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: MemberKind,
    /// The target, of links.
    pub(crate) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: i64,
    /// Size of the content, including holes; 0 for all types but files.
    pub(super) size: u64,
    /// True for a non-file whose header gives a size, which readers interpret differently.
    pub(super) claims_content: bool,
    pub(super) attributes: Vec<ExtendedAttribute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    HardLink,
    Symlink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl MemberKind {
    /// Type for messages, with its article.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::HardLink => "a hard link",
            Self::Symlink => "a symlink",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Directory => "a folder",
            Self::Fifo => "a FIFO",
        }
    }
}

/// End of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchiveEnd {
    /// True if a block of zeros followed the last entry.
    pub(super) marked: bool,
    /// True if other bytes than zeros followed.
    pub(super) trailing: bool,
}

/// Iterates over the entries of a tar stream; as a reader, returns the content of the current one.
#[derive(Debug)]
pub(crate) struct TarReader<R> {
    input: BufReader<MeteredReader<R>>,
    pub(super) limits: ArchiveLimits,
    offset: u64,
    count: EntryCount,
    pub(super) hole_bytes: u64,
    pub(super) content: TarContent,
    marked: bool,
    /// Headers of the current entry, with the contents of extended ones.
    header: Vec<u8>,
    /// Attributes of global headers.
    global: Pax,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R, limits: &ArchiveLimits) -> Self {
        Self {
            input: BufReader::with_capacity(256 * 1024, MeteredReader::new(input, limits)),
            limits: *limits,
            offset: 0,
            count: EntryCount::default(),
            hole_bytes: 0,
            content: TarContent::default(),
            marked: false,
            header: Vec::new(),
            global: Pax::default(),
        }
    }

    /// Reads the next entry, after skipping the unread rest of the previous one; `None` at the end.
    pub(crate) fn next_member(&mut self) -> Result<Option<TarMember>, ReadError> {
        self.skip_content()?;
        self.header.clear();
        let mut long_name = None;
        let mut long_link = None;
        let mut pax: Option<Pax> = None;
        while let Some(header) = self.header()? {
            let twice = "two extended headers of one kind for one entry";
            match header.entry_type() {
                EntryType::GNULongName => {
                    let name = self.extension(&header)?;
                    // Two readers need not take the same one.
                    self.put(&mut long_name, name, twice)?;
                }
                EntryType::GNULongLink => {
                    let link = self.extension(&header)?;
                    self.put(&mut long_link, link, twice)?;
                }
                EntryType::XHeader => {
                    let parsed = Pax::parse(&self.extension(&header)?);
                    let parsed = parsed.ok_or_else(|| self.damaged("malformed extended header"))?;
                    self.put(&mut pax, parsed, twice)?;
                }
                EntryType::XGlobalHeader => {
                    let parsed = Pax::parse(&self.extension(&header)?);
                    let parsed = parsed.ok_or_else(|| self.damaged("malformed global header"))?;
                    // POSIX allows them, though every file would have the same name.
                    if parsed.is_for_one_entry() {
                        return Err(self.damaged("a name or size for all entries together"));
                    }
                    self.global.override_with(&parsed);
                }
                // The label of a GNU archive.
                kind if kind.as_byte() == b'V' => {}
                _ => return self.member(&header, long_name, long_link, pax).map(Some),
            }
        }
        if long_name.is_some() || long_link.is_some() || pax.is_some() {
            return Err(self.damaged("an extended header without its entry"));
        }
        Ok(None)
    }

    /// Reads the rest of the stream behind the last entry, so that the stream's checksums are
    /// verified.
    pub(crate) fn finish(mut self) -> Result<ArchiveEnd, ReadError> {
        let mut trailing = false;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => return Ok(ArchiveEnd { marked: self.marked, trailing }),
                Ok(count) => trailing |= buffer[..count].iter().any(|byte| *byte != 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::stream(error)),
            }
        }
    }

    /// Returns an error at the current offset.
    pub(super) fn damaged(&self, problem: &'static str) -> ReadError {
        ReadError::Damaged { offset: self.offset, problem }
    }

    fn put<T>(&self, slot: &mut Option<T>, value: T, twice: &'static str) -> Result<(), ReadError> {
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(self.damaged(twice)),
        }
    }

    /// Fills the buffer; `false` if the stream ends right before it.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, ReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(ReadError::Stream(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::stream(error)),
            }
        }
        self.offset += filled as u64;
        Ok(true)
    }

    fn header(&mut self) -> Result<Option<Header>, ReadError> {
        if self.marked {
            return Ok(None);
        }
        let mut header = Header::new_old();
        if !self.fill(header.as_mut_bytes())? {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            // Two such blocks end an archive; some writers write only one, and nothing behind it.
            let mut second = [0; BLOCK];
            if self.fill(&mut second)? && second.iter().any(|byte| *byte != 0) {
                return Err(self.damaged(LONE_BLOCK));
            }
            self.marked = true;
            return Ok(None);
        }
        if !is_header(header.as_bytes()) {
            let first = self.offset == BLOCK as u64;
            return Err(self.damaged(if first {
                "it doesn't begin with a header, so it is not a tar archive"
            } else {
                "there should be a header here, but its sum is wrong"
            }));
        }
        self.header.extend_from_slice(header.as_bytes());
        Ok(Some(header))
    }

    /// Bytes of the current entry's headers, with the contents of extended ones.
    pub(super) fn last_header(&self) -> &[u8] {
        &self.header
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, ReadError> {
        let size = header.entry_size().ok().filter(|size| *size <= LARGEST_EXTENSION);
        let size = size.ok_or_else(|| self.damaged("an extended header of more than 1 MiB"))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut content = vec![0; size.next_multiple_of(BLOCK)];
        if size > 0 && !self.fill(&mut content)? {
            return Err(ReadError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        self.header.extend_from_slice(&content);
        content.truncate(size);
        Ok(content)
    }

    fn member(
        &mut self,
        header: &Header,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        pax: Option<Pax>,
    ) -> Result<TarMember, ReadError> {
        let pax = pax.unwrap_or_default();
        let sparse_name = pax.sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let pax_name = sparse_name.or(pax.path);
        let name = self.name(long_name, pax_name, header.path_bytes().into_owned())?;
        let short_link = header.link_name_bytes().map_or_else(Vec::new, Cow::into_owned);
        let link = self.name(long_link, pax.link, short_link)?;
        let kind = self.kind(header, &name)?;
        let old = header.as_old();
        let [mode, uid, gid, mtime] = [
            optional(&old.mode, header.mode().map(u64::from)),
            pax.uid.over(self.global.uid).value().or_else(|| optional(&old.uid, header.uid())),
            pax.gid.over(self.global.gid).value().or_else(|| optional(&old.gid, header.gid())),
            pax.mtime
                .over(self.global.mtime)
                .value()
                .map(i64::cast_unsigned)
                .or_else(|| optional(&old.mtime, header.mtime())),
        ]
        .map(|field| field.ok_or_else(|| self.damaged(NO_NUMBER)));
        let mut member = TarMember {
            kind,
            link,
            mode: u32::try_from(mode? & 0o7777).unwrap_or_default(),
            uid: uid?,
            gid: gid?,
            mtime: mtime?.cast_signed(),
            size: 0,
            claims_content: kind != MemberKind::File && header.entry_size().unwrap_or(1) > 0,
            attributes: pax.attributes,
            name,
        };
        let name_bytes = member.name.len() + member.link.len();
        self.count.add(name_bytes, &self.limits).map_err(ReadError::Limit)?;
        // Only files have content, whatever size another kind claims: what GNU tar, Python and Go
        // agree on for links, and where they don't, the next header's sum is wrong.
        if kind == MemberKind::File {
            let size = pax.size.or_else(|| header.entry_size().ok());
            let size = size.ok_or_else(|| self.damaged(NO_NUMBER))?;
            self.start_content(header, size, pax.sparse)?;
            member.size = self.content.size();
        } else if header.entry_type().as_byte() == DUMP_FOLDER {
            // The folder's list of names at the time of the dump, which is not needed.
            let size = pax.size.or_else(|| header.entry_size().ok());
            let size = size.ok_or_else(|| self.damaged(NO_NUMBER))?;
            self.start_content(header, size, None)?;
        }
        Ok(member)
    }

    fn name(
        &self,
        long: Option<Vec<u8>>,
        pax: Option<Vec<u8>>,
        short: Vec<u8>,
    ) -> Result<Vec<u8>, ReadError> {
        match (long, pax) {
            (Some(long), Some(pax)) => match terminated(long) {
                Ok(name) if name == pax => Ok(name),
                _ => Err(self.damaged("a long name in two forms, which differ")),
            },
            (Some(name), None) => {
                terminated(name).map_err(|problem| ReadError::name(&short, problem))
            }
            (None, Some(name)) if name.contains(&0) => {
                Err(ReadError::name(&name, NameProblem::Nul))
            }
            (None, Some(name)) => Ok(name),
            (None, None) => Ok(short),
        }
    }

    fn kind(&self, header: &Header, name: &[u8]) -> Result<MemberKind, ReadError> {
        Ok(match header.entry_type() {
            // Version 7 had no type for folders.
            EntryType::Regular if name.ends_with(b"/") => MemberKind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::File,
            EntryType::Link => MemberKind::HardLink,
            EntryType::Symlink => MemberKind::Symlink,
            EntryType::Char => MemberKind::CharacterDevice,
            EntryType::Block => MemberKind::BlockDevice,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Fifo => MemberKind::Fifo,
            kind if kind.as_byte() == DUMP_FOLDER => MemberKind::Directory,
            _ => return Err(self.damaged("an entry of a kind that isn't known")),
        })
    }

    fn skip_content(&mut self) -> Result<(), ReadError> {
        let left = std::mem::take(&mut self.content).left();
        let count = io::copy(&mut (&mut self.input).take(left), &mut io::sink())
            .map_err(ReadError::stream)?;
        self.offset += count;
        if count < left {
            return Err(ReadError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.content.left();
        let count = self.content.read(&mut self.input, buffer)?;
        self.offset += before - self.content.left();
        Ok(count)
    }
}

/// Returns the value of a numeric field; 0 for an empty one, as old writers left it.
fn optional(field: &[u8], value: io::Result<u64>) -> Option<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Some(0) } else { value.ok() }
}
