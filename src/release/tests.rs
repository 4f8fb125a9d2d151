//! Releases in the servers that stand in for clouds, and promotion between two of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use super::artifact::{ArtifactContent, ExistingObject, ReleaseArtifact, content_type};
use super::config::ReleaseConfig;
use super::*;
use crate::base::event::{Event, Observer, Silent};
use crate::store::cloud::{CloudAddress, CloudBackend, CloudKind, CloudSettings};
use crate::store::tests::cloud::{AZURE_KEY, Cloud, patient_client};
use crate::store::tests::oci::Registry;
use crate::store::{ObjectKey, StoreAccess};

/// Opens storages of all kinds; S3 is preferred. Keys come from the environment.
fn storages(s3: &Cloud, azure: &Cloud, gcs: &Cloud, registry: &Registry) -> Storages {
    let host = &registry.host;
    let text = format!("
storage:
  aws: {{kind: aws_s3, bucket: releases, object_prefix: dcos, download_url: 'https://d/dcos/', access_key_id: $ID, secret_access_key: $KEY, region_name: us-east-1}}
  azure: {{kind: azure_block_blob, account_name: devstoreaccount1, account_key: $AZURE, container: releases, download_url: 'https://a/releases/'}}
  google: {{kind: gcs, bucket: releases, object_prefix: null, download_url: 'https://g/'}}
  registry: {{kind: oci, url: 'oci://{host}/team/releases'}}
options: {{preferred: aws, cloudformation_s3_url: 'https://s3/releases/dcos'}}
");
    let variable = |name: &str| match name {
        "AZURE" => Some(AZURE_KEY.to_owned()),
        "ID" | "KEY" => Some("secret".to_owned()),
        _ => None,
    };
    let config = ReleaseConfig::parse(Path::new("c"), &text, &variable).unwrap();
    let clouds = CloudSettings {
        azure: azure.settings().azure.clone(),
        gcs: gcs.settings().gcs.clone(),
        ..s3.settings().clone()
    };
    let registries = registry.options();
    let access = StoreAccess { clouds, registries, ..StoreAccess::new(patient_client()) };
    Storages::open(&config, &access).unwrap()
}

/// Opens storages in folders; `main` is preferred.
fn folders(below: &Path) -> Storages {
    let below = below.display();
    let text = format!(
        "storage:\n  main: {{kind: local_path, path: {below}/main}}\n  other: {{kind: local_path, path: {below}/other}}\noptions: {{preferred: main}}\n"
    );
    let config = ReleaseConfig::parse(Path::new("c"), &text, &|_| None).unwrap();
    Storages::open(&config, &StoreAccess::new(patient_client())).unwrap()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// A release with a large file of a channel, which goes to S3 in parts.
fn plan(
    location: ReleaseLocation,
    storages: &Storages,
    large: &Path,
    is_promoted: bool,
) -> ReleasePlan {
    let text = include_bytes!("../../tests/data/release/metadata.json");
    let completes = Metadata::parse(text).unwrap().all_completes;
    let core = vec![
        ReleaseArtifact::reproducible(
            key("bootstrap/b"),
            ArtifactContent::Bytes(b"bootstrap".to_vec()),
            ExistingObject::HasToBeEqual,
        ),
        ReleaseArtifact::of_channel(
            key("bootstrap.latest"),
            None,
            ArtifactContent::Bytes(b"id".to_vec()),
        ),
    ];
    let core = if is_promoted { trees::copied(core, "testing").unwrap() } else { core };
    let channel = [
        ReleaseArtifact::of_channel(
            key("version"),
            Some(content_type::TEXT),
            ArtifactContent::Bytes(b"1.0".to_vec()),
        ),
        ReleaseArtifact::of_channel(
            key("dcos_generate_config.sh"),
            None,
            ArtifactContent::File(large.to_owned()),
        ),
    ];
    let mut metadata = describe(&location, "1.0", completes, &core, storages, "https://s3");
    metadata.channel_artifacts = channel.iter().map(ReleaseArtifact::described).collect();
    let artifacts: Vec<ReleaseArtifact> = core.into_iter().chain(channel).collect();
    ReleasePlan::new(location, &metadata, &artifacts).unwrap()
}

fn look<'s>(
    plan: &ReleasePlan,
    storages: &'s Storages,
    replaces: bool,
) -> Result<Vec<(&'s Storage, Surveyed)>, ReleaseError> {
    let preferred = storages.preferred();
    let survey = Survey { plan, preferred, replaces, observer: &Silent };
    storages.written().into_iter().map(|storage| Ok((storage, survey.look(storage)?))).collect()
}

fn store(
    plan: &ReleasePlan,
    storages: &Storages,
    replaces: bool,
) -> Result<StoredCounts, ReleaseError> {
    execute(plan, &look(plan, storages, replaces)?, &Silent)
}

/// Observer that keeps the names of all that this machine sends and gets.
#[derive(Default)]
struct Moved(Mutex<BTreeSet<String>>);

impl Observer for Moved {
    fn event(&self, event: Event) {
        if let Event::Upload { subject, .. } | Event::Download { subject, .. } = event {
            self.0.lock().unwrap().insert(subject);
        }
    }
}

#[test]
fn releases_in_clouds_are_whole_with_their_headers_and_promoted() {
    let (Some(s3), Some(azure), Some(gcs)) = (Cloud::s3(), Cloud::azure(), Cloud::gcs()) else {
        return;
    };
    for cloud in [&s3, &azure, &gcs] {
        cloud.make_bucket("releases");
    }
    let registry = Registry::new(true);
    let storages = storages(&s3, &azure, &gcs, &registry);
    let large = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(large.path(), vec![7; 9 << 20]).unwrap();
    let commit: Commit = "c0ffee".parse().unwrap();
    let location = ReleaseLocation::new("testing", Some("master"), commit.clone()).unwrap();
    let first = plan(location, &storages, large.path(), false);
    let stored = store(&first, &storages, false).unwrap();
    let objects = first.stages.iter().flat_map(ReleaseStage::operations).count();
    assert_eq!(stored, StoredCounts { written: 4 * objects, left: 0 });
    let again = store(&first, &storages, false).unwrap();
    assert_eq!(again.written, 0, "{again:?}");

    let location = ReleaseLocation::new("stable", None, commit).unwrap();
    let promoted = plan(location, &storages, large.path(), true);
    let (surveyed, moved) = (look(&promoted, &storages, false).unwrap(), Moved::default());
    execute(&promoted, &surveyed, &moved).unwrap();
    // Stage 2, and a bootstrap that is promoted, is copied by the store itself.
    let made = ["bootstrap.latest", "version", "dcos_generate_config.sh", "metadata.json"]
        .map(|name| format!("stable/commit/c0ffee/{name}"));
    // The channel's is put, and not copied, unless there is one.
    let made = BTreeSet::from(made).into_iter().chain(["stable/metadata.json".to_owned()]);
    assert_eq!(moved.0.into_inner().unwrap(), made.collect());
    let backends = [
        (CloudKind::S3, "releases/dcos", s3.settings()),
        (CloudKind::Azure, "releases", azure.settings()),
        (CloudKind::Gcs, "releases", gcs.settings()),
    ]
    .map(|(kind, location, settings)| {
        let address = CloudAddress::parse(kind, location).unwrap();
        CloudBackend::new(address, settings.clone(), patient_client())
    });
    for (storage, backend) in storages.written().iter().zip(&backends) {
        for operation in [&first, &promoted]
            .iter()
            .flat_map(|plan| &plan.stages)
            .flat_map(ReleaseStage::operations)
        {
            let (kind, cached) = backend.headers(&operation.key);
            let key = format!("{} {}", storage.name, operation.key);
            if operation.content_type.is_some() {
                assert_eq!(kind, operation.content_type, "{key}");
            }
            let is_uncached = operation.target != ReleaseTarget::Repository;
            assert_eq!(cached.as_deref(), is_uncached.then_some("no-cache"), "{key}");
        }
    }
    for storage in storages.written() {
        for location in ["testing/master", "stable"] {
            assert_eq!(read_release(storage, location, &Silent).unwrap().build_name, location);
        }
        let listed = view::list(storage, None, &Silent).unwrap();
        let channels: Vec<&str> = listed.iter().map(|listed| listed.channel.as_str()).collect();
        assert_eq!(channels, ["stable", "testing/master"]);
    }

    let other = ReleaseLocation::new("testing", Some("master"), "beef".parse().unwrap()).unwrap();
    let other = plan(other, &storages, large.path(), false);
    let error = store(&other, &storages, false).unwrap_err();
    assert!(matches!(error, ReleaseError::Taken { .. }), "{error:?}");
    store(&other, &storages, true).unwrap();
    for storage in storages.written() {
        let release = read_release(storage, "testing/master", &Silent).unwrap();
        assert_eq!(release.commit.as_str(), "beef");
    }
}

/// Two runs that have both seen an empty channel: the second finds objects of the first, and stores nothing.
#[test]
fn of_two_runs_of_one_commit_with_other_files_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let storages = folders(folder.path());
    let location =
        || ReleaseLocation::new("testing", Some("master"), "c0ffee".parse().unwrap()).unwrap();
    let file = |content: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), content).unwrap();
        file
    };
    let (first, second) = (file("first"), file("second"));
    let plans = [&first, &second].map(|file| plan(location(), &storages, file.path(), false));
    let surveyed = plans.each_ref().map(|plan| look(plan, &storages, false).unwrap());
    execute(&plans[0], &surveyed[0], &Silent).unwrap();
    let before = all(folder.path());
    let error = execute(&plans[1], &surveyed[1], &Silent).unwrap_err();
    assert!(
        matches!(&error, ReleaseError::Raced { key, .. } if key.as_str().ends_with("dcos_generate_config.sh")),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("wait until the other run has ended"));
    assert_eq!(all(folder.path()), before);
    // The same release of two runs is one.
    assert_eq!(execute(&plans[0], &surveyed[0], &Silent).unwrap().written, 6, "the channel's");
    assert_eq!(all(folder.path()), before);
}

/// All objects of the storages.
fn all(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for storage in folders(folder).written() {
        let transfer = crate::store::StoreTransfer { subject: "s", observer: &Silent };
        for listed in storage.backend().list(None, &transfer).unwrap() {
            let content = fs_err::read(folder.join(&storage.name).join(listed.key.as_str()));
            found.push((format!("{} {}", storage.name, listed.key), content.unwrap()));
        }
    }
    found
}

/// A release has the sum of this machine's bootstrap in its templates, and would copy another one.
#[test]
fn a_bootstrap_that_differs_from_the_promoted_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let storages = folders(folder.path());
    let file = tempfile::NamedTempFile::new().unwrap();
    let commit = || "c0ffee".parse::<Commit>().unwrap();
    let location = ReleaseLocation::new("testing", Some("master"), commit()).unwrap();
    let release = location.release_path();
    let first = plan(location, &storages, file.path(), false);
    store(&first, &storages, false).unwrap();
    let location = || ReleaseLocation::new("stable", None, commit()).unwrap();
    let promoted = plan(location(), &storages, file.path(), true);
    let object = |storage: &str, key: &str| folder.path().join(storage).join(key);
    let bootstrap = object("other", "testing/bootstrap/b");
    fs_err::write(&bootstrap, "other one").unwrap();
    let error = store(&promoted, &storages, false).unwrap_err();
    assert!(
        matches!(&error, ReleaseError::Different { storage, key, file: None } if storage == "other" && key.as_str() == "testing/bootstrap/b"),
        "{error:?}"
    );
    assert!(!object("main", "stable").exists());
    fs_err::write(&bootstrap, "bootstrap").unwrap();
    // A bootstrap that appears after the survey stays, too.
    let surveyed = look(&promoted, &storages, false).unwrap();
    fs_err::create_dir_all(object("main", "stable/bootstrap")).unwrap();
    let theirs = object("main", "stable/bootstrap/b");
    fs_err::write(&theirs, "theirs").unwrap();
    let error = execute(&promoted, &surveyed, &Silent).unwrap_err();
    assert!(matches!(&error, ReleaseError::Raced { .. }), "{error:?}");
    assert_eq!(fs_err::read(&theirs).unwrap(), b"theirs");
    fs_err::remove_file(&theirs).unwrap();
    // Other files of the release are those that `metadata.json` leads to.
    let latest = object("main", &format!("{release}/bootstrap.latest"));
    fs_err::write(&latest, "other").unwrap();
    let surveyed = look(&promoted, &storages, false).unwrap();
    // Whoever may write to the release that is promoted may do so at any time.
    let latest = object("other", &format!("{release}/bootstrap.latest"));
    fs_err::write(&latest, "other").unwrap();
    execute(&promoted, &surveyed, &Silent).unwrap();
    for storage in ["main", "other"] {
        assert_eq!(fs_err::read(object(storage, "stable/bootstrap.latest")).unwrap(), b"id");
    }
    assert_eq!(store(&promoted, &storages, false).unwrap().written, 0);
}
