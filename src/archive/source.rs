//! Unpacks source archives without their first path component (docs/format.md, "Sources").
//!
//! The component is counted as GNU `tar --strip-components=1` counts it, since that is what the
//! original ran: of `./top/file`, `.` is the first one. Entries that consist of it alone, be they
//! folders or files, are dropped; several top folders merge.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::compression::Compression;
use super::destination::Destination;
use super::error::{ReadError, UnpackError};
use super::folders::Rules;
use super::limits::Limits;
use super::path::EntryPath;
use super::read::symlink_target;
use super::source_writer::SourceWriter;
use super::tar_block::{BLOCK, begins_tar};
use super::tar_read::{Member, MemberKind, TarReader};
use super::unpack::UnpackSummary;
use super::zip_read::unpack_zip;

const BUFFER: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar(Compression),
    Zip,
}

impl Format {
    const ENDINGS: [(&'static str, Self); 11] = [
        (".tar", Self::Tar(Compression::None)),
        (".tar.gz", Self::Tar(Compression::Gzip)),
        (".tgz", Self::Tar(Compression::Gzip)),
        (".tar.bz2", Self::Tar(Compression::Bzip2)),
        (".tbz2", Self::Tar(Compression::Bzip2)),
        (".tbz", Self::Tar(Compression::Bzip2)),
        (".tar.xz", Self::Tar(Compression::Xz)),
        (".txz", Self::Tar(Compression::Xz)),
        (".tar.zst", Self::Tar(Compression::Zstd)),
        (".tzst", Self::Tar(Compression::Zstd)),
        (".zip", Self::Zip),
    ];

    fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let fits = |ending: &str| name.len() > ending.len() && name.ends_with(ending);
        Self::ENDINGS.iter().find(|(ending, _)| fits(ending)).map(|(_, format)| *format)
    }

    fn of_content(start: &[u8]) -> Option<Self> {
        if [b"PK\x03\x04", b"PK\x05\x06"].iter().any(|magic| start.starts_with(*magic)) {
            return Some(Self::Zip);
        }
        let compression = Compression::of(start);
        let is_one = compression != Compression::None || begins_tar(start);
        is_one.then_some(Self::Tar(compression))
    }

    fn name(self) -> String {
        match self {
            Self::Tar(Compression::None) => "an uncompressed tar archive".to_owned(),
            Self::Tar(compression) => format!("compressed by {}", compression.as_str()),
            Self::Zip => "a zip archive".to_owned(),
        }
    }
}

/// True if a file's name says that it is an archive that [`unpack_source_archive`] may unpack.
pub fn is_source_archive(file_name: &str) -> bool {
    Format::of_name(file_name).is_some()
}

/// Unpacks a source archive into a folder, which is made if it is missing and must else be empty:
/// tar, plain or compressed by gzip, bzip2, xz or zstd, without the first path component; or zip,
/// whose only top folder is stripped. Files belong to the caller; setuid bits are dropped.
/// On an error the folder holds a part of the archive, and is the caller's to remove.
pub fn unpack_source_archive(
    mut file: File,
    file_name: &str,
    folder: &Path,
    limits: &Limits,
) -> Result<UnpackSummary, UnpackError> {
    let unknown = || UnpackError::UnknownFormat { file_name: file_name.to_owned() };
    let format = Format::of_name(file_name).ok_or_else(unknown)?;
    let mut start = Vec::with_capacity(BLOCK);
    (&mut file)
        .take(BLOCK as u64)
        .read_to_end(&mut start)
        .and_then(|_| file.seek(SeekFrom::Start(0)))
        .map_err(ReadError::Stream)?;
    let found = Format::of_content(&start);
    if found != Some(format) {
        return Err(UnpackError::OtherFormat {
            file_name: file_name.to_owned(),
            expected: format.name(),
            found: found.map_or_else(|| "something else".to_owned(), Format::name),
        });
    }
    let destination = Destination::open(folder, Rules::Strict, limits)?;
    let mut writer = SourceWriter::new(destination, limits);
    let Format::Tar(compression) = format else {
        unpack_zip(file, file_name, &mut writer, limits)?;
        return writer.finish();
    };
    let content = compression.reader(BufReader::with_capacity(BUFFER, file));
    unpack_tar(content.map_err(ReadError::Stream)?, writer, limits)
}

fn unpack_tar(
    input: impl Read,
    mut writer: SourceWriter,
    limits: &Limits,
) -> Result<UnpackSummary, UnpackError> {
    let mut tar = TarReader::new(input, limits);
    while let Some(member) = tar.next_member()? {
        writer.root(member.mtime)?;
        if let Some(path) = stripped(&member.name)? {
            unpack_member(&member, &path, &mut tar, &mut writer)?;
        }
    }
    tar.finish()?;
    writer.finish()
}

fn unpack_member(
    member: &Member,
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
            Some(target) => writer.hard_link(path, &target),
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

/// A name without its first component; nothing if it has no other.
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
