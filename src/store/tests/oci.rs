//! A repository of a real registry as a store.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::blocking::{Body, Client};
use serde_json::{Value, json};

use super::conformance::{self, Subject, bytes, read_conformance, write_conformance};
use super::*;
use crate::base::digest::Sha256Sum;
use crate::base::http::HttpOptions;
use crate::store::oci::OciBackend;
use crate::store::registry::{Connections, Registries, RegistryConfig, RegistryOptions};

/// Time limit for an answer to begin, also on a machine with much to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Creates a store in a repository that is spoken to over plain HTTP, with two attempts.
pub(super) fn plain_store(host: &str, repository: &str, stall_timeout: Duration) -> OciBackend {
    let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
    let connections = Connections::new(RegistryOptions {
        registries: Registries::from([(host.parse().unwrap(), insecure)]),
        http: HttpOptions {
            attempts: 2,
            first_wait: Duration::from_millis(1),
            stall_timeout,
            ..HttpOptions::default()
        },
        ..RegistryOptions::default()
    });
    let url = format!("oci://{host}/{repository}").parse().unwrap();
    OciBackend::new(Arc::new(connections), url)
}

/// A registry that runs until the test ends.
pub(crate) struct Registry {
    child: Child,
    pub(crate) host: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    pub(crate) fn new(deletes: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        drop(listener);
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: {deletes}}}}}\n\
             http: {{addr: '{host}'}}\n",
            folder.path().join("data").display()
        );
        fs_err::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is not installed; run: scripts/test prepare");
        let registry = Self { child, host, _folder: folder };
        let until = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < until, "the registry does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        registry
    }

    /// Options with which the registry is spoken to over plain HTTP.
    pub(crate) fn options(&self) -> RegistryOptions {
        let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
        RegistryOptions {
            registries: Registries::from([(self.host.parse().unwrap(), insecure)]),
            ..RegistryOptions::default()
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/team/cache/{path}", self.host)
    }

    fn send_blob(&self, digest: &str, body: Body) {
        let client = Client::builder().no_proxy().timeout(None).build().unwrap();
        let started = client.post(self.url("blobs/uploads/")).send().unwrap();
        let place = started.headers()["location"].to_str().unwrap();
        let sent = client.put(format!("{place}&digest={digest}")).body(body).send().unwrap();
        assert_eq!(sent.status(), 201);
    }

    fn send_manifest(&self, tag: &str, manifest: &Value) {
        let client = Client::builder().no_proxy().build().unwrap();
        let put = client
            .put(self.url(&format!("manifests/{tag}")))
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(manifest.to_string());
        assert_eq!(put.send().unwrap().status(), 201);
    }

    fn manifest(&self, tag: &str) -> Value {
        let client = Client::builder().no_proxy().build().unwrap();
        let get = client
            .get(self.url(&format!("manifests/{tag}")))
            .header("accept", "application/vnd.oci.image.manifest.v1+json");
        serde_json::from_slice(&get.send().unwrap().bytes().unwrap()).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A store in a registry, and the registry as other programs use it.
struct Oci {
    registry: Registry,
    backend: OciBackend,
}

const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

impl Oci {
    fn new() -> Self {
        let registry = Registry::new(true);
        let backend = plain_store(&registry.host, "team/cache", PATIENCE);
        Self { registry, backend }
    }

    /// Places an object as the format's description has it, without our writer.
    fn place_blob(&self, key: &str, digest: &str, size: u64, body: Body) {
        self.registry.send_blob(digest, body);
        self.registry.send_blob(EMPTY, "{}".into());
        let tag = key.replace('/', "_").replace('+', "_-p").replace('@', "_-a");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.mkpanda.object.v1",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2
            },
            "layers": [
                { "mediaType": "application/octet-stream", "digest": digest, "size": size }
            ],
            "annotations": { "org.mkpanda.key": key }
        });
        self.registry.send_manifest(&tag.replace(':', "_-c"), &manifest);
    }
}

impl Subject for Oci {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn place(&self, key: &str, content: &[u8]) {
        let digest = Sha256Sum::of(content).prefixed();
        self.place_blob(key, &digest, content.len() as u64, content.to_vec().into());
    }

    fn place_large(&self, key: &str, mebibytes: u64) {
        let (file, size) = (tempfile::tempfile().unwrap(), mebibytes << 20);
        file.set_len(size).unwrap();
        let digest = Sha256Sum::of_reader(&file).unwrap().prefixed();
        std::io::Seek::rewind(&mut &file).unwrap();
        self.place_blob(key, &digest, size, Body::sized(file, size));
    }
}

read_conformance!(tests, Oci::new());
write_conformance!(tests, Oci::new());

#[test]
fn large_objects_need_no_memory() {
    conformance::alone("store::tests::oci::large_objects_need_no_memory", || {
        conformance::read::large_objects_need_no_memory(&Oci::new());
        conformance::write::large_objects_need_no_memory(&Oci::new());
    });
}

#[test]
fn packages_have_their_media_types_and_what_is_known_of_them() {
    let store = Oci::new();
    let key = key("packages/curl/curl--01.tar.xz");
    let about = About {
        name: Some("curl"),
        version: Some("8.1"),
        variant: Some("ee"),
        requires: &["openssl", "zlib"],
        commit: Some("c0ffee"),
        ..About::default()
    };
    let put = |backend: &OciBackend| {
        backend.put_described(&key, ObjectContent::Bytes(b"xz"), &about, &quiet()).unwrap()
    };
    assert_eq!(put(&store.backend), Put::Written);
    let manifest = store.registry.manifest("packages_curl_curl--01.tar.xz");
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.mkpanda.package.v1",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": EMPTY,
            "size": 2,
            "data": "e30="
        },
        "layers": [{
            "mediaType": "application/vnd.mkpanda.package.v1.tar+xz",
            "digest": Sha256Sum::of(b"xz").prefixed(),
            "size": 2,
            "annotations": { "org.opencontainers.image.title": "curl--01.tar.xz" }
        }],
        "annotations": {
            "org.mkpanda.key": "packages/curl/curl--01.tar.xz",
            "org.mkpanda.package.name": "curl",
            "org.mkpanda.package.requires": "openssl zlib",
            "org.mkpanda.package.variant": "ee",
            "org.mkpanda.package.version": "8.1",
            "org.mkpanda.tree.commit": "c0ffee",
            "org.opencontainers.image.revision": "c0ffee",
            "org.opencontainers.image.title": "curl--01.tar.xz",
            "org.opencontainers.image.version": "8.1"
        }
    });
    assert_eq!(manifest, expected);
    // Without a description, the same as before: the first put counts.
    let other = store.backend.put(&key, ObjectContent::Bytes(b"xz"), &quiet()).unwrap();
    assert_eq!(
        (other, store.registry.manifest("packages_curl_curl--01.tar.xz")),
        (Put::WasThere, expected)
    );
    // Another store has the same bytes, down to the manifest.
    let second = plain_store(&store.registry.host, "second", PATIENCE);
    assert_eq!(put(&second), Put::Written);
    let digest = |backend: &OciBackend| backend.delete(&key, &quiet()).unwrap();
    assert!(digest(&second) && digest(&store.backend));
}

#[test]
fn long_keys_are_found_by_their_shortened_tags() {
    let store = Oci::new();
    let folder = format!("packages/{}", "long-name".repeat(20));
    let names = ["a", "b"].map(|name| format!("{folder}/{name}.tar.xz"));
    for name in &names {
        store.backend.put(&key(name), ObjectContent::Bytes(name.as_bytes()), &quiet()).unwrap();
    }
    store.place("packages/other", b"x");
    for name in &names {
        assert_eq!(bytes(&store.backend, name).unwrap(), name.as_bytes());
    }
    let list = |below: &str| -> Vec<String> {
        let listed = store.backend.list(Some(&key(below)), &quiet()).unwrap();
        listed.iter().map(|listed| listed.key.to_string()).collect()
    };
    assert_eq!(list(&folder), names);
    assert_eq!(list("packages").len(), 3);
    assert_eq!(list(&format!("{folder}-more")), [""; 0]);
}

#[test]
fn what_is_not_an_object_is_neither_used_nor_replaced_nor_listed() {
    let store = Oci::new();
    store.place("a", b"object");
    let object = store.registry.manifest("a");
    // The same object under another tag, and an image.
    store.registry.send_manifest("b", &object);
    let mut image = object.clone();
    image.as_object_mut().unwrap().remove("artifactType");
    image["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    store.registry.send_manifest("latest", &image);
    for (name, said) in [("b", "it is the object \"a\""), ("latest", "image.config.v1+json")] {
        let before = store.registry.manifest(name);
        for error in [
            bytes(&store.backend, name).unwrap_err(),
            store.backend.head(&key(name), &quiet()).unwrap_err(),
            store.backend.put(&key(name), ObjectContent::Bytes(b"x"), &quiet()).unwrap_err(),
            store.backend.delete(&key(name), &quiet()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
            let text = crate::base::causes::with_causes(&error);
            assert!(text.contains(said) && text.contains("team/cache"), "{text}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("skopeo inspect --raw docker://"), "{hint}");
        }
        assert_eq!(store.registry.manifest(name), before);
    }
    let seen = Events::default();
    let transfer = StoreTransfer { subject: "s", observer: &seen };
    let listed = store.backend.list(None, &transfer).unwrap();
    assert_eq!(listed, [Listed { key: key("a"), size: 6 }]);
    let warnings = seen.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the tag b") && warnings[0].contains("left out"), "{warnings:?}");
}

#[test]
fn a_registry_that_removes_nothing_says_so() {
    let registry = Registry::new(false);
    let backend = plain_store(&registry.host, "team/cache", PATIENCE);
    backend.put(&key("a"), ObjectContent::Bytes(b"x"), &quiet()).unwrap();
    let error = backend.delete(&key("a"), &quiet()).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Unsupported, "{error:?}");
    assert!(error.hint().unwrap().contains("delete: {enabled: true}"), "{error:?}");
    assert_eq!(bytes(&backend, "a").unwrap(), b"x");
}
