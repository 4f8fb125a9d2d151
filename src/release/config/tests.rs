//! Configurations, good and bad.

use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<ReleaseConfig, ReleaseConfigError> {
    let variable = |name: &str| (name == "SET").then(|| "s3cr3t".to_owned());
    ReleaseConfig::parse(Path::new("/c/release.yaml"), text, &variable)
}

const WHOLE: &str = "\
storage:
  mirror: {kind: http_read, url: 'https://m/x/'}
  aws:
    kind: aws_s3
    bucket: bkt
    object_prefix: dcos
    download_url: https://d/dcos/
    access_key_id: $SET
    secret_access_key: $SET
    region_name: us-west-2
  azure: {kind: azure_block_blob, account_name: acc, account_key: $SET, container: con, download_url: 'https://a/con/'}
  local: {kind: local_path, path: /srv/releases, read_only: true}
  google: {kind: gcs, bucket: bkt, object_prefix: null, download_url: 'https://g/'}
  registry: {kind: oci, url: 'oci://localhost:5000/releases'}
testing:
  aws: {kind: nothing, that: is, known: $UNSET}
options: {preferred: aws, cloudformation_s3_url: 'https://s3/bkt/dcos', version: 1.14, providers: [cloud-init, /p], pkgpanda: bin/pkgpanda}
";

#[test]
fn a_configuration_of_the_original_is_read() {
    let config = parse(WHOLE).unwrap();
    let shown: Vec<_> = config
        .storages
        .iter()
        .map(|storage| (storage.name.as_str(), storage.url.as_str(), storage.unwritten().is_some()))
        .collect();
    assert_eq!(
        shown,
        [
            ("mirror", "https://m/x/", true),
            ("aws", "https://d/dcos/", false),
            ("azure", "https://a/con/", false),
            ("local", "file:///srv/releases/", true),
            ("google", "https://g/", false),
            ("registry", "oci://localhost:5000/releases/", false),
        ]
    );
    assert_eq!(config.preferred().name, "aws");
    let StorageKind::S3 { place, access, region } = &config.preferred().kind else { panic!() };
    assert_eq!((place.as_str(), region.as_deref()), ("bkt/dcos", Some("us-west-2")));
    assert_eq!(access.as_ref().unwrap().0.reveal(), "s3cr3t");
    let StorageKind::Gcs { place, .. } = &config.storages[4].kind else { panic!() };
    assert_eq!(place, "bkt");
    assert_eq!(config.version.as_deref(), Some("1.14"), "as written");
    assert_eq!(config.pkgpanda.as_deref(), Some(Path::new("/c/bin/pkgpanda")));
    assert_eq!(config.providers, [Path::new("/c/cloud-init"), Path::new("/p")]);
    assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");
}

#[test]
fn a_dollar_begins_a_variable_as_a_whole() {
    let with = |path: &str| {
        let text = format!(
            "storage: {{l: {{kind: local_path, path: {path}}}}}\noptions: {{preferred: l}}\n"
        );
        parse(&text)
    };
    let error = with("$SET").unwrap_err().to_string();
    assert!(error.contains("absolute path") && !error.contains("s3cr3t"), "{error}");
    assert_eq!(with("/x$SET").unwrap().storages[0].url, "file:///x$SET/");
    let error = with("$$SET").unwrap_err().to_string();
    assert!(error.contains("absolute path"), "{error}");
    let error = with("$UNSET").unwrap_err();
    assert!(error.message.contains("UNSET is not set"), "{error}");
    assert!(error.hint.unwrap().contains("export UNSET"));
}

#[test]
fn faults_are_named_with_their_place_and_without_values() {
    let storage =
        |storage: &str| format!("storage:\n  one: {{{storage}}}\noptions: {{preferred: one}}\n");
    let local = "kind: local_path, path: /p";
    let aws = "kind: aws_s3, bucket: s3cr3t, download_url: 'https://d/'";
    let azure =
        "kind: azure_block_blob, account_name: acc, container: con, download_url: 'https://d/'";
    for (text, said) in [
        ("[1]".to_owned(), "not a mapping"),
        ("a: [\n".to_owned(), "not valid YAML"),
        ("options: {preferred: a}\n".to_owned(), "the key storage is missing"),
        ("storage: {}\noptions: {preferred: a}\n".to_owned(), ":1: storage is empty"),
        (format!("storage:\n  one: {{{local}}}\n"), "the key options is missing"),
        (
            format!("storage:\n  one: {{{local}}}\noptions: {{}}\n"),
            ":3: options: the key preferred is missing",
        ),
        (
            format!("storage:\n  one: {{{local}}}\noptions: {{preferred: s3cr3t}}\n"),
            "not one of the storages: one",
        ),
        (
            format!("storage:\n  one: {{{local}}}\noptions: {{preferred: one, s3: x}}\n"),
            "the key s3 is not known",
        ),
        (format!("storage:\n  one: {{{local}}}\n  one: {{{local}}}\n"), "given twice"),
        (
            format!("storage:\n  null: {{{local}}}\noptions: {{preferred: one}}\n"),
            "cannot have this name",
        ),
        (
            format!(
                "storage:\n  one: {{{local}}}\noptions: {{preferred: one, cloudformation_s3_url: 'https://s3cr3t/'}}\n"
            ),
            "ends with a /",
        ),
        (
            format!(
                "storage:\n  one: {{{local}}}\noptions: {{preferred: one, cloudformation_s3_url: s3cr3t}}\n"
            ),
            "not an http or https URL",
        ),
        (storage("path: /p"), ":2: storage one: the key kind is missing"),
        (storage("kind: s3cr3t"), "not one of aws_s3"),
        (storage("kind: local_path"), "storage one: the key path is missing"),
        (storage("kind: local_path, path: s3cr3t"), "absolute path"),
        (storage("kind: local_path, path: /s3cr3t/"), "ends with a /"),
        (
            storage(&format!("{local}, mode: s3cr3t")),
            ":2: storage one: the key mode is not known here",
        ),
        (storage(&format!("{local}, read_only: s3cr3t")), "neither true nor false"),
        (storage(&format!("{local}, kind: x")), "given twice"),
        (storage(aws), "the key object_prefix is missing"),
        (storage(&format!("{aws}, object_prefix: ''")), "without / at its ends"),
        (storage(&format!("{aws}, object_prefix: s3cr3t/")), "without / at its ends"),
        (storage(&format!("{aws}, object_prefix: ../s3cr3t")), "without / at its ends"),
        (storage(&format!("{aws}, object_prefix: null, access_key_id: s3cr3t")), "belong together"),
        (
            storage(
                "kind: aws_s3, bucket: b/s3cr3t, object_prefix: null, download_url: 'https://d/'",
            ),
            "name of a bucket",
        ),
        (
            storage(
                "kind: aws_s3, bucket: bkt, object_prefix: null, download_url: 'https://u:s3cr3t@d/'",
            ),
            "without credentials",
        ),
        (
            storage(
                "kind: aws_s3, bucket: bkt, object_prefix: null, download_url: 'https://s3cr3t'",
            ),
            "does not end with a /",
        ),
        (storage(azure), "the key account_key is missing"),
        (storage(&format!("{azure}, account_key: [s3cr3t]")), "it is not a text"),
        (storage("kind: http_read, url: 'ftp://s3cr3t'"), "not an http or https URL"),
        (storage("kind: oci, url: 's3cr3t'"), "oci://HOST"),
    ] {
        let error = parse(&text).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(said) && shown.starts_with("/c/release.yaml"), "{text}: {shown}");
        assert!(!shown.contains("s3cr3t"), "{text}: {shown}");
    }
}
