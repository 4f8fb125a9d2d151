//! Blocks that have the content of others, with some data left out or put between.

use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mkpanda_lzma2::{Decoded, Piece};

use super::block::{Block, Method, compress_again, decompress, encode};
use super::coding::Coding;
use super::crc64::Crc64;
use super::decoding::Decoding;
use super::level::CompressionLevel;
use super::own_blocks::OwnBlock;
use super::span::Span;

/// Upper limit of the content of a block that is made of another one: of the largest, with longer
/// headers. The dictionary of more would be larger.
const LARGEST_REWRITTEN: usize = 24 << 20;

/// A block to be made of another one.
#[derive(Debug)]
pub(super) struct Rewrite {
    /// The chunks of the old block's data.
    pub(super) chunks: Arc<Vec<u8>>,
    /// CRC-64 of the old block's content.
    pub(super) check: u64,
    /// Size of the old block's content.
    pub(super) size: usize,
    pub(super) method: Method,
    pub(super) spans: Vec<Span>,
}

impl Rewrite {
    /// Makes the block; fails if it is `cancelled`.
    pub(super) fn encode(self, cancelled: &AtomicBool) -> io::Result<Block> {
        let Self { chunks, check, size, method, spans } = self;
        for decode in [mkpanda_lzma2::decode_around, mkpanda_lzma2::decode] {
            let old = OpenBlock::decode(Arc::clone(&chunks), (size, check), method, decode)?;
            if let Some(old) = old
                && let Some(block) = old.block(&spans, cancelled)?
            {
                return Ok(block);
            }
        }
        // Another encoder's block may begin like ours.
        let old = decompress(&chunks, size)?;
        check_sum(&old, check)?;
        let (new, _) = assembled(&old, &spans)?;
        drop((old, chunks));
        encode(&new, &[], method, CompressionLevel::Default, cancelled)
    }
}

/// A block of ours, decoded.
#[derive(Debug)]
pub struct OpenBlock {
    chunks: Arc<Vec<u8>>,
    decoded: Decoded,
    method: Method,
}

impl OpenBlock {
    /// Reads and decodes a block of a file; `None` if another encoder made it.
    pub fn read(block: &OwnBlock, file: impl Read + Seek) -> io::Result<Option<Self>> {
        let (chunks, check) = block.read(file)?;
        let size = usize::try_from(block.size()).unwrap_or(usize::MAX);
        let (chunks, decode) = (Arc::new(chunks), mkpanda_lzma2::decode_around);
        Self::decode(chunks, (size, check), block.method(), decode)
    }

    /// Decodes a block. Regions that `decode` leaves out are decoded by liblzma, each as a block of its own, which
    /// proves that they refer to nothing around. `None` if they do, or if another encoder made the block.
    fn decode(
        chunks: Arc<Vec<u8>>,
        (size, check): (usize, u64),
        method: Method,
        decode: fn(&[u8], usize) -> Option<Decoded>,
    ) -> io::Result<Option<Self>> {
        let Some(mut decoded) = decode(&chunks, size) else { return Ok(None) };
        let count = decoded.left_out().count();
        for number in 0..count {
            let Some((place, alone)) = decoded.region_alone(number, &chunks) else {
                return Ok(None);
            };
            if !Decoding::new(&alone, Coding::of(size))?.fills(&mut decoded.data[place]) {
                return Ok(None);
            }
        }
        check_sum(&decoded.data, check)?;
        Ok(Some(Self { chunks, decoded, method }))
    }

    /// The content, whose checksum is right.
    pub fn data(&self) -> &[u8] {
        &self.decoded.data
    }

    /// Makes blocks as [`BlockEncoder::rewrite`](super::BlockEncoder::rewrite) does; fails if they
    /// are `cancelled`. `None` if regions would be parted.
    pub fn rewrite(
        &self,
        spans: Vec<Span>,
        cancelled: &AtomicBool,
    ) -> io::Result<Option<Vec<Block>>> {
        parted(spans).iter().map(|spans| self.block(spans, cancelled)).collect()
    }

    fn block(&self, spans: &[Span], cancelled: &AtomicBool) -> io::Result<Option<Block>> {
        let Self { chunks, decoded, method } = self;
        let (new, pieces) = assembled(&decoded.data, spans)?;
        match method {
            Method::Compressed => compress_again(&new, decoded, chunks, &pieces, cancelled),
            Method::Stored => {
                encode(&new, &[], *method, CompressionLevel::Default, cancelled).map(Some)
            }
        }
    }
}

fn check_sum(data: &[u8], check: u64) -> io::Result<()> {
    let is_right = Crc64::of(data) == check;
    if is_right { Ok(()) } else { Err(damaged("the sum of a block of a package is wrong")) }
}

fn damaged(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// Parts spans, so that each part makes a block that is not too large. Parts without content are left
/// out.
pub(super) fn parted(spans: Vec<Span>) -> Vec<Vec<Span>> {
    let mut parts: Vec<Vec<Span>> = Vec::new();
    let (mut taken, mut added) = (0, 0);
    for span in spans {
        if parts.is_empty() || added + span.added() > LARGEST_REWRITTEN {
            // A part begins behind what those before it took.
            parts.push(vec![Span::Skipped(taken)]);
            added = 0;
        }
        (taken, added) = (taken + span.taken(), added + span.added());
        parts.last_mut().unwrap_or(&mut Vec::new()).push(span);
    }
    parts.retain(|part| part.iter().any(|span| span.added() > 0));
    parts
}

/// Makes the new block's content of the old one's, and the pieces that both have.
fn assembled(old: &[u8], spans: &[Span]) -> io::Result<(Vec<u8>, Vec<Piece>)> {
    let mut new = Vec::with_capacity(spans.iter().map(Span::added).sum());
    let mut pieces: Vec<Piece> = Vec::new();
    let mut from = 0;
    for span in spans {
        let taken = old.get(from..from + span.taken());
        let taken = taken.ok_or_else(|| damaged("a block of a package is too short"))?;
        match span {
            Span::Kept(length) => {
                pieces.push(Piece { from, to: new.len(), length: *length });
                new.extend_from_slice(taken);
            }
            Span::Dropped(bytes) if bytes != taken => {
                return Err(damaged("a package's names are not where its summary has them"));
            }
            Span::Dropped(_) | Span::Skipped(_) => {}
            Span::Inserted(bytes) => new.extend_from_slice(bytes),
        }
        from += taken.len();
    }
    Ok((new, pieces))
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};
    use std::ops::Range;

    use super::*;
    use crate::archive::tests::noise;
    use crate::archive::xz::{BlockEncoder, StreamWriter, XzReader, XzWriter, own_blocks};

    fn packed(data: &[u8]) -> Vec<u8> {
        packed_with(data, &[])
    }

    fn packed_with(data: &[u8], regions: &[Range<u64>]) -> Vec<u8> {
        let writer = XzWriter::new(Vec::new(), 2, Some(data.len() as u64)).unwrap();
        let mut writer = writer.with_regions(regions.to_vec());
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    /// Data that becomes smaller, and has nothing in common with those of another number.
    fn nibbles(length: usize, number: usize) -> Vec<u8> {
        let begin = 100_000 * number;
        noise(begin + length)[begin..].iter().map(|byte| byte & 15).collect()
    }

    fn unpacked(file: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        XzReader::new(file, 1).unwrap().read_to_end(&mut data).unwrap();
        data
    }

    /// Rewrites a file whose blocks have the given spans.
    fn rewritten(file: &[u8], threads: u32, spans: &[Vec<Span>]) -> io::Result<Vec<u8>> {
        let stream = StreamWriter::new(Vec::new()).unwrap();
        let mut encoder = BlockEncoder::new(stream, threads, None);
        let blocks = own_blocks(Cursor::new(file)).unwrap().unwrap();
        assert_eq!(blocks.len(), spans.len());
        for (block, spans) in blocks.iter().zip(spans) {
            encoder.rewrite(block, Cursor::new(file), spans.clone())?;
        }
        encoder.finish()?.finish()
    }

    #[test]
    fn a_block_is_made_of_another() {
        let text = include_bytes!("encoder.rs").repeat(3);
        let noise = noise(100_000);
        for (data, is_smaller) in [(&text, true), (&noise, false)] {
            let length = data.len();
            let (first, rest) = data.split_at(1000);
            let (middle, last) = rest.split_at(length - 7000);
            let (dropped, last) = last.split_at(5000);
            let spans = vec![
                Span::Inserted(b"first".to_vec()),
                Span::Kept(first.len()),
                Span::Inserted(data[..600].to_vec()),
                Span::Kept(middle.len()),
                Span::Dropped(dropped.to_vec()),
                Span::Inserted(vec![0; 512]),
                Span::Kept(last.len() - 1),
                Span::Skipped(1),
            ];
            let last = &last[..last.len() - 1];
            let wanted = [b"first", first, &data[..600], middle, &[0; 512], last].concat();
            let file = packed(data);
            let new = rewritten(&file, 1, &[spans]).unwrap();
            assert!(unpacked(&new) == wanted);
            assert_eq!(new.len() * 2 < wanted.len(), is_smaller);
            assert!(new.len() <= file.len() + 600, "{}, {}", new.len(), file.len());
            let all = own_blocks(Cursor::new(&new)).unwrap().unwrap();
            assert_eq!(all.len(), 1, "what was made is of the same form");
        }
        let nothing = [Span::Skipped(text.len())];
        assert_eq!(unpacked(&rewritten(&packed(&text), 1, &[nothing.to_vec()]).unwrap()), b"");
    }

    #[test]
    fn blocks_stay_in_order_and_are_parted_where_they_grow() {
        let text = include_bytes!("rewrite.rs");
        let data: Vec<u8> = text.iter().copied().cycle().take(21 << 20).collect();
        let file = packed(&data);
        let half = data.len() / 2;
        let more = vec![b'.'; 13 << 20];
        let grown = [Span::Inserted(more.clone()), Span::Kept(half), Span::Inserted(more.clone())];
        let spans = [grown.to_vec(), vec![Span::Kept(half), Span::Inserted(b"end".to_vec())]];
        let one = rewritten(&file, 1, &spans).unwrap();
        assert!(
            unpacked(&one) == [&more[..], &data[..half], &more, &data[half..], b"end"].concat()
        );
        assert!(rewritten(&file, 4, &spans).unwrap() == one);
        let sizes = own_blocks(Cursor::new(&one)).unwrap().unwrap();
        let sizes: Vec<_> = sizes.iter().map(OwnBlock::size).collect();
        let (half, more) = (half as u64, more.len() as u64);
        assert_eq!(sizes, [more + half, more, half + 3]);
    }

    #[test]
    fn damage_ends_the_encoding() {
        let text = include_bytes!("encoder.rs");
        let whole = [vec![Span::Kept(text.len())]];
        let file = packed(text);
        let check = file.len() - 12 - 12 - 8;
        for at in [40, 1000, check] {
            let mut file = file.clone();
            file[at] ^= 1;
            assert!(rewritten(&file, 1, &whole).is_err(), "byte {at}");
        }
        let length = text.len();
        let parts = |parts: [Span; 2]| rewritten(&file, 1, &[parts.to_vec()]);
        assert!(parts([Span::Kept(length), Span::Skipped(1)]).is_err());
        assert!(parts([Span::Dropped(text[..9].to_vec()), Span::Kept(length - 9)]).is_ok());
        assert!(parts([Span::Dropped(text[1..10].to_vec()), Span::Kept(length - 9)]).is_err());
    }

    /// Chunks of the only block of a file.
    fn chunks_of(file: &[u8]) -> Vec<u8> {
        let [block] = own_blocks(Cursor::new(file)).unwrap().unwrap().try_into().unwrap();
        block.read(Cursor::new(file)).unwrap().0
    }

    /// A file between headers, which are replaced by longer ones.
    fn with_header(file: &[u8]) -> (Vec<u8>, Range<u64>, Vec<Span>, Vec<u8>) {
        let (header, longer) = (vec![7; 512], vec![8; 1536]);
        // The file's place is a multiple of four, as in every tar.
        let small = &include_bytes!("encoder.rs")[..9000];
        let data = [&header, small, &header, file, &header, small].concat();
        let begin = (512 + small.len() + 512) as u64;
        let replaced = || [Span::Dropped(header.clone()), Span::Inserted(longer.clone())];
        let mut spans = Vec::new();
        for length in [small.len(), file.len(), small.len()] {
            spans.extend(replaced());
            spans.push(Span::Kept(length));
        }
        let new = [&longer, small, &longer, file, &longer, small].concat();
        (data, begin..begin + file.len() as u64, spans, new)
    }

    #[test]
    fn a_region_is_copied() {
        let file = nibbles(60_000, 3);
        let (data, region, spans, wanted) = with_header(&file);
        let packed = packed_with(&data, std::slice::from_ref(&region));
        let chunks = chunks_of(&packed);
        let decoded = mkpanda_lzma2::decode_around(&chunks, data.len()).unwrap();
        assert_eq!(decoded.left_out().count(), 1);
        let new = rewritten(&packed, 1, std::slice::from_ref(&spans)).unwrap();
        assert!(unpacked(&new) == wanted);
        // The chunks of the file, behind its first bytes.
        let copied = &chunks[chunks.len() / 2..][..10_000];
        assert!(new.windows(copied.len()).any(|found| found == copied));
        // By a change of what is known, of the region, and of the sum.
        let check = packed.len() - 12 - 12 - 8;
        for at in [40, packed.len() / 2, packed.len() - 1500, check] {
            let mut damaged = packed.clone();
            damaged[at] ^= 1;
            assert!(rewritten(&damaged, 1, std::slice::from_ref(&spans)).is_err(), "byte {at}");
        }
        // Without the reset at the region's beginning.
        let at = usize::try_from(region.start).unwrap();
        let marks = [2, 0, 0, data[at], 2, 0, 0, data[at + 1]];
        let first = packed.windows(8).position(|found| found == marks).unwrap() + 8;
        assert_eq!(packed[first] & 0xe0, 0xa0);
        let mut damaged = packed.clone();
        damaged[first] &= 0x9f;
        assert!(rewritten(&damaged, 1, std::slice::from_ref(&spans)).is_err());
        // Names that are elsewhere, and a region that does not stay whole.
        let mut wrong = spans.clone();
        wrong[0] = Span::Dropped(vec![9; 512]);
        assert!(rewritten(&packed, 1, &[wrong]).is_err());
        let mut parted = spans.clone();
        parted[5] = Span::Kept(30_000);
        parted.insert(6, Span::Kept(30_000));
        assert!(unpacked(&rewritten(&packed, 1, &[parted]).unwrap()) == wanted);
    }

    /// The marks of the second of two regions say that the first one has ended and the second begun; without
    /// those of the first, the rest seems to be a region.
    #[test]
    fn what_only_seems_to_be_a_region_is_decoded() {
        let file = nibbles(120_000, 3);
        let (data, region, spans, wanted) = with_header(&file);
        let middle = region.start + 60_000;
        let half = region.start..middle;
        let packed = packed_with(&data, std::slice::from_ref(&half));
        let chunks = chunks_of(&packed);
        let at = usize::try_from(region.start).unwrap();
        let marks = [2, 0, 0, data[at], 2, 0, 0, data[at + 1]];
        let place = chunks.windows(8).position(|found| found == marks).unwrap();
        let one = [2, 0, 1, data[at], data[at + 1]];
        let lying = [&chunks[..place], &one, &chunks[place + 8..]].concat();
        let around = mkpanda_lzma2::decode_around(&lying, data.len()).unwrap();
        assert_eq!(around.left_out().next(), Some(usize::try_from(middle).unwrap()..data.len()));
        // The rest of the file refers to what was before its first half.
        let (_, alone) = around.region_alone(0, &lying).unwrap();
        let mut content = vec![0; data.len() - usize::try_from(middle).unwrap()];
        assert!(!Decoding::new(&alone, Coding::of(data.len())).unwrap().fills(&mut content));
        let rewrite = |spans| Rewrite {
            chunks: Arc::new(lying.clone()),
            check: Crc64::of(&data),
            size: data.len(),
            method: Method::Compressed,
            spans,
        };
        let made = rewrite(spans).encode(&AtomicBool::new(false)).unwrap();
        let mut file = StreamWriter::new(Vec::new()).unwrap();
        file.block(&made).unwrap();
        assert!(unpacked(&file.finish().unwrap()) == wanted);
    }

    /// A chunk that resets the dictionary is valid anywhere, but of another encoder.
    #[test]
    fn what_only_begins_like_ours_is_encoded_anew() {
        let text = include_bytes!("encoder.rs");
        let mut chunks = vec![1, 0, 9];
        chunks.extend_from_slice(&text[..10]);
        let compressed = packed(&text[10..]);
        let [block] = own_blocks(Cursor::new(&compressed)).unwrap().unwrap().try_into().unwrap();
        chunks.extend(block.read(Cursor::new(&compressed)).unwrap().0);
        assert!(mkpanda_lzma2::decode(&chunks, text.len()).is_none());
        let rewrite = Rewrite {
            chunks: Arc::new(chunks),
            check: Crc64::of(text),
            size: text.len(),
            method: Method::Compressed,
            spans: vec![Span::Kept(text.len())],
        };
        let new = rewrite.encode(&AtomicBool::new(false)).unwrap();
        let (method, level) = (Method::Compressed, CompressionLevel::Default);
        let anew = encode(text, &[], method, level, &AtomicBool::new(false));
        assert_eq!(new, anew.unwrap());
    }
}
