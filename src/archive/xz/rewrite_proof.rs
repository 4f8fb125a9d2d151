//! Proof that a block has the content of another one, of which regions were not decoded: liblzma decodes the
//! new block; what is known is compared, and the old content, put together of it, must have the old checksum.

use std::io;
use std::ops::Range;

use mkpanda_lzma2::Decoded;

use super::coding::Coding;
use super::crc64::Crc64;
use super::decoding::Decoding;
use super::span::Span;

/// Decodes the chunks of a new block of some spans of an old one, and returns the checksum of its content;
/// `None` if the content is not that of the spans, or if the old block's checksum is not `check`.
pub(super) fn proven_sum(
    chunks: &[u8],
    coding: Coding,
    old: &Decoded,
    spans: &[Span],
    check: u64,
) -> io::Result<Option<u64>> {
    let mut decoding = Decoding::new(chunks, coding)?;
    let (mut old_sum, mut new_sum) = (Crc64::default(), Crc64::default());
    let mut from = 0;
    for span in spans {
        let Some(taken) = old.data.get(from..from + span.taken()) else { return Ok(None) };
        match span {
            Span::Kept(_) => {
                let mut at = from;
                while at < from + taken.len() {
                    let Some(bytes) = decoding.next(from + taken.len() - at) else {
                        return Ok(None);
                    };
                    old_sum.update(bytes);
                    new_sum.update(bytes);
                    if !has_known(old, at, bytes) {
                        return Ok(None);
                    }
                    at += bytes.len();
                }
            }
            Span::Skipped(_) | Span::Dropped(_) => old_sum.update(taken),
            Span::Inserted(inserted) => {
                let mut rest = &inserted[..];
                while !rest.is_empty() {
                    let bytes = decoding.next(rest.len());
                    let behind = bytes.and_then(|bytes| rest.strip_prefix(bytes));
                    let (Some(bytes), Some(behind)) = (bytes, behind) else { return Ok(None) };
                    new_sum.update(bytes);
                    rest = behind;
                }
            }
        }
        from += taken.len();
    }
    let is_proven = decoding.is_ended() && from == old.data.len() && old_sum.value() == check;
    Ok(is_proven.then(|| new_sum.value()))
}

/// True if bytes from a position of the old content on are equal to those that are known of it.
fn has_known(old: &Decoded, at: usize, bytes: &[u8]) -> bool {
    let all = at..at + bytes.len();
    let mut equal =
        |part: Range<usize>| old.data[part.clone()] == bytes[part.start - at..part.end - at];
    known(old, all).all(&mut equal)
}

/// The parts of a range of the old content that are known.
pub(super) fn known(old: &Decoded, all: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = all.end;
    let mut begin = all.start;
    let last = end..end;
    old.left_out().chain([last]).filter_map(move |region| {
        let part = begin..region.start.clamp(begin, end);
        begin = region.end.clamp(begin, end);
        (!part.is_empty()).then_some(part)
    })
}
