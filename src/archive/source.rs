//! Unpacks source archives without their first path component (docs/format.md, "Sources").
//!
//! The component is counted as in GNU `tar --strip-components=1`, which the original ran: in
//! `./top/file`, `.` is the first component. Entries with a single component, both folders and
//! files, are dropped; several top folders merge.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::compression::Compression;
use super::destination::UnpackFolder;
use super::error::{ReadError, UnpackError};
use super::folders::UnpackRules;
use super::limits::ArchiveLimits;
use super::look::look_of;
use super::path::{EntryPath, readable};
use super::read::symlink_target;
use super::source_writer::SourceWriter;
use super::tar_block::{BLOCK, begins_tar};
use super::tar_read::{MemberKind, TarMember, TarReader};
use super::unpack::UnpackSummary;
use super::zip_read::{ends_as_zip, unpack_zip};

const BUFFER: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar(Compression),
    Zip,
}

impl Format {
    fn of_content(start: &[u8]) -> Option<Self> {
        if [b"PK\x03\x04", b"PK\x05\x06"].iter().any(|magic| start.starts_with(*magic)) {
            return Some(Self::Zip);
        }
        let compression = Compression::of(start);
        let is_one = compression != Compression::None || begins_tar(start);
        is_one.then_some(Self::Tar(compression))
    }
}

/// Unpacks a source archive into a folder, which is made if missing and must otherwise be empty:
/// tar, plain or compressed by gzip, bzip2, xz or zstd, without the first path component; or zip,
/// whose only top folder is stripped. The format is detected by content, whatever the name
/// promises. Files belong to the caller; setuid bits are dropped. After an error the folder has a
/// part of the archive, which the caller must remove.
pub fn unpack_source_archive(
    mut file: File,
    file_name: &str,
    folder: &Path,
    limits: &ArchiveLimits,
) -> Result<UnpackSummary, UnpackError> {
    let mut start = Vec::with_capacity(BLOCK);
    (&mut file)
        .take(BLOCK as u64)
        .read_to_end(&mut start)
        .and_then(|_| file.seek(SeekFrom::Start(0)))
        .map_err(ReadError::Stream)?;
    let format = match Format::of_content(&start) {
        Some(format) => format,
        // A program may stand before it, which unpacks it.
        None if file_name.to_ascii_lowercase().ends_with(".zip") && ends_as_zip(&file) => {
            Format::Zip
        }
        None => {
            let (file_name, found) = (file_name.to_owned(), look_of(&start));
            return Err(UnpackError::UnknownFormat { file_name, found });
        }
    };
    let destination = UnpackFolder::open(folder, UnpackRules::Strict, limits)?;
    let mut writer = SourceWriter::new(destination, limits);
    let Format::Tar(compression) = format else {
        unpack_zip(file, file_name, &mut writer, limits)?;
        return writer.finish();
    };
    let content =
        compression.reader_with(BufReader::with_capacity(BUFFER, file), limits.max_threads);
    unpack_tar(content.map_err(ReadError::Stream)?, file_name, writer, limits)
}

fn unpack_tar(
    input: impl Read,
    file_name: &str,
    mut writer: SourceWriter,
    limits: &ArchiveLimits,
) -> Result<UnpackSummary, UnpackError> {
    let mut tar = TarReader::new(input, limits);
    let (mut dropped, mut is_empty) = (None, true);
    while let Some(member) = tar.next_member()? {
        writer.root(member.mtime)?;
        if let Some(path) = stripped(&member.name)? {
            is_empty = false;
            unpack_member(&member, &path, &mut tar, &mut writer)?;
        } else {
            dropped.get_or_insert(member.name);
        }
    }
    tar.finish()?;
    if is_empty {
        let dropped = dropped.map(|name| readable(&name));
        return Err(UnpackError::NothingBelowTop { file_name: file_name.to_owned(), dropped });
    }
    writer.finish()
}

fn unpack_member(
    member: &TarMember,
    path: &EntryPath,
    content: impl Read,
    writer: &mut SourceWriter,
) -> Result<(), UnpackError> {
    match member.kind {
        MemberKind::Directory => writer.directory(path, member.mode, member.mtime),
        MemberKind::File => writer.file(path, member.mode, member.mtime, member.size, content),
        MemberKind::Symlink => {
            let target = symlink_target(member.link.clone())?;
            writer.symlink(path, &target, member.mtime)
        }
        MemberKind::HardLink => match stripped(&member.link)? {
            Some(target) => writer.hard_link(path, &target, member.mtime),
            None => Err(ReadError::HardLink {
                path: path.clone(),
                target: parse(&member.link)?,
                problem: "is not unpacked, as it has no folder that could be stripped",
            }
            .into()),
        },
        MemberKind::Fifo => writer.fifo(path, member.mode, member.mtime),
        MemberKind::CharacterDevice | MemberKind::BlockDevice => {
            Err(ReadError::Kind { path: path.clone(), kind: member.kind.name() }.into())
        }
    }
}

fn parse(name: &[u8]) -> Result<EntryPath, ReadError> {
    EntryPath::parse(name).map_err(|problem| ReadError::name(name, problem))
}

/// Removes the first component of a name; `None` if no other follows.
fn stripped(name: &[u8]) -> Result<Option<EntryPath>, ReadError> {
    parse(name)?;
    let mut parts = name.splitn(2, |byte| *byte == b'/');
    let rest = parts.nth(1).unwrap_or_default();
    // Of `top//file`, the rest isn't absolute.
    let start = rest.iter().position(|byte| *byte != b'/').unwrap_or(rest.len());
    if start == rest.len() {
        return Ok(None);
    }
    Ok(Some(parse(&rest[start..])?).filter(|path| !path.is_root()))
}
