//! Unpacks zip archives: exactly one folder at the top, which is stripped.

use std::fs::File;
use std::io::{BufReader, Read};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::error::{ReadError, UnpackError};
use super::limits::{LimitExceeded, Limits};
use super::path::{EntryPath, readable};
use super::read::symlink_target;
use super::source_writer::SourceWriter;

/// What Linux takes as a symlink's target.
const LONGEST_TARGET: u64 = 4096;

pub(super) fn unpack_zip(
    file: File,
    file_name: &str,
    writer: &mut SourceWriter,
    limits: &Limits,
) -> Result<(), UnpackError> {
    let broken = |source| UnpackError::Zip { file_name: file_name.to_owned(), source };
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if zip.len() as u64 > limits.max_entries {
        return Err(ReadError::Limit(LimitExceeded::Entries(limits.max_entries)).into());
    }
    if zip.has_duplicate_names() {
        return Err(broken(ZipError::InvalidArchive("it has two entries of one name".into())));
    }
    check_top(&zip, file_name)?;
    let mut left = limits.max_bytes;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(broken)?;
        let over = ReadError::Limit(LimitExceeded::Bytes(limits.max_bytes));
        left = left.checked_sub(entry.size()).ok_or(over)?;
        unpack_entry(entry, writer)?;
    }
    Ok(())
}

fn parse(name: &[u8]) -> Result<EntryPath, ReadError> {
    EntryPath::parse(name).map_err(|problem| ReadError::name(name, problem))
}

fn check_top(zip: &ZipArchive<BufReader<File>>, file_name: &str) -> Result<(), UnpackError> {
    let wrong = |problem| UnpackError::ZipTop { file_name: file_name.to_owned(), problem };
    let mut top: Option<Vec<u8>> = None;
    for name in zip.file_names_raw() {
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
    writer: &mut SourceWriter,
) -> Result<(), UnpackError> {
    let path = parse(entry.name_raw())?;
    let mtime = mtime(&entry);
    writer.root(mtime)?;
    let rest = path.parts().skip(1).collect::<Vec<_>>().join(&b'/');
    if rest.is_empty() {
        return Ok(());
    }
    let path = EntryPath::trusted(&rest);
    let full = entry.unix_mode().unwrap_or_default();
    let is_directory = entry.name_raw().ends_with(b"/");
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

/// When an entry was changed, in seconds since 1970. Zip's own time has no zone; it is taken as
/// UTC, as anything else would depend on the machine.
fn mtime(entry: &ZipFile<'_, BufReader<File>>) -> i64 {
    let extended = entry.extra_data_fields().find_map(|field| match field {
        zip::extra_fields::ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    if let Some(time) = extended {
        return time.into();
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
