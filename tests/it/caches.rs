//! `mkpanda cache`: push, pull, stat, verify and index.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::server::{Reply, Server};
use crate::signing::{Key, beside, halve};
use crate::support::{Place, Ran, files_below, sha1};
use crate::tree::built;

/// A machine with a tree of two packages, one of which has a source, and a bootstrap.
fn machine() -> Place {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.write("low/greeting", "hello\n");
    let sum = sha1(b"hello\n");
    let low = format!(
        r#"{{"single_source": {{"kind": "url", "url": "file://greeting", "sha1": "{sum}"}}}}"#
    );
    place.package("low", &low, "cp /pkg/src/low/greeting $PKG_PATH/low");
    place.package(
        "top",
        r#"{"requires": ["low"]}"#,
        "cat /opt/mesosphere/packages/low--*/low > $PKG_PATH/top",
    );
    place
}

fn built_machine() -> Place {
    let place = machine();
    let ran = place.run(".", &["tree", "--mkbootstrap"]).ok();
    assert_eq!(built(&ran.stderr).len(), 2, "{}", ran.stderr);
    place
}

/// A store with all of a machine.
fn filled(place: &Place) -> PathBuf {
    let store = place.path().join("store");
    place.run(".", &["cache", "push", store.to_str().unwrap()]).ok();
    store
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("not JSON: {}", ran.stdout))
}

fn names(folder: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
    files_below(folder).into_iter().map(name).collect()
}

fn archive_in(store: &Path, name: &str) -> PathBuf {
    let found = files_below(&store.join("packages").join(name));
    found.into_iter().find(|path| path.to_string_lossy().ends_with(".tar.xz")).unwrap()
}

#[test]
fn what_one_machine_pushes_another_pulls() {
    let here = built_machine();
    let store = here.path().join("store");
    let place = store.to_str().unwrap();
    let ran = here.run(".", &["cache", "push", place, "--format=json"]).ok();
    let first = &json(&ran)["stores"][0];
    // Two packages, a bootstrap and a source.
    assert_eq!((&first["sent"], &first["present"]), (&4.into(), &0.into()), "{}", ran.stdout);
    assert!(ran.stderr.contains("sent packages/low/low--"), "{}", ran.stderr);
    let held = names(&store);
    for end in [".tar.xz", ".tar.xz.sha256", ".bootstrap.tar.xz", ".active.json", &sha1(b"hello\n")]
    {
        assert!(held.iter().any(|name| name.ends_with(end)), "{end} {held:?}");
    }
    // Nothing is sent twice.
    let ran = here.run(".", &["cache", "push", place, "--format=json"]).ok();
    let again = &json(&ran)["stores"][0];
    assert_eq!((&again["sent"], &again["present"]), (&0.into(), &4.into()), "{}", ran.stdout);
    assert_eq!(names(&store), held);

    let there = machine();
    std::fs::remove_file(there.packages.join("low/greeting")).unwrap();
    let ran = there.run(".", &["cache", "pull", place, "--format=json"]).ok();
    let pulled = json(&ran);
    assert_eq!((&pulled["fetched"], &pulled["present"]), (&4.into(), &0.into()), "{}", ran.stdout);
    for name in ["low", "top"] {
        let (ours, theirs) = (here.archive(name), there.archive(name));
        assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(theirs).unwrap(), "{name}");
    }
    let bootstraps = |place: &Place| names(&place.packages.join("cache/bootstrap"));
    assert_eq!(bootstraps(&here), bootstraps(&there));
    assert!(!there.home.join("builds").exists(), "nothing is built");
    there.assert_clean();
    let ran = there.run(".", &["cache", "pull", place]).ok();
    assert_eq!(ran.stdout, "0 fetched, 4 were there, 0 in no cache, 0 failed\n");
}

#[test]
fn a_selection_is_pushed_with_what_it_requires() {
    let here = built_machine();
    for (package, count) in [("low", 1), ("top", 2), ("./low/", 1)] {
        let store = here.path().join(format!("store of {}", package.replace(['.', '/'], "-")));
        let option = format!("--package={package}");
        here.run(".", &["cache", "push", store.to_str().unwrap(), &option]).ok();
        let archives = names(&store).into_iter().filter(|name| name.ends_with(".tar.xz"));
        assert_eq!(archives.count(), count, "{package}");
    }
    let store = here.path().join("none");
    let run = |option: &str| here.run(".", &["cache", "push", store.to_str().unwrap(), option]);
    run("--package=other").fails(1).says("other");
    run("--package=tpo").fails(1).says("hint: did you mean top?");
    run("--variant=other").fails(1).says("other");
    assert!(!store.exists());
}

#[test]
fn configured_caches_are_used_as_they_say() {
    let here = built_machine();
    here.run(".", &["cache", "push"]).fails(1).says("no shared cache is named");
    let [read, written] = ["read", "written"].map(|name| here.path().join(name));
    here.user(&format!(
        "[[cache]]\nurl = '{}'\nwrite = false\n\n[[cache]]\nurl = '{}'\nread = false\n",
        read.display(),
        written.display()
    ));
    here.run(".", &["cache", "push"]).ok();
    assert!(written.is_dir() && !read.exists());
    std::fs::create_dir(&read).unwrap();
    here.run(".", &["cache", "index"]).ok().stdout.contains(&written.display().to_string());
    assert!(written.join("index.json").exists() && names(&read).is_empty());
    std::fs::remove_file(written.join("index.json")).unwrap();
    std::fs::remove_file(written.join("index.html")).unwrap();
    let there = machine();
    there.user(&format!("[[cache]]\nurl = '{}'\nread = false\n", written.display()));
    there.run(".", &["cache", "pull"]).fails(1).says("no shared cache is named that is read");
    // A web server takes nothing.
    let server = Server::files(&written);
    here.run(".", &["cache", "push", &server.url("")]).fails(1).says("that can be written to");
    let ran = there.run(".", &["cache", "pull", &server.url("")]).ok();
    assert!(ran.stdout.starts_with("3 fetched, 1 were there"), "{}", ran.stdout);
}

#[test]
fn only_what_this_home_built_or_a_trusted_key_signed_is_pushed() {
    let here = built_machine();
    let store = filled(&here);
    // Another home has the same archives, and no record of them: they are there, so nothing is to be said.
    let there = machine();
    there.run(".", &["cache", "pull", store.to_str().unwrap()]).ok();
    there.run(".", &["cache", "push", store.to_str().unwrap()]).ok();
    let other = there.path().join("other");
    let ran = there.run(".", &["cache", "push", other.to_str().unwrap()]).fails(1);
    for text in ["low--", "top--", "bootstrap "] {
        let says = |line: &&str| line.contains(text) && line.contains("no record of making");
        assert!(ran.stderr.lines().any(|line| says(&line)), "{text}: {}", ran.stderr);
    }
    assert!(ran.stdout.contains("1 sent"), "the source: {}", ran.stdout);
    assert!(names(&other).iter().all(|name| name.starts_with("sources/")), "{:?}", names(&other));

    // An archive that was changed after its build is not sent.
    let archive = here.archive("low");
    let text = "mkdir u && tar -xJf \"$1\" -C u && echo evil > u/low && tar -cJf \"$1\" -C u .";
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("bash");
    command.args(["-euc", text, "-"]).arg(&archive).current_dir(folder.path());
    assert!(command.status().unwrap().success());
    let third = here.path().join("third");
    let ran = here.run(".", &["cache", "push", third.to_str().unwrap(), "--format=json"]).fails(1);
    let pushed = &json(&ran)["stores"][0];
    assert_eq!(pushed["failed"].as_array().unwrap().len(), 1, "{pushed:#}");
    assert!(pushed["failed"][0]["name"].as_str().unwrap().starts_with("low--"));
    assert!(!third.join("packages/low").exists() && third.join("packages/top").exists());
}

#[test]
fn a_bootstrap_made_of_unproven_packages_is_not_pushed() {
    let here = built_machine();
    let store = filled(&here);
    let there = machine();
    std::fs::remove_dir_all(store.join("bootstrap")).unwrap();
    let option = format!("--cache={}", store.display());
    let ran = there.run(".", &["tree", "--mkbootstrap", &option]).ok();
    assert!(ran.stderr.contains("not sent: it has low--"), "{}", ran.stderr);
    assert!(!store.join("bootstrap").exists());
    let ran = there.run(".", &["cache", "push", store.to_str().unwrap()]).fails(1);
    assert!(ran.stderr.contains("no record of building and no trusted key"), "{}", ran.stderr);
    // Who built the packages may send it.
    here.run(".", &["tree", "--mkbootstrap", &option]).ok();
    here.run(".", &["cache", "push", store.to_str().unwrap()]).ok();
    assert!(store.join("bootstrap").exists());
}

#[test]
fn builds_upload_their_bootstraps_and_take_those_of_others() {
    let here = machine();
    let store = here.path().join("store");
    let option = format!("--cache={}", store.display());
    here.run(".", &["tree", "--mkbootstrap", &option]).ok();
    let held = names(&store.join("bootstrap"));
    assert_eq!(held.len(), 3, "{held:?}");
    let there = machine();
    let ran = there.run(".", &["tree", "--mkbootstrap", &option]).ok();
    let made = PathBuf::from(ran.stdout.trim());
    let name = made.file_name().unwrap();
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert_eq!(bytes(&made), bytes(&store.join("bootstrap").join(name)));
    assert!(!there.home.join("bootstraps").exists(), "it was not made here");
    // A damaged one is made anew, and stays.
    let object = store.join("bootstrap").join(name);
    halve(&object);
    let half = bytes(&object);
    let third = machine();
    let ran = third.run(".", &["tree", "--mkbootstrap", &option]).ok();
    assert!(ran.stderr.contains("is damaged"), "{}", ran.stderr);
    assert_eq!((bytes(&object), bytes(Path::new(ran.stdout.trim()))), (half, bytes(&made)));
}

#[test]
fn signed_archives_are_passed_on_with_their_signatures() {
    let here = built_machine();
    let key = Key::new(here.path(), "good");
    let store = here.path().join("store");
    let sign = format!("--sign={}", key.secret.display());
    here.run(".", &["cache", "push", store.to_str().unwrap(), &sign]).ok();
    let signatures =
        |store: &Path| names(store).into_iter().filter(|name| name.ends_with(".minisig")).count();
    assert_eq!(signatures(&store), 3);
    let there = machine();
    let pull = ["cache", "pull", store.to_str().unwrap(), &key.option()];
    there.run(".", &pull).ok();
    let second = there.path().join("second");
    let push = ["cache", "push", second.to_str().unwrap()];
    there.run(".", &push).fails(1).says("no trusted key signed it");
    there.run(".", &[&push[..], &[&key.option()]].concat()).ok();
    assert_eq!(signatures(&second), 3);
    let verify = ["cache", "verify", second.to_str().unwrap(), &key.option()];
    there.run(".", &verify).ok();
    let other = Key::new(here.path(), "other");
    let third = machine();
    let ran = third
        .run(".", &["cache", "pull", store.to_str().unwrap(), &other.option()])
        .fails(1)
        .says("cannot be trusted");
    assert!(ran.stdout.starts_with("0 fetched, 1 were there"), "the source: {}", ran.stdout);
    assert!(!third.packages.join("cache/packages/top").exists());
}

#[test]
fn a_pull_names_what_is_damaged_and_what_no_cache_has() {
    let here = built_machine();
    let store = filled(&here);
    halve(&archive_in(&store, "low"));
    std::fs::remove_dir_all(store.join("packages/top")).unwrap();
    std::fs::write(store.join("sources/sha1").join(sha1(b"hello\n")), "evil\n").unwrap();
    std::fs::remove_dir_all(store.join("bootstrap")).unwrap();
    let there = machine();
    std::fs::remove_file(there.packages.join("low/greeting")).unwrap();
    let ran = there.run(".", &["cache", "pull", store.to_str().unwrap()]).fails(1);
    assert!(
        ran.stdout.contains("0 fetched, 0 were there, 2 in no cache, 2 failed"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("in no cache: top--"), "{}", ran.stdout);
    assert!(ran.stderr.contains("low--") && ran.stderr.contains("is damaged"), "{}", ran.stderr);
    assert!(ran.stderr.contains("low/low"), "{}", ran.stderr);
    there.assert_clean();
    // The second cache gives what the first has damaged.
    let whole = here.path().join("whole");
    here.run(".", &["cache", "push", whole.to_str().unwrap()]).ok();
    let options = [&store, &whole].map(|store| format!("--cache={}", store.display()));
    let ran = there.run(".", &["cache", "pull", &options[0], &options[1]]).ok();
    assert!(ran.stdout.starts_with("4 fetched"), "{}", ran.stdout);
}

#[test]
fn a_store_that_is_down_fails_for_all_and_is_not_asked_for_ever() {
    let here = machine();
    for number in 0..9 {
        here.package(&format!("p{number}"), "{}", "true");
    }
    here.run(".", &["tree"]).ok();
    let file = here.write("file", "");
    let store = file.join("store");
    let ran = here.run(".", &["cache", "push", store.to_str().unwrap(), "-j1", "--format=json"]);
    let pushed = &json(&ran.fails(1))["stores"][0];
    assert_eq!(pushed["failed"].as_array().unwrap().len(), 3, "{pushed:#}");
    assert_eq!((&pushed["sent"], &pushed["not_tried"]), (&0.into(), &9.into()), "{pushed:#}");
    let server = Server::start(|_request, _count| Reply::status(403));
    let ran = here.run(".", &["cache", "pull", &server.url(""), "-j1"]).fails(1);
    assert!(ran.stderr.contains("403"), "{}", ran.stderr);
}

#[test]
fn an_interrupted_push_leaves_whole_objects_and_the_next_goes_on() {
    let here = machine();
    for number in 0..12 {
        let script = "head -c 1000000 /dev/urandom > $PKG_PATH/data";
        here.package(&format!("p{number:02}"), "{}", script);
    }
    here.run(".", &["tree"]).ok();
    let store = here.path().join("store");
    let place = store.to_str().unwrap();
    let mut stopped = 0;
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let mut child = here
            .command(".", &["cache", "push", place, "-j1"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = names(&store).len();
        while names(&store).len() < before + 4 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
        nix::sys::signal::kill(pid, signal).unwrap_or_default();
        stopped += i32::from(!child.wait().unwrap().success());
        // Each archive is whole, if it is there.
        for name in names(&store).iter().filter(|name| name.ends_with(".tar.xz")) {
            let file = name.rsplit('/').next().unwrap();
            let ours = here.packages.join("cache").join(name);
            let same = std::fs::read(store.join(name)).unwrap() == std::fs::read(&ours).unwrap();
            assert!(same || file.starts_with(".tmp-"), "{name}");
        }
    }
    assert!(stopped > 0, "no push was stopped");
    let ran = here.run(".", &["cache", "push", place, "--format=json"]).ok();
    let pushed = &json(&ran)["stores"][0];
    assert!(pushed["present"].as_u64().unwrap() > 0, "{pushed:#}");
    here.run(".", &["cache", "verify", place]).ok();
}

#[test]
fn stat_counts_what_is_there() {
    let here = built_machine();
    let store = filled(&here);
    std::fs::write(store.join("note.txt"), "x").unwrap();
    let ran = here.run(".", &["cache", "stat", store.to_str().unwrap(), "--format=json"]).ok();
    let stat = &json(&ran)["stores"][0];
    assert_eq!(stat["store"], store.to_str().unwrap());
    let packages = &stat["packages"];
    assert_eq!((&packages["count"], &packages["versions"]), (&2.into(), &2.into()));
    for (kind, count) in [("bootstraps", 1), ("sources", 1), ("images", 0), ("other", 1)] {
        assert_eq!(stat[kind]["count"], count, "{kind}");
    }
    assert_eq!((&stat["sources"]["bytes"], &stat["other"]["bytes"]), (&6.into(), &1.into()));
    let ran = here.run(".", &["cache", "stat", store.to_str().unwrap()]).ok();
    assert!(ran.stdout.contains("2  versions of 2 packages, 0 signed"), "{}", ran.stdout);
    // A signature without its archive signs nothing.
    let archive = archive_in(&store, "low");
    std::fs::write(beside(&archive), "x").unwrap();
    let signed = || {
        let ran = here.run(".", &["cache", "stat", store.to_str().unwrap(), "--format=json"]).ok();
        json(&ran)["stores"][0]["packages"]["signed"].clone()
    };
    assert_eq!(signed(), 1);
    std::fs::remove_file(&archive).unwrap();
    assert_eq!(signed(), 0);
    here.run(".", &["cache", "stat", "/nowhere/at/all"]).fails(1).says("is not a folder");
    let server = Server::files(&store);
    here.run(".", &["cache", "stat", &server.url("")]).fails(1).says("cannot list");
}

#[test]
fn verify_finds_what_is_wrong_and_changes_nothing() {
    type Damage = fn(&Path);
    type Case<'c> = (&'c str, PathBuf, &'c dyn Fn(&Path), &'c str);
    let flip = |path: &Path| {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        std::fs::write(path, content).unwrap();
    };
    let beside_of = |path: &Path, end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let here = built_machine();
    let whole = filled(&here);
    let ran = here.run(".", &["cache", "verify", whole.to_str().unwrap()]).ok();
    assert!(ran.stdout.contains("4 artifacts") && ran.stdout.contains("0 findings, 0 strays"));
    let record = files_below(&whole.join("records/low")).remove(0);
    let bootstrap = files_below(&whole.join("bootstrap"));
    let of = |end: &str| {
        let found = bootstrap.iter().find(|path| path.to_string_lossy().ends_with(end));
        found.unwrap().strip_prefix(&whole).unwrap().to_owned()
    };
    let low = archive_in(&whole, "low").strip_prefix(&whole).unwrap().to_owned();
    let source = Path::new("sources/sha1").join(sha1(b"hello\n"));
    let remove: Damage = |path| std::fs::remove_file(path).unwrap();
    let empty: Damage = |path| std::fs::write(path, "").unwrap();
    let cases: [Case<'_>; 11] = [
        ("a flipped bit", low.clone(), &flip, "damaged: packages/low/"),
        ("cut off", low.clone(), &halve, "damaged: packages/low/"),
        ("empty", low.clone(), &empty, "damaged: packages/low/"),
        ("no archive", low.clone(), &remove, "no archive"),
        ("no sum", beside_of(&low, ".sha256"), &remove, "missing: packages/low/"),
        ("an empty sum", beside_of(&low, ".sha256"), &empty, "has no SHA-256"),
        (
            "no record",
            record.strip_prefix(&whole).unwrap().to_owned(),
            &remove,
            "there is no records/low/",
        ),
        (
            "a wrong record",
            record.strip_prefix(&whole).unwrap().to_owned(),
            &empty,
            "cannot be read",
        ),
        ("a bootstrap", of(".bootstrap.tar.xz"), &flip, "damaged: bootstrap/"),
        (
            "a list",
            of(".active.json"),
            &|path| std::fs::write(path, "[]").unwrap(),
            "does not give its id",
        ),
        ("a source", source, &flip, "damaged: sources/sha1/"),
    ];
    for (name, file, damage, text) in cases {
        let store = here.path().join(format!("store {name}"));
        crate::support::copy_folder(&whole, &store);
        damage(&store.join(file));
        let before: Vec<_> = files_below(&store)
            .into_iter()
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect();
        let ran = here.run(".", &["cache", "verify", store.to_str().unwrap()]).fails(1);
        assert!(ran.stdout.contains(text), "{name}: {}{}", ran.stdout, ran.stderr);
        let after: Vec<_> = files_below(&store)
            .into_iter()
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect();
        assert_eq!(before, after, "{name}");
    }
    // A stray is shown, and harms nobody.
    std::fs::write(whole.join("note.txt"), "x").unwrap();
    let ran = here.run(".", &["cache", "verify", whole.to_str().unwrap()]).ok();
    assert!(ran.stdout.contains("stray: note.txt"), "{}", ran.stdout);
}

#[test]
fn verify_checks_signatures_where_they_are_required_or_trusted() {
    let here = built_machine();
    let key = Key::new(here.path(), "good");
    let store = here.path().join("store");
    let place = store.to_str().unwrap();
    let sign = format!("--sign={}", key.secret.display());
    here.run(".", &["cache", "push", place, &sign]).ok();
    here.run(".", &["cache", "verify", place, &key.option()]).ok();
    let (low, top) = (archive_in(&store, "low"), archive_in(&store, "top"));
    // That of another package.
    std::fs::copy(beside(&top), beside(&low)).unwrap();
    let ran = here.run(".", &["cache", "verify", place, &key.option()]).fails(1);
    assert!(ran.stdout.contains("untrusted: packages/low/"), "{}", ran.stdout);
    here.run(".", &["cache", "verify", place]).ok();
    here.user(&format!("trusted_keys = ['{}']\n", key.line));
    here.run(".", &["cache", "verify", place]).fails(1);
    std::fs::remove_file(beside(&low)).unwrap();
    here.run(".", &["cache", "verify", place]).ok();
    here.run(".", &["cache", "verify", place, "--require-signature"]).fails(1);
}

#[test]
fn a_bundle_that_is_cut_short_is_found() {
    let here = Place::new();
    here.write("treeinfo.json", "{}");
    let upstream = here.path().join("upstream");
    std::fs::create_dir(&upstream).unwrap();
    std::fs::write(upstream.join("readme"), "from git\n").unwrap();
    let commit = crate::support::repository(&upstream);
    let source = format!(
        r#"{{"single_source": {{"kind": "git", "git": "{}", "ref": "{commit}", "ref_origin": "main"}}}}"#,
        upstream.display()
    );
    here.package("p", &source, "cp /pkg/src/p/readme $PKG_PATH/");
    here.run(".", &["tree"]).ok();
    let store = here.path().join("store");
    let place = store.to_str().unwrap();
    here.run(".", &["cache", "push", place]).ok();
    let bundle = store.join(format!("sources/bundles/{commit}.bundle"));
    here.run(".", &["cache", "verify", place]).ok();
    let content = std::fs::read(&bundle).unwrap();
    for length in [content.len() - 1, content.len() / 2, 30, 0] {
        std::fs::write(&bundle, &content[..length]).unwrap();
        here.run(".", &["cache", "verify", place]).fails(1);
    }
    let other = store.join(format!("sources/bundles/{}.bundle", "1".repeat(40)));
    std::fs::write(&bundle, &content).unwrap();
    std::fs::rename(&bundle, other).unwrap();
    let ran = here.run(".", &["cache", "verify", place]).fails(1);
    assert!(ran.stdout.contains("does not name the commit"), "{}", ran.stdout);
}

#[test]
fn an_index_describes_the_store_and_is_replaced() {
    let here = built_machine();
    let store = filled(&here);
    let place = store.to_str().unwrap();
    here.run(".", &["cache", "index", place]).ok();
    let read = |name: &str| std::fs::read_to_string(store.join(name)).unwrap();
    let index: Value = serde_json::from_str(&read("index.json")).unwrap();
    let packages = index["packages"].as_array().unwrap();
    let versions = |name: &str| {
        let found = packages.iter().find(|package| package["name"] == name).unwrap();
        found["versions"].as_array().unwrap().clone()
    };
    let (low, top) = (&versions("low")[0], &versions("top")[0]);
    assert_eq!(top["requires"], serde_json::json!([low["id"]]));
    let bootstrap = &index["bootstraps"][0];
    assert_eq!(low["bootstraps"], serde_json::json!([bootstrap["id"]]));
    assert_eq!(index["sources"], serde_json::json!({ "count": 1, "size": 6 }));
    for object in [low, top, bootstrap] {
        let path = store.join(object["path"].as_str().unwrap());
        assert_eq!(std::fs::metadata(path).unwrap().len(), object["size"].as_u64().unwrap());
    }
    let page = read("index.html");
    assert!(!page.contains("<script") && page.contains("prefers-color-scheme: dark"));
    for object in [low, top, bootstrap] {
        assert!(page.contains(&format!("href=\"{}\"", object["path"].as_str().unwrap())));
    }
    // The index is no part of what it describes, and the same store has the same one.
    let ran = here.run(".", &["cache", "index", place]).ok();
    assert!(ran.stdout.contains("unchanged"), "{}", ran.stdout);
    std::fs::remove_dir_all(store.join("packages/top")).unwrap();
    let ran = here.run(".", &["cache", "index", place]).ok();
    assert!(ran.stdout.contains("written"), "{}", ran.stdout);
    assert!(
        !read("index.json").contains("packages/top/")
            && !read("index.html").contains("packages/top/")
    );
    here.run(".", &["cache", "verify", place]).fails(1);
    // A folder of its own leaves the store as it is.
    let output = here.path().join("site");
    let before = read("index.json");
    std::fs::write(store.join("index.json"), "old").unwrap();
    here.run(".", &["cache", "index", place, "--output", output.to_str().unwrap()]).ok();
    assert_eq!(
        (read("index.json"), std::fs::read_to_string(output.join("index.json")).unwrap()),
        ("old".to_owned(), before)
    );
}
