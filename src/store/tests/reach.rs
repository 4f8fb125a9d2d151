//! Stores that are down: how often they are asked, and what is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::base::http::test_server::{ClosedAddress, TestServer, answer, ok};

fn ask(store: &Store, name: &str, seen: &Events) -> Result<Option<GotObject>, StoreError> {
    let transfer = StoreTransfer { subject: name, observer: seen };
    let mut file = tempfile::tempfile().unwrap();
    let (key, kind) = (key(name), |error: &StoreError| Some(error.kind()));
    store.item("a mirror", &transfer, kind, |backend| backend.get(&key, &mut file, &transfer))
}

#[test]
fn a_store_that_fails_three_times_in_a_row_is_skipped_with_one_warning() {
    let server = TestServer::start(|_, _| answer("503 x\r\nContent-Length: 0", b""));
    let store = Store::mirror(&server.url(""), &impatient_client()).unwrap();
    let (seen, copy) = (Events::default(), store.clone());
    for number in 0..6 {
        let from = if number % 2 == 0 { &store } else { &copy };
        assert_eq!(ask(from, "f", &seen).unwrap(), None);
    }
    assert_eq!(server.requests().len(), 3 * 2, "three items, with two attempts each");
    let warnings = seen.take_warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let skips: Vec<bool> = warnings.iter().map(|said| said.contains("not asked again")).collect();
    assert_eq!(skips, [false, false, true]);
}

#[test]
fn an_answer_of_any_kind_resets_the_count() {
    let server = TestServer::start(|_, request| match request.path.as_str() {
        "/there" => ok(b"x"),
        "/absent" => answer("404 x\r\nContent-Length: 0", b""),
        _ => answer("503 x\r\nContent-Length: 0", b""),
    });
    let store = Store::mirror(&server.url(""), &impatient_client()).unwrap();
    let seen = Events::default();
    for name in ["f", "f", "there", "f", "f", "absent", "f", "f", "there"] {
        assert_eq!(ask(&store, name, &seen).unwrap().is_some(), name == "there");
    }
    assert!(seen.take_warnings().iter().all(|said| !said.contains("not asked again")));
}

#[test]
fn a_refused_connection_skips_at_once_also_for_items_under_way() {
    let closed = ClosedAddress::new();
    let store = Store::mirror(&closed.url(""), &impatient_client()).unwrap();
    let seen = Events::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(ask(&store, "f", &seen).unwrap(), None));
        }
    });
    let warnings = seen.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("refused") && warnings[0].contains("not asked again"));
}

#[test]
fn faults_of_this_machine_are_errors_and_count_for_nothing() {
    let failing = Arc::new(AtomicBool::new(false));
    let seen = Events::default();
    let server = TestServer::start(|_, _| ok(b"x"));
    let store = Store::mirror(&server.url(""), &impatient_client()).unwrap();
    for _ in 0..4 {
        let transfer = StoreTransfer { subject: "f", observer: &seen };
        let mut closed = fs_err::File::open("/proc/self/status").unwrap().into_file();
        let kind = |error: &StoreError| Some(error.kind());
        let asked = store.item("a mirror", &transfer, kind, |backend| {
            failing.store(true, Ordering::Relaxed);
            backend.get(&key("f"), &mut closed, &transfer)
        });
        assert_eq!(asked.unwrap_err().kind(), FailureKind::Local);
    }
    assert!(failing.load(Ordering::Relaxed) && seen.take_warnings().is_empty());
    assert!(ask(&store, "f", &seen).unwrap().is_some());
}

#[test]
fn places_are_read_as_folders_and_urls() {
    let http = impatient_client();
    let folder = |store: Result<Store, StoreUrlError>| {
        store.unwrap().local_folder().unwrap().display().to_string()
    };
    assert_eq!(folder(Store::mirror("some/where", &http)), "some/where");
    assert_eq!(folder(Store::mirror("file:///some/where", &http)), "/some/where");
    assert_eq!(folder(Store::repository("file:///some/", None, &http)), "/some/");
    let base = std::path::Path::new("/base");
    assert_eq!(folder(Store::repository("file://some", Some(base), &http)), "/base/some");
    let store = Store::repository("https://u:secret@h/x/", None, &http).unwrap();
    assert_eq!(store.base_url(), Some("https://u:secret@h/x"));
    assert!(store.is_remote() && store.backend().name() == "https://h/x");
    for bad in ["", "ftp://x", "http://", "file://x", "s3://x"] {
        assert!(Store::mirror(bad, &http).is_err(), "{bad}");
        assert!(Store::repository(bad, None, &http).is_err(), "{bad}");
    }
    assert!(Store::repository("some/where", None, &http).is_err());
}

#[test]
fn one_place_knows_all_schemes() {
    let access = StoreAccess::new(impatient_client());
    let open = |text: &str| Store::open(text, &access);
    for (text, name) in [
        ("some/where", "some/where"),
        ("file:///some/where", "/some/where"),
        ("https://u:secret@h/x/", "https://h/x"),
        #[cfg(feature = "builder")]
        ("s3://bucket/p/", "s3://bucket/p"),
        #[cfg(feature = "builder")]
        ("az://container", "az://container"),
        #[cfg(feature = "builder")]
        ("gs://bucket/p/q", "gs://bucket/p/q"),
    ] {
        let store = open(text).unwrap();
        assert_eq!(store.backend().name(), name);
        assert_eq!(store.is_remote(), name.contains("://"));
    }
    for bad in [
        "",
        "ftp://x",
        "http://",
        "file://x",
        "s3://",
        "s3://x",
        "az://a?sig=secret",
        "gs://b/../c",
        "s3://key:secret@bucket/p",
    ] {
        let error = open(bad).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
    #[cfg(not(feature = "builder"))]
    assert!(open("s3://bucket").unwrap_err().to_string().contains("mkpanda also knows"));
}
