//! Source archives: what is stripped, what merges, what is refused.

use std::fs::File;
use std::io::{Cursor, Seek, Write};

use rstest::rstest;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::raw::{Raw, listing, xz};
use super::variants::compressed;
use crate::archive::{ArchiveLimits, Compression, ReadError, UnpackError, unpack_source_archive};

pub(super) type EntryList = Vec<(String, String)>;

fn unpack_with(
    name: &str,
    content: &[u8],
    limits: &ArchiveLimits,
) -> Result<EntryList, UnpackError> {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    unpack_source_archive(file, name, &scratch.path().join("src"), limits)?;
    let found = listing(&scratch.path().join("src"));
    Ok(found.into_iter().map(|(path, what)| (path.escape_ascii().to_string(), what)).collect())
}

pub(super) fn unpack(name: &str, content: &[u8]) -> Result<EntryList, UnpackError> {
    unpack_with(name, content, &ArchiveLimits::default())
}

fn names(found: &EntryList) -> Vec<&str> {
    found.iter().map(|(path, _)| path.as_str()).collect()
}

fn simple() -> Vec<u8> {
    Raw::default().folder("top/").file("top/file", "content").tar()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    compressed(Compression::Gzip, data)
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    compressed(Compression::Bzip2, data)
}

fn zstd(data: &[u8]) -> Vec<u8> {
    compressed(Compression::Zstd, data)
}

#[rstest]
#[case("a-1.tar", <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>)]
#[case("a.tar.gz", gzip)]
#[case("A.TGZ", gzip)]
#[case("a.tar.bz2", bzip2)]
#[case("a.tbz2", bzip2)]
#[case("a.tbz", bzip2)]
#[case("a.tar.xz", xz)]
#[case("a.txz", xz)]
#[case("a.tar.zst", zstd)]
#[case("a.tzst", zstd)]
fn every_compression(#[case] name: &str, #[case] compress: fn(&[u8]) -> Vec<u8>) {
    let tar = simple();
    let found = unpack(name, &compress(&tar)).unwrap();
    assert_eq!(names(&found), ["", "file"]);
    assert_eq!(found[1].1, "0644 7 content x1");
    let compressed = compress(&tar);
    let [first, second] = [&tar[..700], &tar[700..]].map(compress);
    if name != "a-1.tar" {
        assert_eq!(unpack(name, &[first, second].concat()).unwrap(), found, "two streams");
        let short = unpack(name, &compressed[..compressed.len() - 3]);
        assert!(matches!(short, Err(UnpackError::Read(ReadError::Stream(_)))), "{short:?}");
        assert_eq!(unpack(name, &tar).unwrap(), found, "another name");
        assert_eq!(unpack("download", &compressed).unwrap(), found, "a name without a kind");
    }
}

#[test]
fn what_is_not_an_archive_is_named_by_its_content() {
    for (content, look) in [
        (&b"<!DOCTYPE html><html>"[..], "an HTML page"),
        (b"Rar!\x1a\x07\x00", "a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"LZIP\x01", "compressed by lzip"),
        (b"", "an empty file"),
        (b"hello", "a text that begins with \"hello\""),
    ] {
        let error = unpack("a.tar.xz", content).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("\"a.tar.xz\" cannot be unpacked: it is {look}")),
            "{error}"
        );
    }
    let archive = [b"#!/bin/sh\nexit\n".to_vec(), zip(&[ZipFile("top/a", "x", 0o644)])].concat();
    assert_eq!(names(&unpack("a.ZIP", &archive).unwrap()), ["", "a"], "a zip that unpacks itself");
    assert!(unpack("a.tar.gz", &[gzip(&simple()), vec![0; 600]].concat()).is_ok());
    assert!(unpack("a.tar.gz", &[gzip(&simple()), b"junk".to_vec()].concat()).is_err());
    assert!(unpack("a.tar.bz2", &[bzip2(&simple()), b"junk".to_vec()].concat()).is_ok());
}

#[test]
fn a_tar_with_nothing_below_the_top_is_an_error() {
    for (raw, part) in [
        (Raw::default().file("a.c", "").file("b.c", ""), "\"a.c\""),
        (Raw::default().folder("top/"), "\"top/\""),
        (Raw::default().folder("./").file("./x", ""), ""),
    ] {
        let result = unpack("a.tar", &raw.tar());
        if part.is_empty() {
            assert_eq!(names(&result.unwrap()), ["", "x"]);
            continue;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, UnpackError::NothingBelowTop { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn entries_that_come_again_are_taken_if_they_are_the_same() {
    let again = |kind: u8, mode: u32, data: &'static [u8]| {
        move |raw: Raw| raw.with(kind, b"two/a", b"", data, |header| header.set_mode(mode))
    };
    let first = || Raw::default().file("one/a", "same");
    let found = unpack("a.tar", &again(b'0', 0o400, b"same")(first()).tar()).unwrap();
    assert_eq!(found[1].1, "0400 7 same x1");
    for other in [&b"other"[..], b"sane", b"", b"same and more"] {
        let result = unpack("a.tar", &again(b'0', 0o644, other)(first()).tar());
        let refused = matches!(result, Err(UnpackError::Read(ReadError::Duplicate(_))));
        assert!(refused, "{result:?}");
    }
    let links = |second: &str| Raw::default().symlink("t/s", "x").symlink("u/s", second).tar();
    assert_eq!(names(&unpack("a.tar", &links("x")).unwrap()), ["", "s"]);
    assert!(unpack("a.tar", &links("y")).is_err());
    let itself = Raw::default().file("t/a", "x").link("t/a", "t/a").link("t/b", "t/a");
    let found = unpack("a.tar", &itself.link("t/b", "t/a").tar()).unwrap();
    assert_eq!(found[1].1, "0644 7 x x2");
    let absent = Raw::default().file("t/a", "").link("t/b", "t/b").tar();
    assert!(unpack("a.tar", &absent).is_err());
    let another = Raw::default().file("t/a", "x").file("t/b", "x").link("t/b", "t/a").tar();
    assert!(unpack("a.tar", &another).is_err());
}

#[test]
fn folders_that_links_imply_have_their_times() {
    let tar = Raw::default().file("t/a", "x").link("t/e/f/b", "t/a").symlink("t/g/s", "x").tar();
    let found = unpack("a.tar", &tar).unwrap();
    for (path, what) in found.iter().filter(|(_, what)| what.ends_with('/')) {
        assert_eq!(what, "0755 7 /", "{path}");
    }
    assert_eq!(names(&found), ["", "a", "e", "e/f", "e/f/b", "g", "g/s"]);
}

#[test]
fn global_headers_give_times_to_entries_without_their_own() {
    let global = |records: &str| {
        let record = format!("{} {records}\n", records.len() + 4);
        move |raw: Raw| raw.entry(b'g', "g", "", &record)
    };
    let tar =
        global("mtime=1500")(Raw::default()).file("t/a", "").pax("mtime", b"12.5").file("t/b", "");
    let tar = global("mtime=99999")(tar).file("t/c", "");
    // An empty value takes back what was said for all.
    let tar = tar.pax("mtime", b"").file("t/d", "").tar();
    let found = unpack("a.tar", &tar).unwrap();
    let times: Vec<&str> = found.iter().map(|(_, what)| what.split(' ').nth(1).unwrap()).collect();
    assert_eq!(times, ["1500", "1500", "12", "99999", "7"]);
}

#[test]
fn folders_of_incremental_archives_are_folders() {
    let tar = Raw::default()
        .entry(b'D', "t/", "", "Da\0Yb\0\0")
        .entry(b'D', "t/d/", "", "")
        .file("t/d/b", "2")
        .tar();
    assert_eq!(names(&unpack("a.tar", &tar).unwrap()), ["", "d", "d/b"]);
}

#[test]
fn sparse_files_in_posix_form() {
    let expected = "0644 7 \\x00\\x00\\x00\\x00\\x00data\\x00 x1";
    let records = |records: &[(&str, &str)]| {
        let mut text = String::new();
        for (key, value) in records {
            let body = format!(" {key}={value}\n");
            let mut length = body.len();
            while body.len() + length.to_string().len() != length {
                length += 1;
            }
            text.push_str(&length.to_string());
            text.push_str(&body);
        }
        Raw::default().entry(b'x', "pax", "", &text)
    };
    let old = [
        ("GNU.sparse.size", "10"),
        ("GNU.sparse.numblocks", "1"),
        ("GNU.sparse.offset", "5"),
        ("GNU.sparse.numbytes", "4"),
    ];
    let listed =
        [("GNU.sparse.size", "10"), ("GNU.sparse.name", "t/sp"), ("GNU.sparse.map", "5,4")];
    let new = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "t/sp"),
        ("GNU.sparse.realsize", "10"),
    ];
    let mut map = b"1\n5\n4\n".to_vec();
    map.resize(512, 0);
    let with_map = String::from_utf8([map.as_slice(), b"data"].concat()).unwrap();
    for (tar, form) in [
        (records(&old).file("t/sp", "data"), "0.0"),
        (records(&listed).file("t/GNUSparseFile.1/sp", "data"), "0.1"),
        (records(&new).file("t/GNUSparseFile.1/sp", &with_map), "1.0"),
    ] {
        let found = unpack("a.tar", &tar.file("t/z", "z").tar()).unwrap();
        assert_eq!(names(&found), ["", "sp", "z"], "{form}");
        assert_eq!(found[1].1, expected, "{form}");
    }
    // A map across blocks.
    let pieces: Vec<String> = (0..200).map(|at| format!("{}\n0\n", at * 1000)).collect();
    let mut map = format!("201\n{}5\n4\n", pieces.concat());
    map = map.clone() + &"\0".repeat(512 - map.len() % 512) + "data";
    let found = unpack("a.tar", &records(&new).file("t/x", &map).tar()).unwrap();
    assert_eq!(found[1].1, expected);
    for (bad, why) in [
        (records(&new).file("t/x", "1\n5\n4\n"), "no whole block"),
        (records(&new).file("t/x", &with_map.replace("1\n5", "2\n5")), "pieces that are missing"),
        (records(&new).file("t/x", &with_map.replace('5', "8")), "beyond the size"),
        (records(&new).file("t/x", &with_map.replace('5', "x")), "no number"),
        (records(&listed[1..]).file("t/x", "data"), "no size"),
        (records(&old).entry(b'S', "t/x", "", "data"), "two forms"),
    ] {
        let result = unpack("a.tar", &bad.tar());
        let refused = matches!(result, Err(UnpackError::Read(ReadError::Damaged { .. })));
        assert!(refused, "{why}: {result:?}");
    }
    let huge = [("GNU.sparse.size", "1099511627776"), ("GNU.sparse.map", "")];
    let result = unpack("a.tar", &records(&huge).file("t/x", "").tar());
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
}

#[test]
fn the_first_component_goes_as_gnu_tar_does_it() {
    let tar = Raw::default()
        .entry(b'g', "pax_global_header", "", "13 comment=x\n")
        .file("readme", "dropped")
        .folder("one/")
        .with(b'5', b"one/sub/", b"", b"", |header| header.set_mode(0o7750))
        .with(b'0', b"one/sub/a", b"", b"a", |header| header.set_mode(0o6711))
        .file("two/sub/b", "b")
        .folder("two//sub/")
        .link("two/c", "one/sub/a")
        .symlink("two/d", "../one/x")
        .with(b'\0', b"old/folder/", b"", b"", |_| {})
        .entry(b'6', "one/fifo", "", "")
        .tar();
    let found = unpack("a.tar", &tar).unwrap();
    let wanted = ["", "c", "d", "fifo", "folder", "sub", "sub/a", "sub/b"];
    assert_eq!(names(&found), wanted);
    assert_eq!(found[1].1, "0711 7 a x2");
    assert_eq!(found[2].1, "0777 7 -> \"../one/x\"");
    let dotted = Raw::default().folder("./").file("./top/file", "x").tar();
    assert_eq!(names(&unpack("a.tar", &dotted).unwrap()), ["", "top", "top/file"]);
    let unusual = Raw::default().with(b'0', b"top/\xff\n", b"", b"", |_| {}).tar();
    assert_eq!(names(&unpack("a.tar", &unusual).unwrap()), ["", "\\xff\\n"]);
    let all_one = Raw::default().entry(b'g', "g", "", "14 path=t/all\n").file("t/a", "").tar();
    let result = unpack("a.tar", &all_one);
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Damaged { .. }))), "{result:?}");
}

#[rstest]
#[case::files(Raw::default().file("one/a", "x").file("two/a", "y"))]
#[case::file_and_folder(Raw::default().file("one/a", "").folder("two/a/"))]
#[case::file_below_file(Raw::default().file("one/a", "").file("two/a/b", ""))]
#[case::below_symlink(Raw::default().symlink("one/a", "b").file("two/a/b", ""))]
#[case::absolute(Raw::default().file("/etc/passwd", ""))]
#[case::link_to_dropped(Raw::default().file("a", "").link("one/b", "a"))]
fn entries_that_do_not_go_together(#[case] raw: Raw) {
    let result = unpack("a.tar", &raw.tar());
    assert!(matches!(result, Err(UnpackError::Read(_))), "{result:?}");
}

#[test]
fn large_sizes_in_extended_headers_and_holes_count() {
    let tar = Raw::default()
        .pax("size", b"4")
        .with(b'0', b"top/a", b"", b"data", |header| header.set_size(0))
        .file("top/b", "b")
        .tar();
    let found = unpack("a.tar", &tar).unwrap();
    assert_eq!(found[1].1, "0644 7 data x1");
    let sparse = |size: u64| {
        Raw::default()
            .with(b'S', b"top/sparse", b"", b"data", |header| {
                let gnu = header.as_gnu_mut().unwrap();
                gnu.set_real_size(size);
                gnu.sparse[0].set_offset(3);
                gnu.sparse[0].set_length(4);
            })
            .tar()
    };
    let found = unpack("a.tar", &sparse(8)).unwrap();
    assert_eq!(found[1].1, "0644 7 \\x00\\x00\\x00data\\x00 x1");
    let result = unpack("a.tar", &sparse(1 << 40));
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
}

#[derive(Clone, Copy)]
enum Zipped<'a> {
    Folder(&'a str),
    File(&'a str, &'a str, u32),
    Symlink(&'a str, &'a str),
}

fn zip(entries: &[Zipped<'_>]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let time = zip::DateTime::from_date_and_time(1990, 1, 2, 3, 4, 6).unwrap();
    let options = SimpleFileOptions::default().last_modified_time(time);
    for entry in entries {
        match *entry {
            Zipped::Folder(name) => writer.add_directory(name, options).unwrap(),
            Zipped::Symlink(name, target) => writer.add_symlink(name, target, options).unwrap(),
            Zipped::File(name, content, mode) => {
                let method = CompressionMethod::Deflated;
                let options = options.unix_permissions(mode).compression_method(method);
                writer.start_file(name, options).unwrap();
                writer.write_all(content.as_bytes()).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

use Zipped::{File as ZipFile, Folder as ZipFolder, Symlink as ZipSymlink};

#[test]
fn a_zip_loses_its_only_folder() {
    let archive = zip(&[
        ZipFolder("top/"),
        ZipFile("top/run", "#!", 0o755),
        ZipFile("top/sub/file", "x", 0o640),
        ZipSymlink("top/link", "sub/file"),
    ]);
    let found = unpack("a.zip", &archive).unwrap();
    assert_eq!(names(&found), ["", "link", "run", "sub", "sub/file"]);
    assert_eq!(found[1].1, "0777 631249446 -> \"sub/file\"");
    assert_eq!(found[2].1, "0755 631249446 #! x1");
    assert_eq!(found[4].1, "0640 631249446 x x1");
    let mut bad = archive.clone();
    let name = b"top/run";
    let at = bad.windows(name.len()).position(|part| part == name).unwrap();
    bad[at + name.len() + 1] ^= 1;
    assert!(unpack("a.zip", &bad).is_err());
}

#[rstest]
#[case::empty(&[])]
#[case::file(&[ZipFile("file", "", 0o644)])]
#[case::file_beside(&[ZipFolder("top/"), ZipFile("file", "", 0o644)])]
#[case::two(&[ZipFile("one/a", "", 0o644), ZipFile("two/b", "", 0o644)])]
fn a_zip_with_another_top_is_refused(#[case] entries: &[Zipped<'_>]) {
    let result = unpack("a.zip", &zip(entries));
    assert!(matches!(result, Err(UnpackError::ZipTop { .. })), "{result:?}");
}

#[rstest]
#[case::through_symlink(&[ZipSymlink("t/s", "../.."), ZipFile("t/s/new", "evil", 0o644)])]
#[case::file_and_folder(&[ZipFile("t/s", "", 0o644), ZipFolder("t/s/")])]
#[case::below_file(&[ZipFile("t/s", "", 0o644), ZipFile("t/s/t", "", 0o644)])]
fn a_zip_that_does_harm_is_refused(#[case] entries: &[Zipped<'_>]) {
    let result = unpack("a.zip", &zip(entries));
    assert!(matches!(result, Err(UnpackError::Read(_))), "{result:?}");
}

#[test]
fn zips_spoiled_by_hand() {
    let archive = zip(&[ZipFile("top/aaa", "some", 0o644), ZipFile("top/bbb", "text", 0o644)]);
    let renamed = |from: &[u8], to: &[u8]| {
        let mut archive = archive.clone();
        while let Some(at) = archive.windows(from.len()).position(|part| part == from) {
            archive[at..at + to.len()].copy_from_slice(to);
        }
        unpack("a.zip", &archive)
    };
    for to in [b"/op/bbb", b"top/../", b"../b/bb", b"top/b\0b"] {
        let result = renamed(b"top/bbb", to);
        let refused = matches!(result, Err(UnpackError::Read(ReadError::Name { .. })));
        assert!(refused, "{} {result:?}", to.escape_ascii());
    }
    assert!(matches!(renamed(b"top/bbb", b"top/aaa"), Err(UnpackError::Zip { .. })));
    assert_eq!(names(&renamed(b"top/bbb", b"top/b\xffb").unwrap()), ["", "aaa", "b\\xffb"]);
    let bomb = zip(&[ZipFile("top/zeros", &"\0".repeat(1 << 20), 0o644)]);
    let limits = ArchiveLimits { max_bytes: 1000, ..ArchiveLimits::default() };
    let result = unpack_with("a.zip", &bomb, &limits);
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
    assert!(matches!(
        unpack("a.zip", &archive[..archive.len() - 30]),
        Err(UnpackError::Zip { .. })
    ));
}
