//! Records beside the packages.
//!
//! ```text
//! <repository>/.pkgpanda/files/<id>      what the package had when it came: a JSON list a line
//! <repository>/.pkgpanda/late/<id>       the sum of the values that the late package was rendered with
//! <state>/.pkgpanda/previous-<sum>.json   the set to go back to, where active.old of the root does not say it
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::Host;
use crate::archive::{ArchiveLimits, EntryKind, EntryPath, PackageEntry, PackageReader, ReadError};
use crate::base::atomic;
use crate::base::atomic::{AtomicFile, Unswept};
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::removal::remove_all;
use crate::package::PackageId;

/// Folder of records in a repository.
const FOLDER: &str = ".pkgpanda";

/// Number of digits of a root's sum in a name.
const SUM_DIGITS: usize = 16;

/// Subfolder with the original files of packages.
const FILES: &str = "files";

/// Subfolder with the values of late packages.
const LATE: &str = "late";

/// Contents of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PackageManifest(pub(super) BTreeMap<EntryPath, PackageItem>);

/// Entry of a package. Modes are those of files and folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PackageItem {
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
        size: u64,
        sha256: Sha256Sum,
    },
    Link {
        target: String,
    },
    Fifo {
        mode: u32,
    },
    /// Never in a package, but perhaps where one should be.
    Other {},
}

/// Line of a record: the escaped path, and the entry.
type RecordLine = (String, PackageItem);

impl PackageManifest {
    /// Adds an entry of an archive; `sum` is the digest of its content.
    pub(super) fn add(&mut self, entry: PackageEntry, sum: Option<Sha256Sum>) {
        let mode = entry.attributes.mode & 0o7777;
        let item = match entry.kind {
            EntryKind::Directory => PackageItem::Folder { mode },
            EntryKind::Fifo => PackageItem::Fifo { mode },
            EntryKind::Symlink { target } => PackageItem::Link { target: escaped(&target) },
            EntryKind::File { size } => match sum {
                Some(sha256) => PackageItem::File { mode, size, sha256 },
                None => return,
            },
            EntryKind::HardLink { target } => match self.0.get(&target) {
                Some(item) => item.clone(),
                None => return,
            },
        };
        self.0.insert(entry.path, item);
    }

    /// Reads the contents of an archive.
    pub(super) fn of_archive(archive: impl Read) -> Result<Self, ReadError> {
        let mut reader = PackageReader::new(archive, &ArchiveLimits::default())?;
        let mut manifest = Self::default();
        while let Some(entry) = reader.next_entry()? {
            let sum = match entry.kind {
                EntryKind::File { .. } => {
                    let sum = Sha256Sum::of_reader(&mut reader).map_err(ReadError::Stream)?;
                    Some(sum)
                }
                _ => None,
            };
            manifest.add(entry, sum);
        }
        Ok(manifest)
    }

    /// Reads the contents of a folder, including files.
    pub(super) fn of_folder(folder: &Path) -> io::Result<Self> {
        let mut manifest = Self::default();
        let mut open = vec![EntryPath::root()];
        while let Some(path) = open.pop() {
            let place = folder.join(path.as_path());
            let Some(item) = look(&place)? else { continue };
            if matches!(item, PackageItem::Folder { .. }) {
                for entry in fs_err::read_dir(&place)? {
                    let name = entry?.file_name();
                    let name = EntryPath::parse(name.as_bytes()).map_err(io::Error::other)?;
                    open.push(path.join(&name));
                }
            }
            manifest.0.insert(path, item);
        }
        Ok(manifest)
    }

    /// True if there is a file at a path.
    pub(super) fn is_file(&self, path: &EntryPath) -> bool {
        matches!(self.0.get(path), Some(PackageItem::File { .. }))
    }

    /// Records the contents of a package.
    pub(super) fn write(&self, repository: &Path, id: &PackageId) -> io::Result<()> {
        make_folder(repository)?;
        let mut file = AtomicFile::create(&place(repository, id))?;
        let mut out = BufWriter::new(&mut file);
        for (path, item) in &self.0 {
            serde_json::to_writer(&mut out, &(escaped(path.as_bytes()), item))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
        drop(out);
        // Synced with the package itself.
        file.commit_unsynced()
    }

    /// Returns the original contents of a package; `None` without a record.
    pub(super) fn read(repository: &Path, id: &PackageId) -> io::Result<Option<Self>> {
        let path = place(repository, id);
        let file = match fs_err::File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut manifest = Self::default();
        let broken =
            || io::Error::other(format!("{} is not a record of a package's files", path.display()));
        for line in BufReader::new(file).lines() {
            let (name, item): RecordLine =
                serde_json::from_str(&line?).map_err(|_not_json| broken())?;
            let name = unescaped(&name).ok_or_else(broken)?;
            let path = match name.as_slice() {
                b"" => EntryPath::root(),
                name => EntryPath::parse(name).map_err(|_odd_name| broken())?,
            };
            manifest.0.insert(path, item);
        }
        Ok(Some(manifest))
    }

    /// Removes the record of a package.
    pub(super) fn remove(repository: &Path, id: &PackageId) -> io::Result<()> {
        remove_all(&late(repository, id))?;
        remove_all(&place(repository, id))
    }
}

/// Returns the entry at a path, with its content; `None` if missing.
pub(super) fn look(path: &Path) -> io::Result<Option<PackageItem>> {
    let metadata = match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let (kind, mode) = (metadata.file_type(), metadata.permissions().mode() & 0o7777);
    Ok(Some(if kind.is_dir() {
        PackageItem::Folder { mode }
    } else if kind.is_symlink() {
        let target = fs_err::read_link(path)?.into_os_string().into_vec();
        PackageItem::Link { target: escaped(&target) }
    } else if kind.is_file() {
        PackageItem::File { mode, size: metadata.len(), sha256: sum_of(path)? }
    } else if kind.is_fifo() {
        PackageItem::Fifo { mode }
    } else {
        PackageItem::Other {}
    }))
}

fn sum_of(path: &Path) -> io::Result<Sha256Sum> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Sum::from_hasher(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Removes leftovers of dead processes: partial records, and records of packages that never
/// arrived. The caller holds the lock.
pub(super) fn sweep(repository: &Path) -> Unswept {
    let folder = repository.join(FOLDER);
    let mut unswept = atomic::sweep_temporaries(&folder);
    for kind in [FILES, LATE] {
        let records = folder.join(kind);
        unswept.add(atomic::sweep_temporaries(&records));
        let entries = match fs_err::read_dir(&records) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                unswept.note(Err(error));
                continue;
            }
            Ok(entries) => entries,
        };
        for entry in entries {
            // A record is written before its package has its name, and removed after the package.
            let is_left = |name: &OsStr| repository.join(name).symlink_metadata().is_err();
            unswept.note(match entry {
                Ok(entry) if is_left(&entry.file_name()) => remove_all(&entry.path()),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            });
        }
    }
    unswept
}

/// Makes the folder of records, private to the owner: the digest of a file may reveal a short
/// secret inside.
fn make_folder(repository: &Path) -> io::Result<()> {
    fs_err::create_dir_all(repository)?;
    let folder = repository.join(FOLDER);
    match fs_err::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs_err::set_permissions(folder, PermissionsExt::from_mode(0o700)),
    }
}

fn place(repository: &Path, id: &PackageId) -> PathBuf {
    repository.join(FOLDER).join(FILES).join(id.to_string())
}

fn late(repository: &Path, id: &PackageId) -> PathBuf {
    repository.join(FOLDER).join(LATE).join(id.to_string())
}

/// Records the values of a late package before it is rendered; the caller holds the lock.
pub(super) fn write_late(repository: &Path, id: &PackageId, sum: &Sha256Sum) -> io::Result<()> {
    make_folder(repository)?;
    let mut file = AtomicFile::create(&late(repository, id))?;
    file.write_all(sum.to_string().as_bytes())?;
    file.commit_unsynced()
}

/// Returns the digest of a late package's values, if known.
pub(super) fn read_late(repository: &Path, id: &PackageId) -> io::Result<Option<Sha256Sum>> {
    match fs_err::read_to_string(late(repository, id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(other?.parse().ok()),
    }
}

/// Escapes bytes as text: unprintable and non-ASCII bytes, and `%`, as `%` and two digits.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            // JSON has text alone, and names of files are bytes.
            b'%' | ..=b' ' | 127.. => _ = write!(text, "%{byte:02x}"),
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(bytes)
}

/// Path of the record of the previous set, in the state folder: the root's listing is used by
/// others, and the repository may be read-only. Each root has a file of its own.
fn previous(host: &Host) -> PathBuf {
    let sum = Sha256Sum::of(host.root().as_os_str().as_bytes()).to_string();
    host.state().join(FOLDER).join(format!("previous-{}.json", &sum[..SUM_DIGITS]))
}

/// Records the set to go back to.
pub(super) fn write_previous(host: &Host, ids: &[PackageId]) -> io::Result<()> {
    let path = previous(host);
    fs_err::create_dir_all(host.state().join(FOLDER))?;
    let mut file = AtomicFile::create(&path)?;
    file.write_all(&serde_json::to_vec(ids)?)?;
    // A damaged one is as good as none, and waiting for the disk takes time.
    file.commit_unsynced()
}

/// The set to go back to, if it is recorded here.
pub(super) fn read_previous(host: &Host) -> io::Result<Option<Vec<PackageId>>> {
    match fs_err::read(previous(host)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(serde_json::from_slice(&other?).ok()),
    }
}

/// Forgets the set to go back to: `active.old` says it.
pub(super) fn forget_previous(host: &Host) -> io::Result<()> {
    remove_all(&previous(host))?;
    // Gone if nothing else is recorded.
    drop(fs_err::remove_dir(host.state().join(FOLDER)));
    Ok(())
}
