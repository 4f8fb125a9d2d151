use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::base::recorded::{inputs, recordings};
use crate::build::plan::{Action, CacheState, Why, plan};
use crate::container::helper::Interrupt;
use crate::package::hash::hash_value;
use crate::package::{PackageName, Variant};

/// The ids of the images with which the original made the ids below.
const UBUNTU: &str = "cc5105e3bfa1b0528ef77561c5ad99db0f92a25b8afbb38ab723b08c72e5dbb8";
const BUILDER: &str = "fb7a2ce896853b69a85808e7b11c9fbaf548ca97357f92b639fd67a9627dc869";

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, content).unwrap();
}

fn all_keys(tree: &PackageTree) -> Vec<PackageKey> {
    tree.names().flat_map(|name| tree.wanted(name, None).unwrap()).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "called as what could fail")]
fn image(package: &Package) -> Result<Sha256Sum, Infallible> {
    let ubuntu = package.info.image().as_str() == "ubuntu:14.04.4";
    Ok((if ubuntu { UBUNTU } else { BUILDER }).parse().unwrap())
}

#[expect(clippy::unnecessary_wraps, reason = "called as what could fail")]
fn head(_: &Package, _: &SourceName, _: &str) -> Result<CommitId, Infallible> {
    Ok("67780090b9d1cb8d722bc531761057c22d3695b7".parse().unwrap())
}

fn ids(tree: &PackageTree, wanted: &[PackageKey]) -> Identities {
    let set = tree.resolve_packages(wanted).unwrap();
    identify(tree, &set.packages, &FileHasher::new(u64::MAX, &Interrupt::default()), image, head)
        .unwrap()
}

fn find<'a>(ids: &'a Identities, name: &str, variant: &str) -> &'a PackageIdentity {
    let name: PackageName = name.parse().unwrap();
    let variant = if variant.is_empty() { Variant::DEFAULT } else { variant.parse().unwrap() };
    ids.get(&PackageKey { name, variant }).unwrap()
}

#[test]
fn ids_are_those_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let script = "#!/bin/bash\necho\n";
    for name in ["a", "b", "c", "v"] {
        write(root, &format!("{name}/build"), script);
    }
    write(root, "a/buildinfo.json", r#"{"docker": "ubuntu:14.04.4", "environment": {"A": 5}}"#);
    write(root, "b/buildinfo.json", r#"{"requires": ["a", {"name": "v", "variant": "one"}]}"#);
    write(
        root,
        "c/buildinfo.json",
        r#"{"requires": ["b"], "version_extra": "1.2", "username": "dcos_c", "state_directory": 1}"#,
    );
    write(root, "v/one.buildinfo.json", r#"{"build_script": "build"}"#);
    write(root, "v/extra/a,b=c", "x");
    let tree = PackageTree::read(root, &[]).unwrap();
    let ids = ids(&tree, &all_keys(&tree));
    for identity in ids.iter() {
        let package = tree.package(&identity.key).unwrap();
        let hash = hash_value(&ids.build_ids(package, identity)).unwrap().to_string();
        let version = identity.id.version().as_str();
        assert_eq!(version.strip_prefix("1.2.").unwrap_or(version), hash);
    }
    let c = find(&ids, "c", "");
    assert!(c.id.version().as_str().starts_with("1.2."));
    let needed: Vec<&str> = ids.dependencies(c).map(|needed| needed.key.name.as_str()).collect();
    assert_eq!(needed, ["a", "b", "v"]);
    let documents = ids.documents(tree.package(&c.key).unwrap(), c);
    let mut expected =
        String::from("{\n  \"environment\":{},\n  \"requires\":[\n    \"b\"\n  ],\n");
    _ = write!(expected, "  \"state_directory\":1,\n  \"username\":\"dcos_c\"\n}}");
    assert_eq!(documents.pkginfo, expected);
    assert!(documents.buildinfo_full.contains("\"version_extra\":\"1.2\""));
    assert!(documents.buildinfo_full.ends_with("\"variant\":null\n}"));
}

#[test]
fn recorded_hashes_are_the_same() {
    let Some(golden) = recordings() else { return };
    let text = fs_err::read_to_string(golden.join("hash_vectors.json")).unwrap();
    let vectors: Vec<(Value, String)> = serde_json::from_str(&text).unwrap();
    for (value, expected) in vectors {
        match hash_value(&value) {
            Ok(sum) => assert_eq!(sum.as_str(), expected, "{value}"),
            Err(_) => assert!(expected.starts_with("ERROR "), "{value}"),
        }
    }
}

#[test]
fn recorded_ids_and_documents_are_the_same() {
    let Some(golden) = recordings() else { return };
    let inputs = inputs(&golden);
    let tree = PackageTree::read(&inputs.path().join("inputs/trees/feat"), &[]).unwrap();
    let keys = all_keys(&tree);
    let ids = ids(&tree, &keys);
    let text = fs_err::read_to_string(golden.join("expected/feat/ids.json")).unwrap();
    let recorded: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    for (package, id) in &recorded {
        let (name, variant) = package.split_once(' ').unwrap();
        let identity = find(&ids, name, if variant == "<default>" { "" } else { variant });
        assert_eq!(&identity.id.to_string(), id);
        let folder = if variant == "<default>" { "default" } else { variant };
        let folder = golden.join("expected/feat").join(name).join(folder);
        let documents = ids.documents(tree.package(&identity.key).unwrap(), identity);
        // The recorder ended each file with a newline.
        let read = |file| fs_err::read_to_string(folder.join(file)).unwrap();
        // A build may overwrite them, and this one does.
        if name != "selfwrite" {
            assert_eq!(documents.pkginfo + "\n", read("pkginfo.json"), "{package}");
            assert_eq!(documents.buildinfo_full + "\n", read("buildinfo.full.json"), "{package}");
        }
    }
    assert_eq!(recorded.len(), keys.len());
}

#[test]
fn a_folders_hash_is_that_of_its_files_and_empty_folders() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("extra");
    let interrupt = Interrupt::default();
    let hash_folder = |root: &Path| FileHasher::new(u64::MAX, &interrupt).hash_folder(root);
    fs_err::create_dir_all(root.join("sub/empty")).unwrap();
    let hash = |value: Value| hash_value(&value).unwrap();
    assert_eq!(hash_folder(&root).unwrap(), hash(serde_json::json!({"sub/empty": ""})));
    write(&root, "sub/empty/f", "content");
    write(&root, "e", "");
    std::os::unix::fs::symlink("../e", root.join("sub/link")).unwrap();
    fs_err::create_dir(root.join("links")).unwrap();
    std::os::unix::fs::symlink("../sub", root.join("links/folder")).unwrap();
    let empty = Sha1Sum::of(b"").to_string();
    let expected = serde_json::json!({
        "sub/empty/f": Sha1Sum::of(b"content").to_string(), "e": empty, "sub/link": empty,
    });
    assert_eq!(hash_folder(&root).unwrap(), hash(expected));
    assert_eq!(hash_folder(&root.join("e")).unwrap(), hash(serde_json::json!({})));
    for (target, message) in
        [("nowhere", "to something that does not exist"), ("../out", "outside of")]
    {
        write(folder.path(), "out", "");
        let link = root.join("bad");
        std::os::unix::fs::symlink(target, &link).unwrap();
        let error = hash_folder(&root).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        fs_err::remove_file(link).unwrap();
    }
    let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(matches!(hash_folder(&root), Err(FolderError::Special(_))));
    drop(socket);
}

#[test]
fn large_files_and_those_without_an_end_are_refused_by_name_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("extra");
    write(&root, "a", "1234");
    write(&root, "sub/b", "1234");
    let interrupt = Interrupt::default();
    let hasher = FileHasher::new(8, &interrupt);
    for refused in [
        hasher.hash_file(&root.join("a")).err(),
        hasher.hash_folder(&root).err(),
        hasher.whole_sum(&root).err(),
    ] {
        assert!(refused.is_none(), "{refused:?}");
    }
    // A terabyte of nothing would take a quarter of an hour.
    let file = fs_err::File::create(root.join("sub/b")).unwrap();
    file.set_len(1 << 40).unwrap();
    let most = FileHasher::new(64 << 30, &interrupt);
    for refused in [
        most.hash_file(&root.join("sub/b")).unwrap_err(),
        most.hash_folder(&root).unwrap_err(),
        most.whole_sum(&root).unwrap_err(),
    ] {
        assert!(refused.to_string().contains("sub/b has 1099511627776 bytes"), "{refused}");
        assert!(refused.hint().unwrap().contains("limits.unpacked"));
    }
    // All of a folder counts.
    file.set_len(5).unwrap();
    assert!(matches!(hasher.hash_folder(&root), Err(FolderError::TooLarge { .. })));
    assert!(matches!(hasher.whole_sum(&root), Err(FolderError::TooLarge { .. })));
    for special in ["fifo", "link"] {
        let path = root.join(special);
        match special {
            "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
        }
        let refused = hasher.hash_file(&path).unwrap_err();
        assert!(matches!(refused, FolderError::Unreadable(_)), "{special}: {refused}");
        let refused = most.hash_folder(&root).unwrap_err().to_string();
        assert!(refused.contains(special), "{refused}");
        fs_err::remove_file(path).unwrap();
    }
}

#[test]
fn an_interrupted_run_ends_a_hash() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "extra/a", "1234");
    let interrupt = Interrupt::default();
    interrupt.raise();
    let hasher = FileHasher::new(u64::MAX, &interrupt);
    let root = folder.path().join("extra");
    assert!(matches!(hasher.hash_file(&root.join("a")), Err(FolderError::Interrupted)));
    assert!(matches!(hasher.hash_folder(&root), Err(FolderError::Interrupted)));
    assert!(matches!(hasher.whole_sum(&root), Err(FolderError::Interrupted)));
}

#[test]
fn a_plan_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["a", "b", "c", "d"] {
        write(root, &format!("{name}/build"), "");
    }
    write(root, "a/buildinfo.json", "");
    write(root, "b/buildinfo.json", r#"{"requires": ["a"]}"#);
    write(root, "c/buildinfo.json", r#"{"requires": ["b"]}"#);
    write(root, "d/buildinfo.json", "");
    let old_tree = PackageTree::read(root, &[]).unwrap();
    let before = ids(&old_tree, &all_keys(&old_tree));
    write(root, "b/build", "changed");
    write(root, "b/buildinfo.json", r#"{"requires": ["a"], "environment": {"X": "1"}}"#);
    let tree = PackageTree::read(root, &[]).unwrap();
    let now = ids(&tree, &all_keys(&tree));
    let plan = plan(&tree, &now, |key, id| {
        let old = before.get(key).unwrap();
        CacheState {
            archive: old.id == *id && key.name.as_str() == "a",
            latest: Some(old.id.clone()),
            latest_build_ids: Some(before.build_ids(old_tree.package(key).unwrap(), old)),
        }
    });
    assert_eq!(plan.entries[0].action, Action::Cached);
    assert_eq!(plan.entries[3].action, Action::Build(Why::ArchiveMissing));
    assert_eq!(plan.to_build().count(), 3);
    let text = plan.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].ends_with("changed: the build script, environment)"), "{text}");
    assert!(lines[2].ends_with("changed: what it requires)"), "{text}");
}

#[test]
fn thousands_of_packages_have_ids_at_once() {
    let name = |index: usize| format!("package-{index:05}");
    let tree = PackageTree::in_memory((0..3_000).map(|index: usize| {
        let requires: Vec<String> =
            (1..=5).filter_map(|back| index.checked_sub(back * 29 + 300)).map(name).collect();
        (name(index), serde_json::json!({ "requires": requires }).to_string())
    }));
    let order = tree.resolve(&Variant::DEFAULT).unwrap().packages;
    let build = Sha1Sum::of(b"");
    let image: Sha256Sum = UBUNTU.parse().unwrap();
    let begin = std::time::Instant::now();
    let ids = identify_with::<Infallible>(&tree, &order, |_| {
        let (image, build) = (image.clone(), build.clone());
        Ok(Inputs { image, build, extra: None, heads: BTreeMap::new() })
    });
    let took = begin.elapsed();
    let ids = ids.unwrap();
    let most = ids.iter().map(|identity| identity.dependencies.len()).max();
    assert_eq!((ids.iter().count(), most > Some(100)), (3_000, true), "{most:?}");
    assert!(took.as_secs() < 5, "{took:?} with at most {most:?} dependencies");
}
