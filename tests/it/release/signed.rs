//! Releases whose objects are signed, and whose user data demands the key.

use super::{Releases, SECOND};
use crate::signing::Key;

/// Objects that hosts fetch, without their signatures.
fn fetched(releases: &Releases, storage: &str, repository: &str) -> Vec<String> {
    let folders = ["bootstrap/", "packages/", "package_lists/", "pkgpanda/"];
    let keys = releases.objects(storage).into_keys();
    keys.filter(|key| {
        let below = key.strip_prefix(repository).and_then(|key| key.strip_prefix('/'));
        below.is_some_and(|below| folders.iter().any(|folder| below.starts_with(folder)))
            && !key.ends_with(".active.json")
            && !key.ends_with(".minisig")
    })
    .collect()
}

fn user_data(releases: &Releases, channel: &str) -> String {
    let key = format!("{channel}/cloudformation/single-master.cloudformation.json");
    String::from_utf8(releases.objects("main")[&key].clone()).unwrap()
}

#[test]
fn all_that_hosts_fetch_is_signed_and_user_data_demands_the_key() {
    let releases = Releases::new();
    let key = Key::new(releases.place.path(), "release");
    let sign = ["--sign", key.secret.to_str().unwrap()];
    let create = |sign: &[&str]| {
        releases.run(&[&["create", "master", "1.0", "default", "ee"], sign].concat())
    };
    create(&sign).ok();
    let objects = releases.objects("mirror");
    let wanted = fetched(&releases, "mirror", "testing");
    assert!(wanted.len() > 12, "{wanted:?}");
    let trusted = mkpanda::store::signature::TrustedKeys::new(
        [mkpanda::store::signature::TrustedKey::named(&key.line, releases.place.path()).unwrap()],
        Vec::new(),
    );
    for path in &wanted {
        let signature = &objects[&format!("{path}.minisig")];
        let id = mkpanda::artifact::signed_id(path.strip_prefix("testing/").unwrap());
        mkpanda::store::signature::verify(&objects[path][..], signature, id, &trusted)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    for path in
        ["bootstrap", "packages/app/", "packages/dcos-config/", "package_lists/", "pkgpanda/"]
    {
        assert!(wanted.iter().any(|key| key.contains(path)), "{path}");
    }
    assert!(wanted.iter().any(|key| key.ends_with(".dcos_config")), "{wanted:?}");
    assert!(
        user_data(&releases, "testing/master").contains(&format!("signing_key='{}'", key.line))
    );

    // Signatures have other bytes each time: those that are there serve.
    create(&sign).ok().says(": 0 objects stored");
    assert_eq!(releases.objects("mirror"), objects);
    releases.run(&["promote", "testing/master", "stable", sign[0], sign[1]]).ok();
    assert!(user_data(&releases, "stable").contains(&key.line));
    let objects = releases.objects("main");
    let promoted = fetched(&releases, "main", "stable");
    assert!(promoted.len() >= wanted.len());
    assert!(promoted.iter().all(|path| objects.contains_key(&format!("{path}.minisig"))));

    // Another key would leave the user data with a key that did not sign what is there.
    let other = Key::new(releases.place.path(), "other");
    let by_other = ["--replace", "create", "master", "1.0", "default", "--sign"];
    let by_other = [&by_other[..], &[other.secret.to_str().unwrap()]].concat();
    releases.run(&by_other).fails(1).says("has a complete release of this commit");
    assert_eq!(releases.objects("main"), objects);
    // Nor does a package with other bytes serve.
    let package = wanted.iter().find(|key| key.contains("/packages/app/")).unwrap();
    std::fs::write(releases.folder("mirror").join(package), "other").unwrap();
    create(&sign).fails(1).says("storage mirror has another").says("/packages/app/");
    std::fs::write(releases.folder("mirror").join(package), &objects[package]).unwrap();
    // Another release shares the packages, and so their signatures.
    let releases = releases.at(SECOND);
    releases
        .run(&by_other)
        .fails(1)
        .says(".minisig than this release")
        .says("by the key that signed");
    assert_eq!(releases.objects("main"), objects);
}

#[test]
fn a_release_without_a_key_demands_none() {
    let releases = Releases::new();
    releases.run(&["create", "master", "1.0", "default"]).ok();
    assert!(releases.objects("main").keys().all(|key| !key.ends_with(".minisig")));
    assert!(user_data(&releases, "testing/master").contains("signing_key=''"));
}
