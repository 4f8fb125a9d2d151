//! Blocks that have the content of others, with some data left out or put between.

use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mkpanda_lzma2::{Decoded, Operations, Piece};

use super::block::{Block, Method, compress_again, decompress, encode};
use super::crc64::Crc64;
use super::level::CompressionLevel;
use super::own_blocks::OwnBlock;

/// Upper limit of the content of a block that is made of another one: of the largest, with longer
/// headers. The dictionary of more would be larger.
const LARGEST_REWRITTEN: usize = 24 << 20;

/// Content of a new block, by the content of an old one, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// Number of bytes that are taken over.
    Kept(usize),
    /// Number of bytes that are left out, whatever they are.
    Skipped(usize),
    /// Bytes that are left out, and have to be these.
    Dropped(Vec<u8>),
    /// Bytes that are put in.
    Inserted(Vec<u8>),
}

impl Span {
    /// Number of bytes in the new block.
    pub fn added(&self) -> usize {
        match self {
            Self::Kept(count) => *count,
            Self::Skipped(_) | Self::Dropped(_) => 0,
            Self::Inserted(bytes) => bytes.len(),
        }
    }

    /// Number of bytes in the old block.
    pub fn taken(&self) -> usize {
        match self {
            Self::Kept(count) | Self::Skipped(count) => *count,
            Self::Dropped(bytes) => bytes.len(),
            Self::Inserted(_) => 0,
        }
    }

    /// Parts a span that takes more than `count` bytes of the old block.
    pub fn split_at(self, count: usize) -> (Self, Option<Self>) {
        match self {
            Self::Kept(all) if all > count => (Self::Kept(count), Some(Self::Kept(all - count))),
            Self::Skipped(all) if all > count => {
                (Self::Skipped(count), Some(Self::Skipped(all - count)))
            }
            Self::Dropped(mut bytes) if bytes.len() > count => {
                let rest = bytes.split_off(count);
                (Self::Dropped(bytes), Some(Self::Dropped(rest)))
            }
            whole => (whole, None),
        }
    }
}

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
        let Some(old) = OpenBlock::decode(&chunks, size, check, method)? else {
            // Another encoder's block may begin like ours.
            let old = decompress(&chunks, size)?;
            check_sum(&old, check)?;
            let (new, _) = assembled(&old, &spans)?;
            drop(old);
            return encode(&new, method, CompressionLevel::Default, cancelled);
        };
        drop(chunks);
        let OpenBlock { data, operations, method } = old;
        let (new, pieces) = assembled(&data, &spans)?;
        drop(data);
        compressed(&new, &operations, &pieces, method, cancelled)
    }
}

/// A block of ours, decoded.
#[derive(Debug)]
pub struct OpenBlock {
    data: Vec<u8>,
    operations: Operations,
    method: Method,
}

impl OpenBlock {
    /// Reads and decodes a block of a file; `None` if another encoder made it.
    pub fn read(block: &OwnBlock, file: impl Read + Seek) -> io::Result<Option<Self>> {
        let (chunks, check) = block.read(file)?;
        let size = usize::try_from(block.size()).unwrap_or(usize::MAX);
        Self::decode(&chunks, size, check, block.method())
    }

    fn decode(chunks: &[u8], size: usize, check: u64, method: Method) -> io::Result<Option<Self>> {
        let Some(Decoded { data, operations }) = mkpanda_lzma2::decode(chunks, size) else {
            return Ok(None);
        };
        check_sum(&data, check)?;
        Ok(Some(Self { data, operations, method }))
    }

    /// The content, whose checksum is right.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Makes blocks as [`BlockEncoder::rewrite`](super::BlockEncoder::rewrite) does; fails if they
    /// are `cancelled`.
    pub fn rewrite(&self, spans: Vec<Span>, cancelled: &AtomicBool) -> io::Result<Vec<Block>> {
        let blocks = parted(spans).into_iter().map(|spans| {
            let (new, pieces) = assembled(&self.data, &spans)?;
            compressed(&new, &self.operations, &pieces, self.method, cancelled)
        });
        blocks.collect()
    }
}

fn compressed(
    data: &[u8],
    operations: &Operations,
    pieces: &[Piece],
    method: Method,
    cancelled: &AtomicBool,
) -> io::Result<Block> {
    match method {
        Method::Compressed => compress_again(data, operations, pieces, cancelled),
        Method::Stored => encode(data, method, CompressionLevel::Default, cancelled),
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

    use super::*;
    use crate::archive::tests::noise;
    use crate::archive::xz::{BlockEncoder, StreamWriter, XzReader, XzWriter, own_blocks};

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), 2, Some(data.len() as u64)).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
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
        let anew =
            encode(text, Method::Compressed, CompressionLevel::Default, &AtomicBool::new(false));
        assert_eq!(new, anew.unwrap());
    }
}
