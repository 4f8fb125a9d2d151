//! Copies that Azure makes later; a server inside the test plays it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::cloud_faults::{META, stores};
use super::*;
use crate::base::causes::with_causes;
use crate::base::http::test_server::{Request, TestServer, answer};

/// Copies an object on Azure, where `states` are the answers to the copy and to the questions after it.
fn copied_on_azure(
    states: &'static [(&'static str, &'static str)],
) -> (Result<(), StoreError>, Vec<String>) {
    let asked = AtomicUsize::new(0);
    let server = TestServer::start(move |_, request| {
        let (status, is_copied) = match (request.method.as_str(), request.path.ends_with("/to")) {
            ("PUT", _) => ("202", true),
            (_, is_copied) => ("200", is_copied),
        };
        let number = if is_copied { asked.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let (state, progress) = states[number.min(states.len() - 1)];
        let state = if is_copied {
            format!("\r\nx-ms-copy-status: {state}\r\nx-ms-copy-progress: {progress}")
        } else {
            String::new()
        };
        answer(&format!("{status} x\r\n{META}{state}\r\nContent-Length: 0"), b"")
    });
    let store = &stores(&server.url(""))[1];
    let about = About::default();
    let result = store.backend().copy(&key("from"), &key("to"), &about, &quiet());
    let to = |request: Request| request.path.ends_with("/to").then_some(request.method);
    (result, server.requests().into_iter().filter_map(to).collect())
}

/// More questions than attempts, and one request to copy.
#[test]
fn a_copy_that_azure_makes_later_is_waited_for() {
    let states: &[_] = &[
        ("pending", "0/9"),
        ("pending", "1/9"),
        ("pending", "1/9"),
        ("pending", "5/9"),
        ("success", "9/9"),
    ];
    let (result, requests) = copied_on_azure(states);
    result.unwrap();
    assert_eq!(requests, ["PUT", "HEAD", "HEAD", "HEAD", "HEAD"]);
    let (result, requests) = copied_on_azure(&[("pending", "0/9"), ("failed", "4/9")]);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
    assert!(with_causes(&error).contains("could not copy the object: failed"), "{error:?}");
    assert_eq!(requests, ["PUT", "HEAD"]);
    // What the copy has left, not the original.
    let hint = error.hint().unwrap();
    let command =
        "az storage blob delete --account-name ACCOUNT --container-name 'bucket' --name 'p/to'";
    assert!(hint.ends_with(command), "{hint}");
}

/// The object has its name, but not its content.
#[test]
fn an_object_whose_copy_has_not_succeeded_is_not_read() {
    for (state, said) in [("pending", "has not ended the copy"), ("aborted", "could not copy")] {
        let server = TestServer::start(move |_, _| {
            answer(
                &format!("200 x\r\n{META}\r\nx-ms-copy-status: {state}\r\nContent-Length: 0"),
                b"",
            )
        });
        let store = &stores(&server.url(""))[1];
        let head = store.backend().head(&key("f"), &quiet()).unwrap_err();
        let mut file = tempfile::tempfile().unwrap();
        let got = store.backend().get(&key("f"), &mut file, &quiet()).unwrap_err();
        for error in [head, got] {
            assert!(!error.is_not_found() && with_causes(&error).contains(said), "{error:?}");
            let hint = error.hint().unwrap();
            assert!(state == "pending" || hint.ends_with("--name 'p/f'"), "{hint}");
        }
    }
}
