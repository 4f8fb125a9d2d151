//! Digest of the files of a COPY, as the build cache's key has it: content, paths, kinds, modes, symlinks, hard
//! links and attributes. Times don't count, nor do owners unless they are kept. Nothing is held in memory
//! but the numbers of files with several names.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::{ContextEntry, ContextEntryKind, ContextError, ContextFiles, kept_attributes};
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::regular::open_regular;

/// A digest under way.
#[derive(Debug, Default)]
pub struct Sum {
    hasher: Sha256,
    owners: bool,
    /// Number of files that were added.
    files: u64,
    /// Number of the files' bytes.
    bytes: u64,
    /// Files with several names, each with the number of the first of them.
    linked: HashMap<(u64, u64), u64>,
}

/// The digest of entries, in their order.
pub fn digest(
    files: &ContextFiles,
    entries: impl IntoIterator<Item = Result<ContextEntry, ContextError>>,
    owners: bool,
) -> Result<Sha256Sum, ContextError> {
    let mut sum = Sum::new(owners);
    for entry in entries {
        sum.add(files, &entry?)?;
    }
    Ok(sum.finish())
}

impl Sum {
    /// Starts with nothing; with `owners`, these count too.
    pub fn new(owners: bool) -> Self {
        Self { hasher: Sha256::new(), owners, files: 0, bytes: 0, linked: HashMap::new() }
    }

    /// Adds a label for the following data.
    pub fn add_label(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    /// Adds an entry, whose content is read.
    pub fn add(&mut self, files: &ContextFiles, entry: &ContextEntry) -> Result<(), ContextError> {
        self.field(entry.place.as_os_str().as_bytes());
        let letter = match &entry.kind {
            ContextEntryKind::File => b'f',
            ContextEntryKind::Folder => b'd',
            ContextEntryKind::Link(_) => b'l',
            ContextEntryKind::Other => b'o',
        };
        self.hasher.update(&[letter]);
        if self.owners {
            self.hasher.update(&entry.metadata.uid().to_le_bytes());
            self.hasher.update(&entry.metadata.gid().to_le_bytes());
        }
        match &entry.kind {
            // A link's mode means nothing.
            ContextEntryKind::Link(target) => self.field(target.as_os_str().as_bytes()),
            ContextEntryKind::Folder => {
                self.hasher.update(&entry.mode().to_le_bytes());
                self.attributes(files, entry).map_err(|source| ContextError::Look { source })?;
            }
            ContextEntryKind::Other => {
                self.hasher.update(&entry.metadata.mode().to_le_bytes());
                let kind = entry.metadata.file_type();
                if kind.is_char_device() || kind.is_block_device() {
                    self.hasher.update(&entry.metadata.rdev().to_le_bytes());
                }
            }
            ContextEntryKind::File => {
                self.hasher.update(&entry.mode().to_le_bytes());
                let number = self.files;
                self.files += 1;
                let mut first = number;
                if entry.metadata.nlink() > 1 {
                    let file = (entry.metadata.dev(), entry.metadata.ino());
                    first = *self.linked.entry(file).or_insert(number);
                }
                // Another name is one of the copy only if it is copied too: 0 says that none is.
                self.hasher.update(&(number - first).to_le_bytes());
                let look = |source| ContextError::Look { source };
                self.attributes(files, entry).map_err(look)?;
                self.bytes = self.bytes.saturating_add(entry.metadata.len());
                if self.bytes > files.most {
                    let (path, most) = (entry.path.clone(), files.most);
                    return Err(ContextError::TooLarge { path, most });
                }
                self.content(files, entry).map_err(look)?;
            }
        }
        Ok(())
    }

    /// Digest of all added data.
    pub fn finish(self) -> Sha256Sum {
        Sha256Sum::from_hasher(self.hasher)
    }

    fn attributes(&mut self, files: &ContextFiles, entry: &ContextEntry) -> io::Result<()> {
        let attributes = kept_attributes(&files.root.join(&entry.path))?;
        self.hasher.update(&(attributes.len() as u64).to_le_bytes());
        for (name, value) in attributes {
            self.field(name.as_bytes());
            self.field(&value);
        }
        Ok(())
    }

    /// The length stands behind the content: the file may be written to meanwhile.
    fn content(&mut self, files: &ContextFiles, entry: &ContextEntry) -> io::Result<()> {
        let mut file = open_regular(&files.root.join(&entry.path))?;
        // On the stack: most files are small, and there may be ten thousand of them.
        let mut buffer = [0; 1 << 14];
        let mut length: u64 = 0;
        loop {
            if files.interrupt.is_raised() {
                return Err(io::Error::other("interrupted"));
            }
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.hasher.update(&length.to_le_bytes());
        Ok(())
    }

    // With its length, so that two lists of fields never give the same bytes.
    fn field(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }
}
