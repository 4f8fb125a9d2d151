//! Tells an archive from all others without reading it.

use std::io::{self, Read, Seek, SeekFrom};

use super::block::crc32;
use super::container::{END_MAGIC, ENDS, FLAGS, MAGIC};
use crate::base::digest::{Sha256, Sha256Sum};

/// An index that is longer isn't ours: 24 MiB a block make 6 TiB of it.
const LONGEST_INDEX: u64 = 4 << 20;

/// A digest that two archives share only if they hold the same: of the index and of the sums of
/// all blocks, if it is one stream with CRC-64 like ours; else of all bytes. It doesn't tell whether
/// the archive is sound.
pub fn archive_identity<R: Read + Seek>(mut archive: R) -> io::Result<Sha256Sum> {
    if let Some(identity) = of_sums(&mut archive)? {
        return Ok(identity);
    }
    archive.rewind()?;
    Sha256Sum::of_reader(archive)
}

fn of_sums<R: Read + Seek>(archive: &mut R) -> io::Result<Option<Sha256Sum>> {
    let length = archive.seek(SeekFrom::End(0))?;
    if length < 2 * ENDS {
        return Ok(None);
    }
    let header: [u8; 12] = read_at(archive, 0)?;
    let footer: [u8; 12] = read_at(archive, length - ENDS)?;
    let (sum, rest) = footer.split_at(4);
    let is_ours = header[..6] == MAGIC && header[6..8] == FLAGS && header[8..] == crc32(&FLAGS);
    let ends = sum == crc32(&rest[..6]) && rest[4..6] == FLAGS && rest[6..] == END_MAGIC;
    let index_size = 4 * (u64::from(u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]])) + 1);
    if !is_ours || !ends || index_size > LONGEST_INDEX || index_size + 2 * ENDS > length {
        return Ok(None);
    }
    let begin = length - ENDS - index_size;
    archive.seek(SeekFrom::Start(begin))?;
    let mut index = vec![0; usize::try_from(index_size).unwrap_or(0)];
    archive.read_exact(&mut index)?;
    let Some(blocks) = block_ends(&index, begin) else { return Ok(None) };
    let mut digest = Sha256::new();
    digest.update(b"sums\0");
    digest.update(&index);
    for end in blocks {
        digest.update(&read_at::<8, R>(archive, end - 8)?);
    }
    Ok(Some(Sha256Sum::from_hasher(digest)))
}

/// Where the blocks end, if the index is sound and they fill all that is before it.
fn block_ends(index: &[u8], index_begin: u64) -> Option<Vec<u64>> {
    let (body, sum) = index.split_at_checked(index.len().checked_sub(4)?)?;
    let mut rest = body.strip_prefix(&[0])?;
    if sum != crc32(body) {
        return None;
    }
    let count = number(&mut rest)?;
    let mut ends = Vec::new();
    let mut at = ENDS;
    for _ in 0..count {
        let unpadded = number(&mut rest)?;
        number(&mut rest)?;
        // Nothing smaller is a block; the sum below can't go wrong either.
        if unpadded < 16 || unpadded > index_begin {
            return None;
        }
        at += unpadded.next_multiple_of(4);
        ends.push(at);
    }
    (at == index_begin && rest.iter().all(|byte| *byte == 0)).then_some(ends)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn read_at<const N: usize, R: Read + Seek>(file: &mut R, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;
    use crate::archive::XzWriter;

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut writer = XzWriter::new(Vec::new(), 1, None).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn archives_are_told_apart_by_what_they_hold() {
        let identity = |bytes: &[u8]| archive_identity(Cursor::new(bytes)).unwrap();
        let one = packed(b"one");
        let [ours, other] = [identity(&one), identity(&packed(b"two"))];
        assert_ne!(ours, other);
        assert_ne!(ours, Sha256Sum::of(&one), "ours isn't read");
        // Whatever is no stream of ours is read.
        let bad_sum = [&one[..one.len() - 1], b"z"].concat();
        for foreign in [&b"short"[..], &[7; 100], &[&one[..], &one].concat(), &bad_sum] {
            assert_eq!(identity(foreign), Sha256Sum::of(foreign));
        }
    }
}
