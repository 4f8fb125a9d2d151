//! Current contents of sources of `ADD`, as a lock pins them.

use std::io;

use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::base::http::HttpError;
use crate::runner::home::Home;
use crate::runner::scratch::InputsFolder;
use crate::source::{
    AddedKey, AddedPin, FetchOptions, FilePin, GitSelection, SourceProblem, clone_url,
};

/// The current content of a source cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum AddedError {
    /// The network is to be left alone.
    #[error("{0}, which a Dockerfile adds, would have to be fetched, and --offline forbids it")]
    Offline(AddedKey),
    /// The file cannot be fetched.
    #[error("{key}, which a Dockerfile adds, cannot be fetched: {}", with_causes(source))]
    Download {
        /// The file.
        key: AddedKey,
        /// Reason.
        source: HttpError,
    },
    /// The repository cannot be fetched.
    #[error("{key}, which a Dockerfile adds, cannot be fetched: {}", with_causes(source))]
    Git {
        /// The repository.
        key: AddedKey,
        /// Reason.
        source: Box<SourceProblem>,
    },
    /// A temporary file cannot be written.
    #[error("a temporary file for {key} cannot be written: {source}")]
    Scratch {
        /// The source.
        key: AddedKey,
        /// Reason.
        source: io::Error,
    },
}

impl AddedError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Offline(_) => Some("run it once without --offline".to_owned()),
            Self::Git { source, .. } => source.hint(),
            Self::Download { source, .. } => source.hint().map(str::to_owned),
            Self::Scratch { .. } => None,
        }
    }
}

/// A source of `ADD` as written, with its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedPlace {
    /// A git repository.
    Git(GitSelection),
    /// URL of a file.
    File(String),
}

/// Fetches a source, and returns its content.
pub fn current(
    key: &AddedKey,
    place: &AddedPlace,
    home: &Home,
    fetch: &FetchOptions,
    observer: &dyn Observer,
) -> Result<AddedPin, AddedError> {
    if fetch.offline {
        return Err(AddedError::Offline(key.clone()));
    }
    let failed = |source| AddedError::Scratch { key: key.clone(), source };
    let scratch = InputsFolder::create(home).map_err(failed)?;
    match place {
        AddedPlace::Git(place) => {
            // The commit determines the submodules.
            let place = GitSelection { submodules: false, ..place.clone() };
            let commit = clone_url(&place, &scratch.path().join("git"), fetch, observer);
            let failed = |source| AddedError::Git { key: key.clone(), source: Box::new(source) };
            commit.map(AddedPin::Commit).map_err(failed)
        }
        AddedPlace::File(url) => {
            let path = scratch.path().join("file");
            let mut file = fs_err::File::create_new(&path).map_err(failed)?.into_parts().0;
            let got = fetch.http.download(url, key.url(), &mut file, observer);
            got.map_err(|source| AddedError::Download { key: key.clone(), source })?;
            let size = file.metadata().map_err(failed)?.len();
            let ends = || observer.is_interrupted();
            let sha256 = Sha256Sum::of_file_within(&path, u64::MAX, ends).map_err(failed)?;
            Ok(AddedPin::File(FilePin { sha256, size }))
        }
    }
}
