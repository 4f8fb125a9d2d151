//! A store in a real registry, the tools that copy its objects, and whom the registry trusts.

use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use mkpanda::base::digest::Sha256Sum;
use mkpanda::base::event::Silent;
use mkpanda::store::oci::OciBackend;
use mkpanda::store::registry::{
    Connections, CredentialSources, Registries, RegistryConfig, RegistryOptions,
};
use mkpanda::store::{
    About, Backend, FailureKind, ObjectContent, ObjectKey, Put, StoreError, StoreTransfer,
};

use crate::peers::{Registry, run};
use crate::registry::skopeo;
use crate::registry_trust::certificates;
use crate::support::Place;

const QUIET: StoreTransfer<'static> = StoreTransfer { subject: "s", observer: &Silent };
const PACKAGE: &str = "packages/curl/curl--a9fcd54b25e7e863d72cd47c08af46e61b74b561.tar.xz";
const TAG: &str = "packages_curl_curl--a9fcd54b25e7e863d72cd47c08af46e61b74b561.tar.xz";

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn store(host: &str, repository: &str, config: RegistryConfig, files: &[&Path]) -> OciBackend {
    let credentials = CredentialSources {
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        ..CredentialSources::default()
    };
    let connections = Connections::new(RegistryOptions {
        registries: Registries::from([(host.parse().unwrap(), config)]),
        credentials,
        ..RegistryOptions::default()
    });
    OciBackend::new(Arc::new(connections), format!("oci://{host}/{repository}").parse().unwrap())
}

fn plain(registry: &Registry, repository: &str) -> OciBackend {
    let config = RegistryConfig { insecure: true, ..RegistryConfig::default() };
    store(&registry.host, repository, config, &[])
}

fn get(store: &OciBackend, name: &str) -> Result<Vec<u8>, StoreError> {
    let mut file = tempfile::tempfile().unwrap();
    store.get(&key(name), &mut file, &QUIET)?;
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    Ok(content)
}

/// Puts a package of some megabytes with its checksum, a source with a long name and an empty object.
fn fill(store: &OciBackend) -> Vec<(String, Vec<u8>)> {
    let bytes: Vec<u8> =
        (0_u32..1_500_000).flat_map(|at| at.wrapping_mul(at).to_le_bytes()).collect();
    let sum = format!("{}\n", Sha256Sum::of(&bytes)).into_bytes();
    let objects = vec![
        (PACKAGE.to_owned(), bytes),
        (format!("{PACKAGE}.sha256"), sum),
        (format!("sources/{}", "a-long-name/".repeat(20) + "f"), b"source".to_vec()),
        ("records/empty".to_owned(), Vec::new()),
    ];
    let about = About { name: Some("curl"), requires: &["openssl"], ..About::default() };
    for (name, content) in &objects {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let content = ObjectContent::File(file.path(), content.len() as u64);
        let put = store.put_described(&key(name), content, &about, &QUIET).unwrap();
        assert_eq!(put, Put::Written, "{name}");
    }
    objects
}

#[track_caller]
fn has_all(store: &OciBackend, objects: &[(String, Vec<u8>)]) {
    for (name, content) in objects {
        assert!(get(store, name).unwrap() == *content, "{name}");
    }
    let listed = store.list(None, &QUIET).unwrap();
    assert_eq!(listed.len(), objects.len(), "{listed:?}");
    for (name, content) in objects {
        let size = content.len() as u64;
        assert!(listed.iter().any(|one| one.key == key(name) && one.size == size), "{name}");
    }
}

#[test]
fn skopeo_copies_objects_and_their_bytes_are_ours() {
    let registry = Registry::plain();
    let place = Place::bare();
    let objects = fill(&plain(&registry, "team/cache"));
    let from = format!("docker://{}", registry.name(&format!("team/cache:{TAG}")));
    for to in ["dir:folder", "oci:layout:x"] {
        skopeo(&place, &["copy", "-q", "--src-tls-verify=false", &from, to]);
    }
    let hex = Sha256Sum::of(&objects[0].1).to_string();
    for blob in [format!("folder/{hex}"), format!("layout/blobs/sha256/{hex}")] {
        let found = std::fs::read(place.path().join(&blob)).unwrap();
        assert!(found == objects[0].1, "{blob}");
    }
    let manifest = skopeo(&place, &["inspect", "--raw", "--tls-verify=false", &from]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.mkpanda.package.v1");
    assert_eq!(manifest["annotations"]["org.mkpanda.key"], PACKAGE);
    assert_eq!(manifest["annotations"]["org.mkpanda.package.requires"], "openssl");
    let repository = format!("docker://{}", registry.name("team/cache"));
    let tags = skopeo(&place, &["list-tags", "--tls-verify=false", &repository]);
    assert!(tags.contains(TAG), "{tags}");
}

#[test]
fn a_store_that_skopeo_carried_elsewhere_is_read_there() {
    let (registry, other) = (Registry::plain(), Registry::plain());
    let place = Place::bare();
    let objects = fill(&plain(&registry, "team/cache"));
    // All of it, registry to registry.
    let (from, to) = (registry.name("team/cache"), other.name("synced"));
    let insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let sync = ["sync", "--src", "docker", "--dest", "docker"];
    skopeo(&place, &[&sync[..], &insecure, &[&from, &to]].concat());
    has_all(&plain(&other, "synced/cache"), &objects);
    // One object, by a layout that is carried over.
    let from = format!("docker://{from}:{TAG}");
    let to = format!("docker://{}:{TAG}", other.name("carried"));
    skopeo(&place, &["copy", "-q", insecure[0], &from, "oci-archive:carried.tar:x"]);
    skopeo(&place, &["copy", "-q", insecure[1], "oci-archive:carried.tar:x", &to]);
    let carried = plain(&other, "carried");
    has_all(&carried, &objects[..1]);
    // Under another tag, the object is not taken for the one of that tag.
    let wrong = format!("docker://{}:sources_x", other.name("carried"));
    skopeo(&place, &["copy", "-q", insecure[1], "oci-archive:carried.tar:x", &wrong]);
    let error = get(&carried, "sources/x").unwrap_err();
    assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
}

#[test]
fn a_store_behind_tls_and_a_password_is_used_by_who_is_logged_in() {
    let place = Place::bare();
    let hashed = run(place.path(), "htpasswd", &["-Bbn", "anna", "geheim"]);
    let file = place.path().join("htpasswd");
    std::fs::write(&file, hashed).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display());
    let registry = Registry::start(&certificates(place.path(), "2"), &auth);
    let ca = RegistryConfig { ca: Some(place.path().join("ca.pem")), ..RegistryConfig::default() };
    // Without the CA, without a login, with a wrong password.
    let untrusted = store(&registry.host, "r", RegistryConfig::default(), &[]);
    let error = get(&untrusted, "a").unwrap_err();
    assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
    assert!(error.hint().unwrap().contains("ca = \"FILE\""), "{error:?}");
    let wrong = place.path().join("wrong.json");
    let entry =
        format!("{{\"auths\": {{\"{}\": {{\"auth\": \"YW5uYTpmYWxzY2g=\"}}}}}}", registry.host);
    std::fs::write(&wrong, entry).unwrap();
    for files in [&[][..], &[wrong.as_path()]] {
        let refused = store(&registry.host, "r", ca.clone(), files);
        for error in [
            get(&refused, "a").unwrap_err(),
            refused.put(&key("a"), ObjectContent::Bytes(b"x"), &QUIET).unwrap_err(),
            refused.list(None, &QUIET).unwrap_err(),
        ] {
            assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
            let text = format!("{error} {error:?}");
            assert!(!text.contains("falsch") && !text.contains("YW5uYTpmYWxzY2g="), "{text}");
            let hint = error.hint().unwrap();
            assert!(hint.contains(&format!("mkpanda login {}", registry.host)), "{hint}");
        }
    }
    let own = place.path().join("own.json");
    let login = ["login", "--cert-dir", "trusted", "-u", "anna", "-p", "geheim", "--authfile"];
    let trusted = place.path().join("trusted");
    std::fs::create_dir(&trusted).unwrap();
    std::fs::copy(place.path().join("ca.pem"), trusted.join("ca.crt")).unwrap();
    skopeo(&place, &[&login[..], &[own.to_str().unwrap(), &registry.host]].concat());
    let store = store(&registry.host, "r", ca, &[&own]);
    let objects = fill(&store);
    has_all(&store, &objects);
    assert_eq!(
        store.put(&key(PACKAGE), ObjectContent::Bytes(b"x"), &QUIET).unwrap(),
        Put::WasThere
    );
}
