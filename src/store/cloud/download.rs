//! Downloads of objects; an interrupted transfer goes on if the object is unchanged.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, GetResult, ObjectStore};

use super::error::CloudError;
use super::exchange::CloudExchange;
use super::operation::{CloudFailure, CloudOperation, FailedAttempt, passing};
use crate::store::backend::GotObject;

/// Destination of a download.
pub(super) trait DownloadDestination {
    /// Empties the destination, as the object is sent from its beginning; `false` if that is not possible.
    fn restart(&mut self) -> io::Result<bool>;

    /// Takes bytes.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A download of an object or of a range.
pub(super) struct ObjectDownload<'d> {
    operation: &'d CloudOperation<'d>,
    store: &'d dyn ObjectStore,
    path: Path,
    /// Requested range of bytes; `None` for the whole object.
    range: Option<Range<u64>>,
    to: &'d mut dyn DownloadDestination,
    /// Number of bytes in the destination.
    have: &'d Cell<u64>,
    /// Identity and size of the object, from the first answer.
    object: Option<(String, u64)>,
    is_pieced: bool,
}

impl<'d> ObjectDownload<'d> {
    pub(super) fn new(
        operation: &'d CloudOperation<'d>,
        store: &'d dyn ObjectStore,
        path: Path,
        range: Option<Range<u64>>,
        to: &'d mut dyn DownloadDestination,
        have: &'d Cell<u64>,
    ) -> Self {
        Self { operation, store, path, range, to, have, object: None, is_pieced: false }
    }

    /// Gets the bytes.
    pub(super) async fn run(mut self) -> Result<GotObject, CloudFailure> {
        let (operation, have) = (self.operation, self.have);
        let result = operation
            .attempt(
                || have.get(),
                async || {
                    let exchange =
                        Arc::new(CloudExchange::streamed(operation.options.stall_timeout));
                    let result = Arc::clone(&exchange).scope(self.try_once()).await;
                    (exchange, result)
                },
            )
            .await;
        operation.ended();
        result
    }

    async fn try_once(&mut self) -> Result<GotObject, FailedAttempt> {
        let (start, end) = match &self.range {
            Some(range) => (range.start, Some(range.end)),
            None => (0, None),
        };
        let from = start + self.have.get();
        let range = match end {
            Some(end) => Some(GetRange::Bounded(from..end)),
            None if from > 0 => Some(GetRange::Offset(from)),
            None => None,
        };
        // What is there is of that object: with another one, the file would be of two.
        let if_match = self.object.as_ref().filter(|_| self.have.get() > 0);
        let if_match = if_match.map(|(identity, _)| identity.clone());
        let is_resumed = if_match.is_some();
        let options = GetOptions { range, if_match, ..GetOptions::default() };
        let result = match self.store.get_opts(&self.path, options).await {
            Ok(result) => result,
            // Another object has the name now.
            Err(object_store::Error::Precondition { .. }) if is_resumed => {
                return self.start_over("the object was replaced while it was read");
            }
            Err(error) => return Err(FailedAttempt::Store(error)),
        };
        let identity = check(&result, &self.path).map_err(lasting)?;
        let seen = (identity, result.meta.size);
        // A store that does not know `If-Match` answers with what it has.
        if is_resumed && self.object.as_ref() != Some(&seen) {
            return self.start_over("the store went on with something else");
        }
        let limit = self.operation.longest;
        if self.range.is_none() && seen.1 > limit {
            return Err(lasting(CloudError::TooLarge { size: seen.1, limit }));
        }
        if !is_resumed {
            self.restart()?;
        }
        self.is_pieced |= is_resumed;
        self.object = Some(seen);
        self.body(result, start).await
    }

    async fn body(&mut self, result: GetResult, start: u64) -> Result<GotObject, FailedAttempt> {
        let total = result.range.end - start;
        let mut stream = result.into_stream();
        self.operation.progress(true, self.have.get(), Some(total));
        while let Some(bytes) = stream.next().await {
            if self.operation.is_interrupted() {
                return Err(FailedAttempt::Failed(passing("interrupted")));
            }
            let bytes = bytes.map_err(FailedAttempt::Store)?;
            let have = self.have.get() + bytes.len() as u64;
            if have > total {
                let reason = format!("more than the {total} bytes that were announced came");
                return Err(lasting(CloudError::Protocol { reason }));
            }
            self.to
                .take(&bytes)
                .map_err(|error| FailedAttempt::Failed(self.operation.not_stored(error)))?;
            self.have.set(have);
            self.operation.progress(false, have, Some(total));
        }
        self.operation.progress(true, self.have.get(), Some(total));
        if self.have.get() != total {
            let have = self.have.get();
            let reason = format!("the connection was closed after {have} of {total} bytes");
            return Err(FailedAttempt::Failed(passing(reason)));
        }
        Ok(GotObject { bytes: total, is_pieced: self.is_pieced })
    }

    fn restart(&mut self) -> Result<(), FailedAttempt> {
        let is_empty = self.have.get() == 0;
        let emptied = self
            .to
            .restart()
            .map_err(|error| FailedAttempt::Failed(self.operation.not_stored(error)))?;
        if !emptied && !is_empty {
            let reason = "the object was replaced while it was read".to_owned();
            return Err(lasting(CloudError::Protocol { reason }));
        }
        self.have.set(0);
        self.is_pieced = false;
        Ok(())
    }

    fn start_over(&mut self, reason: &str) -> Result<GotObject, FailedAttempt> {
        self.restart()?;
        self.object = None;
        Err(FailedAttempt::Failed(passing(reason)))
    }
}

fn lasting(error: CloudError) -> FailedAttempt {
    FailedAttempt::Failed(CloudFailure::Lasting(error))
}

/// Checks that an answer can be an object store's, and returns the object's identity.
pub(super) fn check(result: &GetResult, path: &Path) -> Result<String, CloudError> {
    let protocol = |reason: &str| CloudError::Protocol { reason: reason.to_owned() };
    let kind = result.attributes.get(&Attribute::ContentType);
    let is_page = kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"));
    if is_page && !path.as_ref().to_ascii_lowercase().ends_with(".html") {
        return Err(protocol("it is an HTML page"));
    }
    // All three clouds give one; a proxy's page and a captive portal's do not.
    result.meta.e_tag.clone().ok_or_else(|| protocol("it has no ETag"))
}
