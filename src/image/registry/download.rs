//! Download of a blob: the partial file followed by the registry's response, as one stream that is
//! appended to the file.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::error::RegistryProblem;
use super::partial::Partial;
use super::tail::BlobProgress;
use crate::store::registry::{BlobRequest, BlobStream, RegistryExchangeError, RegistryWire};

const BUFFER: usize = 128 << 10;

/// A download under way. Reading it gives the blob's bytes in order, once; the cause of an early end
/// is in [`BlobDownload::problem`].
pub(super) struct BlobDownload<'a, 'w> {
    wire: &'w RegistryWire<'a>,
    stream: BlobStream<'a, 'w>,
    partial: &'w mut Partial,
    progress: &'w BlobProgress,
    /// Number of bytes that were given to the reader.
    at: u64,
    pending: Vec<u8>,
    given: usize,
    problem: Option<RegistryProblem>,
}

impl<'a, 'w> BlobDownload<'a, 'w> {
    /// Starts at the file's beginning; `progress` tells followers of the file.
    pub(super) fn new(
        wire: &'w RegistryWire<'a>,
        request: &'w BlobRequest,
        partial: &'w mut Partial,
        progress: &'w BlobProgress,
    ) -> io::Result<Self> {
        // What was kept is read, too, as its digest is part of the blob's.
        partial.file.seek(SeekFrom::Start(0))?;
        progress.reached(partial.had);
        Ok(Self {
            wire,
            stream: BlobStream::new(wire, request, partial.had),
            partial,
            progress,
            at: 0,
            pending: Vec::new(),
            given: 0,
            problem: None,
        })
    }

    /// Takes the cause of a failed read.
    pub(super) fn problem(&mut self) -> Option<RegistryProblem> {
        self.problem.take()
    }

    /// Returns the next bytes; none at the end.
    fn next(&mut self) -> Result<Vec<u8>, RegistryProblem> {
        if self.wire.observer().is_interrupted() {
            return Err(RegistryExchangeError::Interrupted.into());
        }
        if self.at < self.partial.had {
            let left = usize::try_from(self.partial.had - self.at).unwrap_or(BUFFER);
            let mut bytes = vec![0; BUFFER.min(left)];
            self.partial.file.read_exact(&mut bytes).map_err(RegistryProblem::Keep)?;
            self.at += bytes.len() as u64;
            return Ok(bytes);
        }
        let bytes = self.stream.next()?;
        // Before the progress, which tells followers that the bytes can be read.
        self.partial.file.write_all(&bytes).map_err(RegistryProblem::Keep)?;
        self.at += bytes.len() as u64;
        self.partial.had = self.at;
        self.progress.reached(self.at);
        Ok(bytes)
    }
}

impl Read for BlobDownload<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.pending.len() {
            self.pending = self.next().map_err(|problem| {
                // `Read` has its own error type, through decoders that replace the message.
                let error = io::Error::other(problem.to_string());
                self.problem = Some(problem);
                error
            })?;
            self.given = 0;
        }
        let count = (&self.pending[self.given..]).read(buffer)?;
        self.given += count;
        Ok(count)
    }
}
