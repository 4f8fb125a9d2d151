//! A tar archive as a read-only store: a mirror in a single file.
//!
//! The headers are read once, for the first object, and give an index; contents are read in place.
//! So nothing is unpacked, a mirror of many gigabytes needs no more than its own room, and opening
//! a mirror costs a read for each member. A replaced file does not disturb a run that has opened
//! the old one.
//!
//! Members are plain files and folders, uncompressed, with or without a leading `./`. An archive with anything
//! else in it (a link, a device, a name that leads out, a name twice, a member that is cut short) is not used
//! at all, as its other members are not to be trusted either.
//!
//! The reader of the module `archive` is not used: it reads a stream from its start to its end and gives
//! contents, where this one needs the places of the members and seeks over what lies between them. Headers
//! that the reader there refuses are refused here too: a name or a size for all members together, two names
//! for one member, and a header without its member.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tar::{Archive, EntryType, PaxExtensions};

use super::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer,
};
use super::error::StoreError;
use super::key::ObjectKey;
use crate::base::atomic::naming_file;
use crate::base::regular::open_measured;

/// Number of bytes copied between two checks for an interruption.
const COPIED_AT_ONCE: usize = 256 << 10;
/// Upper limit of a member with an extension of the next one, in bytes.
const LONGEST_EXTENSION: u64 = 64 << 10;
/// Upper limit of the number of members.
const MOST_MEMBERS: usize = 4_000_000;

/// Store in a tar archive of this machine.
#[derive(Debug)]
pub struct TarBackend {
    path: PathBuf,
    index: OnceLock<Result<MemberIndex, ArchiveFault>>,
}

/// Cause for which an archive is not used.
#[derive(Debug, Clone)]
struct ArchiveFault {
    kind: io::ErrorKind,
    message: String,
}

impl From<io::Error> for ArchiveFault {
    fn from(error: io::Error) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

/// Places of the members.
#[derive(Debug)]
struct MemberIndex {
    file: File,
    members: BTreeMap<ObjectKey, MemberPlace>,
}

#[derive(Debug, Clone, Copy)]
struct MemberPlace {
    offset: u64,
    size: u64,
}

impl TarBackend {
    /// Creates a store in an archive, which is opened when the first object is asked for.
    pub fn new(path: PathBuf) -> Self {
        Self { path, index: OnceLock::new() }
    }

    fn index(&self, key: &dyn ToString) -> Result<&MemberIndex, StoreError> {
        let index = self.index.get_or_init(|| MemberIndex::read(&self.path));
        index.as_ref().map_err(|fault| {
            let error = io::Error::new(fault.kind, fault.message.clone());
            self.failed("read", key, error)
        })
    }

    fn member(&self, key: &ObjectKey) -> Result<(&File, MemberPlace), StoreError> {
        let index = self.index(key)?;
        let not_found = || StoreError::NotFound { store: self.name(), key: key.clone() };
        let member = index.members.get(key).ok_or_else(not_found)?;
        Ok((&index.file, *member))
    }

    fn failed(&self, operation: &'static str, key: &dyn ToString, error: io::Error) -> StoreError {
        StoreError::File { operation, key: key.to_string(), store: self.name(), error }
    }

    fn unsupported(&self, operation: &'static str) -> StoreError {
        let reason = "a tar archive is written as a whole";
        StoreError::Unsupported { store: self.name(), operation, reason }
    }

    /// Copies a part of an uncompressed member.
    fn copy(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
        kept: &dyn Fn(io::Error) -> StoreError,
    ) -> Result<u64, StoreError> {
        let (file, member) = self.member(key)?;
        let (mut at, end) = (range.start.min(member.size), range.end.min(member.size));
        let count = end.saturating_sub(at);
        let mut buffer = vec![0; COPIED_AT_ONCE];
        while at < end {
            if transfer.observer.is_interrupted() {
                return Err(StoreError::Interrupted);
            }
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let part = &mut buffer[..wanted];
            // By its offset: threads share the file, and its position.
            file.read_exact_at(part, member.offset + at)
                .map_err(|error| self.failed("read", key, error))?;
            to.write_all(part).map_err(kept)?;
            at += wanted as u64;
        }
        Ok(count)
    }
}

impl MemberIndex {
    fn read(path: &Path) -> Result<Self, ArchiveFault> {
        let (file, length) = open_measured(path)?;
        let file = file.into_file();
        let mut archive = Archive::new(&file);
        let mut members = BTreeMap::new();
        let mut next = Extension::default();
        let refuse = |what: &str, problem: &str| ArchiveFault {
            kind: io::ErrorKind::InvalidData,
            message: format!("the archive is not used: {what} {problem}"),
        };
        // Raw: the crate would read long names into memory without a limit, and hide their headers.
        for (number, entry) in archive.entries_with_seek()?.raw(true).enumerate() {
            if number >= MOST_MEMBERS {
                return Err(refuse("it", "has too many members"));
            }
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            let size = entry.header().entry_size()?;
            if matches!(
                kind,
                EntryType::GNULongName | EntryType::XHeader | EntryType::XGlobalHeader
            ) {
                let mut bytes = Vec::new();
                entry.by_ref().take(LONGEST_EXTENSION + 1).read_to_end(&mut bytes)?;
                if size > LONGEST_EXTENSION || bytes.len() as u64 != size {
                    return Err(refuse("a header of it", "is too long or cut short"));
                }
                if let Some(problem) = next.take(kind, &bytes)? {
                    return Err(refuse("a header of it", problem));
                }
                continue;
            }
            let said = std::mem::take(&mut next);
            let name = said.name.unwrap_or_else(|| entry.header().path_bytes().into_owned());
            let shown = String::from_utf8_lossy(&name).escape_debug().to_string();
            let plain = name.strip_prefix(b"./").unwrap_or(&name);
            let plain = plain.strip_suffix(b"/").unwrap_or(plain);
            let key = || {
                let text = std::str::from_utf8(plain).ok()?;
                text.parse::<ObjectKey>().ok()
            };
            match kind {
                EntryType::Directory if plain.is_empty() || plain == b"." || key().is_some() => {}
                EntryType::Regular | EntryType::Continuous => {
                    let key = key().ok_or_else(|| refuse(&shown, "is not a name of a mirror"))?;
                    // Two readers would find the next member in different places.
                    if said.size.is_some_and(|said| said != size) {
                        return Err(refuse(&shown, "has two sizes"));
                    }
                    let offset = entry.raw_file_position();
                    if offset.checked_add(size).is_none_or(|end| end > length) {
                        return Err(refuse(&shown, "is cut short"));
                    }
                    if members.insert(key, MemberPlace { offset, size }).is_some() {
                        return Err(refuse(&shown, "is in it twice"));
                    }
                }
                EntryType::Directory => {
                    return Err(refuse(&shown, "is not a name of a mirror"));
                }
                _ => return Err(refuse(&shown, "is neither a file nor a folder")),
            }
        }
        if next.is_there {
            return Err(refuse("a header of it", "belongs to no member"));
        }
        Ok(Self { file, members })
    }
}

/// Sayings of the headers before a member.
#[derive(Debug, Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// True if there is a header.
    is_there: bool,
}

impl Extension {
    /// Takes what a header says; returns why it is refused, if it is.
    fn take(&mut self, kind: EntryType, bytes: &[u8]) -> io::Result<Option<&'static str>> {
        if kind == EntryType::GNULongName {
            self.is_there = true;
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            return Ok(self.name(&bytes[..end]));
        }
        let is_for_all = kind == EntryType::XGlobalHeader;
        self.is_there |= !is_for_all;
        for extension in PaxExtensions::new(bytes) {
            let extension = extension?;
            let key = extension.key_bytes();
            let is_sparse = key.starts_with(b"GNU.sparse.");
            if is_for_all && (is_sparse || matches!(key, b"path" | b"linkpath" | b"size")) {
                return Ok(Some("has a name or a size for all members"));
            }
            match key {
                b"path" => {
                    if let Some(problem) = self.name(extension.value_bytes()) {
                        return Ok(Some(problem));
                    }
                }
                // Where the real size is elsewhere, the content is not what it seems.
                b"size" => {
                    let size = extension.value().ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.unwrap_or(u64::MAX));
                }
                _ if is_sparse => self.size = Some(u64::MAX),
                _ => {}
            }
        }
        Ok(None)
    }

    fn name(&mut self, name: &[u8]) -> Option<&'static str> {
        let before = self.name.replace(name.to_vec());
        let is_other = before.is_some_and(|before| before != name);
        is_other.then_some("gives its member two names")
    }
}

impl Backend for TarBackend {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn is_local(&self) -> bool {
        true
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        let (_, member) = self.member(key)?;
        if member.size > longest {
            return Err(StoreError::TooLarge { store: self.name(), key: key.clone(), longest });
        }
        let shown = to.try_clone();
        let kept = |error: io::Error| {
            let error = match &shown {
                Ok(file) => naming_file(file, error),
                Err(_) => error,
            };
            StoreError::Destination { key: key.clone(), error }
        };
        to.set_len(0).and_then(|()| to.rewind()).map_err(kept)?;
        let bytes = self.copy(key, 0..member.size, to, transfer, &kept)?;
        Ok(GotObject { bytes, is_pieced: false })
    }

    fn get_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError> {
        let kept = |error| StoreError::Destination { key: key.clone(), error };
        self.copy(key, range, to, transfer, &kept)
    }

    fn head(&self, key: &ObjectKey, _: &StoreTransfer<'_>) -> Result<ObjectHead, StoreError> {
        self.member(key).map(|(_, member)| ObjectHead { size: Some(member.size) })
    }

    fn put_described(
        &self,
        _: &ObjectKey,
        _: ObjectContent<'_>,
        _: &About<'_>,
        _: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        Err(self.unsupported("take a file"))
    }

    fn list(
        &self,
        below: Option<&ObjectKey>,
        _: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        let index =
            self.index(&below.map_or_else(|| "its members".to_owned(), ObjectKey::to_string))?;
        let members = index.members.iter();
        let members = members.filter(|(key, _)| below.is_none_or(|folder| key.is_below(folder)));
        Ok(members.map(|(key, member)| Listed { key: key.clone(), size: member.size }).collect())
    }

    fn delete(&self, _: &ObjectKey, _: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        Err(self.unsupported("remove a file"))
    }
}
