//! How layers and whole archives are compressed, told by their first bytes.

use std::io::{self, BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

use crate::archive::XzReader;

/// A layer's compression: the ones that images have media types for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain tar.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// Zstandard, possibly of several frames.
    Zstd,
}

impl Compression {
    /// The compression as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "not compressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Tells the compression from a stream's first bytes, of which four are needed.
    pub(super) fn of_magic(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or a skippable frame before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What is compressed, uncompressed. All members or frames are read, to the stream's end.
    pub fn reader<'r>(self, input: impl BufRead + 'r) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        })
    }
}

const BUFFER: usize = 128 * 1024;

/// How many bytes tell every compression.
pub(super) const MAGIC: usize = 10;

/// Reads the bytes that tell a compression; fewer only if the stream ends before. What is left of
/// the stream has to be read after them.
pub(super) fn read_magic(mut input: impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(MAGIC);
    input.by_ref().take(MAGIC as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Opens a whole archive, plain or compressed by gzip, zstd, xz or bzip2.
pub(super) fn open_archive<'r>(mut input: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let start = read_magic(&mut input)?;
    let foreign = foreign_compression(&start);
    let compression = Compression::of_magic(&start);
    let input = BufReader::with_capacity(BUFFER, io::Cursor::new(start).chain(input));
    match foreign {
        Some(Foreign::Xz) => Ok(Box::new(XzReader::new(input)?)),
        Some(Foreign::Bzip2) => Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(input))),
        None => compression.reader(input),
    }
}

/// A compression that archives may have, but no layer in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    Xz,
    Bzip2,
}

/// Tells the compressions for which there is no media type.
pub(super) fn foreign_compression(start: &[u8]) -> Option<Foreign> {
    match start {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Foreign::Xz),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..] => {
            Some(Foreign::Bzip2)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open_archive(bytes)?.read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn every_compression_is_told_by_its_magic() {
        let text = b"content".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(&text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let zstd = zstd::encode_all(text.as_slice(), 1).unwrap();
        let all =
            [gzip.finish().unwrap(), xz.finish().unwrap(), bzip2.finish().unwrap(), zstd, text];
        let text = &all[4];
        for packed in &all[..4] {
            assert_eq!(&read(packed).unwrap(), text);
            let twice = [packed.as_slice(), packed].concat();
            assert_eq!(read(&twice).unwrap().len(), 2 * text.len());
            assert!(read(&packed[..packed.len() - 5]).is_err());
        }
        assert_eq!(&read(text).unwrap(), text);
    }
}
