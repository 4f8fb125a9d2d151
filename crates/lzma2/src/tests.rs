use xz2::stream::{Action, Filters, LzmaOptions, Status, Stream};

use super::*;
use crate::match_table::{COMPARED, RUN_END, common};

pub(crate) fn encoded(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(data, &[], &mut out, || true).unwrap();
    out
}

fn filters(options: &LzmaOptions) -> Filters {
    let mut filters = Filters::new();
    filters.lzma2(options);
    filters
}

/// Decodes by liblzma, with a dictionary as large as the data.
pub(crate) fn decoded(chunks: &[u8], size: usize) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options.dict_size(narrow(size.max(4096)));
    let mut decoder = Stream::new_raw_decoder(&filters(&options)).unwrap();
    let mut out = Vec::with_capacity(size + 1);
    let status = decoder.process_vec(chunks, &mut out, Action::Finish).unwrap();
    assert_eq!(status, Status::StreamEnd);
    assert_eq!(decoder.total_in(), chunks.len() as u64, "the end marker is the end");
    out
}

#[track_caller]
fn round_trip(data: &[u8]) -> usize {
    let chunks = encoded(data);
    assert!(decoded(&chunks, data.len()) == data, "{} bytes are not decoded", data.len());
    chunks.len()
}

/// Numbers that look random, below a limit.
fn noise(mut seed: u64, below: u8) -> impl FnMut() -> u8 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let byte = seed.to_be_bytes()[0];
        if below == 0 { byte } else { byte % below }
    }
}

pub(crate) fn bytes(count: usize, seed: u64, below: u8) -> Vec<u8> {
    std::iter::repeat_with(noise(seed, below)).take(count).collect()
}

pub(crate) fn text() -> Vec<u8> {
    [
        include_str!("bucket.rs"),
        include_str!("lengths.rs"),
        include_str!("model.rs"),
        include_str!("parser.rs"),
        include_str!("lib.rs"),
    ]
    .concat()
    .into_bytes()
}

#[test]
fn nothing_is_an_end_marker() {
    assert_eq!(encoded(b""), [0]);
}

#[test]
fn the_shortest_data_is_decoded() {
    for count in 0..40 {
        for below in [1, 2, 0] {
            round_trip(&bytes(count, 7, below));
        }
    }
}

#[test]
fn runs_and_periods_take_next_to_nothing() {
    for period in 1..20 {
        let one = bytes(period, 3, 0);
        let data: Vec<u8> = one.iter().copied().cycle().take(300_000).collect();
        assert!(round_trip(&data) < 250, "{period}");
    }
}

/// Each of the limits of a chunk is reached.
#[test]
fn chunks_end_at_their_limits() {
    assert!(round_trip(&vec![0; (2 << 20) * 2 + 1000]) < 1000);
    round_trip(&bytes(900_000, 5, 200));
    let size = 300_000;
    assert!(round_trip(&bytes(size, 1, 0)) <= size + 6 * 3 + 1, "noise is stored");
}

/// After a stored chunk, the state begins anew; at the start, so do the properties.
#[test]
fn stored_and_compressed_chunks_follow_each_other() {
    let (noise, text) = (bytes(200_000, 11, 0), text());
    for parts in [[&noise, &text, &noise], [&text, &noise, &text]] {
        let data = parts.map(|part| part.repeat(2)).concat();
        round_trip(&data);
    }
}

/// Few letters make large buckets; equal records make deep ones.
#[test]
fn large_and_deep_buckets_are_sorted() {
    round_trip(&bytes(700_000, 13, 2));
    let record = bytes(COMPARED * 2, 17, 0);
    let mut separator = noise(19, 0);
    let data: Vec<u8> = (0..3000)
        .flat_map(|_| record.iter().copied().chain([separator(), separator()]).collect::<Vec<_>>())
        .collect();
    round_trip(&data);
}

#[test]
fn text_is_as_small_as_by_liblzma() {
    let data = text();
    let options = LzmaOptions::new_preset(6).unwrap();
    let mut encoder = Stream::new_raw_encoder(&filters(&options)).unwrap();
    let mut theirs = Vec::with_capacity(data.len());
    encoder.process_vec(&data, &mut theirs, Action::Finish).unwrap();
    let ours = round_trip(&data);
    assert!(ours * 200 <= theirs.len() * 201, "{ours}, {}", theirs.len());
}

#[test]
fn the_same_data_has_the_same_bytes() {
    let data = [text(), bytes(50_000, 23, 0), text()].concat();
    assert!(encoded(&data) == encoded(&data));
}

#[test]
fn an_unwanted_encoding_ends() {
    let mut out = Vec::new();
    assert_eq!(encode(&text(), &[], &mut out, || false), Err(EncodeError::Cancelled));
    let calls = std::cell::Cell::new(0);
    let result = encode(&bytes(100_000, 1, 90), &[], &mut out, || {
        calls.set(calls.get() + 1);
        calls.get() < 5000
    });
    assert_eq!(result, Err(EncodeError::Cancelled));
    assert_eq!(calls.get(), 5000);
}

#[test]
fn a_block_that_is_too_large_is_refused() {
    let data = vec![0; LARGEST_BLOCK + 1];
    assert_eq!(encode(&data, &[], &mut Vec::new(), || true), Err(EncodeError::TooLarge));
}

/// Compares the table with all earlier positions, for one position in `step`.
#[track_caller]
fn check_table(data: &[u8], step: usize) {
    let table = MatchTable::new(data, &|| true).unwrap();
    for at in (0..data.len() - 8).step_by(step) {
        let limit = (data.len() - at).min(COMPARED);
        let longest = (0..at).map(|other| (common(data, at, other, 0, limit), other)).max();
        let found = table.at(at);
        let wanted = longest.filter(|(length, _)| *length >= 2).unwrap_or((0, 0));
        assert_eq!((found.length() as usize, found.position() as usize), wanted, "{at}");
    }
}

/// Outside of runs and before the end, the table has what a comparison of all positions finds.
#[test]
fn the_table_has_the_nearest_of_the_longest_matches() {
    let mut data = bytes(3000, 29, 3);
    data.extend(bytes(200, 31, 0).repeat(3));
    data.extend(bytes(2000, 29, 3));
    check_table(&data, 1);
}

/// Positions that have many bytes in common are parted where they differ first: from the first byte on,
/// at a key's limit, and behind several keys.
#[test]
fn what_many_positions_have_in_common_is_passed_over() {
    let record = bytes(COMPARED + 20, 37, 0);
    for (count, lengths, step) in [(40, 8, 1), (300, 90, 7), (2500, 40, 397), (2500, 3, 397)] {
        let mut separator = noise(41, 0);
        let data: Vec<u8> = (0..count)
            .flat_map(|number| {
                let length = record.len() - number * 7 % lengths;
                [&record[..length], &[separator(), separator()]].concat()
            })
            .collect();
        check_table(&data, step);
    }
}

#[test]
fn the_largest_part_of_a_large_bucket_stays_in_place() {
    let mut noise = noise(43, 0);
    let data: Vec<u8> = (0..260_000).map(|_| noise().saturating_sub(210)).collect();
    check_table(&data, 911);
}

#[test]
fn ends_of_long_runs_are_matches_with_the_run() {
    for distance in [1, 4] {
        let (start, size) = (50, 400);
        let run = [1, 2, 3, 4].into_iter().take(distance).cycle().take(size);
        let data: Vec<u8> =
            bytes(start, 47, 0).into_iter().chain(run).chain(bytes(50, 53, 0)).collect();
        let table = MatchTable::new(&data, &|| true).unwrap();
        for rest in RUN_END..size - distance {
            let at = start + size - rest;
            let found = table.at(at);
            let wanted = (rest.min(COMPARED), at - distance);
            assert_eq!((found.length() as usize, found.position() as usize), wanted, "{rest}");
        }
    }
}
