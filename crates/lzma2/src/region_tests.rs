//! Tests of closed regions.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::regions::{DecodedRegion, MOST_REGIONS, Region, chosen, copyable};
use crate::tests::{bytes, decoded, text};

/// Chunks of a block, and its regions that a decoder leaves out.
fn encoded_with(data: &[u8], regions: &[Range<usize>]) -> (Vec<u8>, Vec<DecodedRegion>) {
    let mut chunks = Vec::new();
    encode(data, regions, &mut chunks, || true).unwrap();
    assert!(decoded(&chunks, data.len()) == data, "liblzma");
    assert!(decode(&chunks, data.len()).unwrap().data == data);
    let around = decode_around(&chunks, data.len()).unwrap();
    for (number, region) in around.left_out().enumerate() {
        // A block of its own has the position context of its first byte.
        let Some((place, alone)) = around.region_alone(number, &chunks) else {
            assert!(!region.start.is_multiple_of(4));
            continue;
        };
        assert_eq!(place, region);
        assert!(decoded(&alone, data.len())[..] == data[region], "alone");
    }
    let mut rest = 0;
    for region in around.left_out().chain(std::iter::once(data.len()..data.len())) {
        assert!(around.data[rest..region.start] == data[rest..region.start]);
        rest = region.end;
    }
    (chunks, around.regions)
}

/// Data with a file in it: all of it, and where the file is.
fn with_file(before: &[u8], file: &[u8], behind: &[u8]) -> (Vec<u8>, Range<usize>) {
    let all = [before, file, behind].concat();
    (all, before.len()..before.len() + file.len())
}

/// Whatever was around it, and whatever is around it then, at places a multiple of four bytes apart.
#[test]
fn a_region_stands_anywhere() {
    let file = bytes(90_000, 5, 30);
    let all: [(&[u8], &[u8]); 5] = [
        (&text()[..9000], &text()[3..8000]),
        (&[7; 400], &text()),
        (&text()[..40_000], b"...."),
        (&text()[..7000], b""),
        // It begins with what the file begins with, and ends with its end.
        (&file[..300], &file[89_800..]),
    ];
    for (before, behind) in all {
        let (old, region) = with_file(before, &file, behind);
        let (chunks, regions) = encoded_with(&old, std::slice::from_ref(&region));
        let [found] = &regions[..] else { panic!("{regions:?}") };
        assert_eq!(found.content, region);
        let copied = &chunks[found.chunks.clone()];
        for (before, behind) in all {
            let (new, place) = with_file(before, &file, behind);
            let pieces = [(region.start, place.start, file.len())];
            let out = again((&old, std::slice::from_ref(&region)), &new, &pieces).unwrap();
            assert!(decoded(&out, new.len()) == new);
            assert!(out.windows(copied.len()).any(|found| found == copied));
        }
    }
}

#[test]
fn what_has_much_in_common_with_the_rest_is_no_region() {
    let (one, other) = (bytes(90_000, 5, 30), bytes(90_000, 6, 30));
    let half = [&one[..45_000], &other[..45_000]].concat();
    let little = [&one[..300], &other[..89_700]].concat();
    for (file, is_region) in [(&one, false), (&half, false), (&little, true), (&other, true)] {
        let (data, region) = with_file(&one, file, b"the end");
        assert_eq!(chosen(&data, std::slice::from_ref(&region)).len(), usize::from(is_region));
        assert_eq!(encoded_with(&data, &[region]).1.len(), usize::from(is_region));
        // Of two that have much in common, neither is.
        let (data, region) = with_file(&[&b"begin"[..], &one, b"...."].concat(), file, b"");
        let regions = [5..5 + one.len(), region];
        assert_eq!(encoded_with(&data, &regions).1.len(), 2 * usize::from(is_region));
    }
    // Repeated zeros are no more than they are.
    let zeros = [&vec![0; 50_000][..], &other].concat();
    let (data, region) = with_file(&vec![0; 50_000], &zeros, b"the end");
    assert_eq!(encoded_with(&data, &[region]).1.len(), 1);
}

#[test]
fn regions_may_be_anywhere() {
    let data = [bytes(30_000, 1, 30), bytes(9000, 3, 0), bytes(30_000, 2, 30)].concat();
    let end = data.len();
    let plain = encoded_with(&data, &[]).0;
    for (regions, wanted) in [
        (vec![(0, end)], vec![(0, end)]),
        (vec![(0, 30_000)], vec![(0, 30_000)]),
        (vec![(30_000, 39_000)], vec![(30_000, 39_000)]),
        (
            vec![(5, 30_000), (30_004, 39_000), (39_004, end)],
            vec![(5, 30_000), (30_004, 39_000), (39_004, end)],
        ),
        (vec![(30_000, end)], vec![(30_000, end)]),
        // No room for marks.
        (vec![(0, 30_000), (30_003, 39_000)], vec![(0, 30_000)]),
        (vec![(30_000, end - 3)], vec![]),
        (vec![(9, 12)], vec![]),
        // Not sound.
        (vec![(5, 30_000), (20_000, 39_000)], vec![(5, 30_000)]),
        (vec![(end, end + 9), (usize::MAX, usize::MAX)], vec![]),
    ] {
        let ranges: Vec<_> = regions.iter().map(|(begin, end)| *begin..*end).collect();
        let (chunks, found) = encoded_with(&data, &ranges);
        let found: Vec<_> =
            found.iter().map(|found| (found.content.start, found.content.end)).collect();
        assert_eq!(found, wanted, "{regions:?}");
        assert_eq!(chunks == plain, wanted.is_empty());
    }
}

/// A run goes on over the beginning of a region, and over its end.
#[test]
fn nothing_in_a_region_refers_to_what_is_around() {
    for period in [1, 2, 3, 4, 8] {
        let run: Vec<u8> = b"abcdefgh"[..period].iter().copied().cycle().take(240).collect();
        let file = [&run[..], &bytes(40_000, 5, 30), &run].concat();
        let (old, region) = with_file(&[&text()[..4000], &run].concat(), &file, &run);
        let new = [&[0; 800][..], &file, b"other data"].concat();
        let pieces = [(region.start, 800, file.len())];
        let out = again((&old, std::slice::from_ref(&region)), &new, &pieces).unwrap();
        assert!(decoded(&out, new.len()) == new, "{period}");
    }
}

/// Where the rest ends like a region begins, a match would go on there, or the byte behind it would choose how the
/// next one is coded.
#[test]
fn nothing_around_refers_to_a_region() {
    let file = bytes(90_000, 5, 30);
    for (known, next) in [(0, "?"), (9, "?"), (100, ""), (300, "?")] {
        let before = [&text()[..4000], b"....", &bytes(40_000, 9, 30)].concat();
        let behind =
            [&text()[..99], &before[before.len() - 300..], &file[..known], next.as_bytes()];
        let behind = [&behind.concat()[..], &text()[..999]].concat();
        let (data, region) = with_file(&before, &file, &behind);
        let mut chunks = Vec::new();
        encode(&data, std::slice::from_ref(&region), &mut chunks, || true).unwrap();
        let around = decode_around(&chunks, data.len()).unwrap();
        assert!(around.data[..region.start] == before);
        assert_eq!(around.left_out().next(), Some(region.clone()));
        assert!(around.data[region.end..] == behind, "{known}");
    }
}

fn again(
    (old, regions): (&[u8], &[Range<usize>]),
    new: &[u8],
    pieces: &[(usize, usize, usize)],
) -> Result<Vec<u8>, EncodeError> {
    let mut chunks = Vec::new();
    encode(old, regions, &mut chunks, || true).unwrap();
    let around = decode_around(&chunks, old.len()).unwrap();
    let piece = |(from, to, length): &(usize, usize, usize)| Piece {
        from: *from,
        to: *to,
        length: *length,
    };
    let pieces: Vec<Piece> = pieces.iter().map(piece).collect();
    let mut out = Vec::new();
    let copied = encode_again(new, &around, &chunks, &pieces, &mut out, || true)?;
    assert_eq!(copied.len(), around.left_out().count());
    assert!(decoded(&with_stored_regions(new, &out, &copied), new.len()) == new);
    Ok(out)
}

#[test]
fn regions_are_copied_and_the_rest_is_encoded_again() {
    let file = bytes(90_000, 5, 30);
    let small = text();
    let old = [&[7; 512][..], &small, &[8; 512], &file, &[9; 512], &small[9..]].concat();
    let new = [&[1; 1536][..], &small, &[2; 1024], &file, &[3; 512], &small[9..]].concat();
    let first = (512, 1536, small.len());
    let second = (512 + small.len() + 512, 1536 + small.len() + 1024, file.len());
    let third = (second.0 + file.len() + 512, second.1 + file.len() + 512, small.len() - 9);
    let region = second.0..second.0 + file.len();
    let (chunks, regions) = encoded_with(&old, std::slice::from_ref(&region));
    let out = again((&old, std::slice::from_ref(&region)), &new, &[first, second, third]).unwrap();
    assert!(decoded(&out, new.len()) == new);
    assert!(decode(&out, new.len()).unwrap().data == new);
    let copied = &chunks[regions[0].chunks.clone()];
    assert!(out.windows(copied.len()).any(|found| found == copied));
    let again_decoded = decode_around(&out, new.len()).unwrap();
    assert_eq!(
        again_decoded.left_out().next(),
        Some(second.1..second.1 + file.len()),
        "the same form"
    );
    // Parts of a region can't be copied, nor what moves by less than four bytes, nor what isn't in the new block.
    for pieces in [
        &[first, (second.0 + 1, second.1 + 1, file.len() - 1), third][..],
        &[first, (second.0, second.1, file.len() - 1), third],
        &[first, third],
    ] {
        assert_eq!(
            again((&old, std::slice::from_ref(&region)), &new, pieces),
            Err(EncodeError::Region)
        );
    }
    let new = [b"odd", &new[..]].concat();
    let pieces = [first, second, third].map(|(from, to, length)| (from, to + 3, length));
    assert_eq!(
        again((&old, std::slice::from_ref(&region)), &new, &pieces),
        Err(EncodeError::Region)
    );
}

/// The chunks that begin a block reset the dictionary.
#[test]
fn what_begins_a_block_is_copied_to_the_beginning_alone() {
    let file = bytes(300_000, 5, 30);
    let old = [&file[..], b"the end"].concat();
    let whole = 0..file.len();
    let regions = std::slice::from_ref(&whole);
    let (chunks, found) = encoded_with(&old, regions);
    let new = [&file[..], b"another end"].concat();
    let out = again((&old, regions), &new, &[(0, 0, file.len())]).unwrap();
    assert!(decoded(&out, new.len()) == new);
    assert!(out.starts_with(&chunks[found[0].chunks.clone()]));
    let moved = [b"a header", &file[..], b"another end"].concat();
    assert_eq!(again((&old, regions), &moved, &[(0, 8, file.len())]), Err(EncodeError::Region));
    let behind = with_file(b"a header", &file, b"");
    let pieces = [(8, 0, file.len())];
    assert_eq!(
        again((&behind.0, std::slice::from_ref(&behind.1)), &file, &pieces),
        Err(EncodeError::Region)
    );
}

/// Blocks of at most 256 KiB have other properties.
#[test]
fn regions_are_not_copied_to_blocks_of_other_properties() {
    let file = bytes(200_000, 5, 30);
    let (old, region) = with_file(b"a header", &file, b"behind");
    let new = [&vec![7; 100_000][..], &file].concat();
    let result = again((&old, &[region]), &new, &[(8, 100_000, file.len())]);
    assert_eq!(result, Err(EncodeError::Region));
}

/// Properties are told by the first compressed chunk, which may be in a region, or not.
#[test]
fn the_properties_are_told_before_they_are_needed() {
    let (file, noise) = (bytes(90_000, 5, 30), bytes(70_000, 6, 0));
    let (old, region) = with_file(&text()[..40_000], &file, b"behind");
    let new = [&noise[..], &file, b"behind"].concat();
    let pieces = [(region.start, noise.len(), file.len())];
    assert_eq!(again((&old, &[region]), &new, &pieces), Err(EncodeError::Region));
    let (old, region) = with_file(&noise, &file, b"behind");
    let new = [&text()[..40_000], &file, b"behind"].concat();
    let pieces = [(region.start, 40_000, file.len())];
    let out = again((&old, &[region]), &new, &pieces).unwrap();
    assert!(decoded(&out, new.len()) == new);
}

proptest! {
    #![proptest_config(Config::with_cases(96))]

    /// Files of some alphabets, which have much in common or little, behind headers that grow or not.
    #[test]
    fn blocks_with_regions_are_encoded_again(
        files in prop::collection::vec((0_usize..9, 0_usize..30_000, 1_u8..60, 0_usize..3, any::<bool>()), 1..9),
    ) {
        let text = text();
        let (mut old, mut new, mut pieces, mut regions) = (vec![], vec![], vec![], vec![]);
        for (header, length, alphabet, grown, is_region) in files {
            old.extend(std::iter::repeat_n(b'o', header * 64 + 3));
            new.extend(std::iter::repeat_n(b'n', (header + grown) * 64 + 3));
            let file = match alphabet {
                0..20 => text[usize::from(alphabet)..][..length.min(9000)].to_vec(),
                20..30 => bytes(length, u64::from(alphabet), 0),
                _ => bytes(length, u64::from(alphabet), alphabet),
            };
            pieces.push((old.len(), new.len(), file.len()));
            if is_region {
                regions.push(old.len()..old.len() + file.len());
            }
            old.extend_from_slice(&file);
            new.extend_from_slice(&file);
        }
        encoded_with(&old, &regions);
        match again((&old, &regions), &new, &pieces) {
            Ok(out) => {
                prop_assert!(decoded(&out, new.len()) == new);
                prop_assert!(decode(&out, new.len()).unwrap().data == new);
            }
            // Properties or the beginning of the block differ.
            Err(error) => prop_assert_eq!(error, EncodeError::Region),
        }
    }
}

#[test]
fn a_source_and_the_byte_behind_it_are_around_regions() {
    let region = |content| Region { content, copied: None };
    let regions = [region(100..200), region(300..310)];
    for (source, length, wanted) in [
        (0, 99, 99),
        (0, 100, 99),
        (90, 9, 9),
        (90, 10, 9),
        (90, 500, 9),
        (99, 1, 0),
        (100, 2, 0),
        (199, 2, 0),
        (200, 99, 99),
        (200, 100, 99),
        (310, 9999, 9999),
    ] {
        assert_eq!(copyable(&regions, source, length), wanted, "{source}, {length}");
    }
}

/// Marks before all and none behind the region: it seems to be the rest, and what was around it refers to what
/// seems to be a region.
#[test]
fn a_rest_that_refers_to_a_region_is_not_decoded() {
    let file = bytes(60_000, 5, 30);
    let (data, region) = with_file(&text()[..8000], &file, &text()[..8000]);
    let mut chunks = Vec::new();
    encode(&data, std::slice::from_ref(&region), &mut chunks, || true).unwrap();
    let marks = [2, 0, 0, data[region.end], 2, 0, 0, data[region.end + 1]];
    let behind = chunks.windows(8).position(|found| found == marks).unwrap();
    let joined = [2, 0, 1, data[region.end], data[region.end + 1]];
    let mut lying = vec![1, 0, 0, b'a', 2, 0, 0, b'b', 2, 0, 1, b'c', 0, chunks[0] & 0xdf];
    lying.extend_from_slice(&chunks[1..behind]);
    lying.extend_from_slice(&joined);
    lying.extend_from_slice(&chunks[behind + 8..]);
    let wanted = [b"abc\0", &data[..]].concat();
    assert!(decoded(&lying, wanted.len()) == wanted);
    assert!(decode(&lying, wanted.len()).unwrap().data == wanted);
    assert!(decode_around(&lying, wanted.len()).is_none());
}

#[test]
fn more_regions_than_large_files_are_not_taken_for_some() {
    for (count, is_decoded) in [(MOST_REGIONS, true), (MOST_REGIONS + 1, false)] {
        let mut chunks = Vec::new();
        for _ in 0..2 * count {
            chunks.extend([2, 0, 0, b'a', 2, 0, 0, b'b', 2, 0, 1, b'c', b'd']);
        }
        chunks[0] = 1;
        chunks.push(0);
        let data = b"abcd".repeat(2 * count);
        assert!(decode(&chunks, data.len()).unwrap().data == data);
        let around = decode_around(&chunks, data.len());
        assert_eq!(around.map(|found| found.left_out().count()), is_decoded.then_some(count));
    }
}

/// Chunks that mean something else by themselves, or in another block.
#[test]
fn what_depends_on_earlier_chunks_is_no_region() {
    let file = bytes(300_000, 5, 30);
    let (data, region) = with_file(&text()[..8000], &file, b"behind");
    let (chunks, regions) = encoded_with(&data, std::slice::from_ref(&region));
    let begin = regions[0].chunks.start;
    // Behind two marks of a stored byte.
    let first = begin + 8;
    assert_eq!(chunks[first] & 0xe0, 0xa0);
    let second =
        first + 5 + usize::from(u16::from_be_bytes([chunks[first + 3], chunks[first + 4]])) + 1;
    assert_eq!(chunks[second] & 0xe0, 0x80);
    // No reset at all.
    let mut without = chunks.clone();
    without[first] &= 0x9f;
    assert!(decode_around(&without, data.len()).is_none());
    // The properties are told, and once more: then a copy would do without the first.
    let told = |place: usize| {
        let mut told = chunks[..place].to_vec();
        told.push(chunks[place] & 0x1f | 0xc0);
        told.extend_from_slice(&chunks[place + 1..place + 5]);
        told.push(literal_properties(data.len()));
        told.extend_from_slice(&chunks[place + 5..]);
        told
    };
    assert!(
        decode_around(&told(first), data.len())
            .is_some_and(|found| found.regions[0].has_properties)
    );
    assert!(decode_around(&told(second), data.len()).is_none());
}

/// Other encoders may go on with a model behind a stored chunk, whose literals may depend on any byte before.
#[test]
fn no_model_goes_on_behind_stored_chunks() {
    let low = bytes(300_000, 5, 30);
    for seed in 1..20 {
        // Of other bytes, so that hardly anything in the second chunk refers to the first.
        let high: Vec<u8> = bytes(100_000, seed, 30).into_iter().map(|byte| byte + 100).collect();
        let mut chunks = Vec::new();
        encode(&low, &[], &mut chunks, || true).unwrap();
        let content = u32::from_be_bytes([0, chunks[0] & 0x1f, chunks[1], chunks[2]]) as usize + 1;
        let data = [&low[..content], &high].concat();
        chunks.clear();
        encode(&data, &[], &mut chunks, || true).unwrap();
        let first = 6 + usize::from(u16::from_be_bytes([chunks[3], chunks[4]])) + 1;
        let content = u32::from_be_bytes([0, chunks[0] & 0x1f, chunks[1], chunks[2]]) as usize + 1;
        assert_eq!(chunks[first] & 0xe0, 0x80, "the second chunk resets nothing");
        let last = data[content - 1];
        let more =
            [&chunks[..first], &[2, 0, 3, last, last, last, last], &chunks[first..]].concat();
        assert!(decode(&more, data.len() + 4).is_none());
    }
}
