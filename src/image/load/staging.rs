//! Blobs on their way into the store.
//!
//! Every blob of an input is written into a staging folder in the store, while the digests of the
//! blob and of its uncompressed content are computed: one pass, in whatever order an archive has
//! its members. The needed blobs are renamed into the store, and the others are removed with the
//! folder. Two threads compute the digests beside the thread that reads, decompresses and writes.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

use super::LoadProblem;
use super::limit::{Limited, exceeded};
use crate::archive::compression::read_start;
use crate::archive::{ArchiveLimits, Compression as ArchiveCompression, LimitExceeded, ReadError};
use crate::base::threaded_hasher::ThreadedHasher;
use crate::image::compression::LayerCompression;
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::document::LONGEST_DOCUMENT;

const BUFFER: usize = 128 * 1024;

/// Upper limit of document bytes per input; an image has around ten thousand.
const MOST_DOCUMENT_BYTES: u64 = 4 * LONGEST_DOCUMENT;

fn most_document_bytes(limits: &ArchiveLimits) -> u64 {
    MOST_DOCUMENT_BYTES.min(limits.max_bytes)
}

/// A folder with the blobs that came so far.
pub(in crate::image) struct Staging<'s> {
    folder: &'s Path,
    blobs: HashMap<BlobDigest, Blob>,
    limits: ArchiveLimits,
    left: u64,
    documents_left: Cell<u64>,
}

/// Blob that was read to its end.
#[derive(Debug, Clone)]
pub(in crate::image) struct Blob {
    pub(in crate::image) path: PathBuf,
    pub(in crate::image) digest: BlobDigest,
    pub(in crate::image) size: u64,
    /// Compression, detected by the first bytes.
    pub(in crate::image) compression: LayerCompression,
    /// Digest of the uncompressed content, or the reason of a failure.
    pub(in crate::image) unpacked: Result<DiffId, String>,
}

impl Blob {
    /// A blob of which everything is known.
    pub(in crate::image) fn known(
        path: PathBuf,
        digest: BlobDigest,
        size: u64,
        compression: LayerCompression,
        diff_id: DiffId,
    ) -> Self {
        Self { path, digest, size, compression, unpacked: Ok(diff_id) }
    }
}

impl<'s> Staging<'s> {
    pub(in crate::image) fn new(folder: &'s Path, limits: ArchiveLimits) -> Self {
        let documents_left = Cell::new(most_document_bytes(&limits));
        Self { folder, blobs: HashMap::new(), limits, left: limits.max_bytes, documents_left }
    }

    /// Returns a blob of the input that was read before.
    pub(super) fn get(&self, digest: &BlobDigest) -> Option<&Blob> {
        self.blobs.get(digest)
    }

    /// Returns the bytes of a blob that is a document; `what` is the role, for messages. A document
    /// counts each time, since any number of descriptors may lead to the same document.
    pub(super) fn document(&self, blob: &Blob, what: &str) -> Result<Vec<u8>, LoadProblem> {
        if blob.size > LONGEST_DOCUMENT {
            return Err(LoadProblem::LongDocument { what: what.to_owned(), bytes: blob.size });
        }
        let too_many = LoadProblem::Documents { limit: most_document_bytes(&self.limits) };
        self.documents_left.set(self.documents_left.get().checked_sub(blob.size).ok_or(too_many)?);
        fs_err::read(&blob.path).map_err(LoadProblem::Read)
    }

    /// Takes in a blob that is in memory.
    pub(in crate::image) fn add_bytes(&mut self, bytes: &[u8]) -> Result<Blob, LoadProblem> {
        self.add(bytes)
    }

    /// Takes in a blob, to the end of its reader.
    pub(super) fn add(&mut self, input: impl Read) -> Result<Blob, LoadProblem> {
        // A number: names of the input never become paths.
        let path = self.folder.join(format!("blob-{}", self.blobs.len()));
        let file = File::create(&path).map_err(LoadProblem::Write)?;
        let measured = measure(input, Some(file), self.limits.max_bytes, self.left)?;
        self.take(measured.unpacked_bytes)?;
        let blob = measured.at(path);
        if let Some(old) = self.blobs.get(&blob.digest) {
            fs_err::remove_file(&blob.path).map_err(LoadProblem::Write)?;
            return Ok(old.clone());
        }
        self.blobs.insert(blob.digest.clone(), blob.clone());
        Ok(blob)
    }

    fn take(&mut self, bytes: u64) -> Result<(), LoadProblem> {
        let limit = LoadProblem::Limit(LimitExceeded::Bytes(self.limits.max_bytes));
        self.left = self.left.checked_sub(bytes).ok_or(limit)?;
        Ok(())
    }
}

/// Results of reading a blob to its end.
#[derive(Debug)]
pub(in crate::image) struct Measured {
    digest: BlobDigest,
    size: u64,
    compression: LayerCompression,
    unpacked: Result<DiffId, String>,
    /// Bytes of uncompressed content, up to the first fault.
    unpacked_bytes: u64,
}

impl Measured {
    /// Values of a blob that was not read here.
    pub(in crate::image) fn unread(
        digest: BlobDigest,
        size: u64,
        compression: LayerCompression,
    ) -> Self {
        let unpacked = Err("its uncompressed content was not read".to_owned());
        Self { digest, size, compression, unpacked, unpacked_bytes: 0 }
    }

    /// The digest of the blob itself.
    pub(in crate::image) fn digest(&self) -> &BlobDigest {
        &self.digest
    }

    /// Adds the diff id that another component has computed.
    pub(in crate::image) fn known(self, unpacked: DiffId) -> Self {
        Self { unpacked: Ok(unpacked), ..self }
    }

    /// The blob, which lies at a path.
    pub(in crate::image) fn at(self, path: PathBuf) -> Blob {
        let Self { digest, size, compression, unpacked, .. } = self;
        Blob { path, digest, size, compression, unpacked }
    }
}

/// Reads a blob to its end, writes the content to the file, if given, and computes the digests of
/// the blob and of its uncompressed content. At most `left` bytes of the `limit` are unpacked.
pub(in crate::image) fn measure(
    input: impl Read,
    file: Option<File>,
    limit: u64,
    left: u64,
) -> Result<Measured, LoadProblem> {
    let mut recorder = CopyingReader::new(Limited::new(input, limit, left), file);
    let start = read_start(&mut recorder).map_err(|error| recorder.problem(error))?;
    let found = ArchiveCompression::of(&start);
    let compression = LayerCompression::of(found).unwrap_or(LayerCompression::None);
    let (unpacked, unpacked_bytes) = match found {
        ArchiveCompression::None => (Ok(None), 0),
        ArchiveCompression::Bzip2 | ArchiveCompression::Xz => {
            (Err(format!("it is compressed by {}", found.as_str())), 0)
        }
        ArchiveCompression::Gzip | ArchiveCompression::Zstd => {
            match hash_unpacked(compression, &start, &mut recorder, limit, left)? {
                Ok((sum, bytes)) => (Ok(Some(sum)), bytes),
                Err(reason) => (Err(reason), 0),
            }
        }
    };
    // The unread rest behind a decoder, or the whole of an uncompressed blob.
    io::copy(&mut recorder, &mut io::sink()).map_err(|error| recorder.problem(error))?;
    let size = recorder.bytes;
    let digest = BlobDigest::from(recorder.sum.finish());
    let unpacked = unpacked.map(|id| id.unwrap_or_else(|| digest.sum().clone().into()));
    let plain = compression == LayerCompression::None;
    let unpacked_bytes = if plain { size } else { unpacked_bytes };
    Ok(Measured { digest, size, compression, unpacked, unpacked_bytes })
}

/// Reads a blob to its end, and computes the blob's own digest only.
pub(in crate::image) fn measure_stored(input: impl Read) -> Result<Measured, LoadProblem> {
    let mut recorder = CopyingReader::new(input, None);
    let start = read_start(&mut recorder).map_err(|error| recorder.problem(error))?;
    io::copy(&mut recorder, &mut io::sink()).map_err(|error| recorder.problem(error))?;
    let (size, digest) = (recorder.bytes, BlobDigest::from(recorder.sum.finish()));
    let compression =
        LayerCompression::of(ArchiveCompression::of(&start)).unwrap_or(LayerCompression::None);
    Ok(Measured::unread(digest, size, compression))
}

/// Hashes the decompressed content of a blob. A fault of decompression is returned inside, since a
/// damaged blob may not be needed.
fn hash_unpacked<R: Read>(
    compression: LayerCompression,
    start: &[u8],
    recorder: &mut CopyingReader<R>,
    limit: u64,
    left: u64,
) -> Result<Result<(DiffId, u64), String>, LoadProblem> {
    let input = BufReader::with_capacity(BUFFER, start.chain(&mut *recorder));
    let decoder = compression.reader(input).map_err(LoadProblem::Read)?;
    let mut limited = Limited::new(decoder, limit, left);
    let mut sum = ThreadedHasher::new();
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    let outcome = loop {
        match limited.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => {
                sum.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    // It borrows the recorder, whose failure is looked at now.
    drop(limited);
    match outcome {
        Ok(()) => Ok(Ok((sum.finish().into(), bytes))),
        // Before the decoder's view of it: a full disk would count as a damaged blob.
        Err(error) if recorder.failure.is_some() => Err(recorder.problem(error)),
        Err(error) => match exceeded(&error) {
            Some(limit) => Err(LoadProblem::Limit(limit)),
            None => Ok(Err(format!("it can't be decompressed: {error}"))),
        },
    }
}

/// Reader that copies all bytes to a file. A decoder turns an error of its input into an error of
/// its own, so the input's error is kept here.
struct CopyingReader<R> {
    input: R,
    file: Option<File>,
    sum: ThreadedHasher,
    bytes: u64,
    failure: Option<StagingFailure>,
}

#[derive(Clone, Copy)]
enum StagingFailure {
    Read,
    Write,
}

impl<R> CopyingReader<R> {
    fn new(input: R, file: Option<File>) -> Self {
        Self { input, file, sum: ThreadedHasher::new(), bytes: 0, failure: None }
    }

    fn problem(&self, error: io::Error) -> LoadProblem {
        match self.failure {
            Some(StagingFailure::Write) => LoadProblem::Write(error),
            _ => match exceeded(&error) {
                Some(limit) => LoadProblem::Limit(limit),
                None => ReadError::Stream(error).into(),
            },
        }
    }
}

impl<R: Read> Read for CopyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.input.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failure = Some(StagingFailure::Read);
                }
                return Err(error);
            }
        };
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(&buffer[..count]));
        if let Err(error) = written {
            self.failure = Some(StagingFailure::Write);
            return Err(error);
        }
        self.sum.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
