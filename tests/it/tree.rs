//! Building trees: what is built and what is not, in which order, and what lies in the cache.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::interrupt::Gate;
use crate::support::{Place, files_below, ran};

/// Names of a cache's files, ids cut to the package's name.
pub fn cache_of(place: &Place) -> Vec<String> {
    let cache = place.packages.join("cache");
    let found = files_below(&cache);
    found
        .iter()
        .map(|path| place.generic(&path.strip_prefix(&cache).unwrap().display().to_string()))
        .collect()
}

/// The packages of which the output says that they were built, in this order.
pub fn built(stderr: &str) -> Vec<String> {
    let lines = stderr.lines().filter_map(|line| line.trim_start().strip_prefix("built "));
    lines.map(|line| line.split("--").next().unwrap().to_owned()).collect()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_package_starts_when_its_own_dependencies_are_there() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    let gate = Gate::new();
    place.package("a_slow", "{}", &gate.script());
    place.package("b", "{}", "");
    place.package("c", r#"{"requires": ["a_slow"]}"#, "");
    place.package("d", r#"{"requires": ["b"]}"#, "");
    let child = place.command(".", &["tree", "-j2"]).stderr(std::process::Stdio::piped()).spawn();
    let child = child.unwrap();
    let latest = |name: &str| place.packages.join(format!("cache/packages/{name}/latest"));
    // While a_slow runs: b beside it, and then d, which needs nothing but b.
    wait_for("d", || latest("d").exists());
    assert!(!latest("a_slow").exists() && !latest("c").exists());
    gate.open(1);
    let ran = ran(&child.wait_with_output().unwrap()).ok();
    assert_eq!(built(&ran.stderr), ["b", "d", "a_slow", "c"]);
    place.assert_clean();
}

#[test]
fn builds_together_are_told_of_no_more_cores_than_there_are() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    let now = "cut -d' ' -f1 /proc/uptime";
    let script = format!("{{ {now}; sleep 0.1; {now}; echo $NUM_CORES; }} > $PKG_PATH/times");
    for name in ["a", "b", "c", "d"] {
        place.package(name, "{}", &script);
    }
    place.package("e", r#"{"requires": ["a", "b", "c", "d"]}"#, &script);
    place.run(".", &["tree"]).ok();
    let cores = std::thread::available_parallelism().unwrap().get();
    let runs: Vec<(f64, f64, usize)> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|name| {
            let times = place.file_of(name, "times");
            let lines: Vec<&str> = times.lines().collect();
            (lines[0].parse().unwrap(), lines[1].parse().unwrap(), lines[2].parse().unwrap())
        })
        .collect();
    for (began, ..) in &runs {
        let others = runs.iter().filter(|(from, to, _)| from <= began && began < to);
        let told: usize = others.map(|(.., cores)| cores).sum();
        assert!(told <= cores, "{told} of {cores}: {runs:?}");
    }
    assert_eq!(runs[4].2, cores, "the last one is alone");
}

#[test]
fn what_does_not_need_a_failed_package_is_built_if_one_keeps_going() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("bad", "{}", "exit 7");
    place.package("needs", r#"{"requires": ["bad"]}"#, "");
    place.package("needs_needs", r#"{"requires": ["needs"]}"#, "");
    place.package("other", "{}", "");
    let ran = place.run(".", &["tree", "-j1"]).fails(1).says("exited with code 7");
    assert_eq!(built(&ran.stderr), [""; 0]);
    let ran = place.run(".", &["tree", "-j1", "--keep-going"]).fails(1);
    assert_eq!(
        place.generic(&ran.stderr),
        "   build bad--<sha1>
  failed bad--<sha1> (build) after N s
   build other--<sha1>
   built other--<sha1> (1 of 4) in N s
  failed 1 built, 1 failed, 2 not built in N s
not built: needs--<sha1>, which needs bad--<sha1>
not built: needs_needs--<sha1>, which needs bad--<sha1>
error: bad--<sha1> failed (build): the build script exited with code 7
  log: <place>/home/builds/bad/bad--<sha1>/log
  hint: the whole log: mkpanda log bad
  hint: to look around in what it leaves, add --keep-failed to the command, and then: mkpanda shell bad --failed"
    );
    let left = ["packages/other/latest", "packages/other/other--<sha1>.tar.xz"];
    assert_eq!(cache_of(&place), left);
    place.assert_clean();
}

#[test]
fn nothing_is_built_twice_and_a_change_rebuilds_what_needs_it() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("a", "{}", "echo 1 > $PKG_PATH/a");
    place.package(
        "b",
        r#"{"requires": ["a"]}"#,
        "cat /opt/mesosphere/packages/a--*/a > $PKG_PATH/b",
    );
    place.package("c", r#"{"requires": ["b"]}"#, "");
    place.package("d", "{}", "");
    let dry = || place.generic(&place.run(".", &["tree", "--dry-run"]).ok().stdout);
    let never = "build  a--<sha1> (never built)\nbuild  b--<sha1> (never built)\nbuild  c--<sha1> (never built)\nbuild  d--<sha1> (never built)";
    assert_eq!(dry(), never);
    assert!(!place.packages.join("cache").exists(), "a dry run leaves nothing");
    let first = place.run(".", &["tree", "-j1"]).ok();
    assert_eq!(built(&first.stderr), ["a", "b", "c", "d"]);
    let state = || -> BTreeMap<_, _> {
        let files = files_below(&place.packages.join("cache"));
        files
            .into_iter()
            .map(|path| (path.clone(), path.metadata().unwrap().modified().unwrap()))
            .collect()
    };
    let before = state();
    let again = place.run(".", &["tree"]).ok();
    let nothing = "    done nothing to build: 4 packages are in the cache\n";
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", nothing));
    assert_eq!(state(), before, "nothing is touched");
    let cached = "cached a--<sha1>\ncached b--<sha1>\ncached c--<sha1>\ncached d--<sha1>";
    assert_eq!(dry(), cached);
    place.package("b", r#"{"requires": ["a"], "environment": {"X": "1"}}"#, "echo 2 > $PKG_PATH/b");
    insta::assert_snapshot!(dry(), @r"
    cached a--<sha1>
    build  b--<sha1> (last built as b--<sha1>; changed: the build script, environment)
    build  c--<sha1> (last built as c--<sha1>; changed: what it requires)
    cached d--<sha1>
    ");
    assert_eq!(built(&place.run(".", &["tree", "-j1"]).ok().stderr), ["b", "c"]);
    // Back to what it was: that is still there, and `latest` says so.
    let new = place.archive("b");
    place.package(
        "b",
        r#"{"requires": ["a"]}"#,
        "cat /opt/mesosphere/packages/a--*/a > $PKG_PATH/b",
    );
    assert_eq!(built(&place.run(".", &["tree"]).ok().stderr), [""; 0]);
    assert_ne!(place.archive("b"), new);
    assert_eq!(place.file_of("b", "b"), "1\n");
    std::fs::remove_file(place.archive("d")).unwrap();
    assert!(dry().contains("build  d--<sha1> (its archive is gone)"), "{}", dry());
    assert_eq!(built(&place.run(".", &["tree"]).ok().stderr), ["d"]);
}

#[test]
fn a_package_is_built_in_all_its_variants_or_in_one() {
    let place = Place::new();
    place.package("p", "{}", "echo $PKG_VARIANT > $PKG_PATH/v");
    place.write("p/one.buildinfo.json", r#"{"build_script": "build"}"#);
    place.write(
        "p/two.buildinfo.json",
        r#"{"build_script": "build", "requires": [{"name": "q", "variant": "x"}]}"#,
    );
    place.package("q", "{}", "");
    place.write("q/x.buildinfo.json", r#"{"build_script": "build"}"#);
    let there = || -> Vec<String> {
        cache_of(&place).into_iter().filter(|name| name.ends_with("latest")).collect()
    };
    place.run("p", &["--variant=one"]).ok();
    assert_eq!(there(), ["packages/p/one.latest"]);
    place.run("p", &["--variant=default"]).ok();
    assert_eq!(there(), ["packages/p/latest", "packages/p/one.latest"]);
    assert_eq!(place.file_of("p", "v"), "<default>\n");
    place.run("p", &["--recursive"]).ok();
    let all = [
        "packages/p/latest",
        "packages/p/one.latest",
        "packages/p/two.latest",
        "packages/q/x.latest",
    ];
    assert_eq!(there(), all);
    place
        .run("p", &["--variant=three"])
        .fails(1)
        .says("package p has no variant three: it has <default>, one, two");
}

#[test]
fn tree_variants_are_built_as_they_are_named() {
    let tree = || {
        let place = Place::new();
        place.write("treeinfo.json", r#"{"core_package_list": ["a"]}"#);
        place.write("two.treeinfo.json", r#"{"core_package_list": ["b"], "variants": {"b": "x"}}"#);
        place.write("three.treeinfo.json", r#"{"exclude": ["b"], "bootstrap_package_list": []}"#);
        place.package("a", "{}", "");
        place.package("b", "{}", "exit 1");
        place.write("b/x.buildinfo.json", "{}");
        place.write("b/x.build", "#!/bin/bash\n");
        std::fs::set_permissions(
            place.packages.join("b/x.build"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        place
    };
    let complete = |place: &Place| -> Vec<String> {
        let names = cache_of(place).into_iter();
        names.filter_map(|name| Some(name.strip_prefix("complete/")?.to_owned())).collect()
    };
    let place = tree();
    place.run(".", &["tree", "two"]).ok();
    assert_eq!(complete(&place), ["two.complete.latest.json"]);
    place.run(".", &["tree", "default", "two"]).ok();
    assert_eq!(complete(&place), ["complete.latest.json", "two.complete.latest.json"]);
    let place = tree();
    assert_eq!(built(&place.run(".", &["tree", "--variant=default"]).ok().stderr), ["a"]);
    assert_eq!(complete(&place), ["complete.latest.json"]);
    let ran = place.run(".", &["tree"]).ok();
    assert_eq!(built(&ran.stderr), ["b"], "each package once");
    assert_eq!(
        complete(&place),
        ["complete.latest.json", "three.complete.latest.json", "two.complete.latest.json"]
    );
    place.run(".", &["tree", "four"]).fails(1).says("has <default>, three, two");
}

#[test]
fn version_extra_stands_before_the_sum() {
    let place = Place::new();
    place.package("p", r#"{"version_extra": "1.2"}"#, "echo $PKG_VERSION > $PKG_PATH/v");
    place.run("p", &[]).ok().says("built p--1.2.");
    let version = place.file_of("p", "v");
    let sum = version.trim().strip_prefix("1.2.").unwrap();
    assert!(sum.len() == 40 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()), "{version}");
}

#[test]
fn two_at_once_on_one_tree_build_each_package_once() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    for name in ["a", "b", "c"] {
        place.package(name, "{}", "sleep 0.1");
    }
    place.package("d", r#"{"requires": ["a", "b", "c"]}"#, "");
    let start = || {
        let mut command = place.command(".", &["tree", "--mkbootstrap", "-j1"]);
        command.stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let (one, two) = (start(), start());
    let (one, two) = (one.wait_with_output().unwrap(), two.wait_with_output().unwrap());
    let (one, two) = (ran(&one).ok(), ran(&two).ok());
    let mut all = [built(&one.stderr), built(&two.stderr)].concat();
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d"], "{}\n{}", one.stderr, two.stderr);
    place.assert_clean();
}

#[test]
fn a_build_leaves_source_and_result_only_if_asked() {
    let place = Place::new();
    let info = r#"{"single_source": {"kind": "url", "url": "file://note", "sha1": "f572d396fae9206628714fb2ce00f72e94f2258f"}}"#;
    place.write("p/note", "hello\n");
    place.package(
        "p",
        info,
        "cp /pkg/src/p/note $PKG_PATH; mkdir /pkg/src/made; chmod 0 /pkg/src/made",
    );
    place.run("p", &["--dont-clean-after-build"]).ok();
    let folder = place.packages.join("cache/packages/p");
    assert!(folder.join("src/p/note").is_file() && folder.join("result/note").is_file());
    assert!(folder.join("result/pkginfo.json").is_file());
    place.assert_clean();
    // They are replaced, and without being asked for no others come.
    place.package("p", info, "touch $PKG_PATH/new");
    place.run("p", &["--dont-clean-after-build"]).ok();
    assert!(folder.join("result/new").is_file() && !folder.join("result/note").exists());
    place.package("q", "{}", "");
    place.run("q", &[]).ok();
    let mut names: Vec<_> = std::fs::read_dir(place.packages.join("cache/packages/q"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    place.assert_clean();
}

#[test]
fn a_dry_run_says_which_bootstraps_would_be_made() {
    let place = Place::new();
    place.write("treeinfo.json", r#"{"bootstrap_package_list": ["a"]}"#);
    place.package("a", "{}", "");
    place.package("b", "{}", "");
    let plan = |arguments: &[&str]| {
        place.run(".", &[&["tree", "--dry-run"], arguments].concat()).ok().stdout
    };
    let bootstrap = |plan: String| plan.lines().last().unwrap().to_owned();
    assert_eq!(plan(&[]).lines().count(), 2);
    let first = bootstrap(plan(&["--mkbootstrap"]));
    assert!(first.starts_with("build  bootstrap ") && first.ends_with("(never made)"), "{first}");
    place.run(".", &["tree"]).ok();
    assert_eq!(bootstrap(plan(&["--mkbootstrap"])), first, "packages alone make none");
    assert!(!place.packages.join("cache/bootstrap").exists());
    place.run(".", &["tree", "--mkbootstrap"]).ok();
    let there = bootstrap(plan(&["--mkbootstrap"]));
    assert!(there.starts_with("cached bootstrap "), "{there}");
    let id = first.split(' ').nth(3).unwrap();
    assert!(there.contains(id) && !id.is_empty(), "{first} {there}");
}

#[test]
fn each_path_names_its_variant() {
    let place = Place::new();
    place.package("a", "{}", "");
    place.write("a/x.buildinfo.json", "{}");
    let printed = place.run("a", &[]).ok().stdout;
    let lines: Vec<(&str, &str)> =
        printed.lines().map(|line| line.split_once(':').unwrap()).collect();
    let variants: Vec<&str> = lines.iter().map(|(variant, _)| *variant).collect();
    assert_eq!(variants, ["<default>", "x"]);
    assert!(lines.iter().all(|(_, path)| std::path::Path::new(path).is_file()), "{printed}");
}
