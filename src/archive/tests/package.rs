//! Packages: what is read, what is refused, and how it is laid down.

use std::os::unix::fs::MetadataExt;

use rstest::rstest;

use super::raw::{Raw, listing, xz};
use crate::archive::{ArchiveLimits, EntryKind, PackageIndex, UnpackSummary};
use crate::archive::{ReadError, UnpackError, unpack_package, verify_package};

fn index(package: &[u8]) -> Result<PackageIndex, ReadError> {
    verify_package(package, &ArchiveLimits::default())
}

#[test]
fn documents_and_entries_are_found() {
    let package = Raw::package()
        .file("./pkginfo.json", "{}")
        .folder("./bin/")
        .file("./bin/tool", "#!")
        .link("./bin/again", "./bin/tool")
        .symlink("./bin/link", "../../out")
        .entry(b'6', "./bin/fifo", "", "")
        .file("./bin/pkginfo.json", "no")
        .xz();
    let index = index(&package).unwrap();
    assert_eq!((index.pkginfo.as_deref(), index.buildinfo), (Some(&b"{}"[..]), None));
    let shown: Vec<String> = index.entries.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(shown[..4], ["./", "./pkginfo.json", "./bin", "./bin/tool"]);
    assert_eq!(index.entries[5].kind, EntryKind::Symlink { target: b"../../out".to_vec() });

    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("new");
    let summary = unpack_package(package.as_slice(), &folder, &ArchiveLimits::default()).unwrap();
    assert_eq!(summary, UnpackSummary { entries: 8, file_bytes: 6, attributes_lost: 0 });
    let found = listing(&folder);
    assert_eq!(found[&b""[..]], "0755 7 /");
    assert_eq!(found[&b"bin/again"[..]], "0644 7 #! x2");
    assert_eq!(found[&b"bin/link"[..]], "0777 7 -> \"../../out\"");
    assert_eq!(found[&b"bin/fifo"[..]], "0644 7 special 10000");
    let owner = fs_err::metadata(folder.join("bin/tool")).unwrap().uid();
    assert_eq!(owner, nix::unistd::geteuid().as_raw());
}

#[test]
fn a_folder_that_nobody_may_write_to_is_filled_first() {
    let package = Raw::package()
        .with(b'5', b"./closed/", b"", b"", |header| header.set_mode(0o555))
        .file("./closed/file", "x")
        .with(b'0', b"./closed/suid", b"", b"", |header| header.set_mode(0o4711))
        .xz();
    let scratch = tempfile::tempdir().unwrap();
    unpack_package(package.as_slice(), &scratch.path().join("p"), &ArchiveLimits::default())
        .unwrap();
    let found = listing(&scratch.path().join("p"));
    assert_eq!(found[&b"closed"[..]], "0555 7 /");
    assert_eq!(found[&b"closed/suid"[..]], "4711 7  x1");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(scratch.path().join("p/closed"), mode).unwrap();
}

#[rstest]
#[case::cut_off(|mut xz: Vec<u8>| { xz.truncate(xz.len() - 5); xz })]
#[case::cut_early(|mut xz: Vec<u8>| { xz.truncate(60); xz })]
#[case::garbage(|xz: Vec<u8>| [xz, b"garbage!".to_vec()].concat())]
#[case::flipped(|mut xz: Vec<u8>| { let half = xz.len() / 2; xz[half] ^= 4; xz })]
#[case::empty(|_| Vec::new())]
fn a_damaged_stream_is_noticed(#[case] damage: fn(Vec<u8>) -> Vec<u8>) {
    let package = damage(Raw::package().file("./file", "some content").xz());
    assert!(matches!(index(&package), Err(ReadError::Stream(_))), "{:?}", index(&package));
    let scratch = tempfile::tempdir().unwrap();
    let unpacked = unpack_package(package.as_slice(), scratch.path(), &ArchiveLimits::default());
    assert!(matches!(unpacked, Err(UnpackError::Read(ReadError::Stream(_)))));
}

#[rstest]
#[case::no_end(Raw::package().0)]
#[case::no_root(Raw::default().file("./a", "").tar())]
#[case::hidden([Raw::package().tar(), Raw::package().file("./hidden", "").tar()].concat())]
#[case::no_header([Raw::package().0, vec![b'x'; 1024]].concat())]
#[case::lonely(Raw::package().pax("path", b"./a").tar())]
#[case::twice(Raw::package().pax("path", b"./a").pax("path", b"./b").file("./c", "").tar())]
#[case::unknown(Raw::package().entry(b'Z', "./a", "", "").tar())]
#[case::sparse(Raw::package().pax("GNU.sparse.major", b"1").file("./a", "").tar())]
#[case::negative(Raw::package().with(b'0', b"./a", b"", b"", |header| {
    header.as_old_mut().size = [0xff; 12];
}).tar())]
#[case::no_number(Raw::package().with(b'0', b"./a", b"", b"", |header| {
    header.as_old_mut().size = *b"abcdefghijk\0";
}).tar())]
fn a_damaged_tar_is_noticed(#[case] tar: Vec<u8>) {
    let result = index(&xz(&tar));
    assert!(matches!(result, Err(ReadError::Damaged { .. })), "{result:?}");
}

#[rstest]
#[case::far_more_than_there_is(1 << 40)]
#[case::more_than_there_is(4000)]
#[case::less_than_there_is(4)]
fn a_size_that_lies_is_noticed(#[case] size: u64) {
    let data = [b'd'; 600];
    let tar = Raw::package()
        .with(b'0', b"./a", b"", &data, |header| header.set_size(size))
        .file("./b", "")
        .tar();
    let result = index(&xz(&tar));
    assert!(matches!(result, Err(ReadError::Stream(_) | ReadError::Damaged { .. })), "{result:?}");
}

#[test]
fn limits_stop_bombs() {
    let zeros = "\0".repeat(1 << 20);
    let package = Raw::package().file("./zeros", &zeros).file("./more", "").xz();
    let small = ArchiveLimits { max_bytes: 100_000, ..ArchiveLimits::default() };
    let few = ArchiveLimits { max_entries: 2, ..ArchiveLimits::default() };
    let names = ArchiveLimits { max_name_bytes: 10, ..ArchiveLimits::default() };
    for limits in [small, few, names] {
        let result = verify_package(package.as_slice(), &limits);
        assert!(matches!(result, Err(ReadError::Limit(_))), "{limits:?} {result:?}");
        let scratch = tempfile::tempdir().unwrap();
        let result = unpack_package(package.as_slice(), scratch.path(), &limits);
        assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{limits:?}");
    }
    let long_name = Raw::package().with(b'L', b"long", b"", zeros.as_bytes(), |header| {
        header.set_size(1 << 40);
    });
    assert!(matches!(index(&long_name.xz()), Err(ReadError::Damaged { .. })));
    let deep = format!("./{}f", "d/".repeat(40));
    let result = verify_package(
        Raw::package().file(&deep, "").xz().as_slice(),
        &ArchiveLimits { max_entries: 20, ..ArchiveLimits::default() },
    );
    assert!(matches!(result, Err(ReadError::Limit(_))));
}

#[test]
fn a_package_may_be_compressed_by_anything() {
    use std::io::Write;
    let tar = Raw::package().file("./pkginfo.json", "{}").tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar).unwrap();
    let zstd = zstd::bulk::compress(&tar, 1).unwrap();
    let all = [gzip.finish().unwrap(), bzip2.finish().unwrap(), zstd, xz(&tar), tar];
    for (number, package) in all.iter().enumerate() {
        assert_eq!(index(package).unwrap().pkginfo.as_deref(), Some(&b"{}"[..]), "{number}");
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("new");
        unpack_package(package.as_slice(), &folder, &ArchiveLimits::default()).unwrap();
        assert_eq!(fs_err::read(folder.join("pkginfo.json")).unwrap(), b"{}");
        // One that is cut off is none, whatever compressed it.
        assert!(index(&package[..package.len().saturating_sub(1050).max(20)]).is_err(), "{number}");
    }
}
