//! The encoder as a writer of one stream.

use std::io::{self, Write};
use std::ops::Range;

use super::{BlockEncoder, CompressionLevel, StreamWriter};

/// Compresses the written data. `finish` must be called: without it, the stream is truncated, and
/// no reader accepts it as whole.
#[derive(Debug)]
pub struct XzWriter<W: Write>(BlockEncoder<StreamWriter<W>>);

impl<W: Write> XzWriter<W> {
    /// Starts a stream. `data_size` is the number of bytes that will be written, if known: see
    /// [`BlockEncoder::part`]. The number of threads does not change the output.
    pub fn new(out: W, threads: u32, data_size: Option<u64>) -> io::Result<Self> {
        Ok(Self(BlockEncoder::new(StreamWriter::new(out)?, threads, data_size)))
    }

    /// Compresses at a level.
    #[must_use]
    pub fn at_level(self, level: CompressionLevel) -> Self {
        Self(self.0.at_level(level))
    }

    /// Names regions, as [`BlockEncoder::with_regions`] does.
    #[must_use]
    pub fn with_regions(self, regions: Vec<Range<u64>>) -> Self {
        Self(self.0.with_regions(regions))
    }

    /// Ends the stream; returns the inner writer.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()?.finish()
    }
}

impl<W: Write> Write for XzWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
