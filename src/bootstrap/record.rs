//! Records of bootstraps made by this home: `$MKPANDA_HOME/bootstraps/<SHA-256>.json`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::atomic;
use crate::base::digest::Sha256Sum;
use crate::base::regular::read_own;
use crate::package::PackageId;
use crate::runner::home::Home;

/// Version of the form.
const VERSION: u32 = 1;

/// Record of a bootstrap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BootstrapRecord {
    version: u32,
    /// Bootstrap id.
    pub(super) id: String,
    /// SHA-256 of the archive.
    pub(super) sha256: Sha256Sum,
    /// The packages, with the SHA-256 sums of the archives that went in.
    pub(super) packages: BTreeMap<PackageId, Sha256Sum>,
}

impl BootstrapRecord {
    pub(super) fn new(
        id: &str,
        sha256: Sha256Sum,
        packages: BTreeMap<PackageId, Sha256Sum>,
    ) -> Self {
        Self { version: VERSION, id: id.to_owned(), sha256, packages }
    }

    fn path(home: &Home, sha256: &Sha256Sum) -> PathBuf {
        home.bootstraps().join(format!("{sha256}.json"))
    }

    /// Keeps the record.
    pub(super) fn keep(&self, home: &Home) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        atomic::write_if_changed(&Self::path(home, &self.sha256), &text)
    }

    /// Finds the record of an archive with this digest, if this home has made the archive as the
    /// bootstrap of an id.
    pub(super) fn find(home: &Home, id: &str, sha256: &Sha256Sum) -> Option<Self> {
        let text = read_own(&Self::path(home, sha256)).ok()?;
        let record: Self = serde_json::from_slice(&text).ok()?;
        // The name of the file alone proves nothing: the record vouches for an archive that leaves
        // this machine.
        let is_it = record.version == VERSION && record.id == id && record.sha256 == *sha256;
        is_it.then_some(record)
    }
}
