//! Check-out of a source for a build.

use std::io;
use std::path::{Path, PathBuf};

use super::clone::{CloneError, clone};
use super::error::shown_file;
use super::{FetchedSource, git_layout};
use crate::archive::{ArchiveLimits, UnpackError, unpack_source_archive};
use crate::base::regular::open_regular;
use crate::package::CommitId;

/// A source could not be checked out.
#[derive(Debug, thiserror::Error)]
pub enum CheckOutError {
    /// The place is taken.
    #[error("{path} is not empty, so no source can be checked out there", path = .0.display())]
    NotEmpty(PathBuf),
    /// A file can't be read or written; the source names it.
    #[error("cannot check out {what}")]
    Io {
        /// Path to be checked out.
        what: String,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// The archive can't be extracted.
    #[error("cannot extract {file_name}")]
    Archive {
        /// The archive's name.
        file_name: String,
        /// Fault.
        #[source]
        error: UnpackError,
    },
    /// The repository has alternates, which a mirror never has.
    #[error("the mirror {path} borrows objects from another repository: remove it", path = .0.display())]
    Borrowed(PathBuf),
    /// The repository can't be cloned, or lacks something of the commit.
    #[error("cannot clone {commit} from {path}", path = .path.display())]
    Clone {
        /// The repository.
        path: PathBuf,
        /// The commit.
        commit: CommitId,
        /// Fault.
        #[source]
        error: CloneError,
    },
}

/// Makes a copy of the source in `dest`, which must be missing or an empty folder. The copy shares
/// nothing with the cache except copy-on-write blocks. After a failure, the caller must remove
/// `dest`. The caller's umask should be 022.
pub fn check_out(
    fetched: &FetchedSource,
    dest: &Path,
    limits: &ArchiveLimits,
) -> Result<(), CheckOutError> {
    match fetched {
        FetchedSource::File { path, file_name } => {
            let shown = shown_file(Path::new(file_name));
            let io = |error| CheckOutError::Io { what: shown.clone(), error };
            make_empty(dest, &shown)?;
            // Never a hard link: a build that writes to its source would change the cache.
            fs_err::copy(path, dest.join(file_name)).map(drop).map_err(io)
        }
        FetchedSource::Archive { path, file_name } => {
            let io = |error| CheckOutError::Io { what: file_name.clone(), error };
            make_empty(dest, file_name)?;
            let file = open_regular(path).map_err(io)?.into_parts().0;
            unpack_source_archive(file, file_name, dest, limits)
                .map(drop)
                .map_err(|error| CheckOutError::Archive { file_name: file_name.clone(), error })
        }
        FetchedSource::GitMirror { path, commit, remote, converted } => {
            let objects = path.join("objects");
            let io = |error| CheckOutError::Io { what: commit.to_string(), error };
            // The copy would lack what it borrows, or lead to a repository that is not the tree's.
            if !git_layout::alternates(&objects).map_err(io)?.is_empty() {
                return Err(CheckOutError::Borrowed(path.clone()));
            }
            make_empty(dest, commit.as_str())?;
            clone(path, &[objects], commit, remote.as_deref(), converted.as_deref(), dest)
                .map_err(|error| clone_error(path, commit, error))
        }
        FetchedSource::GitLocal { path, commit, converted } => {
            let io = |error| CheckOutError::Io { what: commit.to_string(), error };
            let objects = git_layout::object_folders(path).map_err(io)?;
            make_empty(dest, commit.as_str())?;
            clone(path, &objects, commit, None, converted.as_deref(), dest)
                .map_err(|error| clone_error(path, commit, error))
        }
    }
}

fn clone_error(path: &Path, commit: &CommitId, error: CloneError) -> CheckOutError {
    CheckOutError::Clone { path: path.to_owned(), commit: commit.clone(), error }
}

fn make_empty(dest: &Path, what: &str) -> Result<(), CheckOutError> {
    let empty = fs_err::create_dir_all(dest)
        .and_then(|()| fs_err::read_dir(dest))
        .map(|mut entries| entries.next().is_none())
        .map_err(|error| CheckOutError::Io { what: what.to_owned(), error })?;
    if empty { Ok(()) } else { Err(CheckOutError::NotEmpty(dest.to_owned())) }
}
