//! Images of `docker/` folders: shared by a registry, planned without being built, interrupted.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::inside::tier;
use crate::peers::Registry;
use crate::support::{Place, copy_folder, ran};
use crate::tiny::tiny_image;

/// A place whose package `p` has a `docker/` folder; its image says what `word` is.
fn place(word: &str) -> Place {
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "tiny", &image]).ok();
    let buildinfo = "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}";
    place.package("p", buildinfo, "cp /word \"$PKG_PATH/\"");
    place.write("p/docker/Dockerfile", "FROM tiny\nCOPY word /word\n");
    place.write("p/docker/word", word);
    place
}

fn share(place: &Place, host: &str, more: &str) {
    place.user(&format!(
        "[builders]\nregistry = \"{host}/team\"\n{more}\n[registries.\"{host}\"]\ninsecure = true\n"
    ));
}

fn names(place: &Place) -> String {
    place.run("", &["image", "list"]).ok().stdout
}

#[test]
fn a_builder_is_pushed_and_found_by_its_folders_sum() {
    let registry = Registry::plain();
    let maker = place("one");
    share(&maker, &registry.host, "push = true");
    maker.run("p", &[]).ok().says(&format!("pushed {}/team/dcos/dcos-builder:p_", registry.host));
    // Here the step would give something else: what is found is what was pushed.
    let other = place("one");
    other.write("p/docker/.dockerignore", "");
    let elsewhere = place("one");
    share(&elsewhere, &registry.host, "");
    elsewhere.run("", &["image", "rm", "tiny"]).ok();
    elsewhere.run("p", &[]).ok();
    assert_eq!(elsewhere.file_of("p", "word"), "one");
    let names = names(&elsewhere);
    assert!(names.contains("dcos/dcos-builder:p_dockerdir-latest"), "{names}");
    assert!(!names.contains(" tiny:latest"), "it wasn't built: {names}");
    // Found in the store now.
    drop(registry);
    elsewhere.package(
        "p",
        "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}",
        "cp /word \"$PKG_PATH/again\"",
    );
    let again = elsewhere.run("p", &[]).ok();
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    assert_eq!(elsewhere.file_of("p", "again"), "one");
}

#[test]
fn a_registry_without_it_is_no_fault_and_one_that_is_away_is_named() {
    let registry = Registry::plain();
    let empty = place("one");
    share(&empty, &registry.host, "");
    let ran = empty.run("p", &[]).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let away = place("one");
    share(&away, "127.0.0.1:1", "push = true");
    let began = Instant::now();
    let said = away.run("p", &["--offline"]).ok();
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    away.write("p/docker/word", "two");
    let ran = away.run("p", &[]).ok();
    assert!(began.elapsed() < Duration::from_secs(20));
    let ran = ran.says("can't look for builder images at 127.0.0.1:1, so they are built");
    ran.says("not pushed, as 127.0.0.1:1 could not be asked");
    assert_eq!(away.file_of("p", "word"), "two");
}

#[test]
fn what_one_id_has_made_of_owners_is_not_shared() {
    // Somebody else than root, which one id can only pretend.
    let registry = Registry::plain();
    let place = place("one");
    place.write(
        "p/docker/Dockerfile",
        "FROM tiny\nRUN --network=none su builder -c true; echo x > /word\n",
    );
    share(&place, &registry.host, "push = true");
    let ran = place.run("p", &[]).ok();
    let is_refused = ran.stderr.contains("not pushed: it was built with one id");
    assert_eq!(is_refused, tier() == "single", "{}", ran.stderr);
}

#[test]
fn a_builder_is_made_anew_when_its_base_is_another() {
    let place = place("one");
    let script = |file: &str| format!("cp /word $PKG_PATH/; cp /marker $PKG_PATH/{file} || true");
    let buildinfo = "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}";
    place.package("p", buildinfo, &script("first"));
    place.run("p", &[]).ok();
    place.write("context/Dockerfile", "FROM tiny\nCOPY Dockerfile /marker\n");
    let context = place.packages.join("context").display().to_string();
    place.run("", &["image", "build", "-t", "tiny", &context]).ok();
    std::fs::remove_dir_all(context).unwrap();
    place.run("p", &[]).ok();
    assert!(place.file_of("p", "first").starts_with("FROM tiny"));
    // Without the base, what was made from it is used.
    place.run("", &["image", "rm", "tiny"]).ok();
    place.package("p", buildinfo, &script("second"));
    place.run("p", &["--offline"]).ok();
    assert!(place.file_of("p", "second").starts_with("FROM tiny"));
}

#[test]
fn a_builder_of_another_folder_with_the_same_sum_is_not_taken() {
    let honest = place("one");
    honest.write("p/docker/tools/run", "");
    honest.write("p/docker/Dockerfile", "FROM tiny\nCOPY . /\n");
    let mut hostile = place("one");
    hostile.home.clone_from(&honest.home);
    hostile.write("p/docker/tools/run", "");
    hostile.write("p/docker/Dockerfile", "FROM tiny\nCOPY . /\n");
    let harm = hostile.packages.join("p/docker/tools");
    std::os::unix::fs::symlink("/tmp", harm.join("bin")).unwrap();
    std::fs::set_permissions(harm.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let script = "stat -c '%a %n' /tools/* > $PKG_PATH/all";
    for (place, all) in
        [(&hostile, "777 /tools/bin\n755 /tools/run\n"), (&honest, "644 /tools/run\n")]
    {
        place.package("p", "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}", script);
        place.run("p", &[]).ok();
        assert_eq!(place.file_of("p", "all"), all);
    }
}

#[test]
fn what_a_trees_own_mirror_gives_gets_no_name_that_other_trees_meet() {
    let registry = Registry::plain();
    let place = place("one");
    place.user(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    place.run("", &["image", "push", "tiny", &registry.name("os:1")]).ok();
    place.trust(&["registries"]);
    place.configure(&format!(
        "[registries.\"registry.invalid\"]\nmirrors = [\"{0}\"]\n[registries.\"{0}\"]\ninsecure = true\n",
        registry.host
    ));
    place.write("p/docker/Dockerfile", "FROM registry.invalid/os:1\nCOPY word /word\n");
    place.package("q", "{\"docker\": \"registry.invalid/os:1\"}", "true");
    place.run("p", &[]).ok();
    place.run("q", &[]).ok();
    let names = names(&place);
    assert!(!names.contains("registry.invalid") && !names.contains("dockerdir"), "{names}");
    // It is asked for again, and another tree gets neither.
    std::fs::remove_file(place.packages.join("mkpanda.toml")).unwrap();
    for package in ["p", "q"] {
        let script = "echo other > $PKG_PATH/other";
        let docker = if package == "q" {
            "registry.invalid/os:1"
        } else {
            "dcos/dcos-builder:p_dockerdir-latest"
        };
        place.package(package, &format!("{{\"docker\": \"{docker}\"}}"), script);
        place.run(package, &["--offline"]).fails(1);
    }
}

/// By the cache's folder, by what a step made of it, or by an image that was made of that.
#[test]
fn what_a_trees_images_keep_in_caches_reaches_no_other_tree() {
    const CACHE: &str = "RUN --network=none --mount=type=cache,id=pip,target=/c";
    let mut place = place("one");
    let fills = |word: &str| format!("{CACHE} echo {word} > /c/x\n");
    let takes = format!("{CACHE} cat /c/x > /word || echo clean > /word; echo mine > /c/x\n");
    let dockerfile = |place: &Place, lines: &str| {
        let text = format!("FROM tiny\n{lines}");
        place.write("p/docker/Dockerfile", &text)
    };
    // The user's own build of the same Dockerfile keeps things elsewhere, too.
    let docker = dockerfile(&place, &(fills("users") + &takes)).parent().unwrap().to_owned();
    let docker = docker.display().to_string();
    place.run("", &["image", "build", "-t", "own", &docker]).ok();
    dockerfile(&place, &takes);
    place.run("", &["image", "build", "-t", "own", &docker]).ok();
    // The same instruction, on the same layers, and in the end in the same folder.
    dockerfile(&place, &(fills("poison") + &takes));
    place.run("p", &["--offline"]).ok();
    assert_eq!(place.file_of("p", "word"), "poison\n");
    dockerfile(&place, &takes);
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    place.run("p", &["--offline"]).ok();
    assert_eq!(place.file_of("p", "word"), "poison\n", "a step of this folder is found again");
    let other = place.path().join("other/packages");
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    copy_folder(&place.packages, &other);
    place.packages = other;
    place.run("p", &["--offline"]).ok();
    assert_eq!(place.file_of("p", "word"), "clean\n");
    // It keeps what is its own.
    dockerfile(&place, &takes.replace("clean", "none"));
    place.run("p", &["--offline"]).ok();
    assert_eq!(place.file_of("p", "word"), "mine\n");
    // A tree that has the same folder by a link could choose another base for it.
    let linked = place.path().join("linked/packages");
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    copy_folder(&place.packages, &linked);
    std::fs::remove_dir_all(linked.join("p")).unwrap();
    std::os::unix::fs::symlink(place.packages.join("p"), linked.join("p")).unwrap();
    place.packages = linked;
    place.write("treeinfo.json", "{}");
    place.run(".", &["tree", "--offline"]).ok();
    assert_eq!(place.file_of("p", "word"), "none\n");
}

#[test]
fn a_builder_that_a_trees_own_mirror_gives_gets_no_name() {
    let registry = Registry::plain();
    let maker = place("one");
    maker.run("p", &[]).ok();
    let all = names(&maker);
    let is_exact = |word: &&str| word.contains("p_dockerdir-") && !word.ends_with("latest");
    let exact = all.split_whitespace().find(is_exact).unwrap().trim_end_matches(',');
    maker.user(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    maker.run("", &["image", "push", exact, &registry.name(exact)]).ok();
    let hostile = place("one");
    hostile.run("", &["image", "rm", "tiny"]).ok();
    hostile.trust(&["registries"]);
    hostile.configure(&format!(
        "[registries.\"docker.io\"]\nmirrors = [\"{0}\"]\n[registries.\"{0}\"]\ninsecure = true\n",
        registry.host
    ));
    hostile.run("p", &[]).ok();
    assert_eq!(hostile.file_of("p", "word"), "one", "it was pulled");
    assert!(!names(&hostile).contains("dockerdir"), "{}", names(&hostile));
}

#[test]
fn a_dry_run_builds_no_image() {
    let place = place("one");
    place.write("treeinfo.json", "{}");
    place.package("q", "{\"docker\": \"tiny\"}", "true");
    place.package("r", "{\"docker\": \"tiny\", \"requires\": [\"p\"]}", "true");
    let folder = place.packages.join("p/docker").canonicalize().unwrap();
    let plan = place.run(".", &["tree", "--offline", "--dry-run"]).ok().stdout;
    let lines: Vec<&str> = plan.lines().collect();
    assert_eq!(lines.len(), 3, "{plan}");
    assert!(lines[0].starts_with("build  q--"), "{plan}");
    let first = format!(
        "later  p (no id yet: its image dcos/dcos-builder:p_dockerdir-latest would be pulled, or built from {}, first)",
        folder.display()
    );
    assert_eq!(lines[1..], [&first, "later  r (no id yet: it requires p)"]);
    place.run("p", &["--offline", "--dry-run"]).ok();
    assert!(!names(&place).contains("dockerdir"));
    assert!(!place.home.join("image-logs").exists());
    place.run("p", &["--offline"]).ok();
    let plan = place.run(".", &["tree", "--offline", "--dry-run"]).ok().stdout;
    assert!(plan.contains("cached p--") && !plan.contains("later"), "{plan}");
    // All of its steps are in the cache: then it is no work to have it.
    let image = place.packages.join("mkpanda.toml");
    std::fs::write(
        image,
        "[images]\n\"dcos/dcos-builder:p_dockerdir-latest\" = \"dockerfile:p/docker\"\n",
    )
    .unwrap();
    let plan = place.run("p", &["--offline", "--dry-run"]).ok().stdout;
    assert!(plan.contains("cached p--"), "{plan}");
}

#[test]
fn an_interrupt_ends_the_building_of_an_image() {
    let place = place("one");
    place.configure("[images]\n\"b:1\" = \"dockerfile:../image\"\n");
    place.package("s", "{\"docker\": \"b:1\"}", "true");
    let folder = place.path().join("tree/image");
    std::fs::create_dir(&folder).unwrap();
    let text =
        "FROM tiny\nRUN --network=none --mount=type=cache,target=/c touch /c/on; sleep 1000\n";
    std::fs::write(folder.join("Dockerfile"), text).unwrap();
    let mut command = place.command("s", &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let runs = || {
        let caches = place.home.join("caches");
        caches.exists()
            && crate::support::files_below(&caches).iter().any(|path| path.ends_with("on"))
    };
    while !runs() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("the step doesn't start: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let began = Instant::now();
    ran(&child.wait_with_output().unwrap()).fails(130).says("interrupted");
    assert!(began.elapsed() < Duration::from_secs(10));
    place.assert_clean();
}
