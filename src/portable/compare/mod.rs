//! Comparison of two archives of a package: which entries differ, and the likely causes.

mod causes;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use serde::Serialize;

pub use causes::{Cause, Times};

use crate::archive::{EntryKind, EntryPath, Limits, PackageReader, ReadError};
use crate::base::digest::{Sha256, Sha256Sum};

/// Largest part of a file that is searched for causes, in bytes.
const SEARCHED: u64 = 8 << 20;

/// Largest part of all files of an archive that is searched for causes, in bytes.
const SEARCHED_IN_ALL: u64 = 64 << 20;

/// Two archives cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// An archive cannot be opened or read.
    #[error("a package cannot be read")]
    File(#[source] io::Error),
    /// An archive is not valid.
    #[error("{path} is not a valid package")]
    Archive {
        /// Archive.
        path: String,
        /// Fault.
        #[source]
        source: ReadError,
    },
}

/// Comparison of two archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// True if all bytes of the archives are the same.
    pub same: bool,
    /// Number of entries of both.
    pub entries: usize,
    /// Entries that differ, in the order of their paths.
    pub differences: Vec<Difference>,
}

/// Entry that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Path in the package.
    pub path: String,
    /// Difference in words.
    pub what: String,
    /// Likely causes, the likeliest first.
    pub causes: Vec<Cause>,
}

/// An entry, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: EntryKind,
    mode: u32,
    mtime: i64,
    capability: Option<Vec<u8>>,
    sum: Option<Sha256Sum>,
}

/// Compares two archives of a package, of builds that began at these times.
pub fn compare(
    one: &Path,
    other: &Path,
    times: Times,
    limits: &Limits,
) -> Result<Comparison, CompareError> {
    let sums = [one, other].map(Sha256Sum::of_file);
    let [first, second] = sums;
    if first.map_err(CompareError::File)? == second.map_err(CompareError::File)? {
        let entries = entries(one, limits)?.len();
        return Ok(Comparison { same: true, entries, differences: Vec::new() });
    }
    let (mine, theirs) = (entries(one, limits)?, entries(other, limits)?);
    let mut paths: Vec<&EntryPath> = mine.keys().chain(theirs.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let differ = |path: &&&EntryPath| mine.get(path) != theirs.get(path);
    let differing: Vec<EntryPath> =
        paths.iter().filter(|path| differ(path)).map(|path| (**path).clone()).collect();
    let both = differing.iter().filter(|path| mine.contains_key(path) && theirs.contains_key(path));
    let wanted: BTreeSet<&EntryPath> = both.collect();
    let contents = [contents(one, &wanted, limits)?, contents(other, &wanted, limits)?];
    let difference = |path: &EntryPath| {
        let (what, causes) = match (mine.get(path), theirs.get(path)) {
            (Some(one), Some(other)) => {
                let empty = Vec::new();
                let [a, b] = contents.each_ref().map(|found| found.get(path).unwrap_or(&empty));
                described(one, other, (a, b), times)
            }
            (one, _) => {
                let only = if one.is_some() { "first" } else { "second" };
                let causes = causes::of_name(path.as_bytes(), times);
                (format!("is in the {only} package only"), causes)
            }
        };
        let path = format!("./{}", crate::archive::readable(path.as_bytes()));
        Difference { path, what, causes }
    };
    let differences = differing.iter().map(difference).collect();
    Ok(Comparison { same: false, entries: paths.len(), differences })
}

fn described(
    one: &Entry,
    other: &Entry,
    (a, b): (&[u8], &[u8]),
    times: Times,
) -> (String, Vec<Cause>) {
    match (&one.kind, &other.kind) {
        (EntryKind::Symlink { target: a }, EntryKind::Symlink { target: b }) if a != b => {
            let text = |target: &[u8]| crate::archive::readable(target);
            (format!("leads to {} and to {}", text(a), text(b)), causes::of_contents(a, b, times))
        }
        (a, b) if std::mem::discriminant(a) != std::mem::discriminant(b) => {
            ("is of another kind".to_owned(), Vec::new())
        }
        _ if one.sum != other.sum => {
            let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
            if at == a.len() && at == b.len() {
                return (format!("differs behind byte {at}"), Vec::new());
            }
            let excerpt = |text: &[u8]| causes::excerpt(text, at);
            let what = format!("differs at byte {at}: {:?} and {:?}", excerpt(a), excerpt(b));
            (what, causes::of_contents(a, b, times))
        }
        _ if one.mode != other.mode => {
            (format!("has the modes {:o} and {:o}", one.mode, other.mode), vec![Cause::Umask])
        }
        _ if one.mtime != other.mtime => {
            (format!("has the times {} and {}", one.mtime, other.mtime), vec![Cause::Time])
        }
        _ => ("has other links or attributes".to_owned(), Vec::new()),
    }
}

fn open<'r>(path: &Path, limits: &Limits) -> Result<PackageReader<'r>, CompareError> {
    let file = fs_err::File::open(path).map_err(CompareError::File)?;
    PackageReader::new(file, limits).map_err(|source| damaged(path, source))
}

fn damaged(path: &Path, source: ReadError) -> CompareError {
    CompareError::Archive { path: path.display().to_string(), source }
}

fn entries(path: &Path, limits: &Limits) -> Result<BTreeMap<EntryPath, Entry>, CompareError> {
    let mut reader = open(path, limits)?;
    let mut found = BTreeMap::new();
    while let Some(entry) = reader.next_entry().map_err(|error| damaged(path, error))? {
        let sum = match entry.kind {
            EntryKind::File { .. } => Some(sum(&mut reader).map_err(CompareError::File)?),
            _ => None,
        };
        let attributes = entry.attributes;
        let (mode, mtime, capability) = (attributes.mode, attributes.mtime, attributes.capability);
        found.insert(entry.path, Entry { kind: entry.kind, mode, mtime, capability, sum });
    }
    Ok(found)
}

fn sum(reader: &mut impl Read) -> io::Result<Sha256Sum> {
    let mut sum = Sha256::new();
    let mut buffer = [0; 1 << 14];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Sha256Sum::from_hasher(sum)),
            count => sum.update(&buffer[..count]),
        }
    }
}

/// The beginnings of files.
fn contents(
    path: &Path,
    wanted: &BTreeSet<&EntryPath>,
    limits: &Limits,
) -> Result<BTreeMap<EntryPath, Vec<u8>>, CompareError> {
    let mut reader = open(path, limits)?;
    let mut found = BTreeMap::new();
    let mut left = SEARCHED_IN_ALL;
    while let Some(entry) = reader.next_entry().map_err(|error| damaged(path, error))? {
        if wanted.contains(&entry.path) && matches!(entry.kind, EntryKind::File { .. }) {
            let mut text = Vec::new();
            let most = SEARCHED.min(left);
            (&mut reader).take(most).read_to_end(&mut text).map_err(CompareError::File)?;
            left -= text.len() as u64;
            found.insert(entry.path, text);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{PackOptions, pack_package};

    fn packed(place: &Path, name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let folder = place.join(name);
        for (name, text) in files {
            let path = folder.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let archive = place.join(format!("{name}.tar.xz"));
        let options = PackOptions { source_date_epoch: 1, threads: 1, limits: Limits::default() };
        let file = fs_err::File::create(&archive).unwrap();
        pack_package(&folder, file, &options).unwrap();
        archive
    }

    #[test]
    fn entries_that_differ_are_named_with_their_causes() {
        let place = tempfile::tempdir().unwrap();
        let times = Times { first: 1_700_000_000, second: 1_700_000_100 };
        let one = packed(
            place.path(),
            "one",
            &[("same", "x"), ("in/stamp", "at 1700000002."), ("old", ""), ("list", "a\nb\nc\n")],
        );
        let other = packed(
            place.path(),
            "other",
            &[("same", "x"), ("in/stamp", "at 1700000105."), ("new", ""), ("list", "c\na\nb\n")],
        );
        let found = compare(&one, &other, times, &Limits::default()).unwrap();
        assert!(!found.same && found.entries == 7, "{found:?}");
        let named: Vec<_> = found
            .differences
            .iter()
            .map(|it| (it.path.as_str(), it.causes.first().copied()))
            .collect();
        assert_eq!(
            named,
            [
                ("./in/stamp", Some(Cause::Time)),
                ("./list", Some(Cause::Order)),
                ("./new", None),
                ("./old", None)
            ]
        );
        assert!(found.differences[0].what.contains("differs at byte 10"), "{found:?}");
        let same = compare(&one, &one, times, &Limits::default()).unwrap();
        assert!(same.same && same.differences.is_empty() && same.entries == 6, "{same:?}");
    }

    #[test]
    fn a_difference_behind_what_is_searched_is_not_placed_within() {
        let place = tempfile::tempdir().unwrap();
        let long = "x".repeat(usize::try_from(SEARCHED).unwrap());
        let [one, other] = ["one", "other"]
            .map(|name| packed(place.path(), name, &[("file", &format!("{long}{name:5}"))]));
        let times = Times { first: 0, second: 0 };
        let found = compare(&one, &other, times, &Limits::default()).unwrap();
        assert_eq!(found.differences[0].what, format!("differs behind byte {SEARCHED}"));
        assert!(found.differences[0].causes.is_empty());
    }
}
