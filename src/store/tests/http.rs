//! A web server's folder as a store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::conformance::{self, Subject, read_conformance};
use super::*;
use crate::base::http::test_server::{ClosedAddress, Request, ServerAction, TestServer, answer};

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A server that knows ranges or not, and a store of it.
struct Web {
    objects: Objects,
    large: Arc<Mutex<BTreeMap<String, u64>>>,
    server: TestServer,
    backend: HttpBackend,
}

impl Web {
    fn new(has_ranges: bool) -> Self {
        let objects = Objects::default();
        let large: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
        let (seen, seen_large) = (Arc::clone(&objects), Arc::clone(&large));
        let server = TestServer::start(move |_, request| {
            let name = request.path.strip_prefix("/store/").unwrap();
            if let Some(mebibytes) = seen_large.lock().unwrap().get(name) {
                return zeros(request, *mebibytes);
            }
            match seen.lock().unwrap().get(name) {
                Some(content) => serve(request, content, has_ranges),
                None => answer("404 x\r\nContent-Length: 0", b""),
            }
        });
        let url = server.url("/store/").replace("http://", "http://user:secret@");
        let backend = HttpBackend::new(&url, impatient_client());
        Self { objects, large, server, backend }
    }
}

fn zeros(request: &Request, mebibytes: u64) -> Vec<ServerAction> {
    let bytes = mebibytes << 20;
    let mut steps = answer(&format!("200 OK\r\nContent-Length: {bytes}"), b"");
    if request.method != "HEAD" {
        steps.push(ServerAction::Repeat(vec![0; 1 << 20], usize::try_from(mebibytes).unwrap()));
    }
    steps
}

fn serve(request: &Request, content: &[u8], has_ranges: bool) -> Vec<ServerAction> {
    let length = content.len();
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    if let Some((first, last)) =
        range.and_then(|range| range.split_once('-')).filter(|_| has_ranges)
    {
        let first: usize = first.parse().unwrap();
        if first >= length {
            let head = format!("416 x\r\nContent-Range: bytes */{length}\r\nContent-Length: 0");
            return answer(&head, b"");
        }
        let last = last.parse().map_or(length - 1, |last: usize| last.min(length - 1));
        let part = &content[first..=last];
        let head = format!(
            "206 x\r\nContent-Range: bytes {first}-{last}/{length}\r\nContent-Length: {}",
            part.len()
        );
        return answer(&head, part);
    }
    let head = format!("200 OK\r\nContent-Length: {length}");
    answer(&head, if request.method == "HEAD" { b"" } else { content })
}

impl Subject for Web {
    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn place(&self, key: &str, content: &[u8]) {
        self.objects.lock().unwrap().insert(key.to_owned(), content.to_vec());
    }

    fn place_large(&self, key: &str, mebibytes: u64) {
        self.large.lock().unwrap().insert(key.to_owned(), mebibytes);
    }
}

mod with_ranges {
    use super::*;

    read_conformance!(tests, Web::new(true));
}

mod without_ranges {
    use super::*;

    read_conformance!(tests, Web::new(false));
}

#[test]
fn large_objects_need_no_memory() {
    conformance::alone("store::tests::http::large_objects_need_no_memory", || {
        conformance::read::large_objects_need_no_memory(&Web::new(true));
    });
}

#[test]
fn nothing_can_be_written() {
    let web = Web::new(true);
    conformance::refuses_to_write(&web.backend);
    assert!(web.server.requests().is_empty());
}

#[test]
fn kinds_of_failure_are_told_apart() {
    let kind = |head: &'static str| {
        let server = TestServer::start(move |_, _| answer(head, b""));
        let backend = HttpBackend::new(&server.url(""), impatient_client());
        backend.head(&key("f"), &quiet()).unwrap_err().kind()
    };
    assert_eq!(kind("404 x\r\nContent-Length: 0"), FailureKind::NotFound);
    assert_eq!(kind("410 x\r\nContent-Length: 0"), FailureKind::NotFound);
    assert_eq!(kind("403 x\r\nContent-Length: 0"), FailureKind::Denied);
    assert_eq!(kind("503 x\r\nContent-Length: 0"), FailureKind::Unreachable);
    assert_eq!(kind("not HTTP"), FailureKind::Unreachable);
    let closed = ClosedAddress::new();
    let backend = HttpBackend::new(&closed.url(""), impatient_client());
    let error = backend.head(&key("f"), &quiet()).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Refused, "{error:?}");
    assert!(error.hint().is_some());
}
