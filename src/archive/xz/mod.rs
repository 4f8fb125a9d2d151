//! XZ: an encoder of our own around liblzma's LZMA2, and a decoder that accepts the same streams as
//! `xz`.
//!
//! ```text
//! encoder    cuts data into blocks, in order     dense    finds what is compressed already
//! pool       threads that encode blocks          block    one block, compressed or stored
//! container  header, index and footer
//! ```
//!
//! The output is a single stream, which every reader reads to its end, of independent blocks.
//! Several streams would be possible, too, but some readers stop after the first stream (Python's
//! `LZMADecompressor`, many a library); GNU tar, `xz`, Python's `lzma.open` and busybox don't.
//!
//! The bytes depend on the data, on the data's size as given beforehand, and on the constants here;
//! not on the number of threads, nor on time. liblzma's own multi-threaded encoder is reproducible,
//! too, but has fixed filters, and no blocks from elsewhere; up to 24 MiB, its output is the same
//! as here. Here a block can be stored (60 MB of noise: 0.3 s of processor time instead of 42), and
//! can be copied from elsewhere: bootstraps are assembled from kept parts.

#[cfg(feature = "builder")]
mod block;
#[cfg(feature = "builder")]
mod container;
#[cfg(feature = "builder")]
mod crc64;
#[cfg(feature = "builder")]
mod dense;
#[cfg(feature = "builder")]
mod encoder;
#[cfg(feature = "builder")]
#[cfg(feature = "builder")]
mod pool;
#[cfg(feature = "builder")]
mod writer;

use std::fmt;
use std::io::{self, BufReader, Read};

use xz2::bufread::XzDecoder;
use xz2::stream::{CONCATENATED, Stream};

#[cfg(feature = "builder")]
pub use block::{Block, BlockRecord};
#[cfg(feature = "builder")]
pub use container::StreamWriter;
#[cfg(feature = "builder")]
pub use crc64::Crc64;
#[cfg(feature = "builder")]
pub use encoder::{BlockEncoder, BlockSink};
#[cfg(feature = "builder")]
#[cfg(feature = "builder")]
pub use writer::XzWriter;

/// Enough for `xz --lzma2=dict=256MiB`; a header may ask for 4 GiB.
const DECODER_MEMORY: u64 = 512 << 20;

const BUFFER: usize = 256 * 1024;

/// Decompresses all streams of a reader, verifies their checksums, and fails on any other trailing
/// data.
pub struct XzReader<R>(XzDecoder<BufReader<R>>);

impl<R: Read> XzReader<R> {
    /// Starts reading; nothing is read yet.
    pub fn new(input: R) -> io::Result<Self> {
        let stream = Stream::new_stream_decoder(DECODER_MEMORY, CONCATENATED)?;
        Ok(Self(XzDecoder::new_stream(BufReader::with_capacity(BUFFER, input), stream)))
    }
}

impl<R: Read> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R> fmt::Debug for XzReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XzReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "builder")]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(data: &[u8], threads: u32, size: Option<u64>) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), threads, size).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn unpacked(data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        XzReader::new(data)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn many_blocks_are_the_same_with_any_number_of_threads() {
        let data: Vec<u8> =
            (0..300_000_u32).map(|at| (at.wrapping_mul(at) >> 7).to_le_bytes()[0] & 7).collect();
        let several = [1, 2, 4, 0].map(|threads| {
            let sink = StreamWriter::new(Vec::new()).unwrap();
            let mut encoder = BlockEncoder::new(sink, threads, None);
            for piece in data.chunks(1 << 14) {
                encoder.part(None, []).unwrap();
                encoder.write_all(piece).unwrap();
            }
            encoder.finish().unwrap().finish().unwrap()
        });
        assert!(several.iter().all(|other| *other == several[0]));
        assert!(several[0] != packed(&data, 1, None), "one block");
        assert!(unpacked(&several[0]).unwrap() == data);
    }

    #[test]
    fn streams_padding_and_nothing_else() {
        let one = packed(b"one", 1, Some(3));
        let two = packed(b"two", 2, None);
        let padded = [one.as_slice(), &[0; 4], &two].concat();
        assert_eq!(unpacked(&padded).unwrap(), b"onetwo");
        for (name, bad) in [
            ("cut off", one[..one.len() - 1].to_vec()),
            ("garbage", [one.as_slice(), b"garbage!"].concat()),
            ("odd padding", [one.as_slice(), &[0]].concat()),
            ("empty", Vec::new()),
        ] {
            assert!(unpacked(&bad).is_err(), "{name}");
        }
        for at in 0..one.len() {
            let mut bad = one.clone();
            bad[at] ^= 0x10;
            assert!(unpacked(&bad).is_err(), "byte {at} changed unnoticed");
        }
    }

    #[test]
    fn more_memory_than_allowed_is_refused() {
        let mut greedy = packed(b"x", 1, Some(1));
        let header = 12..12 + (usize::from(greedy[12]) + 1) * 4;
        let filter = greedy.windows(2).position(|pair| pair == [0x21, 1]).unwrap();
        greedy[filter + 2] = 39;
        let mut sum = flate2::Crc::new();
        sum.update(&greedy[header.start..header.end - 4]);
        greedy[header.end - 4..header.end].copy_from_slice(&sum.sum().to_le_bytes());
        assert!(unpacked(&greedy).unwrap_err().to_string().contains("memory"));
    }
}
