//! Entries that try to leave the folder, tried on packages, sources and layers alike.

use std::io::Write;
use std::path::Path;

use rstest::rstest;

use super::raw::{Raw, listing};
use crate::archive::{
    ArchiveLimits, LayerOptions, UnpackError, UnpackedOwners, Whiteouts, unpack_layer,
    unpack_package, unpack_source_archive, verify_package,
};

/// A folder to unpack into, beside a file and a folder that nothing may touch.
struct GuardedFolder(tempfile::TempDir);

impl GuardedFolder {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs_err::create_dir(scratch.path().join("outside")).unwrap();
        fs_err::write(scratch.path().join("outside/victim"), "untouched").unwrap();
        Self(scratch)
    }

    fn folder(&self) -> std::path::PathBuf {
        self.0.path().join("folder")
    }

    fn check(&self, what: &str) {
        let outside = listing(&self.0.path().join("outside"));
        assert_eq!(outside.len(), 2, "{what} got out: {outside:?}");
        assert!(outside[&b"victim"[..]].ends_with("untouched x1"), "{what} got out: {outside:?}");
        let beside = fs_err::read_dir(self.0.path()).unwrap().count();
        assert!(beside <= 3, "{what} got out");
    }
}

fn layer(tar: &[u8], folder: &Path) -> Result<(), UnpackError> {
    let mut record = Vec::new();
    let options = LayerOptions {
        is_plain: false,
        limits: ArchiveLimits::default(),
        owners: UnpackedOwners::Single(&mut record),
        whiteouts: Whiteouts::Devices,
    };
    unpack_layer(tar, folder, options).map(drop)
}

fn source(tar: &[u8], folder: &Path) -> Result<(), UnpackError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(tar).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    unpack_source_archive(file, "source.tar", folder, &ArchiveLimits::default()).map(drop)
}

type Unpack<'a> = &'a dyn Fn(&[u8], &Path) -> Result<(), UnpackError>;

#[rstest]
#[case::parent(Raw::default().file("./t/../../outside/new", "x"))]
#[case::parent_first(Raw::default().file("../outside/new", "x"))]
#[case::parent_alone(Raw::default().folder(".."))]
#[case::through_symlink(
    Raw::default().folder("./t/").symlink("./t/s", "../../outside").file("./t/s/victim", "evil"))]
#[case::through_two(Raw::default().folder("./t/").symlink("./t/up", "../..")
    .symlink("./t/s", "up/outside").file("./t/s/new", "evil"))]
#[case::folder_over_symlink_then_file(Raw::default().symlink("./t/s", "../../outside")
    .folder("./t/s/x/").file("./t/s/x/new", "evil"))]
#[case::link_out(Raw::default().folder("./t/").link("./t/l", "../outside/victim"))]
#[case::link_through_symlink(Raw::default().symlink("./t/s", "../../outside")
    .link("./t/l", "./t/s/victim"))]
#[case::link_to_nothing(Raw::default().link("./t/l", "./t/none"))]
#[case::link_to_itself(Raw::default().link("./t/l", "./t/l"))]
#[case::link_to_folder(Raw::default().folder("./t/d/").link("./t/l", "./t/d"))]
#[case::below_a_file(Raw::default().file("./t/f", "").file("./t/f/g", ""))]
#[case::empty_name(Raw::default().file("", "content"))]
#[case::nul(Raw::default().pax("path", b"./t/a\0b").file("./t/x", ""))]
#[case::nul_in_target(Raw::default().pax("linkpath", b"a\0b").symlink("./t/x", ""))]
#[case::empty_target(Raw::default().symlink("./t/x", ""))]
fn is_refused_everywhere_and_never_gets_out(#[case] raw: Raw) {
    let tar = raw.tar();
    let package = |tar: &[u8], folder: &Path| {
        let package = super::raw::xz(&[Raw::package().0.as_slice(), tar].concat());
        assert!(verify_package(package.as_slice(), &ArchiveLimits::default()).is_err());
        unpack_package(package.as_slice(), folder, &ArchiveLimits::default()).map(drop)
    };
    let kinds: [(&str, Unpack<'_>); 3] =
        [("a package", &package), ("a source", &source), ("a layer", &layer)];
    for (what, unpack) in kinds {
        let place = GuardedFolder::new();
        let result = unpack(&tar, &place.folder());
        place.check(what);
        assert!(matches!(result, Err(error) if !is_io(&error)), "{what} was taken");
    }
}

/// True if it was the system that refused, and not a check.
fn is_io(error: &UnpackError) -> bool {
    matches!(error, UnpackError::Write { .. })
}

#[rstest]
#[case::character(b'3')]
#[case::block(b'4')]
fn devices_are_refused_and_left_out_of_layers(#[case] kind: u8) {
    let name = "./t/device";
    let tar = Raw::default().entry(kind, name, "", "").tar();
    let place = GuardedFolder::new();
    let error = source(&tar, &place.folder()).unwrap_err().to_string();
    assert!(error.contains("./t/device is a"), "{error}");
    let package = Raw::package().entry(kind, name, "", "").xz();
    let error = unpack_package(package.as_slice(), &place.folder(), &ArchiveLimits::default());
    assert!(error.unwrap_err().to_string().contains("./t/device is a"));
    // In a layer, a whiteout hides what the device would replace.
    let folder = place.0.path().join("layer");
    layer(&tar, &folder).unwrap();
    let found: Vec<String> = listing(&folder).into_values().collect();
    assert!(found.len() == 3 && found[2].contains("special"), "{found:?}");
}

#[rstest]
#[case::absolute(Raw::package().file("/etc/new", ""))]
#[case::not_below_dot(Raw::package().file("etc", ""))]
#[case::twice(Raw::package().file("./a", "").file("./a", ""))]
#[case::folder_twice(Raw::package().folder("./a/").folder("./a"))]
#[case::file_over_symlink(Raw::package().symlink("./a", "b").file("./a", ""))]
#[case::file_over_link(Raw::package().file("./a", "").link("./b", "./a").file("./b", ""))]
#[case::link_to_symlink(Raw::package().symlink("./a", "b").link("./c", "./a"))]
#[case::link_to_later(Raw::package().link("./c", "./d").file("./d", ""))]
#[case::folder_with_content(Raw::package().with(b'5', b"./a/", b"", b"", |header| {
    header.set_size(512);
}).file("./hidden", ""))]
#[case::long_name(Raw::package().pax("path", "./d".repeat(2000).as_bytes()).file("./x", ""))]
#[case::long_capability(
    Raw::package().pax("SCHILY.xattr.security.capability", &[1; 25]).file("./x", ""))]
#[case::root_again(Raw::package().file(".", ""))]
#[case::below_symlink_later(Raw::package().file("./a/b", "").symlink("./a", "c"))]
fn packages_are_refused_by_their_names_alone(#[case] raw: Raw) {
    let package = raw.xz();
    assert!(verify_package(package.as_slice(), &ArchiveLimits::default()).is_err());
    let place = GuardedFolder::new();
    let result = unpack_package(package.as_slice(), &place.folder(), &ArchiveLimits::default());
    assert!(matches!(result, Err(error) if !is_io(&error)));
    place.check("a package");
}
