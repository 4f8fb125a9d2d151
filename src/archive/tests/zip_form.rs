//! Zips as programs of several systems write them: names, modes and times.

use super::source::unpack;
use crate::archive::{ReadError, UnpackError};

/// A zip whose entries are written byte by byte.
#[derive(Clone, Copy)]
struct RawZip<'a> {
    system: u8,
    name: &'a [u8],
    /// Unix mode, in the upper half of the attributes, and those of MS-DOS.
    attributes: u32,
    extra: &'a [u8],
}

fn raw_zip(entries: &[RawZip<'_>]) -> Vec<u8> {
    let (mut local, mut central) = (Vec::new(), Vec::new());
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_le_bytes();
    for entry in entries {
        let mut common = vec![20, 0, 0, 0, 0, 0];
        // 1990-01-02 03:04:06, and neither content nor sum.
        common.extend((3_u16 << 11 | 4 << 5 | 3).to_le_bytes());
        common.extend((10_u16 << 9 | 1 << 5 | 2).to_le_bytes());
        common.extend([0; 12]);
        common.extend([length(entry.name), length(entry.extra)].concat());
        let offset = u32::try_from(local.len()).unwrap().to_le_bytes();
        central.extend([b"PK\x01\x02".as_slice(), &[20, entry.system], &common].concat());
        central.extend([&[0; 6][..], &entry.attributes.to_le_bytes(), &offset].concat());
        central.extend([&[0; 0][..], entry.name, entry.extra].concat());
        local.extend([b"PK\x03\x04".as_slice(), &common, entry.name, entry.extra].concat());
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let end = [b"PK\x05\x06".as_slice(), &[0; 4], &count, &count, &size(&central), &size(&local)];
    [local, central, end.concat(), vec![0, 0]].concat()
}

#[test]
fn names_of_zips_are_read_as_their_systems_write_them() {
    const DOS: u8 = 0;
    const UNIX: u8 = 3;
    for (system, name, expected) in [
        (DOS, &b"t\\d\\file"[..], "d/file"),
        (DOS, b"t/d\\file", "d\\\\file"),
        (UNIX, b"t/d\\file", "d\\\\file"),
        (10, b"t\\file", "file"),
        (DOS, b"t/k\x84se", "k\\xc3\\xa4se"),
        (DOS, b"t/k\xc3\xa4se", "k\\xc3\\xa4se"),
        (DOS, b"t\\k\x84se", "k\\xc3\\xa4se"),
        (UNIX, b"t/k\x84se", "k\\x84se"),
    ] {
        let entry = RawZip { system, name, attributes: 0, extra: b"" };
        let found = unpack("a.zip", &raw_zip(&[entry])).unwrap();
        let file = found.iter().map(|(path, _)| path.as_str()).next_back();
        assert_eq!(file, Some(expected), "{system} {}", name.escape_ascii());
    }
    let escape = RawZip { system: DOS, name: b"t\\..\\..\\x", attributes: 0, extra: b"" };
    let result = unpack("a.zip", &raw_zip(&[escape]));
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Name { .. }))), "{result:?}");
}

#[test]
fn modes_of_zips_are_unix_ones_or_usual() {
    for (system, name, attributes, mode) in [
        (0, &b"t/a"[..], 0x20, "0644"),
        (0, b"t/a", 0x21, "0644"),
        (0, b"t/d/", 0x10, "0755"),
        (0, b"t/a", 0, "0644"),
        (3, b"t/a", 0o100_600 << 16, "0600"),
        (3, b"t/a", 0, "0644"),
        (3, b"t/d/", 0o040_700 << 16 | 0x10, "0700"),
        (0, b"t/a", 0o100_755 << 16, "0755"),
    ] {
        let found = unpack("a.zip", &raw_zip(&[RawZip { system, name, attributes, extra: b"" }]));
        let what = &found.unwrap()[1].1;
        assert!(what.starts_with(mode), "{system} {attributes:o}: {what}");
    }
}

#[test]
fn times_of_zips_are_those_with_a_zone_first() {
    let field = |id: u16, data: &[u8]| {
        let length = u16::try_from(data.len()).unwrap();
        [&id.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
    };
    let extended = field(0x5455, &[&[1][..], &1000_u32.to_le_bytes()].concat());
    let unix = field(0x5855, &[1_u32.to_le_bytes(), 2000_u32.to_le_bytes()].concat());
    let pkware = field(0x000d, &[1_u32.to_le_bytes(), 3000_u32.to_le_bytes(), [0; 4]].concat());
    let ticks = (11_644_473_600_u64 + 4000) * 10_000_000;
    let mut ntfs = vec![0, 0, 0, 0, 1, 0, 24, 0];
    ntfs.extend([ticks.to_le_bytes(), [0; 8], [0; 8]].concat());
    let ntfs = field(0x000a, &ntfs);
    for (extra, time) in [
        (Vec::new(), 631_249_446),
        (extended.clone(), 1000),
        (unix.clone(), 2000),
        (pkware.clone(), 3000),
        (ntfs.clone(), 4000),
        ([ntfs, unix, extended].concat(), 1000),
        (field(0x5855, &[0; 4]), 631_249_446),
    ] {
        let entry = RawZip { system: 3, name: b"t/a", attributes: 0, extra: &extra };
        let found = unpack("a.zip", &raw_zip(&[entry])).unwrap();
        assert_eq!(found[1].1, format!("0644 {time}  x1"), "{extra:?}");
    }
}
