//! Storages, opened.

use super::config::{ReleaseConfig, StorageConfig, StorageKind};
use crate::store::{Backend, Store, StoreAccess, StoreUrlError};

/// A storage.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The name.
    pub name: String,
    /// Base URL of its objects, with a `/` at the end.
    pub url: String,
    /// The kind, as the configuration writes it.
    pub kind: &'static str,
    /// Reason why nothing is stored in the storage, if any.
    pub unwritten: Option<&'static str>,
    /// The store.
    pub store: Store,
}

impl Storage {
    /// Opens a storage; no request is made.
    fn open(config: &StorageConfig, access: &StoreAccess) -> Result<Self, StoreUrlError> {
        let mut access = access.clone();
        let store = match &config.kind {
            StorageKind::Folder { path } => Store::in_folder(path),
            StorageKind::S3 { place, access: keys, region } => {
                let s3 = &mut access.clouds.s3;
                if let Some((id, key)) = keys {
                    s3.access_key_id = Some(id.clone());
                    s3.secret_access_key = Some(key.clone());
                    // A token of the environment belongs to the keys there, and would make these
                    // invalid.
                    s3.session_token = None;
                }
                if region.is_some() {
                    s3.region.clone_from(region);
                }
                Store::open(&format!("s3://{place}"), &access)?
            }
            StorageKind::Azure { account, key, container } => {
                let azure = &mut access.clouds.azure;
                azure.account = Some(account.clone());
                azure.key = Some(key.clone());
                // As above: a token of the environment is not of this configuration.
                azure.sas_token = None;
                Store::open(&format!("az://{container}"), &access)?
            }
            StorageKind::Gcs { place, credentials } => {
                if credentials.is_some() {
                    access.clouds.gcs.application_credentials.clone_from(credentials);
                }
                Store::open(&format!("gs://{place}"), &access)?
            }
            StorageKind::Registry { url } => Store::open(url, &access)?,
            StorageKind::Http => Store::open(&config.url, &access)?,
        };
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            kind: config.kind.as_str(),
            unwritten: config.unwritten(),
            store,
        })
    }

    /// The backend: a storage has no alternative.
    pub fn backend(&self) -> &dyn Backend {
        self.store.backend()
    }
}

/// All storages of a configuration.
#[derive(Debug, Clone)]
pub struct Storages {
    /// Storages in the order of the configuration.
    pub all: Vec<Storage>,
    preferred: usize,
}

impl Storages {
    /// Opens all storages of a configuration; no request is made.
    pub fn open(config: &ReleaseConfig, access: &StoreAccess) -> Result<Self, StoreUrlError> {
        let open = |storage| Storage::open(storage, access);
        let all = config.storages.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { all, preferred: config.preferred })
    }

    /// The storage from which releases are read.
    pub fn preferred(&self) -> &Storage {
        &self.all[self.preferred]
    }

    /// Writable storages.
    pub fn written(&self) -> Vec<&Storage> {
        self.all.iter().filter(|storage| storage.unwritten.is_none()).collect()
    }
}
