//! A bucket, or a folder of a bucket, as a store.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use futures_util::StreamExt;
use object_store::{CopyMode, GetOptions, ObjectStoreExt};

use super::address::{CloudAddress, CloudKind};
use super::connected::ConnectedStore;
use super::copy::{self, Copied, LARGEST_COPY};
use super::download::{DownloadDestination, ObjectDownload, check};
use super::error::CloudError;
use super::operation::{COPY, CloudFailure, CloudOperation, PUT, REPLACE};
use super::settings::CloudSettings;
use super::{azure, gcs, s3, upload};
use crate::base::atomic::naming_file;
use crate::base::http::{HttpClient, HttpOptions};
use crate::store::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer, through_file,
};
use crate::store::error::StoreError;
use crate::store::key::ObjectKey;
use upload::ObjectUpload;

/// Upper limit of the number of objects in a list, against lists without an end.
const MOST_LISTED: usize = 10_000_000;

/// Store in a bucket. Files of settings are read, and connections made, by the first request.
#[derive(Debug)]
pub struct CloudBackend {
    address: CloudAddress,
    settings: CloudSettings,
    http: HttpClient,
    connected: OnceLock<Result<ConnectedStore, (String, Option<String>)>>,
    /// Set once the store is known to have the bucket.
    has_bucket: OnceLock<()>,
}

impl CloudBackend {
    /// Creates a store at an address. Attempts, waits and limits come from the client.
    pub fn new(address: CloudAddress, settings: CloudSettings, http: HttpClient) -> Self {
        let (connected, has_bucket) = (OnceLock::new(), OnceLock::new());
        Self { address, settings, http, connected, has_bucket }
    }

    fn options(&self) -> &HttpOptions {
        self.http.options()
    }

    fn operation<'s>(
        &'s self,
        verb: &'static str,
        key: Option<&'s ObjectKey>,
        transfer: &StoreTransfer<'s>,
    ) -> CloudOperation<'s> {
        CloudOperation::new(&self.address, self.options(), verb, key, transfer)
    }

    fn connected(&self) -> Result<&ConnectedStore, CloudFailure> {
        // Once, with its error: each package would otherwise read the files and fail again.
        let made = self.connected.get_or_init(|| {
            let made = match self.address.kind() {
                CloudKind::S3 => s3::connect(&self.address, &self.settings.s3, self.options()),
                CloudKind::Azure => {
                    azure::connect(&self.address, &self.settings.azure, self.options())
                }
                CloudKind::Gcs => gcs::connect(&self.address, &self.settings.gcs, self.options()),
            };
            made.map_err(|error| (error.to_string(), error.hint(&self.address)))
        });
        made.as_ref().map_err(|(reason, hint)| {
            let (reason, hint) = (reason.clone(), hint.clone());
            CloudFailure::Lasting(CloudError::Settings { reason, hint })
        })
    }

    /// Asks for an object's size. Answers without a body do not tell a bucket that is missing from an
    /// object that is, and give no reason for a refusal: then a part of the object is asked for.
    fn size(&self, operation: &CloudOperation<'_>, key: &ObjectKey) -> Result<u64, CloudFailure> {
        let (store, path) = (self.connected()?, self.address.path(key));
        let head = async || {
            let options = GetOptions { head: true, ..GetOptions::default() };
            store.objects.get_opts(&path, options).await
        };
        let first = operation.run(operation.ask(head));
        let is_silent = match &first {
            Err(CloudFailure::NotFound) => self.has_bucket.get().is_none(),
            Err(CloudFailure::Lasting(CloudError::Answer { answer, .. })) => answer.code.is_none(),
            _ => false,
        };
        if is_silent {
            let part = async || {
                let range = Some((0..1).into());
                store.objects.get_opts(&path, GetOptions { range, ..GetOptions::default() }).await
            };
            match operation.run(operation.ask(part)) {
                // It has appeared between the two requests, or it is empty.
                Ok(_) | Err(CloudFailure::OutOfRange) => {}
                Err(CloudFailure::NotFound) => {
                    self.has_bucket.get_or_init(|| ());
                    return Err(CloudFailure::NotFound);
                }
                Err(failure) => return Err(failure),
            }
        }
        let result = first?;
        self.has_bucket.get_or_init(|| ());
        check(&result, &path).map_err(CloudFailure::Lasting)?;
        Ok(result.meta.size)
    }

    fn upload(
        &self,
        verb: &'static str,
        key: &ObjectKey,
        upload: &ObjectUpload<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let mut operation = self.operation(verb, Some(key), transfer);
        operation.upload = upload.parts();
        let store = self.connected().map_err(|failure| operation.failed(failure))?;
        upload::put(&operation, store, upload)
    }

    /// Copies an object, unless it is too large for the store to do so.
    fn copy_within(
        &self,
        [from, to]: [&ObjectKey; 2],
        mode: CopyMode,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Copied, StoreError> {
        let operation = self.operation(COPY, Some(from), transfer);
        let failed = |failure| operation.failed(failure);
        let store = self.connected().map_err(failed)?;
        if self.size(&operation, from).map_err(failed)? > LARGEST_COPY {
            return Ok(Copied::Unsupported);
        }
        let paths = [from, to].map(|key| self.address.path(key));
        copy::copy(&operation, store, paths.each_ref(), mode).map_err(failed)
    }

    /// Content type and cache control that the store has for an object.
    #[cfg(test)]
    pub(crate) fn headers(&self, key: &ObjectKey) -> (Option<String>, Option<String>) {
        use object_store::Attribute;
        let quiet = StoreTransfer { subject: "s", observer: &crate::base::event::Silent };
        let operation = self.operation("look for", Some(key), &quiet);
        let (store, path) = (self.connected().unwrap(), self.address.path(key));
        let head = GetOptions { head: true, ..GetOptions::default() };
        let get = async || store.objects.get_opts(&path, head.clone()).await;
        let result = operation.run(operation.ask(get)).unwrap();
        let text = |name| result.attributes.get(&name).map(|value| value.as_ref().to_owned());
        (text(Attribute::ContentType), text(Attribute::CacheControl))
    }

    fn download(
        &self,
        operation: &CloudOperation<'_>,
        key: &ObjectKey,
        range: Option<Range<u64>>,
        to: &mut dyn DownloadDestination,
    ) -> Result<GotObject, CloudFailure> {
        let (store, have) = (self.connected()?, Cell::new(0));
        let path = self.address.path(key);
        operation.run(ObjectDownload::new(operation, &*store.objects, path, range, to, &have).run())
    }
}

impl Backend for CloudBackend {
    fn name(&self) -> String {
        self.address.to_string()
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        let mut operation = self.operation("get", Some(key), transfer);
        operation.longest = longest.min(operation.longest);
        self.download(&operation, key, None, to).map_err(|failure| match failure {
            CloudFailure::Lasting(CloudError::TooLarge { limit, .. }) if limit == longest => {
                StoreError::TooLarge { store: self.name(), key: key.clone(), longest }
            }
            failure => operation.failed(failure),
        })
    }

    fn get_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError> {
        let operation = self.operation("get", Some(key), transfer);
        if range.is_empty() {
            return Ok(0);
        }
        let start = range.start;
        match self.download(&operation, key, Some(range), &mut Stream(to)) {
            Ok(got) => Ok(got.bytes),
            Err(CloudFailure::OutOfRange) => Ok(0),
            // Some stores do not refuse a range behind the end, but answer with what cannot be read.
            Err(CloudFailure::Lasting(CloudError::Protocol { .. }))
                if self.size(&operation, key).is_ok_and(|size| start >= size) =>
            {
                Ok(0)
            }
            Err(failure) => Err(operation.failed(failure)),
        }
    }

    fn head(
        &self,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<ObjectHead, StoreError> {
        let operation = self.operation("look for", Some(key), transfer);
        let size = self.size(&operation, key).map_err(|failure| operation.failed(failure))?;
        Ok(ObjectHead { size: Some(size) })
    }

    fn put_described(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let path = self.address.path(key);
        let upload = ObjectUpload { path, content, about: *about, replaces: false };
        self.upload(PUT, key, &upload, transfer)
    }

    fn replace(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let path = self.address.path(key);
        let upload = ObjectUpload { path, content, about: *about, replaces: true };
        self.upload(REPLACE, key, &upload, transfer).map(drop)
    }

    fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let put = |file: &Path, length| {
            self.replace(to, ObjectContent::File(file, length), about, transfer)
        };
        match self.copy_within([from, to], CopyMode::Overwrite, transfer)? {
            Copied::Done => Ok(()),
            Copied::Taken | Copied::Unsupported => through_file(self, from, transfer, put),
        }
    }

    fn copy_new(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let put = |file: &Path, length| {
            self.put_described(to, ObjectContent::File(file, length), about, transfer)
        };
        // Stores that do not know the condition of a copy keep what they have, too.
        match self.head(to, transfer) {
            Ok(_) => return Ok(Put::WasThere),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        match self.copy_within([from, to], CopyMode::Create, transfer)? {
            Copied::Done => Ok(Put::Written),
            Copied::Taken => Ok(Put::WasThere),
            Copied::Unsupported => through_file(self, from, transfer, put),
        }
    }

    fn list(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        let operation = self.operation("list", below, transfer);
        let store = self.connected().map_err(|failure| operation.failed(failure))?;
        let folder = self.address.folder(below);
        let list = async || {
            let mut found = Vec::new();
            let mut listed = store.objects.list(folder.as_ref());
            while let Some(object) = listed.next().await {
                let object = object?;
                if found.len() >= MOST_LISTED {
                    let source = format!("a list of more than {MOST_LISTED} objects").into();
                    return Err(object_store::Error::NotSupported { source });
                }
                if let Some(key) = self.address.key(object.location.as_ref()) {
                    found.push(Listed { key, size: object.size });
                }
            }
            Ok(found)
        };
        let mut found =
            operation.run(operation.ask(list)).map_err(|failure| operation.failed(failure))?;
        found.retain(|listed| below.is_none_or(|folder| listed.key.is_below(folder)));
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, key: &ObjectKey, transfer: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        let operation = self.operation("remove", Some(key), transfer);
        let (path, failed) = (self.address.path(key), |failure| operation.failed(failure));
        match self.size(&operation, key) {
            Ok(_) => {}
            Err(CloudFailure::NotFound) => return Ok(false),
            Err(failure) => return Err(failed(failure)),
        }
        let store = self.connected().map_err(failed)?;
        match operation.run(operation.ask(async || store.objects.delete(&path).await)) {
            Ok(()) => Ok(true),
            Err(CloudFailure::NotFound) => Ok(false),
            Err(failure) => Err(failed(failure)),
        }
    }
}

impl DownloadDestination for File {
    fn restart(&mut self) -> io::Result<bool> {
        self.set_len(0).and_then(|()| self.rewind()).map_err(|error| naming_file(self, error))?;
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).map_err(|error| naming_file(self, error))
    }
}

/// Destination that takes bytes once.
struct Stream<'s>(&'s mut dyn Write);

impl DownloadDestination for Stream<'_> {
    fn restart(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}
