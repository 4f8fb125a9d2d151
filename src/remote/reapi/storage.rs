//! Uploads to the engine's storage: what it lacks, each blob once for all packages of a run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bazel_remote_apis::build::bazel::remote::execution::v2::batch_update_blobs_request::Request;
use bazel_remote_apis::build::bazel::remote::execution::v2::{
    BatchUpdateBlobsRequest, FindMissingBlobsRequest,
};
use tonic::Code;

use super::blob::{Blob, BlobDigest, Content};
use super::call::Calls;
use super::capabilities::Capabilities;
use super::error::ReapiError;

/// Number of digests in a question.
const PORTION: usize = 4000;

/// Number of blobs in a batch.
const MOST: usize = 500;

/// Part of a batch's limit up to which a blob is small.
const SMALL: u64 = 4;

/// Bytes of a message beside the bytes of each blob.
const BESIDE: u64 = 128;

/// Blobs that the engine has, as far as a run knows.
#[derive(Debug, Default)]
pub(super) struct Storage {
    present: Mutex<HashSet<BlobDigest>>,
    /// Uploads under way: other packages that need the blob wait.
    coming: Mutex<HashMap<BlobDigest, Arc<tokio::sync::Mutex<()>>>>,
    /// Number of uploaded blobs.
    blobs: AtomicU64,
    /// Number of uploaded bytes.
    bytes: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage {
    fn has(&self, digest: &BlobDigest) -> bool {
        lock(&self.present).contains(digest)
    }

    /// Notes that the engine has a blob.
    fn add(&self, digest: &BlobDigest) {
        lock(&self.present).insert(digest.clone());
    }

    /// Forgets blobs that the engine has lost.
    fn forget<'a>(&self, digests: impl Iterator<Item = &'a BlobDigest>) {
        let mut present = lock(&self.present);
        digests.for_each(|digest| drop(present.take(digest)));
    }

    fn uploaded(&self, digest: &BlobDigest) {
        self.add(digest);
        lock(&self.coming).remove(digest);
        self.blobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(digest.bytes, Ordering::Relaxed);
    }

    /// Numbers of uploaded blobs and bytes.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.blobs.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    fn coming(&self, digest: &BlobDigest) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.coming).entry(digest.clone()).or_default())
    }
}

/// Blobs of an action, and where they go.
pub(super) struct Supply<'a> {
    pub(super) calls: &'a Calls<'a>,
    pub(super) storage: &'a Storage,
    pub(super) capabilities: Capabilities,
    pub(super) blobs: &'a BTreeMap<BlobDigest, Blob>,
}

impl Supply<'_> {
    /// Blobs that the engine lacks.
    pub(super) async fn lacks(&self) -> Result<Vec<&Blob>, ReapiError> {
        let unknown: Vec<&Blob> =
            self.blobs.values().filter(|blob| !self.storage.has(&blob.digest)).collect();
        self.find_missing(&unknown).await
    }

    /// Uploads again what the engine has lost: the blobs that it names, without a question, and those that it says
    /// it lacks, for it may name the first alone. Returns the number of blobs.
    pub(super) async fn bring_again(&self, named: &[BlobDigest]) -> Result<usize, ReapiError> {
        let named: Vec<&Blob> = named.iter().filter_map(|digest| self.blobs.get(digest)).collect();
        self.storage.forget(self.blobs.keys());
        self.upload(&named).await?;
        let missing = self.lacks().await?;
        self.upload(&missing).await?;
        Ok(named.len() + missing.len())
    }

    async fn find_missing<'b>(&self, blobs: &[&'b Blob]) -> Result<Vec<&'b Blob>, ReapiError> {
        let mut missing = Vec::new();
        for portion in blobs.chunks(PORTION) {
            let digests: Vec<_> = portion.iter().map(|blob| blob.digest.message()).collect();
            let answer = self
                .calls
                .call("FindMissingBlobs", || {
                    let request = self.calls.request(FindMissingBlobsRequest {
                        instance_name: self.calls.settings.instance.clone(),
                        blob_digests: digests.clone(),
                        ..FindMissingBlobsRequest::default()
                    });
                    let mut client = self.calls.cas();
                    async move { client.find_missing_blobs(request).await }
                })
                .await?;
            let lacks: HashSet<BlobDigest> = answer
                .missing_blob_digests
                .iter()
                .filter_map(|digest| BlobDigest::read(Some(digest)))
                .collect();
            for blob in portion {
                if lacks.contains(&blob.digest) {
                    missing.push(*blob);
                } else {
                    self.storage.add(&blob.digest);
                }
            }
        }
        Ok(missing)
    }

    /// Uploads blobs, each once for all packages that need it at the same time.
    pub(super) async fn upload(&self, blobs: &[&Blob]) -> Result<(), ReapiError> {
        let limit = self.capabilities.batch;
        let largest = self.capabilities.largest.unwrap_or(u64::MAX);
        if let Some(blob) = blobs.iter().find(|blob| blob.digest.bytes > largest) {
            let settings = self.calls.settings;
            let address = settings.cache.as_ref().unwrap_or(&settings.address).clone();
            let bytes = blob.digest.bytes;
            let problem =
                format!("takes files of {largest} bytes at most, and one of {bytes} is needed");
            return Err(ReapiError::Unfit { address, problem });
        }
        let (small, large): (Vec<&Blob>, Vec<&Blob>) =
            blobs.iter().partition(|blob| blob.digest.bytes <= limit / SMALL);
        let (mut batch, mut bytes, mut claims, mut others) =
            (Vec::new(), 0, Vec::new(), Vec::new());
        for blob in small {
            let Ok(claim) = self.storage.coming(&blob.digest).try_lock_owned() else {
                others.push(blob);
                continue;
            };
            if self.storage.has(&blob.digest) {
                continue;
            }
            claims.push(claim);
            let size = blob.digest.bytes + BESIDE;
            if bytes + size > limit || batch.len() == MOST {
                self.upload_batch(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(blob);
        }
        if !batch.is_empty() {
            self.upload_batch(batch).await?;
        }
        // Before others are waited for, which may wait for these.
        drop(claims);
        for blob in large.into_iter().chain(others) {
            let _alone = self.storage.coming(&blob.digest).lock_owned().await;
            if !self.storage.has(&blob.digest) {
                self.calls.write(blob).await?;
                self.storage.uploaded(&blob.digest);
            }
        }
        Ok(())
    }

    /// Uploads small blobs together. Those that are not taken go one by one.
    async fn upload_batch(&self, blobs: Vec<&Blob>) -> Result<(), ReapiError> {
        let requests: Vec<Request> = blobs
            .iter()
            .map(|blob| {
                let data = match &blob.content {
                    Content::Memory(bytes) => bytes.clone(),
                    Content::File(path) => fs_err::read(path).map_err(|source| {
                        ReapiError::File { doing: "read a file of the job", source }
                    })?,
                };
                let digest = Some(blob.digest.message());
                Ok(Request { digest, data, ..Request::default() })
            })
            .collect::<Result<_, ReapiError>>()?;
        let answer = self
            .calls
            .call("BatchUpdateBlobs", || {
                let request = self.calls.request(BatchUpdateBlobsRequest {
                    instance_name: self.calls.settings.instance.clone(),
                    requests: requests.clone(),
                    ..BatchUpdateBlobsRequest::default()
                });
                let mut client = self.calls.cas();
                async move { client.batch_update_blobs(request).await }
            })
            .await;
        let taken: HashSet<BlobDigest> = match answer {
            Ok(answer) => {
                let is_taken = |code: i32| Code::from_i32(code) == Code::Ok;
                let responses = answer.responses.iter();
                let taken = responses.filter(|response| {
                    response.status.as_ref().is_none_or(|status| is_taken(status.code))
                });
                taken.filter_map(|response| BlobDigest::read(response.digest.as_ref())).collect()
            }
            // It may be the size, or the call itself.
            Err(ReapiError::Refused(error))
                if !matches!(error.code, Code::Unauthenticated | Code::PermissionDenied) =>
            {
                tracing::debug!(%error, "a batch is not taken");
                HashSet::new()
            }
            Err(error) => return Err(error),
        };
        for blob in blobs {
            if !taken.contains(&blob.digest) {
                self.calls.write(blob).await?;
            }
            self.storage.uploaded(&blob.digest);
        }
        Ok(())
    }
}
