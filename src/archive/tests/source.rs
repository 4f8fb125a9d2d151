//! Source archives: what is stripped, what merges, what is refused.

use std::fs::File;
use std::io::{Cursor, Seek, Write};

use flate2::write::GzEncoder;
use rstest::rstest;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::raw::{Raw, listing, xz};
use crate::archive::{Limits, ReadError, UnpackError, unpack_source_archive};

type Found = Vec<(String, String)>;

fn unpack_with(name: &str, content: &[u8], limits: &Limits) -> Result<Found, UnpackError> {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    unpack_source_archive(file, name, &scratch.path().join("src"), limits)?;
    let found = listing(&scratch.path().join("src"));
    Ok(found.into_iter().map(|(path, what)| (path.escape_ascii().to_string(), what)).collect())
}

fn unpack(name: &str, content: &[u8]) -> Result<Found, UnpackError> {
    unpack_with(name, content, &Limits::default())
}

fn names(found: &Found) -> Vec<&str> {
    found.iter().map(|(path, _)| path.as_str()).collect()
}

fn simple() -> Vec<u8> {
    Raw::default().folder("top/").file("top/file", "content").tar()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 1).unwrap()
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
        let other = unpack(name, &tar).unwrap_err().to_string();
        assert!(other.contains("an uncompressed tar archive by its content"), "{other}");
    }
}

#[test]
fn other_names_and_contents_are_named() {
    let error = unpack("notes.rar", &simple()).unwrap_err().to_string();
    assert!(error.starts_with("\"notes.rar\" is no archive that can be unpacked"), "{error}");
    let error = unpack("a.tar.xz", b"<html>not found</html>").unwrap_err().to_string();
    assert_eq!(
        error,
        "\"a.tar.xz\" is compressed by xz by its name, but something else by its content"
    );
    assert!(unpack("a.tar.gz", &[gzip(&simple()), vec![0; 600]].concat()).is_ok());
    assert!(unpack("a.tar.gz", &[gzip(&simple()), b"junk".to_vec()].concat()).is_err());
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
#[case::files(Raw::default().file("one/a", "").file("two/a", ""))]
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
    let limits = Limits { max_bytes: 1000, ..Limits::default() };
    let result = unpack_with("a.zip", &bomb, &limits);
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
    assert!(matches!(
        unpack("a.zip", &archive[..archive.len() - 30]),
        Err(UnpackError::Zip { .. })
    ));
}
