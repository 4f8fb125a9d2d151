//! Decoder of all streams of a file, with several threads where the blocks are large.
//!
//! liblzma decodes several blocks at once if their headers have their sizes, as ours and those of
//! `xz -T` do. A block needs memory for its compressed and its decoded data: a file of 20 MiB blocks
//! some 50 MiB a thread. Where the limit does not allow another thread, fewer are used; where the
//! process may have little memory only, one is. The threads end with the reader.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::thread::available_parallelism;

use nix::sys::resource::{Resource, getrlimit};
use xz2::bufread::XzDecoder;
use xz2::stream::{MtStreamBuilder, Stream};

use crate::archive::members::{ArchiveMembers, DecoderState, Peeked};

/// Enough for `xz --lzma2=dict=256MiB`; a header may ask for 4 GiB.
const DECODER_MEMORY: u64 = 512 << 20;

/// Memory that further threads may take: some five blocks of ours.
const THREADS_MEMORY: u64 = 256 << 20;

/// Memory that a process has to be allowed to have more than one thread: liblzma fails where memory
/// for a thread is refused.
const ENOUGH_MEMORY: u64 = 2 << 30;

/// Content of the first block from which on threads are worth their start and their memory.
const LARGE: u64 = 1 << 20;

/// Bytes at the start of a stream that have the sizes of its first block: the stream's header, and
/// of the block's the flags and two numbers of up to nine bytes. The shortest stream has as many.
const HEADERS: usize = 12 + 2 + 9 + 9;

const BUFFER: usize = 256 * 1024;

type Next<R> = fn(XzStream<R>) -> io::Result<DecoderState<XzStream<R>>>;

/// Decompresses all streams of a reader, verifies their checksums, and fails on any other trailing
/// data.
pub struct XzReader<R: Read>(ArchiveMembers<XzStream<R>, Next<R>>);

impl<R: Read> XzReader<R> {
    /// Starts reading with at most so many threads as there are cores, and no more than `threads`.
    pub fn new(input: R, threads: u32) -> io::Result<Self> {
        let input = BufReader::with_capacity(BUFFER, input);
        Ok(Self(ArchiveMembers::new(XzStream::new(input, threads)?, next_stream)))
    }
}

impl<R: Read> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> fmt::Debug for XzReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XzReader").finish_non_exhaustive()
    }
}

/// One stream of a file.
struct XzStream<R: Read> {
    decoder: XzDecoder<Peeked<BufReader<R>>>,
    threads: u32,
}

impl<R: Read> XzStream<R> {
    fn new(mut input: BufReader<R>, threads: u32) -> io::Result<Self> {
        let mut start = Vec::with_capacity(HEADERS);
        (&mut input).take(HEADERS as u64).read_to_end(&mut start)?;
        let is_large = first_block_size(&start).is_some_and(|size| size >= LARGE);
        let cores =
            available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let stream = match threads.min(cores) {
            threads if threads < 2 || !is_large || is_short_of_memory() => {
                Stream::new_stream_decoder(DECODER_MEMORY, 0)?
            }
            threads => MtStreamBuilder::new()
                .threads(threads)
                .memlimit_threading(THREADS_MEMORY)
                .memlimit_stop(DECODER_MEMORY)
                .decoder()?,
        };
        let input = Cursor::new(start).chain(input);
        Ok(Self { decoder: XzDecoder::new_stream(input, stream), threads })
    }
}

impl<R: Read> Read for XzStream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer)
    }
}

fn is_short_of_memory() -> bool {
    [Resource::RLIMIT_DATA, Resource::RLIMIT_AS]
        .into_iter()
        .any(|resource| getrlimit(resource).is_ok_and(|(soft, _hard)| soft < ENOUGH_MEMORY))
}

/// Goes on behind the end of a stream: with padding (.xz File Format, 2.2), and another stream.
fn next_stream<R: Read>(ended: XzStream<R>) -> io::Result<DecoderState<XzStream<R>>> {
    // No stream is shorter than the peeked start.
    let (_, mut input) = ended.decoder.into_inner().into_inner();
    let mut padding = 0;
    loop {
        let rest = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            rest => rest?,
        };
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let (is_end, is_padding) = (rest.is_empty(), zeros == rest.len());
        input.consume(zeros);
        padding += zeros as u64;
        if is_padding && !is_end {
            continue;
        }
        if !padding.is_multiple_of(4) {
            let problem = "the padding behind an XZ stream is not a multiple of four bytes";
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        if is_end {
            return Ok(DecoderState::Ended);
        }
        return Ok(DecoderState::Within(XzStream::new(input, ended.threads)?));
    }
}

/// Size of the content of a stream's first block, if its header has both sizes.
fn first_block_size(start: &[u8]) -> Option<u64> {
    const FLAGS: usize = 13;
    const BOTH_SIZES: u8 = 0xc0;
    if start.get(FLAGS)? & BOTH_SIZES != BOTH_SIZES {
        return None;
    }
    let mut numbers = start[FLAGS + 1..].split_inclusive(|byte| byte & 0x80 == 0);
    let number = numbers.nth(1)?;
    let add = |sum: u64, byte: &u8| sum.checked_mul(0x80)?.checked_add(u64::from(byte & 0x7f));
    number.iter().rev().try_fold(0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_blocks_size_stands_in_its_header() {
        let header = |rest: &[u8]| [&[0; 12][..], &[4], rest].concat();
        for (rest, wanted) in [
            (&[0xc0, 5, 7, 0x21][..], Some(7)),
            (&[0xc1, 0x80, 1, 0x80, 0x80, 0xc0, 0, 9], Some(1 << 20)),
            (&[0x80, 7, 7], None),
            (&[0x40, 7, 7], None),
            (&[0xc0, 5], None),
            (&[0xc0, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], None),
            (&[], None),
        ] {
            assert_eq!(first_block_size(&header(rest)), wanted, "{rest:?}");
        }
    }
}
