//! Each bad tree of `tests/data/bad/tree/` has a snapshot of what is said about it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::base::digest::Sha1Sum;
use crate::base::recorded::{inputs, recordings};
use crate::base::remedy::with_hint;

fn key(name: &str, variant: Option<&str>) -> PackageKey {
    let variant = variant.map(|text| text.parse().unwrap()).unwrap_or_default();
    PackageKey { name: name.parse().unwrap(), variant }
}

fn keys(names: &[&str]) -> Vec<PackageKey> {
    names.iter().map(|name| key(name, None)).collect()
}

/// Writes packages: path below the packages directory, content.
fn packages(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
    folder
}

fn complaint(case: &Path) -> String {
    let command = fs_err::read_to_string(case.join("command")).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let root = case.join("packages");
    let variant = |index: usize| words.get(index).map(|text| text.parse().unwrap());
    let outcome = match words[0] {
        "upstream" => read_upstream(&root).map(drop),
        "tree" => PackageTree::read(&root, &[])
            .and_then(|tree| tree.resolve(&variant(1).unwrap_or_default()).map(drop)),
        "package" => PackageTree::read(&root, &[]).and_then(|tree| {
            let wanted = tree.wanted(&words[1].parse().unwrap(), variant(2).as_ref())?;
            tree.resolve_packages(&wanted).map(drop)
        }),
        other => panic!("{other}"),
    };
    let error = outcome.expect_err(&format!("{} is let through", case.display()));
    with_hint(&error, error.hint().as_deref())
        .replace(&format!("{}/", root.display()), "")
        .replace(&root.display().to_string(), "<packages>")
}

#[test]
fn every_bad_tree_is_refused_by_name_and_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad/tree");
    let cases: BTreeSet<PathBuf> =
        fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut all = String::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy();
        _ = write!(all, "## {name}\n{}\n\n", complaint(&case));
    }
    insta::with_settings!({
        snapshot_path => "../../tests/data/bad",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!("tree", all) });
}

#[test]
fn a_tree_has_its_packages_in_order_and_its_bootstrap() {
    let folder = packages(&[
        (
            "treeinfo.json",
            r#"{"exclude": ["out", "nowhere"], "variants": {"v": "one"}, "bootstrap_package_list": ["b"]}"#,
        ),
        ("core.treeinfo.json", r#"{"core_package_list": ["a"]}"#),
        ("a/buildinfo.json", r#"{"requires": ["c"]}"#),
        ("a/build", ""),
        ("b/buildinfo.json", r#"{"requires": [{"name": "v", "variant": "one"}]}"#),
        ("b/build", ""),
        ("c/buildinfo.json", ""),
        ("c/build", ""),
        ("v/one.buildinfo.json", ""),
        ("v/one.build", ""),
        ("out/buildinfo.json", "{"),
        (".hidden/buildinfo.json", "{"),
        ("cache/buildinfo.json", "{"),
        ("plain/readme", ""),
    ]);
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    let names: Vec<_> = tree.tree_variants().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["<default>", "core"]);
    let set = tree.resolve(&Variant::DEFAULT).unwrap();
    let v = key("v", Some("one"));
    assert_eq!(set.packages, [keys(&["c", "a"]), vec![v.clone(), key("b", None)]].concat());
    assert_eq!(set.bootstrap, [v.clone(), key("b", None)]);
    assert_eq!(set.warnings.len(), 1, "only of the package that is called cache");
    let core = tree.resolve(&"core".parse().unwrap()).unwrap();
    assert_eq!(core.packages, keys(&["c", "a"]));
    assert_eq!(core.bootstrap, core.packages);
    assert_eq!(tree.dependencies(&key("b", None)), BTreeSet::from([v]));
    let name = |path: &str| tree.name_of_folder(&folder.path().join(path));
    assert_eq!(name("a").unwrap().as_str(), "a");
    assert!(matches!(name("plain"), Err(TreeError::NotAPackage(_))));
    assert_eq!(typed_variant("default"), Ok(Variant::DEFAULT));
    assert!(typed_variant("").is_err());
}

#[test]
fn an_upstream_adds_what_is_not_nearer() {
    let own = packages(&[
        ("treeinfo.json", r#"{"core_package_list": ["b", "c"]}"#),
        ("b/buildinfo.json", r#"{"requires": ["a"]}"#),
        ("b/build", "own"),
    ]);
    let near = packages(&[
        ("treeinfo.json", "{"),
        ("other.treeinfo.json", "{}"),
        ("a/buildinfo.json", ""),
        ("a/build", "near"),
        ("b/buildinfo.json", "{"),
        ("b/x.buildinfo.json", ""),
    ]);
    let far = packages(&[
        ("a/buildinfo.json", "{"),
        ("a/y.buildinfo.json", ""),
        ("c/buildinfo.json", ""),
        ("c/build", "far"),
        ("c/docker/Dockerfile", ""),
    ]);
    let upstreams = [near.path().to_owned(), far.path().to_owned()];
    let tree = PackageTree::read(own.path(), &upstreams).unwrap();
    assert_eq!(tree.tree_variants().unwrap().len(), 1);
    let set = tree.resolve(&Variant::DEFAULT).unwrap();
    assert_eq!(set.packages, keys(&["a", "b", "c"]));
    let script = |name| tree.package(&key(name, None)).unwrap().build_script();
    assert_eq!(script("a"), near.path().join("a/build"));
    assert_eq!(script("b"), own.path().join("b/build"));
    assert_eq!(tree.wanted(&"b".parse().unwrap(), None).unwrap(), keys(&["b"]));
    assert_eq!(set.warnings.len(), 1, "c has a docker folder and doesn't name it");
    let image = |text: &str| tree.docker_folder(&text.parse().unwrap()).map(|found| found.tag);
    let sum = Sha1Sum::of(b"");
    assert_eq!(image("dcos/dcos-builder:c_dockerdir-latest"), Some(DockerFolderTag::Latest));
    let found = image(&format!("dcos/dcos-builder:c_dockerdir-{sum}"));
    assert_eq!(found, Some(DockerFolderTag::Sum(sum)));
    assert_eq!(image("dcos/dcos-builder:a_dockerdir-latest"), None);
    let missing = PackageTree::read(own.path(), &[far.path().join("none")]);
    assert!(matches!(missing, Err(TreeError::UpstreamWithoutPackages(_))));
}

#[test]
fn an_upstream_that_leads_back_is_a_cycle() {
    let local = |path: &str| format!(r#"{{"kind": "git_local", "rel_path": "{path}"}}"#);
    let folder = packages(&[
        ("a/packages/upstream.json", &local("../../b")),
        ("b/packages/upstream.json", &local("../../c/../b")),
        ("c/x", ""),
    ]);
    let mut chain = UpstreamChain::default();
    let (a, b) = (folder.path().join("a/packages"), folder.path().join("b/packages"));
    chain.push(&a, &read_upstream(&a).unwrap().unwrap()).unwrap();
    let error = chain.push(&b, &read_upstream(&b).unwrap().unwrap()).unwrap_err();
    assert!(matches!(error, TreeError::UpstreamCycle(cycle) if cycle.len() == 2));
    assert_eq!(read_upstream(&folder.path().join("c")).unwrap(), None);
}

#[test]
fn odd_trees_are_warned_of() {
    let folder = packages(&[
        ("treeinfo.json", r#"{"variants": {"nope": "zz"}}"#),
        ("p/buildinfo.json", r#"{"group": "nogroup"}"#),
        ("p/build", ""),
        ("empty.treeinfo.json", r#"{"core_package_list": [], "exclude": ["p"]}"#),
    ]);
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    let warnings = tree.resolve(&Variant::DEFAULT).unwrap().warnings;
    let texts: Vec<&str> = warnings.iter().map(Report::message).collect();
    assert!(texts[0].starts_with("a group without a username"), "{texts:?}");
    assert_eq!(texts[1..], ["variants names nope, and there is no such package"]);
    let empty = tree.resolve(&"empty".parse().unwrap()).unwrap();
    assert_eq!(empty.warnings[0].message(), "this tree has no packages");
}

#[test]
fn names_that_are_not_utf8_are_told_of_when_they_matter() {
    use std::os::unix::ffi::OsStrExt;
    let folder = packages(&[("p/buildinfo.json", ""), ("p/build", ""), ("treeinfo.json", "")]);
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    fs_err::create_dir(folder.path().join(odd)).unwrap();
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    assert!(tree.resolve(&Variant::DEFAULT).is_ok());
    fs_err::write(folder.path().join(odd).join("buildinfo.json"), "").unwrap();
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    assert!(tree.resolve(&Variant::DEFAULT).unwrap_err().to_string().contains("not UTF-8"));
    assert!(tree.resolve_packages(&keys(&["p"])).is_ok());
    let name = std::ffi::OsStr::from_bytes(b"\xff.buildinfo.json");
    fs_err::write(folder.path().join("p").join(name), "").unwrap();
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    assert!(tree.wanted(&"p".parse().unwrap(), None).is_err());
    fs_err::write(folder.path().join("p/buildinfo.json"), b"{\n\"docker\": \"\xff\"}").unwrap();
}

#[test]
fn bytes_that_are_not_utf8_have_a_place() {
    let folder = packages(&[("p/build", "")]);
    let path = folder.path().join("p/buildinfo.json");
    fs_err::write(&path, b"{\n\"docker\": \"\xff\"}").unwrap();
    let tree = PackageTree::read(folder.path(), &[]).unwrap();
    let error = tree.resolve_packages(&keys(&["p"])).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2:12: this is not UTF-8", path.display())), "{error}");
}

/// What the original refused is refused here, except for what only shows when sources are fetched
/// or the package is built or staged.
#[test]
fn what_the_original_refused_is_refused() {
    let Some(recordings) = recordings() else { return };
    let inputs = inputs(&recordings);
    let errors = inputs.path().join("inputs/errors");
    let read = |path: PathBuf| -> BTreeMap<String, serde_json::Value> {
        serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap()
    };
    let commands = read(inputs.path().join("inputs/errors.json"));
    let mut different = Vec::new();
    for (name, result) in read(recordings.join("expected/errors/results.json")) {
        let root = errors.join(&name);
        let command = commands[&name]["cmd"].as_str().unwrap();
        if name.starts_with("cli_") || name == "variant_empty" || !root.exists() {
            continue;
        }
        let upstream = read_upstream(&root).map(drop);
        let tree = PackageTree::read(&root, &[]);
        let outcome = upstream.and(tree).and_then(|tree| {
            if command.starts_with("mkpanda tree") {
                return tree
                    .tree_variants()?
                    .iter()
                    .try_for_each(|variant| tree.resolve(variant).map(drop));
            }
            let folder =
                tree.name_of_folder(&root.join(commands[&name]["cwd"].as_str().unwrap()))?;
            tree.resolve_packages(&tree.wanted(&folder, None)?).map(drop)
        });
        if outcome.is_err() != (result["rc"] == 1) {
            different.push(name);
        }
    }
    assert_eq!(
        different,
        [
            "bi_version_extra",
            "build_script_noexec",
            "dep_same_env",
            "dep_sysctl_no_service",
            "src_bad_sha1",
            "src_git_bad_origin",
            "src_git_local_absent",
            "src_git_no_repo",
            "src_missing_file",
            "src_unsupported_archive",
            "tree_file_vs_dir",
            "unit_restricted_1",
            "unit_wants_is_file",
        ]
    );
}

#[test]
fn thousands_of_packages_resolve_at_once() {
    let name = |index: usize| format!("package-{index:05}");
    let tree = PackageTree::in_memory((0..3_000).map(|index: usize| {
        let requires: Vec<String> =
            (1..=5).filter_map(|back| index.checked_sub(back * 599)).map(name).collect();
        (name(index), serde_json::json!({ "requires": requires }).to_string())
    }));
    let begin = std::time::Instant::now();
    assert_eq!(tree.resolve(&Variant::DEFAULT).unwrap().packages.len(), 3_000);
    let took = begin.elapsed();
    assert!(took.as_secs() < 5, "{took:?}");
}

mod links;
