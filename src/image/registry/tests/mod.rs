//! Registries with every fault, on the loopback, and what pulling from them comes to.

mod content;
mod faults;
mod identity;
mod mirrors;
mod places;
mod pushes;
mod reach;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Client, PullOptions, PulledImage, RegistryError};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::Event;
use crate::base::events::Events;
use crate::base::http::HttpOptions;
use crate::base::http::test_server::{Request, ServerAction, TestServer, answer};
use crate::image::store::ImageStore;
use crate::store::registry::{CredentialSources, Registries, RegistryConfig, RegistryOptions};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn digest(bytes: &[u8]) -> String {
    Sha256Sum::of(bytes).prefixed()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a registry has: documents by tag or digest, blobs by digest.
#[derive(Debug, Clone, Default)]
struct RegistryContents {
    documents: BTreeMap<String, (String, Vec<u8>)>,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl RegistryContents {
    fn blob(&mut self, bytes: &[u8]) -> String {
        self.blobs.insert(digest(bytes), bytes.to_vec());
        format!("\"digest\":\"{}\",\"size\":{}", digest(bytes), bytes.len())
    }

    fn document(&mut self, kind: &str, text: &str, tag: Option<&str>) -> String {
        let entry = (kind.to_owned(), text.as_bytes().to_vec());
        self.documents.insert(digest(text.as_bytes()), entry.clone());
        tag.map(|tag| self.documents.insert(tag.to_owned(), entry));
        let (digest, size) = (digest(text.as_bytes()), text.len());
        format!("\"mediaType\":\"{kind}\",\"digest\":\"{digest}\",\"size\":{size}")
    }

    /// An image of layers, each a text that is no tar: nobody unpacks it here. The edit changes the
    /// manifest's text before it is put there.
    fn image(
        &mut self,
        layers: &[&[u8]],
        architecture: &str,
        tag: Option<&str>,
        edit: impl Fn(String) -> String,
    ) -> String {
        let diff_ids: Vec<String> =
            layers.iter().map(|layer| format!("\"{}\"", digest(layer))).collect();
        let config = format!(
            "{{\"os\":\"linux\",\"architecture\":\"{architecture}\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
            diff_ids.join(",")
        );
        let config = self.blob(config.as_bytes());
        let layers: Vec<String> = layers
            .iter()
            .map(|layer| format!("{{\"mediaType\":\"{LAYER}\",{}}}", self.blob(&gzip(layer))))
            .collect();
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"config\":{{\"mediaType\":\"{CONFIG}\",{config}}},\"layers\":[{}]}}",
            layers.join(",")
        );
        self.document(MANIFEST, &edit(manifest), tag)
    }

    /// A repository `r` whose tag `1` is an image of two layers.
    fn simple() -> Self {
        let mut contents = Self::default();
        contents.image(&[b"one", &LONG], host_architecture(), Some("1"), |text| text);
        contents
    }

    /// Answers as a registry does.
    fn answer(&self, request: &Request) -> Vec<ServerAction> {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        if request.path.contains("/manifests/") {
            let Some((kind, bytes)) = self.documents.get(name) else {
                return answer("404 x", br#"{"errors":[{"message":"manifest unknown"}]}"#);
            };
            let (sum, size) = (digest(bytes), bytes.len());
            let head = format!(
                "200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {sum}\r\nContent-Length: {size}"
            );
            return answer(&head, if request.method == "HEAD" { b"" } else { bytes });
        }
        let Some(bytes) = self.blobs.get(name) else { return answer("404 x", b"") };
        let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
        let Some(first) = range.and_then(|range| range.strip_suffix('-')?.parse().ok()) else {
            return answer(&format!("200 OK\r\nContent-Length: {}", bytes.len()), bytes);
        };
        let rest: &[u8] = &bytes[first..];
        let (last, total) = (bytes.len() - 1, bytes.len());
        let length = rest.len();
        answer(
            &format!(
                "206 x\r\nContent-Range: bytes {first}-{last}/{total}\r\nContent-Length: {length}"
            ),
            rest,
        )
    }

    /// The blob of the second layer.
    fn long() -> (String, Vec<u8>) {
        let packed = gzip(&LONG);
        (digest(&packed), packed)
    }
}

/// A layer of some length that hardly compresses.
static LONG: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let mut text = String::new();
    for number in 0_u32..2000 {
        _ = write!(text, "{}", Sha256Sum::of(&number.to_le_bytes()));
    }
    text.into_bytes()
});

fn host_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// A store, a client's options, and what was said.
struct TestClient {
    folder: tempfile::TempDir,
    store: ImageStore,
    options: RegistryOptions,
    told: Events,
}

impl TestClient {
    fn new(servers: &[&TestServer]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
        let registries: Registries = servers
            .iter()
            .map(|server| (server.host().parse().unwrap(), insecure.clone()))
            .collect();
        let http = HttpOptions {
            attempts: 2,
            stall_timeout: Duration::from_millis(300),
            first_wait: Duration::from_millis(1),
            ..HttpOptions::default()
        };
        let options = RegistryOptions { registries, http, ..RegistryOptions::default() };
        Self { folder, store, options, told: Events::default() }
    }

    /// Writes a file with credentials, and has them used.
    fn log_in(&mut self, host: &str, auth: &str) {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(auth);
        let path = self.folder.path().join("auth.json");
        fs_err::write(&path, format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{auth}\"}}}}}}"))
            .unwrap();
        self.options.credentials = CredentialSources { files: vec![path], ..Default::default() };
    }

    fn try_pull(&self, name: &str, options: &PullOptions) -> Result<PulledImage, RegistryError> {
        let client = Client::new(self.options.clone());
        let pulled = client.pull(&self.store, &name.parse().unwrap(), options, None, &self.told);
        // Whatever happened, nothing half-done is in the store.
        for entry in fs_err::read_dir(self.store.folder()).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with(".tmp-"), "{name} is left");
        }
        if pulled.is_err() {
            assert!(self.store.find(&name.parse().unwrap()).unwrap().is_none());
        }
        pulled
    }

    fn pull(&self, name: &str) -> PulledImage {
        self.try_pull(name, &PullOptions::default())
            .unwrap_or_else(|error| panic!("{}", with_causes(&error)))
    }

    /// The error of a pull that fails, with what to do.
    #[track_caller]
    fn fails(&self, name: &str) -> String {
        let error = self.try_pull(name, &PullOptions::default()).unwrap_err();
        let hint = error.hint().unwrap_or_default();
        format!("{}\n{hint}", with_causes(&error))
    }

    /// Everything that was said, in the debug form.
    fn said(&self) -> String {
        format!("{:?}", self.told.0.lock().unwrap())
    }
}

/// A registry on the loopback; the twist may answer instead of it.
fn serve(
    contents: &RegistryContents,
    twist: impl Fn(&Request, usize) -> Option<Vec<ServerAction>> + Send + Sync + 'static,
) -> TestServer {
    let contents = contents.clone();
    // How often each path was asked for before.
    let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    TestServer::start(move |_, request| {
        let before = {
            let mut seen = seen.lock().unwrap();
            let count = seen.entry(format!("{} {}", request.method, request.path)).or_default();
            *count += 1;
            *count - 1
        };
        twist(request, before).unwrap_or_else(|| contents.answer(request))
    })
}

fn asked(server: &TestServer) -> Vec<String> {
    let requests = server.requests();
    requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
}
