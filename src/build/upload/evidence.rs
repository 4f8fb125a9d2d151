//! The rule for archives that leave a tree's cache: a record of this home has the archive's SHA-256, or a
//! trusted key signed the archive. A tree may bring a `cache/` of its own, which proves nothing.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::{ArchiveLimits, CompressionLevel};
use crate::artifact::signed_id;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::base::regular::{open_regular, read_regular};
use crate::base::remedy::for_size;
use crate::build::cache::is_file;
use crate::build::job::Built;
use crate::build::record::{self, BuildEnding, Record};
use crate::package::PackageId;
use crate::runner::home::Home;
use crate::store::signature::{Claim, LONGEST, SUFFIX, TrustedKeys};

/// Records and keys that make archives trusted.
#[derive(Clone, Copy)]
pub struct Evidence<'e> {
    /// Home with the records of builds.
    pub home: &'e Home,
    /// Keys of the user.
    pub keys: &'e TrustedKeys,
    /// Limits of archives: a longer one is not read.
    pub limits: ArchiveLimits,
    /// State of the run, with which reading ends.
    pub observer: &'e dyn Observer,
}

impl std::fmt::Debug for Evidence<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Evidence");
        shown.field("home", self.home).field("keys", self.keys).finish_non_exhaustive()
    }
}

/// Reason to believe an archive.
#[derive(Debug)]
pub enum Ground {
    /// This home built the archive; `buildinfo` is the package's `buildinfo.full.json`.
    Built {
        /// Digests of the build.
        built: Box<Built>,
        /// Description of the package.
        buildinfo: serde_json::Value,
    },
    /// A trusted key signed the archive: text of the signature.
    Signed(String),
}

/// An archive must not leave the tree's cache.
#[derive(Debug, thiserror::Error)]
pub enum UnprovenError {
    /// The archive is not trusted.
    #[error(
        "not sent: this machine has no record of making an archive with the SHA-256 {sha256}, and no trusted key signed it"
    )]
    Unknown {
        /// The archive.
        archive: PathBuf,
        /// SHA-256 of the archive.
        sha256: Sha256Sum,
    },
    /// The archive is for this machine alone.
    #[error("not sent: it was compressed with --compression={}, for this machine alone", level.as_str())]
    Level {
        /// The archive.
        archive: PathBuf,
        /// Level of compression.
        level: CompressionLevel,
    },
    /// The archive cannot be read.
    #[error("the archive cannot be read")]
    File(#[source] io::Error),
}

impl UnprovenError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { archive, .. } => Some(format!(
                "remove {} and build again, or fetch it from where it is signed: --require-signature=PUBKEY",
                archive.display()
            )),
            Self::Level { archive, .. } => Some(build_again(archive)),
            Self::File(error) => for_size(error).map(str::to_owned),
        }
    }
}

impl Evidence<'_> {
    /// Returns the sum of an archive.
    pub fn sum(&self, archive: &Path) -> Result<Sha256Sum, UnprovenError> {
        let ends = || self.observer.is_interrupted();
        Sha256Sum::of_file_within(archive, self.limits.max_bytes, ends).map_err(UnprovenError::File)
    }

    /// Finds the reason to believe a package's archive; returns the archive's sum, too.
    pub fn of_package(
        &self,
        id: &PackageId,
        archive: &Path,
    ) -> Result<(Sha256Sum, Ground), UnprovenError> {
        let sha256 = self.sum(archive)?;
        let ground = self.ground(id, &sha256, archive);
        let ground = ground.ok_or_else(|| unknown(archive, &sha256))?;
        Ok((sha256, ground))
    }

    /// True if a package's archive with this sum is to be believed. `archive` is the place of the archive,
    /// and of the signature beside it.
    pub fn vouches_for(&self, id: &PackageId, sha256: &Sha256Sum, archive: &Path) -> bool {
        self.ground(id, sha256, archive).is_some()
    }

    fn ground(&self, id: &PackageId, sha256: &Sha256Sum, archive: &Path) -> Option<Ground> {
        let record = self.record(id);
        let built = record.and_then(|record| match record.ending {
            BuildEnding::Built(built) if built.sha256 == *sha256 => Some((built, record.buildinfo)),
            _ => None,
        });
        match built {
            Some((built, buildinfo)) => Some(Ground::Built { built: Box::new(built), buildinfo }),
            None => self.signature(id.to_string().as_str(), sha256, archive).map(Ground::Signed),
        }
    }

    /// Returns the text of the signature beside a file, if a trusted key has signed this digest.
    /// `id` is the file's id in its repository.
    pub fn signature(&self, id: &str, sha256: &Sha256Sum, file: &Path) -> Option<String> {
        if self.keys.is_empty() {
            return None;
        }
        let mut beside = file.as_os_str().to_owned();
        beside.push(SUFFIX);
        let beside = Path::new(&beside);
        if !is_file(beside) {
            return None;
        }
        let text = read_regular(beside, LONGEST).ok()?;
        let content = open_regular(file).ok()?;
        let claim = Claim::read(&text, self.keys).ok()?;
        let mut content = crate::base::digest::Tee::new(content);
        claim.verify(&mut content, signed_id(id)).ok()?;
        // The file that was verified must be the one whose digest was taken: in between it may have
        // been replaced.
        (content.finish().1.sha256 == *sha256).then(|| String::from_utf8(text).ok())?
    }

    fn record(&self, id: &PackageId) -> Option<Record> {
        let record: Record = record::read(&self.home.build(id))?;
        (record.id == *id).then_some(record)
    }
}

/// Level of compression of a package's archive if this home made the archive for itself, that is, not at
/// the default level.
pub fn own_level(
    home: &Home,
    id: &PackageId,
    archive: &Path,
) -> io::Result<Option<CompressionLevel>> {
    let record: Option<Record> = record::read(&home.build(id));
    let Some(Record { ending: BuildEnding::Built(built), .. }) = record else { return Ok(None) };
    let is_own = !built.compression.is_default() && Sha256Sum::of_file(archive)? == built.sha256;
    Ok(is_own.then_some(built.compression))
}

/// Remedy for an archive that is for this machine alone.
pub fn build_again(archive: &Path) -> String {
    format!("remove {} and build again with --compression=default", archive.display())
}

/// Returns the error of an untrusted archive.
pub fn unknown(archive: &Path, sha256: &Sha256Sum) -> UnprovenError {
    UnprovenError::Unknown { archive: archive.to_owned(), sha256: sha256.clone() }
}
