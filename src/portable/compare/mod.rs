//! Comparison of two archives of a package: which entries differ, and the likely causes.

mod causes;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

pub use causes::{BuildTimes, Cause};

use crate::archive::{ArchiveLimits, EntryKind, EntryPath, PackageReader, ReadError};
use crate::base::digest::{Sha256Sum, Until};
use crate::base::regular::open_regular;
use crate::container::helper::Interrupt;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveComparison {
    /// All bytes of the archives are the same.
    SameBytes,
    /// The entries are the same, in other bytes.
    SameEntries,
    /// Entries differ.
    Different {
        /// Number of entries of both.
        entries: usize,
        /// Entries that differ, in the order of their paths.
        differences: Vec<EntryDifference>,
    },
}

/// Entry that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryDifference {
    /// Path in the package.
    pub path: String,
    /// Difference in words.
    pub what: String,
    /// Likely causes, the likeliest first.
    pub causes: Vec<Cause>,
}

/// An entry, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ComparedEntry {
    kind: EntryKind,
    mode: u32,
    mtime: i64,
    capability: Option<Vec<u8>>,
    sum: Option<Sha256Sum>,
}

impl ComparedEntry {
    /// Size of a file's content in bytes.
    fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size } => size,
            _ => 0,
        }
    }
}

/// Number of bytes at the beginning of each file that are searched, the same in both archives.
type Windows<'a> = BTreeMap<&'a EntryPath, u64>;

/// Compares two archives of a package, of builds that began at these times.
pub fn compare(
    one: &Path,
    other: &Path,
    times: BuildTimes,
    limits: &ArchiveLimits,
    interrupt: &Interrupt,
) -> Result<ArchiveComparison, CompareError> {
    let [one, other] = [one, other].map(|path| ComparedArchive { path, limits, interrupt });
    if one.sum()? == other.sum()? {
        return Ok(ArchiveComparison::SameBytes);
    }
    let (mine, theirs) = (one.entries()?, other.entries()?);
    let mut paths: Vec<&EntryPath> = mine.keys().chain(theirs.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let entries = paths.len();
    paths.retain(|path| mine.get(path) != theirs.get(path));
    if paths.is_empty() {
        return Ok(ArchiveComparison::SameEntries);
    }
    let both = paths.iter().filter_map(|path| Some((*path, mine.get(path)?, theirs.get(path)?)));
    // Both archives are read twice: contents of all that differ do not fit into memory.
    let windows = windows(both, SEARCHED_IN_ALL);
    let contents = [one.contents(&windows)?, other.contents(&windows)?];
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
        EntryDifference { path, what, causes }
    };
    let differences = paths.into_iter().map(difference).collect();
    Ok(ArchiveComparison::Different { entries, differences })
}

/// Shares out the bytes that are searched among the files that differ. A path has one window in both
/// archives, whatever the sizes there: an end of a window is not an end of a file.
fn windows<'a>(
    differing: impl Iterator<Item = (&'a EntryPath, &'a ComparedEntry, &'a ComparedEntry)>,
    mut left: u64,
) -> Windows<'a> {
    let files = differing.filter(|(_, one, other)| one.sum.is_some() && other.sum.is_some());
    let window = |(path, one, other): (&'a EntryPath, &ComparedEntry, &ComparedEntry)| {
        let window = one.size().max(other.size()).min(SEARCHED).min(left);
        left -= window;
        (path, window)
    };
    files.map(window).collect()
}

/// Describes the difference of an entry, with the beginnings of its contents.
fn described(
    one: &ComparedEntry,
    other: &ComparedEntry,
    (a, b): (&[u8], &[u8]),
    times: BuildTimes,
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

/// Archive that is read from its beginning several times.
#[derive(Clone, Copy)]
struct ComparedArchive<'a> {
    path: &'a Path,
    limits: &'a ArchiveLimits,
    interrupt: &'a Interrupt,
}

impl<'a> ComparedArchive<'a> {
    /// Reader that fails once the run is interrupted.
    fn file(self) -> Result<impl Read + use<'a>, CompareError> {
        let file = open_regular(self.path).map_err(CompareError::File)?;
        Ok(Until::new(file, move || self.interrupt.is_raised()))
    }

    fn sum(self) -> Result<Sha256Sum, CompareError> {
        Sha256Sum::of_reader(self.file()?).map_err(CompareError::File)
    }

    fn reader(self) -> Result<PackageReader<'a>, CompareError> {
        PackageReader::new(self.file()?, self.limits).map_err(|source| self.damaged(source))
    }

    fn damaged(self, source: ReadError) -> CompareError {
        CompareError::Archive { path: self.path.display().to_string(), source }
    }

    fn entries(self) -> Result<BTreeMap<EntryPath, ComparedEntry>, CompareError> {
        let mut reader = self.reader()?;
        let mut found = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(|error| self.damaged(error))? {
            let sum = match entry.kind {
                EntryKind::File { .. } => {
                    Some(Sha256Sum::of_reader(&mut reader).map_err(CompareError::File)?)
                }
                _ => None,
            };
            let attributes = entry.attributes;
            let (mode, mtime) = (attributes.mode, attributes.mtime);
            let capability = attributes.capability;
            found.insert(
                entry.path,
                ComparedEntry { kind: entry.kind, mode, mtime, capability, sum },
            );
        }
        Ok(found)
    }

    /// Reads the beginnings of files.
    fn contents(self, windows: &Windows<'_>) -> Result<BTreeMap<EntryPath, Vec<u8>>, CompareError> {
        let mut reader = self.reader()?;
        let mut found = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(|error| self.damaged(error))? {
            if let Some(window) = windows.get(&entry.path) {
                let mut text = Vec::new();
                (&mut reader).take(*window).read_to_end(&mut text).map_err(CompareError::File)?;
                found.insert(entry.path, text);
            }
        }
        Ok(found)
    }
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
        let options = PackOptions {
            source_date_epoch: 1,
            threads: 1,
            level: crate::archive::CompressionLevel::Default,
            limits: ArchiveLimits::default(),
        };
        let file = fs_err::File::create(&archive).unwrap();
        pack_package(&folder, file, &options).unwrap();
        archive
    }

    fn differences(one: &Path, other: &Path, times: BuildTimes) -> (usize, Vec<EntryDifference>) {
        let compared = compare(one, other, times, &ArchiveLimits::default(), &Interrupt::default());
        match compared.unwrap() {
            ArchiveComparison::Different { entries, differences } => (entries, differences),
            same => panic!("{same:?}"),
        }
    }

    #[test]
    fn entries_that_differ_are_named_with_their_causes() {
        let place = tempfile::tempdir().unwrap();
        let times = BuildTimes { first: 1_700_000_000, second: 1_700_000_100 };
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
        let (entries, differences) = differences(&one, &other, times);
        assert_eq!(entries, 7, "{differences:?}");
        let named: Vec<_> =
            differences.iter().map(|it| (it.path.as_str(), it.causes.first().copied())).collect();
        assert_eq!(
            named,
            [
                ("./in/stamp", Some(Cause::Time)),
                ("./list", Some(Cause::Order)),
                ("./new", None),
                ("./old", None)
            ]
        );
        assert!(differences[0].what.contains("differs at byte 10"), "{differences:?}");
        let limits = ArchiveLimits::default();
        let same = compare(&one, &one, times, &limits, &Interrupt::default()).unwrap();
        assert_eq!(same, ArchiveComparison::SameBytes);
        let text = fs_err::read(&one).unwrap();
        let mut tar = Vec::new();
        xz2::read::XzDecoder::new(&*text).read_to_end(&mut tar).unwrap();
        let plain = place.path().join("plain.tar");
        fs_err::write(&plain, tar).unwrap();
        let same = compare(&one, &plain, times, &limits, &Interrupt::default()).unwrap();
        assert_eq!(same, ArchiveComparison::SameEntries);

        let interrupt = Interrupt::default();
        interrupt.raise();
        compare(&one, &other, times, &limits, &interrupt).unwrap_err();
    }

    #[test]
    fn a_difference_behind_what_is_searched_is_not_placed_within() {
        let place = tempfile::tempdir().unwrap();
        let long = "x".repeat(usize::try_from(SEARCHED).unwrap());
        let [one, other] = ["one", "other"]
            .map(|name| packed(place.path(), name, &[("file", &format!("{long}{name:5}"))]));
        let times = BuildTimes { first: 0, second: 0 };
        let (_, differences) = differences(&one, &other, times);
        assert_eq!(differences[0].what, format!("differs behind byte {SEARCHED}"));
        assert!(differences[0].causes.is_empty());
    }

    /// The first file is short in one package and long in the other, so that a limit on the bytes of each
    /// archive would end at other places of the last file.
    #[test]
    fn a_file_is_searched_to_the_same_byte_in_both_packages() {
        let place = tempfile::tempdir().unwrap();
        let last = |end: &str| format!("{}{end}", "x".repeat(20));
        let one = packed(place.path(), "one", &[("a", "short"), ("b", &last("first"))]);
        let other =
            packed(place.path(), "other", &[("a", "much longer than that"), ("b", &last("other"))]);
        let (limits, interrupt) = (ArchiveLimits::default(), Interrupt::default());
        let [one, other] = [&*one, &*other].map(|path| ComparedArchive {
            path,
            limits: &limits,
            interrupt: &interrupt,
        });
        let (mine, theirs) = (one.entries().unwrap(), other.entries().unwrap());
        let found = |in_all| {
            let both = mine.iter().map(|(path, entry)| (path, entry, &theirs[path]));
            let both = both.filter(|(_, one, other)| one != other);
            let windows = windows(both, in_all);
            let [a, b] = [one, other].map(|archive| archive.contents(&windows).unwrap());
            let path = EntryPath::parse(b"b").unwrap();
            let times = BuildTimes { first: 0, second: 0 };
            described(&mine[&path], &theirs[&path], (&a[&path], &b[&path]), times).0
        };
        // 21 bytes are those of the longer first file.
        assert_eq!(found(21), "differs behind byte 0");
        assert_eq!(found(21 + 7), "differs behind byte 7");
        assert!(found(21 + 24).starts_with("differs at byte 20: "), "{}", found(21 + 24));
    }
}
