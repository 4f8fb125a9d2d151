//! Splitting of data into blocks, encoded by several threads, and emitted in order.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::block::{self, Block};
use super::dense;
use super::level::CompressionLevel;
use super::own_blocks::OwnBlock;
use super::pool::{BlockJob, BlockPool};
use super::rewrite::{Rewrite, parted};
use super::span::Span;

/// Upper limit of a block's content. Of 300 MB of programs, blocks of 16 MiB made 0.996 of `xz -6`, of
/// 24 MiB 0.981; but an encoder takes 6 bytes of memory per byte of its block, and with 24 MiB two
/// of them took 1.2 times as much as `xz -6 -T2`.
const LARGEST: u64 = 20 << 20;

/// Number of bytes that are not worth a thread, whose start, stack and memory take 0.4 ms.
const SMALL: usize = 64 << 10;

/// Upper limit of a block that is read before a thread is free for it. With two threads a block of the
/// largest size would be 7 % of all memory; reading it takes some hundredth of the time of encoding it.
const READ_AHEAD: usize = 4 << 20;

/// Interval of calls of [`BlockSink::idle`] while no block is ready.
const SILENCE: Duration = Duration::from_millis(100);

/// Takes blocks in their order.
pub trait BlockSink {
    /// Type of items between blocks.
    type Mark;

    /// Takes a block.
    fn block(&mut self, block: &Block) -> io::Result<()>;

    /// Takes an item between blocks.
    fn mark(&mut self, mark: Self::Mark) -> io::Result<()>;

    /// Called at intervals while no block is ready; an error ends the encoding.
    fn idle(&mut self) -> io::Result<()>;
}

/// Item of the output, in order.
#[derive(Debug)]
enum Next<M> {
    /// Block of this number.
    Block(u64),
    Mark(M),
}

/// Encodes the written data into blocks. `finish` must be called: without it, pending data is lost.
#[derive(Debug)]
pub struct BlockEncoder<S: BlockSink> {
    sink: S,
    pool: BlockPool,
    data: Vec<u8>,
    cuts: Cuts,
    block_size: usize,
    /// Position of the pending data in the first part.
    position: u64,
    /// Regions of the first part, from the pending data on.
    regions: VecDeque<Range<u64>>,
    level: CompressionLevel,
    /// Queue of submitted blocks, in order.
    queue: VecDeque<Next<S::Mark>>,
    /// Encoded blocks that wait for earlier ones.
    done: BTreeMap<u64, Block>,
    blocks: u64,
}

impl<S: BlockSink> BlockEncoder<S> {
    /// Creates an encoder whose blocks go to `sink`, with a first part of `size` bytes (see [`Self::part`]).
    pub fn new(sink: S, threads: u32, size: Option<u64>) -> Self {
        let mut cuts = Cuts::of(size);
        Self {
            sink,
            pool: BlockPool::new(threads),
            data: Vec::new(),
            block_size: cuts.next(),
            cuts,
            position: 0,
            regions: VecDeque::new(),
            level: CompressionLevel::Default,
            queue: VecDeque::new(),
            done: BTreeMap::new(),
            blocks: 0,
        }
    }

    /// Compresses what follows at a level.
    #[must_use]
    pub fn at_level(self, level: CompressionLevel) -> Self {
        Self { level, ..self }
    }

    /// Names regions of the first part, in ascending order. Those that have little in common with the rest are
    /// encoded so that they can be copied when a block is made of another one.
    #[must_use]
    pub fn with_regions(self, regions: Vec<Range<u64>>) -> Self {
        Self { regions: regions.into(), ..self }
    }

    /// Begins a part, whose blocks are independent of earlier data, after marks for the sink.
    /// `size` is the length of the part, if known: then no thread waits at the end for a late
    /// block.
    pub fn part(
        &mut self,
        size: Option<u64>,
        marks: impl IntoIterator<Item = S::Mark>,
    ) -> io::Result<()> {
        self.cut()?;
        self.regions.clear();
        self.queue.extend(marks.into_iter().map(Next::Mark));
        self.cuts = Cuts::of(size);
        self.block_size = self.cuts.next();
        self.hand_on()
    }

    /// Encodes the remaining data and returns the sink.
    pub fn finish(mut self) -> io::Result<S> {
        if self.blocks == 0 && (1..=SMALL).contains(&self.data.len()) {
            self.encode_here()?;
        }
        self.cut()?;
        while !self.queue.is_empty() {
            self.wait()?;
        }
        Ok(self.sink)
    }

    /// Encodes all pending data, which is short, while no block is under way.
    fn encode_here(&mut self) -> io::Result<()> {
        let data = std::mem::take(&mut self.data);
        for (range, method) in dense::parts(&data) {
            let level = self.level;
            let block = block::encode(&data[range], &[], method, level, &AtomicBool::new(false))?;
            self.done.insert(self.blocks, block);
            self.queue.push_back(Next::Block(self.blocks));
            self.blocks += 1;
        }
        self.hand_on()
    }

    /// Submits the pending data to the threads.
    fn cut(&mut self) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        let data = Arc::new(std::mem::take(&mut self.data));
        for (range, method) in dense::parts(&data) {
            let regions = self.regions_in(&range);
            let (data, level) = (Arc::clone(&data), self.level);
            self.submit(BlockJob::New { data, range, regions, method, level })?;
        }
        self.position += data.len() as u64;
        Ok(())
    }

    /// The regions in a range of the pending data, by their positions in it; those that end there are taken.
    fn regions_in(&mut self, range: &Range<usize>) -> Vec<Range<usize>> {
        let begin = self.position + range.start as u64;
        let end = begin + range.len() as u64;
        let mut regions = Vec::new();
        while let Some(region) = self.regions.front().filter(|region| region.start < end) {
            let within = |at: u64| usize::try_from(at.clamp(begin, end) - begin).unwrap_or(0);
            let found = within(region.start)..within(region.end);
            if !found.is_empty() {
                regions.push(found);
            }
            if region.end > end {
                break;
            }
            self.regions.pop_front();
        }
        regions
    }

    fn submit(&mut self, job: BlockJob) -> io::Result<()> {
        // Bounds the memory: blocks may be ready long before earlier ones.
        while self.pool.is_busy() || self.done.len() > self.pool.threads() {
            self.wait()?;
        }
        self.pool.submit(self.blocks, job)?;
        self.queue.push_back(Next::Block(self.blocks));
        self.blocks += 1;
        Ok(())
    }

    /// Makes blocks of a block of a file, whose spans cover it. More than one block is made only if
    /// much was put in.
    pub fn rewrite(
        &mut self,
        block: &OwnBlock,
        file: impl Read + Seek,
        spans: Vec<Span>,
    ) -> io::Result<()> {
        self.cut()?;
        let (chunks, check) = block.read(file)?;
        let (chunks, method) = (Arc::new(chunks), block.method());
        let size = usize::try_from(block.size()).unwrap_or(usize::MAX);
        for spans in parted(spans) {
            let chunks = Arc::clone(&chunks);
            let rewrite = Rewrite { chunks, check, size, method, spans };
            self.submit(BlockJob::Rewrite(rewrite))?;
        }
        Ok(())
    }

    /// Waits for an encoded block, or calls the sink's `idle`.
    fn wait(&mut self) -> io::Result<()> {
        match self.pool.wait(SILENCE)? {
            Some((number, block)) => drop(self.done.insert(number, block)),
            None => self.sink.idle()?,
        }
        self.hand_on()
    }

    /// Passes all blocks and marks to the sink whose turn has come.
    fn hand_on(&mut self) -> io::Result<()> {
        loop {
            match self.queue.front() {
                Some(Next::Block(number)) => match self.done.remove(number) {
                    Some(block) => self.sink.block(&block)?,
                    None => return Ok(()),
                },
                Some(Next::Mark(_)) => {}
                None => return Ok(()),
            }
            if let Some(Next::Mark(mark)) = self.queue.pop_front() {
                self.sink.mark(mark)?;
            }
        }
    }
}

/// Sizes of blocks: the largest size, and for the rest two or four equal blocks, which keep as many threads
/// busy to the end. The number of threads has no influence, or the bytes would depend on it.
/// Equal blocks throughout, 16 of 18.75 MiB instead of 12 of 24 and 2, made 300 MB of programs 1 %
/// larger.
#[derive(Debug)]
struct Cuts {
    largest: u64,
    rest: usize,
}

impl Cuts {
    fn of(size: Option<u64>) -> Self {
        const LEAST_FOR_TWO: u64 = 8 << 20;
        let Some(size) = size else { return Self { largest: u64::MAX, rest: 0 } };
        let largest = if size <= LARGEST { 0 } else { size / LARGEST / 4 * 4 };
        let rest = size - largest * LARGEST;
        let blocks = match rest {
            _ if size <= LARGEST => 1,
            0..=LEAST_FOR_TWO => 1,
            _ if rest <= 2 * LARGEST => 2,
            _ => 4,
        };
        Self { largest, rest: usize::try_from(rest.div_ceil(blocks)).unwrap_or(usize::MAX) }
    }

    fn next(&mut self) -> usize {
        match self.largest.checked_sub(1) {
            None if self.rest > 0 => self.rest,
            left => {
                self.largest = left.unwrap_or(0);
                usize::try_from(LARGEST).unwrap_or(usize::MAX)
            }
        }
    }
}

impl<S: BlockSink> Write for BlockEncoder<S> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.data.is_empty() {
            while self.block_size > READ_AHEAD && self.pool.is_busy() {
                self.wait()?;
            }
            self.data.reserve_exact(self.block_size);
        }
        let count = data.len().min(self.block_size - self.data.len());
        self.data.extend_from_slice(&data[..count]);
        if self.data.len() == self.block_size {
            self.cut()?;
            self.block_size = self.cuts.next();
        }
        Ok(count)
    }

    /// Leaves pending data where it is: to encode it now would end a block, and so change the output.
    fn flush(&mut self) -> io::Result<()> {
        self.sink.idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts blocks.
    struct Counter(usize);

    impl BlockSink for Counter {
        type Mark = ();

        fn block(&mut self, _: &Block) -> io::Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn mark(&mut self, (): ()) -> io::Result<()> {
            Ok(())
        }

        fn idle(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Blocks are passed on while somebody waits for a thread, and not otherwise.
    #[test]
    fn a_large_block_is_read_when_a_thread_is_free() {
        for (size, passed_on) in [(READ_AHEAD, 0), (READ_AHEAD + 1, 1)] {
            let mut encoder = BlockEncoder::new(Counter(0), 1, Some(size as u64));
            encoder.write_all(&vec![0; size + 1]).unwrap();
            assert_eq!(encoder.sink.0, passed_on, "{size}");
            assert_eq!(encoder.finish().unwrap().0, 2);
        }
    }

    #[test]
    fn blocks_are_large_and_keep_all_threads_busy() {
        const MIB: u64 = 1 << 20;
        for (size, wanted) in [
            (None, vec![20 * MIB; 9]),
            (Some(0), vec![20 * MIB]),
            (Some(5), vec![5]),
            (Some(20 * MIB), vec![20 * MIB]),
            (Some(20 * MIB + 1), vec![10 * MIB + 1; 2]),
            (Some(60 * MIB), vec![15 * MIB; 4]),
            (Some(81 * MIB), [vec![20 * MIB; 4], vec![MIB]].concat()),
            (Some(260 * MIB), [vec![20 * MIB; 12], vec![10 * MIB; 2]].concat()),
        ] {
            let mut cuts = Cuts::of(size);
            let cut: Vec<_> = wanted.iter().map(|_| cuts.next() as u64).collect();
            assert_eq!(cut, wanted, "{size:?}");
        }
    }
}
