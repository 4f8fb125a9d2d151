//! Releases in the servers that stand in for clouds, and promotion between two of them.

use std::path::Path;

use super::artifact::{Artifact, Existing, Source, content_type};
use super::config::ReleaseConfig;
use super::*;
use crate::base::event::Silent;
use crate::store::cloud::{CloudAddress, CloudBackend, CloudKind, CloudSettings};
use crate::store::tests::cloud::{AZURE_KEY, Cloud, patient_client};
use crate::store::{Key, StoreAccess};

/// Opens storages: S3 is preferred, Azure the other one. Keys come from the environment.
fn storages(s3: &Cloud, azure: &Cloud) -> Storages {
    let text = "
storage:
  aws: {kind: aws_s3, bucket: releases, object_prefix: dcos, download_url: 'https://d/dcos/', access_key_id: $ID, secret_access_key: $KEY, region_name: us-east-1}
  azure: {kind: azure_block_blob, account_name: devstoreaccount1, account_key: $AZURE, container: releases, download_url: 'https://a/releases/'}
options: {preferred: aws, cloudformation_s3_url: 'https://s3/releases/dcos'}
";
    let variable = |name: &str| match name {
        "AZURE" => Some(AZURE_KEY.to_owned()),
        "ID" | "KEY" => Some("secret".to_owned()),
        _ => None,
    };
    let config = ReleaseConfig::parse(Path::new("c"), text, &variable).unwrap();
    let clouds = CloudSettings { azure: azure.settings().azure.clone(), ..s3.settings().clone() };
    let access = StoreAccess { clouds, ..StoreAccess::new(patient_client()) };
    Storages::open(&config, &access).unwrap()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// A release with a large file of a channel, which goes to S3 in parts.
fn plan(place: ReleasePlace, storages: &Storages, large: &Path, from: Option<&str>) -> Plan {
    let text = include_bytes!("../../tests/data/release/metadata.json");
    let completes = Metadata::parse(text).unwrap().all_completes;
    let core = vec![
        Artifact::reproducible(
            key("bootstrap/b"),
            Source::Bytes(b"bootstrap".to_vec()),
            Existing::HasToBeEqual,
        ),
        Artifact::of_channel(key("bootstrap.latest"), None, Source::Bytes(b"id".to_vec())),
    ];
    let core = match from {
        None => core,
        Some(release) => trees::copied(core, "testing", release).unwrap(),
    };
    let channel = [
        Artifact::of_channel(
            key("version"),
            Some(content_type::TEXT),
            Source::Bytes(b"1.0".to_vec()),
        ),
        Artifact::of_channel(key("dcos_generate_config.sh"), None, Source::File(large.to_owned())),
    ];
    let mut metadata = describe(&place, "1.0", completes, &core, storages, "https://s3");
    metadata.channel_artifacts = channel.iter().map(Artifact::described).collect();
    let artifacts: Vec<Artifact> = core.into_iter().chain(channel).collect();
    Plan::new(place, &metadata, &artifacts).unwrap()
}

fn store(plan: &Plan, storages: &Storages, replaces: bool) -> Result<Stored, ReleaseError> {
    let surveyed = storages
        .written()
        .into_iter()
        .map(|storage| Ok((storage, survey(storage, plan, replaces, &Silent)?)))
        .collect::<Result<Vec<_>, ReleaseError>>()?;
    execute(plan, &surveyed, &Silent)
}

#[test]
fn releases_in_clouds_are_whole_with_their_headers_and_promoted() {
    let (Some(s3), Some(azure)) = (Cloud::s3(), Cloud::azure()) else { return };
    s3.make_bucket("releases");
    azure.make_bucket("releases");
    let storages = storages(&s3, &azure);
    let large = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(large.path(), vec![7; 9 << 20]).unwrap();
    let commit: Commit = "c0ffee".parse().unwrap();
    let place = ReleasePlace::new("testing", Some("master"), commit.clone()).unwrap();
    let release = place.release_path();
    let first = plan(place, &storages, large.path(), None);
    let stored = store(&first, &storages, false).unwrap();
    let objects = first.stages.iter().flat_map(Stage::operations).count();
    assert_eq!(stored, Stored { written: 2 * objects, left: 0 });
    let again = store(&first, &storages, false).unwrap();
    assert_eq!(again.written, 0, "{again:?}");

    let place = ReleasePlace::new("stable", None, commit).unwrap();
    let promoted = plan(place, &storages, large.path(), Some(&release));
    store(&promoted, &storages, false).unwrap();
    let backends = [
        (CloudKind::S3, "releases/dcos", s3.settings()),
        (CloudKind::Azure, "releases", azure.settings()),
    ]
    .map(|(kind, place, settings)| {
        let address = CloudAddress::parse(kind, place).unwrap();
        CloudBackend::new(address, settings.clone(), patient_client())
    });
    for (storage, backend) in storages.written().iter().zip(&backends) {
        for operation in
            [&first, &promoted].iter().flat_map(|plan| &plan.stages).flat_map(Stage::operations)
        {
            let (kind, cached) = backend.headers(&operation.key);
            let key = format!("{} {}", storage.name, operation.key);
            if operation.content_type.is_some() {
                assert_eq!(kind, operation.content_type, "{key}");
            }
            let is_uncached = operation.target != Target::Repository;
            assert_eq!(cached.as_deref(), is_uncached.then_some("no-cache"), "{key}");
        }
        for place in ["testing/master", "stable"] {
            assert_eq!(read_release(storage, place, &Silent).unwrap().build_name, place);
        }
        let listed = view::list(storage, None, &Silent).unwrap();
        let channels: Vec<&str> = listed.iter().map(|listed| listed.channel.as_str()).collect();
        assert_eq!(channels, ["stable", "testing/master"]);
    }

    let other = ReleasePlace::new("testing", Some("master"), "beef".parse().unwrap()).unwrap();
    let other = plan(other, &storages, large.path(), None);
    let error = store(&other, &storages, false).unwrap_err();
    assert!(matches!(error, ReleaseError::Taken { .. }), "{error:?}");
    store(&other, &storages, true).unwrap();
    for storage in storages.written() {
        let release = read_release(storage, "testing/master", &Silent).unwrap();
        assert_eq!(release.commit.as_str(), "beef");
    }
}
