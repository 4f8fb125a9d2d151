//! Links in trees, and names with a meaning of their own.

use super::*;

#[test]
fn links_that_lead_out_of_a_tree_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    fs_err::create_dir(outside.path().join("docker")).unwrap();
    for name in ["buildinfo.json", "treeinfo.json", "upstream.json", "secret", "docker/Dockerfile"]
    {
        fs_err::write(outside.path().join(name), "CANARY").unwrap();
    }
    let link = |target: PathBuf, at: PathBuf| {
        fs_err::create_dir_all(at.parent().unwrap()).unwrap();
        fs_err::os::unix::fs::symlink(target, at).unwrap();
    };
    for (path, target) in [
        ("packages/p/buildinfo.json", "secret"),
        ("packages/p/v.buildinfo.json", "secret"),
        ("packages/p/extra", ""),
        ("packages/p/extra", "secret"),
        ("packages/p/docker", "docker"),
        ("packages/treeinfo.json", "secret"),
        ("packages/upstream.json", "secret"),
        ("rootfs/b", "docker"),
        ("rootfs/b/Dockerfile", "secret"),
    ] {
        let files = [
            ("packages/p/buildinfo.json", "{}"),
            ("packages/p/build", ""),
            ("packages/treeinfo.json", "{}"),
        ];
        let place =
            packages(&files.into_iter().filter(|(name, _)| *name != path).collect::<Vec<_>>());
        let root = place.path().join("packages");
        link(outside.path().join(target), place.path().join(path));
        let read =
            read_upstream(&root).and_then(|_| PackageTree::read(&root, &[])).and_then(|tree| {
                tree.resolve(&Variant::DEFAULT)?;
                let variants = tree.wanted(&"p".parse().unwrap(), None)?;
                tree.resolve_packages(&variants).map(drop)
            });
        let said = read.expect_err(path).to_string();
        assert!(
            said.contains("a symlink leads out of ") && !said.contains("CANARY"),
            "{path}: {said}"
        );
    }
    // Within the tree a link is a file or folder like others, and a package's folder may lie anywhere.
    let place = packages(&[
        ("packages/q/shared/x", ""),
        ("packages/q/info", "{}"),
        ("packages/p/build", ""),
    ]);
    let root = place.path().join("packages");
    link("../q/info".into(), root.join("p/buildinfo.json"));
    link("../q/shared".into(), root.join("p/extra"));
    let elsewhere = packages(&[("r/buildinfo.json", "{}"), ("r/build", ""), ("r/in", "")]);
    link(elsewhere.path().join("r"), root.join("r"));
    let tree = PackageTree::read(&root, &[]).unwrap();
    assert!(tree.package(&key("p", None)).unwrap().has_extra);
    assert!(tree.package(&key("r", None)).is_some());
    // What lies in that folder stays below it.
    link("../../in".into(), elsewhere.path().join("r/extra/deep"));
    link(root.join("q/info"), elsewhere.path().join("r/v.buildinfo.json"));
    let tree = PackageTree::read(&root, &[]).unwrap();
    assert!(tree.package(&key("r", Some("v"))).is_none());
}

#[test]
fn a_variant_without_a_script_is_built_by_the_packages() {
    let folder = packages(&[
        ("treeinfo.json", r#"{"variants": {"a": "x", "b": "x", "c": "x", "d": "x"}}"#),
        ("a/x.buildinfo.json", ""),
        ("a/build", ""),
        ("b/x.buildinfo.json", ""),
        ("b/build", ""),
        ("b/x.build", ""),
        ("c/x.buildinfo.json", r#"{"build_script": "x.build"}"#),
        ("c/build", ""),
        ("d/x.buildinfo.json", ""),
    ]);
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    let script = |name: &str| {
        let package = tree.package(&key(name, Some("x")));
        package.map(|package| package.info.build_script.clone())
    };
    assert_eq!(script("a").as_deref(), Some("build"));
    assert_eq!(script("b").as_deref(), Some("x.build"));
    assert_eq!((script("c"), script("d")), (None, None));
    let error = tree.resolve(&Variant::DEFAULT).unwrap_err().to_string();
    assert!(
        error.contains("c/x.buildinfo.json") && error.contains("d/x.buildinfo.json"),
        "{error}"
    );
}

#[test]
fn a_package_called_cache_is_named_in_a_warning() {
    for (file, warnings) in [("cache/buildinfo.json", 1), ("cache/packages/x", 0)] {
        let folder = packages(&[
            ("treeinfo.json", ""),
            ("a/buildinfo.json", ""),
            ("a/build", ""),
            (file, ""),
        ]);
        let tree = PackageTree::read(folder.path(), &[]).unwrap();
        let set = tree.resolve(&Variant::DEFAULT).unwrap();
        assert_eq!(set.packages, keys(&["a"]));
        assert_eq!(set.warnings.len(), warnings, "{file}");
        assert_eq!(tree.resolve_packages(&keys(&["a"])).unwrap().warnings.len(), warnings);
    }
}

#[test]
fn builders_are_those_of_rootfs_and_of_pkgpanda() {
    let above = tempfile::tempdir().unwrap();
    let write = |path: &str| {
        let path = above.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "FROM scratch\n").unwrap();
    };
    write("packages/treeinfo.json");
    write("rootfs/one/Dockerfile");
    write("pkgpanda/docker/two/Dockerfile");
    write("pkgpanda/docker/three/other");
    let read = || PackageTree::read(&above.path().join("packages"), &[]);
    let tree = read().unwrap();
    let image = |name: &str| {
        let name = format!("dcos/dcos-builder:{name}_dockerdir-latest").parse().unwrap();
        tree.docker_folder(&name).map(|found| found.path.to_owned())
    };
    assert_eq!(image("one"), Some(above.path().join("rootfs/one")));
    assert_eq!(image("two"), Some(above.path().join("pkgpanda/docker/two")));
    assert_eq!(image("three"), None);
    write("pkgpanda/docker/one/Dockerfile");
    let error = read().unwrap_err().to_string();
    assert!(error.contains("rootfs/one") && error.contains("pkgpanda/docker/one"), "{error}");
}
