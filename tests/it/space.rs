//! Space that images take: what a build under way and the build cache need stays, and what a killed
//! build left goes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt::cleaners_of;
use crate::support::{Place, Ran, ran};
use crate::tiny::tiny_image;

const NOW: [&str; 3] = ["gc", "--keep-days", "0"];

/// A step that says so in its cache when it begins, and waits until the file `go` is there.
const WAIT: &str = "RUN --mount=type=cache,id=wait,target=/c \
                    touch /c/begun; while [ ! -e /c/go ]; do sleep 0.05; done";

/// A place with the tiny image in the store, and a context with a Dockerfile.
fn place(dockerfile: &str) -> (Place, PathBuf) {
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "tiny", &image]).ok();
    let folder = place.path().join("context");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    (place, folder)
}

fn build(place: &Place, folder: &Path, more: &[&str]) -> Ran {
    let folder = folder.display().to_string();
    let mut arguments = vec!["image", "build", "--network=none"];
    arguments.extend(more);
    arguments.push(&folder);
    place.run("", &arguments)
}

/// Starts a build, and waits until its step that waits runs; gives what that step has of its cache.
fn start(place: &Place, folder: &Path) -> (Child, PathBuf) {
    let folder = folder.display().to_string();
    let mut command =
        place.command("", &["image", "build", "--network=none", "-t", "test", &folder]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let files = || {
        let mut files = caches(place).into_iter().map(|cache| cache.join("files"));
        files.find(|files| files.join("begun").exists())
    };
    while files().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("the step doesn't start: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    (child, files().unwrap())
}

fn caches(place: &Place) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    below(&place.home.join("caches")).iter().flat_map(|mapping| below(mapping)).collect()
}

fn names(place: &Place, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.home.join(folder)) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.collect()
}

fn blobs(place: &Place) -> usize {
    names(place, "images/blobs/sha256").len()
}

fn layers(place: &Place) -> usize {
    let maps = names(place, "layers").into_iter();
    let all = maps.flat_map(|map| names(place, &format!("layers/{map}")));
    all.filter(|name| name.len() == 64).count()
}

/// Whether a build that ran found all of its steps.
fn was_cached(ran: Ran) -> bool {
    // It starts no helper then.
    !ran.ok().stderr.contains("isolation: ")
}

#[test]
fn what_the_build_of_an_image_needs_stays_while_it_goes_on() {
    let text = format!("FROM tiny\nRUN echo a > /a\n{WAIT}\nRUN cat /a > /b\n");
    let (place, folder) = place(&text);
    let (child, cache) = start(&place, &folder);
    let (blobs_before, layers_before) = (blobs(&place), layers(&place));
    // The image that it starts from, with its blobs.
    place.run("", &["image", "rm", "tiny"]).ok().says("blobs stay");
    let told = place.run("", &[&NOW[..], &["--max-size", "1K"]].concat()).fails(1).stdout;
    assert!(told.starts_with("removed 0 B in all"), "{told}");
    // The build may have unpacked one meanwhile.
    assert!(blobs(&place) >= blobs_before && layers(&place) >= layers_before);
    std::fs::write(cache.join("go"), "").unwrap();
    ran(&child.wait_with_output().unwrap()).ok();
    let inspected = place.run("", &["image", "inspect", "test"]).ok().stdout;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["manifest"]["layers"].as_array().unwrap().len(), 3);
    assert_eq!(place.run("", &["image", "rm", "test"]).ok().code, 0);
    place.run("", &NOW).ok();
    assert_eq!((blobs(&place), layers(&place), caches(&place).len()), (0, 0, 0));
    place.assert_clean();
}

#[test]
fn the_list_says_what_images_take_and_when_they_were_used() {
    let noise = "head -c 4000000 /dev/urandom > /noise";
    let (place, folder) = place(&format!("FROM tiny\nRUN {noise}\n{WAIT}\n"));
    let line = |name: &str| {
        let list = place.run("", &["image", "list"]).ok().stdout;
        let found = list.lines().find(|line| line.ends_with(&format!("  {name}:latest")));
        found.unwrap_or_else(|| panic!("no {name} in {list}")).to_owned()
    };
    assert!(line("tiny").contains("  not used yet "), "{}", line("tiny"));
    let (child, files) = start(&place, &folder);
    assert!(line("tiny").contains("  in use "), "{}", line("tiny"));
    std::fs::write(files.join("go"), "").unwrap();
    ran(&child.wait_with_output().unwrap()).ok();
    assert!(line("tiny").contains("  just now "), "{}", line("tiny"));
    // Packed and unpacked, and the base's layer is both images'.
    let made = line("test");
    let words: Vec<&str> = made.split_whitespace().collect();
    assert!(words[3].starts_with("8.") && words[4] == "MB", "{made}");
    assert!(words[1] > "8.9" || words[1].starts_with('1'), "{made}");
    assert_eq!(line("test"), made, "known the second time");
    place.run("", &["image", "rm", "tiny"]).ok();
    let alone = line("test");
    let words: Vec<&str> = alone.split_whitespace().collect();
    assert_eq!(words[1..3], words[3..5], "nobody else has any of it: {alone}");
}

#[test]
fn the_build_cache_keeps_what_it_leads_to() {
    let (place, folder) = place("FROM tiny\nRUN echo $RANDOM > /a\nRUN true\n");
    let first = build(&place, &folder, &["-t", "test"]).ok().stdout;
    place.run("", &["image", "rm", "test"]).ok().says("1 blobs stay for the build cache");
    place.run("", &["gc"]).ok();
    let again = build(&place, &folder, &["-t", "test"]).ok();
    assert_eq!(again.stdout, first);
    assert!(was_cached(again));
    place.run("", &["image", "rm", "test"]).ok();
    // One whose blob is gone goes, however young it is.
    let inode = |place: &Place| names(place, "build-cache").len();
    assert_eq!(inode(&place), 2);
    let before = blobs(&place);
    let told = place.run("", &NOW).ok().stdout;
    assert!(told.contains("  step (2)\n"), "{told}");
    assert_eq!((inode(&place), blobs(&place)), (0, before - 1));
    assert!(!was_cached(build(&place, &folder, &["-t", "test"])));
    let made = place.run("", &["image", "inspect", "test"]).ok().stdout;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let digest = made["manifest"]["layers"][1]["digest"].as_str().unwrap();
    place.run("", &["image", "rm", "test"]).ok();
    let blob = digest.strip_prefix("sha256:").unwrap();
    std::fs::remove_file(place.home.join("images/blobs/sha256").join(blob)).unwrap();
    let told = place.run("", &["gc"]).ok().stdout;
    assert!(told.contains("  step (1)\n"), "{told}");
    assert_eq!(inode(&place), 1);
    place.assert_clean();
}

#[test]
fn caches_and_logs_are_given_back_too() {
    let (place, folder) = place("FROM tiny\nRUN --mount=type=cache,target=/c echo x > /c/x\n");
    build(&place, &folder, &["-t", "test"]).ok();
    assert_eq!((caches(&place).len(), names(&place, "image-logs").len()), (1, 1));
    let told = place.run("", &["gc"]).ok().stdout;
    assert!(told.starts_with("removed 0 B in all"), "{told}");
    place.run("", &[&NOW[..], &["--max-size", "1K"]].concat()).fails(1);
    assert_eq!((names(&place, "caches").len(), names(&place, "image-logs").len()), (0, 0));
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let noise = "head -c 4000000 /dev/urandom > /noise";
    let (place, folder) = place(&format!("FROM tiny\nRUN : one; {noise}\n"));
    build(&place, &folder, &[]).ok();
    let other = place.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("Dockerfile"), format!("FROM tiny\nRUN : two; {noise}\n")).unwrap();
    build(&place, &other, &[]).ok();
    // Times of uses are told by the second.
    std::thread::sleep(Duration::from_millis(1100));
    assert!(was_cached(build(&place, &folder, &[])));
    let before = taken(&place);
    // A layer of the one that was used longer ago, unpacked and packed.
    let most = (before - 6_000_000).to_string();
    let told = place.run("", &["gc", "--max-size", &most]).ok().stdout;
    assert!(told.contains("  step (1)\n") && told.contains("  layer (1)\n"), "{told}");
    assert!(taken(&place) <= before - 6_000_000);
    assert!(was_cached(build(&place, &folder, &[])), "{told}");
    assert!(!was_cached(build(&place, &other, &[])), "{told}");
}

/// What the builder's own folder takes on the disk, in bytes.
fn taken(place: &Place) -> u64 {
    let output = Command::new("du").args(["-s", "-B1"]).arg(&place.home).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn layers_of_a_build_that_was_killed_are_found() {
    let (place, folder) = place(&format!("FROM tiny\nRUN echo a > /a\n{WAIT}\n"));
    let before = blobs(&place);
    let (mut child, _cache) = start(&place, &folder);
    // As where a whole cgroup is killed.
    for process in cleaners_of(child.id()).into_iter().chain([child.id()]) {
        kill(Pid::from_raw(i32::try_from(process).unwrap()), Signal::SIGKILL).unwrap();
    }
    child.wait().unwrap();
    assert_eq!(blobs(&place), before + 1);
    let is_staged = |name: &String| name.starts_with(".tmp-");
    assert!(names(&place, "images").iter().any(is_staged));
    // A blob that came into the store, and of which nothing knows.
    let lost = place.home.join("images/blobs/sha256").join("e".repeat(64));
    std::fs::write(&lost, "half").unwrap();
    let told = place.run("", &NOW).ok().stdout;
    for kind in ["scratch (1)", "staging (1)", "step (1)", "blob (1)", "cache (1)", "layer (1)"] {
        assert!(told.contains(&format!("  {kind}\n")), "no {kind} in {told}");
    }
    assert_eq!((blobs(&place), layers(&place)), (before, 1));
    assert!(!names(&place, "images").iter().any(is_staged));
    place.assert_clean();
}
