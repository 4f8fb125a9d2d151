//! One content in all forms in which a compressed stream may come, for the tests of whatever takes
//! one.

use std::io::Write;

use crate::archive::Compression;

/// A stream.
pub(crate) struct StreamVariant {
    pub(crate) name: String,
    pub(crate) compression: Compression,
    /// False for a stream that has to be refused.
    pub(crate) is_good: bool,
    pub(crate) bytes: Vec<u8>,
}

impl StreamVariant {
    /// The ending of a tar's name.
    pub(crate) fn ending(&self) -> &'static str {
        match self.compression {
            Compression::None => "tar",
            Compression::Gzip => "tar.gz",
            Compression::Bzip2 => "tar.bz2",
            Compression::Xz => "tar.xz",
            Compression::Zstd => "tar.zst",
        }
    }
}

pub(crate) fn compressed(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::None => data.to_vec(),
        Compression::Gzip => {
            let level = flate2::Compression::fast();
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
            writer.write_all(data).unwrap();
            writer.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            writer.write_all(data).unwrap();
            writer.finish().unwrap()
        }
        Compression::Xz => {
            let mut writer = xz2::write::XzEncoder::new(Vec::new(), 0);
            writer.write_all(data).unwrap();
            writer.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(data, 1).unwrap(),
    }
}

fn skippable(number: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    [&[0x50 + number, 0x2a, 0x4d, 0x18][..], &length, data].concat()
}

/// A frame that asks for a window of 256 MiB, with one block as it stands.
fn greedy(data: &[u8]) -> Vec<u8> {
    let block = u32::try_from(data.len() << 3 | 1).unwrap().to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3][..], &block[..3], data].concat()
}

/// All forms of a content, which has more than 700 bytes.
pub(crate) fn variants(content: &[u8]) -> Vec<StreamVariant> {
    use Compression::{Bzip2, Gzip, None, Xz, Zstd};
    let whole = |compression| compressed(compression, content);
    let halves =
        |compression| [&content[..700], &content[700..]].map(|half| compressed(compression, half));
    let spoiled = |compression| {
        let mut bytes = whole(compression);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        bytes
    };
    let cut = |compression| {
        let bytes = whole(compression);
        bytes[..bytes.len() - 5].to_vec()
    };
    let (zero, zeros): (&[u8], &[u8]) = (&[0], &[0; 1000]);
    let mut all = vec![(true, None, "plain", content.to_vec())];
    for compression in [Gzip, Bzip2, Xz, Zstd] {
        let [first, second] = halves(compression);
        let empty = compressed(compression, b"");
        all.extend([
            (true, compression, "whole", whole(compression)),
            (true, compression, "two members", [&first[..], &second].concat()),
            (
                true,
                compression,
                "empty members",
                [&empty, &first, &empty, &second, &empty].map(Vec::as_slice).concat(),
            ),
            (false, compression, "cut off", cut(compression)),
            (
                false,
                compression,
                "cut off in the second member",
                [&whole(compression)[..], &second[..9]].concat(),
            ),
            (false, compression, "spoiled", spoiled(compression)),
        ]);
    }
    let behind = |compression, what: &[u8]| [&whole(compression)[..], what].concat();
    let between = |compression, what: &[u8]| {
        let [first, second] = halves(compression);
        [&first[..], what, &second].concat()
    };
    all.extend([
        (true, Gzip, "a zero behind", behind(Gzip, zero)),
        (true, Gzip, "zeros behind", behind(Gzip, zeros)),
        (true, Gzip, "many zeros behind", behind(Gzip, &vec![0; 1 << 20])),
        (true, Gzip, "zeros between", between(Gzip, zeros)),
        (false, Gzip, "something behind", behind(Gzip, b"something")),
        (false, Gzip, "something behind zeros", behind(Gzip, b"\0\0something")),
        (true, Bzip2, "zeros behind", behind(Bzip2, zeros)),
        (true, Bzip2, "a zero behind", behind(Bzip2, zero)),
        (true, Bzip2, "something behind", behind(Bzip2, b"something behind")),
        (true, Bzip2, "half a magic number behind", behind(Bzip2, b"BZh")),
        (false, Bzip2, "a broken stream behind", behind(Bzip2, b"BZh9something")),
        (true, Xz, "padding", behind(Xz, &[0; 1000])),
        (true, Xz, "padding between", between(Xz, &[0; 8])),
        (false, Xz, "odd padding", behind(Xz, zero)),
        (false, Xz, "something behind", behind(Xz, b"something behind")),
        (
            true,
            Zstd,
            "skippable frames first",
            [skippable(0, b"pzstd"), skippable(15, b""), whole(Zstd)].concat(),
        ),
        (true, Zstd, "a skippable frame between", between(Zstd, &skippable(7, b"between"))),
        (true, Zstd, "a skippable frame last", behind(Zstd, &skippable(15, b"last"))),
        (false, Zstd, "half a skippable frame", behind(Zstd, &skippable(1, b"last")[..10])),
        (false, Zstd, "zeros behind", behind(Zstd, zeros)),
        (false, Zstd, "more memory than there may be", greedy(content)),
    ]);
    let variant = |(is_good, compression, name, bytes): (bool, Compression, &str, Vec<u8>)| {
        let name = format!("{}: {name}", compression.as_str());
        StreamVariant { name, compression, is_good, bytes }
    };
    all.into_iter().map(variant).collect()
}
