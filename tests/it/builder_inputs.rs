//! Inputs of builder images from elsewhere that are not in a FROM: images of ONBUILD triggers, and what ADD
//! fetches. Locks pin them, and mirrors have what a build needs of them.

use std::path::{Path, PathBuf};

use crate::lock::lock_text;
use crate::mirrors::without_network;
use crate::peers::Registry;
use crate::server::Server;
use crate::support::{Place, Ran, copy_folder, git, repository};
use crate::tiny::tiny_image;

/// A place of somebody who publishes images, files and a git repository.
struct Elsewhere {
    registry: Registry,
    pusher: Place,
    work: PathBuf,
    server: Server,
}

impl Elsewhere {
    fn new() -> Self {
        let (registry, pusher) = (Registry::plain(), Place::bare());
        let web = pusher.path().join("web");
        let work = web.join("tools");
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(work.join("tool"), "first\n").unwrap();
        repository(&work);
        git(&work, &["update-server-info"]);
        std::fs::write(web.join("note"), "first\n").unwrap();
        let server = Server::files(&web);
        let elsewhere = Self { registry, pusher, work, server };
        elsewhere.allow(&elsewhere.pusher);
        let tiny = tiny_image().display().to_string();
        elsewhere.pusher.run("", &["image", "load", "--name", "tiny", &tiny]).ok();
        elsewhere
    }

    fn allow(&self, place: &Place) {
        place.user(&format!("[registries.\"{}\"]\ninsecure = true\n", self.registry.host));
    }

    /// Pushes an image that is built from a Dockerfile.
    fn push(&self, name: &str, dockerfile: &str) {
        let name = self.registry.name(name);
        self.pusher.write("image/Dockerfile", dockerfile);
        self.pusher.run("", &["image", "build", "-t", &name, "image"]).ok();
        self.pusher.run("", &["image", "push", &name]).ok();
    }

    /// Pushes an image with a word, which the triggers of another one take.
    fn push_word(&self, word: &str) {
        self.push("word:1", &format!("FROM tiny\nRUN --network=none echo {word} > /word\n"));
    }

    /// Changes all that ADD takes.
    fn change(&self) {
        std::fs::write(self.work.join("tool"), "second\n").unwrap();
        git(&self.work, &["commit", "-qam", "second"]);
        git(&self.work, &["update-server-info"]);
        std::fs::write(self.work.with_file_name("note"), "second\n").unwrap();
    }

    /// A tree with a package in an image of a `docker/` folder.
    fn tree(&self, dockerfile: &str, script: &str) -> Place {
        let place = Place::bare();
        self.allow(&place);
        place.write("treeinfo.json", "{}");
        let image = r#"{"docker": "dcos/dcos-builder:app_dockerdir-latest"}"#;
        place.package("app", image, script);
        place.write("app/docker/Dockerfile", dockerfile);
        place
    }

    fn with_triggers(&self) -> Place {
        self.push_word("first");
        let trigger = format!("ONBUILD COPY --from={} /word /word", self.registry.name("word:1"));
        self.push("base:1", &format!("FROM tiny\n{trigger}\n"));
        self.tree(&format!("FROM {}\n", self.registry.name("base:1")), "cp /word $PKG_PATH/")
    }

    fn with_additions(&self) -> Place {
        self.push("base:1", &format!("FROM tiny\nENV AT={}\n", self.server.url("note")));
        let repository = self.server.url("tools/.git");
        let dockerfile = format!(
            "FROM {}\nADD $AT /note\nADD {repository} /tools\nADD {repository}#main /main\n",
            self.registry.name("base:1")
        );
        self.tree(&dockerfile, "cat /note /tools/tool /main/tool > $PKG_PATH/all")
    }
}

/// The same tree for somebody else, without its cache.
fn copy_of(place: &Place) -> Place {
    let other = Place::bare();
    copy_folder(&place.packages, &other.packages);
    drop(std::fs::remove_dir_all(other.packages.join("cache")));
    copy_folder(&place.path().join(".config"), &other.path().join(".config"));
    other
}

/// Removes what a tree's cache has, so that all is built again.
fn forget_packages(place: &Place) {
    std::fs::remove_dir_all(place.packages.join("cache/packages")).unwrap();
}

fn mirror(place: &Place) -> (PathBuf, String) {
    let path = place.packages.join("../mirror.tar");
    let said = place.run("", &["mirror", "create", path.to_str().unwrap()]).ok().stderr;
    (path, said)
}

fn closed(place: &Place, mirror: &Path, more: &[&str]) -> Ran {
    let mirror = format!("--mirror={}", mirror.display());
    without_network(place, &[&["tree", "--offline", &mirror], more].concat())
}

#[test]
fn images_of_triggers_are_pinned_and_in_mirrors() {
    let elsewhere = Elsewhere::new();
    let place = elsewhere.with_triggers();
    place.run("", &["lock"]).ok();
    let locked = lock_text(&place);
    for name in ["base:1", "word:1"] {
        assert!(locked.contains(&elsewhere.registry.name(name)), "{name}: {locked}");
    }
    place.run("", &["lock", "--check", "--offline"]).ok();
    // Before the image is built, a mirror has all that it starts from.
    let (path, said) = mirror(&place);
    assert!(said.contains("is not built yet"), "{said}");
    elsewhere.push_word("second");
    let other = copy_of(&place);
    closed(&other, &path, &["--dry-run"]).ok();
    closed(&other, &path, &[]).ok();
    assert_eq!(other.file_of("app", "word"), "first\n");
    // So it is with a network, and where the base images are not here, nothing of the lock is dropped.
    let third = copy_of(&place);
    third.run("", &["lock"]).ok();
    third.run("", &["lock", "--check"]).ok();
    assert_eq!(lock_text(&third), locked);
    third.run("", &["tree"]).ok();
    assert_eq!(third.file_of("app", "word"), "first\n");
    third.run("", &["lock", "--update", &elsewhere.registry.name("word:1")]).ok();
    assert_ne!(lock_text(&third), locked);
    third.run("", &["tree"]).ok();
    assert_eq!(third.file_of("app", "word"), "second\n");
    // One that the lock lacks is an error with a remedy that works.
    let short: String = locked
        .lines()
        .filter(|line| !line.contains("/word:1"))
        .fold(String::new(), |text, line| text + line + "\n");
    third.write("mkpanda.lock", &short);
    forget_packages(&third);
    third.run("", &["tree"]).fails(1).says("not in the lock").says("mkpanda lock\n");
    third.run("", &["lock"]).ok();
    third.run("", &["tree"]).ok();
}

#[test]
fn a_mirror_without_an_image_of_a_trigger_is_said_to_lack_it() {
    let elsewhere = Elsewhere::new();
    let place = elsewhere.with_triggers();
    let base = elsewhere.registry.name("base:1");
    // One that has the base alone.
    place.run("", &["image", "pull", &base]).ok();
    let folder = place.packages.join("../mirror");
    std::fs::create_dir_all(&folder).unwrap();
    let layout = format!("oci:{}:{base}", folder.join("images").display());
    place.run("", &["image", "save", &base, "-o", &layout]).ok();
    let other = copy_of(&place);
    for more in [&["--dry-run"][..], &[]] {
        let said = closed(&other, &folder, more).fails(1).stderr;
        assert!(said.contains(&elsewhere.registry.name("word:1")), "{said}");
        assert!(!said.contains(&format!("{base} ")), "{said}");
    }
}

#[test]
fn what_dockerfiles_add_is_pinned() {
    let elsewhere = Elsewhere::new();
    let place = elsewhere.with_additions();
    place.run("", &["lock"]).ok();
    let locked = lock_text(&place);
    for part in ["ref = \"HEAD\", commit = ", "ref = \"main\", commit = ", "/note\", sha256 = "] {
        assert!(locked.contains(part), "{part}: {locked}");
    }
    place.run("", &["lock", "--check", "--offline"]).ok();
    place.run("", &["tree"]).ok();
    assert_eq!(place.file_of("app", "all"), "first\nfirst\nfirst\n");
    elsewhere.change();
    // Nothing changes here, and elsewhere the commits of the lock are taken; a file has to be that of the lock.
    forget_packages(&place);
    place.run("", &["tree"]).ok();
    assert_eq!(place.file_of("app", "all"), "first\nfirst\nfirst\n");
    let other = copy_of(&place);
    let said = other.run("", &["tree"]).fails(1).stderr;
    let note = elsewhere.server.url("note");
    assert!(said.contains("but mkpanda.lock says sha256:"), "{said}");
    assert!(said.contains(&format!("mkpanda lock --update {note}\n")), "{said}");
    other.run("", &["lock", "--update", &note]).ok();
    other.run("", &["tree"]).ok();
    assert_eq!(other.file_of("app", "all"), "second\nfirst\nfirst\n");
    // An image that was made from other contents than the lock has now is made again.
    other.run("", &["lock", "--update", &elsewhere.server.url("tools/.git#main")]).ok();
    other.run("", &["tree"]).ok();
    assert_eq!(other.file_of("app", "all"), "second\nfirst\nsecond\n");
    other.write("mkpanda.lock", &locked.replace("ref = \"HEAD\"", "ref = \"other\""));
    other.run("", &["tree"]).fails(1).says("source of ADD for app: not in the lock");
    other.run("", &["lock", "--check", "--offline"]).fails(1).says("nothing needs { git = ");
}

#[test]
fn a_built_image_is_taken_from_a_mirror_whatever_its_dockerfile_adds() {
    let elsewhere = Elsewhere::new();
    for has_lock in [false, true] {
        let place = elsewhere.with_additions();
        if has_lock {
            place.run("", &["lock"]).ok();
        }
        place.run("", &["tree"]).ok();
        let (path, said) = mirror(&place);
        assert!(!said.contains("is not built yet"), "{said}");
        let other = copy_of(&place);
        closed(&other, &path, &["--dry-run"]).ok();
        closed(&other, &path, &[]).ok();
        assert_eq!(other.file_of("app", "all"), place.file_of("app", "all"));
    }
}

/// Builds an image with a shared cache and two locks, of which the second has another input of this name.
fn share(elsewhere: &Elsewhere, first: &Place, changed: &str) {
    first.run("", &["lock"]).ok();
    let cache = format!("--cache={}", first.path().join("store").display());
    let is_taken = |place: &Place| {
        let said = place.run("", &["tree", &cache]).ok().stderr;
        said.contains("app_dockerdir-latest comes from")
    };
    assert!(!is_taken(first));
    elsewhere.change();
    elsewhere.push_word("second");
    // By the base image, the names of all inputs are known.
    let base = elsewhere.registry.name("base:1");
    let second = copy_of(first);
    second.run("", &["image", "pull", &base]).ok();
    second.run("", &["lock", "--update", changed]).ok();
    assert!(!is_taken(&second), "made from another {changed} than the lock has");
    // Somebody with the base image finds the image of the same lock, not only the first one.
    for (place, lock) in [(first, "first"), (&second, "second")] {
        let third = copy_of(place);
        third.run("", &["image", "pull", &base]).ok();
        assert!(is_taken(&third), "with the {lock} lock of {changed}");
    }
}

#[test]
fn a_shared_cache_has_an_image_for_each_lock_of_what_is_added() {
    let elsewhere = Elsewhere::new();
    share(&elsewhere, &elsewhere.with_additions(), &elsewhere.server.url("note"));
}

#[test]
fn a_shared_cache_has_an_image_for_each_lock_of_what_triggers_name() {
    let elsewhere = Elsewhere::new();
    share(&elsewhere, &elsewhere.with_triggers(), &elsewhere.registry.name("word:1"));
}
