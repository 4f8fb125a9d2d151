use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::base::recorded::recordings;
use crate::package::PackageId;

/// Packages in folders, as a repository has them.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Makes a package: what its `pkginfo.json` says, and paths; `a -> b` is a link, `a/` a folder.
    fn package(&self, id: &str, info: &str, paths: &[&str]) -> PackageContents {
        self.folder(id, info, paths);
        self.read(id).unwrap()
    }

    fn folder(&self, id: &str, info: &str, paths: &[&str]) {
        let folder = self.0.path().join(id);
        fs_err::create_dir_all(&folder).unwrap();
        fs_err::write(folder.join("pkginfo.json"), info).unwrap();
        for text in paths {
            let (name, target) = text.split_once(" -> ").unwrap_or((text, ""));
            let path = folder.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs_err::create_dir_all(path).unwrap();
            } else if target.is_empty() {
                fs_err::write(path, name).unwrap();
            } else {
                symlink(target, path).unwrap();
            }
        }
    }

    fn read(&self, id: &str) -> Result<PackageContents, InstallError> {
        let id: PackageId = id.parse().unwrap();
        PackageContents::from_directory(&id, &self.0.path().join(id.to_string()))
    }
}

/// The plan as lines: `path`, `path/`, or `path -> target`.
fn lines(plan: &InstallPlan) -> Vec<String> {
    let lines = plan.nodes.iter().map(|(path, node)| {
        let path = String::from_utf8_lossy(path.as_bytes());
        match node {
            InstallNode::Directory => format!("{path}/"),
            InstallNode::Symlink(target) => {
                format!("{path} -> {}", String::from_utf8_lossy(target))
            }
            InstallNode::File(_) => path.into_owned(),
            InstallNode::Copy { package, file } => format!("{path} = {package} {file}"),
        }
    });
    lines.collect()
}

const OWN: [&str; 8] = [
    "active.buildinfo.full.json",
    "active/",
    "bin/",
    "environment",
    "environment.export",
    "etc/dcos-service-configuration.json",
    "etc/",
    "include/",
];

fn text<'a>(plan: &'a InstallPlan, path: &str) -> &'a str {
    let path = crate::archive::EntryPath::parse(path.as_bytes()).unwrap();
    match &plan.nodes[&path] {
        InstallNode::File(content) => std::str::from_utf8(content).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn folders_are_merged_and_all_else_is_linked() {
    let repository = Repository::new();
    let b = repository.package(
        "b--2",
        r#"{"requires": ["a"], "environment": {"Z": 5, "A": true}}"#,
        &["bin/b", "etc/x/two", "etc_master/m", "etc_agent/n", "share/no", "lib/empty/"],
    );
    let a = repository.package(
        "a--1",
        r#"{"environment": {"V": "x y"}}"#,
        &[
            "bin/a",
            "bin/alias -> a",
            "etc/x/one",
            "lib/dir -> /usr",
            "usr/inc/h",
            "include -> usr/inc",
        ],
    );
    let roles = ["master".to_owned()];
    let options = InstallOptions { roles: &roles, ..InstallOptions::bootstrap() };
    let plan = plan_install(&[b, a], &options).unwrap();
    let shown: Vec<String> =
        lines(&plan).into_iter().filter(|line| !OWN.contains(&line.as_str())).collect();
    let packages = "/opt/mesosphere/packages";
    assert_eq!(
        shown,
        [
            format!("active/a -> {packages}/a--1"),
            format!("active/b -> {packages}/b--2"),
            format!("bin/a -> {packages}/a--1/bin/a"),
            format!("bin/alias -> {packages}/a--1/bin/alias"),
            format!("bin/b -> {packages}/b--2/bin/b"),
            format!("etc/m -> {packages}/b--2/etc_master/m"),
            "etc/x/".to_owned(),
            format!("etc/x/one -> {packages}/a--1/etc/x/one"),
            format!("etc/x/two -> {packages}/b--2/etc/x/two"),
            format!("include/h -> {packages}/a--1/include/h"),
            "lib/".to_owned(),
            format!("lib/dir -> {packages}/a--1/lib/dir"),
            "lib/empty/".to_owned(),
        ]
    );
    assert_eq!(
        text(&plan, "environment.export"),
        "# Pkgpanda provided environment variables\n\
         export LD_LIBRARY_PATH=/opt/mesosphere/lib\n\
         export PATH=\"/opt/mesosphere/bin:$PATH\"\n\n\
         # package: a--1\nexport V='x y'\n\n# package: b--2\nexport Z=5\nexport A=True\n\n"
    );
    assert_eq!(text(&plan, "active.buildinfo.full.json"), "{\n  \"a\":null,\n  \"b\":null\n}");
    assert_eq!(text(&plan, "etc/dcos-service-configuration.json"), "{\n  \"sysctl\":{}\n}");
}

#[test]
fn units_are_copied_and_settings_are_those_of_units_that_are_there() {
    let repository = Repository::new();
    let info = r#"{"sysctl": {"a": {"k": 1, "l": "x"}, "absent": {"k": 2}}}"#;
    let paths = ["dcos.target.wants -> units", "units/a.service -> ../real/a", "real/a"];
    let a = repository.package("a--1", info, &paths);
    let wanted = ["a--1".parse().unwrap(), "own--1".parse().unwrap()];
    let plan = plan_install(std::slice::from_ref(&a), &InstallOptions::staging(&wanted)).unwrap();
    for line in [
        "a.service = a--1 ./real/a",
        "dcos.target.wants/a.service -> /opt/mesosphere/a.service",
        "packages/own--1/",
    ] {
        assert!(lines(&plan).contains(&line.to_owned()), "{:?}", lines(&plan));
    }
    let configuration = text(&plan, "etc/dcos-service-configuration.json");
    assert_eq!(
        configuration,
        "{\n  \"sysctl\":{\n    \"a\":{\n      \"k\":1,\n      \"l\":\"x\"\n    }\n  }\n}"
    );
    let out = tempfile::tempdir().unwrap();
    let root = out.path().join("root");
    plan.write(&root, |id| repository.0.path().join(id.to_string())).unwrap();
    assert_eq!(fs_err::read_to_string(root.join("a.service")).unwrap(), "real/a");
    assert!(root.join("packages/a--1").is_dir());
    assert_eq!(
        fs_err::read_link(root.join("active/a")).unwrap(),
        Path::new("/opt/mesosphere/packages/a--1")
    );
    assert!(plan.write(&root, |_| root.clone()).is_err(), "what is there is not written over");
    let elsewhere = InstallOptions {
        units: Units::Elsewhere("/etc/systemd/system"),
        ..InstallOptions::bootstrap()
    };
    let plan = plan_install(&[a], &elsewhere).unwrap();
    assert_eq!(plan.units.len(), 1);
    assert!(
        lines(&plan)
            .contains(&"dcos.target.wants/a.service -> /etc/systemd/system/a.service".to_owned())
    );
}

#[test]
fn no_unit_takes_the_place_of_what_the_root_has() {
    let repository = Repository::new();
    let names = ["environment", "environment.export", "active", "active.buildinfo.full.json"];
    for name in names.into_iter().chain(["bin", "etc", "include", "lib", WANTS]) {
        let id = format!("{}--1", name.replace('.', "_"));
        let package = repository.package(&id, "{}", &[&format!("{WANTS}/{name}")]);
        let plan = |folder| {
            let units = Units::Elsewhere(folder);
            let options = InstallOptions { units, ..InstallOptions::bootstrap() };
            plan_install(std::slice::from_ref(&package), &options)
        };
        assert!(plan("/etc/systemd/system").is_ok(), "{name}");
        let said = plan(INSTALL_ROOT).unwrap_err().to_string();
        assert!(said.contains(&format!("./{name}")) && said.contains(&id), "{said}");
    }
}

#[test]
fn a_unit_that_became_a_link_is_not_followed() {
    let repository = Repository::new();
    let a = repository.package("a--1", "{}", &["dcos.target.wants/a.service"]);
    let plan = plan_install(&[a], &InstallOptions::staging(&[])).unwrap();
    let unit = repository.0.path().join("a--1/dcos.target.wants/a.service");
    fs_err::remove_file(&unit).unwrap();
    symlink("/etc/passwd", &unit).unwrap();
    let out = tempfile::tempdir().unwrap();
    assert!(
        plan.write(&out.path().join("r"), |id| repository.0.path().join(id.to_string())).is_err()
    );
    assert!(!out.path().join("r/a.service").exists());
}

/// What keeps a package `q--1` like this, and perhaps a second one, from being installed.
fn complaint(info: &str, paths: &[&str], other: Option<(&str, &str, &[&str])>) -> String {
    let repository = Repository::new();
    repository.folder("q--1", info, paths);
    let mut packages = Vec::new();
    let read = repository.read("q--1").and_then(|package| {
        packages.push(package);
        if let Some((id, info, paths)) = other {
            repository.folder(id, info, paths);
            packages.push(repository.read(id)?);
        }
        plan_install(&packages, &InstallOptions::staging(&[]))
    });
    let error = read.expect_err(info);
    error.to_string().replace(&format!("{}/", repository.0.path().display()), "")
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    type Case<'a> = (&'a str, &'a [&'a str], Option<(&'a str, &'a str, &'a [&'a str])>, &'a str);
    let e = "{}";
    let cases: &[Case<'_>] = &[
        ("{", &[], None, "package q--1 cannot be installed\nq--1/pkginfo.json:1:"),
        ("[]", &[], None, "pkginfo.json must be an object"),
        (r#"{"environment": {"PATH": "x"}}"#, &[], None, "\"PATH\": no package may set"),
        (r#"{"environment": {"A": ["x"]}}"#, &[], None, "the value of A must be"),
        (r#"{"environment": {"A": "x\ny"}}"#, &[], None, "A has more than one line"),
        (r#"{"environment": {"A": "x\ufdef"}}"#, &[], None, "the value of A has U+FDEF, which is"),
        (r#"{"environment": {"A": "\uffff"}}"#, &[], None, "the value of A has U+FFFF, which is"),
        (r#"{"environment": {"A\nB": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"A=B": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"A-B": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"1A": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"Ä": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"A;touch x;B": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"environment": {"A ": "x"}}"#, &[], None, "can't be the name of a variable"),
        (r#"{"group": "nogroup"}"#, &[], None, "a group without a username"),
        (r#"{"username": "root"}"#, &[], None, "not a valid user name"),
        (r#"{"state_directory": "x"}"#, &[], None, "must be true or false"),
        (r#"{"requires": ["a--1"]}"#, &[], None, "exact package id"),
        (r#"{"requires": ["a"]}"#, &[], None, "package q--1 requires a, which is not"),
        (r#"{"sysctl": {"s": {"k": 1}}}"#, &[], None, "q--1 has sysctl settings, but no *.service"),
        (e, &["bin"], None, "./bin is not a folder of the package"),
        (e, &["bin -> /usr/bin"], None, "./bin is not a folder"),
        (e, &["bin -> ../r--1/bin"], None, "./bin is not a folder"),
        (e, &["bin -> ../usr", "usr/x"], None, "./bin is not a folder"),
        (e, &["bin -> bin"], None, "./bin is not a folder"),
        (e, &["dcos.target.wants"], None, "./dcos.target.wants is not a folder"),
        (
            e,
            &["dcos.target.wants/dcos-setup.service"],
            None,
            "unit dcos-setup.service, whose name is reserved",
        ),
        (e, &["dcos.target.wants/a.service/x"], None, "dcos.target.wants/a.service is not a file"),
        (e, &["dcos.target.wants/a.service -> /etc/passwd"], None, "a.service is not a file"),
        (
            e,
            &["dcos.target.wants/environment"],
            None,
            "the install itself and package q--1 both have ./environment",
        ),
        (
            e,
            &["etc/dcos-service-configuration.json"],
            None,
            "the install itself and package q--1 both",
        ),
        (
            e,
            &["bin/x"],
            Some(("r--1", e, &["bin/x"])),
            "package q--1 and package r--1 both have ./bin/x",
        ),
        (
            e,
            &["etc/x"],
            Some(("r--1", e, &["etc/x/y"])),
            "./etc/x is a folder of package r--1 and a file of package q--1",
        ),
        (
            e,
            &["etc/x/y"],
            Some(("r--1", e, &["etc/x -> y"])),
            "./etc/x is a folder of package q--1 and a file of package r--1",
        ),
        (e, &[], Some(("q--2", e, &[])), "packages q--1 and q--2 have one name"),
        (e, &[], Some(("q--1", e, &[])), "package q--1 is given twice"),
        (
            r#"{"environment": {"A": "1"}}"#,
            &[],
            Some(("r--1", r#"{"environment": {"A": "1"}}"#, &[])),
            "packages q--1 and r--1 both set the variable A",
        ),
        (
            r#"{"sysctl": {"q": {"k": 1}}}"#,
            &["x/q.service"],
            Some(("r--1", r#"{"sysctl": {"r": {"k": "1"}}}"#, &["y/r.service"])),
            "the sysctl k is set to 1 for q (package q--1), but to \"1\" for r (package r--1)",
        ),
        (e, &["buildinfo.full.json"], None, "q--1/buildinfo.full.json:1:1: this is not valid JSON"),
    ];
    for (info, paths, other, message) in cases {
        let said = complaint(info, paths, *other);
        assert!(said.contains(message), "{message}\n{said}");
    }
    let repository = Repository::new();
    fs_err::create_dir(repository.0.path().join("q--1")).unwrap();
    assert!(repository.read("q--1").unwrap_err().to_string().contains("no file pkginfo.json"));
    symlink("/etc/passwd", repository.0.path().join("q--1/pkginfo.json")).unwrap();
    assert!(repository.read("q--1").unwrap_err().to_string().contains("no file pkginfo.json"));
}

#[test]
fn what_a_build_left_is_checked_for_what_no_host_takes() {
    let check_with = |info: &str, paths: &[&str]| {
        let repository = Repository::new();
        repository.folder("q--1", info, paths);
        let id = "q--1".parse().unwrap();
        PackageContents::check_built(&id, &repository.0.path().join("q--1"))
            .map_err(|e| e.to_string())
    };
    let check = |paths: &[&str]| check_with(r#"{"requires": "found elsewhere"}"#, paths);
    assert_eq!(check(&["other/dcos.target", "dcos.target.wants/x/dcos.target", "bin/x"]), Ok(()));
    // As a build script may write it.
    for info in ["{}", r#"{"environment": []}"#, r#"{"environment": {"_A1": [], "PATH": 1}}"#] {
        assert_eq!(check_with(info, &[]), Ok(()), "{info}");
    }
    for info in ["", "[]", "{", "text"] {
        assert!(check_with(info, &[]).unwrap_err().contains("pkginfo.json"), "{info}");
    }
    for name in ["A B", "A.B", "", "-n", "$A", "A\\n"] {
        let said =
            check_with(&format!(r#"{{"environment": {{"{name}": "x"}}}}"#), &[]).unwrap_err();
        assert!(said.contains("can't be the name of a variable"), "{said}");
    }
    let said = check_with(r#"{"environment": {"A": "x", "B": "\ufffe"}}"#, &[]).unwrap_err();
    assert!(said.contains("q--1") && said.contains("the value of B has U+FFFE"), "{said}");
    for (paths, message) in [
        (&["dcos.target.wants_master/dcos.target"][..], "the unit dcos.target"),
        (&["dcos.target.wants -> u", "u/dcos-download.service"], "the unit dcos-download.service"),
        (&["dcos.target.wants"], "is not a folder"),
        (&["dcos.target.wants_x -> /etc"], "is not a folder"),
    ] {
        let said = check(paths).unwrap_err();
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn another_variant_is_warned_of() {
    let repository = Repository::new();
    repository.folder("a--1", "{}", &[]);
    let file = repository.0.path().join("a--1/buildinfo.full.json");
    fs_err::write(file, r#"{"variant": null}"#).unwrap();
    let info = r#"{"requires": [{"name": "a", "variant": "nope"}]}"#;
    let packages = [repository.read("a--1").unwrap(), repository.package("bv--1", info, &[])];
    let plan = plan_install(&packages, &InstallOptions::bootstrap()).unwrap();
    assert_eq!(plan.warnings.len(), 1, "{:?}", plan.warnings);
}

#[test]
fn a_recorded_bootstraps_install_is_the_same() {
    let Some(recordings) = recordings() else { return };
    let tree = recordings.join("expected/trees/tree_default/0");
    let id = fs_err::read_to_string(tree.join("bootstrap.latest")).unwrap();
    let recorded = |kind: &str| {
        let path = tree.join(format!("{}.bootstrap.tar.xz.{kind}", id.trim()));
        fs_err::read_to_string(path).unwrap()
    };
    let listing = recorded("listing.txt");
    let repository = Repository::new();
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut own: BTreeMap<String, usize> = BTreeMap::new();
    for line in listing.lines() {
        let (left, right) = line.split_once(" ./").unwrap();
        let size = left.split_whitespace().last().unwrap().parse().unwrap();
        let (path, target) = right.split_once(" -> ").unwrap_or((right, ""));
        let path = path.split(' ').next().unwrap();
        if let Some((id, path)) = path.strip_prefix("packages/").and_then(|p| p.split_once('/')) {
            let paths = packages.entry(id.to_owned()).or_default();
            if !["", "pkginfo.json", "buildinfo.full.json"].contains(&path) {
                paths.push(path.to_owned());
            }
        } else if !path.is_empty() && !path.starts_with("packages/") && path != "bootstrap" {
            let arrow =
                if target.is_empty() { String::new() } else { format!(" -> {}", target.trim()) };
            own.insert(format!("{path}{arrow}"), size);
        }
    }
    let mut contents = Vec::new();
    for (id, paths) in &packages {
        let (name, _) = id.split_once("--").unwrap();
        let folder = recordings.join("expected/feat").join(name);
        let folder = folder.join(if name == "var" { "one" } else { "default" });
        let read = |file| fs_err::read_to_string(folder.join(file)).unwrap();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        repository.folder(id, &read("pkginfo.json"), &paths);
        let file = repository.0.path().join(id).join("buildinfo.full.json");
        fs_err::write(file, read("buildinfo.full.json")).unwrap();
        contents.push(repository.read(id).unwrap());
    }
    let plan = plan_install(&contents, &InstallOptions::bootstrap()).unwrap();
    let mut ours = lines(&plan);
    ours.sort();
    assert_eq!(ours, own.keys().map(String::as_str).collect::<Vec<_>>());
    for (path, size) in own.iter().filter(|(_, size)| **size > 0) {
        assert_eq!(text(&plan, path).len(), *size, "{path}");
    }
    assert_eq!(
        text(&plan, "active.buildinfo.full.json"),
        recorded("active.buildinfo.full.json").trim_end()
    );
    let service = recorded("etc_dcos-service-configuration.json");
    assert_eq!(text(&plan, "etc/dcos-service-configuration.json"), service.trim_end());
    // The recorder sorted the blocks, so one of the two empty ones is not where it was.
    for file in ["environment", "environment.export"] {
        let blocks = recorded(&format!("{file}.txt")).replacen("\n\n\n\n", "\n\n", 1) + "\n\n";
        assert_eq!(text(&plan, file), blocks);
    }
}

#[test]
fn a_package_that_has_a_file_twice_is_not_said_to_be_two() {
    let repository = Repository::new();
    let package = repository.package("q--1", "{}", &["etc/x", "etc_master/x"]);
    let roles = ["master".to_owned()];
    let options = InstallOptions { roles: &roles, ..InstallOptions::staging(&[]) };
    let error = plan_install(&[package], &options).unwrap_err().to_string();
    assert_eq!(error, "package q--1 has ./etc/x twice, in folders for roles of this machine");
}
