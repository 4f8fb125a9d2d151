//! Blobs of a repository as a store.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::sync::{Arc, Mutex};

use super::*;
use crate::base::digest::Sha256Sum;
use crate::base::event::Silent;
use crate::base::http::HttpOptions;
use crate::base::http::test_server::{TestServer, answer};
use crate::store::{
    Backend, FailureKind, GotObject, ObjectContent, ObjectHead, ObjectKey, Put, StoreError,
    StoreTransfer,
};

fn quiet() -> StoreTransfer<'static> {
    StoreTransfer { subject: "s", observer: &Silent }
}

/// A registry with blobs, which takes uploads of known content and lies about one blob.
struct Registry {
    server: TestServer,
    store: RegistryBlobs,
    taken: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

fn digest(content: &[u8]) -> BlobDigest {
    Sha256Sum::of(content).into()
}

fn key(content: &[u8]) -> ObjectKey {
    RegistryBlobs::key(&digest(content)).unwrap()
}

const BLOB: &[u8] = b"0123456789";
const LIE: &[u8] = b"the content that is asked for";
const NEW: &[u8] = b"new content";

impl Registry {
    fn new(has_ranges: bool) -> Self {
        let blobs = [(digest(BLOB), BLOB), (digest(b""), b""), (digest(LIE), b"something else")];
        let blobs = blobs.map(|(digest, content)| (digest.to_string(), content.to_vec()));
        let taken = Arc::new(Mutex::new(BTreeMap::from(blobs)));
        let all = Arc::clone(&taken);
        let server = TestServer::start(move |_, request| match request.method.as_str() {
            "POST" => answer("202 x\r\nLocation: /up?x=1\r\nContent-Length: 0", b""),
            "PUT" => {
                let (_, name) = request.path.split_once("digest=sha256%3A").unwrap();
                all.lock().unwrap().insert(format!("sha256:{name}"), NEW.to_vec());
                answer("201 x\r\nContent-Length: 0", b"")
            }
            method => {
                assert!(request.path.starts_with("/v2/a/b/blobs/"), "{}", request.path);
                let name = request.path.rsplit('/').next().unwrap();
                let all = all.lock().unwrap();
                let Some(content) = all.get(name) else { return answer("404 x", b"") };
                let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
                let range = range.filter(|_| has_ranges).and_then(|range| range.split_once('-'));
                let length = content.len();
                if let Some((first, last)) = range {
                    let first: usize = first.parse().unwrap();
                    let last = last.parse().unwrap_or(length - 1).min(length - 1);
                    let part = &content[first..=last];
                    let head = format!(
                        "206 x\r\nContent-Range: bytes {first}-{last}/{length}\r\nContent-Length: {}",
                        part.len()
                    );
                    return answer(&head, part);
                }
                let head = format!("200 OK\r\nContent-Length: {length}");
                answer(&head, if method == "HEAD" { b"" } else { content })
            }
        });
        let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
        let connections = Connections::new(RegistryOptions {
            registries: Registries::from([(server.host().parse().unwrap(), insecure)]),
            http: HttpOptions { attempts: 1, ..HttpOptions::default() },
            ..RegistryOptions::default()
        });
        let repository = format!("{}/a/b", server.host()).parse().unwrap();
        let store = RegistryBlobs::new(Arc::new(connections), &repository);
        Self { server, store, taken }
    }

    fn get(&self, key: &ObjectKey) -> Result<Vec<u8>, StoreError> {
        let mut file = tempfile::tempfile().unwrap();
        let GotObject { bytes, .. } = self.store.get(key, &mut file, &quiet())?;
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        assert_eq!(bytes, content.len() as u64);
        Ok(content)
    }
}

#[test]
fn blobs_come_whole_and_in_parts() {
    for has_ranges in [true, false] {
        let registry = Registry::new(has_ranges);
        assert_eq!(registry.get(&key(BLOB)).unwrap(), BLOB);
        assert_eq!(registry.get(&key(b"")).unwrap(), b"");
        for (range, expected) in
            [(2..5, &BLOB[2..5]), (0..10, BLOB), (8..99, &BLOB[8..]), (10..20, b""), (5..5, b"")]
        {
            let mut content = Vec::new();
            let count =
                registry.store.get_range(&key(BLOB), range, &mut content, &quiet()).unwrap();
            assert_eq!((count, &*content), (expected.len() as u64, expected));
        }
        let head = registry.store.head(&key(BLOB), &quiet()).unwrap();
        assert_eq!(head, ObjectHead { size: Some(10) });
        assert!(registry.store.name().ends_with("/a/b"));
    }
}

#[test]
fn a_blob_has_to_have_its_digest() {
    let error = Registry::new(true).get(&key(LIE)).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("is damaged"), "{cause}");
}

#[test]
fn absent_blobs_and_other_keys_are_not_found() {
    let registry = Registry::new(true);
    for absent in [key(b"nothing"), "a/b".parse().unwrap(), "sha256/12".parse().unwrap()] {
        assert_eq!(registry.get(&absent).unwrap_err().kind(), FailureKind::NotFound);
        let error = registry.store.head(&absent, &quiet()).unwrap_err();
        assert_eq!(error.kind(), FailureKind::NotFound);
    }
    assert!(registry.server.requests().iter().all(|asked| !asked.path.ends_with("/12")));
}

#[test]
fn a_blob_is_put_once() {
    let registry = Registry::new(true);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), NEW).unwrap();
    let put = |content| registry.store.put(&key(NEW), content, &quiet()).unwrap();
    assert_eq!(put(ObjectContent::File(file.path(), NEW.len() as u64)), Put::Written);
    assert_eq!(put(ObjectContent::Bytes(NEW)), Put::WasThere);
    assert!(registry.taken.lock().unwrap().contains_key(&digest(NEW).to_string()));
    assert_eq!(registry.get(&key(NEW)).unwrap(), NEW);
    for error in [
        registry.store.list(None, &quiet()).unwrap_err(),
        registry.store.delete(&key(NEW), &quiet()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), FailureKind::Unsupported);
    }
}
