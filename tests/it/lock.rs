//! `mkpanda.lock`: what a tree takes from elsewhere stays what it was, and everything else is named.

use std::path::Path;

use crate::mirrors::Connected;
use crate::peers::Registry;
use crate::support::{Place, copy_folder, git, sha1, sha256};
use crate::tiny::tiny_image;

pub(crate) fn lock_text(place: &Place) -> String {
    std::fs::read_to_string(place.packages.join("mkpanda.lock")).unwrap()
}

fn edit(place: &Place, from: &str, to: &str) {
    let text = lock_text(place);
    assert!(text.contains(from), "{from} in {text}");
    place.write("mkpanda.lock", &text.replace(from, to));
}

fn latest(place: &Place, name: &str) -> String {
    let path = place.packages.join("cache/packages").join(name).join("latest");
    std::fs::read_to_string(path).unwrap()
}

/// The same tree for another user, without its cache.
fn elsewhere(place: &Place) -> Place {
    let other = Place::bare();
    copy_folder(&place.packages, &other.packages);
    drop(std::fs::remove_dir_all(other.packages.join("cache")));
    let user = place.path().join(".config");
    if user.exists() {
        copy_folder(&user, &other.path().join(".config"));
    }
    other
}

/// A registry, and the place of somebody who pushes images there.
struct Published {
    registry: Registry,
    pusher: Place,
}

impl Published {
    fn new() -> Self {
        let published = Self { registry: Registry::plain(), pusher: Place::bare() };
        published.allow(&published.pusher);
        let tiny = tiny_image().display().to_string();
        published.pusher.run("", &["image", "load", "--name", "tiny", &tiny]).ok();
        published
    }

    fn allow(&self, place: &Place) {
        place.user(&format!("[registries.\"{}\"]\ninsecure = true\n", self.registry.host));
    }

    fn name(&self) -> String {
        self.registry.name("builder:1")
    }

    /// Moves the tag to an image with this word.
    fn push(&self, word: &str) {
        self.pusher.write("image/Dockerfile", "FROM tiny\nCOPY word /word\n");
        self.pusher.write("image/word", word);
        let name = self.name();
        self.pusher.run("", &["image", "build", "-t", &name, "image"]).ok();
        self.pusher.run("", &["image", "push", &name]).ok();
    }

    /// A tree with one package in that image, and one in an image that is made from it.
    fn tree(&self) -> Place {
        let place = Place::bare();
        self.allow(&place);
        place.write("treeinfo.json", "{}");
        place.package(
            "plain",
            &format!(r#"{{"docker": "{}"}}"#, self.name()),
            "cp /word $PKG_PATH/",
        );
        place.package(
            "made",
            r#"{"docker": "dcos/dcos-builder:made_dockerdir-latest"}"#,
            "cp /word /more $PKG_PATH/",
        );
        place.write("made/docker/Dockerfile", &format!("FROM {}\nCOPY more /more\n", self.name()));
        place.write("made/docker/more", "more\n");
        place
    }
}

fn words(place: &Place) -> [String; 2] {
    ["plain", "made"].map(|name| place.file_of(name, "word"))
}

#[test]
fn a_moved_tag_stands_for_what_the_lock_has() {
    let published = Published::new();
    published.push("one");
    let place = published.tree();
    place.run("", &["tree"]).ok();
    let before = ["plain", "made"].map(|name| latest(&place, name));
    place.run("", &["lock"]).ok();
    let text = lock_text(&place);
    assert_eq!(text.matches(&published.name()).count(), 2, "{text}");
    place.run("", &["tree"]).ok();
    assert_eq!(["plain", "made"].map(|name| latest(&place, name)), before, "ids stay");
    let mirror = place.path().join("mirror");
    place.run("", &["mirror", "create", mirror.to_str().unwrap()]).ok();
    published.push("two");
    // Without the lock it is the moved one.
    let free = elsewhere(&place);
    std::fs::remove_file(free.packages.join("mkpanda.lock")).unwrap();
    free.run("", &["tree"]).ok();
    assert_eq!(words(&free), ["two", "two"]);
    let other = elsewhere(&place);
    other.run("", &["tree"]).ok();
    assert_eq!(words(&other), ["one", "one"]);
    assert_eq!(["plain", "made"].map(|name| latest(&other, name)), before);
    // The store's name moves, and the images that are made from it are others.
    place.write("mkpanda.lock.away", &text);
    std::fs::remove_file(place.packages.join("mkpanda.lock")).unwrap();
    place.run("", &["image", "pull", &published.name()]).ok();
    place.run("", &["tree"]).ok();
    assert_eq!(words(&place), ["two", "two"]);
    let moved = ["plain", "made"].map(|name| latest(&place, name));
    assert!(moved != before);
    place.write("mkpanda.lock", &text);
    place.run("", &["tree"]).ok();
    assert_eq!(["plain", "made"].map(|name| latest(&place, name)), before);
    place.run("", &["lock", "--check"]).ok();
    place.run("", &["lock"]).ok();
    assert_eq!(lock_text(&place), text);
    // From a mirror, without a network and without the registry.
    let away = elsewhere(&other);
    away.run("", &["tree", "--offline"]).fails(1).says(&format!("{}@sha256:", published.name()));
    away.run("", &["tree", "--offline", "--mirror", mirror.to_str().unwrap()]).ok();
    assert_eq!(words(&away), ["one", "one"]);
    // And on.
    let said = place.run("", &["lock", "--update", &published.name()]).ok().stdout;
    let signs: Vec<&str> = said.lines().map(|line| &line[..1]).collect();
    assert_eq!(signs, ["-", "-", "+", "+"], "{said}");
    place.run("", &["tree"]).ok();
    assert_eq!(["plain", "made"].map(|name| latest(&place, name)), moved);
    place.assert_clean();
}

#[test]
fn an_image_that_is_not_the_pinned_one_is_an_error_with_both_sums() {
    let published = Published::new();
    published.push("one");
    let place = published.tree();
    place.run("", &["lock"]).ok();
    let good = lock_text(&place);
    let manifest = good.split("manifest = \"").nth(1).unwrap().split('"').next().unwrap();
    let id = good.split("id = \"").nth(1).unwrap().split('"').next().unwrap();
    let other = format!("sha256:{}", sha256(b"other"));
    // An edited id: the manifest leads to another one.
    edit(&place, id, &other);
    let said = place.run("", &["tree"]).fails(1).stderr;
    for part in [id, &other, manifest, &format!("mkpanda lock --update {}", published.name())] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // An edited manifest: nobody has it, and the image of that id is here. Elsewhere it is not.
    place.write("mkpanda.lock", &good.replace(manifest, &other));
    place.run("plain", &[]).ok();
    let away = elsewhere(&place);
    away.run("plain", &[]).fails(1).says(&other).says(id);
    // An image that lies in a file.
    place.write("mkpanda.lock", &good);
    let layout = place.path().join("layout");
    let save = |name: &str| {
        drop(std::fs::remove_dir_all(&layout));
        let to = format!("oci:{}:x", layout.display());
        published.pusher.run("", &["image", "save", name, "-o", &to]).ok();
    };
    save(&published.name());
    place.write(
        "mkpanda.toml",
        &format!("[images]\n\"{}\" = \"oci:{}:x\"\n", published.name(), layout.display()),
    );
    place.run("plain", &[]).ok();
    save("tiny");
    place.run("plain", &[]).fails(1).says("mkpanda.lock wants the image").says(id);
    place.run("", &["lock", "--check"]).fails(1).says(id);
    place.assert_clean();
}

#[test]
fn sources_that_no_longer_match_are_named_with_both_sums() {
    let connected = Connected::new();
    let place = &connected.place;
    place.run("", &["tree"]).ok();
    let before = ["file", "commit"].map(|name| latest(place, name));
    place.run("", &["lock"]).ok();
    let text = lock_text(place);
    place.run("", &["tree"]).ok();
    assert_eq!(["file", "commit"].map(|name| latest(place, name)), before, "ids stay");
    let note = b"a note\n";
    for part in [
        format!("sha1 = \"{}\", sha256 = \"{}\", size = 7 }}", sha1(note), sha256(note)),
        format!("repository/.git\", commit = \"{}\" }}", connected.commit),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    // The branch has moved on since; the commit is the same.
    let work = place.path().join("web/repository");
    std::fs::write(work.join("file"), "further\n").unwrap();
    git(&work, &["commit", "-qam", "third"]);
    git(&work, &["update-server-info"]);
    place.run("", &["lock", "--check", "--offline"]).ok();
    let other = elsewhere(place);
    std::fs::copy(tiny_image(), other.packages.join("../tiny.tar")).unwrap();
    let tiny = tiny_image().display().to_string();
    other.run("", &["image", "load", "--name", "tiny", &tiny]).ok();
    other.run("", &["tree"]).ok();
    assert_eq!(["file", "commit"].map(|name| latest(&other, name)), before);
    // Both are declared otherwise.
    let moved = git(&work, &["rev-parse", "main"]);
    let file = place.packages.join("commit/buildinfo.json");
    let info = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, info.replace(&connected.commit, &moved)).unwrap();
    std::fs::write(place.path().join("web/note"), "another\n").unwrap();
    let file = place.packages.join("file/buildinfo.json");
    let info = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, info.replace(&sha1(note), &sha1(b"another\n"))).unwrap();
    let mirror = place.path().join("mirror").display().to_string();
    for (folder, arguments) in [
        ("", &["tree"][..]),
        ("", &["tree", "--dry-run"]),
        ("", &["tree", "--offline"]),
        ("", &["fetch"]),
        ("", &["mirror", "create", &mirror]),
        ("", &["lock"]),
        ("", &["lock", "--check", "--offline"]),
        ("commit", &[]),
        ("commit", &["--dry-run"]),
    ] {
        let said = place.run(folder, arguments).fails(1).stderr;
        for part in [
            &format!(
                "source commit/commit: the lock has commit {}, the tree has commit {moved}",
                connected.commit
            ),
            &format!(
                "source file/file: the lock has sha1 {}, the tree has sha1 {}",
                sha1(note),
                sha1(b"another\n")
            ),
            "mkpanda lock --update commit/commit file/file",
        ] {
            assert!(said.contains(part), "{arguments:?} {part}: {said}");
        }
        assert_eq!(lock_text(place), text);
    }
    // One of them alone.
    let said = place.run("", &["lock", "--update", "file"]).ok().stdout;
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(!said.contains("commit"), "{said}");
    let said = place.run("", &["tree"]).fails(1).stderr;
    assert!(said.contains("source commit/commit") && !said.contains("source file/file"), "{said}");
    place.run("file", &[]).ok();
    place.run("", &["lock", "--update", "nothing"]).fails(1).says("is called nothing");
    place
        .run("", &["lock", "--update", "comit/commit", "flie"])
        .fails(1)
        .says("is called comit/commit or flie")
        .says("hint: did you mean commit/commit and file?");
    place.run("", &["lock", "--update", "commit/commit"]).ok();
    place.run("", &["lock", "--check"]).ok();
    place.run("", &["tree"]).ok();
    place.assert_clean();
}

#[test]
fn a_file_with_the_declared_sum_has_to_be_the_locks_too() {
    let connected = Connected::new();
    let place = &connected.place;
    place.run("", &["lock"]).ok();
    let good = lock_text(place);
    let (sum, other) = (sha256(b"a note\n"), sha256(b"x"));
    for (from, to, kind) in [(&*sum, &*other, "sha256"), ("size = 7 }", "size = 8 }", "size")] {
        edit(place, from, to);
        let said = place.run("file", &[]).fails(1).stderr;
        assert!(
            said.contains(&format!("the {kind} of {}", connected.server.url("note"))),
            "{said}"
        );
        assert!(said.contains("but mkpanda.lock wants") && said.contains("file/file"), "{said}");
        if kind == "sha256" {
            assert!(said.contains(&sum) && said.contains(&other), "{said}");
        }
        place.run("", &["lock", "--check"]).fails(1).says("source file/file: the lock has sha256");
        place.write("mkpanda.lock", &good);
    }
    place.run("file", &[]).ok();
    // Another file at the same URL, of which the tree knows nothing.
    std::fs::write(place.path().join("web/note"), "another\n").unwrap();
    let away = elsewhere(place);
    std::fs::copy(tiny_image(), away.packages.join("../tiny.tar")).unwrap();
    let said = away.run("file", &[]).fails(1).stderr;
    assert!(said.contains(&sha1(b"another\n")) && said.contains(&sha1(b"a note\n")), "{said}");
}

#[test]
fn what_the_lock_lacks_is_an_error_and_what_nothing_needs_goes() {
    let connected = Connected::new();
    let place = &connected.place;
    place.run("", &["lock", "--check"]).fails(1).says("file/file: not in the lock");
    place.run("", &["lock"]).ok();
    let url = connected.server.url("other");
    let source = format!(
        r#"{{"single_source": {{"kind": "url", "url": "{url}", "sha1": "{}"}}}}"#,
        sha1(b"other\n")
    );
    place.package("more", &source, "true");
    place.package("image", r#"{"docker": "127.0.0.1:1/no:1"}"#, "");
    let said = place.run("", &["tree"]).fails(1).stderr;
    for part in [
        "source more/more: not in the lock",
        "image 127.0.0.1:1/no:1 for image: not in the lock",
        "mkpanda lock\n",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // What needs nothing of it builds.
    place.run("file", &[]).ok();
    // An image that is not to be had: nothing is written.
    let before = lock_text(place);
    place.run("", &["lock"]).fails(1).says("127.0.0.1:1/no:1");
    assert_eq!(lock_text(place), before);
    std::fs::remove_dir_all(place.packages.join("image")).unwrap();
    let said = place.run("", &["lock"]).ok().stdout;
    assert!(said.starts_with("+ { url = ") && said.contains(&url), "{said}");
    place.run("more", &[]).ok();
    std::fs::remove_dir_all(place.packages.join("more")).unwrap();
    place.run("", &["lock", "--check", "--offline"]).fails(1).says("nothing needs { url = ");
    let said = place.run("", &["lock", "--offline"]).ok().stdout;
    assert!(said.starts_with("- { url = "), "{said}");
    assert_eq!(lock_text(place), before);
    place.run("", &["lock", "--check", "--offline"]).ok();
}

#[test]
fn variants_share_a_lock() {
    let connected = Connected::new();
    let place = &connected.place;
    let url = connected.server.url("other");
    let source = format!(
        r#"{{"single_source": {{"kind": "url", "url": "{url}", "sha1": "{}"}}}}"#,
        sha1(b"other\n")
    );
    place.package("more", &source, "true");
    place.write("treeinfo.json", r#"{"exclude": ["more"]}"#);
    place.write("small.treeinfo.json", r#"{"core_package_list": ["more"]}"#);
    place.run("", &["lock", "small"]).ok();
    let small = lock_text(place);
    assert!(small.contains(&url) && !small.contains("/note"), "{small}");
    place.run("", &["tree", "small"]).ok();
    place.run("", &["lock", "--check", "small"]).ok();
    place.run("", &["tree", "default"]).fails(1).says("file/file: not in the lock");
    place.run("", &["lock", "default"]).ok();
    let both = lock_text(place);
    assert!(both.contains(&url) && both.contains("/note"), "{both}");
    place.run("", &["lock", "small"]).ok();
    place.run("", &["lock"]).ok();
    assert_eq!(lock_text(place), both);
    place.run("", &["tree"]).ok();
    // Beside a configuration that lies above the packages folder.
    let other = elsewhere(place);
    let above = |name: &str| other.packages.join("..").join(name);
    std::fs::rename(other.packages.join("mkpanda.toml"), above("mkpanda.toml")).unwrap();
    std::fs::remove_file(other.packages.join("mkpanda.lock")).unwrap();
    std::fs::copy(tiny_image(), other.path().join("tiny.tar")).unwrap();
    let tiny = tiny_image().display().to_string();
    other.run("", &["image", "load", "--name", "tiny", &tiny]).ok();
    other.run("", &["lock"]).ok();
    assert_eq!(std::fs::read_to_string(above("mkpanda.lock")).unwrap(), both);
}

#[test]
fn an_upstream_is_pinned_before_anything_of_it_is_used() {
    let place = Place::new();
    let above = place.path().join("above");
    std::fs::create_dir_all(above.join("packages/p")).unwrap();
    std::fs::write(above.join("packages/p/buildinfo.json"), "{}").unwrap();
    std::fs::write(above.join("packages/p/build"), "#!/bin/bash\necho one > $PKG_PATH/x\n")
        .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(above.join("packages/p/build"), mode).unwrap();
    let one = crate::support::repository(&above);
    place.trust(&["git_local"]);
    place.write("treeinfo.json", "{}");
    place.write("upstream.json", r#"{"kind": "git_local", "rel_path": "../../above"}"#);
    place.run("", &["lock"]).ok();
    assert!(lock_text(&place).contains(&format!("commit = \"{one}\"")));
    place.run("", &["tree"]).ok();
    commit_more(&above);
    let two = git(&above, &["rev-parse", "HEAD"]);
    let said = place.run("", &["tree"]).fails(1).stderr;
    for part in
        [&*one, &*two, "source upstream/upstream", "mkpanda lock --update upstream/upstream"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let checkout = place.packages.join("cache/upstream/checkout");
    assert_eq!(git(&checkout, &["rev-parse", "HEAD"]), one, "nothing of it is here");
    place.run("", &["lock", "--check"]).fails(1).says(&two);
    place.run("", &["lock", "--update", "upstream"]).ok();
    assert!(!lock_text(&place).contains(&one));
    place.run("", &["tree"]).ok();
    assert_eq!(place.file_of("p", "x"), "two\n");
}

fn commit_more(folder: &Path) {
    std::fs::write(folder.join("packages/p/build"), "#!/bin/bash\necho two > $PKG_PATH/x\n")
        .unwrap();
    git(folder, &["commit", "-qam", "second"]);
}

#[test]
fn a_fault_of_a_tree_and_its_packages_is_told_once() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("bad", r#"{"bogus": 1}"#, "true");
    place.package("user", r#"{"requires": ["bad"]}"#, "true");
    place.package("good", "{}", "true");
    let ran = place.run(".", &["lock"]).ok();
    assert_eq!(ran.stderr.matches("no key \"bogus\"").count(), 1, "{}", ran.stderr);
}
