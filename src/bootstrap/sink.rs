//! Destinations of a bootstrap's blocks: the archive, and the kept parts.

use std::io::{self, Write};

use super::parts::{BlocksWriter, KeptBlocks, PartKey, PartStore};
use crate::archive::{Block, BlockSink, StreamWriter};

/// Item between blocks.
#[derive(Debug)]
pub(super) enum SinkMark {
    /// The following blocks are kept.
    Keep(PartKey),
    /// The following blocks are not kept.
    Pass,
    /// Reused blocks.
    Kept(KeptBlocks),
}

/// Writes the archive.
#[derive(Debug)]
pub(super) struct BootstrapSink<'a, W> {
    stream: StreamWriter<W>,
    parts: PartStore<'a>,
    keeping: Option<BlocksWriter>,
}

impl<'a, W: Write> BootstrapSink<'a, W> {
    pub(super) fn new(out: W, parts: PartStore<'a>) -> io::Result<Self> {
        Ok(Self { stream: StreamWriter::new(out)?, parts, keeping: None })
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.keep();
        self.stream.finish()
    }

    fn keep(&mut self) {
        if let Some(writer) = self.keeping.take() {
            writer.finish();
        }
    }
}

impl<W: Write> BlockSink for BootstrapSink<'_, W> {
    type Mark = SinkMark;

    fn block(&mut self, block: &Block) -> io::Result<()> {
        // A part that cannot be kept is given up, and the archive goes on.
        self.keeping = self.keeping.take().and_then(|writer| writer.block(block));
        self.stream.block(block)
    }

    fn mark(&mut self, mark: SinkMark) -> io::Result<()> {
        self.keep();
        match mark {
            SinkMark::Keep(key) => self.keeping = self.parts.keep_blocks(&key),
            SinkMark::Pass => {}
            SinkMark::Kept(KeptBlocks { records, file }) => {
                self.stream.copy(&records, file)?;
                // Says whether it is still wanted.
                self.stream.flush()?;
            }
        }
        Ok(())
    }

    fn idle(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
