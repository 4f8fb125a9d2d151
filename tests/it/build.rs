//! Building a package in its folder.

use std::path::Path;

use crate::inside::left_out;
use crate::support::Place;

#[test]
fn a_package_builds_and_does_not_build_again() {
    let place = Place::new();
    place.package("hello", "{}", "echo hi > $PKG_PATH/hello");
    place.run("hello", &[]).ok().says("built hello--");
    assert_eq!(place.file_of("hello", "hello"), "hi\n");
    let again = place.run("hello", &[]).ok();
    assert!(!again.stderr.contains("built"), "{}", again.stderr);
    place.assert_clean();
}

#[test]
fn a_build_leaves_source_and_result_on_another_filesystem_too() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
    let Some(shm) = device(Path::new("/dev/shm")).filter(|shm| Some(*shm) != device(place.path()))
    else {
        return left_out("another filesystem at /dev/shm", "it-root");
    };
    let scratch = tempfile::Builder::new().prefix("mkpanda-it-").tempdir_in("/dev/shm").unwrap();
    assert_eq!(device(scratch.path()), Some(shm));
    let script =
        "mkdir -p /pkg/src/made/in; echo kept > /pkg/src/made/in/file; mkfifo /pkg/src/fifo
ln -s file $PKG_PATH/link; touch $PKG_PATH/file; chmod 0 /pkg/src/made";
    place.package("p", "{}", script);
    let path = scratch.path().display().to_string();
    for _again in 0..2 {
        place.run("p", &["--dont-clean-after-build", "--scratch", &path]).ok();
        let folder = place.packages.join("cache/packages/p");
        assert!(folder.join("result/link").is_symlink() && folder.join("src/made").is_dir());
        assert_eq!(std::fs::metadata(folder.join("src/made")).unwrap().mode() & 0o777, 0);
        assert!(!folder.join("src/.tmp-src").exists());
        place.assert_clean();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        std::fs::remove_file(place.archive("p")).unwrap();
    }
}
