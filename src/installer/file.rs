//! File of an installer, as read by the program inside: members stay in place and are unpacked on
//! demand. The head of the file has verified the digest of the whole.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::InstallerError;
use super::manifest::{FORMAT, InstallerManifest, MANIFEST, PROVIDER};
use crate::archive::EntryPath;
use crate::base::regular::open_measured;
use crate::provider::{Provider, ProviderError};

/// Largest manifest and largest file of a provider, in bytes.
const LONGEST: u64 = 16 << 20;

/// Most members.
const MOST: usize = 100_000;

/// An open installer.
#[derive(Debug)]
pub struct InstallerFile {
    path: PathBuf,
    file: fs_err::File,
    members: BTreeMap<String, InstallerMember>,
    manifest: InstallerManifest,
}

/// Place of a member's content.
#[derive(Debug, Clone, Copy)]
struct InstallerMember {
    offset: u64,
    size: u64,
}

/// File without its first bytes.
struct Rest<'f> {
    file: &'f fs_err::File,
    start: u64,
}

impl Read for Rest<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file;
        file.read(buffer)
    }
}

impl Seek for Rest<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(at + self.start),
            other => other,
        };
        let mut file = self.file;
        let at = file.seek(to)?;
        at.checked_sub(self.start).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}

impl InstallerFile {
    /// Opens an installer whose archive begins at an offset.
    pub fn open(path: &Path, offset: u64) -> Result<Self, InstallerError> {
        let damaged = |reason: String| InstallerError::Damaged { path: path.to_owned(), reason };
        let (file, size) = open_measured(path).map_err(|error| damaged(error.to_string()))?;
        let members = members(&file, offset, size).map_err(|error| damaged(error.to_string()))?;
        let mut text = Vec::new();
        read_member(&file, &members, MANIFEST)
            .and_then(|mut content| content.read_to_end(&mut text))
            .map_err(|error| damaged(error.to_string()))?;
        let manifest: InstallerManifest = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        if manifest.format != FORMAT {
            return Err(damaged(format!("its format is {}, not {FORMAT}", manifest.format)));
        }
        Ok(Self { path: path.to_owned(), file, members, manifest })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Description of the contents.
    pub fn manifest(&self) -> &InstallerManifest {
        &self.manifest
    }

    /// Names and sizes of all members.
    pub fn list(&self) -> impl Iterator<Item = (&str, u64)> {
        self.members.iter().map(|(name, member)| (name.as_str(), member.size))
    }

    /// The provider of configurations.
    pub fn provider(&self) -> Result<Provider, InstallerError> {
        let mut files = Vec::new();
        for name in self.members.keys() {
            let Some(file) = name.strip_prefix(PROVIDER) else { continue };
            let mut text = String::new();
            read_member(&self.file, &self.members, name)
                .and_then(|mut content| content.read_to_string(&mut text))
                .map_err(|source| ProviderError::Read { path: name.into(), source })?;
            files.push((file.to_owned(), text));
        }
        Ok(Provider::from_texts(&self.manifest.provider, files)?)
    }

    /// Copies a member into a new file, by the kernel where the filesystem can.
    pub(super) fn copy(&self, name: &str, target: &Path) -> io::Result<()> {
        let mut content = self.content(name)?;
        let mut file = fs_err::File::create_new(target)?;
        io::copy(&mut content, file.file_mut())?;
        Ok(())
    }

    fn content(&self, name: &str) -> io::Result<io::Take<&std::fs::File>> {
        let member = self.members.get(name).ok_or_else(|| missing(name))?;
        let mut file = self.file.file();
        file.seek(SeekFrom::Start(member.offset))?;
        Ok(file.take(member.size))
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no member {name}"))
}

fn read_member<'f>(
    file: &'f fs_err::File,
    members: &BTreeMap<String, InstallerMember>,
    name: &str,
) -> io::Result<io::Take<&'f std::fs::File>> {
    let member = members.get(name).ok_or_else(|| missing(name))?;
    if member.size > LONGEST {
        return Err(io::Error::other(format!("{name} is too long")));
    }
    let mut file = file.file();
    file.seek(SeekFrom::Start(member.offset))?;
    Ok(file.take(member.size))
}

/// Reads the headers of all members.
fn members(
    file: &fs_err::File,
    offset: u64,
    size: u64,
) -> io::Result<BTreeMap<String, InstallerMember>> {
    let mut rest = Rest { file, start: offset };
    rest.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(rest);
    let mut members = BTreeMap::new();
    // Over the contents, which may be gigabytes, it only seeks.
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = entry.path_bytes();
        // Members are written below a folder by their names, so none may lead out.
        let name = EntryPath::parse(&path)
            .ok()
            .filter(|_| entry.header().entry_type().is_file())
            .and_then(|path| String::from_utf8(path.as_bytes().to_vec()).ok());
        let name =
            name.ok_or_else(|| io::Error::other("a member has a name that none can have"))?;
        let member =
            InstallerMember { offset: offset + entry.raw_file_position(), size: entry.size() };
        // A copy of the member would otherwise end early without an error.
        if member.offset.checked_add(member.size).is_none_or(|end| end > size) {
            return Err(io::Error::other(format!("{name} ends behind the end of the file")));
        }
        if members.insert(name, member).is_some() || members.len() > MOST {
            return Err(io::Error::other("there are too many members, or two of one name"));
        }
    }
    Ok(members)
}
