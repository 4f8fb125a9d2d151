//! Whatever takes a compressed archive takes the same ones, and holds its limits.

use std::fs::File;
use std::io::{Cursor, Seek, Write};
use std::path::Path;

use super::raw::Raw;
use super::variants::{StreamVariant, compressed, variants};
use crate::archive::{
    ARCHIVE_START, ArchiveLimits, Compression, begins_as_archive, is_tar, unpack_plain,
    unpack_source_archive, unpack_tar,
};

/// Unpacks a stream in a folder; gives the path of the archive's file `top/file`.
type Consumer = fn(&StreamVariant, &Path, &ArchiveLimits) -> Result<&'static str, String>;

const CONSUMERS: [(&str, Consumer); 3] = [
    ("url_extract", |variant, folder, limits| {
        let mut file: File = tempfile::tempfile().unwrap();
        file.write_all(&variant.bytes).unwrap();
        file.rewind().unwrap();
        let unpacked =
            unpack_source_archive(file, &format!("x.{}", variant.ending()), folder, limits);
        unpacked.map(|_summary| "file").map_err(|error| format!("{error:?}"))
    }),
    ("ADD", |variant, folder, limits| {
        let path = folder.with_extension("archive");
        fs_err::write(&path, &variant.bytes).unwrap();
        // An archive that does not even begin as one is copied as it is.
        if !is_tar(&path).unwrap() {
            return Err("it is not a tar".to_owned());
        }
        let unpacked = unpack_tar(&path, folder, limits, true);
        unpacked.map(|_implied| "top/file").map_err(|error| format!("{error:?}"))
    }),
    ("context", |variant, folder, limits| {
        let start = &variant.bytes[..ARCHIVE_START.min(variant.bytes.len())];
        assert!(begins_as_archive(start), "{}", variant.name);
        let unpacked = unpack_plain(start, Cursor::new(&variant.bytes), folder, limits);
        unpacked.map(|()| "top/file").map_err(|error| format!("{error:?}"))
    }),
];

#[test]
fn each_form_of_a_stream_is_understood_in_one_way() {
    let content = "content".repeat(100);
    let tar = Raw::default().folder("top/").file("top/file", &content).tar();
    for variant in variants(&tar) {
        for (consumer, unpack) in CONSUMERS {
            let home = tempfile::tempdir().unwrap();
            let folder = home.path().join("unpacked");
            let unpacked = unpack(&variant, &folder, &ArchiveLimits::default());
            let name = &variant.name;
            assert_eq!(unpacked.is_ok(), variant.is_good, "{name}, {consumer}: {unpacked:?}");
            if let Ok(path) = unpacked {
                assert_eq!(fs_err::read_to_string(folder.join(path)).unwrap(), content, "{name}");
            }
        }
    }
}

#[test]
fn what_unpacks_to_more_than_it_may_is_refused_everywhere() {
    use Compression::{Bzip2, Gzip, None, Xz, Zstd};
    let content = "0".repeat(1 << 20);
    let tar = Raw::default().folder("top/").file("top/file", &content).tar();
    let limits = ArchiveLimits { max_bytes: 1 << 19, ..ArchiveLimits::default() };
    for compression in [None, Gzip, Bzip2, Xz, Zstd] {
        let (name, bytes) = (String::new(), compressed(compression, &tar));
        let variant = StreamVariant { name, compression, is_good: false, bytes };
        for (consumer, unpack) in CONSUMERS {
            let home = tempfile::tempdir().unwrap();
            let error = unpack(&variant, &home.path().join("unpacked"), &limits).unwrap_err();
            assert!(error.contains("Bytes(524288)"), "{compression:?}, {consumer}: {error}");
        }
    }
}
