//! Summary of a package for a bootstrap, needed before its entries are written: kept, so that the
//! package is not unpacked twice.

use serde::{Deserialize, Serialize};

use crate::archive::{Attributes, EntryKind, EntryPath, PackageEntry, PackageIndex};

/// Summary of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    /// Names and descriptions of the package; in a kept summary, without sizes and attributes.
    pub(super) index: PackageIndex,
    /// True if its entries are in byte order of their paths, as ours are. Then the first of several
    /// hard links is the file, too, because links come after their targets.
    pub(super) in_order: bool,
    /// Size of the tar entries in bytes, without long names.
    pub(super) tar_bytes: u64,
}

impl Summary {
    /// Makes the summary of a package for a folder of the bootstrap.
    pub(super) fn of(index: PackageIndex, folder: &EntryPath) -> Self {
        let in_order = index.entries.windows(2).all(|pair| pair[0].path < pair[1].path);
        let entries = index.entries.iter().map(|entry| {
            let size = match &entry.kind {
                // Content is padded to whole blocks of a tar (POSIX.1-2017, pax, "ustar Interchange
                // Format").
                EntryKind::File { size } => size.next_multiple_of(512),
                _ => 0,
            };
            // About what a `ustar` name takes; a longer one has two more blocks, for its pax header
            // and its records. The sum decides how packages are grouped, and need not be exact.
            let long = folder.as_bytes().len() + entry.path.as_bytes().len() > 96;
            size + if long { 3 * 512 } else { 512 }
        });
        let tar_bytes = entries.sum();
        Self { index, in_order, tar_bytes }
    }

    /// As text.
    pub(super) fn to_json(&self) -> String {
        let entries = self.index.entries.iter().filter(|entry| !entry.path.is_root());
        let written = SummaryDocument {
            in_order: self.in_order,
            tar_bytes: self.tar_bytes,
            pkginfo: self.index.pkginfo.as_deref().map(to_text),
            buildinfo: self.index.buildinfo.as_deref().map(to_text),
            entries: entries
                .map(|entry| {
                    let (kind, target) = match &entry.kind {
                        EntryKind::Directory => ('d', &b""[..]),
                        // For the links of an install root, a hard link is a file like any other.
                        EntryKind::File { .. } | EntryKind::HardLink { .. } => ('f', &b""[..]),
                        EntryKind::Symlink { target } => ('l', &target[..]),
                        EntryKind::Fifo => ('p', &b""[..]),
                    };
                    (kind, to_text(entry.path.as_bytes()), to_text(target))
                })
                .collect(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Parses the text; `None` if not valid.
    pub(super) fn from_json(text: &[u8]) -> Option<Self> {
        let written: SummaryDocument = serde_json::from_slice(text).ok()?;
        let entry = |(kind, path, target): (char, String, String)| {
            let kind = match kind {
                'd' => EntryKind::Directory,
                'f' => EntryKind::File { size: 0 },
                'l' => EntryKind::Symlink { target: from_text(&target)? },
                'p' => EntryKind::Fifo,
                _ => return None,
            };
            let path = EntryPath::parse(&from_text(&path)?).ok()?;
            Some(PackageEntry { path, kind, attributes: Attributes::new(0) })
        };
        let document =
            |text: Option<String>| text.map(|text| from_text(&text).ok_or(())).transpose();
        Some(Self {
            index: PackageIndex {
                entries: written.entries.into_iter().map(entry).collect::<Option<_>>()?,
                pkginfo: document(written.pkginfo).ok()?,
                buildinfo: document(written.buildinfo).ok()?,
            },
            in_order: written.in_order,
            tar_bytes: written.tar_bytes,
        })
    }
}

/// Any bytes as text: each is the character of its number.
fn to_text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn from_text(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
}

#[derive(Serialize, Deserialize)]
struct SummaryDocument {
    in_order: bool,
    tar_bytes: u64,
    pkginfo: Option<String>,
    buildinfo: Option<String>,
    /// Kind, path, target.
    entries: Vec<(char, String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_counts() {
        let entry = |path: &[u8], kind| {
            let path = EntryPath::parse(path).unwrap();
            PackageEntry { path, kind, attributes: Attributes::new(0) }
        };
        let entries = vec![
            entry(b"bin", EntryKind::Directory),
            entry(b"bin/link", EntryKind::Symlink { target: b"../\xfe".to_vec() }),
            entry(b"bin/\xff\"\n", EntryKind::File { size: 0 }),
            entry(b"fifo", EntryKind::Fifo),
        ];
        let index =
            PackageIndex { entries, pkginfo: Some(b"{\"\xc3\xa4\"}".to_vec()), buildinfo: None };
        let folder = EntryPath::parse(b"packages/a--1").unwrap();
        let summary = Summary::of(index, &folder);
        assert!(summary.in_order);
        assert_eq!(summary.tar_bytes, 4 * 512);
        assert_eq!(Summary::from_json(summary.to_json().as_bytes()), Some(summary.clone()));
        for bad in ["", "{}", &summary.to_json().replace("\"p\"", "\"x\"")] {
            assert_eq!(Summary::from_json(bad.as_bytes()), None, "{bad}");
        }
    }

    /// A summary in the form of the version before. Another form needs another `VERSION` of the parts, whose folder
    /// the older program does not look into.
    #[test]
    fn a_part_of_the_version_before_is_read() {
        let kept = r#"{"in_order":true,"tar_bytes":2048,"pkginfo":"{\"Ã¤\"}","buildinfo":null,"entries":[["d","bin",""],["l","bin/link","../þ"],["f","bin/ÿ\"\n",""],["p","fifo",""]]}"#;
        let summary = Summary::from_json(kept.as_bytes()).unwrap();
        assert_eq!(summary.index.entries.len(), 4);
        assert_eq!(summary.index.pkginfo.as_deref(), Some(&b"{\"\xc3\xa4\"}"[..]));
        assert_eq!(summary.to_json(), kept);
    }
}
