//! Images of `docker/` folders in shared caches.

use std::path::{Path, PathBuf};

use crate::signing::Key;
use crate::support::{Place, files_below};
use crate::tiny::tiny_image;

const BUILDINFO: &str = "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}";

/// A machine whose package `p` is built in the image of a `docker/` folder.
fn machine() -> Place {
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "tiny", &image]).ok();
    place.package("p", BUILDINFO, "cp /word \"$PKG_PATH/\"");
    place.write("p/docker/Dockerfile", "FROM tiny\nCOPY word /word\n");
    place.write("p/docker/word", "one");
    place.write("treeinfo.json", "{}");
    place
}

fn option(store: &Path) -> String {
    format!("--cache={}", store.display())
}

/// A store with the image of a machine alone.
fn filled(place: &Place, more: &[&str]) -> PathBuf {
    let store = place.path().join("store");
    place.run("p", &[&[option(&store).as_str()], more].concat()).ok().says("sent images/");
    for folder in ["packages", "records"] {
        std::fs::remove_dir_all(store.join(folder)).unwrap();
    }
    store
}

fn documents(store: &Path) -> Vec<PathBuf> {
    let mut found = files_below(&store.join("images"));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    found
}

/// Makes the image `tiny` another one.
fn change_base(place: &Place) {
    place.write("context/Dockerfile", "FROM tiny\nCOPY Dockerfile /marker\n");
    let context = place.packages.join("context").display().to_string();
    place.run("", &["image", "build", "-t", "tiny", &context]).ok();
    std::fs::remove_dir_all(context).unwrap();
}

#[test]
fn a_builder_is_taken_from_a_cache_where_its_base_is_not_even_there() {
    let maker = machine();
    let store = filled(&maker, &[]);
    assert_eq!(documents(&store).len(), 2, "with the bases, and without");
    let elsewhere = machine();
    elsewhere.run("", &["image", "rm", "tiny"]).ok();
    let ran = elsewhere.run("p", &[&option(&store)]).ok();
    assert!(ran.stderr.contains("comes from"), "{}", ran.stderr);
    assert_eq!(elsewhere.file_of("p", "word"), "one");
    assert_eq!(maker.archive("p").file_name(), elsewhere.archive("p").file_name(), "the same id");
    let names = elsewhere.run("", &["image", "list"]).ok().stdout;
    assert!(names.contains("p_dockerdir-latest") && !names.contains(" tiny:latest"), "{names}");
    // Nothing of what was taken is sent again as ours, and the next run needs no cache.
    let second = elsewhere.path().join("second");
    elsewhere.run("p", &[&option(&second)]).ok();
    assert!(!second.join("images").exists());
    elsewhere.run("", &["cache", "verify", store.to_str().unwrap()]).ok();
}

#[test]
fn a_pull_knows_ids_by_the_builders_of_the_cache() {
    let maker = machine();
    let store = maker.path().join("store");
    maker.run("", &["tree", &option(&store)]).ok();
    let elsewhere = machine();
    elsewhere.run("", &["image", "rm", "tiny"]).ok();
    let ran = elsewhere.run("", &["cache", "pull", store.to_str().unwrap()]).ok();
    assert!(
        ran.stdout.contains("\n1 fetched, 0 were there, 1 in no cache, 0 failed\n"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
}

#[test]
fn a_builder_of_other_bases_or_of_another_folder_is_not_taken() {
    let maker = machine();
    let store = filled(&maker, &[]);
    let elsewhere = machine();
    change_base(&elsewhere);
    elsewhere.package("p", BUILDINFO, "cp /word /marker \"$PKG_PATH/\"");
    let ran = elsewhere.run("p", &[&option(&store)]).ok();
    assert!(!ran.stderr.contains("comes from"), "{}", ran.stderr);
    assert!(elsewhere.file_of("p", "marker").contains("FROM tiny"));
    // It has a key of its own; the one without bases stays as it was.
    assert_eq!(documents(&store).len(), 3);
    let third = machine();
    change_base(&third);
    third.package("p", BUILDINFO, "cp /word /marker \"$PKG_PATH/\"");
    let ran = third.run("p", &[&option(&store)]).ok();
    assert!(ran.stderr.contains("comes from"), "{}", ran.stderr);
    // A lock names the base image as well, where it is not here.
    let locked = machine();
    change_base(&locked);
    locked.package("p", BUILDINFO, "cp /word /marker \"$PKG_PATH/\"");
    locked.run("", &["lock"]).ok();
    locked.run("", &["image", "rm", "tiny"]).ok();
    let ran = locked.run("p", &[&option(&store)]).ok();
    assert!(ran.stderr.contains("comes from"), "{}", ran.stderr);
    let fourth = machine();
    fourth.write("p/docker/word", "two");
    let ran = fourth.run("p", &[&option(&store)]).ok();
    assert!(!ran.stderr.contains("comes from"), "{}", ran.stderr);
    assert_eq!(fourth.file_of("p", "word"), "two");
}

#[test]
fn without_a_trusted_signature_no_builder_is_taken_where_one_is_required() {
    let maker = machine();
    let key = Key::new(maker.path(), "good");
    let sign = format!("--sign={}", key.secret.display());
    let store = filled(&maker, &[&sign]);
    let taken = |signed: bool, why: &str| {
        let place = machine();
        let ran = place.run("p", &[&option(&store), &key.option()]).ok();
        assert_eq!(ran.stderr.contains("comes from"), signed, "{why}: {}", ran.stderr);
        assert_eq!(ran.stderr.contains("warning"), !signed, "{why}: {}", ran.stderr);
        assert_eq!(place.file_of("p", "word"), "one");
        std::fs::remove_dir_all(store.join("packages")).ok();
        std::fs::remove_dir_all(store.join("records")).ok();
    };
    taken(true, "signed");
    // An index that leads to another manifest.
    let texts: Vec<_> = documents(&store);
    for document in &texts {
        let text = std::fs::read_to_string(document).unwrap();
        std::fs::write(document, text.replacen("\"size\":", "\"size\": ", 1)).unwrap();
    }
    taken(false, "changed");
    for document in &texts {
        std::fs::remove_file(format!("{}.minisig", document.display())).unwrap();
    }
    taken(false, "unsigned");
}

#[test]
fn a_damaged_builder_is_built_and_stays_as_it_is() {
    let maker = machine();
    let store = filled(&maker, &[]);
    let blobs = files_below(&store.join("images/blobs"));
    for damaged in &blobs {
        let content = std::fs::read(damaged).unwrap();
        std::fs::write(damaged, &content[..content.len() / 2]).unwrap();
    }
    let before: Vec<_> = blobs.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let place = machine();
    // What the store has already of the base is not fetched.
    place.run("", &["image", "rm", "tiny"]).ok();
    let image = tiny_image().display().to_string();
    place.user(&format!("[images]\ntiny = \"docker-archive:{image}\"\n"));
    place.run("", &["image", "load", "--name", "tiny", &image]).ok();
    let ran = place.run("p", &[&option(&store)]).ok();
    assert!(ran.stderr.contains("damaged"), "{}", ran.stderr);
    assert_eq!(place.file_of("p", "word"), "one");
    let after: Vec<_> = blobs.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(before, after);
    let ran = place.run("", &["cache", "verify", store.to_str().unwrap()]).fails(1);
    assert!(ran.stdout.contains("damaged: images/blobs/sha256/"), "{}", ran.stdout);
}

#[test]
fn a_push_sends_the_builders_that_were_built_here() {
    let maker = machine();
    maker.run("p", &[]).ok();
    let store = maker.path().join("store");
    let push = |place: &Place, store: &Path| {
        place.run(".", &["cache", "push", "--package=p", store.to_str().unwrap()])
    };
    push(&maker, &store).ok();
    assert!(!documents(&store).is_empty());
    maker.run("", &["cache", "verify", store.to_str().unwrap()]).ok();
    let before = files_below(&store).len();
    push(&maker, &store).ok();
    assert_eq!(files_below(&store).len(), before);
    let taker = machine();
    let ran = taker.run("p", &[&option(&store)]).ok();
    assert!(ran.stderr.contains("comes from"), "{}", ran.stderr);
    push(&taker, &store).ok();
    // What comes from one cache is not vouched for in another one.
    let second = taker.path().join("second");
    push(&taker, &second).fails(1).says("this machine has no record of building the image");
    assert!(!second.join("images").exists());
}

#[test]
fn verify_looks_into_images() {
    let place = machine();
    let store = filled(&place, &[]);
    let verify = || place.run("", &["cache", "verify", store.to_str().unwrap()]);
    verify().ok();
    let index = documents(&store).remove(0);
    let name = index.strip_prefix(&store).unwrap().display().to_string();
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, "{}").unwrap();
    let ran = verify().fails(1);
    assert!(
        ran.stdout.contains(&format!("damaged: {name}: it leads to no manifest")),
        "{}",
        ran.stdout
    );
    std::fs::write(&index, &text).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = std::fs::read(store.join("images/blobs").join(&digest)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().replace(':', "/");
    std::fs::remove_file(store.join("images/blobs").join(&layer)).unwrap();
    let ran = verify().fails(1);
    let said = format!("missing: {name}: there is no images/blobs/{layer}, its layer");
    assert!(ran.stdout.contains(&said), "{said} in {}", ran.stdout);
    // Nor is a manifest read for each time that an index leads to it.
    let mut often = index;
    often["manifests"] = vec![often["manifests"][0].clone(); 100].into();
    std::fs::write(documents(&store).remove(0), often.to_string()).unwrap();
    let ran = verify().fails(1);
    assert_eq!(ran.stdout.matches(&said).count(), 1, "{}", ran.stdout);
}

#[test]
fn an_image_without_a_name_is_put_into_no_cache() {
    let place = machine();
    let text =
        "FROM tiny\nCOPY word /word\nRUN --network=none --mount=type=cache,target=/kept true\n";
    place.write("p/docker/Dockerfile", text);
    let store = place.path().join("store");
    place.run("p", &[&option(&store)]).ok();
    assert!(store.join("packages").exists() && !store.join("images").exists());
}
