//! Decompression in a thread of its own, beside the thread that reads or writes files.
//!
//! Data passes between two threads in chunks of 256 KiB, a few at the most, so that memory does not
//! grow with the data. Where a thread cannot be started, the caller's thread does the work.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use crate::archive::compression::decompressed_with;
use crate::base::digest::{Sha256Sum, Tee};
use crate::base::threaded_hasher::ThreadedHasher;

const CHUNK: usize = 256 * 1024;

/// Number of chunks that may wait for the reading thread.
const WAITING: usize = 4;

/// Passes a blob's uncompressed content, of whatever compression, to `consume`, while a thread
/// reads ahead, and at most `threads` decompress. Returns the result of `consume`, and the digest of
/// the content, which is whole only if all was read.
pub(super) fn with_content<T>(
    blob: File,
    threads: u32,
    consume: impl FnOnce(&mut dyn Read) -> T,
) -> io::Result<(T, Sha256Sum)> {
    // The closure takes the file along, even if its thread cannot be started.
    let again = blob.try_clone()?;
    std::thread::scope(|scope| {
        let (full, chunks) = sync_channel(WAITING);
        let (used, empty) = sync_channel(WAITING);
        let read = move || read_ahead(blob, threads, &full, &empty);
        let Ok(handle) = Builder::new().name("decompress".to_owned()).spawn_scoped(scope, read)
        else {
            return read_here(again, threads, consume);
        };
        let outcome = consume(&mut Ahead { chunks, used, chunk: Vec::new(), at: 0 });
        joined(handle.join()).map(|sum| (outcome, sum))
    })
}

/// Reads content until the consumer stops.
fn read_ahead(
    blob: File,
    threads: u32,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) -> io::Result<Sha256Sum> {
    let send = |mut content: &mut dyn Read| {
        loop {
            // Chunks go back and forth: fresh memory of this size costs a page fault for each 4
            // KiB.
            let mut chunk = empty.try_recv().unwrap_or_default();
            chunk.clear();
            chunk.reserve(CHUNK);
            let read = Read::by_ref(&mut content).take(CHUNK as u64).read_to_end(&mut chunk);
            let last = chunk.len() < CHUNK;
            // The part before an error is useless without the rest. An error of `send` means that
            // the consumer has ended, and that is how it stops this thread.
            if full.send(read.map(|_| chunk)).is_err() || last {
                return;
            }
        }
    };
    read_here(blob, threads, send).map(|((), sum)| sum)
}

fn read_here<T>(
    blob: File,
    threads: u32,
    consume: impl FnOnce(&mut dyn Read) -> T,
) -> io::Result<(T, Sha256Sum)> {
    let content = decompressed_with(BufReader::with_capacity(CHUNK, blob), threads)?;
    let mut summed = Tee::with(content, ThreadedHasher::new());
    let outcome = consume(&mut summed);
    Ok((outcome, summed.finish().1.sha256))
}

/// The content that a thread has read ahead.
struct Ahead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    used: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            // The reading thread has ended: at the end of the content, or after its error was
            // passed on.
            let Ok(chunk) = self.chunks.recv() else { return Ok(0) };
            self.at = 0;
            drop(self.used.try_send(std::mem::replace(&mut self.chunk, chunk?)));
        }
        let count = (&self.chunk[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

fn joined<T>(ended: std::thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::time::{Duration, Instant};

    use super::*;

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * at / 7).to_le_bytes()[0]).collect()
    }

    #[test]
    fn content_comes_whole_with_its_sum() {
        for length in [0, 1, CHUNK, 20 * CHUNK + 5] {
            let bytes = content(length);
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&bytes).unwrap();
            let stored = gzip.finish().unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&stored).unwrap();
            let read = |content: &mut dyn Read| {
                let mut all = Vec::new();
                content.read_to_end(&mut all).map(|_| all)
            };
            let rewound = || {
                let mut file = file.try_clone().unwrap();
                file.rewind().unwrap();
                file
            };
            let (all, sum) = with_content(rewound(), 1, read).unwrap();
            assert!(all.unwrap() == bytes);
            assert_eq!(sum, Sha256Sum::of(&bytes));
            let (all, sum) = read_here(rewound(), 1, read).unwrap();
            assert!(all.unwrap() == bytes && sum == Sha256Sum::of(&bytes));
        }
    }

    /// Number of threads of a name, which the threads that they start have too.
    fn threads_called(name: &str) -> usize {
        let tasks = fs_err::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|task| fs_err::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    #[test]
    fn a_layer_in_xz_is_decompressed_by_as_many_threads_as_allowed() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let bytes: Vec<u8> = (0..16 << 20).map(|_| next()).collect();
        let mut xz = crate::archive::XzWriter::new(Vec::new(), 1, None).unwrap();
        xz.write_all(&bytes).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&xz.finish().unwrap()).unwrap();
        let cores = std::thread::available_parallelism().unwrap().get();
        for (name, threads) in [("xz-one", 1), ("xz-two", 2)] {
            file.rewind().unwrap();
            let blob = file.try_clone().unwrap();
            let expected = threads > 1 && cores > 1;
            let count = move |content: &mut dyn Read| {
                content.read_exact(&mut vec![0; 1 << 20]).unwrap();
                // The hashing thread has this name, too, until it has set its own.
                let end = Instant::now() + Duration::from_secs(10);
                while (threads_called(name) > 1) != expected && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(1));
                }
                threads_called(name) > 1
            };
            let read = move || read_here(blob, threads, count).unwrap().0;
            let counted = Builder::new().name(name.to_owned()).spawn(read).unwrap();
            assert_eq!(counted.join().unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn a_damaged_blob_fails_and_a_reader_that_stops_ends_the_thread() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0x1f, 0x8b, 8, 0, 1, 2, 3]).unwrap();
        file.rewind().unwrap();
        let read = |content: &mut dyn Read| content.read_to_end(&mut Vec::new());
        let (outcome, _) = with_content(file, 1, read).unwrap();
        assert!(outcome.is_err());
        let endless = fs_err::File::open("/dev/zero").unwrap().into_file();
        let first = |content: &mut dyn Read| content.read_exact(&mut [0; 10]);
        with_content(endless, 1, first).unwrap().0.unwrap();
    }
}
