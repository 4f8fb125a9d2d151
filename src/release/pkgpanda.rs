//! The static `pkgpanda`: a host without anything else checks, unpacks and sets up by it.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::artifact::{Artifact, Existing, Source};
use super::error::ReleaseError;
use super::layout::LayoutError;
use crate::base::digest::Sha256Sum;
use crate::base::regular::open_regular;

/// Bytes of the file header and of one program header (64-bit ELF).
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Program header that names a dynamic linker.
const PT_INTERP: u32 = 3;
/// Upper limit of the number of program headers.
const MOST_HEADERS: usize = 128;

/// Static executable with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticPkgpanda {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the content.
    pub sha256: Sha256Sum,
}

impl StaticPkgpanda {
    /// Reads a file, which has to be an executable without a dynamic linker.
    pub fn read(path: &Path) -> Result<Self, ReleaseError> {
        let unusable = |reason: String| ReleaseError::Pkgpanda { path: path.to_owned(), reason };
        let unread = |error: std::io::Error| unusable(error.to_string());
        let mut start = Vec::new();
        let file = open_regular(path).map_err(unread)?;
        // Linkers put the program headers behind the file's.
        file.take(1 << 16).read_to_end(&mut start).map_err(unread)?;
        check_static(&start).map_err(|reason| unusable(reason.to_owned()))?;
        let sha256 = Sha256Sum::of_file(path).map_err(unread)?;
        Ok(Self { path: path.to_owned(), sha256 })
    }

    /// Path below a repository.
    pub fn repository_path(&self) -> String {
        format!("pkgpanda/{}/pkgpanda", self.sha256)
    }

    /// The artifact, the same for all channels.
    pub fn artifact(&self) -> Result<Artifact, ReleaseError> {
        let key = self.repository_path().parse().map_err(LayoutError::from)?;
        let source = Source::File(self.path.clone());
        Ok(Artifact::reproducible(key, source, Existing::HasToBeEqual))
    }
}

/// Checks the beginning of a file.
fn check_static(start: &[u8]) -> Result<(), &'static str> {
    const NOT_ELF: &str = "it is not a 64-bit Linux executable";
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let slice = start.get(at..at.checked_add(bytes)?)?;
        Some(slice.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    let kind = number(16, 2);
    if start.len() < HEADER
        || !start.starts_with(b"\x7fELF\x02\x01")
        || !matches!(kind, Some(2 | 3))
    {
        return Err(NOT_ELF);
    }
    let offset = number(32, 8).and_then(|offset| usize::try_from(offset).ok());
    let count = number(56, 2).and_then(|count| usize::try_from(count).ok());
    let (Some(offset), Some(count)) = (offset, count) else { return Err(NOT_ELF) };
    if number(54, 2) != Some(PROGRAM_HEADER as u64) || !(1..=MOST_HEADERS).contains(&count) {
        return Err(NOT_ELF);
    }
    for index in 0..count {
        let at = offset.checked_add(index * PROGRAM_HEADER).ok_or(NOT_ELF)?;
        match number(at, 4) {
            None => return Err(NOT_ELF),
            Some(kind) if kind == u64::from(PT_INTERP) => {
                return Err("it needs a dynamic linker, which a bare host may lack");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable with program headers of these kinds.
    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        file.extend([0; 8]);
        file.extend(64_u64.to_le_bytes());
        file.extend([0; 8 + 4]);
        file.extend([64, 0, 56, 0, u8::try_from(kinds.len()).unwrap(), 0]);
        file.resize(64, 0);
        for kind in kinds {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn only_static_executables_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pkgpanda");
        let read = |content: &[u8]| {
            fs_err::write(&path, content).unwrap();
            StaticPkgpanda::read(&path)
        };
        let found = read(&elf(&[1, 2])).unwrap();
        assert_eq!(found.sha256, Sha256Sum::of(&elf(&[1, 2])));
        let whole = elf(&[1, PT_INTERP]);
        for (content, said) in [
            (whole.clone(), "dynamic linker"),
            (whole[..100].to_vec(), "64-bit Linux"),
            (elf(&[]), "64-bit Linux"),
            (b"#!/bin/sh\n".to_vec(), "64-bit Linux"),
            (Vec::new(), "64-bit Linux"),
        ] {
            let error = read(&content).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().is_some());
        }
        let own = std::env::current_exe().unwrap();
        assert!(StaticPkgpanda::read(&own).is_err(), "the tests are linked dynamically");
        assert!(StaticPkgpanda::read(folder.path()).is_err());
    }
}
