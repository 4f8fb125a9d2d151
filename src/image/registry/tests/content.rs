//! What registries give: images, indexes, and lies.

use super::*;

#[test]
fn of_an_index_without_platforms_the_image_for_this_machine_is_taken() {
    for platform in ["", ",\"platform\":null", ",\"platform\":{\"os\":\"linux\"}"] {
        let mut contents = RegistryContents::default();
        let entries: Vec<String> = ["vax", "pdp11", host_architecture()]
            .iter()
            .map(|architecture| contents.image(&[b"x"], architecture, None, |text| text))
            .chain([format!(
                "\"mediaType\":\"{MANIFEST}\",\"size\":1,\"digest\":\"sha512:{}\"",
                "a".repeat(128)
            )])
            .map(|entry| format!("{{{entry}{platform}}}"))
            .collect();
        let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","));
        contents.document(INDEX, &index, Some("1"));
        let others = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries[..2].join(","));
        contents.document(INDEX, &others, Some("others"));
        let server = serve(&contents, |_, _| None);
        let place = TestClient::new(&[&server]);
        place.pull(&format!("{}/r:1", server.host()));
        let error = place.fails(&format!("{}/r:others", server.host()));
        assert!(error.contains("only for linux/pdp11, linux/vax"), "{error}");
    }
}

#[test]
fn an_entry_that_cannot_be_used_leaves_the_image_beside_it() {
    let mut contents = RegistryContents::default();
    let image = contents.image(&[b"x"], host_architecture(), None, |text| text);
    let index = |entries: &[&str]| {
        let entries: Vec<String> = entries.iter().map(|entry| format!("{{{entry}}}")).collect();
        format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(","))
    };
    let missing = |kind: &str| {
        let digest = format!("sha256:{}", "a".repeat(64));
        format!("\"mediaType\":\"{kind}\",\"size\":9,\"digest\":\"{digest}\"")
    };
    let shapeless = contents.document(INDEX, "{\"manifests\":7}", None);
    let long = contents.document(INDEX, &index(&[]), None).replace("\"size\":", "\"size\":1");
    let no_config = contents.document(MANIFEST, "{\"layers\":[]}", None);
    let odd = [missing(INDEX), shapeless, long, missing(MANIFEST), no_config];
    for (number, entry) in odd.iter().enumerate() {
        contents.document(INDEX, &index(&[entry, &image]), Some(&format!("good{number}")));
    }
    let all: Vec<&str> = odd.iter().map(String::as_str).collect();
    contents.document(INDEX, &index(&all), Some("bad"));
    let server = serve(&contents, |_, _| None);
    for number in 0..odd.len() {
        let place = TestClient::new(&[&server]);
        place.pull(&format!("{}/r:good{number}", server.host()));
        assert!(place.said().contains("of its index was passed over"), "{number}");
    }
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:bad", server.host()));
    for reason in ["isn't there", "invalid type", "should have 1", "no config"] {
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_fault_that_may_go_away_chooses_no_other_image() {
    let mut contents = RegistryContents::default();
    let one = contents.image(&[b"1"], host_architecture(), None, |text| text);
    let two = contents.image(&[b"2"], host_architecture(), None, |text| text);
    let index = format!("{{\"schemaVersion\":2,\"manifests\":[{{{one}}},{{{two}}}]}}");
    contents.document(INDEX, &index, Some("1"));
    let digest = one.split('"').find(|part| part.starts_with("sha256:")).unwrap().to_owned();
    let server = serve(&contents, move |request, _| {
        let is_first = request.path.ends_with(&digest);
        is_first.then(|| answer("500 x\r\nContent-Length: 0", b""))
    });
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("answers 500"), "{error}");
}

#[test]
fn layers_that_may_come_from_elsewhere_are_asked_for_here() {
    let mut contents = RegistryContents::default();
    contents.image(&[b"x"], host_architecture(), Some("1"), |text| {
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"urls\":[\"https://e.invalid/x\"]";
        text.replacen(&format!("{LAYER}\""), foreign, 1)
    });
    let server = serve(&contents, |_, _| None);
    TestClient::new(&[&server]).pull(&format!("{}/r:1", server.host()));
}
use crate::image::platform::Platform;

#[test]
fn an_image_comes_once_and_is_asked_for_once_more() {
    let server = serve(&RegistryContents::simple(), |_, _| None);
    let place = TestClient::new(&[&server]);
    let name = format!("{}/r:1", server.host());
    let pulled = place.pull(&name);
    assert!(!pulled.was_there);
    // The manifest, the configuration, two layers.
    assert_eq!(server.requests().len(), 4, "{:?}", asked(&server));
    let image = place.store.find(&name.parse().unwrap()).unwrap().unwrap();
    assert_eq!((image.layers.len(), &image.id), (2, &pulled.id));
    assert!(!place.store.folder().join(".partial").exists());
    let again = place.pull(&name);
    assert!(again.was_there && again.id == pulled.id);
    assert_eq!(asked(&server)[4..], ["HEAD /v2/r/manifests/1".to_owned()]);
    // What a digest means is known for ever.
    let pinned = format!("{}/r@{}", server.host(), pulled.manifest);
    assert!(!place.pull(&pinned).was_there);
    assert_eq!(server.requests().len(), 6, "the blobs are there");
    assert!(place.pull(&pinned).was_there);
    assert_eq!(server.requests().len(), 6, "nothing has to be asked");
}

#[test]
fn what_changed_is_fetched_and_what_is_there_is_not() {
    let mut contents = RegistryContents::simple();
    contents.image(&[b"one", b"other"], host_architecture(), Some("2"), |text| text);
    let new = contents.documents["2"].clone();
    let server = serve(&contents, move |request, before| {
        let (kind, bytes) = &new;
        let moved = request.path.ends_with("manifests/1") && before > 0;
        let moved = moved || request.method == "HEAD";
        moved.then(|| {
            let head = format!(
                "200 OK\r\nContent-Type: {kind}\r\nDocker-Content-Digest: {}\r\nContent-Length: {}",
                digest(bytes),
                bytes.len()
            );
            answer(&head, if request.method == "HEAD" { b"" } else { bytes })
        })
    });
    let place = TestClient::new(&[&server]);
    let name = format!("{}/r:1", server.host());
    let first = place.pull(&name);
    let asked_before = server.requests().len();
    let second = place.pull(&name);
    assert!(!second.was_there && second.id != first.id);
    // HEAD, GET, the configuration, and the one layer that is new.
    assert_eq!(server.requests().len() - asked_before, 4, "{:?}", asked(&server));
    assert!(place.said().contains("was another image"));
}

#[test]
fn an_index_leads_to_the_platform() {
    let mut contents = RegistryContents::default();
    let mut entries = Vec::new();
    for (architecture, variant) in [("amd64", ""), ("arm64", "v8"), ("arm", "v6"), ("arm", "v7")] {
        let layer = format!("for {architecture} {variant}");
        let target = contents.image(&[layer.as_bytes()], architecture, None, |text| text);
        entries.push(format!(
            "{{{target},\"platform\":{{\"os\":\"linux\",\"architecture\":\"{architecture}\",\"variant\":\"{variant}\"}}}}"
        ));
    }
    entries.push(entries[0].replace("linux", "unknown"));
    let text = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{}]}}",
        entries.join(",")
    );
    contents.document(INDEX, &text, Some("1"));
    let server = serve(&contents, |_, _| None);
    let place = TestClient::new(&[&server]);
    let name = format!("{}/r:1", server.host());
    let pull = |platform: &str| {
        let options = PullOptions { platform: platform.parse().unwrap(), ..PullOptions::default() };
        let pulled = place.try_pull(&name, &options).unwrap();
        let image = place.store.find(&name.parse().unwrap()).unwrap().unwrap();
        assert_eq!(image.id, pulled.id);
        let layer = fs_err::read(place.store.blob_path(&image.layers[0].digest)).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*layer), &mut text)
            .unwrap();
        text
    };
    assert_eq!(pull("linux/arm/v7"), "for arm v7");
    assert_eq!(pull("linux/arm/v6"), "for arm v6");
    assert_eq!(pull("linux/arm64"), "for arm64 v8");
    let before = server.requests().len();
    assert_eq!(pull("linux/arm64"), "for arm64 v8");
    assert_eq!(server.requests().len(), before + 1, "an index is known by its own digest");
    let options = PullOptions {
        platform: Platform { os: "plan9".to_owned(), ..Platform::host() },
        ..PullOptions::default()
    };
    let other = TestClient::new(&[&server]);
    let error = other.try_pull(&name, &options).unwrap_err();
    let text = with_causes(&error);
    assert!(
        text.contains("only for linux/amd64, linux/arm/v6") && !text.contains("unknown"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("--platform"));
}

#[test]
fn what_a_manifest_says_has_to_be_so() {
    let layer = gzip(b"one");
    let (size, sum) = (format!("\"size\":{}", layer.len()), digest(&layer));
    let lies: [(&str, String, &str); 6] = [
        (
            "longer",
            size.replace("size\":", "size\":9"),
            "layer 1 has 23 bytes, but should have 923",
        ),
        ("shorter", "\"size\":5".to_owned(), "layer 1 has 23 bytes, but should have 5"),
        ("huge", "\"size\":99999999999999".to_owned(), "which is the limit"),
        ("negative", "\"size\":-1".to_owned(), "can't be used"),
        ("type", size.clone(), "vnd.in-toto+json, which is not supported"),
        ("digest", size.clone(), "can't be used"),
    ];
    for (tag, other, message) in lies {
        let mut contents = RegistryContents::default();
        contents.image(&[b"one"], host_architecture(), Some("1"), |text| match tag {
            "type" => text.replace(LAYER, "application/vnd.in-toto+json"),
            "digest" => text.replace(&sum, "sha256:../../x"),
            _ => text.replace(&size, &other),
        });
        let server = serve(&contents, |_, _| None);
        let text = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
        assert!(text.contains(message), "{tag}: {text}");
    }
}

#[test]
fn what_comes_has_to_be_what_was_asked_for() {
    let contents = RegistryContents::simple();
    let config =
        contents.blobs.keys().find(|key| contents.blobs[*key].starts_with(b"{")).unwrap().clone();
    let (long, packed) = RegistryContents::long();
    let pinned = contents.documents["1"].1.clone();
    let other = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes
    };
    let config_bytes = contents.blobs[&config].clone();
    for (path, bytes, message) in [
        (config, other(&config_bytes), "the configuration is damaged"),
        (long, other(&packed), "layer 2 is damaged"),
        ("manifests/1".to_owned(), other(&pinned), "the manifest is damaged"),
    ] {
        let sum = digest(&pinned);
        let server = serve(&contents, move |request, _| {
            request.path.ends_with(&path).then(|| {
                let head = format!(
                    "200 OK\r\nDocker-Content-Digest: {sum}\r\nContent-Type: {MANIFEST}\r\nContent-Length: {}",
                    bytes.len()
                );
                answer(&head, &bytes)
            })
        });
        let place = TestClient::new(&[&server]);
        let text = place.fails(&format!("{}/r:1", server.host()));
        assert!(text.contains(message) && text.contains("nothing of it was taken"), "{text}");
        // What is wrong is no beginning of what is right.
        let second = place.fails(&format!("{}/r:1", server.host()));
        assert!(second.contains(message), "{second}");
    }
    let server = serve(&contents, |_, _| None);
    let place = TestClient::new(&[&server]);
    let wrong = format!("{}/r@sha256:{}", server.host(), "0".repeat(64));
    assert!(place.fails(&wrong).contains("the image isn't there"));
}

#[test]
fn what_is_no_image_is_refused() {
    let kinds: [(&str, &str, &str); 5] = [
        (MANIFEST, "<html>welcome</html>", "something else than a manifest"),
        (INDEX, "{\"manifests\": 1}", "it isn't what its media type says"),
        (MANIFEST, "{\"schemaVersion\":2}", "it has no config"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}", "is not supported"),
        ("text/html", "{}", "is not supported"),
    ];
    for (kind, text, message) in kinds {
        let mut contents = RegistryContents::default();
        contents.document(kind, text, Some("1"));
        let server = serve(&contents, |_, _| None);
        let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
        assert!(error.contains(message), "{error}");
    }
    for (config, message) in
        [("no json", "configuration can't be read"), ("{}", "configuration can't be read")]
    {
        let mut contents = RegistryContents::default();
        let blob = contents.blob(config.as_bytes());
        contents.image(&[b"one"], host_architecture(), Some("1"), |text| {
            let start = text.find("\"digest\"").unwrap();
            let end = start + text[start..].find('}').unwrap();
            format!("{}{blob}{}", &text[..start], &text[end..])
        });
        let server = serve(&contents, |_, _| None);
        let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
        assert!(error.contains(message) && error.contains("push it again"), "{error}");
    }
    let mut contents = RegistryContents::default();
    contents.image(&[b"one"], host_architecture(), Some("1"), |text| {
        text.replace(
            "]}",
            &format!(
                ",{{\"mediaType\":\"{LAYER}\",\"digest\":\"{}\",\"size\":1}}]}}",
                digest(b"x")
            ),
        )
    });
    let server = serve(&contents, |_, _| None);
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("has 2 layers, but its configuration names 1"), "{error}");
}

#[test]
fn a_layer_that_unpacks_to_something_else_is_refused() {
    let mut contents = RegistryContents::default();
    let other = contents.blob(&gzip(b"other"));
    let mine = {
        let packed = gzip(b"one");
        format!("\"digest\":\"{}\",\"size\":{}", digest(&packed), packed.len())
    };
    contents.image(&[b"one"], host_architecture(), Some("1"), |text| text.replace(&mine, &other));
    let server = serve(&contents, |_, _| None);
    let error = TestClient::new(&[&server]).fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("layer 1 unpacks to"), "{error}");
    // Nor is it believed of a layer that the store has.
    contents.image(&[b"other"], host_architecture(), Some("2"), |text| text);
    let server = serve(&contents, |_, _| None);
    let place = TestClient::new(&[&server]);
    place.pull(&format!("{}/r:2", server.host()));
    let error = place.fails(&format!("{}/r:1", server.host()));
    assert!(error.contains("layer 1 unpacks to"), "{error}");
}
