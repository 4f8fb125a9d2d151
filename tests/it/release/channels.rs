//! Channels and their commits, and what stays of them when a stage fails.

use std::collections::BTreeMap;

use super::{FIRST, Releases, SECOND};
use crate::support::{files_below, repository};

#[test]
fn the_commit_is_that_of_the_checkout() {
    let releases = Releases::new();
    let create = ["create", "master", "1.0", "default"];
    let run = |releases: &Releases| {
        let mut command = releases.command(&create);
        crate::support::ran(&command.env_remove("DCOS_IMAGE_COMMIT").output().unwrap())
    };
    run(&releases)
        .fails(1)
        .says("the commit of")
        .says("hint: run mkpanda in a git checkout, or name the commit: DCOS_IMAGE_COMMIT=");
    let commit = repository(&releases.place.path().join("tree"));
    run(&releases).ok();
    assert_eq!(releases.json("main", "testing/master/metadata.json")["commit"], commit);
}

#[test]
fn a_channel_stays_that_of_its_commit() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let before = releases.objects("main");
    let releases = releases.at(SECOND);
    let again = ["create", "master", "2.0", "default"];
    let refused = releases.run(&again).fails(1);
    refused
        .says("the channel testing/master in storage main has the release of commit 1111")
        .says("--replace");
    assert_eq!(releases.objects("main"), before);
    let releases = releases.at(FIRST);
    releases
        .run(&again)
        .fails(1)
        .says("has a complete release of this commit with another testing/master/commit/1111");
    assert_eq!(releases.objects("main"), before, "the same commit under another name");
    std::fs::write(
        releases.place.path().join("tree/cloud-init/user-data.json"),
        "{\"other\": {{ tag }}}",
    )
    .unwrap();
    releases
        .run(&["create", "master", "1.0", "default"])
        .fails(1)
        .says("cloud-init/user-data.json");
    assert_eq!(releases.objects("main"), before, "the same metadata, but another template");
    let releases = releases.at(SECOND);
    releases.run(&[&["--replace"], &again[..]].concat()).ok();
    assert_eq!(releases.json("mirror", "testing/master/metadata.json")["commit"], SECOND);
    assert_eq!(
        releases.json("main", &format!("testing/master/commit/{FIRST}/metadata.json"))["commit"],
        FIRST,
        "still there"
    );
    // Files that are not a release are nobody's to replace, either.
    std::fs::write(releases.folder("main").join("testing/master/metadata.json"), "{}").unwrap();
    for options in [&[][..], &["--replace"]] {
        releases.run(&[options, &again[..]].concat()).fails(1).says("does not describe a release");
    }
    assert_eq!(releases.json("main", "testing/master/metadata.json"), serde_json::json!({}));
}

/// People may be reading the release while it would be rewritten.
#[test]
fn a_complete_release_does_not_change() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let before = releases.objects("main");
    let again = ["--replace", "create", "master", "2.0", "default"];
    let name = format!("{FIRST}.2");
    let refused = releases.run(&again).fails(1);
    refused
        .says("has a complete release of this commit with another testing/master/commit/1111")
        .says(&format!("DCOS_IMAGE_COMMIT={name} mkpanda release --replace"));
    assert_eq!(releases.objects("main"), before);
    let releases = releases.at(&name);
    releases.run(&again).ok();
    assert_eq!(releases.json("main", "testing/master/metadata.json")["tag"], "2.0");
    let after = releases.objects("main");
    let kept = before.iter().filter(|(key, _)| key.contains("/commit/"));
    assert!(kept.clone().count() > 4);
    for (key, content) in kept {
        assert_eq!(&after[key], content, "{key}");
    }
}

/// A run for another commit has ended in stage 2, so that some files of the channel are of its release.
#[test]
fn a_channel_that_is_half_moved_is_moved_back() {
    let releases = Releases::new();
    let first = ["create", "--jobs=2", "master", "1.0", "default"];
    releases.run(&first).ok();
    let before = ["main", "mirror"].map(|storage| of_channel(&releases, storage));
    let releases = releases.at(SECOND);
    let version = releases.folder("mirror").join("testing/master/version");
    std::fs::remove_file(&version).unwrap();
    std::fs::create_dir(&version).unwrap();
    releases
        .run(&["--replace", "create", "master", "2.0", "default"])
        .fails(1)
        .says("storage mirror, stage 2");
    std::fs::remove_dir(&version).unwrap();
    assert_ne!(of_channel(&releases, "main"), before[0], "half of it is moved");
    let releases = releases.at(FIRST);
    releases.run(&first).ok();
    for (storage, before) in ["main", "mirror"].iter().zip(before) {
        assert_eq!(of_channel(&releases, storage), before, "{storage}");
    }
    releases.run(&first).ok().says(": 0 objects stored");
}

/// Files of the channel itself.
fn of_channel(releases: &Releases, storage: &str) -> BTreeMap<String, Vec<u8>> {
    let is_of_channel =
        |key: &String| key.starts_with("testing/master/") && !key.contains("/commit/");
    releases.objects(storage).into_iter().filter(|(key, _)| is_of_channel(key)).collect()
}

#[test]
fn a_bootstrap_with_another_sum_is_refused() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let bootstraps = releases.folder("main").join("testing/bootstrap");
    let archive = files_below(&bootstraps)
        .into_iter()
        .find(|path| path.to_str().unwrap().ends_with(".tar.xz"))
        .unwrap();
    let mut content = std::fs::read(&archive).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&archive, content).unwrap();
    let before = releases.objects("main");
    let name = archive.file_name().unwrap().to_str().unwrap();
    let local = releases.place.packages.join("cache/bootstrap").join(name);
    let hint = format!("hint: to take the storage's: rm {}", local.display());
    let other = ["create", "other", "1.0", "default"];
    releases.run(&other).fails(1).says("templates or a signature vouch for").says(&hint);
    assert_eq!(releases.objects("main"), before);
    // The archive with one bit changed is not one, and is not taken. The mirror's is.
    let mirrored = releases.folder("mirror").join("testing/bootstrap").join(name);
    std::fs::copy(&mirrored, &archive).unwrap();
    std::fs::write(&mirrored, "other").unwrap();
    releases
        .run(&other)
        .fails(1)
        .says("storage mirror has another")
        .says(&format!("remove testing/bootstrap/{name} from storage mirror"));
    std::fs::remove_file(&mirrored).unwrap();
    releases.run(&other).ok();
}

/// The cache has another archive of the bootstrap than the release.
#[test]
fn a_promoted_release_states_the_sum_of_its_own_bootstrap() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let id =
        releases.json("main", "testing/master/metadata.json")["bootstrap_dict"]["null"].clone();
    let name = format!("{}.bootstrap.tar.xz", id.as_str().unwrap());
    let local = releases.place.packages.join("cache/bootstrap").join(&name);
    let mut content = std::fs::read(&local).unwrap();
    content.extend([0; 4]);
    std::fs::write(&local, &content).unwrap();
    let before = releases.objects("main");
    let promote = ["promote", "testing/master", "stable"];
    let hint = format!("hint: to take the storage's: rm {}, and run", local.display());
    releases.run(&promote).fails(1).says("templates or a signature vouch for").says(&hint);
    assert_eq!(releases.objects("main"), before);
    std::fs::remove_file(&local).unwrap();
    releases.run(&promote).ok();
    let objects = releases.objects("main");
    let published = &objects[&format!("stable/bootstrap/{name}")];
    let user_data = releases.json("main", "stable/cloud-init/user-data.json");
    assert_eq!(user_data["sha256"], crate::support::sha256(published));
    // The commit that is named is not that of the release.
    let releases = releases.at(SECOND);
    releases
        .run(&promote)
        .fails(1)
        .says("is a release of commit 1111")
        .says(&format!("DCOS_IMAGE_COMMIT={FIRST}"));
}

#[test]
fn a_stage_that_fails_leaves_the_channel_as_it_was() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    let releases = releases.at(SECOND);
    let again = ["--replace", "create", "master", "2.0", "default"];
    for (stage, key, said) in [
        (
            1,
            format!("testing/master/commit/{SECOND}/version"),
            "the release is not complete, and its channel is as it was",
        ),
        (
            2,
            "testing/master/version".to_owned(),
            "the release is complete, but not all files of the channel are of it yet",
        ),
    ] {
        let channel = releases.json("main", "testing/master/metadata.json");
        let path = releases.folder("mirror").join(&key);
        drop(std::fs::remove_file(&path));
        std::fs::create_dir_all(&path).unwrap();
        releases
            .run(&again)
            .fails(1)
            .says(&format!("storage mirror, stage {stage}: {said}"))
            .says(&key)
            .says("run the same command again");
        assert_eq!(releases.json("main", "testing/master/metadata.json"), channel, "stage {stage}");
        assert_eq!(
            releases.json("mirror", "testing/master/metadata.json"),
            channel,
            "stage {stage}"
        );
        std::fs::remove_dir(path).unwrap();
    }
    releases.run(&again).ok();
    for storage in ["main", "mirror"] {
        assert_eq!(releases.json(storage, "testing/master/metadata.json")["commit"], SECOND);
    }
}
