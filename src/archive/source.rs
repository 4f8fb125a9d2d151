//! Unpacks source archives without their first path component (SPEC §3).
//!
//! The component is counted as GNU `tar --strip-components=1` counts it, since that is what the
//! original ran: of `./top/file`, `.` is the first one. Entries that consist of it alone, be they
//! folders or files, are dropped; several top folders merge.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::destination::Destination;
use super::error::{ReadError, UnpackError};
use super::folders::Rules;
use super::limits::Limits;
use super::path::EntryPath;
use super::read::symlink_target;
use super::source_writer::SourceWriter;
use super::tar_block::{BLOCK, is_header};
use super::tar_read::{Member, MemberKind, TarReader};
use super::unpack::UnpackSummary;
use super::xz::XzReader;
use super::zip_read::unpack_zip;

const BUFFER: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Zip,
}

impl Format {
    const ENDINGS: [(&'static str, Self); 11] = [
        (".tar", Self::Tar),
        (".tar.gz", Self::Gzip),
        (".tgz", Self::Gzip),
        (".tar.bz2", Self::Bzip2),
        (".tbz2", Self::Bzip2),
        (".tbz", Self::Bzip2),
        (".tar.xz", Self::Xz),
        (".txz", Self::Xz),
        (".tar.zst", Self::Zstd),
        (".tzst", Self::Zstd),
        (".zip", Self::Zip),
    ];

    fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let fits = |ending: &str| name.len() > ending.len() && name.ends_with(ending);
        Self::ENDINGS.iter().find(|(ending, _)| fits(ending)).map(|(_, format)| *format)
    }

    fn of_content(start: &[u8]) -> Option<Self> {
        let magics: [(&[u8], Self); 7] = [
            (b"\x1f\x8b", Self::Gzip),
            (b"BZh", Self::Bzip2),
            (b"\xfd7zXZ\0", Self::Xz),
            (b"\x28\xb5\x2f\xfd", Self::Zstd),
            (b"PK\x03\x04", Self::Zip),
            (b"PK\x05\x06", Self::Zip),
            (&[0; BLOCK], Self::Tar),
        ];
        let known = magics.iter().find(|(magic, _)| start.starts_with(magic));
        known
            .map(|(_, format)| *format)
            .or_else(|| start.first_chunk().is_some_and(is_header).then_some(Self::Tar))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tar => "an uncompressed tar archive",
            Self::Gzip => "compressed by gzip",
            Self::Bzip2 => "compressed by bzip2",
            Self::Xz => "compressed by xz",
            Self::Zstd => "compressed by zstd",
            Self::Zip => "a zip archive",
        }
    }
}

/// Whether a file's name says that it is an archive that [`unpack_source_archive`] may unpack.
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
            found: found.map_or("something else", Format::name),
        });
    }
    let destination = Destination::open(folder, Rules::Strict, limits)?;
    let mut writer = SourceWriter::new(destination, limits);
    let stream = |error| UnpackError::from(ReadError::Stream(error));
    if format == Format::Zip {
        unpack_zip(file, file_name, &mut writer, limits)?;
        return writer.finish();
    }
    let input = BufReader::with_capacity(BUFFER, file);
    match format {
        Format::Gzip => unpack_tar(GzipReader::new(input), writer, limits),
        Format::Bzip2 => unpack_tar(bzip2::bufread::MultiBzDecoder::new(input), writer, limits),
        Format::Xz => unpack_tar(XzReader::new(input).map_err(stream)?, writer, limits),
        Format::Zstd => {
            let input = zstd::stream::read::Decoder::with_buffer(input).map_err(stream)?;
            unpack_tar(input, writer, limits)
        }
        Format::Tar | Format::Zip => unpack_tar(input, writer, limits),
    }
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

/// All the members of a gzip file, and zeros that some writers put behind them, as `gzip` does.
struct GzipReader<R>(Option<GzDecoder<R>>);

impl<R: BufRead> GzipReader<R> {
    fn new(input: R) -> Self {
        Self(Some(GzDecoder::new(input)))
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(mut member) = self.0.take() {
            let count = member.read(buffer)?;
            if count > 0 {
                self.0 = Some(member);
                return Ok(count);
            }
            let mut input = member.into_inner();
            loop {
                let rest = input.fill_buf()?;
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                if rest.is_empty() {
                    return Ok(0);
                }
                if zeros < rest.len() {
                    input.consume(zeros);
                    break;
                }
                input.consume(zeros);
            }
            self.0 = Some(GzDecoder::new(input));
        }
        Ok(0)
    }
}
