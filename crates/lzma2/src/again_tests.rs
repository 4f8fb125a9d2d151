//! Tests of decoding, and of encoding again with other data between pieces.

use super::*;
use crate::tests::{bytes, decoded, encoded, text};

/// Headers and files by turns: a block, another one with longer headers, and the pieces in common.
fn blocks(files: &[&[u8]]) -> (Vec<u8>, Vec<u8>, Vec<Piece>) {
    let (mut old, mut new, mut pieces) = (Vec::new(), Vec::new(), Vec::new());
    for (number, file) in files.iter().enumerate() {
        let header = |prefix: &str, size: usize| {
            let mut header = format!("{prefix}file{number} {}", file.len()).into_bytes();
            header.resize(size, 0);
            header
        };
        old.extend(header("./", 512));
        new.extend(header("./packages/a--1/", if number % 3 == 2 { 1536 } else { 512 }));
        pieces.push(Piece { from: old.len(), to: new.len(), length: file.len() });
        old.extend_from_slice(file);
        new.extend_from_slice(file);
    }
    old.extend([0; 1024]);
    (old, new, pieces)
}

fn again(old: &[u8], new: &[u8], pieces: &[Piece]) -> Result<Vec<u8>, EncodeError> {
    again_with(old, &[], new, pieces)
}

fn again_with(
    old: &[u8],
    regions: &[Range<usize>],
    new: &[u8],
    pieces: &[Piece],
) -> Result<Vec<u8>, EncodeError> {
    let mut chunks = Vec::new();
    encode(old, regions, &mut chunks, || true).unwrap();
    assert!(decoded(&chunks, old.len()) == old);
    let whole = decode(&chunks, old.len()).unwrap();
    assert!(whole.data == old);
    let around = decode_around(&chunks, old.len()).unwrap();
    for found in [&whole, &around] {
        assert_eq!(found.operations.size(), old.len());
        let mut begin = 0;
        for region in found.left_out().chain(std::iter::once(old.len()..old.len())) {
            assert!(found.data[begin..region.start] == old[begin..region.start]);
            begin = region.end;
        }
    }
    let mut out = Vec::new();
    encode_again(new, &around, &chunks, pieces, &mut out, || true).map(|_| out)
}

#[test]
fn what_is_encoded_is_decoded() {
    let noise = bytes(200_000, 11, 0);
    let period: Vec<u8> = b"abc".iter().copied().cycle().take(70_000).collect();
    for data in [
        Vec::new(),
        vec![7],
        vec![0; 5 << 20],
        text(),
        period,
        [&noise[..], &text(), &noise].concat(),
    ] {
        assert!(decode(&encoded(&data), data.len()).unwrap().data == data, "{} bytes", data.len());
    }
}

#[test]
fn files_behind_other_headers_are_encoded_again() {
    let (text, noise) = (text(), bytes(150_000, 3, 0));
    let parts: Vec<&[u8]> = text.chunks(700).collect();
    let few: [&[u8]; 6] = [&text, b"", &noise, &text[500..9000], &noise[7..], b"x"];
    for files in [&few[..], &parts] {
        let (old, new, pieces) = blocks(files);
        let out = again(&old, &new, &pieces).unwrap();
        assert!(decoded(&out, new.len()) == new);
        let fresh = encoded(&new).len();
        assert!(out.len() * 100 <= fresh * 102, "{}, {fresh} anew", out.len());
        assert_eq!(again(&old, &new, &pieces).unwrap(), out);
    }
}

/// A source may be gone, or have moved; the whole block may.
#[test]
fn pieces_may_leave_out_anything() {
    let text = text();
    let old = [&text[..40_000], &text[..40_000], &text[..40_000]].concat();
    for (pieces, new) in [
        (vec![], &text[..9000]),
        (vec![(40_100, 0, 300)], &text[100..400]),
        (vec![(80_000, 0, 40_000)], &text[..40_000]),
        (vec![(7, 0, 1), (8, 1, 0), (9, 1, 1)], &[text[7], text[9], 1, 2, 3]),
        (vec![(10, 0, 20_000), (60_010, 20_000, 20_000)], &text[10..]),
    ] {
        let piece = |(from, to, length)| Piece { from, to, length };
        let pieces: Vec<Piece> = pieces.into_iter().map(piece).collect();
        let new =
            [&new[..pieces.last().map_or(new.len(), |last| last.to + last.length)], b"."].concat();
        let out = again(&old, &new, &pieces).unwrap();
        assert!(decoded(&out, new.len()) == new, "{pieces:?}");
    }
}

#[test]
fn pieces_that_are_not_sound_are_refused() {
    let data = text();
    let last = data.len();
    for pieces in [
        vec![(0, 1, last)],
        vec![(1, 0, last)],
        vec![(0, 0, usize::MAX)],
        vec![(usize::MAX, 0, 1)],
        vec![(0, 0, 10), (9, 10, 1)],
        vec![(0, 0, 10), (10, 9, 1)],
    ] {
        let piece = |(from, to, length)| Piece { from, to, length };
        let pieces: Vec<Piece> = pieces.into_iter().map(piece).collect();
        assert_eq!(again(&data, &data, &pieces), Err(EncodeError::Pieces), "{pieces:?}");
    }
    // Other data than was promised encodes to something.
    let piece = Piece { from: 0, to: 0, length: last };
    let other: Vec<u8> = data.iter().rev().copied().collect();
    again(&data, &other, &[piece]).unwrap();
}

#[test]
fn damaged_blocks_end_without_data() {
    let data = [text(), bytes(9000, 5, 0), text()].concat();
    let chunks = encoded(&data);
    assert!(decode(&chunks, data.len() - 1).is_none());
    assert!(decode(&chunks, data.len() + 1).is_none());
    assert!(decode(&chunks, LARGEST_BLOCK + 1).is_none());
    for length in (0..chunks.len()).step_by(97).chain([chunks.len() - 1]) {
        assert!(decode(&chunks[..length], data.len()).is_none(), "{length}");
    }
    for at in (0..chunks.len()).step_by(61).chain(0..20) {
        for bit in [0, 6] {
            let mut other = chunks.clone();
            other[at] ^= 1 << bit;
            // Content of a stored chunk has no sum here.
            assert!(decode(&other, data.len()).is_none_or(|found| found.data != data), "{at}");
        }
    }
    // State and distances before there are any.
    assert!(decode(&[0x80, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0], 1).is_none());
    assert!(decode(&[0xa0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0], 1).is_none());
    assert!(decode(&[0xe0, 0, 0, 0, 5, 93, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0], 1).is_none());
}

/// Blocks of liblzma have other properties from some size on.
#[test]
fn the_encoder_knows_its_own_blocks() {
    use xz2::stream::{Action, Filters, LzmaOptions, Stream};
    let data = text().repeat(6);
    assert!(data.len() > 256 << 10);
    let options = LzmaOptions::new_preset(6).unwrap();
    let mut encoder = Stream::new_raw_encoder(Filters::new().lzma2(&options)).unwrap();
    let mut theirs = Vec::with_capacity(data.len());
    encoder.process_vec(&data, &mut theirs, Action::Finish).unwrap();
    assert!(decode(&theirs, data.len()).is_none());
    assert!(!begins_own(&theirs, data.len()));
    for data in [&data[..], &bytes(100_000, 1, 0), b"x"] {
        assert!(begins_own(&encoded(data), data.len()));
    }
}
