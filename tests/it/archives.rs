//! Source archives and image layers that nobody vouches for: they never get out of their folder, and
//! never take more than they may.

use std::fmt::Write as _;

use tar::EntryType::{Block, Char, Directory, Link, Regular, Symlink};

use crate::support::{BUILDER, Place, files_below, sha1, snapshot};
use crate::tiny::tiny_layer;

/// An entry whose name and link are written as they are, however odd.
pub fn raw(
    tar: &mut tar::Builder<Vec<u8>>,
    name: &[u8],
    kind: tar::EntryType,
    link: &[u8],
    content: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    header.set_mtime(1);
    if matches!(kind, Char | Block) {
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
    }
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

type Entry = (&'static [u8], tar::EntryType, &'static [u8], &'static [u8]);

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, kind, link, content) in entries {
        raw(&mut tar, name, *kind, link, content);
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// What tries to leave, in a source's archive (below `top`) or in a layer.
const LEAVING: [(&str, &[Entry]); 9] = [
    ("up", &[(b"top/../../escaped", Regular, b"", b"x")]),
    ("absolute", &[(b"/tmp/mkpanda-escaped", Regular, b"", b"x")]),
    (
        "through a link to outside",
        &[(b"top/l", Symlink, b"/tmp", b""), (b"top/l/mkpanda-escaped", Regular, b"", b"x")],
    ),
    (
        "through a link upwards",
        &[(b"top/l", Symlink, b"../../..", b""), (b"top/l/mkpanda-escaped", Regular, b"", b"x")],
    ),
    ("a hard link to outside", &[(b"top/h", Link, b"/etc/passwd", b"")]),
    ("a hard link upwards", &[(b"top/h", Link, b"top/../../../etc/passwd", b"")]),
    (
        "a hard link through a link",
        &[(b"top/l", Symlink, b"/etc", b""), (b"top/h", Link, b"top/l/passwd", b"")],
    ),
    ("a character device", &[(b"top/null", Char, b"", b"")]),
    ("a block device", &[(b"top/disk", Block, b"", b"")]),
];

const ODD: [(&str, &[Entry]); 3] = [
    ("two files at one path", &[(b"a/x", Regular, b"", b"1"), (b"b/x", Regular, b"", b"2")]),
    ("a file below a file", &[(b"a/x", Regular, b"", b"1"), (b"a/x/y", Regular, b"", b"2")]),
    ("nothing but files at the top", &[(b"x", Regular, b"", b"1")]),
];

struct Source {
    place: Place,
}

impl Source {
    fn new() -> Self {
        Self { place: Place::new() }
    }

    fn extract(&self, name: &str, bytes: &[u8]) -> crate::support::Ran {
        std::fs::create_dir_all(self.place.packages.join("p")).unwrap();
        std::fs::write(self.place.packages.join("p").join(name), bytes).unwrap();
        let info = format!(
            r#"{{"single_source": {{"kind": "url_extract", "url": "file://{name}", "sha1": "{}"}}}}"#,
            sha1(bytes)
        );
        self.place.package("p", &info, "cp -r /pkg/src/p/. $PKG_PATH/");
        let ran = self.place.run("p", &[]);
        self.place.assert_clean();
        ran
    }
}

fn nothing_escaped() {
    for path in ["/tmp/mkpanda-escaped", "/tmp/escaped"] {
        assert!(std::fs::symlink_metadata(path).is_err(), "{path}");
    }
}

#[test]
fn a_source_never_leaves_its_folder() {
    let source = Source::new();
    let mut text = String::new();
    let mut tell = |what: &str, ran: crate::support::Ran| {
        let said = source.place.generic(&ran.stderr);
        let error = said.lines().find(|line| line.starts_with("error")).unwrap_or("");
        _ = writeln!(text, "{what}: exit code {}\n  {error}", ran.code);
    };
    for (what, entries) in LEAVING.iter().chain(&ODD) {
        tell(what, source.extract("x.tar", &archive(entries)));
    }
    let whole = archive(&[(b"top/x", Regular, b"", &[b'x'; 4096])]);
    tell("cut off in a file", source.extract("x.tar", &whole[..2048]));
    let packed = gzip(&whole);
    tell("a cut gzip", source.extract("x.tar.gz", &packed[..packed.len() - 6]));
    let mut lies = whole.clone();
    lies[124..135].copy_from_slice(b"77777777777");
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&lies[..512]);
    header.set_cksum();
    lies[..512].copy_from_slice(header.as_bytes());
    tell("a size that lies", source.extract("x.tar", &lies));
    let mut damaged = packed.clone();
    let place = damaged.len() / 2;
    damaged[place] ^= 0xff;
    tell("a damaged gzip", source.extract("x.tar.gz", &damaged));
    nothing_escaped();
    snapshot("sources", &text);
}

#[test]
fn names_that_are_not_utf_8_are_kept() {
    let source = Source::new();
    source.extract("x.tar", &archive(&[(b"top/caf\xe9", Regular, b"", b"au lait\n")])).ok();
    let output = std::process::Command::new("tar")
        .args(["-tJf".as_ref(), source.place.archive("p").as_os_str()])
        .output()
        .unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    assert!(names.contains("./caf\\351\n"), "{names}");
}

#[test]
fn a_bomb_stops_at_a_limit_that_can_be_raised() {
    let mut source = Source::new();
    let zeros = vec![0; 3 << 20];
    let mut tar = tar::Builder::new(Vec::new());
    raw(&mut tar, b"top/zeros", Regular, b"", &zeros);
    let bomb = gzip(&tar.into_inner().unwrap());
    let limit = |value: &str| ("MKPANDA_LIMITS_UNPACKED".to_owned(), value.to_owned());
    // The image has more than that, too: it is there already then.
    source.extract("x.tar", &archive(&[(b"top/x", Regular, b"", b"")])).ok();
    source.place.variables.push(limit("1M"));
    let ran = source.extract("x.tar.gz", &bomb).fails(1);
    ran.says("cannot extract x.tar.gz: the archive is refused: it unpacks to more than 1048576 bytes, which is the limit")
        .says("hint: if it is meant to be that large, raise limits.unpacked in your own config.toml, or MKPANDA_LIMITS_UNPACKED");
    source.place.variables.push(limit("64M"));
    source.extract("x.tar.gz", &bomb).ok();
    let many: Vec<String> = (0..200).map(|number| format!("top/{number}")).collect();
    let mut tar = tar::Builder::new(Vec::new());
    for name in &many {
        raw(&mut tar, name.as_bytes(), Regular, b"", b"");
    }
    let many = tar.into_inner().unwrap();
    source.place.variables.push(("MKPANDA_LIMITS_ENTRIES".to_owned(), "100".to_owned()));
    source.extract("x.tar", &many).fails(1).says("more than 100 entries, which is the limit");
}

/// Builds with an image whose second layer is this one.
fn with_layer(place: &Place, layer: &[u8]) -> crate::support::Ran {
    let image = crate::images::docker_archive(&[tiny_layer(), layer.to_vec()], BUILDER);
    std::fs::write(place.packages.join("image.tar"), image).unwrap();
    place.write(
        "mkpanda.toml",
        &format!("[images]\n\"{BUILDER}\" = \"docker-archive:image.tar\"\n"),
    );
    place.package(
        "p",
        "{}",
        "ls -laR /top > $PKG_PATH/top 2>&1 || true; cat /top/h > $PKG_PATH/h 2> /dev/null || true",
    );
    let ran = place.run("p", &[]);
    place.assert_clean();
    ran
}

#[test]
fn a_layer_never_leaves_its_folder() {
    let place = Place::bare();
    let mut text = String::new();
    let mut tell = |what: &str, layer: &[u8]| {
        let ran = with_layer(&place, layer);
        let said = place.generic(&ran.stderr);
        let error = said.lines().find(|line| line.starts_with("error")).unwrap_or("");
        _ = writeln!(text, "{what}: exit code {}\n  {error}", ran.code);
        if ran.code == 0 {
            let read = place.file_of("p", "h");
            assert!(!read.contains(&std::fs::read_to_string("/etc/passwd").unwrap()), "{what}");
        }
    };
    for (what, entries) in LEAVING {
        tell(what, &archive(entries));
    }
    let whole = archive(&[(b"top/x", Regular, b"", &[b'x'; 4096])]);
    tell("cut off in a file", &whole[..2048]);
    tell("a whiteout of what is above", &archive(&[(b"top/.wh...", Regular, b"", b"")]));
    tell("a whiteout of nothing", &archive(&[(b"top/.wh.", Regular, b"", b"")]));
    nothing_escaped();
    // A link that leads upwards ends at the image's own root.
    let layers = place.home.join("layers");
    let outside = files_below(place.path()).into_iter().filter(|path| !path.starts_with(&layers));
    let escaped = |path: &std::path::PathBuf| path.to_string_lossy().contains("escaped");
    assert_eq!(outside.filter(escaped).count(), 0);
    snapshot("layers", &text);
}

#[test]
fn names_that_are_not_utf_8_are_kept_in_layers() {
    let place = Place::bare();
    let layer = archive(&[(b"top/", Directory, b"", b""), (b"top/caf\xe9", Regular, b"", b"")]);
    with_layer(&place, &layer).ok();
    assert!(place.file_of("p", "top").contains("caf"), "{}", place.file_of("p", "top"));
}

#[test]
fn an_image_that_unpacks_to_more_than_it_may_is_refused() {
    let mut place = Place::bare();
    let mut tar = tar::Builder::new(Vec::new());
    raw(&mut tar, b"top/zeros", Regular, b"", &vec![0; 40 << 20]);
    let layer = tar.into_inner().unwrap();
    place.variables.push(("MKPANDA_LIMITS_UNPACKED".to_owned(), "32M".to_owned()));
    with_layer(&place, &layer)
        .fails(1)
        .says("it unpacks to more than 33554432 bytes, which is the limit")
        .says("hint: if it is meant to be that large, raise limits.unpacked");
    place.variables.push(("MKPANDA_LIMITS_UNPACKED".to_owned(), "128M".to_owned()));
    with_layer(&place, &layer).ok();
}
