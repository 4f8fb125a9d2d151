//! An archive in a store, with the files beside it.

use std::fs::File;
use std::io::{self, Seek};
use std::path::Path;

use super::error::PublishError;
use crate::artifact::record;
use crate::artifact::repository::{LONGEST_SUM, stated_sum};
use crate::artifact::signed::signed_id;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::base::regular::open_regular;
use crate::store::signature::{SUFFIX, Signer};
use crate::store::{About, Backend, FailureKind, ObjectContent, ObjectKey, Put, StoreTransfer};

/// Result of putting an artifact into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The store has taken the archive.
    Written,
    /// The store had the same artifact already.
    WasThere,
}

/// Place of an archive in a store.
pub(super) struct ArchiveTarget<'p> {
    pub(super) backend: &'p dyn Backend,
    /// Name of the archive in the store.
    pub(super) what: &'p str,
    pub(super) transfer: StoreTransfer<'p>,
}

impl ArchiveTarget<'_> {
    /// Puts the archive, unless the store has one. A different size afterwards is damage.
    pub(super) fn put(
        &self,
        archive: &Path,
        size: u64,
        about: &About<'_>,
    ) -> Result<Put, PublishError> {
        let key: ObjectKey = self.what.parse()?;
        // Spares the upload of most.
        match self.backend.head(&key, &self.transfer) {
            Ok(_) => return Ok(Put::WasThere),
            Err(error) if error.is_not_found() || error.kind() == FailureKind::Unsupported => {}
            Err(error) => return Err(error.into()),
        }
        let content = ObjectContent::File(archive, size);
        let put = self.backend.put_described(&key, content, about, &self.transfer)?;
        if put == Put::Written {
            let found = self.backend.head(&key, &self.transfer)?.size;
            if let Some(found) = found.filter(|found| *found != size) {
                return Err(self.damaged(format!("it has {found} bytes instead of {size}")));
            }
        }
        Ok(put)
    }

    /// Publishes the accompanying files. `is_new` is true if the store has just accepted this
    /// machine's archive: then differing files are leftovers of a removed archive.
    pub(super) fn put_beside(
        &self,
        files: Vec<(String, Vec<u8>)>,
        is_new: bool,
    ) -> Result<(), PublishError> {
        for (name, text) in files {
            let key: ObjectKey = name.parse()?;
            let put = || self.backend.put(&key, ObjectContent::Bytes(&text), &self.transfer);
            if put()? == Put::WasThere
                && is_new
                && self.small(&name, record::LONGEST)?.is_none_or(|found| found != text)
            {
                self.backend.delete(&key, &self.transfer)?;
                put()?;
            }
        }
        Ok(())
    }

    /// Reads a small object; `None` if missing.
    pub(super) fn small(&self, name: &str, longest: u64) -> Result<Option<Vec<u8>>, PublishError> {
        let mut text = Vec::new();
        match self.backend.get_range(&name.parse()?, 0..longest, &mut text, &self.transfer) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sum of the archive as the file beside it states; `None` if there is no such file.
    pub(super) fn stated_sum(&self) -> Result<Option<String>, PublishError> {
        let text = self.small(&format!("{}.sha256", self.what), LONGEST_SUM)?;
        Ok(text.map(|text| stated_sum(&String::from_utf8_lossy(&text)).to_owned()))
    }

    /// Name and text of the file with the archive's sum.
    pub(super) fn sum_file(&self, sha256: &Sha256Sum) -> (String, Vec<u8>) {
        let name = self.what.rsplit('/').next().unwrap_or(self.what);
        (format!("{}.sha256", self.what), format!("{sha256}  {name}\n").into_bytes())
    }

    /// Name and text of the signature: an existing one, or a new one by this machine's key.
    pub(super) fn signature_file(
        &self,
        archive: &Path,
        sha256: &Sha256Sum,
        given: Option<&str>,
        signer: Option<&Signer>,
    ) -> Result<Option<(String, Vec<u8>)>, PublishError> {
        let name = format!("{}{SUFFIX}", self.what);
        if let Some(text) = given {
            return Ok(Some((name, text.as_bytes().to_vec())));
        }
        let Some(signer) = signer else { return Ok(None) };
        let archive = open_regular(archive).map_err(self.file())?;
        let what = self.what.to_owned();
        match signer.sign(archive, signed_id(self.what), sha256) {
            Ok(text) => Ok(Some((name, text.into_bytes()))),
            Err(source) => Err(PublishError::Sign { what, source }),
        }
    }

    /// Downloads the archive that the store has. `archive` is the one of this machine.
    pub(super) fn copy(&self, archive: &Path) -> Result<File, PublishError> {
        // Beside this machine's archive, where there is room for one: a TMPDIR may be in memory. The file
        // has no name, so that a killed run leaves nothing there. A cache may be read-only, too.
        let folder = archive.parent().unwrap_or(Path::new("."));
        let made = tempfile::tempfile_in(folder).or_else(|_error| tempfile::tempfile());
        let mut copy = made.map_err(self.file())?;
        self.backend.get(&self.what.parse()?, &mut copy, &self.transfer)?;
        copy.rewind().map_err(self.file())?;
        Ok(copy)
    }

    pub(super) fn damaged(&self, reason: String) -> PublishError {
        PublishError::Damaged { what: self.what.to_owned(), store: self.backend.name(), reason }
    }

    pub(super) fn file(&self) -> impl Fn(io::Error) -> PublishError + use<> {
        let what = self.what.to_owned();
        move |source| PublishError::File { what: what.clone(), source }
    }
}

/// True if a store has an archive under a name, with this sum in the file beside it.
pub fn has(
    backend: &dyn Backend,
    what: &str,
    sha256: &Sha256Sum,
    observer: &dyn Observer,
) -> Result<bool, PublishError> {
    let target =
        ArchiveTarget { backend, what, transfer: StoreTransfer { subject: what, observer } };
    if target.stated_sum()?.as_deref() != Some(sha256.as_str()) {
        return Ok(false);
    }
    match backend.head(&what.parse()?, &target.transfer) {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
