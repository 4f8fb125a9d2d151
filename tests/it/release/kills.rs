//! Runs that are killed while they store, and a reader that polls the channel meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Releases;
use crate::support::files_below;

/// Number of runs that are killed.
const KILLS: usize = 10;

/// Reads a channel as its `metadata.json` says, again and again. Any release has to be whole.
fn poll(storage: &Path, channel: &str, stop: &AtomicBool) -> BTreeSet<String> {
    let mut commits = BTreeSet::new();
    let folder = storage.join(channel);
    while !stop.load(Ordering::Relaxed) {
        let text = std::fs::read(folder.join("metadata.json")).unwrap();
        let metadata: Value = serde_json::from_slice(&text).expect("a whole file");
        let commit = metadata["commit"].as_str().unwrap().to_owned();
        let repository = storage.join(metadata["repository_path"].as_str().unwrap());
        let release = storage.join(metadata["reproducible_artifact_path"].as_str().unwrap());
        assert_eq!(std::fs::read(release.join("metadata.json")).unwrap(), text, "{commit}");
        for artifact in ["core_artifacts", "channel_artifacts"]
            .iter()
            .flat_map(|key| metadata[key].as_array().unwrap())
        {
            let path = match artifact["channel_path"].as_str() {
                Some(path) => release.join(path),
                None => repository.join(artifact["reproducible_path"].as_str().unwrap()),
            };
            assert!(path.is_file(), "{commit} lacks {}", path.display());
        }
        let user_data = std::fs::read(release.join("cloud-init/user-data.json")).unwrap();
        let user_data: Value = serde_json::from_slice(&user_data).unwrap();
        assert_eq!(user_data["tag"], metadata["tag"]);
        assert_eq!(user_data["bootstrap"], metadata["bootstrap_dict"]["null"]);
        let tag = metadata["tag"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(release.join("version")).unwrap(), tag);
        // What lies in the channel itself is whole, and of one of the releases.
        let version = std::fs::read_to_string(folder.join("version")).unwrap();
        assert!(version.len() == 3 && version.as_bytes()[1] == b'.', "{version:?}");
        commits.insert(commit);
    }
    commits
}

/// Ends the readers, also where a check fails.
struct Stops<'s>(&'s AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// States in which killed runs have left a channel.
#[derive(Debug, Default)]
struct Left {
    /// Releases that were not complete.
    incomplete: usize,
    /// Channels of which some files were of the release, but not `metadata.json`.
    half_moved: usize,
}

/// Number of the files of a release under its commit, and of the channel's that are equal to them.
fn progress(releases: &Releases, channel: &str) -> [usize; 2] {
    let mut found = [0, 0];
    for storage in ["main", "mirror"] {
        let channel = releases.folder(storage).join(channel);
        let release = channel.join("commit").join(&releases.commit);
        for path in if release.is_dir() { files_below(&release) } else { Vec::new() } {
            let Ok(content) = std::fs::read(&path) else { continue };
            let copy = channel.join(path.strip_prefix(&release).unwrap());
            found[0] += 1;
            found[1] += usize::from(std::fs::read(copy).is_ok_and(|copy| copy == content));
        }
    }
    found
}

/// Kills a run as soon as it has stored so many files of its release, and copied so many to the channel.
fn kill_at(releases: &Releases, channel: &str, mut child: Child, wanted: [usize; 2]) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let found = progress(releases, channel);
        if found[0] >= wanted[0] && found[1] >= wanted[1] || child.try_wait().unwrap().is_some() {
            break;
        }
        assert!(Instant::now() < until, "{found:?} of {wanted:?}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Has runs killed that move a channel, each later than the one before, and repeated. `arguments` gives
/// the command of each, and prepares what it needs.
fn kill_and_repeat(
    mut releases: Releases,
    channel: &str,
    arguments: impl Fn(&Releases, usize) -> Vec<String>,
) {
    let stop = AtomicBool::new(false);
    let mut left = Left::default();
    let folders = ["main", "mirror"].map(|storage| releases.folder(storage));
    let whole = progress(&releases, channel);
    assert!(whole[0] > 12 && whole[0] == whole[1], "{whole:?}");
    let commits = std::thread::scope(|scope| {
        let readers = folders.each_ref().map(|folder| scope.spawn(|| poll(folder, channel, &stop)));
        let _stops_readers = Stops(&stop);
        for number in 0..KILLS {
            releases.commit = format!("{:040}", number + 3);
            let arguments = arguments(&releases, number);
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let mut command = releases.command(&arguments);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().unwrap();
            // The first half within stage 1, the second one within stage 2.
            let half = KILLS / 2;
            let part = |number: usize| whole[0] * number / half;
            let wanted = match number.checked_sub(half) {
                None => [1 + part(number), 0],
                Some(number) => [0, 1 + part(number)],
            };
            kill_at(&releases, channel, child, wanted);
            let found = progress(&releases, channel);
            let published = releases.json("mirror", &format!("{channel}/metadata.json"));
            left.incomplete += usize::from(found[0] < whole[0]);
            left.half_moved +=
                usize::from(found[1] > 0 && published["commit"] != releases.commit.as_str());
            releases.run(&arguments).ok();
            for storage in ["main", "mirror"] {
                check_channel(&releases.objects(storage), channel, &releases.commit);
            }
            releases.run(&arguments).ok().says(": 0 objects stored");
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert!(commits.len() > KILLS / 2, "{commits:?}");
    assert!(left.incomplete > 1 && left.half_moved > 1, "{left:?}");
}

#[test]
fn a_release_that_is_killed_anywhere_is_finished_by_the_next_run() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default", "ee"]).ok();
    releases.change_packages();
    // Everything is built.
    releases.run(&["create", "other", "2.0", "default", "ee"]).ok();
    kill_and_repeat(releases, "testing/master", |_, number| {
        let tag = format!("2.{number}");
        ["--replace", "create", "master", &tag, "default", "ee"].map(str::to_owned).to_vec()
    });
}

#[test]
fn a_promotion_that_is_killed_anywhere_is_finished_by_the_next_run() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default", "ee"]).ok();
    releases.run(&["promote", "testing/master", "stable"]).ok();
    releases.change_packages();
    kill_and_repeat(releases, "stable", |releases, number| {
        let (channel, tag) = (format!("c{number}"), format!("2.{number}"));
        releases.run(&["create", &channel, &tag, "default", "ee"]).ok();
        let source = format!("testing/{channel}");
        ["--replace", "promote", &source, "stable"].map(str::to_owned).to_vec()
    });
}

/// Checks that a channel has all files of a release, and is the release's.
fn check_channel(objects: &BTreeMap<String, Vec<u8>>, channel: &str, commit: &str) {
    let metadata: Value =
        serde_json::from_slice(&objects[&format!("{channel}/metadata.json")]).unwrap();
    assert_eq!(metadata["commit"], commit);
    let release = format!("{channel}/commit/{commit}/");
    let mut count = 0;
    for (key, content) in objects {
        // What a killed run was writing is swept after a day.
        if let Some(path) = key.strip_prefix(&release).filter(|path| !path.contains(".tmp-")) {
            assert_eq!(&objects[&format!("{channel}/{path}")], content, "{path}");
            count += 1;
        }
    }
    assert!(count > 6, "{count}");
}
