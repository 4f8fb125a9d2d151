//! Runs that are killed, and a reader that polls the channel meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;

use super::Releases;

/// Reads a channel as its `metadata.json` says, again and again. Any release has to be whole.
fn poll(storage: &Path, stop: &AtomicBool) -> BTreeSet<String> {
    let mut commits = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let text = std::fs::read(storage.join("testing/master/metadata.json")).unwrap();
        let metadata: Value = serde_json::from_slice(&text).expect("a whole file");
        let commit = metadata["commit"].as_str().unwrap().to_owned();
        let release = storage.join(metadata["reproducible_artifact_path"].as_str().unwrap());
        assert_eq!(std::fs::read(release.join("metadata.json")).unwrap(), text, "{commit}");
        for artifact in ["core_artifacts", "channel_artifacts"]
            .iter()
            .flat_map(|key| metadata[key].as_array().unwrap())
        {
            let path = match artifact["channel_path"].as_str() {
                Some(path) => release.join(path),
                None => {
                    storage.join("testing").join(artifact["reproducible_path"].as_str().unwrap())
                }
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
        let version = std::fs::read_to_string(storage.join("testing/master/version")).unwrap();
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

#[test]
fn a_release_that_is_killed_anywhere_is_finished_by_the_next_run() {
    let mut releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default", "ee"]).ok();
    releases.change_packages();
    // Everything is built, and the time that a whole run takes is known.
    releases.run(&["create", "other", "2.0", "default", "ee"]).ok();
    let begun = Instant::now();
    releases.run(&["create", "third", "2.0", "default", "ee"]).ok();
    let whole = begun.elapsed();
    let stop = AtomicBool::new(false);
    let folders = ["main", "mirror"].map(|storage| releases.folder(storage));
    let commits = std::thread::scope(|scope| {
        let readers = folders.each_ref().map(|folder| scope.spawn(|| poll(folder, &stop)));
        let _stops_readers = Stops(&stop);
        for number in 0..10 {
            releases.commit = format!("{:040}", number + 3);
            let tag = format!("2.{number}");
            let again = ["--replace", "create", "master", &tag, "default", "ee"];
            let mut command = releases.command(&again);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(whole.mul_f64(0.3 + f64::from(number) * 0.075));
            child.kill().unwrap();
            child.wait().unwrap();
            releases.run(&again).ok();
            for storage in ["main", "mirror"] {
                check_channel(&releases.objects(storage), &releases.commit);
            }
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert!(commits.len() > 3, "{commits:?}");
    let again = ["--replace", "create", "master", "2.9", "default", "ee"];
    releases.run(&again).ok().says(": 0 objects stored");
}

/// Checks that a channel has all files of a release, and is the release's.
fn check_channel(objects: &BTreeMap<String, Vec<u8>>, commit: &str) {
    let metadata: Value = serde_json::from_slice(&objects["testing/master/metadata.json"]).unwrap();
    assert_eq!(metadata["commit"], commit);
    let release = format!("testing/master/commit/{commit}/");
    let mut count = 0;
    for (key, content) in objects {
        // What a killed run was writing is swept after a day.
        if let Some(path) = key.strip_prefix(&release).filter(|path| !path.contains(".tmp-")) {
            assert_eq!(&objects[&format!("testing/master/{path}")], content, "{path}");
            count += 1;
        }
    }
    assert!(count > 6, "{count}");
}
