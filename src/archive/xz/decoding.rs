//! A block's data, decoded by liblzma piece by piece.

use std::io;

use xz2::stream::{Action, LzmaOptions, Status, Stream};

use super::coding::Coding;

/// Number of bytes that are decoded at a time.
const STEP: usize = 64 << 10;

/// Decoder of a block's chunks.
pub(super) struct Decoding<'a> {
    decoder: Stream,
    chunks: &'a [u8],
    piece: Vec<u8>,
    /// Number of bytes of the piece that were taken.
    taken: usize,
    is_ended: bool,
}

impl<'a> Decoding<'a> {
    pub(super) fn new(chunks: &'a [u8], coding: Coding) -> io::Result<Self> {
        let mut options = LzmaOptions::new_preset(0)?;
        let decoder = Stream::new_raw_decoder(&coding.filters(&mut options))?;
        Ok(Self { decoder, chunks, piece: Vec::with_capacity(STEP), taken: 0, is_ended: false })
    }

    /// The next bytes, at least one and at most so many; `None` at the end, and where the chunks are not valid.
    pub(super) fn next(&mut self, most: usize) -> Option<&[u8]> {
        if self.taken == self.piece.len() {
            self.fill()?;
        }
        let begin = self.taken;
        self.taken = self.piece.len().min(begin.saturating_add(most));
        Some(&self.piece[begin..self.taken])
    }

    fn fill(&mut self) -> Option<()> {
        self.piece.clear();
        self.taken = 0;
        if self.is_ended {
            return None;
        }
        let used = usize::try_from(self.decoder.total_in()).unwrap_or(usize::MAX);
        let input = self.chunks.get(used..).unwrap_or_default();
        let status = self.decoder.process_vec(input, &mut self.piece, Action::Run).ok()?;
        self.is_ended = status == Status::StreamEnd;
        (!self.piece.is_empty()).then_some(())
    }

    /// Fills a place with the content; returns false if that has another size, or if the chunks are not valid.
    pub(super) fn fills(mut self, mut place: &mut [u8]) -> bool {
        while !place.is_empty() {
            let Some(bytes) = self.next(place.len()) else { return false };
            let (now, rest) = place.split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            place = rest;
        }
        self.is_ended()
    }

    /// True if all bytes were taken and the chunks end there.
    pub(super) fn is_ended(&mut self) -> bool {
        self.taken == self.piece.len() && self.fill().is_none() && self.is_ended
    }
}
