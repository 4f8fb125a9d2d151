//! Download of a blob into a file, whose bytes are checked while they come.

use std::io::Write as _;
use std::path::Path;

use bazel_remote_apis::google::bytestream::ReadRequest;
use tonic::{Code, Status};

use super::blob::BlobDigest;
use super::call::{Attempts, Calls, STALL, stalled};
use super::error::{CallError, ReapiError};
use crate::base::digest::{Sha256, Sha256Sum};

const CALL: &str = "ByteStream.Read";

/// A blob cannot be downloaded.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The engine has lost it.
    Lost,
    /// It has other bytes.
    OtherBytes,
    /// Anything else.
    Other(ReapiError),
}

/// Part of a blob that is there.
struct Received {
    file: fs_err::File,
    hasher: Sha256,
    bytes: u64,
}

impl Calls<'_> {
    /// Downloads a blob into a new file. A download that breaks off goes on where it was.
    pub(super) async fn read(&self, digest: &BlobDigest, target: &Path) -> Result<(), ReadError> {
        let file = |source| {
            ReadError::Other(ReapiError::File { doing: "write a result of the job", source })
        };
        let opened = fs_err::OpenOptions::new().write(true).create_new(true).open(target);
        let (opened, hasher) = (opened.map_err(file)?, Sha256::new());
        let mut received = Received { file: opened, hasher, bytes: 0 };
        let mut attempts = Attempts::default();
        while received.bytes < digest.bytes {
            let before = received.bytes;
            let status = match self.read_once(digest, &mut received).await? {
                Ok(()) => break,
                Err(status) => status,
            };
            if matches!(status.code(), Code::NotFound | Code::DataLoss) {
                self.answered();
                return Err(ReadError::Lost);
            }
            if received.bytes > before {
                attempts.progressed();
            }
            let again = self.again(&mut attempts, CallError::of(CALL, &status)).await;
            again.map_err(ReadError::Other)?;
        }
        self.answered();
        let is_right =
            received.bytes == digest.bytes && Sha256Sum::from_hasher(received.hasher) == digest.sum;
        if is_right { Ok(()) } else { Err(ReadError::OtherBytes) }
    }

    async fn read_once(
        &self,
        digest: &BlobDigest,
        received: &mut Received,
    ) -> Result<Result<(), Status>, ReadError> {
        let instance = &self.settings.instance;
        let slash = if instance.is_empty() { "" } else { "/" };
        let request = self.request(ReadRequest {
            resource_name: format!("{instance}{slash}blobs/{digest}"),
            read_offset: i64::try_from(received.bytes).unwrap_or(i64::MAX),
            read_limit: 0,
        });
        let mut client = self.bytes();
        let mut pieces = match tokio::time::timeout(STALL, client.read(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Ok(Err(status)),
            Err(_elapsed) => return Ok(Err(stalled(STALL))),
        };
        loop {
            let piece = match tokio::time::timeout(STALL, pieces.message()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) if received.bytes < digest.bytes => {
                    return Ok(Err(Status::new(Code::Aborted, "the download broke off")));
                }
                Ok(Ok(None)) => return Ok(Ok(())),
                Ok(Err(status)) => return Ok(Err(status)),
                Err(_elapsed) => return Ok(Err(stalled(STALL))),
            };
            received.bytes += piece.data.len() as u64;
            if received.bytes > digest.bytes {
                return Err(ReadError::OtherBytes);
            }
            received.hasher.update(&piece.data);
            received.file.write_all(&piece.data).map_err(|source| {
                let doing = "write a result of the job";
                ReadError::Other(ReapiError::File { doing, source })
            })?;
        }
    }
}
