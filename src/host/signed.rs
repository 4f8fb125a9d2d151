//! Archives from files that a trusted key has to have signed: `<file>.minisig` beside `<file>`.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::interruptible::UntilInterrupted;
use crate::base::event::Observer;
use crate::base::regular::open_regular;
use crate::package::PackageId;
use crate::store::signature::{Claim, LONGEST, SUFFIX, SignatureError, TrustedKeys};

/// An archive cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be trusted", path.display())]
pub struct UntrustedFile {
    path: PathBuf,
    #[source]
    source: SignatureError,
}

impl UntrustedFile {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

/// Copies a package's archive to a file that no other user can change, and verifies the copy's
/// signature; returns the copy, open for reading.
pub(super) fn verified_copy(
    path: &Path,
    id: &PackageId,
    archive: impl Read,
    copy: &mut File,
    keys: &TrustedKeys,
    observer: &dyn Observer,
) -> Result<(), UntrustedFile> {
    let untrusted = |source| UntrustedFile { path: path.to_owned(), source };
    let text = signature(path, keys).map_err(untrusted)?;
    let claim = Claim::read(&text, keys).map_err(untrusted)?;
    let read = |error| untrusted(SignatureError::Read(error));
    io::copy(&mut UntilInterrupted { inner: archive, observer }, copy).map_err(read)?;
    copy.rewind().map_err(read)?;
    let content = UntilInterrupted { inner: &mut *copy, observer };
    // The copy, not the original file: another user could change that between check and unpacking.
    claim.verify(content, &id.to_string()).map_err(untrusted)?;
    copy.rewind().map_err(read)
}

fn signature(path: &Path, keys: &TrustedKeys) -> Result<Vec<u8>, SignatureError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(SUFFIX);
    let path = PathBuf::from(beside);
    let missing = || SignatureError::Missing { trusted: keys.ids() };
    let file = open_regular(&path).map_err(|error| match error.kind() {
        // `open_regular` gives the second for what is not a regular file.
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => missing(),
        _ => SignatureError::Read(error),
    })?;
    let mut text = Vec::new();
    // One byte more than allowed, so that a longer text is refused instead of cut.
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(SignatureError::Read)?;
    Ok(text)
}
