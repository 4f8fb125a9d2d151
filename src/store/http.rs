//! A web server's folder as a store that can only be read.

use std::fs::File;
use std::io::Write;
use std::ops::Range;

use super::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer,
};
use super::error::StoreError;
use super::key::ObjectKey;
use crate::base::http::{HttpClient, HttpError, redact};

/// Store below a URL, `<url>/<key>`. Attempts, waits and resumption are those of the client.
#[derive(Debug)]
pub struct HttpBackend {
    /// URL without a slash at the end.
    url: String,
    http: HttpClient,
}

impl HttpBackend {
    /// Creates a store below an `http` or `https` URL.
    pub fn new(url: &str, http: HttpClient) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), http }
    }

    fn url_of(&self, key: &ObjectKey) -> String {
        format!("{}/{key}", self.url)
    }

    fn error(&self, key: &ObjectKey, error: HttpError) -> StoreError {
        match error {
            error if error.is_not_found() => {
                StoreError::NotFound { store: self.name(), key: key.clone() }
            }
            HttpError::Interrupted { .. } => StoreError::Interrupted,
            HttpError::Store { error, .. } => StoreError::Destination { key: key.clone(), error },
            error => StoreError::Http(error),
        }
    }

    fn unsupported(&self, operation: &'static str) -> StoreError {
        let reason = "a web server's folder can only be read";
        StoreError::Unsupported { store: self.name(), operation, reason }
    }
}

impl Backend for HttpBackend {
    fn name(&self) -> String {
        redact(&self.url)
    }

    fn base_url(&self) -> Option<&str> {
        Some(&self.url)
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        let StoreTransfer { subject, observer } = transfer;
        self.http
            .download_within(&self.url_of(key), subject, longest, to, *observer)
            .map(|done| GotObject { bytes: done.bytes, is_pieced: done.resumed })
            .map_err(|error| match error {
                // A lower limit is the client's own, and the user's to raise.
                HttpError::TooLarge { limit, .. } if limit == longest => {
                    StoreError::TooLarge { store: self.name(), key: key.clone(), longest }
                }
                error => self.error(key, error),
            })
    }

    fn get_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError> {
        let StoreTransfer { subject, observer } = transfer;
        self.http
            .part(&self.url_of(key), subject, range, to, *observer)
            .map_err(|error| self.error(key, error))
    }

    fn head(
        &self,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<ObjectHead, StoreError> {
        let StoreTransfer { subject, observer } = transfer;
        let size = self.http.size(&self.url_of(key), subject, *observer);
        size.map(|size| ObjectHead { size }).map_err(|error| self.error(key, error))
    }

    fn put_described(
        &self,
        _: &ObjectKey,
        _: ObjectContent<'_>,
        _: &About<'_>,
        _: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        Err(self.unsupported("take a file"))
    }

    fn list(
        &self,
        _: Option<&ObjectKey>,
        _: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        Err(self.unsupported("list its files"))
    }

    fn delete(&self, _: &ObjectKey, _: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        Err(self.unsupported("remove a file"))
    }
}
