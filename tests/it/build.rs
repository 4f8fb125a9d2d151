//! Building a package in its folder.

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
