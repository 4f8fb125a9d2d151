//! Blocks of a file that this encoder wrote: found by the file's index, without decoding.

use std::io::{self, Read, Seek, SeekFrom};

use super::block::{BlockRecord, Method};
use super::coding::{Coding, HEADER, crc32, header};
use super::frame::{END_MAGIC, FLAGS, MAGIC};

/// Length of a stream's header, and of its footer.
const FRAME: usize = 12;

/// Upper limit of an index, which has some eight bytes per block.
const LARGEST_INDEX: u64 = 1 << 20;

/// Length of a block's checksum.
const CHECK: usize = 8;

/// Bytes at the start of a block's data that show the encoder's properties.
const START: usize = 6;

/// Block of a file, not checked beyond the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBlock {
    /// Position in the file.
    offset: u64,
    record: BlockRecord,
    method: Method,
}

impl OwnBlock {
    /// Size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.record.uncompressed
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// Reads the block: its data's chunks, and the checksum of its content.
    pub(super) fn read(&self, mut file: impl Read + Seek) -> io::Result<(Vec<u8>, u64)> {
        file.seek(SeekFrom::Start(self.offset + HEADER as u64))?;
        let length = self.record.unpadded - (HEADER + CHECK) as u64;
        let mut chunks = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        (&mut file).take(length).read_to_end(&mut chunks)?;
        let padding = self.record.padded() - self.record.unpadded;
        file.seek_relative(padding.cast_signed())?;
        let mut check = [0; CHECK];
        file.read_exact(&mut check)?;
        Ok((chunks, u64::from_le_bytes(check)))
    }
}

/// Finds the blocks of a file; `None` if the file is not a single stream of blocks whose headers and
/// properties are those of [`XzWriter`](super::XzWriter) at the default level.
pub fn own_blocks(mut file: impl Read + Seek) -> io::Result<Option<Vec<OwnBlock>>> {
    let length = file.seek(SeekFrom::End(0))?;
    let Some(records) = read_index(&mut file, length)? else { return Ok(None) };
    let mut blocks = Vec::with_capacity(records.len());
    let mut offset = FRAME as u64;
    for record in records {
        file.seek(SeekFrom::Start(offset))?;
        let mut start = [0; HEADER + START];
        file.read_exact(&mut start)?;
        let Some(method) = method_of(&start, record) else { return Ok(None) };
        blocks.push(OwnBlock { offset, record, method });
        offset += record.padded();
    }
    Ok(Some(blocks))
}

/// Reads the index of a stream that is as long as the file.
fn read_index(mut file: impl Read + Seek, length: u64) -> io::Result<Option<Vec<BlockRecord>>> {
    let Some(footer_at) = length.checked_sub(FRAME as u64) else { return Ok(None) };
    let mut frame = [0; FRAME];
    file.rewind()?;
    file.read_exact(&mut frame)?;
    if frame[..] != [&MAGIC[..], &FLAGS, &crc32(&FLAGS)].concat() {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(footer_at))?;
    file.read_exact(&mut frame)?;
    let [sum @ .., _, _, _, _, _, _, _, _] = frame;
    let [_, _, _, _, rest @ ..] = frame;
    let [size @ .., _, _, _, _] = rest;
    if sum != crc32(&rest[..6]) || rest[4..] != [FLAGS, END_MAGIC].concat() {
        return Ok(None);
    }
    let size = (u64::from(u32::from_le_bytes(size)) + 1) * 4;
    let Some(index_at) = footer_at.checked_sub(size).filter(|_| size <= LARGEST_INDEX) else {
        return Ok(None);
    };
    file.seek(SeekFrom::Start(index_at))?;
    let mut index = Vec::new();
    file.take(size).read_to_end(&mut index)?;
    let records = parse_index(&index);
    Ok(records.filter(|records| {
        let mut sizes = records.iter().map(|record| record.unpadded.checked_next_multiple_of(4));
        let all = sizes.try_fold(FRAME as u64, |sum, size| sum.checked_add(size?));
        all == Some(index_at)
    }))
}

fn parse_index(index: &[u8]) -> Option<Vec<BlockRecord>> {
    let (body, sum) = index.split_last_chunk::<4>()?;
    let (0, mut rest) = body.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    let count = number(&mut rest)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let (unpadded, uncompressed) = (number(&mut rest)?, number(&mut rest)?);
        records.push(BlockRecord { unpadded, uncompressed });
    }
    let is_padding = rest.len() < 4 && rest.iter().all(|byte| *byte == 0);
    (is_padding && *sum == crc32(body)).then_some(records)
}

/// Takes a number as the format writes it from the start of bytes.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    const LONGEST: usize = 9;
    let length = bytes.iter().take(LONGEST).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    Some(number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)))
}

/// Method of a block by its first bytes; `None` if they are not as this encoder writes them.
fn method_of(start: &[u8; HEADER + START], record: BlockRecord) -> Option<Method> {
    let compressed = record.unpadded.checked_sub((HEADER + CHECK) as u64)?;
    let compressed = usize::try_from(compressed).ok()?;
    let size = usize::try_from(record.uncompressed).ok()?;
    let (found, chunks) = start.split_first_chunk::<HEADER>()?;
    // What does not become smaller is stored, in chunks of 64 KiB.
    if size > mkpanda_lzma2::LARGEST_BLOCK || compressed > size + size / 4096 + START {
        return None;
    }
    [Method::Compressed, Method::Stored].into_iter().find(|method| {
        let coding = match method {
            Method::Compressed => Coding::of(size),
            Method::Stored => Coding::of(0),
        };
        *found == header(compressed, size, coding)
            && (*method == Method::Stored || mkpanda_lzma2::begins_own(chunks, size))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;
    use crate::archive::xz::{CompressionLevel, XzWriter};

    fn packed(data: &[u8], level: CompressionLevel) -> Vec<u8> {
        let size = Some(data.len() as u64);
        let mut writer = XzWriter::new(Vec::new(), 1, size).unwrap().at_level(level);
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn found(file: &[u8]) -> Option<Vec<OwnBlock>> {
        own_blocks(Cursor::new(file)).unwrap()
    }

    /// Text of some 400 KiB.
    fn text() -> Vec<u8> {
        include_bytes!("own_blocks.rs").repeat(50)
    }

    #[test]
    fn blocks_are_found_with_their_data() {
        let noise: Vec<u8> = (0..70_000_u32)
            .map(|at| at.wrapping_mul(0x9e37_79b9).rotate_left(at % 31).to_le_bytes()[3])
            .collect();
        for data in [&text()[..], &noise, b"x"] {
            let file = packed(data, CompressionLevel::Default);
            let [block] = found(&file).unwrap().try_into().unwrap();
            assert_eq!(block.size(), data.len() as u64);
            let (chunks, check) = block.read(Cursor::new(&file)).unwrap();
            assert_eq!(check, super::super::Crc64::of(data));
            assert!(mkpanda_lzma2::decode(&chunks, data.len()).unwrap().data == data);
        }
        assert_eq!(found(&packed(b"", CompressionLevel::Default)), Some(vec![]));
    }

    #[test]
    fn files_of_other_encoders_are_not_ours() {
        let text = text();
        for level in [CompressionLevel::Fast, CompressionLevel::Small] {
            assert_eq!(found(&packed(&text, level)), None, "{level:?}");
        }
        let mut theirs = xz2::write::XzEncoder::new(Vec::new(), 6);
        theirs.write_all(&text).unwrap();
        assert_eq!(found(&theirs.finish().unwrap()), None);
        let ours = packed(&text, CompressionLevel::Default);
        for file in [
            &b""[..],
            &[0; 100],
            &ours[..ours.len() - 1],
            &ours[1..],
            &[&ours[..], &[0; 4]].concat(),
            &[&ours[..], &ours].concat(),
        ] {
            assert_eq!(found(file), None, "{} bytes", file.len());
        }
    }

    /// Sums don't help against those who compute them again.
    #[test]
    fn frames_that_do_not_fit_are_refused() {
        let ours = packed(&text(), CompressionLevel::Default);
        let index = ours.len() - 12 - 12..ours.len() - 12;
        let (header, index) = (12..12 + HEADER - 4, index.start..index.end - 4);
        for at in (0..12 + HEADER).chain(index.start..ours.len()) {
            let mut other = ours.clone();
            other[at] ^= 1;
            assert_eq!(found(&other), None, "byte {at}");
            if header.contains(&at) || index.contains(&at) {
                for range in [&header, &index] {
                    let sum = crc32(&other[range.clone()]);
                    other[range.end..range.end + 4].copy_from_slice(&sum);
                }
                assert_eq!(found(&other), None, "byte {at} with its sum");
            }
        }
        assert_eq!(parse_index(&[0]), None);
        let index = |bytes: &[u8]| parse_index(&[bytes, &crc32(bytes)].concat());
        assert_eq!(index(&[0, 0, 0, 0]), Some(vec![]));
        for bad in
            [&[1, 0, 0, 0][..], &[0, 2, 0, 0], &[0, 0xff, 0xff, 0xff], &[0, 0, 0, 1], &[0; 8]]
        {
            assert_eq!(index(bad), None, "{bad:?}");
        }
    }
}
