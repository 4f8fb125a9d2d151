//! Trees that take packages from other trees.

use std::path::Path;

use crate::support::Place;
use crate::tree::built;

#[test]
fn upstreams_add_packages_and_may_have_upstreams() {
    let place = Place::new();
    let far = place.path().join("far");
    let near = place.path().join("near");
    let package = |folder: &Path, name: &str, info: &str, script: &str| {
        let folder = folder.join("packages").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("buildinfo.json"), info).unwrap();
        std::fs::write(folder.join("build"), format!("{}{script}\n", crate::support::SCRIPT))
            .unwrap();
        std::fs::set_permissions(
            folder.join("build"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    };
    package(&far, "a", "{}", "echo far > $PKG_PATH/x");
    package(&far, "b", "{}", "echo far > $PKG_PATH/x");
    package(&near, "b", r#"{"requires": ["a"]}"#, "echo near > $PKG_PATH/x");
    package(&near, "c", "{}", "exit 1");
    std::fs::write(near.join("packages/treeinfo.json"), "{").unwrap();
    let far_url = tar_of(&far, place.path(), "far");
    std::fs::write(near.join("packages/upstream.json"), far_url).unwrap();
    place.write("upstream.json", &tar_of(&near, place.path(), "near"));
    place.write("treeinfo.json", r#"{"core_package_list": ["b", "c"]}"#);
    place.package("c", "{}", "echo own > $PKG_PATH/x");
    let ran = place.run(".", &["tree", "-j1"]).ok();
    assert_eq!(built(&ran.stderr), ["a", "b", "c"]);
    let said = ["a", "b", "c"].map(|name| place.file_of(name, "x"));
    assert_eq!(said, ["far\n", "near\n", "own\n"]);
    assert!(place.packages.join("cache/upstream/checkout/packages/b/build").is_file());
    assert_eq!(built(&place.run(".", &["tree"]).ok().stderr), [""; 0]);
    // A package's folder of an upstream is none of this tree's, but its packages can be required.
    place.package("d", r#"{"requires": ["b"]}"#, "");
    assert_eq!(built(&place.run("d", &[]).ok().stderr), ["d"]);
    place.assert_clean();
}

#[test]
fn upstreams_in_a_circle_are_refused() {
    let place = Place::new();
    let folder = place.path().join("self");
    std::fs::create_dir_all(folder.join("packages")).unwrap();
    let upstream = |path: &str| format!(r#"{{"kind": "git_local", "rel_path": "{path}"}}"#);
    // From the checkout in the tree's cache back to the repository.
    std::fs::write(folder.join("packages/upstream.json"), upstream("../../../../../../self"))
        .unwrap();
    crate::support::repository(&folder);
    place.trust(&["git_local"]);
    place.write("upstream.json", &upstream("../../self"));
    place.write("treeinfo.json", "{}");
    let ran = place.run(".", &["tree"]).fails(1);
    insta::assert_snapshot!(place.generic(&ran.stderr), @"error: an upstream leads back to itself: git_local <place>/self -> git_local <place>/self");
}

/// Makes an archive of a folder; gives the source that it is.
fn tar_of(folder: &Path, into: &Path, name: &str) -> String {
    let path = into.join(format!("{name}.tar"));
    let parent = folder.parent().unwrap();
    let status = std::process::Command::new("tar")
        .args(["-cf".as_ref(), path.as_os_str(), "-C".as_ref(), parent.as_os_str()])
        .arg(folder.file_name().unwrap())
        .status();
    assert!(status.unwrap().success());
    let sum = crate::support::sha1(&std::fs::read(&path).unwrap());
    format!(r#"{{"kind": "url_extract", "url": "file://{}", "sha1": "{sum}"}}"#, path.display())
}
