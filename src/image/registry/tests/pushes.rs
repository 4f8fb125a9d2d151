//! Registries that are pushed to.

use super::*;
use crate::image::store::Image;

/// A place with the simple image in its store, and what it is called.
fn stored(servers: &[&TestServer]) -> (TestClient, Image) {
    let source = serve(&RegistryContents::simple(), |_, _| None);
    let mut all = vec![&source];
    all.extend(servers);
    let place = TestClient::new(&all);
    let name = format!("{}/r:1", source.host());
    place.pull(&name);
    let image = place.store.find(&name.parse().unwrap()).unwrap().unwrap();
    (place, image)
}

fn push(place: &TestClient, image: &Image, to: &str) -> Result<u64, String> {
    let client = Client::new(place.options.clone());
    let pushed = client.push(&place.store, image, &to.parse().unwrap(), &place.told);
    pushed
        .map(|pushed| pushed.sent)
        .map_err(|error| format!("{}\n{}", with_causes(&error), error.hint().unwrap_or_default()))
}

/// Takes everything, under a location that has a query.
fn takes(request: &Request, location: &str) -> Vec<ServerAction> {
    match request.method.as_str() {
        "HEAD" => answer("404 x", b""),
        "POST" => answer(&format!("202 x\r\nLocation: {location}\r\nContent-Length: 0"), b""),
        _ => answer("201 x\r\nContent-Length: 0", b""),
    }
}

#[test]
fn blobs_go_first_and_the_manifest_last() {
    let server = serve(&RegistryContents::default(), |request, _| {
        Some(takes(request, "/up/1?state=secret"))
    });
    let (place, image) = stored(&[&server]);
    let sent = push(&place, &image, &format!("{}/some/r:2", server.host())).unwrap();
    assert!(sent > image.layers.iter().map(|layer| layer.size).sum());
    let asked = asked(&server);
    assert_eq!(asked.last().unwrap(), "PUT /v2/some/r/manifests/2");
    for layer in &image.layers {
        // Somebody else's repository of another registry is nothing to mount from.
        let put = format!("PUT /up/1?state=secret&digest=sha256%3A{}", layer.digest.hex());
        assert!(asked.contains(&put), "{asked:?}");
    }
    assert!(!asked.iter().any(|path| path.contains("mount=")), "{asked:?}");
    let requests = server.requests();
    let manifest = requests.last().unwrap();
    assert_eq!(manifest.header("content-type"), Some(MANIFEST));
    assert!(!place.said().contains("secret"));
}

#[test]
fn what_the_registry_has_is_not_sent() {
    let server = serve(&RegistryContents::default(), |request, _| match request.method.as_str() {
        "HEAD" => Some(answer("200 OK\r\nContent-Length: 9", b"")),
        _ => Some(takes(request, "/never")),
    });
    let (place, image) = stored(&[&server]);
    push(&place, &image, &format!("{}/r:2", server.host())).unwrap();
    let asked = asked(&server);
    assert_eq!(asked.iter().filter(|path| !path.starts_with("HEAD")).count(), 1, "{asked:?}");
}

#[test]
fn what_another_repository_has_is_mounted_or_else_sent() {
    for status in ["201 x", "202 x\r\nLocation: /up", "403 x"] {
        let server = serve(&RegistryContents::default(), move |request, _| {
            let mount = request.path.contains("mount=");
            Some(if mount {
                answer(&format!("{status}\r\nContent-Length: 0"), b"")
            } else {
                takes(request, "/up")
            })
        });
        let (place, image) = stored(&[&server]);
        // The store knows it under a name there.
        let known = format!("{}/known:1", server.host());
        let load = serve(&RegistryContents::simple(), |_, _| None);
        let mut place = place;
        let host = server.host().parse().unwrap();
        let config = place
            .options
            .registries
            .get_mut::<crate::store::registry::RegistryHost>(&host)
            .unwrap();
        config.mirrors = vec![load.host().parse().unwrap()];
        let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
        place.options.registries.insert(load.host().parse().unwrap(), insecure);
        place.pull(&known);
        push(&place, &image, &format!("{}/r:2", server.host())).unwrap();
        let asked = asked(&server);
        let mount =
            format!("POST /v2/r/blobs/uploads/?mount={}&from=known", image.layers[0].digest);
        assert!(asked.contains(&mount), "{asked:?}");
        let sent = asked.iter().any(|path| {
            path.contains(&format!("PUT /up?digest=sha256%3A{}", image.layers[0].digest.hex()))
        });
        assert_eq!(sent, !status.starts_with("201"), "{asked:?}");
    }
}

#[test]
fn any_success_takes_a_blob_and_an_upload_that_is_forgotten_begins_again() {
    for status in ["200 OK", "201 x", "202 x", "204 x"] {
        let server = serve(&RegistryContents::default(), move |request, before| {
            let put = request.method == "PUT" && request.path.starts_with("/up");
            Some(match (put, before) {
                (true, 0) => answer("404 x", br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
                (true, _) => answer(&format!("{status}\r\nContent-Length: 0"), b""),
                (false, _) => takes(request, "/up"),
            })
        });
        let (place, image) = stored(&[&server]);
        push(&place, &image, &format!("{}/r:2", server.host())).unwrap();
        assert!(place.said().contains("forgotten the upload"), "{}", place.said());
    }
}

#[test]
fn what_the_registry_says_is_shown_whatever_it_refuses() {
    for (method, path, status) in [
        ("POST", "/blobs/uploads/", "404 x"),
        ("POST", "/blobs/uploads/", "403 x"),
        ("POST", "/blobs/uploads/", "400 x"),
        ("POST", "/blobs/uploads/", "401 x"),
        ("POST", "/blobs/uploads/", "503 x"),
        ("PUT", "/up", "404 x"),
        ("PUT", "/manifests/", "404 x"),
        ("PUT", "/manifests/", "409 x"),
        ("PUT", "/manifests/", "500 x"),
    ] {
        let server = serve(&RegistryContents::default(), move |request, _| {
            let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"make it first"}]}"#;
            let refused = request.method == method && request.path.contains(path);
            Some(if refused { answer(status, body) } else { takes(request, "/up") })
        });
        let (place, image) = stored(&[&server]);
        let error = push(&place, &image, &format!("{}/r:2", server.host())).unwrap_err();
        assert!(error.contains("make it first"), "{method} {path} {status}: {error}");
    }
}

#[test]
fn an_upload_that_fails_begins_again_and_a_registry_that_refuses_is_named() {
    let server = serve(&RegistryContents::default(), |request, before| {
        let fails = request.method == "PUT" && request.path.starts_with("/up") && before == 0;
        Some(if fails { answer("503 x\r\nContent-Length: 0", b"") } else { takes(request, "/up") })
    });
    let (place, image) = stored(&[&server]);
    push(&place, &image, &format!("{}/r:2", server.host())).unwrap();
    let server = serve(&RegistryContents::default(), |request, _| {
        Some(if request.method == "PUT" {
            let body = br#"{"errors":[{"code":"DENIED","message":"quota"}]}"#;
            answer(&format!("403 x\r\nContent-Length: {}", body.len()), body)
        } else {
            takes(request, "/up")
        })
    });
    let (place, image) = stored(&[&server]);
    let error = push(&place, &image, &format!("{}/r:2", server.host())).unwrap_err();
    assert!(error.contains("doesn't allow it: quota") && error.contains("may push"), "{error}");
    let server = serve(&RegistryContents::default(), |request, _| {
        Some(if request.method == "POST" {
            answer("202 x\r\nContent-Length: 0", b"")
        } else {
            takes(request, "")
        })
    });
    let (place, image) = stored(&[&server]);
    let error = push(&place, &image, &format!("{}/r:2", server.host())).unwrap_err();
    assert!(error.contains("doesn't say where an upload goes"), "{error}");
}

#[test]
fn an_upload_that_goes_elsewhere_goes_without_credentials() {
    let storage = TestServer::start(|_, _| answer("201 x\r\nContent-Length: 0", b""));
    let location = storage.url("/up?signature=secret");
    let server = serve(&RegistryContents::default(), move |request, _| {
        let refused = request.header("authorization").is_none();
        let head = "401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0";
        Some(if refused { answer(head, b"") } else { takes(request, &location) })
    });
    let (mut place, image) = stored(&[&server]);
    place.log_in(&server.host(), "anna:geheim");
    push(&place, &image, &format!("{}/r:2", server.host())).unwrap();
    let requests = storage.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.header("authorization").is_none()));
    assert!(!place.said().contains("secret") && !place.said().contains("geheim"));
}
