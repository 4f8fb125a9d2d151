//! Registries that lie, break off and refuse.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::conformance::bytes;
use super::oci::{PATIENCE, plain_store};
use super::*;
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::http::test_server::{Request, ServerAction, TestServer, answer};
use crate::store::oci::OciBackend;

const KEY: &str = "packages/a/a--1.tar.xz";
const TAG: &str = "packages_a_a--1.tar.xz";
const OBJECT: &[u8] = b"the bytes of a package";
const HTML: &[u8] = b"<html>please log in to this network</html>";

/// The manifest of the object.
fn manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.mkpanda.package.v1",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": Sha256Sum::of(b"{}").prefixed(),
            "size": 2
        },
        "layers": [{
            "mediaType": "application/vnd.mkpanda.package.v1.tar+xz",
            "digest": Sha256Sum::of(OBJECT).prefixed(),
            "size": OBJECT.len()
        }],
        "annotations": { "org.mkpanda.key": KEY }
    })
}

fn start(
    answers: impl Fn(usize, &Request) -> Vec<ServerAction> + Send + Sync + 'static,
) -> (TestServer, OciBackend) {
    let server = TestServer::start(answers);
    let backend = plain_store(&server.host(), "r", PATIENCE);
    (server, backend)
}

fn sized(status: &str, body: &[u8]) -> Vec<ServerAction> {
    answer(&format!("{status}\r\nContent-Length: {}", body.len()), body)
}

/// A registry whose manifest is this text; its blobs are good.
fn with_manifest(text: Vec<u8>) -> (TestServer, OciBackend) {
    start(move |_, request| {
        let is_blob = request.path.starts_with("/v2/r/blobs/");
        sized("200 OK", if is_blob { OBJECT } else { &text })
    })
}

/// A registry whose manifest is good, and whose blob is answered so.
fn with_blob(
    answers: impl Fn(&Request) -> Vec<ServerAction> + Send + Sync + 'static,
) -> (TestServer, OciBackend) {
    start(move |_, request| {
        if request.path.starts_with("/v2/r/blobs/") {
            answers(request)
        } else {
            sized("200 OK", manifest().to_string().as_bytes())
        }
    })
}

#[track_caller]
fn fails(backend: &OciBackend, kind: FailureKind, said: &str) -> StoreError {
    let error = bytes(backend, KEY).unwrap_err();
    let text = with_causes(&error);
    assert!(text.contains(said) && text.contains("oci://127.0.0.1:"), "{text}");
    assert_eq!(error.kind(), kind, "{text}");
    error
}

#[test]
fn the_object_comes_from_a_good_registry() {
    let (server, backend) = with_blob(|_| sized("200 OK", OBJECT));
    assert_eq!(bytes(&backend, KEY).unwrap(), OBJECT);
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let blob = format!("/v2/r/blobs/{}", Sha256Sum::of(OBJECT).prefixed());
    assert_eq!(asked, [format!("/v2/r/manifests/{TAG}"), blob]);
}

#[test]
fn answers_without_a_manifest_are_told_apart() {
    use FailureKind::{Denied, Unreachable};
    for (head, body, kind, said, requests) in [
        ("200 OK\r\nContent-Type: text/html", HTML, Denied, "something else than a manifest", 1),
        ("401 x", b"", Denied, "wants credentials: there are none", 2),
        (
            "401 x\r\nWWW-Authenticate: Negotiate",
            b"",
            Denied,
            "a kind that mkpanda does not support",
            2,
        ),
        ("401 x\r\nWWW-Authenticate: Basic realm=\"x\"", b"", Denied, "credentials", 1),
        ("403 x", b"", Denied, "doesn't allow it", 1),
        ("429 x\r\nRetry-After: 3600", b"", Denied, "too many requests", 1),
        ("429 x", b"", Unreachable, "429", 2),
        ("503 x", b"", Unreachable, "503", 2),
        ("418 x", b"", Denied, "418", 1),
        ("not HTTP", b"", Unreachable, "attempt 2", 2),
    ] {
        let (server, backend) = start(move |_, _| sized(head, body));
        let error = fails(&backend, kind, said);
        assert_eq!(server.requests().len(), requests, "{head}");
        if head.contains("Basic") || head.starts_with("403") {
            assert!(error.hint().unwrap().contains("`mkpanda login 127.0.0.1:"), "{error:?}");
        }
    }
    let unknown = br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;
    let (_server, backend) = start(|_, _| sized("404 x", unknown));
    assert!(bytes(&backend, KEY).unwrap_err().is_not_found());
    assert_eq!(backend.list(None, &quiet()).unwrap(), []);
    assert!(!backend.delete(&key(KEY), &quiet()).unwrap());
}

#[test]
fn a_registry_that_stalls_is_given_up() {
    let server = TestServer::start(|_, _| vec![ServerAction::Stall(Duration::from_secs(5))]);
    let backend = plain_store(&server.host(), "r", Duration::from_millis(200));
    fails(&backend, FailureKind::Unreachable, "said nothing");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn manifests_that_are_cut_short_or_have_another_digest_are_not_used() {
    let (_server, backend) = start(|_, _| answer("200 OK\r\nContent-Length: 5000", b"{"));
    fails(&backend, FailureKind::Unreachable, "the connection broke");
    let other = Sha256Sum::of(b"other").prefixed();
    let (_server, backend) = start(move |_, _| {
        sized(
            &format!("200 OK\r\nDocker-Content-Digest: {other}"),
            manifest().to_string().as_bytes(),
        )
    });
    fails(&backend, FailureKind::Denied, "is damaged or was changed");
    let (_server, backend) = with_manifest(vec![b' '; 5 << 20]);
    fails(&backend, FailureKind::Denied, "documents may have");
}

#[test]
fn hostile_manifests_are_not_used() {
    let long = "x".repeat(3000);
    let cases: [(&str, Value, &str); 17] = [
        ("/annotations/org.mkpanda.key", json!("../../etc/passwd"), "not a valid key"),
        ("/annotations/org.mkpanda.key", json!("packages/a/a--2.tar.xz"), "a--2.tar.xz"),
        ("/annotations/org.mkpanda.key", json!(long), "not a valid key"),
        ("/annotations/org.mkpanda.key", json!(7), "invalid type"),
        ("/annotations", json!({}), "lacks the annotation"),
        ("/annotations", json!([]), "not valid"),
        ("/artifactType", json!("application/vnd.oci.image.config.v1+json"), "not an object"),
        ("/artifactType", json!("application/vnd.mkpanda.source.v1"), "artifact type"),
        ("/artifactType", json!(format!("application/{long}")), "not an object"),
        ("/layers", json!([]), "0 layers"),
        ("/layers", json!([manifest()["layers"][0], manifest()["layers"][0]]), "2 layers"),
        ("/layers/0/mediaType", json!("application/octet-stream"), "media type"),
        ("/layers/0/mediaType", json!(format!("{}+gzip", "a/b")), "media type"),
        ("/layers/0/digest", json!("sha512:00"), "digest"),
        ("/layers/0/digest", json!("sha256:../../../x"), "Invalid encoded value"),
        ("/layers/0/size", json!(-1), "not valid"),
        ("/layers/0/size", json!(1e30), "not valid"),
    ];
    for (place, value, said) in cases {
        let mut changed = manifest();
        *changed.pointer_mut(place).unwrap() = value;
        let (server, backend) = with_manifest(changed.to_string().into_bytes());
        let error = fails(&backend, FailureKind::Denied, said);
        assert!(with_causes(&error).len() < 800, "{error}");
        let asked = server.requests();
        assert!(asked.iter().all(|request| !request.path.contains("blobs")), "{place}");
        let put = backend.put(&key(KEY), ObjectContent::Bytes(b"x"), &quiet());
        assert_eq!(put.unwrap_err().kind(), FailureKind::Denied);
        let methods = server.requests().into_iter().map(|request| request.method);
        assert!(methods.into_iter().all(|method| method == "GET"), "nothing is replaced");
    }
}

#[test]
fn blobs_have_to_have_the_size_and_digest_of_the_manifest() {
    use FailureKind::{Denied, Unreachable};
    let other: Vec<u8> = OBJECT.iter().map(|byte| byte ^ 1).collect();
    let (_server, backend) = with_blob(move |_| sized("200 OK", &other));
    fails(&backend, Denied, "is damaged or was changed");
    let (_server, backend) = with_blob(|_| sized("200 OK", &OBJECT[1..]));
    fails(&backend, Denied, "but should have 22");
    let (_server, backend) = with_blob(|_| sized("200 OK\r\nContent-Type: text/html", HTML));
    fails(&backend, Denied, "but should have 22");
    let (_server, backend) = with_blob(|_| answer("200 OK", &[OBJECT, b"more"].concat()));
    fails(&backend, Denied, "but should have 22");
    let (_server, backend) = with_blob(|_| sized("404 x", b""));
    fails(&backend, Denied, "but not the blob");
    let (_server, backend) = with_blob(|_| sized("503 x", b""));
    fails(&backend, Unreachable, "503");
    let (_server, backend) = with_blob(|_| answer("200 OK\r\nContent-Length: 22", &OBJECT[..5]));
    fails(&backend, Unreachable, "of 22 bytes");
    // A size that no blob has.
    let mut huge = manifest();
    huge["layers"][0]["size"] = json!(u64::MAX);
    let (_server, backend) = with_manifest(huge.to_string().into_bytes());
    fails(&backend, Denied, "has 22 bytes");
}

#[test]
fn a_blob_that_breaks_off_is_taken_up_where_it_was() {
    let (server, backend) = with_blob(|request| match request.header("range") {
        None => answer("200 OK\r\nContent-Length: 22", &OBJECT[..5]),
        Some(range) => {
            assert_eq!(range, "bytes=5-");
            let head = "206 x\r\nContent-Range: bytes 5-21/22\r\nContent-Length: 17";
            answer(head, &OBJECT[5..])
        }
    });
    assert_eq!(bytes(&backend, KEY).unwrap(), OBJECT);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn lists_pass_over_what_is_wrong_and_fail_where_the_registry_does() {
    let tags = json!({ "name": "r", "tags": [TAG, "b", "gone", "not a tag", "_", "../x"] });
    let (_server, backend) = start(move |_, request| match request.path.as_str() {
        "/v2/r/tags/list?n=1000" => answer(
            &format!(
                "200 OK\r\nLink: </v2/r/tags/list?last=x>; rel=\"next\"\r\nContent-Length: {}",
                tags.to_string().len()
            ),
            tags.to_string().as_bytes(),
        ),
        "/v2/r/tags/list?last=x" => sized("200 OK", br#"{"name":"r","tags":null}"#),
        path if path.ends_with("/gone") => sized("404 x", b""),
        path => {
            assert!(path == format!("/v2/r/manifests/{TAG}") || path == "/v2/r/manifests/b");
            sized("200 OK", manifest().to_string().as_bytes())
        }
    });
    let seen = Events::default();
    let listed = backend.list(None, &StoreTransfer { subject: "s", observer: &seen }).unwrap();
    assert_eq!(listed, [Listed { key: key(KEY), size: 22 }]);
    assert_eq!(seen.take_warnings().len(), 1, "the tag b");
    for (head, body, kind) in [
        ("200 OK", HTML, FailureKind::Denied),
        (
            "200 OK\r\nLink: <https://other.example/>; rel=next",
            br#"{"tags":[]}"#,
            FailureKind::Denied,
        ),
        ("503 x", b"", FailureKind::Unreachable),
        ("403 x", b"", FailureKind::Denied),
    ] {
        let (_server, backend) = start(move |_, _| sized(head, body));
        let error = backend.list(None, &quiet()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().starts_with("cannot list the objects in oci://"), "{error}");
    }
}

#[test]
fn a_missing_repository_is_not_a_missing_object_for_a_put() {
    let (server, backend) = start(|_, _| sized("404 x", b""));
    let error = backend.put(&key(KEY), ObjectContent::Bytes(OBJECT), &quiet()).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
    assert!(error.hint().unwrap().starts_with("make the repository r at"), "{error:?}");
    assert!(server.requests().iter().all(|request| request.method != "PUT"));
}

/// A registry that takes all blobs, and answers the put of a manifest so; afterwards it has `later`.
fn taking(status: &'static str, later: Option<Value>) -> (TestServer, OciBackend) {
    let is_put = Mutex::new(false);
    start(move |_, request| {
        let mut is_put = is_put.lock().unwrap();
        match (request.method.as_str(), request.path.contains("/manifests/")) {
            ("PUT", true) => {
                *is_put = true;
                sized(status, b"")
            }
            (_, true) => match later.as_ref().filter(|_| *is_put) {
                None => sized("404 x", b""),
                Some(found) => {
                    let text = found.to_string();
                    let head = format!("200 OK\r\nContent-Length: {}", text.len());
                    answer(&head, if request.method == "HEAD" { b"" } else { text.as_bytes() })
                }
            },
            ("HEAD", _) => sized("404 x", b""),
            ("POST", _) => answer("202 x\r\nLocation: /up?x=1\r\nContent-Length: 0", b""),
            _ => sized("201 x", b""),
        }
    })
}

#[test]
fn of_two_writers_one_is_told_that_the_object_was_there() {
    // The other one's manifest replaced ours; the registry refused ours.
    for status in ["201 x", "409 x", "400 x"] {
        let (_server, backend) = taking(status, Some(manifest()));
        let put = backend.put(&key(KEY), ObjectContent::Bytes(b"other"), &quiet()).unwrap();
        assert_eq!(put, Put::WasThere, "{status}");
    }
    let (_server, backend) = taking("400 x", None);
    let error = backend.put(&key(KEY), ObjectContent::Bytes(b"other"), &quiet()).unwrap_err();
    assert!(with_causes(&error).contains("400"), "{error:?}");
    let (_server, backend) = taking("201 x", None);
    let error = backend.put(&key(KEY), ObjectContent::Bytes(b"other"), &quiet()).unwrap_err();
    assert!(with_causes(&error).contains("but does not have it"), "{error:?}");
}

#[test]
fn puts_make_the_requests_that_the_description_counts() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(2 << 20).unwrap();
    for (content, expected) in [
        // With the empty configuration: HEAD, POST, PUT.
        (ObjectContent::Bytes(b"small"), "GET POST PUT HEAD POST PUT PUT HEAD"),
        (ObjectContent::File(file.path(), 2 << 20), "GET HEAD POST PUT HEAD POST PUT GET PUT HEAD"),
    ] {
        let (server, backend) = taking("201 x", Some(manifest()));
        backend.put(&key(KEY), content, &quiet()).unwrap();
        let methods: Vec<String> = server.requests().into_iter().map(|one| one.method).collect();
        // The manifest is another one here, which is looked at in the end.
        assert_eq!(methods.join(" "), format!("{expected} GET"));
        let count = methods.len();
        assert_eq!(backend.put(&key(KEY), content, &quiet()).unwrap(), Put::WasThere);
        assert_eq!(server.requests().len(), count + 1);
    }
}

#[test]
fn content_that_shrinks_before_the_upload_is_a_fault_of_this_machine() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), OBJECT).unwrap();
    let path = file.path().to_owned();
    let (_server, backend) = start(move |_, request| match request.method.as_str() {
        "POST" => {
            fs_err::write(&path, b"").unwrap();
            answer("202 x\r\nLocation: /up?x=1\r\nContent-Length: 0", b"")
        }
        _ => sized("404 x", b""),
    });
    let content = ObjectContent::File(file.path(), OBJECT.len() as u64);
    let error = backend.put(&key(KEY), content, &quiet()).unwrap_err();
    assert!(matches!(error, StoreError::Content { .. }), "{error:?}");
    assert_eq!(error.kind(), FailureKind::Local);
}
