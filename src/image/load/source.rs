//! Access to the parts of an image: in a layout's folder, or in an archive that has been read.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use super::error::LoadProblem;
use super::staging::{Blob, Staging};
use crate::archive::{ArchiveLimits, MemberKind, TarReader};
use crate::base::regular::open_regular;
use crate::image::digest::BlobDigest;
use crate::image::document::LONGEST_DOCUMENT;

/// Upper limit of links from name to name before a chain counts as a loop.
const LONGEST_CHAIN: usize = 16;

/// A layout.
pub(super) enum LayoutSource<'s> {
    Folder(&'s Path),
    Archive(&'s StagedArchive),
}

/// An archive whose files all lie in the staging folder.
pub(super) struct StagedArchive {
    names: HashMap<String, StagedNode>,
}

#[derive(PartialEq, Eq)]
enum StagedNode {
    File(BlobDigest),
    /// A link to a name from the archive's root; `None` if it leaves the archive.
    Link(Option<String>),
}

impl LayoutSource<'_> {
    /// Reads a document by its name.
    pub(super) fn document(
        &self,
        staging: &Staging<'_>,
        name: &str,
    ) -> Result<Vec<u8>, LoadProblem> {
        match self {
            Self::Archive(archive) => staging.document(archive.file(staging, name, name)?, name),
            Self::Folder(folder) => {
                let path = folder.join(name);
                if !path.exists() {
                    let (what, name) = ("the layout".to_owned(), name.to_owned());
                    return Err(LoadProblem::Missing { what, name });
                }
                let mut bytes = Vec::new();
                let file = open_file(&path)?;
                file.take(LONGEST_DOCUMENT + 1)
                    .read_to_end(&mut bytes)
                    .map_err(LoadProblem::Read)?;
                if bytes.len() as u64 > LONGEST_DOCUMENT {
                    let (what, bytes) = (name.to_owned(), bytes.len() as u64);
                    return Err(LoadProblem::LongDocument { what, bytes });
                }
                Ok(bytes)
            }
        }
    }

    /// Returns a blob by its digest, which has been checked. `what` is the blob's role, for
    /// messages.
    pub(super) fn blob(
        &self,
        staging: &mut Staging<'_>,
        digest: &BlobDigest,
        size: u64,
        what: &str,
    ) -> Result<Blob, LoadProblem> {
        let blob = match (staging.get(digest), self) {
            (Some(blob), _) => blob.clone(),
            (None, Self::Archive(archive)) => {
                archive.file(staging, &format!("blobs/sha256/{}", digest.hex()), what)?.clone()
            }
            (None, Self::Folder(folder)) => {
                let path = folder.join("blobs/sha256").join(digest.hex());
                if !path.exists() {
                    let (what, name) = (what.to_owned(), digest.to_string());
                    return Err(LoadProblem::Missing { what, name });
                }
                let file = open_file(&path)?;
                let found = file.metadata().map_err(LoadProblem::Read)?.len();
                // Before the copy: a sparse file of terabytes would fill the disk.
                check_size(what, size, found)?;
                staging.add(file)?
            }
        };
        if blob.digest != *digest {
            return Err(LoadProblem::Digest {
                what: what.to_owned(),
                expected: digest.clone(),
                found: blob.digest,
            });
        }
        check_size(what, size, blob.size)?;
        Ok(blob)
    }
}

impl StagedArchive {
    /// Reads an uncompressed archive to its end; all its files are staged.
    pub(super) fn read(
        input: impl Read,
        limits: ArchiveLimits,
        staging: &mut Staging<'_>,
    ) -> Result<Self, LoadProblem> {
        let mut tar = TarReader::new(input, &limits);
        let mut names = HashMap::new();
        while let Some(member) = tar.next_member()? {
            let name = String::from_utf8_lossy(&member.name);
            let target = String::from_utf8_lossy(&member.link);
            let node = match member.kind {
                // Read at once, whatever it is: a pipe cannot go back once `manifest.json` has said
                // what is needed.
                MemberKind::File => StagedNode::File(staging.add(&mut tar)?.digest),
                MemberKind::HardLink => StagedNode::Link(normalize("", &target)),
                // `docker save` writes one for a layer that several images share.
                MemberKind::Symlink => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    StagedNode::Link(normalize(folder, &target))
                }
                // Images don't consist of folders and devices.
                _ => continue,
            };
            // A name that leads out of the archive is none that anything could be looked up by.
            let Some(name) = normalize("", &name) else { continue };
            // Readers differ in which of two members counts, so one could check another image than
            // is used.
            if names.get(&name).is_some_and(|old| *old != node) {
                return Err(LoadProblem::Duplicate { name });
            }
            names.insert(name, node);
        }
        // To the end, so that a truncated archive is refused, and a writer in a pipe gets no
        // SIGPIPE.
        tar.finish()?;
        Ok(Self { names })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The file that a name means, through links.
    pub(super) fn file<'b>(
        &self,
        staging: &'b Staging<'_>,
        name: &str,
        what: &str,
    ) -> Result<&'b Blob, LoadProblem> {
        let mut current = normalize("", name);
        for _ in 0..LONGEST_CHAIN {
            match current.as_deref().and_then(|name| self.names.get(name)) {
                Some(StagedNode::Link(target)) => current.clone_from(target),
                Some(StagedNode::File(digest)) => match staging.get(digest) {
                    Some(blob) => return Ok(blob),
                    None => break,
                },
                None => break,
            }
        }
        Err(LoadProblem::Missing { what: what.to_owned(), name: name.to_owned() })
    }
}

/// Opens a file of a layout, which has to be a regular one: a FIFO would wait for a writer.
fn open_file(path: &Path) -> Result<fs_err::File, LoadProblem> {
    open_regular(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => LoadProblem::NoFile { path: path.to_owned() },
        _ => LoadProblem::Read(error),
    })
}

fn check_size(what: &str, expected: u64, found: u64) -> Result<(), LoadProblem> {
    if expected == found {
        return Ok(());
    }
    Err(LoadProblem::Size { what: what.to_owned(), expected, found })
}

/// Normalizes a name for comparisons: without `.` and with `..` resolved by text; `None` for an
/// absolute name or a name outside of the archive. `from` is the folder of the link.
fn normalize(from: &str, name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
