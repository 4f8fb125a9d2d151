//! Decodes what [`encode`](crate::encode) encodes, and keeps the operations.

use std::ops::Range;

use crate::model::{Model, OperationKind, literal_properties};
use crate::narrow;
use crate::operations::Operations;
use crate::range_decoder::RangeDecoder;
use crate::regions::{DecodedRegion, MARK, MOST_REGIONS, copyable};

/// A decoded block.
#[derive(Debug)]
pub struct Decoded {
    /// Content; of regions left out only stored chunks, and zeros elsewhere.
    pub data: Vec<u8>,
    /// Operations of the content.
    pub operations: Operations,
    /// Regions left out, in order.
    pub(crate) regions: Vec<DecodedRegion>,
}

impl Decoded {
    /// Positions of regions left out, in ascending order.
    pub fn left_out(&self) -> impl Iterator<Item = Range<usize>> {
        self.regions.iter().map(|region| region.content.clone())
    }

    /// Position of a region left out, and its chunks as those of a block of its own, whose dictionary has to be as
    /// large as the content; `None` if they can't be.
    pub fn region_alone(&self, number: usize, chunks: &[u8]) -> Option<(Range<usize>, Vec<u8>)> {
        let region = self.regions.get(number)?;
        let properties = literal_properties(self.data.len());
        Some((region.content.clone(), region.alone(chunks, properties)?))
    }
}

/// Decodes a block of `size` bytes; `None` if it is damaged, or not of this encoder: other properties
/// than the encoder's are not decoded.
pub fn decode(chunks: &[u8], size: usize) -> Option<Decoded> {
    Decoder::new(chunks, size, false)?.decode()
}

/// Decodes a block but for its closed regions; `None` also if the rest refers to them, or if there are too many.
pub fn decode_around(chunks: &[u8], size: usize) -> Option<Decoded> {
    Decoder::new(chunks, size, true)?.decode()
}

/// True if chunks begin as this encoder's do for a block of this size. Those of other encoders may,
/// if the block is small.
pub fn begins_own(chunks: &[u8], size: usize) -> bool {
    match chunks {
        [0xe0..=0xff, _, _, _, _, properties, ..] => *properties == literal_properties(size),
        [1 | 0, ..] => true,
        _ => false,
    }
}

struct Decoder<'a> {
    chunks: &'a [u8],
    /// Position of the current chunk.
    chunk: usize,
    data: Vec<u8>,
    /// Position behind what is decoded.
    at: usize,
    operations: Operations,
    /// `None` before the properties are known, behind stored chunks, and behind the first reset of a region.
    model: Option<Model>,
    has_properties: bool,
    leaves_out: bool,
    /// Number of chunks of one stored byte in a row.
    marks: usize,
    is_inside: bool,
    regions: Vec<DecodedRegion>,
}

impl<'a> Decoder<'a> {
    fn new(chunks: &'a [u8], size: usize, leaves_out: bool) -> Option<Self> {
        (size <= crate::LARGEST_BLOCK).then(|| Self {
            chunks,
            chunk: 0,
            data: vec![0; size],
            at: 0,
            operations: Operations::default(),
            model: None,
            has_properties: false,
            leaves_out,
            marks: 0,
            is_inside: false,
            regions: Vec::new(),
        })
    }

    fn decode(mut self) -> Option<Decoded> {
        loop {
            let is_first = self.chunk == 0;
            let (control, rest) = self.chunks.get(self.chunk..)?.split_first()?;
            let rest = match control {
                0 => break,
                1 | 2 if is_first == (*control == 1) => self.stored(rest)?,
                0x80.. if is_first == (*control >= 0xe0) => self.compressed(*control, rest)?,
                _ => return None,
            };
            self.chunk = self.chunks.len() - rest.len();
        }
        if self.is_inside {
            self.end_region(self.chunk, self.at);
        }
        let is_whole = self.chunk + 1 == self.chunks.len() && self.at == self.data.len();
        let Self { data, operations, regions, .. } = self;
        is_whole.then_some(Decoded { data, operations, regions })
    }

    fn stored(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (header, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*header)) + 1;
        let (content, rest) = rest.split_at_checked(length)?;
        self.data.get_mut(self.at..self.at + length)?.copy_from_slice(content);
        self.at += length;
        self.operations.add_literals(narrow(length));
        // The encoder begins anew. The state of another one could lead from here to bytes that were left out.
        self.model = None;
        self.marks = if length == 1 { self.marks + 1 } else { 0 };
        if self.leaves_out && self.marks == MARK {
            self.pass_border()?;
        }
        Some(rest)
    }

    /// Begins or ends a region at the first of two marks; the current chunk is the second.
    fn pass_border(&mut self) -> Option<()> {
        const STORED_BYTE: usize = 4;
        self.marks = 0;
        let (chunk, at) = (self.chunk - STORED_BYTE, self.at - MARK);
        self.is_inside = !self.is_inside;
        if self.is_inside {
            if self.regions.len() == MOST_REGIONS {
                return None;
            }
            self.regions.push(DecodedRegion {
                chunks: chunk..chunk,
                content: at..at,
                has_reset: false,
                has_properties: false,
            });
        } else {
            self.end_region(chunk, at);
        }
        Some(())
    }

    /// The current region.
    fn region(&mut self) -> Option<&mut DecodedRegion> {
        self.regions.last_mut().filter(|_| self.is_inside)
    }

    fn end_region(&mut self, chunk: usize, at: usize) {
        if let Some(last) = self.regions.last_mut() {
            (last.chunks.end, last.content.end) = (chunk, at);
        }
    }

    /// Forgets what was learned; nothing is learned within regions.
    fn begin_model(&mut self) {
        let is_around = self.region().map(|region| region.has_reset = true).is_none();
        self.model = is_around.then(|| Model::new(self.data.len()));
    }

    fn compressed(&mut self, control: u8, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (header, mut rest) = rest.split_first_chunk::<4>()?;
        let [high, low, packed @ ..] = *header;
        let length = u32::from_be_bytes([0, control & 0x1f, high, low]) as usize + 1;
        let packed = usize::from(u16::from_be_bytes(packed)) + 1;
        self.marks = 0;
        let size = self.data.len();
        match control >> 5 & 3 {
            // What was learned before a region would decide its content; and only its first compressed chunk may tell
            // the properties.
            0 if self.region().is_some_and(|region| !region.has_reset) => return None,
            2 | 3 if self.region().is_some_and(|region| region.has_reset) => return None,
            0 => {}
            1 if !self.has_properties => return None,
            1 => self.begin_model(),
            _ => {
                let (properties, others) = rest.split_first()?;
                rest = others;
                if *properties != literal_properties(size) {
                    return None;
                }
                self.has_properties = true;
                self.begin_model();
                if let Some(region) = self.region() {
                    region.has_properties = true;
                }
            }
        }
        let (packed, rest) = rest.split_at_checked(packed)?;
        let end = self.at + length;
        if end > size {
            return None;
        }
        if self.is_inside {
            self.operations.add_literals(narrow(length));
            self.at = end;
            return Some(rest);
        }
        let model = self.model.as_mut()?;
        let mut coder = RangeDecoder::new(packed)?;
        let mut literals = 0;
        let (data, mut at) = (&mut self.data[..end], self.at);
        while at < end {
            let (kind, length) = model.decode(&mut coder, data, at)?;
            match kind {
                OperationKind::Literal(byte) => {
                    data[at] = byte;
                    at += 1;
                    literals += 1;
                }
                OperationKind::Match(distance) => {
                    let from = at.checked_sub(distance as usize + 1)?;
                    if length > end - at || copyable(&self.regions, from, length) < length {
                        return None;
                    }
                    copy(data, from, at, length);
                    at += length;
                    if literals > 0 {
                        self.operations.add_literals(literals);
                        literals = 0;
                    }
                    self.operations.add_match(distance + 1, narrow(length));
                }
            }
        }
        if literals > 0 {
            self.operations.add_literals(literals);
        }
        self.at = end;
        coder.is_finished().then_some(rest)
    }
}

/// Copies earlier data; the source may overlap with the copy.
#[inline]
fn copy(data: &mut [u8], from: usize, to: usize, length: usize) {
    /// Most matches are shorter, and a copy of this size needs no call.
    const SHORT: usize = 16;
    let distance = to - from;
    if length <= SHORT && distance >= SHORT && to + SHORT <= data.len() {
        data.copy_within(from..from + SHORT, to);
    } else if distance >= length {
        data.copy_within(from..from + length, to);
    } else if distance == 1 {
        let byte = data[from];
        data[to..to + length].fill(byte);
    } else {
        for at in 0..length {
            data[to + at] = data[from + at];
        }
    }
}
