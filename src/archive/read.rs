//! Checked entries of a package; nothing is written.
//!
//! Entries are named `./…` and are folders, files, symlinks, FIFOs and hard links to earlier files;
//! paths are unique, and only folders have entries below. [`PackageReader::next_entry`] reports the
//! end only after reading the stream to its end and verifying its checksums.

use std::io::{self, Read};

use super::attributes::Attributes;
use super::compression::{Compression, read_start, resumed};
use super::error::ReadError;
use super::limits::ArchiveLimits;
use super::names::{Conflict, SeenEntry, SeenPaths};
use super::package_entry::{EntryKind, HeaderWriter, PackageEntry};
use super::path::{EntryPath, NameProblem};
use super::pax::{CAPABILITY, can_be_capability};
use super::tar_read::{MemberKind, TarMember, TarReader};

/// Gives a package's entries one after another, and is the reader of the current file's content.
#[derive(Debug)]
pub struct PackageReader<'r> {
    /// `None` after the end.
    tar: Option<TarReader<Decompressed<'r>>>,
    names: SeenPaths,
}

impl<'r> PackageReader<'r> {
    /// Opens a tar with any compression, detected by content.
    pub fn new(package: impl Read + 'r, limits: &ArchiveLimits) -> Result<Self, ReadError> {
        let mut package = package;
        let start = read_start(&mut package).map_err(ReadError::Stream)?;
        // Without a compression an empty stream would be read as a tar that has lost its end.
        if start.is_empty() {
            return Err(ReadError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        let compression = Compression::of(&start);
        let tar = compression
            .reader_with(resumed(start, package), limits.max_threads)
            .map_err(ReadError::Stream)?;
        let tar = TarReader::new(Decompressed(tar), limits);
        Ok(Self { tar: Some(tar), names: SeenPaths::new(limits) })
    }

    /// Returns the next entry, after skipping the unread rest of the previous one; `None` at the
    /// end of the stream.
    pub fn next_entry(&mut self) -> Result<Option<PackageEntry>, ReadError> {
        let Some(tar) = &mut self.tar else { return Ok(None) };
        if let Some(member) = tar.next_member()? {
            return self.checked(member).map(Some);
        }
        let damaged = tar.damaged("the archive has no end mark, or something after it");
        let end = self.tar.take().map(TarReader::finish).transpose()?;
        if self.names.get(&EntryPath::root()).is_none() {
            return Err(ReadError::Damaged { offset: 0, problem: "there is no root entry ./" });
        }
        match end {
            Some(end) if end.marked && !end.trailing => Ok(None),
            _ => Err(damaged),
        }
    }

    /// Bytes of the last entry's header, with the extensions before it.
    fn header(&self) -> &[u8] {
        self.tar.as_ref().map_or(&[], TarReader::last_header)
    }

    fn checked(&mut self, member: TarMember) -> Result<PackageEntry, ReadError> {
        let path = package_path(&member.name)?;
        // What stands behind it is content for one reader, and an entry for another.
        if member.claims_content {
            return Err(ReadError::Kind { path, kind: "no file, but claims to have content" });
        }
        let seen = match member.kind {
            MemberKind::Directory => SeenEntry::Directory,
            MemberKind::File => SeenEntry::File,
            _ => SeenEntry::Other,
        };
        if path.is_root() && seen != SeenEntry::Directory {
            return Err(ReadError::Kind { path, kind: member.kind.name() });
        }
        self.names.add(&path, seen, false).map_err(|conflict| conflict.of(&path))?;
        let kind = match member.kind {
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::File => EntryKind::File { size: member.size },
            MemberKind::Fifo => EntryKind::Fifo,
            MemberKind::Symlink => EntryKind::Symlink { target: symlink_target(member.link)? },
            MemberKind::HardLink => {
                let target = package_path(&member.link)?;
                if self.names.get(&target) != Some(SeenEntry::File) {
                    let problem = "isn't a file that came before it";
                    return Err(ReadError::HardLink { path, target, problem });
                }
                EntryKind::HardLink { target }
            }
            MemberKind::CharacterDevice | MemberKind::BlockDevice => {
                return Err(ReadError::Kind { path, kind: member.kind.name() });
            }
        };
        let capability = match member.kind {
            MemberKind::File => {
                let mut attributes = member.attributes.into_iter();
                attributes.rfind(|(name, _)| name == CAPABILITY).map(|(_, value)| value)
            }
            _ => None,
        };
        if !capability.as_deref().is_none_or(can_be_capability) {
            return Err(ReadError::Kind {
                path,
                kind: "a file with capabilities that are not valid",
            });
        }
        let attributes = Attributes { mode: member.mode, mtime: member.mtime, capability };
        Ok(PackageEntry { path, kind, attributes })
    }
}

/// A decompressed stream.
struct Decompressed<'r>(Box<dyn Read + 'r>);

impl std::fmt::Debug for Decompressed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressed").finish_non_exhaustive()
    }
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Read for PackageReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.as_mut().map_or(Ok(0), |tar| tar.read(buffer))
    }
}

impl Conflict {
    /// Converts a conflict at a path into an error.
    pub(super) fn of(self, path: &EntryPath) -> ReadError {
        let path = path.clone();
        match self {
            Self::Duplicate => ReadError::Duplicate(path),
            Self::Below(above) => ReadError::Below { path, above },
            Self::Limit(limit) => ReadError::Limit(limit),
        }
    }
}

fn package_path(name: &[u8]) -> Result<EntryPath, ReadError> {
    let path = EntryPath::parse(name).map_err(|problem| ReadError::name(name, problem))?;
    if name != b"." && !name.starts_with(b"./") {
        return Err(ReadError::name(name, NameProblem::NotBelowDot));
    }
    Ok(path)
}

/// Checks a symlink's target: any bytes except NUL, and not empty.
pub(super) fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, ReadError> {
    match target.as_slice() {
        b"" => Err(ReadError::name(&target, NameProblem::Empty)),
        bytes if bytes.contains(&0) => Err(ReadError::name(&target, NameProblem::Nul)),
        _ => Ok(target),
    }
}

/// Contents of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageIndex {
    /// All entries, in the archive's order.
    pub entries: Vec<PackageEntry>,
    /// True if all headers are, byte for byte, as [`TarWriter`](super::TarWriter) writes them.
    pub is_canonical: bool,
    /// The content of `pkginfo.json`, if there is such a file.
    pub pkginfo: Option<Vec<u8>>,
    /// The content of `buildinfo.full.json`, if there is such a file.
    pub buildinfo: Option<Vec<u8>>,
}

/// Size limit for documents that [`verify_package`] reads into memory.
const LARGEST_DOCUMENT: u64 = 64 << 20;

/// Reads a package to its end with all checks, without writing.
pub fn verify_package(
    package: impl Read,
    limits: &ArchiveLimits,
) -> Result<PackageIndex, ReadError> {
    let mut reader = PackageReader::new(package, limits)?;
    let mut index =
        PackageIndex { entries: Vec::new(), is_canonical: true, pkginfo: None, buildinfo: None };
    let mut headers = HeaderWriter::new(EntryPath::root(), u64::MAX);
    while let Some(entry) = reader.next_entry()? {
        index.is_canonical &= headers.header(&entry) == reader.header();
        let document = match entry.path.as_bytes() {
            b"pkginfo.json" => Some(&mut index.pkginfo),
            b"buildinfo.full.json" => Some(&mut index.buildinfo),
            _ => None,
        };
        if let (Some(document), EntryKind::File { size }) = (document, &entry.kind) {
            if *size > LARGEST_DOCUMENT {
                let (path, limit) = (entry.path, LARGEST_DOCUMENT);
                return Err(ReadError::Document { path, size: *size, limit });
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).map_err(ReadError::stream)?;
            *document = Some(content);
        }
        index.entries.push(entry);
    }
    Ok(index)
}
