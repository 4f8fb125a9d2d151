//! A folder of another store as a store of its own.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use super::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer,
};
use super::error::StoreError;
use super::key::ObjectKey;

/// Store of the objects `<prefix>/<key>` of another one.
#[derive(Debug)]
pub struct PrefixBackend {
    inner: Arc<dyn Backend>,
    prefix: ObjectKey,
}

impl PrefixBackend {
    /// Creates the store; `prefix` is a folder of `inner`.
    pub fn new(inner: Arc<dyn Backend>, prefix: ObjectKey) -> Self {
        Self { inner, prefix }
    }

    /// Name of an object in the other store.
    fn outer(&self, key: &ObjectKey) -> Result<ObjectKey, StoreError> {
        // Too long at the most.
        format!("{}/{key}", self.prefix)
            .parse()
            .map_err(|_rule| StoreError::NotFound { store: self.name(), key: key.clone() })
    }
}

impl Backend for PrefixBackend {
    fn name(&self) -> String {
        format!("{}/{}", self.inner.name().trim_end_matches('/'), self.prefix)
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        self.inner.get_within(&self.outer(key)?, longest, to, transfer)
    }

    fn get_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError> {
        self.inner.get_range(&self.outer(key)?, range, to, transfer)
    }

    fn head(
        &self,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<ObjectHead, StoreError> {
        self.inner.head(&self.outer(key)?, transfer)
    }

    fn put_described(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        self.inner.put_described(&self.outer(key)?, content, about, transfer)
    }

    fn replace(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        self.inner.replace(&self.outer(key)?, content, about, transfer)
    }

    fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        self.inner.copy(&self.outer(from)?, &self.outer(to)?, about, transfer)
    }

    fn copy_new(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        self.inner.copy_new(&self.outer(from)?, &self.outer(to)?, about, transfer)
    }

    fn list(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        let below = match below {
            None => self.prefix.clone(),
            Some(key) => self.outer(key)?,
        };
        // The prefix and the slash behind it.
        let start = self.prefix.to_string().len() + 1;
        let own = |listed: Listed| {
            let key = listed.key.to_string().get(start..)?.parse().ok()?;
            Some(Listed { key, ..listed })
        };
        Ok(self.inner.list(Some(&below), transfer)?.into_iter().filter_map(own).collect())
    }

    fn delete(&self, key: &ObjectKey, transfer: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        self.inner.delete(&self.outer(key)?, transfer)
    }
}
