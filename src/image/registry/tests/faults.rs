//! Registries that stall, cut off, are busy, or broken.

use super::*;

#[test]
fn what_breaks_off_goes_on_where_it_was() {
    let contents = RegistryContents::simple();
    let (long, packed) = RegistryContents::long();
    let server = serve(&contents, move |request, before| {
        (request.path.ends_with(&long) && before == 0).then(|| {
            answer(&format!("200 OK\r\nContent-Length: {}", packed.len()), &packed[..1000])
        })
    });
    let place = TestClient::new(&[&server]);
    place.pull(&format!("{}/r:1", server.host()));
    let ranges: Vec<_> = server
        .requests()
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=1000-"]);
    assert!(place.said().contains("after 1000 of"), "{}", place.said());
}

#[test]
fn a_later_run_goes_on_too_and_what_was_damaged_meanwhile_starts_over() {
    for damage in [false, true] {
        let contents = RegistryContents::simple();
        let (long, packed) = RegistryContents::long();
        let (path, half) = (long.clone(), packed.clone());
        let server = serve(&contents, move |request, before| {
            (request.path.ends_with(&path) && before < 2).then(|| {
                let from = if before == 0 { 0 } else { 1000 };
                let head = if before == 0 {
                    "200 OK".to_owned()
                } else {
                    format!(
                        "206 x\r\nContent-Range: bytes {from}-{}/{}",
                        half.len() - 1,
                        half.len()
                    )
                };
                answer(
                    &format!("{head}\r\nContent-Length: {}", half.len() - from),
                    &half[from..from + 1000],
                )
            })
        });
        let place = TestClient::new(&[&server]);
        let name = format!("{}/r:1", server.host());
        let error = place.fails(&name);
        assert!(
            error.contains("after 2000 of")
                && error.contains("run the command again: it continues"),
            "{error}"
        );
        let partial = place.store.folder().join(".partial").join(&long["sha256:".len()..]);
        assert_eq!(fs_err::read(&partial).unwrap(), packed[..2000]);
        if damage {
            let mut bytes = packed[..2000].to_vec();
            bytes[7] ^= 1;
            fs_err::write(&partial, bytes).unwrap();
        }
        place.pull(&name);
        let last = server.requests().into_iter().rfind(|request| request.path.ends_with(&long));
        let range = last.unwrap().header("range").map(str::to_owned);
        assert_eq!(range.as_deref(), (!damage).then_some("bytes=2000-"));
        assert!(!partial.exists());
    }
}

#[test]
fn a_registry_without_ranges_is_read_from_the_start() {
    let contents = RegistryContents::simple();
    let (long, packed) = RegistryContents::long();
    let server = serve(&contents, move |request, before| {
        let end = if before == 0 { 1000 } else { packed.len() };
        request
            .path
            .ends_with(&long)
            .then(|| answer(&format!("200 OK\r\nContent-Length: {}", packed.len()), &packed[..end]))
    });
    TestClient::new(&[&server]).pull(&format!("{}/r:1", server.host()));
}

#[test]
fn a_registry_that_refuses_ranges_is_read_from_the_start_by_this_run_or_the_next() {
    for (refusal, by_this_run) in [
        ("416 x", true),
        ("400 x", true),
        ("403 x", true),
        ("501 x", true),
        ("500 x", false),
        ("206 x", true),
        ("206 x\r\nContent-Range: bytes 0-9/10", true),
        ("206 x\r\nContent-Range: bytes 1000-1000/1001", true),
        ("206 x\r\nContent-Range: items 1-2/3", true),
    ] {
        let contents = RegistryContents::simple();
        let (long, packed) = RegistryContents::long();
        let server = serve(&contents, move |request, before| {
            if !request.path.ends_with(&long) {
                return None;
            }
            let whole = format!("200 OK\r\nContent-Length: {}", packed.len());
            Some(if request.header("range").is_some() {
                answer(&format!("{refusal}\r\nContent-Length: 1"), b"x")
            } else if before == 0 {
                answer(&whole, &packed[..1000])
            } else {
                answer(&whole, &packed)
            })
        });
        let place = TestClient::new(&[&server]);
        let name = format!("{}/r:1", server.host());
        let first = place.try_pull(&name, &PullOptions::default());
        assert_eq!(first.is_ok(), by_this_run, "{refusal}: {first:?}");
        if !by_this_run {
            place.pull(&name);
        }
    }
}

#[test]
fn a_registry_that_refuses_head_is_asked_by_get() {
    for status in ["403 x", "404 x", "405 x", "400 x", "200 x"] {
        let contents = RegistryContents::simple();
        let server = serve(&contents, move |request, _| {
            (request.method == "HEAD").then(|| answer(status, b""))
        });
        let place = TestClient::new(&[&server]);
        let name = format!("{}/r:1", server.host());
        place.pull(&name);
        assert!(!place.said().contains("HEAD"), "{}", place.said());
        place.pull(&name);
        assert!(place.said().contains("does not answer a HEAD request"), "{}", place.said());
        let client = Client::new(place.options.clone());
        let has = |tag: &str| {
            let name = format!("{}/r:{tag}", server.host()).parse().unwrap();
            client.has(&name, &place.told).unwrap()
        };
        assert!(has("1") && !has("none"), "{status}");
    }
}

#[test]
fn a_registry_that_says_nothing_is_given_up() {
    let contents = RegistryContents::simple();
    let (long, packed) = RegistryContents::long();
    for path in ["manifests/1".to_owned(), long] {
        let packed = packed.clone();
        let server = serve(&contents, move |request, _| {
            request.path.ends_with(&path).then(|| {
                let mut steps = Vec::new();
                if !path.starts_with("manifests") {
                    steps = answer(&format!("200 OK\r\nContent-Length: {}", packed.len()), &[]);
                }
                steps.push(ServerAction::Stall(Duration::from_secs(2)));
                steps
            })
        });
        let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
        assert!(error.contains("for 0.3 s") && error.contains("attempt 2, the last"), "{error}");
    }
}

#[test]
fn a_busy_registry_is_left_alone_as_long_as_it_says() {
    let contents = RegistryContents::simple();
    let server = serve(&contents, |request, before| {
        (before == 0 && request.path.contains("blobs"))
            .then(|| answer("429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0", b""))
    });
    let place = TestClient::new(&[&server]);
    let began = std::time::Instant::now();
    place.pull(&format!("{}/r:1", server.host()));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert!(place.said().contains("429 Too Many Requests"), "{}", place.said());
    for (status, wait) in [("429 x", "7200"), ("503 x", "Fri, 31 Dec 2100 23:59:59 GMT")] {
        let server = serve(&contents, move |_, _| {
            Some(answer(&format!("{status}\r\nRetry-After: {wait}\r\nContent-Length: 0"), b""))
        });
        let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
        assert!(error.contains("wants none for") && error.contains("mirrors"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_broken_registry_is_tried_again_and_then_named() {
    let contents = RegistryContents::simple();
    let server = serve(&contents, |request, before| {
        (before == 0 && request.path.contains("blobs"))
            .then(|| answer("502 x\r\nContent-Length: 0", b""))
    });
    TestClient::new(&[&server]).pull(&format!("{}/r:1", server.host()));
    let server = serve(&contents, |_, _| Some(answer("500 x\r\nContent-Length: 0", b"")));
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("answers 500") && error.contains("attempt 2, the last"), "{error}");
    let body = br#"{"errors":[{"code":"X","message":"go\u001b[31m away"}]}"#;
    let server = serve(&contents, move |_, _| {
        Some(answer(&format!("405 x\r\nContent-Length: {}", body.len()), body))
    });
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("405") && error.contains("go [31m away"), "{error}");
}

#[test]
fn documents_without_an_end_are_not_read_to_it() {
    let contents = RegistryContents::simple();
    let server = serve(&contents, |request, _| {
        let endless = || ServerAction::Send(vec![b' '; 1 << 20]);
        request.path.contains("manifests").then(|| {
            let mut steps = answer(&format!("200 OK\r\nContent-Type: {MANIFEST}"), b"{");
            steps.extend((0..20).map(|_| endless()));
            steps
        })
    });
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("documents may have"), "{error}");
}

#[test]
fn offline_nothing_is_opened() {
    let server = serve(&RegistryContents::simple(), |_, _| None);
    let mut place = TestClient::new(&[&server]);
    place.options.offline = true;
    let error = place.fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("--offline") && error.contains("mkpanda image load"), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn runs_at_once_wait_for_each_other_and_all_get_the_image() {
    let contents = RegistryContents::simple();
    let server = serve(&contents, |_, _| None);
    let place = TestClient::new(&[&server]);
    let name = format!("{}/r:1", server.host());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let client = Client::new(place.options.clone());
                let options = PullOptions::default();
                client
                    .pull(&place.store, &name.parse().unwrap(), &options, None, &place.told)
                    .unwrap();
            });
        }
    });
    assert!(place.store.find(&name.parse().unwrap()).unwrap().is_some());
}
