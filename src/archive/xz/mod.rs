//! XZ: an encoder of our own around the LZMA2 of `crates/lzma2`, and a decoder by liblzma that accepts the
//! same streams as `xz`.
//!
//! ```text
//! encoder     cuts data into blocks, in order    dense          finds what is compressed already
//! pool        threads that encode blocks         level          choice between time and size
//! block       one block, compressed or stored    coding         its header
//! decoding    its content, by liblzma            machine_code   detects x86 code
//! container   header, index and footer           own_blocks     the blocks of a file of ours
//! reader      all streams of a file, decoded     span           content of a block by that of another one
//! rewrite     a block of the content of another
//! ```
//!
//! The output is a single stream, which every reader reads to its end, of independent blocks.
//! Several streams would be possible, too, but some readers stop after the first stream (Python's
//! `LZMADecompressor`, many a library); GNU tar, `xz`, Python's `lzma.open` and busybox don't.
//!
//! The bytes depend on the data, on what is said of it beforehand (its size, its large files), and on the constants;
//! not on the number of threads, nor on time. Each block is decoded by liblzma and compared before
//! it is written; of copied regions, what is copied was decoded by itself. A block can be stored (60 MB of noise: 0.3 s of processor time instead of 42), and
//! can be copied from elsewhere: bootstraps are assembled from kept parts. A block can be made of another
//! one by the operations found for it, at a quarter of the cost: bootstraps have the contents of packages,
//! with other headers between. Large files that have little in common with the rest of their block are
//! copied as they are encoded.

#[cfg(feature = "builder")]
mod block;
#[cfg(feature = "builder")]
mod coding;
#[cfg(feature = "builder")]
mod container;
#[cfg(feature = "builder")]
mod crc64;
#[cfg(feature = "builder")]
mod decoding;
#[cfg(feature = "builder")]
mod dense;
#[cfg(feature = "builder")]
mod encoder;
#[cfg(feature = "builder")]
mod frame;
#[cfg(feature = "builder")]
mod level;
#[cfg(feature = "builder")]
mod machine_code;
#[cfg(feature = "builder")]
mod own_blocks;
#[cfg(feature = "builder")]
mod pool;
mod reader;
#[cfg(feature = "builder")]
mod rewrite;
#[cfg(feature = "builder")]
mod span;
#[cfg(feature = "builder")]
mod writer;

#[cfg(feature = "builder")]
pub use block::{Block, BlockRecord};
#[cfg(feature = "builder")]
pub use container::StreamWriter;
#[cfg(feature = "builder")]
pub use crc64::Crc64;
#[cfg(feature = "builder")]
pub use encoder::{BlockEncoder, BlockSink};
#[cfg(feature = "builder")]
pub use level::CompressionLevel;
#[cfg(feature = "builder")]
pub use own_blocks::{OwnBlock, own_blocks};
pub use reader::XzReader;
#[cfg(feature = "builder")]
pub use rewrite::OpenBlock;
#[cfg(feature = "builder")]
pub use span::Span;
#[cfg(feature = "builder")]
pub use writer::XzWriter;

#[cfg(test)]
#[cfg(feature = "builder")]
mod tests {
    use std::io::{self, Read, Write};

    use super::*;

    fn packed(data: &[u8], threads: u32, size: Option<u64>) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), threads, size).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn unpacked(data: &[u8]) -> io::Result<Vec<u8>> {
        unpacked_by(data, 1)
    }

    fn unpacked_by(data: &[u8], threads: u32) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        XzReader::new(data, threads)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn each_level_is_read_and_filters_code_alone_where_it_may() {
        // Calls of one function from everywhere, which the filter makes equal.
        let mut code = machine_code::program(62, 5, 1 << 20);
        for at in 0..30_000_u32 {
            code.push(0xe8);
            code.extend_from_slice(&(at * 7).to_le_bytes());
            code.extend_from_slice(&[0x55, at.to_le_bytes()[0], 0x90]);
        }
        for (data, is_code) in [(code, true), (b"text of words\n".repeat(9000), false)] {
            for level in
                [CompressionLevel::Fast, CompressionLevel::Default, CompressionLevel::Small]
            {
                let packed_by = |threads| {
                    let size = Some(data.len() as u64);
                    let writer = XzWriter::new(Vec::new(), threads, size).unwrap();
                    let mut writer = writer.at_level(level);
                    writer.write_all(&data).unwrap();
                    writer.finish().unwrap()
                };
                let packed = packed_by(1);
                assert!(packed == packed_by(8));
                assert!(unpacked(&packed).unwrap() == data, "{level:?}");
                let is_filtered = packed[13] & 3 == 1;
                assert_eq!(is_filtered, is_code && level == CompressionLevel::Small, "{level:?}");
            }
        }
    }

    /// Large blocks, which several threads decode, then another stream.
    #[test]
    fn any_number_of_threads_reads_the_same_and_finds_the_same_damage() {
        let data: Vec<u8> =
            (0..3_u32 << 20).map(|at| (at.wrapping_mul(at) / 777).to_le_bytes()[0]).collect();
        let sink = StreamWriter::new(Vec::new()).unwrap();
        let mut encoder = BlockEncoder::new(sink, 2, None);
        for piece in data.chunks(1 << 20) {
            encoder.part(None, []).unwrap();
            encoder.write_all(piece).unwrap();
        }
        let large = encoder.finish().unwrap().finish().unwrap();
        let both = [&large[..], &[0; 8], &packed(b"two", 1, None)].concat();
        for threads in [0, 1, 2, 8, u32::MAX] {
            assert!(unpacked_by(&both, threads).unwrap() == [&data[..], b"two"].concat());
            for length in [large.len() - 1, large.len() / 2, large.len() + 1, both.len() - 1] {
                assert!(unpacked_by(&both[..length], threads).is_err(), "{threads}, {length}");
            }
            for at in [6, 13, 100, large.len() / 2, large.len() - 30, large.len() - 5] {
                let mut bad = both.clone();
                bad[at] ^= 0x10;
                assert!(unpacked_by(&bad, threads).is_err(), "{threads}, byte {at}");
            }
        }
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
        let empty = packed(b"", 1, Some(0));
        assert_eq!(empty.len(), 32, "as short as a stream can be");
        assert_eq!(unpacked(&[&empty[..], &empty, &two].concat()).unwrap(), b"two");
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
