//! SHA-256 in a thread of its own, beside the thread that reads or writes what is summed.
//!
//! Bytes pass to the thread in chunks of 256 KiB, a few at the most, so that memory does not grow with the
//! data. Where a thread cannot be started, the caller's thread does the work.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::digest::{Digests, Sha256, Sha256Sum, Sum};

const CHUNK: usize = 256 * 1024;

/// Number of chunks that may wait for the thread.
const WAITING: usize = 4;

/// SHA-256 of bytes that arrive in pieces, computed in a thread if they exceed a chunk.
#[derive(Debug)]
pub(crate) struct ThreadedHasher {
    chunk: Vec<u8>,
    full: Full,
}

/// Destination of full chunks.
#[derive(Debug)]
enum Full {
    /// There was none yet.
    None,
    Thread {
        chunks: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        handle: JoinHandle<Sha256>,
    },
    Here(Sha256),
}

impl ThreadedHasher {
    /// Hasher of nothing yet.
    pub(crate) fn new() -> Self {
        Self { chunk: Vec::new(), full: Full::None }
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while self.chunk.len() + bytes.len() >= CHUNK {
            let (now, later) = bytes.split_at(CHUNK - self.chunk.len());
            self.chunk.extend_from_slice(now);
            bytes = later;
            self.pass();
        }
        self.chunk.extend_from_slice(bytes);
    }

    /// The digest of all.
    pub(crate) fn finish(self) -> Sha256Sum {
        let mut sum = match self.full {
            Full::None => Sha256::new(),
            Full::Here(sum) => sum,
            Full::Thread { chunks, handle, .. } => {
                drop(chunks);
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        sum.update(&self.chunk);
        Sha256Sum::from_hasher(sum)
    }

    /// Hands a full chunk over.
    fn pass(&mut self) {
        if matches!(self.full, Full::None) {
            self.full = Full::start().unwrap_or_else(|_error| Full::Here(Sha256::new()));
        }
        match &mut self.full {
            Full::Thread { chunks, empty, .. } => {
                // A used chunk comes back, so that not every 256 KiB are allocated anew.
                let empty = empty.try_recv().unwrap_or_default();
                // It ends before only if it panics, which shows when it is waited for.
                drop(chunks.send(std::mem::replace(&mut self.chunk, empty)));
            }
            Full::Here(sum) => sum.update(&self.chunk),
            Full::None => {}
        }
        self.chunk.clear();
    }
}

impl Full {
    fn start() -> io::Result<Self> {
        let (chunks, full) = sync_channel::<Vec<u8>>(WAITING);
        let (used, empty) = sync_channel(WAITING);
        let take_sum = move || {
            let mut sum = Sha256::new();
            for chunk in full {
                sum.update(&chunk);
                // There may be enough empty ones already.
                drop(used.try_send(chunk));
            }
            sum
        };
        let handle = Builder::new().name("sha256".to_owned()).spawn(take_sum)?;
        Ok(Self::Thread { chunks, empty, handle })
    }
}

impl Default for ThreadedHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Digests for ThreadedHasher {
    type Sums = Sum;

    fn add(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn sums(self, bytes: u64) -> Sum {
        Sum { sha256: self.finish(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * at / 7).to_le_bytes()[0]).collect()
    }

    #[test]
    fn sums_of_any_pieces_are_those_of_the_whole() {
        for length in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 5] {
            let bytes = content(length);
            for piece in [1000, CHUNK, 2 * CHUNK + 1] {
                let mut sum = ThreadedHasher::new();
                bytes.chunks(piece).for_each(|piece| sum.update(piece));
                assert_eq!(sum.finish(), Sha256Sum::of(&bytes), "{length} by {piece}");
            }
        }
    }
}
