//! The chunks of a block.

use crate::EncodeError;
use crate::guide::{Guide, Place};
use crate::match_table::MatchTable;
use crate::model::{Distances, Model, literal_properties};
use crate::parser::Parser;
use crate::range_coder::RangeCoder;
use crate::regions::{CopiedRegion, MARK, Region, copyable};
use crate::source::{Operation, Source, SourceKind};
use crate::stored::append_stored;

/// Upper limit of a chunk's compressed size in bytes, less what an operation takes.
const CHUNK_FULL: usize = (64 << 10) - 64;

/// Upper limit of the content of a compressed chunk, in bytes.
const CHUNK_CONTENT: usize = 2 << 20;

/// A distance beyond all data.
const UNUSABLE: u32 = u32::MAX - 1;

/// Resets in the header of the next chunk; each includes all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reset {
    Nothing = 0,
    State = 1,
    Properties = 2,
    Dictionary = 3,
}

/// Encoder between two chunks.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    data: &'a [u8],
    parser: Parser<'a>,
    guide: Option<Guide<'a>>,
    model: Model,
    coder: RangeCoder,
    /// Index of the next of the parser's operations.
    next: usize,
    /// Position behind the last operation.
    at: usize,
    /// Closed regions, and the number of the current or next one.
    regions: &'a [Region<'a>],
    region: usize,
    /// True within a region.
    is_inside: bool,
    /// Position where a region begins or ends, or the data.
    end: usize,
    reset: Reset,
    /// Position of the first chunk in the output.
    begin: usize,
    copied: Vec<CopiedRegion>,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(
        data: &'a [u8],
        table: &'a MatchTable,
        guide: Option<Guide<'a>>,
        regions: &'a [Region<'a>],
    ) -> Self {
        Self {
            data,
            parser: Parser::new(data, table),
            guide,
            model: Model::new(data.len()),
            coder: RangeCoder::new(),
            next: 0,
            at: 0,
            regions,
            region: 0,
            is_inside: false,
            end: 0,
            reset: Reset::Dictionary,
            begin: 0,
            copied: Vec::new(),
        }
    }

    /// Appends all chunks and the end marker; returns the regions that were copied.
    pub(crate) fn encode(
        mut self,
        out: &mut Vec<u8>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Vec<CopiedRegion>, EncodeError> {
        self.begin = out.len();
        while self.at < self.data.len() {
            if !is_wanted() {
                return Err(EncodeError::Cancelled);
            }
            if self.at == self.end {
                self.pass_borders(out)?;
            } else {
                self.chunk(out);
            }
        }
        out.push(0);
        Ok(self.copied)
    }

    /// Begins and ends regions at the current position, and finds the next border.
    fn pass_borders(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.end = self.data.len();
        while let Some(Region { content, copied }) = self.regions.get(self.region) {
            let border = if self.is_inside { content.end } else { content.start };
            if self.at < border {
                self.end = border;
                break;
            }
            if self.is_inside {
                self.is_inside = false;
                self.region += 1;
            } else if let Some(copied) = copied {
                // The decoder must be in the same state at the chunks as it was in their block.
                let begins_block = self.reset == Reset::Dictionary;
                let lacks_properties = self.reset >= Reset::Properties;
                let is_here = self.at == border && copied.is_first == begins_block;
                if !is_here || lacks_properties && !copied.has_properties {
                    return Err(EncodeError::Region);
                }
                let begin = out.len() - self.begin;
                let chunks = begin..begin + copied.chunks.len();
                self.copied.push(CopiedRegion { chunks, content: content.clone() });
                out.extend_from_slice(copied.chunks);
                self.reset = Reset::State;
                self.at = content.end;
                self.region += 1;
            } else {
                self.is_inside = true;
            }
            self.mark(out);
        }
        Ok(())
    }

    /// Stores the next bytes, so that what follows depends on nothing before.
    fn mark(&mut self, out: &mut Vec<u8>) {
        for _ in 0..MARK.min(self.data.len() - self.at) {
            self.store(self.at, self.at + 1, out);
            self.at += 1;
        }
        if self.guide.is_none() {
            // The nearest matches of the rest would be in the region, where they are not allowed.
            self.parser.candidates.forget();
        }
    }

    /// Appends a compressed chunk, or stored ones if the data doesn't become smaller.
    fn chunk(&mut self, out: &mut Vec<u8>) {
        let begin = self.at;
        self.coder.reset();
        while self.coder.size() <= CHUNK_FULL {
            let Some(operation) = self.operation() else { break };
            let operation = self.cut(operation);
            let end = self.at + operation.length();
            if end - begin > CHUNK_CONTENT {
                break;
            }
            self.model.encode(&mut self.coder, self.data, self.at, operation);
            self.at = end;
            self.next = self.next.wrapping_add(1);
        }
        let packed = self.coder.finish();
        let content = &self.data[begin..self.at];
        if packed.len() < content.len() {
            let [.., high, middle, low] = (content.len() - 1).to_be_bytes();
            let [.., packed_high, packed_low] = (packed.len() - 1).to_be_bytes();
            let control = 0x80 | (self.reset as u8) << 5 | high;
            out.extend_from_slice(&[control, middle, low, packed_high, packed_low]);
            if self.reset as u8 >= Reset::Properties as u8 {
                out.push(literal_properties(self.data.len()));
            }
            out.extend_from_slice(packed);
            self.reset = Reset::Nothing;
        } else {
            self.store(begin, self.at, out);
        }
    }

    /// Appends stored chunks. The decoder doesn't learn from them: the model begins anew, and what
    /// the parser has planned is void.
    fn store(&mut self, begin: usize, end: usize, out: &mut Vec<u8>) {
        append_stored(&self.data[begin..end], self.reset == Reset::Dictionary, out);
        if self.reset == Reset::Dictionary {
            self.reset = Reset::Properties;
        }
        self.reset = self.reset.max(Reset::State);
        self.model = Model::new(self.data.len());
        self.parser.forget();
        self.next = 0;
    }

    /// The operation, cut where its source meets a region; then the parser's plan is void.
    #[inline]
    fn cut(&mut self, operation: Operation) -> Operation {
        // Within a region all that the parser knows is of the region.
        if self.regions.is_empty() || self.is_inside {
            return operation;
        }
        let distance = match operation.source.kind() {
            SourceKind::Literal => return operation,
            SourceKind::Repetition(number) => self.model.distances[number],
            SourceKind::Distance(distance) => distance,
        };
        let source = self.at - distance as usize - 1;
        let length = copyable(self.regions, source, operation.length());
        if length == operation.length() {
            return operation;
        }
        self.parser.forget();
        // Counted up behind the operation.
        self.next = usize::MAX;
        let is_first = operation.source == Source::repetition(0);
        match length {
            0 => Operation::LITERAL,
            1 if !is_first => Operation::LITERAL,
            _ => Operation::new(operation.source, length),
        }
    }

    /// The last distances for the parser, without those that lead into a region: the parser would try these at
    /// each byte anew.
    fn usable_distances(&self) -> Distances {
        if self.regions.is_empty() || self.is_inside {
            return self.model.distances;
        }
        self.model.distances.map(|distance| {
            let source = self.at.checked_sub(distance as usize + 1);
            let is_usable = source.is_some_and(|source| copyable(self.regions, source, 1) > 0);
            if is_usable { distance } else { UNUSABLE }
        })
    }

    /// The next operation; `None` at a region's border, or the end of the data.
    #[inline]
    fn operation(&mut self) -> Option<Operation> {
        if self.next >= self.parser.operations().len() {
            if self.at == self.end {
                return None;
            }
            let mut end = self.end;
            if let Some(guide) = &mut self.guide {
                match guide.place(self.at) {
                    Place::Piece => {
                        return Some(guide.operation(&self.model, self.data, self.at));
                    }
                    Place::Gap { end: gap, base } => {
                        end = gap.min(end);
                        self.parser.candidates.pass(self.at, base);
                    }
                }
            }
            self.model.refresh_prices();
            let distances = self.usable_distances();
            self.parser.parse(&self.model, distances, self.at, end);
            self.next = 0;
        }
        self.parser.operations().get(self.next).copied()
    }
}
