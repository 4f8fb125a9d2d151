//! Upload of one blob as a stream, from its file: memory does not grow with its size.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use bazel_remote_apis::google::bytestream::{WriteRequest, WriteResponse};
use futures_util::future::join;
use futures_util::stream::unfold;
use tokio::sync::mpsc::{Sender, channel};
use tonic::{Code, Response, Status};

use super::blob::{Blob, BlobDigest, Content};
use super::call::{Attempts, Calls, by_progress};
use super::error::{CallError, ReapiError};
use crate::base::regular::open_regular;

/// Bytes of a message.
const PIECE: usize = 512 << 10;

/// Messages that wait for the connection.
const AHEAD: usize = 2;

const CALL: &str = "ByteStream.Write";

impl Calls<'_> {
    /// Uploads a blob.
    pub(super) async fn write(&self, blob: &Blob) -> Result<(), ReapiError> {
        let mut attempts = Attempts::default();
        loop {
            let moved = AtomicU64::new(0);
            let status = match self.write_once(blob, &moved).await? {
                Ok(()) => {
                    self.answered();
                    return Ok(());
                }
                Err(status) => status,
            };
            self.again(&mut attempts, CallError::of(CALL, &status)).await?;
        }
    }

    async fn write_once(
        &self,
        blob: &Blob,
        moved: &AtomicU64,
    ) -> Result<Result<(), Status>, ReapiError> {
        let source: Box<dyn Read> = match &blob.content {
            Content::Memory(bytes) => Box::new(bytes.as_slice()),
            Content::File(path) => Box::new(open(path)?),
        };
        let name = upload_name(&self.settings.instance, &blob.digest).map_err(failed)?;
        let (sender, receiver) = channel::<WriteRequest>(AHEAD);
        let pieces = unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        let mut client = self.bytes();
        let request = self.request(pieces);
        let call = async move { client.write(request).await };
        let feed = feed(source, name, blob.digest.bytes, sender, moved);
        let (answer, fed) = match by_progress(moved, join(call, feed)).await {
            Ok(both) => both,
            Err(status) => return Ok(Err(status)),
        };
        fed.map_err(failed)?;
        Ok(answer.and_then(|answer| check(&answer, &blob.digest)))
    }
}

fn failed(source: io::Error) -> ReapiError {
    ReapiError::File { doing: "read a file of the job", source }
}

fn open(path: &std::path::Path) -> Result<File, ReapiError> {
    open_regular(path).map(|file| file.into_parts().0).map_err(failed)
}

/// The engine has to have all bytes; it answers early if it has the blob already.
fn check(answer: &Response<WriteResponse>, digest: &BlobDigest) -> Result<(), Status> {
    let committed = answer.get_ref().committed_size;
    if u64::try_from(committed) == Ok(digest.bytes) {
        return Ok(());
    }
    let text = format!("it took {committed} bytes of {}", digest.bytes);
    Err(Status::new(Code::Aborted, text))
}

/// Name of an upload, which no other upload has.
fn upload_name(instance: &str, digest: &BlobDigest) -> io::Result<String> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_nothing| io::Error::other("no random bytes"))?;
    // A UUID of version 4 (RFC 9562).
    random[6] = (random[6] & 0x0f) | 0x40;
    random[8] = (random[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(random));
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    let instance = if instance.is_empty() { String::new() } else { format!("{instance}/") };
    Ok(format!("{instance}uploads/{uuid}/blobs/{digest}"))
}

/// Hands the pieces of a blob over. The engine may want no more of them.
async fn feed(
    mut source: Box<dyn Read + '_>,
    name: String,
    bytes: u64,
    sender: Sender<WriteRequest>,
    moved: &AtomicU64,
) -> io::Result<()> {
    let (mut resource_name, mut offset) = (name, 0);
    loop {
        let mut data = Vec::new();
        let want = PIECE.min(usize::try_from(bytes - offset).unwrap_or(PIECE));
        source.by_ref().take(want as u64).read_to_end(&mut data)?;
        if data.len() < want {
            return Err(io::Error::other("the file became shorter while it was uploaded"));
        }
        let end = offset + data.len() as u64;
        let piece = WriteRequest {
            resource_name: std::mem::take(&mut resource_name),
            write_offset: i64::try_from(offset).unwrap_or(i64::MAX),
            finish_write: end == bytes,
            data,
        };
        if sender.send(piece).await.is_err() || end == bytes {
            return Ok(());
        }
        offset = end;
        moved.store(offset, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_upload_has_a_name_of_its_own() {
        let digest = BlobDigest::of(b"x");
        let [one, two] = ["", "main"].map(|instance| upload_name(instance, &digest).unwrap());
        let parts: Vec<&str> = one.split('/').collect();
        assert_eq!((parts[0], parts[2], parts[4]), ("uploads", "blobs", "1"));
        let groups: Vec<usize> = parts[1].split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(parts[1][14..].starts_with('4'));
        assert!(two.starts_with("main/uploads/") && !two.contains(parts[1]));
    }
}
