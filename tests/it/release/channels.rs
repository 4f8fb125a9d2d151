//! Channels and their commits, and what stays of them when a stage fails.

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
    releases.run(&again).fails(1).says("does not describe a release");
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
    releases
        .run(&["create", "other", "1.0", "default"])
        .fails(1)
        .says("templates or a signature vouch for");
    assert_eq!(releases.objects("main"), before);
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
