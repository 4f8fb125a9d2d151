//! The hash of a folder's content in ids and in names of `docker/` images (docs/format.md, "Hash of a
//! folder"): `H` of a dictionary from each file's path to the SHA-1 of its content.
//!
//! Modes are not hashed. Folders are hashed only if they are empty.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::base::digest::{Sha1Sum, Sha256, Sha256Sum};
use crate::base::regular::open_measured;
use crate::base::remedy::RAISE_UNPACKED;
use crate::container::helper::Interrupt;
use crate::package::hash::hash_entries;
use crate::runner::session::RunnerSettings;

/// Reason why a folder has no hash.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something can't be read.
    #[error("can't read what is part of a package's id")]
    Unreadable(#[source] io::Error),
    /// A symlink has no target.
    #[error("{0} is a symlink to something that does not exist")]
    Dangling(PathBuf),
    /// A link to a file that isn't part of the folder, so neither of the id.
    #[error("{link} is a link to {target}, which lies outside of {folder}")]
    Leaves {
        /// The link.
        link: PathBuf,
        /// Target of the link.
        target: PathBuf,
        /// Folder that contains the link.
        folder: PathBuf,
    },
    /// A name is not UTF-8.
    #[error("{0} has a name that is not UTF-8, which has no hash")]
    NotUtf8(PathBuf),
    /// Neither file, folder nor link.
    #[error("{0} is neither a file nor a folder nor a link, so it has no hash")]
    Special(PathBuf),
    /// The files have too many bytes; holes of sparse files count.
    #[error(
        "{} has {bytes} bytes: a package's build script, and all files of its folder extra or docker together, have {most} at most",
        path.display()
    )]
    TooLarge {
        /// File with which the limit is exceeded.
        path: PathBuf,
        /// Length of the file.
        bytes: u64,
        /// The limit.
        most: u64,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl FolderError {
    /// Way to raise the limit, where one is exceeded.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::TooLarge { .. }).then(|| RAISE_UNPACKED.to_owned())
    }
}

/// Hashes files of a tree, which may be of any size and kind: regular files alone, up to a limit,
/// and until the run is interrupted.
#[derive(Debug, Clone, Copy)]
pub struct FileHasher<'a> {
    most: u64,
    interrupt: &'a Interrupt,
}

impl<'a> FileHasher<'a> {
    /// Hasher within the limits of a run.
    pub fn of(runner: &'a RunnerSettings) -> Self {
        Self::new(runner.archives.max_bytes, &runner.interrupt)
    }

    /// Hasher of at most so many bytes of a file, or of all files of a folder.
    pub fn new(most: u64, interrupt: &'a Interrupt) -> Self {
        Self { most, interrupt }
    }

    /// Returns the SHA-1 of a file.
    pub fn hash_file(&self, path: &Path) -> Result<Sha1Sum, FolderError> {
        self.tally().read(path, |file| Sha1Sum::of_reader(file))
    }

    /// Returns the hash of a folder's content. A file in place of the folder has the hash of empty
    /// content, as in the original.
    pub fn hash_folder(&self, folder: &Path) -> Result<Sha1Sum, FolderError> {
        hash_folder(folder, &mut self.tally())
    }

    /// Returns the sum of all of a folder: names, kinds, contents, where links lead, and modes as far as they
    /// are not the umask's.
    pub fn whole_sum(&self, folder: &Path) -> Result<Sha256Sum, FolderError> {
        whole_sum(folder, &mut self.tally())
    }

    fn tally(&self) -> ByteTally<'a> {
        ByteTally { most: self.most, left: self.most, interrupt: self.interrupt }
    }
}

/// Bytes that may still be read.
struct ByteTally<'a> {
    most: u64,
    left: u64,
    interrupt: &'a Interrupt,
}

impl ByteTally<'_> {
    /// Reads a regular file.
    fn read<T>(
        &mut self,
        path: &Path,
        read: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, FolderError> {
        let (file, bytes) = open_measured(path).map_err(FolderError::Unreadable)?;
        let too_large = |bytes, most| FolderError::TooLarge { path: path.to_owned(), bytes, most };
        // Before anything is read: a hole of a terabyte takes no space, but minutes.
        if bytes > self.left {
            return Err(too_large(bytes, self.most));
        }
        let (most, interrupt) = (self.most, self.interrupt);
        let mut metered = MeteredFile { file, tally: self, is_exceeded: false };
        let done = read(&mut metered);
        if metered.is_exceeded {
            return Err(too_large(metered.file.metadata().map_or(bytes, |data| data.len()), most));
        }
        if interrupt.is_raised() {
            return Err(FolderError::Interrupted);
        }
        done.map_err(FolderError::Unreadable)
    }
}

/// A file that ends with an error when the run is interrupted, or when the file grows beyond the limit.
struct MeteredFile<'t, 'i> {
    file: fs_err::File,
    tally: &'t mut ByteTally<'i>,
    is_exceeded: bool,
}

impl Read for MeteredFile<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.tally.interrupt.is_raised() {
            return Err(io::Error::other("interrupted"));
        }
        let count = self.file.read(buffer)?;
        let Some(left) = self.tally.left.checked_sub(count as u64) else {
            self.is_exceeded = true;
            return Err(io::Error::other("the file has grown beyond the limit"));
        };
        self.tally.left = left;
        Ok(count)
    }
}

fn hash_folder(folder: &Path, tally: &mut ByteTally<'_>) -> Result<Sha1Sum, FolderError> {
    let mut entries = BTreeMap::new();
    if folder.is_dir() {
        let root = fs_err::canonicalize(folder).map_err(FolderError::Unreadable)?;
        let mut open = vec![(folder.to_owned(), String::new())];
        while let Some((path, name)) = open.pop() {
            let mut empty = true;
            for entry in fs_err::read_dir(&path).map_err(FolderError::Unreadable)? {
                let entry = entry.map_err(FolderError::Unreadable)?;
                empty = false;
                let path = entry.path();
                let Some(file_name) = entry.file_name().to_str().map(str::to_owned) else {
                    return Err(FolderError::NotUtf8(path));
                };
                let name = if name.is_empty() { file_name } else { format!("{name}/{file_name}") };
                let kind = entry.file_type().map_err(FolderError::Unreadable)?;
                if kind.is_dir() {
                    open.push((path, name));
                } else if let Some(sum) = hash_entry(&path, kind, (folder, &root), tally)? {
                    // The hash of the digits of a hash, as `H` of the original makes it of every
                    // text.
                    entries.insert(name, Sha1Sum::of(sum.as_str().as_bytes()));
                }
            }
            if empty && !name.is_empty() {
                entries.insert(name, Sha1Sum::of(b""));
            }
        }
    }
    Ok(hash_entries(&entries))
}

/// Mode bits that are independent of the caller's umask in a checkout, and that affect an image.
const MODE: u32 = 0o7113;

fn whole_sum(folder: &Path, tally: &mut ByteTally<'_>) -> Result<Sha256Sum, FolderError> {
    let unreadable = FolderError::Unreadable;
    let mut sum = Sha256::new();
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| unreadable(error.into()))?;
        let path = entry.path();
        let name =
            path.strip_prefix(folder).map_err(|error| unreadable(io::Error::other(error)))?;
        let data = fs_err::symlink_metadata(path).map_err(unreadable)?;
        let mode = if data.is_symlink() { 0 } else { data.permissions().mode() & MODE };
        let content = if data.is_symlink() {
            let target = fs_err::read_link(path).map_err(unreadable)?;
            Sha256Sum::of(target.as_os_str().as_bytes()).to_string()
        } else if data.is_file() {
            tally.read(path, |file| Sha256Sum::of_reader(file))?.to_string()
        } else {
            String::new()
        };
        let kind = data.permissions().mode() & 0o170_000;
        let name = name.as_os_str().as_bytes();
        sum.update(format!("{kind:o} {mode:o} {} {content} ", name.len()).as_bytes());
        sum.update(name);
    }
    Ok(Sha256Sum::from_hasher(sum))
}

fn hash_entry(
    path: &Path,
    kind: std::fs::FileType,
    (folder, root): (&Path, &Path),
    tally: &mut ByteTally<'_>,
) -> Result<Option<Sha1Sum>, FolderError> {
    if kind.is_symlink() {
        let target = match fs_err::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Dangling(path.to_owned()));
            }
            Err(error) => return Err(FolderError::Unreadable(error)),
        };
        // The original's walk neither enters a link to a folder nor hashes it.
        if target.is_dir() {
            return Ok(None);
        }
        // Any file of the machine could get into an id so, and differ on the next one.
        if !target.starts_with(root) {
            let (link, folder) = (path.to_owned(), folder.to_owned());
            return Err(FolderError::Leaves { link, target, folder });
        }
    }
    if !fs_err::metadata(path).map_err(FolderError::Unreadable)?.is_file() {
        return Err(FolderError::Special(path.to_owned()));
    }
    tally.read(path, |file| Sha1Sum::of_reader(file)).map(Some)
}
