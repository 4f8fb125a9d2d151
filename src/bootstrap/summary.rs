//! Summary of a package for a bootstrap, needed before its entries are written: kept, so that the
//! package is not unpacked twice.

use serde::{Deserialize, Serialize};

use crate::archive::{Attributes, EntryKind, EntryPath, PackageEntry, PackageIndex};

/// Summary of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    /// Entries and documents of the package.
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
            // About what a `ustar` name takes; a longer one has two more blocks, for its pax header
            // and its records. The sum decides how packages are grouped, and need not be exact.
            let long = folder.as_bytes().len() + entry.path.as_bytes().len() > 96;
            entry.padded_size() + if long { 3 * 512 } else { 512 }
        });
        let tar_bytes = entries.sum();
        Self { index, in_order, tar_bytes }
    }

    /// As text.
    pub(super) fn to_json(&self) -> String {
        let written = SummaryDocument {
            in_order: self.in_order,
            is_canonical: self.index.is_canonical,
            tar_bytes: self.tar_bytes,
            pkginfo: self.index.pkginfo.as_deref().map(to_text),
            buildinfo: self.index.buildinfo.as_deref().map(to_text),
            entries: self.index.entries.iter().map(entry_document).collect(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Parses the text; `None` if not valid.
    pub(super) fn from_json(text: &[u8]) -> Option<Self> {
        let written: SummaryDocument = serde_json::from_slice(text).ok()?;
        let document =
            |text: Option<String>| text.map(|text| from_text(&text).ok_or(())).transpose();
        Some(Self {
            index: PackageIndex {
                entries: written.entries.into_iter().map(entry).collect::<Option<_>>()?,
                is_canonical: written.is_canonical,
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
    is_canonical: bool,
    tar_bytes: u64,
    pkginfo: Option<String>,
    buildinfo: Option<String>,
    entries: Vec<EntryDocument>,
}

/// Kind, path, target, size, mode, time, capability.
type EntryDocument = (char, String, String, u64, u32, i64, Option<String>);

fn entry_document(entry: &PackageEntry) -> EntryDocument {
    let (kind, target, size) = match &entry.kind {
        EntryKind::Directory => ('d', &b""[..], 0),
        EntryKind::File { size } => ('f', &b""[..], *size),
        EntryKind::HardLink { target } => ('h', target.as_bytes(), 0),
        EntryKind::Symlink { target } => ('l', &target[..], 0),
        EntryKind::Fifo => ('p', &b""[..], 0),
    };
    let Attributes { mode, mtime, capability } = &entry.attributes;
    let [path, target] = [entry.path.as_bytes(), target].map(to_text);
    (kind, path, target, size, *mode, *mtime, capability.as_deref().map(to_text))
}

/// Parses an entry; `None` if not valid.
fn entry(written: EntryDocument) -> Option<PackageEntry> {
    let (kind, path, target, size, mode, mtime, capability) = written;
    let parse = |path: &str| match path {
        "" => Some(EntryPath::root()),
        path => EntryPath::parse(&from_text(path)?).ok(),
    };
    let kind = match kind {
        'd' => EntryKind::Directory,
        'f' => EntryKind::File { size },
        'h' => EntryKind::HardLink { target: parse(&target)? },
        'l' => EntryKind::Symlink { target: from_text(&target)? },
        'p' => EntryKind::Fifo,
        _ => return None,
    };
    let capability = match capability {
        Some(capability) => Some(from_text(&capability)?),
        None => None,
    };
    let attributes = Attributes { mode, mtime, capability };
    Some(PackageEntry { path: parse(&path)?, kind, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_counts() {
        let entry = |path: &[u8], kind, attributes| {
            let path = match path {
                b"" => EntryPath::root(),
                path => EntryPath::parse(path).unwrap(),
            };
            PackageEntry { path, kind, attributes }
        };
        let plain = Attributes { mode: 0o4755, mtime: -7, capability: None };
        let capable = Attributes { capability: Some(b"\0\xff".to_vec()), ..plain.clone() };
        let target = EntryPath::parse(b"bin/\xff\"\n").unwrap();
        let entries = vec![
            entry(b"", EntryKind::Directory, plain.clone()),
            entry(b"bin", EntryKind::Directory, plain.clone()),
            entry(b"bin/link", EntryKind::Symlink { target: b"../\xfe".to_vec() }, plain.clone()),
            entry(b"bin/\xff\"\n", EntryKind::File { size: 513 }, capable),
            entry(b"fifo", EntryKind::Fifo, plain.clone()),
            entry(b"hard", EntryKind::HardLink { target }, plain),
        ];
        let index = PackageIndex {
            entries,
            is_canonical: true,
            pkginfo: Some(b"{\"\xc3\xa4\"}".to_vec()),
            buildinfo: None,
        };
        let folder = EntryPath::parse(b"packages/a--1").unwrap();
        let summary = Summary::of(index, &folder);
        assert!(summary.in_order);
        assert_eq!(summary.tar_bytes, 8 * 512);
        assert_eq!(Summary::from_json(summary.to_json().as_bytes()), Some(summary.clone()));
        for bad in ["", "{}", &summary.to_json().replace("\"p\"", "\"x\"")] {
            assert_eq!(Summary::from_json(bad.as_bytes()), None, "{bad}");
        }
    }

    /// A summary in the form of this `VERSION` of the parts. Another form needs another one: neither program looks
    /// into the folder of the other.
    #[test]
    fn the_form_of_this_version_stays() {
        let kept = r#"{"in_order":true,"is_canonical":false,"tar_bytes":2048,"pkginfo":"{\"Ã¤\"}","buildinfo":null,"entries":[["d","","",0,493,0,null],["l","bin/link","../þ",0,511,-7,null],["f","bin/ÿ\"\n","",9,420,1,"\u0001"],["p","fifo","",0,420,2,null]]}"#;
        let summary = Summary::from_json(kept.as_bytes()).unwrap();
        assert_eq!(summary.index.entries.len(), 4);
        assert_eq!(summary.index.pkginfo.as_deref(), Some(&b"{\"\xc3\xa4\"}"[..]));
        assert_eq!(summary.to_json(), kept);
    }
}
