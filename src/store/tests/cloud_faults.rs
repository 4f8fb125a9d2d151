//! Stores in clouds that refuse, lie, stall and break off; a server inside the test plays them.

use std::time::Duration;

use super::cloud::{azure_settings, gcs_settings, s3_settings};
use super::*;
use crate::base::causes::with_causes;
use crate::base::events::Events;
use crate::base::http::test_server::{ClosedAddress, Request, ServerAction, TestServer, answer};
use crate::base::http::{HttpClient, HttpOptions};

/// Opens stores of all kinds at a server, with three attempts and little patience.
pub(super) fn stores(server: &str) -> Vec<Store> {
    let http = HttpClient::new(HttpOptions {
        attempts: 3,
        first_wait: Duration::from_millis(1),
        stall_timeout: Duration::from_millis(300),
        ..HttpOptions::default()
    });
    [
        ("s3://bucket/p", s3_settings(server.to_owned())),
        ("az://bucket/p", azure_settings(server)),
        ("gs://bucket/p", gcs_settings(server.to_owned())),
    ]
    .map(|(url, clouds)| {
        Store::open(url, &StoreAccess { clouds, ..StoreAccess::new(http.clone()) }).unwrap()
    })
    .into()
}

const CONTENT: &[u8] = b"0123456789";
pub(super) const META: &str = "ETag: \"e1\"\r\nLast-Modified: Fri, 31 Dec 1999 23:59:59 GMT";

/// The content, or the rest of it that is asked for.
fn serve(request: &Request) -> Vec<ServerAction> {
    let first = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let first = first.and_then(|range| range.split('-').next()?.parse::<usize>().ok());
    match first {
        Some(first) => {
            let rest = &CONTENT[first..];
            let head = format!(
                "206 x\r\n{META}\r\nContent-Range: bytes {first}-9/10\r\nContent-Length: {}",
                rest.len()
            );
            answer(&head, rest)
        }
        None => answer(&format!("200 x\r\n{META}\r\nContent-Length: 10"), CONTENT),
    }
}

/// Gets the object from a store of each kind; `answers` plays the server.
fn get_from_all(
    answers: impl Fn(usize, &Request) -> Vec<ServerAction> + Send + Sync + Clone + 'static,
    check: impl Fn(&Store, Result<Vec<u8>, StoreError>, Vec<String>, usize),
) {
    for number in 0..3 {
        let server = TestServer::start(answers.clone());
        let store = &stores(&server.url(""))[number];
        let retries = Events::default();
        let transfer = StoreTransfer { subject: "s", observer: &retries };
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let got = store.backend().get(&key("f"), file.as_file_mut(), &transfer);
        let got = got.map(|got| {
            let content = fs_err::read(file.path()).unwrap();
            assert_eq!(got.bytes, content.len() as u64);
            content
        });
        check(store, got, retries.retries(), server.requests().len());
    }
}

/// Answers with an error of S3's and Azure's form.
fn refusal(status: &str, code: &str) -> Vec<ServerAction> {
    let body = format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
    answer(
        &format!("{status} x\r\nx-ms-error-code: {code}\r\nContent-Length: {}", body.len()),
        body.as_bytes(),
    )
}

#[test]
fn refusals_are_final_and_have_remedies() {
    for (status, code, kind, hint) in [
        ("403", "AccessDenied", FailureKind::Denied, "these credentials need"),
        ("401", "x", FailureKind::Denied, "check "),
        ("404", "NoSuchBucket", FailureKind::Denied, "bucket"),
        ("404", "NoSuchKey", FailureKind::NotFound, ""),
        ("403", "QuotaExceeded", FailureKind::Denied, "remove objects"),
        ("507", "XMinioStorageFull", FailureKind::Denied, "remove objects"),
    ] {
        get_from_all(
            move |_, _| refusal(status, code),
            |store, got, retries, requests| {
                let error = got.unwrap_err();
                assert_eq!(error.kind(), kind, "{code}: {error:?}");
                assert!(
                    error.hint().unwrap_or_default().contains(hint),
                    "{code}: {:?}",
                    error.hint()
                );
                assert!(retries.is_empty() && requests == 1, "{code}: {retries:?}");
                let text = with_causes(&error);
                assert!(
                    text.contains(&store.backend().name()) && !text.contains("secret"),
                    "{text}"
                );
            },
        );
    }
}

#[test]
fn overload_passes_and_servers_may_name_the_wait() {
    for status in ["429", "503", "500"] {
        get_from_all(
            move |number, request| match number {
                0 | 1 => answer(&format!("{status} x\r\nRetry-After: 0\r\nContent-Length: 0"), b""),
                _ => serve(request),
            },
            |_, got, retries, requests| {
                assert_eq!((got.unwrap(), requests, retries.len()), (CONTENT.to_vec(), 3, 2));
            },
        );
        get_from_all(
            move |_, _| answer(&format!("{status} x\r\nContent-Length: 0"), b""),
            |_, got, retries, requests| {
                let error = got.unwrap_err();
                assert_eq!(error.kind(), FailureKind::Unreachable, "{error:?}");
                assert!(with_causes(&error).contains("attempt 3, the last"), "{error:?}");
                assert!(requests == 3 && retries.len() == 2 && error.hint().is_some());
            },
        );
        get_from_all(
            move |_, _| {
                answer(&format!("{status} x\r\nRetry-After: 3600\r\nContent-Length: 0"), b"")
            },
            |_, got, retries, requests| {
                let error = got.unwrap_err();
                assert_eq!(error.kind(), FailureKind::Unreachable, "{error:?}");
                assert!(with_causes(&error).contains("no request for 3600 s"), "{error:?}");
                assert_eq!((requests, retries.len()), (1, 0));
            },
        );
    }
}

#[test]
fn broken_and_silent_transfers_go_on_where_they_stopped() {
    for is_stalled in [false, true] {
        get_from_all(
            move |number, request| {
                if number > 0 {
                    assert_eq!(request.header("if-match"), Some("\"e1\""));
                    assert_eq!(request.header("range"), Some("bytes=4-"));
                    return serve(request);
                }
                let mut steps =
                    answer(&format!("200 x\r\n{META}\r\nContent-Length: 10"), &CONTENT[..4]);
                if is_stalled {
                    steps.push(ServerAction::Stall(Duration::from_secs(2)));
                }
                steps
            },
            |_, got, retries, requests| {
                assert_eq!((got.unwrap(), requests), (CONTENT.to_vec(), 2));
                let word =
                    if is_stalled { "nothing came for 0.3 s" } else { "the connection broke" };
                assert!(retries[0].contains(word), "{retries:?}");
            },
        );
    }
}

#[test]
fn replaced_objects_are_read_from_the_beginning() {
    get_from_all(
        move |number, request| match number {
            0 => answer(&format!("200 x\r\n{META}\r\nContent-Length: 12"), b"abcd"),
            1 => refusal("412", "PreconditionFailed"),
            _ => {
                assert_eq!(request.header("range"), None);
                serve(request)
            }
        },
        |_, got, _, requests| assert_eq!((got.unwrap(), requests), (CONTENT.to_vec(), 3)),
    );
}

#[test]
fn silent_servers_are_given_up() {
    get_from_all(
        |_, _| vec![ServerAction::Stall(Duration::from_secs(3))],
        |_, got, retries, _| {
            let error = got.unwrap_err();
            assert_eq!(error.kind(), FailureKind::Unreachable);
            assert!(retries[0].contains("said nothing for 0.3 s"), "{retries:?}");
        },
    );
}

#[test]
fn connections_that_are_reset_are_made_again() {
    get_from_all(
        |number, request| if number == 0 { Vec::new() } else { serve(request) },
        |_, got, retries, requests| {
            assert_eq!((got.unwrap(), requests, retries.len()), (CONTENT.to_vec(), 2, 1));
        },
    );
}

#[test]
fn what_is_not_an_object_is_not_taken_for_one() {
    let page = b"<html>please log in</html>";
    for head in [
        "200 x\r\nContent-Type: text/html\r\nETag: \"e\"\r\nLast-Modified: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: 26",
        "200 x\r\nContent-Type: text/plain\r\nContent-Length: 26",
        "200 x\r\nContent-Type: text/html",
        "302 x\r\nLocation: http://127.0.0.1:1/login\r\nContent-Length: 26",
    ] {
        get_from_all(
            move |_, _| answer(head, page),
            |_, got, _, requests| {
                let error = got.unwrap_err();
                assert_eq!(error.kind(), FailureKind::Denied, "{head}: {error:?}");
                assert_eq!(requests, 1, "redirects are not followed");
            },
        );
    }
    for store in stores(
        &TestServer::start(move |_, _| {
            answer("200 x\r\nContent-Type: text/html\r\nContent-Length: 26", page)
        })
        .url(""),
    ) {
        let backend = store.backend();
        for error in [
            backend.head(&key("f"), &quiet()).unwrap_err(),
            backend.put(&key("f"), ObjectContent::Bytes(b"x"), &quiet()).unwrap_err(),
            backend.list(None, &quiet()).unwrap_err(),
            backend.delete(&key("f"), &quiet()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
        }
    }
}

#[test]
fn answers_that_have_no_end_are_refused() {
    let server = TestServer::start(|_, _| {
        let mut steps = answer("200 x", b"<ListBucketResult>");
        steps.push(ServerAction::Repeat(vec![b' '; 1 << 20], 1_000));
        steps
    });
    for store in stores(&server.url("")) {
        let error = store.backend().list(None, &quiet()).unwrap_err();
        assert!(with_causes(&error).contains("more than 16777216 bytes"), "{error:?}");
    }
}

#[test]
fn refused_connections_are_told_at_once() {
    let closed = ClosedAddress::new();
    for store in stores(&closed.url("")) {
        let error = store.backend().head(&key("f"), &quiet()).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Refused, "{error:?}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn puts_are_repeated_and_found_out_about_when_the_answer_is_lost() {
    // The first request is answered with nothing, the second finds the object of the first.
    let server = TestServer::start(|number, request| {
        assert_eq!(request.method, "PUT");
        if number == 0 { Vec::new() } else { refusal("412", "PreconditionFailed") }
    });
    let store = &stores(&server.url(""))[0];
    let put = store.backend().put(&key("f"), ObjectContent::Bytes(b"x"), &quiet()).unwrap();
    assert_eq!((put, server.requests().len()), (Put::WasThere, 2));
}

#[test]
fn uploads_in_parts_that_fail_are_removed() {
    let server = TestServer::start(|_, request| match request.method.as_str() {
        "HEAD" => answer("404 x\r\nContent-Length: 0", b""),
        "POST" => {
            let body = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
            answer(&format!("200 x\r\nContent-Length: {}", body.len()), body.as_bytes())
        }
        "PUT" => refusal("403", "AccessDenied"),
        _ => answer("204 x", b""),
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(20 << 20).unwrap();
    let store = &stores(&server.url(""))[0];
    let content = ObjectContent::File(file.path(), 20 << 20);
    let error = store.backend().put(&key("f"), content, &quiet()).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Denied, "{error:?}");
    // Another part may be on its way meanwhile.
    let requests = server.requests();
    let mut requests = requests.iter().map(|it| (it.method.as_str(), it.path.as_str()));
    assert!(requests.any(|request| request == ("DELETE", "/bucket/p/f?uploadId=u")));
}

#[test]
fn regions_and_clocks_are_named() {
    let server = TestServer::start(|_, _| {
        answer("301 x\r\nx-amz-bucket-region: eu-west-1\r\nContent-Length: 0", b"")
    });
    let store = &stores(&server.url(""))[0];
    let error = store.backend().head(&key("f"), &quiet()).unwrap_err();
    assert!(error.hint().unwrap().contains("AWS_REGION=eu-west-1"), "{error:?}");
    let server = TestServer::start(|_, _| {
        let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        let head = format!(
            "403 x\r\nDate: Fri, 31 Dec 1999 23:59:59 GMT\r\nContent-Length: {}",
            body.len()
        );
        answer(&head, body.as_bytes())
    });
    let store = &stores(&server.url(""))[0];
    let error = store.backend().put(&key("f"), ObjectContent::Bytes(b"x"), &quiet()).unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.contains("ahead of the store's") && hint.contains("timedatectl"), "{hint}");
}

#[test]
fn interruptions_end_a_wait_for_a_silent_server() {
    struct Later(std::time::Instant);
    impl Observer for Later {
        fn event(&self, _: Event) {}

        fn is_interrupted(&self) -> bool {
            self.0.elapsed() > Duration::from_millis(100)
        }
    }
    let server = TestServer::start(|_, _| vec![ServerAction::Stall(Duration::from_secs(30))]);
    let access = StoreAccess {
        clouds: s3_settings(server.url("")),
        ..StoreAccess::new(HttpClient::default())
    };
    let store = Store::open("s3://bucket", &access).unwrap();
    let begun = std::time::Instant::now();
    let later = Later(begun);
    let transfer = StoreTransfer { subject: "s", observer: &later };
    let error = store.backend().head(&key("f"), &transfer).unwrap_err();
    assert!(matches!(error, StoreError::Interrupted), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
