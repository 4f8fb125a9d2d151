//! Data that is compressed and decompressed again.

use std::io::{Cursor, Read, Write};
use std::ops::Range;

use mkpanda_lzma2::{EncodeError, Piece};

use crate::archive::{BlockEncoder, Span, StreamWriter, XzReader, XzWriter, own_blocks};

/// Upper limit of the data.
const MOST: usize = 256 << 10;

/// Compresses what the input describes; liblzma decodes the same, also if a block is made of it with
/// other data between.
pub(super) fn xz(input: &[u8]) -> bool {
    let data = described(input);
    let writer = XzWriter::new(Vec::new(), 1, Some(data.len() as u64)).expect("a vector");
    let mut writer = writer.with_regions(regions(input, data.len() as u64));
    writer.write_all(&data).expect("the encoder's output is decoded to its input");
    let packed = writer.finish().expect("the encoder's output is decoded to its input");
    assert!(unpacked(&packed) == data, "the data is another one");
    let (spans, wanted) = spans(input, &data);
    assert!(unpacked(&rewritten(&packed, spans)) == wanted, "the rewritten data is another one");
    // Chunks of any kind end, and are found to be wrong at the latest by their sum.
    drop(mkpanda_lzma2::decode(input, data.len()));
    if let Some(around) = mkpanda_lzma2::decode_around(input, data.len()) {
        // What both decode is the same.
        if let Some(whole) = mkpanda_lzma2::decode(input, data.len()) {
            let mut begin = 0;
            for region in around.left_out() {
                assert!(around.data[begin..region.start] == whole.data[begin..region.start]);
                begin = region.end;
            }
            assert!(around.data[begin..] == whole.data[begin..]);
        }
        let whole = Piece { from: 0, to: 0, length: data.len() };
        let (mut out, content) = (Vec::new(), &around.data);
        let made =
            mkpanda_lzma2::encode_again(content, &around, input, &[whole], &mut out, || true);
        let is_as_expected = matches!(made, Ok(_) | Err(EncodeError::Region));
        assert!(is_as_expected, "{made:?}");
    }
    data.len() > input.len()
}

/// Some parts of the data, by the input's bytes.
fn regions(input: &[u8], size: u64) -> Vec<Range<u64>> {
    let mut ends =
        input.iter().take(8).map(|byte| u64::from(*byte) * size / 255 / 4 * 4).collect::<Vec<_>>();
    ends.sort_unstable();
    ends.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let mut reader = XzReader::new(packed, 1).expect("a stream");
    reader.read_to_end(&mut unpacked).expect("a stream that can be read");
    unpacked
}

fn rewritten(packed: &[u8], mut spans: Vec<Span>) -> Vec<u8> {
    let stream = StreamWriter::new(Vec::new()).expect("a vector");
    let mut encoder = BlockEncoder::new(stream, 1, None);
    let blocks = own_blocks(Cursor::new(packed)).expect("a slice").expect("blocks of ours");
    assert!(blocks.len() < 2, "so little data has one block");
    for block in blocks {
        let spans = std::mem::take(&mut spans);
        encoder.rewrite(&block, Cursor::new(packed), spans).expect("spans of the block");
    }
    encoder.finish().and_then(StreamWriter::finish).expect("a vector")
}

/// Spans that keep, leave out and put in what the input says, and what becomes of the data.
fn spans(input: &[u8], data: &[u8]) -> (Vec<Span>, Vec<u8>) {
    let (mut spans, mut wanted) = (Vec::new(), Vec::new());
    let mut rest = data;
    for step in input.chunks_exact(3) {
        let count = usize::from(u16::from_be_bytes([step[1], step[2]])) % (rest.len() + 1);
        let (taken, others) = rest.split_at(count);
        match step[0] % 3 {
            0 => {
                spans.push(Span::Kept(count));
                wanted.extend_from_slice(taken);
                rest = others;
            }
            1 => {
                spans.push(Span::Dropped(taken.to_vec()));
                rest = others;
            }
            _ => {
                spans.push(Span::Inserted(taken.to_vec()));
                wanted.extend_from_slice(taken);
            }
        }
    }
    spans.push(Span::Kept(rest.len()));
    wanted.extend_from_slice(rest);
    (spans, wanted)
}

/// Data by steps of four bytes: repetitions of earlier data, runs, noise and the input itself, so
/// that some bytes describe matches of any distance and length.
fn described(input: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    for (number, step) in input.chunks_exact(4).enumerate() {
        let [kind, one, two, three] = [step[0], step[1], step[2], step[3]];
        let count = usize::from(two) << (kind >> 4 & 7);
        match kind & 3 {
            0 => data.extend_from_slice(&step[1..]),
            1 => data.resize(data.len() + count, three),
            2 => {
                let mut seed = u64::from(one) << 8 | u64::from(three);
                data.extend(std::iter::repeat_with(|| next(&mut seed)).take(count));
            }
            _ => {
                let distance = usize::from(u16::from_be_bytes([one, three])) << (number & 3);
                let begin = data.len().saturating_sub(distance + 1);
                for at in begin..begin + count {
                    data.push(data.get(at).copied().unwrap_or(kind));
                }
            }
        }
        if data.len() > MOST {
            data.truncate(MOST);
            break;
        }
    }
    data
}

/// Numbers that look random.
fn next(seed: &mut u64) -> u8 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    seed.to_be_bytes()[0]
}
