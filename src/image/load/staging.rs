//! Blobs on their way into the store.
//!
//! Every blob of an input is written into a folder of its own in the store while its digest is
//! taken, and its uncompressed content's: one pass, whatever the order in which an archive gives
//! them. What turns out to be needed is renamed into the store, the rest goes with the folder.
//! Both digests are taken by threads beside the one that reads, decompresses and writes.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use fs_err::File;

use super::LoadProblem;
use super::limit::{Limited, exceeded};
use crate::archive::{LimitExceeded, Limits, ReadError};
use crate::image::compression::{Compression, Foreign, foreign_compression, read_magic};
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::document::LONGEST_DOCUMENT;
use crate::image::threads::Summing;

const BUFFER: usize = 128 * 1024;

/// How many bytes of documents are read of one input; an image has some ten thousand.
const MOST_DOCUMENT_BYTES: u64 = 4 * LONGEST_DOCUMENT;

fn most_document_bytes(limits: &Limits) -> u64 {
    MOST_DOCUMENT_BYTES.min(limits.max_bytes)
}

/// A folder with the blobs that came so far.
pub(in crate::image) struct Staging<'s> {
    folder: &'s Path,
    blobs: HashMap<BlobDigest, Blob>,
    limits: Limits,
    left: u64,
    documents_left: Cell<u64>,
}

/// A blob that has been read to its end.
#[derive(Debug, Clone)]
pub(in crate::image) struct Blob {
    pub(in crate::image) path: PathBuf,
    pub(in crate::image) digest: BlobDigest,
    pub(in crate::image) size: u64,
    /// What its first bytes say.
    pub(super) compression: Compression,
    /// The digest of its uncompressed content, or why there is none.
    pub(super) unpacked: Result<DiffId, String>,
}

impl Blob {
    /// A blob of which everything is known.
    pub(in crate::image) fn known(
        path: PathBuf,
        digest: BlobDigest,
        size: u64,
        compression: Compression,
        diff_id: DiffId,
    ) -> Self {
        Self { path, digest, size, compression, unpacked: Ok(diff_id) }
    }
}

impl<'s> Staging<'s> {
    pub(in crate::image) fn new(folder: &'s Path, limits: Limits) -> Self {
        let documents_left = Cell::new(most_document_bytes(&limits));
        Self { folder, blobs: HashMap::new(), limits, left: limits.max_bytes, documents_left }
    }

    /// A blob that has come.
    pub(super) fn get(&self, digest: &BlobDigest) -> Option<&Blob> {
        self.blobs.get(digest)
    }

    /// The bytes of a blob that is a document; `what` is its role, for messages. A document counts
    /// each time it is read, since others may lead to it any number of times.
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
        let path = self.folder.join(format!("blob-{}", self.blobs.len()));
        let file = File::create(&path).map_err(LoadProblem::Write)?;
        let input = Limited::new(input, self.limits.max_bytes, self.left);
        let mut recorder = Recorder::new(input, file);
        let start = read_magic(&mut recorder).map_err(|error| recorder.problem(error))?;
        let compression = Compression::of_magic(&start);
        let foreign = foreign_compression(&start);
        let unpacked = match (compression, foreign) {
            (Compression::None, None) => Ok(None),
            (Compression::None, Some(Foreign::Xz)) => Err("it is compressed by xz".to_owned()),
            (Compression::None, Some(Foreign::Bzip2)) => {
                Err("it is compressed by bzip2".to_owned())
            }
            _ => self.hash_unpacked(compression, &start, &mut recorder)?.map(Some),
        };
        // What a decoder left, and all of a blob that isn't compressed.
        io::copy(&mut recorder, &mut io::sink()).map_err(|error| recorder.problem(error))?;
        let size = recorder.bytes;
        let digest = BlobDigest::from(recorder.sum.finish());
        let unpacked = unpacked.map(|id| id.unwrap_or_else(|| digest.sum().clone().into()));
        if compression == Compression::None {
            self.take(size)?;
        }
        let blob = Blob { path, digest: digest.clone(), size, compression, unpacked };
        if let Some(old) = self.blobs.get(&digest) {
            fs_err::remove_file(&blob.path).map_err(LoadProblem::Write)?;
            return Ok(old.clone());
        }
        self.blobs.insert(digest, blob.clone());
        Ok(blob)
    }

    /// Hashes what a blob decompresses to. A blob that doesn't decompress may be one that nobody
    /// needs, so that is kept with it instead of being an error here.
    fn hash_unpacked<R: Read>(
        &mut self,
        compression: Compression,
        start: &[u8],
        recorder: &mut Recorder<R>,
    ) -> Result<Result<DiffId, String>, LoadProblem> {
        let input = BufReader::with_capacity(BUFFER, start.chain(&mut *recorder));
        let decoder = compression.reader(input).map_err(LoadProblem::Read)?;
        let mut limited = Limited::new(decoder, self.limits.max_bytes, self.left);
        let mut sum = Summing::new();
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
        drop(limited);
        match outcome {
            Ok(()) => {
                self.take(bytes)?;
                Ok(Ok(sum.finish().into()))
            }
            Err(error) if recorder.failure.is_some() => Err(recorder.problem(error)),
            Err(error) => match exceeded(&error) {
                Some(limit) => Err(LoadProblem::Limit(limit)),
                None => Ok(Err(format!("it can't be decompressed: {error}"))),
            },
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(), LoadProblem> {
        let limit = LoadProblem::Limit(LimitExceeded::Bytes(self.limits.max_bytes));
        self.left = self.left.checked_sub(bytes).ok_or(limit)?;
        Ok(())
    }
}

/// A reader that writes down all that is read. A decoder turns an error of its input into one of
/// its own, so whose fault it was is kept here.
struct Recorder<R> {
    input: R,
    file: File,
    sum: Summing,
    bytes: u64,
    failure: Option<Failure>,
}

#[derive(Clone, Copy)]
enum Failure {
    Read,
    Write,
}

impl<R> Recorder<R> {
    fn new(input: R, file: File) -> Self {
        Self { input, file, sum: Summing::new(), bytes: 0, failure: None }
    }

    fn problem(&self, error: io::Error) -> LoadProblem {
        match self.failure {
            Some(Failure::Write) => LoadProblem::Write(error),
            _ => match exceeded(&error) {
                Some(limit) => LoadProblem::Limit(limit),
                None => ReadError::Stream(error).into(),
            },
        }
    }
}

impl<R: Read> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.input.read(buffer) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failure = Some(Failure::Read);
                }
                return Err(error);
            }
        };
        if let Err(error) = self.file.write_all(&buffer[..count]) {
            self.failure = Some(Failure::Write);
            return Err(error);
        }
        self.sum.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
