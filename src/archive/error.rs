//! Errors in terms of the given archive or folder.

use std::io;

use super::limits::LimitExceeded;
use super::path::{EntryPath, NameProblem, readable};

/// A folder can't become an archive.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something in the folder can't be read; the source names it.
    #[error("the folder can't be packed, as something in it can't be read")]
    Input(#[source] io::Error),
    /// The archive can't be written.
    #[error("the archive can't be written")]
    Output(#[source] io::Error),
    /// There are sockets or devices in the folder.
    #[error("an archive can't hold {}", listed(.0))]
    Special(Vec<(EntryPath, &'static str)>),
    /// There is more in the folder than an archive may have.
    #[error(
        "the archive would have {bytes} bytes before compression, and no more than {max_bytes} may be unpacked (holes of sparse files count)"
    )]
    TooLarge {
        /// Size of the archive.
        bytes: u64,
        /// Largest size.
        max_bytes: u64,
    },
    /// There are more entries, or longer names, in the folder than an archive may have.
    #[error("the folder cannot be packed, since its archive could not be unpacked: {limit}")]
    Limit {
        /// Exceeded limit.
        limit: LimitExceeded,
    },
    /// A path is longer than the kernel takes.
    #[error("{beginning}… is too deep: the path of something below it has more than 4,096 bytes")]
    TooDeep {
        /// First part of the path in the folder.
        beginning: String,
    },
    /// A file has changed since the folder was read.
    #[error("{path} changed while it was being packed: it had {size} bytes when packing began")]
    Changed {
        /// The file.
        path: EntryPath,
        /// Its size in bytes when the folder was read.
        size: u64,
    },
}

impl PackError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { max_bytes, .. } => LimitExceeded::Bytes(*max_bytes).remedy(),
            Self::Limit { limit } => limit.remedy(),
            _ => None,
        }
    }
}

/// Remedy for an exceeded limit of archives among the causes of an error.
pub fn limit_remedy(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut causes = std::iter::successors(Some(error), |error| std::error::Error::source(*error));
    causes.find_map(|cause| {
        if let Some(pack) = cause.downcast_ref::<PackError>() {
            return pack.hint();
        }
        let read = match cause.downcast_ref::<UnpackError>() {
            Some(UnpackError::Read(read)) => Some(read),
            _ => cause.downcast_ref::<ReadError>(),
        };
        match read {
            Some(ReadError::Limit(limit)) => limit.remedy(),
            _ => None,
        }
    })
}

fn listed(special: &[(EntryPath, &'static str)]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> =
        special.iter().take(SHOWN).map(|(path, kind)| format!("{path} ({kind})")).collect();
    if special.len() > SHOWN {
        shown.push(format!("{} more", special.len() - SHOWN));
    }
    shown.join(", ")
}

/// Error in an archive, found while reading or unpacking.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The stream ends too early, fails its checksums, or can't be read.
    #[error("the archive can't be read to its end; it is cut off or damaged")]
    Stream(#[source] io::Error),
    /// The tar structure is damaged, or has unsupported features.
    #[error("the archive is damaged at byte {offset} (after decompression): {problem}")]
    Damaged {
        /// Position in bytes of the decompressed stream.
        offset: u64,
        /// Problem at that position.
        problem: &'static str,
    },
    /// The archive unpacks to more than it may.
    #[error("the archive is refused: {0}, which is the limit")]
    Limit(LimitExceeded),
    /// A name that can't be an entry's.
    #[error("the archive is refused: an entry is called {:?}, but {problem}", readable(.name))]
    Name {
        /// The name as the archive has it.
        name: Vec<u8>,
        /// Fault.
        problem: NameProblem,
    },
    /// An entry of a kind that has no place in such an archive.
    #[error("the archive is refused: {path} is {kind}")]
    Kind {
        /// The entry.
        path: EntryPath,
        /// Type of the entry, with its article.
        kind: &'static str,
    },
    /// Two entries have the same path.
    #[error("the archive is refused: it has two entries at {0}")]
    Duplicate(EntryPath),
    /// An entry below something that isn't a folder.
    #[error("the archive is refused: {path} lies below {above}, which is not a folder")]
    Below {
        /// The entry.
        path: EntryPath,
        /// Path of the entry that is not a folder.
        above: EntryPath,
    },
    /// A hard link to something else than an earlier file of the archive.
    #[error("the archive is refused: {path} is a hard link to {target}, which {problem}")]
    HardLink {
        /// The link.
        path: EntryPath,
        /// Target of the link.
        target: EntryPath,
        /// Problem with the target.
        problem: &'static str,
    },
    /// The content of a file is longer or shorter than its header says.
    #[error("the archive is damaged: {path} should have {size} bytes, but hasn't")]
    OtherSize {
        /// The file.
        path: EntryPath,
        /// Number of bytes in the header.
        size: u64,
    },
    /// A document that is read into memory is too large.
    #[error("the archive is refused: {path} has {size} bytes, more than {limit}")]
    Document {
        /// The document.
        path: EntryPath,
        /// Size in bytes.
        size: u64,
        /// Upper limit in bytes.
        limit: u64,
    },
}

impl UnpackError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OwnerNotMapped { .. } => Some(
                "give yourself a larger range of ids in /etc/subuid and /etc/subgid (as root: usermod --add-subuids 100000-1000099999 --add-subgids 100000-1000099999 NAME), or do with one id: --isolation single",
            ),
            _ => None,
        }
    }
}

impl ReadError {
    /// An error of a reader, which may stand for a limit.
    pub(super) fn stream(error: io::Error) -> Self {
        let limit = error.get_ref().and_then(|inner| inner.downcast_ref::<LimitExceeded>());
        match limit {
            Some(limit) => Self::Limit(*limit),
            None => Self::Stream(error),
        }
    }

    pub(super) fn name(name: &[u8], problem: NameProblem) -> Self {
        Self::Name { name: name.to_vec(), problem }
    }
}

/// An archive can't be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive is not valid.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something can't be written.
    #[error("{path} can't be unpacked: {action} failed")]
    Write {
        /// The entry.
        path: EntryPath,
        /// Attempted step.
        action: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The entry's folder is a symlink that leads nowhere, or no folder.
    #[error(
        "the archive is refused: {path} would be written through an entry that is not a folder"
    )]
    ThroughSymlink {
        /// The entry.
        path: EntryPath,
    },
    /// The entry's owner doesn't exist in this user namespace.
    #[error("{path} belongs to {uid}:{gid}, which the id mapping doesn't have")]
    OwnerNotMapped {
        /// The entry.
        path: EntryPath,
        /// Owner of the entry.
        uid: u64,
        /// Group of the entry.
        gid: u64,
    },
    /// The filesystem, or a filter, doesn't let whiteouts be made.
    #[error(
        "{path} can't be marked as deleted: making a character device 0:0 or setting the attribute user.overlay.opaque is not permitted here (the folder has to be on a filesystem that can carry an overlay's upper directory, or the kernel has to be Linux 6.8 or newer)"
    )]
    Whiteout {
        /// Path to be deleted by the layer.
        path: EntryPath,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The record of owners can't be written.
    #[error("the owners of a layer's files can't be recorded")]
    Record(#[source] io::Error),
    /// The file is not an archive that can be unpacked.
    #[error(
        "{file_name:?} cannot be unpacked: it is {found}, and not a tar (with gzip, bzip2, xz, zstd or no compression) or a zip"
    )]
    UnknownFormat {
        /// The file's name.
        file_name: String,
        /// Look of the beginning.
        found: String,
    },
    /// Nothing of a tar is left without the first component of its names.
    #[error(
        "nothing of {file_name:?} would be unpacked: {}",
        .dropped.as_ref().map_or_else(
            || "it is empty".to_owned(),
            |name| format!("the first component of each name is stripped, and no entry has another one (the first is {name:?})"),
        )
    )]
    NothingBelowTop {
        /// The file's name.
        file_name: String,
        /// Name of the first entry.
        dropped: Option<String>,
    },
    /// The zip archive does not have exactly one folder at its top.
    #[error("{file_name:?} must have one folder at its top and nothing beside it, but {problem}")]
    ZipTop {
        /// The file's name.
        file_name: String,
        /// Fault of the contents.
        problem: String,
    },
    #[cfg(feature = "builder")]
    /// The zip archive is damaged, encrypted, or compressed in a way that isn't supported.
    #[error("{file_name:?} can't be read")]
    Zip {
        /// The file's name.
        file_name: String,
        /// Error of the zip reader.
        #[source]
        source: zip::result::ZipError,
    },
}
