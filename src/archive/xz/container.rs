//! Frame of a stream's blocks: header, index and footer ("The .xz File Format", sections 2 and 4).

use std::convert::Infallible;
use std::io::{self, Write};

use super::block::{Block, BlockRecord};
use super::coding::{crc32, number};
use super::encoder::BlockSink;
use super::frame::{END_MAGIC, FLAGS, MAGIC};

/// Writes blocks of any origin as a single stream.
#[derive(Debug)]
pub struct StreamWriter<W> {
    out: W,
    records: Vec<BlockRecord>,
}

impl<W: Write> StreamWriter<W> {
    /// Starts a stream.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&[&MAGIC[..], &FLAGS, &crc32(&FLAGS)].concat())?;
        Ok(Self { out, records: Vec::new() })
    }

    /// Writes a block.
    pub fn block(&mut self, block: &Block) -> io::Result<()> {
        self.out.write_all(&block.bytes)?;
        self.records.push(block.record);
        Ok(())
    }

    /// Copies encoded blocks from a reader, which has them one after another.
    pub fn copy(&mut self, blocks: &[BlockRecord], from: impl io::Read) -> io::Result<()> {
        let wanted: u64 = blocks.iter().map(BlockRecord::padded).sum();
        if io::copy(&mut from.take(wanted), &mut self.out)? != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.records.extend_from_slice(blocks);
        Ok(())
    }

    /// Flushes the inner writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the stream; returns the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        // The index begins with a null byte, where a block has the size of its header.
        let mut index = vec![0];
        number(self.records.len() as u64, &mut index);
        for record in &self.records {
            number(record.unpadded, &mut index);
            number(record.uncompressed, &mut index);
        }
        index.resize(index.len().next_multiple_of(4), 0);
        index.extend_from_slice(&crc32(&index));
        // The footer's "Backward Size": the index's length in units of four bytes, less one.
        let size = u32::try_from(index.len() / 4 - 1)
            .map_err(|_too_many| io::Error::other("too many blocks for one stream"))?;
        let footer = [&size.to_le_bytes()[..], &FLAGS].concat();
        self.out.write_all(&index)?;
        self.out.write_all(&[&crc32(&footer)[..], &footer, &END_MAGIC].concat())?;
        Ok(self.out)
    }
}

impl<W: Write> BlockSink for StreamWriter<W> {
    type Mark = Infallible;

    fn block(&mut self, block: &Block) -> io::Result<()> {
        self.block(block)
    }

    fn mark(&mut self, mark: Infallible) -> io::Result<()> {
        match mark {}
    }

    fn idle(&mut self) -> io::Result<()> {
        self.flush()
    }
}
