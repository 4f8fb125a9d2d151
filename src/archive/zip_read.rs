//! Unpacking of zip archives: exactly one folder at the top, which is stripped.

use std::fs::File;
use std::io::{BufReader, Read};

use zip::extra_fields::ExtraField;
use zip::read::{ZipFile, ZipFileEntry};
use zip::result::ZipError;
use zip::{System, ZipArchive};

use super::error::{ReadError, UnpackError};
use super::limits::{ArchiveLimits, LimitExceeded};
use super::path::{EntryPath, readable};
use super::read::symlink_target;
use super::source_writer::SourceWriter;

/// Upper limit of a symlink's target in Linux.
const LONGEST_TARGET: u64 = 4096;

pub(super) fn unpack_zip(
    file: File,
    file_name: &str,
    writer: &mut SourceWriter,
    limits: &ArchiveLimits,
) -> Result<(), UnpackError> {
    let broken = |source| UnpackError::Zip { file_name: file_name.to_owned(), source };
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if zip.len() as u64 > limits.max_entries {
        return Err(ReadError::Limit(LimitExceeded::Entries(limits.max_entries)).into());
    }
    // Readers differ in which of two entries counts.
    if zip.has_duplicate_names() {
        return Err(broken(ZipError::InvalidArchive("it has two entries of one name".into())));
    }
    let names = names(&zip).map_err(broken)?;
    check_top(&names, file_name)?;
    let mut left = limits.max_bytes;
    for (index, name) in names.iter().enumerate() {
        let entry = zip.by_index(index).map_err(broken)?;
        let over = ReadError::Limit(LimitExceeded::Bytes(limits.max_bytes));
        // Before it is unpacked: the writer compares the size with what really comes.
        left = left.checked_sub(entry.size()).ok_or(over)?;
        unpack_entry(entry, name, writer)?;
    }
    Ok(())
}

/// True if a file ends like a zip archive, whatever its beginning.
pub(super) fn ends_as_zip(file: &File) -> bool {
    file.try_clone().is_ok_and(|file| ZipArchive::new(BufReader::new(file)).is_ok())
}

/// Names of all entries, with `/` as separator; folders have a trailing `/`.
fn names(zip: &ZipArchive<BufReader<File>>) -> Result<Vec<Vec<u8>>, ZipError> {
    (0..zip.len()).map(|index| name(&zip.by_index_data(index)?)).collect()
}

/// Name of an entry. Names that are not UTF-8 are in code page 437 (APPNOTE 4.4.4 and appendix D),
/// except those of writers on Unix, whose bytes are taken unchanged.
fn name(entry: &ZipFileEntry<'_>) -> Result<Vec<u8>, ZipError> {
    let system = entry.system();
    let is_unix = matches!(system, System::Unix | System::OsDarwin | System::BeOS);
    let raw = entry.name_raw();
    let mut name = if raw.is_ascii() || is_unix {
        raw.to_vec()
    } else {
        entry.name()?.into_owned().into_bytes()
    };
    // Programs of Windows write `\\` against the rules (APPNOTE 4.4.17.1); unzip reads it so.
    if !is_unix && !name.contains(&b'/') {
        for byte in &mut name {
            if *byte == b'\\' {
                *byte = b'/';
            }
        }
    }
    Ok(name)
}

fn parse(name: &[u8]) -> Result<EntryPath, ReadError> {
    EntryPath::parse(name).map_err(|problem| ReadError::name(name, problem))
}

fn check_top(names: &[Vec<u8>], file_name: &str) -> Result<(), UnpackError> {
    let wrong = |problem| UnpackError::ZipTop { file_name: file_name.to_owned(), problem };
    let mut top: Option<Vec<u8>> = None;
    for name in names {
        let path = parse(name)?;
        let Some(first) = path.parts().next() else { continue };
        if path.as_bytes() == first && !name.ends_with(b"/") {
            return Err(wrong(format!("{:?} is a file at the top", readable(first))));
        }
        let known = top.get_or_insert_with(|| first.to_vec());
        if known.as_slice() != first {
            let (one, other) = (readable(known), readable(first));
            return Err(wrong(format!("there are {one:?} and {other:?}")));
        }
    }
    top.map(drop).ok_or_else(|| wrong("it is empty".to_owned()))
}

fn unpack_entry(
    mut entry: ZipFile<'_, BufReader<File>>,
    name: &[u8],
    writer: &mut SourceWriter,
) -> Result<(), UnpackError> {
    let path = parse(name)?;
    let mtime = mtime(&entry);
    writer.root(mtime)?;
    let rest = path.parts().skip(1).collect::<Vec<_>>().join(&b'/');
    if rest.is_empty() {
        return Ok(());
    }
    let path = EntryPath::trusted(&rest);
    // The lower half is for MS-DOS, and says nothing of permissions.
    let full = entry.external_attributes() >> 16;
    let is_directory = name.ends_with(b"/");
    let mode = match (full & 0o777, is_directory) {
        (0, true) => 0o755,
        (0, false) => 0o644,
        (mode, _) => mode,
    };
    let size = entry.size();
    match full & libc::S_IFMT {
        _ if is_directory => writer.directory(&path, mode, mtime),
        0 | libc::S_IFREG => writer.file(&path, mode, mtime, size, entry),
        libc::S_IFLNK => {
            let mut target = Vec::new();
            let reader = entry.by_ref().take(LONGEST_TARGET + 1);
            BufReader::new(reader).read_to_end(&mut target).map_err(ReadError::Stream)?;
            if target.len() as u64 != size || size > LONGEST_TARGET {
                return Err(ReadError::OtherSize { path, size }.into());
            }
            writer.symlink(&path, &symlink_target(target)?, mtime)
        }
        _ => {
            Err(ReadError::Kind { path, kind: "neither a file nor a folder nor a symlink" }.into())
        }
    }
}

/// Modification time of an entry, in seconds since 1970. Zip's own time has no zone and is taken as
/// UTC, as any other choice would depend on the machine.
fn mtime(entry: &ZipFile<'_, BufReader<File>>) -> i64 {
    let fields = || entry.extra_data_fields();
    // In the order in which unzip believes them, and then those of Windows.
    let extended = fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time().map(i64::from),
        _ => None,
    });
    let unix = || {
        fields().find_map(|field| match field {
            // Info-ZIP's Unix field, and PKWARE's: the time of the last access, then that of the last change.
            ExtraField::Custom(field) if matches!(field.header_id, 0x5855 | 0x000d) => {
                let time = field.data.get(4..8)?.try_into().ok()?;
                Some(i64::from(u32::from_le_bytes(time)))
            }
            _ => None,
        })
    };
    let windows = || {
        fields().find_map(|field| match field {
            // In units of 100 ns since 1601.
            ExtraField::Ntfs(times) if times.mtime() > 0 => {
                Some(i64::try_from(times.mtime() / 10_000_000).ok()? - 11_644_473_600)
            }
            _ => None,
        })
    };
    if let Some(time) = extended.or_else(unix).or_else(windows) {
        return time;
    }
    let Some(time) = entry.last_modified() else { return 0 };
    let days = days_since_1970(time.year().into(), time.month().into(), time.day().into());
    let [hour, minute, second] = [time.hour(), time.minute(), time.second()].map(i64::from);
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

/// Days from 1970-01-01 to a day of the Gregorian calendar, whose year starts in March here: the
/// day that leap years have is then the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (year, month, day, days) in
            [(1970, 1, 1, 0), (1980, 1, 1, 3652), (2000, 2, 29, 11016), (2100, 3, 1, 47541)]
        {
            assert_eq!(days_since_1970(year, month, day), days, "{year}-{month}-{day}");
        }
    }
}
