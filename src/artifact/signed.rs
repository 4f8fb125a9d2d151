//! Signatures of the files of a repository: `<file>.minisig` beside `<file>`.

use crate::base::event::Observer;
use crate::store::signature::{Claim, LONGEST, SUFFIX, SignatureError, TrustedKeys};
use crate::store::{Backend, FailureKind, ObjectKeyError, StoreError, StoreTransfer};

/// A signed file is not there, or its signature does not count.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// The file's name is not valid in a store.
    #[error(transparent)]
    Name(#[from] ObjectKeyError),
    /// The store failed, or lacks the file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signature is missing or wrong.
    #[error("the signature does not count")]
    Signature(#[source] SignatureError),
}

impl SignedError {
    /// Kind of failure of the store, if the fault is one.
    pub fn kind(&self) -> Option<FailureKind> {
        if let Self::Store(error) = self { Some(error.kind()) } else { None }
    }
}

/// Gets a small file of a repository, and checks its signature if keys are given. The id is that of
/// [`signed_id`].
pub fn get_signed(
    backend: &dyn Backend,
    what: &str,
    longest: u64,
    keys: Option<&TrustedKeys>,
    observer: &dyn Observer,
) -> Result<Vec<u8>, SignedError> {
    let transfer = StoreTransfer { subject: what, observer };
    let claim = keys.map(|keys| claim(backend, what, keys, observer)).transpose()?;
    let mut content = Vec::new();
    backend.get_range(&what.parse()?, 0..longest, &mut content, &transfer)?;
    if let Some((claim, _)) = claim {
        claim.verify(content.as_slice(), signed_id(what)).map_err(SignedError::Signature)?;
    }
    Ok(content)
}

/// Returns the id for which a file of a repository is signed: a package's id for its archive
/// (`packages/<name>/<id>.tar.xz`), and the whole path for any other file. A package's id has no `/`, so
/// a signature of one kind is never valid for the other.
pub fn signed_id(path: &str) -> &str {
    let archive = path.strip_prefix("packages/").and_then(|rest| rest.strip_suffix(".tar.xz"));
    match archive.and_then(|archive| archive.split_once('/')) {
        Some((_, id)) if !id.contains('/') => id,
        _ => path,
    }
}

/// Fetches the signature of a file, and checks everything that needs no content, so that a useless
/// download is avoided; returns the text, too. If the file is missing, the error is the store's.
pub(super) fn claim<'k>(
    backend: &dyn Backend,
    what: &str,
    keys: &'k TrustedKeys,
    observer: &dyn Observer,
) -> Result<(Claim<'k>, Vec<u8>), SignedError> {
    let transfer = StoreTransfer { subject: what, observer };
    let name = format!("{what}{SUFFIX}").parse()?;
    let mut text = Vec::new();
    match backend.get_range(&name, 0..LONGEST + 1, &mut text, &transfer) {
        Ok(_) => match Claim::read(&text, keys) {
            Ok(claim) => Ok((claim, text)),
            Err(error) => Err(SignedError::Signature(error)),
        },
        // No signature is missing where the file itself is missing: that is no reason for a
        // warning.
        Err(error) if error.is_not_found() => match backend.head(&what.parse()?, &transfer) {
            Err(error) if is_final(&error) => Err(SignedError::Store(error)),
            _ => Err(SignedError::Signature(SignatureError::Missing { trusted: keys.ids() })),
        },
        Err(error) => Err(SignedError::Store(error)),
    }
}

/// True unless the store answers, and may have the file: some servers refuse to describe existing
/// files.
fn is_final(error: &StoreError) -> bool {
    !matches!(error.kind(), FailureKind::Denied | FailureKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_packages_and_of_other_files_are_never_the_same() {
        for (path, id) in [
            ("packages/p/p--1.tar.xz", "p--1"),
            ("packages/p/p--1.bootstrap.tar.xz", "p--1.bootstrap"),
            ("packages/p/p--setup.dcos_config", "packages/p/p--setup.dcos_config"),
            ("bootstrap/abc.bootstrap.tar.xz", "bootstrap/abc.bootstrap.tar.xz"),
            ("bootstrap/abc.active.json", "bootstrap/abc.active.json"),
            ("package_lists/a--b.package_list.json", "package_lists/a--b.package_list.json"),
            ("packages/a/b/c.tar.xz", "packages/a/b/c.tar.xz"),
            ("packages/a.tar.xz", "packages/a.tar.xz"),
        ] {
            assert_eq!(signed_id(path), id);
        }
    }
}
