//! Decodes what [`encode`](crate::encode) encodes, and keeps the operations.

use crate::model::{Model, OperationKind, literal_properties};
use crate::narrow;
use crate::operations::Operations;
use crate::range_decoder::RangeDecoder;

/// A decoded block.
#[derive(Debug)]
pub struct Decoded {
    /// Content.
    pub data: Vec<u8>,
    /// Operations of the content.
    pub operations: Operations,
}

/// Decodes a block of `size` bytes; `None` if it is damaged, or not of this encoder: other properties
/// than the encoder's are not decoded.
pub fn decode(mut chunks: &[u8], size: usize) -> Option<Decoded> {
    if size > crate::LARGEST_BLOCK {
        return None;
    }
    let mut decoder = Decoder {
        size,
        data: Vec::with_capacity(size),
        operations: Operations::default(),
        model: None,
    };
    let mut is_first = true;
    loop {
        let (control, rest) = chunks.split_first()?;
        chunks = match control {
            0 => break,
            1 | 2 if is_first == (*control == 1) => decoder.stored(rest)?,
            0x80.. if is_first == (*control >= 0xe0) => decoder.compressed(*control, rest)?,
            _ => return None,
        };
        is_first = false;
    }
    let Decoder { data, operations, .. } = decoder;
    (chunks.len() == 1 && data.len() == size).then_some(Decoded { data, operations })
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

struct Decoder {
    size: usize,
    data: Vec<u8>,
    operations: Operations,
    /// `None` before the properties are known.
    model: Option<Model>,
}

impl Decoder {
    fn stored<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (header, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*header)) + 1;
        let (content, rest) = rest.split_at_checked(length)?;
        if content.len() > self.size - self.data.len() {
            return None;
        }
        self.data.extend_from_slice(content);
        self.operations.add_literals(narrow(length));
        Some(rest)
    }

    fn compressed<'a>(&mut self, control: u8, rest: &'a [u8]) -> Option<&'a [u8]> {
        let (header, mut rest) = rest.split_first_chunk::<4>()?;
        let [high, low, packed @ ..] = *header;
        let length = u32::from_be_bytes([0, control & 0x1f, high, low]) as usize + 1;
        let packed = usize::from(u16::from_be_bytes(packed)) + 1;
        match control >> 5 & 3 {
            0 => {}
            1 => self.model = Some(Model::new(self.model.as_ref().map(|_| self.size)?)),
            _ => {
                let (properties, others) = rest.split_first()?;
                rest = others;
                if *properties != literal_properties(self.size) {
                    return None;
                }
                self.model = Some(Model::new(self.size));
            }
        }
        let (packed, rest) = rest.split_at_checked(packed)?;
        let end = self.data.len() + length;
        if end > self.size {
            return None;
        }
        let model = self.model.as_mut()?;
        let mut coder = RangeDecoder::new(packed)?;
        while self.data.len() < end {
            let (kind, length) = model.decode(&mut coder, &self.data)?;
            match kind {
                OperationKind::Literal(byte) => {
                    self.data.push(byte);
                    self.operations.add_literals(1);
                }
                OperationKind::Match(distance) => {
                    let from = self.data.len().checked_sub(distance as usize + 1)?;
                    if length > end - self.data.len() {
                        return None;
                    }
                    copy(&mut self.data, from, length);
                    self.operations.add_match(distance + 1, narrow(length));
                }
            }
        }
        coder.is_finished().then_some(rest)
    }
}

/// Appends a copy of earlier data; the source may overlap with the copy.
#[inline]
fn copy(data: &mut Vec<u8>, from: usize, length: usize) {
    let distance = data.len() - from;
    if distance >= length {
        data.extend_from_within(from..from + length);
    } else if distance == 1 {
        let byte = data[from];
        data.resize(data.len() + length, byte);
    } else {
        for at in from..from + length {
            data.push(data[at]);
        }
    }
}
