//! Data that is compressed and decompressed again.

use std::io::{Read, Write};

use crate::archive::{XzReader, XzWriter};

/// Upper limit of the data.
const MOST: usize = 256 << 10;

/// Compresses what the input describes; liblzma decodes the same.
pub(super) fn xz(input: &[u8]) -> bool {
    let data = described(input);
    let mut writer = XzWriter::new(Vec::new(), 1, Some(data.len() as u64)).expect("a vector");
    writer.write_all(&data).expect("the encoder's output is decoded to its input");
    let packed = writer.finish().expect("the encoder's output is decoded to its input");
    let mut unpacked = Vec::new();
    let mut reader = XzReader::new(&packed[..], 1).expect("a stream");
    reader.read_to_end(&mut unpacked).expect("a stream that can be read");
    assert!(unpacked == data, "the data is another one");
    data.len() > input.len()
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
