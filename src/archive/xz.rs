//! XZ: liblzma's multi-threaded encoder, and a decoder that takes what `xz` takes.
//!
//! The bytes depend on the data, on its size as given beforehand, and on the constants here; not
//! on the number of threads. That holds because the multi-threaded encoder runs with one thread
//! too: the single-threaded one writes other bytes.

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use xz2::bufread::XzDecoder;
use xz2::stream::{
    Action, CONCATENATED, Check, Filters, LzmaOptions, MtStreamBuilder, Status, Stream,
};

const PRESET: u32 = 6;

/// How many bytes go into one block, which one thread compresses: what `xz -6 -T` takes. Measured
/// on 300 MB of programs: 0.5 % larger than one single block, which no second thread could share.
const BLOCK: u64 = 24 << 20;

/// The dictionary of preset 6.
const LARGEST_DICTIONARY: u64 = 8 << 20;

/// The smallest dictionary that the format has.
const SMALLEST_DICTIONARY: u64 = 4 << 10;

/// Enough for `xz --lzma2=dict=256MiB`; a header may ask for 4 GiB.
const DECODER_MEMORY: u64 = 512 << 20;

/// The longest time, in milliseconds, that the encoder keeps to itself. It has no influence on the
/// bytes.
const SILENCE: u32 = 100;

const BUFFER: usize = 256 * 1024;

/// Compresses what is written to it. It must be finished: dropped before, it leaves a cut-off
/// stream, which nothing takes for a whole one.
pub struct XzWriter<W> {
    out: W,
    stream: Stream,
    buffer: Vec<u8>,
}

impl<W: Write> XzWriter<W> {
    /// Starts a stream. `data_size` is how many bytes will be written, if that is known: less than
    /// 8 MiB makes a smaller dictionary do. The number of threads doesn't change the bytes.
    pub fn new(out: W, threads: u32, data_size: Option<u64>) -> io::Result<Self> {
        Self::with_block(out, threads, data_size, BLOCK)
    }

    fn with_block(out: W, threads: u32, data_size: Option<u64>, block: u64) -> io::Result<Self> {
        let mut options = LzmaOptions::new_preset(PRESET)?;
        options.dict_size(dictionary(data_size));
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let stream = MtStreamBuilder::new()
            .threads(threads.max(1))
            .block_size(block)
            .filters(filters)
            .check(Check::Crc64)
            .timeout_ms(SILENCE)
            .encoder()?;
        Ok(Self { out, stream, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Ends the stream and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        loop {
            let status = self.stream.process_vec(&[], &mut self.buffer, Action::Finish)?;
            self.drain()?;
            if matches!(status, Status::StreamEnd) {
                return Ok(self.out);
            }
        }
    }

    /// Hands on what there is. Flushing gives who takes it a chance to say that nothing more is
    /// wanted, also while a block is being compressed.
    fn drain(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.out.flush()
    }
}

fn dictionary(data_size: Option<u64>) -> u32 {
    let wanted = data_size.unwrap_or(LARGEST_DICTIONARY).min(LARGEST_DICTIONARY);
    let size = wanted.next_power_of_two().clamp(SMALLEST_DICTIONARY, LARGEST_DICTIONARY);
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let before = self.stream.total_in();
        while !data.is_empty() && self.stream.total_in() == before {
            self.stream.process_vec(data, &mut self.buffer, Action::Run)?;
            if self.buffer.len() >= BUFFER / 2 || self.stream.total_in() == before {
                self.drain()?;
            }
        }
        Ok(usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX))
    }

    /// Does nothing to the stream: flushing it would end a block, and change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W> fmt::Debug for XzWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XzWriter").finish_non_exhaustive()
    }
}

/// Decompresses all the streams that a reader gives, checks their sums, and fails on anything
/// else that follows them.
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
mod tests {
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
    fn the_dictionary_is_a_function_of_the_size() {
        for (size, wanted) in [
            (Some(0), 4096),
            (Some(4097), 8192),
            (Some(1 << 20), 1 << 20),
            (Some((1 << 20) + 1), 2 << 20),
            (Some(u64::MAX), 8 << 20),
            (None, 8 << 20),
        ] {
            assert_eq!(dictionary(size), wanted, "{size:?}");
        }
    }

    #[test]
    fn many_blocks_are_the_same_with_any_number_of_threads() {
        let data: Vec<u8> =
            (0..300_000_u32).map(|at| (at.wrapping_mul(at) >> 7).to_le_bytes()[0] & 7).collect();
        let several = [1, 2, 4, 0].map(|threads| {
            let mut writer = XzWriter::with_block(Vec::new(), threads, None, 1 << 16).unwrap();
            writer.write_all(&data).unwrap();
            writer.finish().unwrap()
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
