//! Buckets of clouds as stores, against the servers that stand in for the clouds.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::conformance::{self, Subject};
use super::servers::{Server, executable};
use super::*;
use crate::base::http::{HttpClient, HttpOptions};
use crate::base::secret::Secret;
use crate::store::cloud::{
    AzureSettings, CloudAddress, CloudBackend, CloudKind, CloudSettings, GcsSettings, S3Settings,
};

/// Account and key that the emulator of Azure has.
pub(crate) const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Client that gives up late enough for a machine that does much else.
pub(crate) fn patient_client() -> HttpClient {
    HttpClient::new(HttpOptions { first_wait: Duration::from_millis(10), ..HttpOptions::default() })
}

pub(super) fn s3_settings(endpoint: String) -> CloudSettings {
    let s3 = S3Settings {
        access_key_id: Some(Secret::new("id")),
        secret_access_key: Some(Secret::new("secret")),
        endpoint: Some(endpoint),
        ..S3Settings::default()
    };
    CloudSettings { s3, ..CloudSettings::default() }
}

pub(super) fn azure_settings(endpoint: &str) -> CloudSettings {
    let azure = AzureSettings {
        account: Some("devstoreaccount1".to_owned()),
        key: Some(Secret::new(AZURE_KEY)),
        endpoint: Some(format!("{endpoint}/devstoreaccount1")),
        ..AzureSettings::default()
    };
    CloudSettings { azure, ..CloudSettings::default() }
}

pub(super) fn gcs_settings(endpoint: String) -> CloudSettings {
    let gcs = GcsSettings { emulator_host: Some(endpoint), ..GcsSettings::default() };
    CloudSettings { gcs, ..CloudSettings::default() }
}

/// A cloud's server.
pub(crate) struct Cloud {
    server: Server,
    scheme: &'static str,
    settings: CloudSettings,
    buckets: AtomicU32,
    http: reqwest::blocking::Client,
}

/// A bucket of a cloud's server.
pub(super) struct Bucket<'c> {
    cloud: &'c Cloud,
    name: String,
    store: Store,
}

/// Starts a stand-in that runs on moto, with its interpreter.
fn on_moto(script: &'static str) -> Option<Server> {
    let moto = executable("MKPANDA_TEST_MOTO")?;
    let python = std::path::Path::new(&moto).with_file_name("python");
    let script = format!("{}/tests/data/servers/{script}", env!("CARGO_MANIFEST_DIR"));
    Some(Server::start(&python.to_string_lossy(), |_, port| vec![script.clone(), port.to_string()]))
}

impl Cloud {
    pub(crate) fn s3() -> Option<Self> {
        let server = on_moto("s3.py")?;
        Some(Self::new("s3", s3_settings(server.url()), server))
    }

    pub(crate) fn azure() -> Option<Self> {
        let server = Server::start(&executable("MKPANDA_TEST_AZURITE")?, |folder, port| {
            let port = port.to_string();
            let folder = folder.to_string_lossy();
            ["--silent", "--skipApiVersionCheck", "--blobPort", &port, "--location", &folder]
                .map(str::to_owned)
                .to_vec()
        });
        Some(Self::new("az", azure_settings(&server.url()), server))
    }

    pub(crate) fn gcs() -> Option<Self> {
        let server = on_moto("gcs.py")?;
        Some(Self::new("gs", gcs_settings(server.url()), server))
    }

    fn new(scheme: &'static str, settings: CloudSettings, server: Server) -> Self {
        let http = reqwest::blocking::Client::new();
        Self { server, scheme, settings, buckets: AtomicU32::new(0), http }
    }

    fn bucket(&self) -> Bucket<'_> {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let name = format!("bucket-{number}");
        self.make_bucket(&name);
        let store = self.open(&format!("{}://{name}/p/q", self.scheme));
        Bucket { cloud: self, name, store }
    }

    /// Makes a bucket, and returns it with the URL of the store's objects.
    pub(super) fn bucket_with_url(&self) -> (Bucket<'_>, String) {
        let bucket = self.bucket();
        let url = format!("{}/{}/p/q", self.server.url(), bucket.name);
        (bucket, url)
    }

    /// Settings of stores in the cloud.
    pub(crate) fn settings(&self) -> &CloudSettings {
        &self.settings
    }

    /// Makes a bucket or a container.
    pub(crate) fn make_bucket(&self, name: &str) {
        let made = match self.scheme {
            "az" => self.make_container(name),
            _ => self
                .http
                .put(format!("{}/{name}", self.server.url()))
                .header("Authorization", "Bearer x")
                .send()
                .unwrap()
                .status()
                .is_success(),
        };
        assert!(made, "no bucket {name}");
    }

    fn open(&self, url: &str) -> Store {
        let access =
            StoreAccess { clouds: self.settings.clone(), ..StoreAccess::new(patient_client()) };
        Store::open(url, &access).unwrap()
    }

    /// Makes a container; the emulator checks signatures.
    fn make_container(&self, name: &str) -> bool {
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let text = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n/devstoreaccount1/devstoreaccount1/{name}\nrestype:container"
        );
        let key = aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA256,
            &engine.decode(AZURE_KEY).unwrap(),
        );
        let signature = engine.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
        let url = format!("{}/devstoreaccount1/{name}?restype=container", self.server.url());
        let answer = self
            .http
            .put(url)
            .header("x-ms-date", date)
            .header("x-ms-version", "2021-08-06")
            .header("Content-Length", "0")
            .header("Authorization", format!("SharedKey devstoreaccount1:{signature}"))
            .send()
            .unwrap();
        answer.status().is_success()
    }
}

impl Subject for Bucket<'_> {
    fn backend(&self) -> &dyn Backend {
        self.store.backend()
    }

    fn place(&self, name: &str, content: &[u8]) {
        if self.cloud.scheme == "az" {
            let put = self.backend().put(&key(name), ObjectContent::Bytes(content), &quiet());
            assert_eq!(put.unwrap(), Put::Written);
            return;
        }
        let url = format!("{}/{}/p/q/{name}", self.cloud.server.url(), self.name);
        let put = self.cloud.http.put(url).header("Authorization", "Bearer x");
        let put = put.body(content.to_vec());
        assert!(put.send().unwrap().status().is_success());
    }

    fn place_large(&self, name: &str, mebibytes: u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(mebibytes << 20).unwrap();
        let content = ObjectContent::File(file.path(), mebibytes << 20);
        assert_eq!(self.backend().put(&key(name), content, &quiet()).unwrap(), Put::Written);
    }
}

/// Tests all properties, each in a bucket of its own.
fn conforms(cloud: Option<Cloud>) {
    let Some(cloud) = cloud else { return };
    let failed: Vec<&str> = conformance::properties()
        .into_iter()
        .filter(|(_, property)| {
            let bucket = cloud.bucket();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(&bucket))).is_err()
        })
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn s3_conforms() {
    conforms(Cloud::s3());
}

#[test]
fn azure_conforms() {
    conforms(Cloud::azure());
}

#[test]
fn gcs_conforms() {
    conforms(Cloud::gcs());
}

/// Gets and puts an object of 200 MiB in a process of its own.
fn needs_no_memory(test: &str, cloud: impl FnOnce() -> Option<Cloud>) {
    conformance::alone(&format!("store::tests::cloud::{test}"), || {
        let Some(cloud) = cloud() else { return };
        conformance::write::large_objects_need_no_memory(&cloud.bucket());
        conformance::read::large_objects_need_no_memory(&cloud.bucket());
    });
}

#[test]
fn large_objects_of_s3_need_no_memory() {
    needs_no_memory("large_objects_of_s3_need_no_memory", Cloud::s3);
}

#[test]
fn large_objects_of_azure_need_no_memory() {
    needs_no_memory("large_objects_of_azure_need_no_memory", Cloud::azure);
}

#[test]
fn large_objects_of_gcs_need_no_memory() {
    needs_no_memory("large_objects_of_gcs_need_no_memory", Cloud::gcs);
}

/// A file of 20 MiB and a bit in which no two parts are alike.
fn large_file(seed: u8) -> (tempfile::NamedTempFile, Vec<u8>) {
    let blocks = (0..20_983_u32).map(|block| block.to_le_bytes().map(|byte| byte ^ seed));
    let content: Vec<u8> = blocks.flat_map(|block| block.repeat(250)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(&content).unwrap();
    (file, content)
}

/// Observer that puts another object of the name when a transfer begins.
struct Rival<'r> {
    backend: &'r dyn Backend,
    has_put: AtomicU32,
}

impl Observer for Rival<'_> {
    fn event(&self, event: Event) {
        let Event::Upload { .. } = event else { return };
        if self.has_put.fetch_add(1, Ordering::Relaxed) == 0 {
            let put = self.backend.put(&key("large"), ObjectContent::Bytes(b"first"), &quiet());
            assert_eq!(put.unwrap(), Put::Written);
        }
    }
}

/// An object that appears while a large one of the name is sent stays.
fn large_puts_never_overwrite(cloud: Option<Cloud>) {
    let Some(cloud) = cloud else { return };
    let bucket = cloud.bucket();
    let (file, whole) = large_file(1);
    let content = ObjectContent::File(file.path(), whole.len() as u64);
    let rival = Rival { backend: bucket.backend(), has_put: AtomicU32::new(0) };
    let transfer = StoreTransfer { subject: "s", observer: &rival };
    let put = bucket.backend().put(&key("large"), content, &transfer).unwrap();
    assert_eq!(put, Put::WasThere);
    assert!(rival.has_put.into_inner() > 0);
    assert_eq!(conformance::bytes(bucket.backend(), "large").unwrap(), b"first");
    assert_eq!(bucket.backend().put(&key("other"), content, &quiet()).unwrap(), Put::Written);
    assert!(conformance::bytes(bucket.backend(), "other").unwrap() == whole, "parts are in order");
    assert_eq!(bucket.backend().put(&key("other"), content, &quiet()).unwrap(), Put::WasThere);
}

#[test]
fn large_puts_to_s3_never_overwrite() {
    large_puts_never_overwrite(Cloud::s3());
}

#[test]
fn large_puts_to_azure_never_overwrite() {
    large_puts_never_overwrite(Cloud::azure());
}

#[test]
fn large_puts_to_gcs_never_overwrite() {
    large_puts_never_overwrite(Cloud::gcs());
}

/// Content types and cache control reach readers, in one request and in parts, and go along with copies.
fn headers_are_kept(cloud: Option<Cloud>, kind: CloudKind) {
    let Some(cloud) = cloud else { return };
    let bucket = cloud.bucket();
    let address = CloudAddress::parse(kind, &format!("{}/p/q", bucket.name)).unwrap();
    let backend = CloudBackend::new(address, cloud.settings.clone(), patient_client());
    let about = About {
        content_type: Some("text/plain; charset=utf-8"),
        is_uncached: true,
        ..About::default()
    };
    let (file, whole) = large_file(3);
    let large = ObjectContent::File(file.path(), whole.len() as u64);
    let none = About::default();
    backend.put_described(&key("put"), ObjectContent::Bytes(b"x"), &about, &quiet()).unwrap();
    backend.put_described(&key("large"), large, &about, &quiet()).unwrap();
    backend.replace(&key("replaced"), ObjectContent::Bytes(b"x"), &none, &quiet()).unwrap();
    backend.replace(&key("replaced"), large, &about, &quiet()).unwrap();
    backend.copy(&key("large"), &key("copied"), &none, &quiet()).unwrap();
    for name in ["put", "large", "replaced", "copied"] {
        let (found, cached) = backend.headers(&key(name));
        assert_eq!(found.as_deref(), about.content_type, "{name}");
        assert_eq!(cached.as_deref(), Some("no-cache"), "{name}");
    }
    backend.put(&key("plain"), ObjectContent::Bytes(b"x"), &quiet()).unwrap();
    assert_eq!(backend.headers(&key("plain")).1, None);
}

#[test]
fn headers_of_s3_are_kept() {
    headers_are_kept(Cloud::s3(), CloudKind::S3);
}

#[test]
fn headers_of_azure_are_kept() {
    headers_are_kept(Cloud::azure(), CloudKind::Azure);
}

#[test]
fn headers_of_gcs_are_kept() {
    headers_are_kept(Cloud::gcs(), CloudKind::Gcs);
}

#[test]
fn lists_have_more_than_one_page() {
    let Some(cloud) = Cloud::s3() else { return };
    let bucket = cloud.bucket();
    for number in 0..1_100 {
        bucket.place(&format!("a/{number}"), b"x");
    }
    assert_eq!(bucket.backend().list(Some(&key("a")), &quiet()).unwrap().len(), 1_100);
}

/// A bucket that is missing is told from an object that is.
fn missing_buckets_are_failures(cloud: Option<Cloud>, word: &str) {
    let Some(cloud) = cloud else { return };
    let store = cloud.open(&format!("{}://bucket-none", cloud.scheme));
    let backend = store.backend();
    let mut to = Vec::new();
    for error in [
        conformance::bytes(backend, "f").unwrap_err(),
        backend.get_range(&key("f"), 0..1, &mut to, &quiet()).unwrap_err(),
        backend.head(&key("f"), &quiet()).unwrap_err(),
        backend.put(&key("f"), ObjectContent::Bytes(b"x"), &quiet()).unwrap_err(),
        backend.list(None, &quiet()).unwrap_err(),
        backend.delete(&key("f"), &quiet()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
        assert!(error.to_string().contains("bucket-none"), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains(word) && hint.contains("bucket-none"), "{hint}");
    }
}

#[test]
fn missing_buckets_of_s3_are_failures() {
    missing_buckets_are_failures(Cloud::s3(), "aws s3 mb");
}

#[test]
fn missing_containers_of_azure_are_failures() {
    missing_buckets_are_failures(Cloud::azure(), "az storage container create");
}

#[test]
fn wrong_keys_are_named_with_their_variables() {
    let Some(cloud) = Cloud::azure() else { return };
    let bucket = cloud.bucket();
    let mut settings = cloud.settings.clone();
    settings.azure.key = Some(Secret::new("d3Jvbmctc2VjcmV0"));
    let access = StoreAccess { clouds: settings, ..StoreAccess::new(patient_client()) };
    let store = Store::open(&format!("az://{}", bucket.name), &access).unwrap();
    for error in [
        store.backend().head(&key("f"), &quiet()).unwrap_err(),
        store.backend().put(&key("f"), ObjectContent::Bytes(b"x"), &quiet()).unwrap_err(),
    ] {
        let hint = error.hint().unwrap();
        assert!(hint.contains("AZURE_STORAGE_KEY"), "{hint}");
        let all = format!("{error:?} {}", crate::base::causes::with_causes(&error));
        assert!(!all.contains("d3Jvbmctc2VjcmV0"), "{all}");
    }
}
