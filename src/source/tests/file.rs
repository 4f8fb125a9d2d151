//! `url` and `url_extract`.

use serde_json::json;

use super::*;
use crate::base::digest::Sha256Sum;
use crate::base::http::test_server::{ClosedAddress, TestServer, answer, ok};
use crate::base::removal::remove_all;

const CONTENT: &[u8] = b"content\n";

fn url(url: &str) -> Value {
    json!({ "kind": "url", "url": url, "sha1": Sha1Sum::of(CONTENT).as_str() })
}

#[test]
fn a_download_is_cached_and_asked_for_once() {
    let world = World::new();
    let server = TestServer::start(|_, _| ok(CONTENT));
    let source = url(&server.url("/a/f-1.tar.gz?x=1"));
    for _ in 0..2 {
        let fetched = world.fetch(source.clone()).unwrap();
        let path = world.path("packages/cache/packages/p/s/f-1.tar.gz?x=1");
        assert_eq!(fetched, FetchedSource::File { path, file_name: "f-1.tar.gz?x=1".to_owned() });
    }
    assert_eq!(world.cached(), ["f-1.tar.gz?x=1"]);
    assert_eq!(server.requests().len(), 1);
    let warnings = world.warnings();
    assert!(warnings[0].contains("filename") && !warnings[0].contains("x=1"), "{warnings:?}");
    let id = identify(&world.request(&source), &world.options, &world.seen).unwrap().to_value();
    assert_eq!(id, json!({ "downloaded_sha1": Sha1Sum::of(CONTENT).as_str() }));
}

#[test]
fn a_cached_file_with_another_sum_is_fetched_again() {
    let world = World::new();
    world.write("packages/cache/packages/p/s/f", b"old");
    world.write("packages/cache/packages/p/s/.tmp-left", b"by a process that died");
    let server = TestServer::start(|_, _| ok(CONTENT));
    world.fetch(url(&server.url("/f"))).unwrap();
    assert_eq!(world.read("packages/cache/packages/p/s/f"), CONTENT);
    assert_eq!(world.cached(), ["f"]);
}

#[test]
fn a_wrong_download_is_kept_as_corrupt_and_never_used() {
    let world = World::new();
    let server = TestServer::start(|_, _| ok(b"something else"));
    let address = server.url("/f").replace("http://", "http://me:secret@");
    let error = world.fetch(url(&address)).unwrap_err();
    let text = format!("{error} {error:?}");
    let actual = Sha1Sum::of(b"something else").to_string();
    for part in [actual.as_str(), Sha1Sum::of(CONTENT).as_str(), &server.url("/f")] {
        assert!(error.to_string().contains(part), "{text}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(world.cached(), ["f.corrupt"]);
}

#[test]
fn a_sha256_is_checked_too() {
    let world = World::new();
    let server = TestServer::start(|_, _| ok(CONTENT));
    let mut source = url(&server.url("/f"));
    source["sha256"] = json!(Sha256Sum::of(CONTENT).as_str());
    world.fetch(source.clone()).unwrap();
    source["sha256"] = json!(Sha256Sum::of(b"").as_str());
    let error = world.fetch(source).unwrap_err();
    assert!(matches!(error, SourceProblem::Sum { kind: "sha256", .. }), "{error}");
    assert_eq!(world.cached(), ["f", "f.corrupt"]);
}

#[test]
fn file_urls_are_relative_to_the_package_or_absolute() {
    let world = World::new();
    world.write("packages/p/sub/f%20x", CONTENT);
    let absolute = format!("file://{}", world.path("packages/p/sub/f%20x").display());
    for address in ["file://sub/f%20x", &absolute, "file://../p/sub/f%20x"] {
        world.fetch(url(address)).unwrap();
        assert_eq!(world.cached(), ["f%20x"]);
        remove_all(&world.path("packages/cache")).unwrap();
    }
    let error = world.fetch(url("file://nofile")).unwrap_err();
    assert!(error.to_string().contains("packages/p/nofile does not exist"), "{error}");
    assert!(matches!(world.fetch(url("file:///dev/zero")), Err(SourceProblem::NoFile { .. })));
    assert!(!world.path("packages/cache").exists(), "a failure leaves no folders");
}

#[test]
fn a_failure_leaves_nothing() {
    let world = World::new();
    let server = TestServer::start(|_, _| answer("200 OK\r\nContent-Length: 99", CONTENT));
    let error = world.fetch(url(&server.url("/f"))).unwrap_err();
    assert!(error.to_string().contains("8 of 99 bytes"), "{error}");
    assert!(!world.path("packages/cache").exists());
}

#[test]
fn a_download_pieced_together_wrongly_is_done_again() {
    let world = World::new();
    let server = TestServer::start(|number, _| match number {
        0 => answer("200 OK\r\nETag: \"a\"\r\nContent-Length: 8", b"xxxx"),
        1 => answer("206 P\r\nContent-Range: bytes 4-7/8\r\nContent-Length: 4", b"ent\n"),
        _ => ok(CONTENT),
    });
    world.fetch(url(&server.url("/f"))).unwrap();
    assert_eq!(world.cached(), ["f"]);
}

#[test]
fn a_body_that_was_cut_off_without_a_length_is_fetched_again() {
    let world = World::new();
    let server =
        TestServer::start(|number, _| answer("200 OK", if number == 0 { b"con" } else { CONTENT }));
    world.fetch(url(&server.url("/f"))).unwrap();
    assert_eq!((server.requests().len(), world.cached()), (2, vec!["f".to_owned()]));
}

#[test]
fn a_page_in_place_of_the_file_is_called_one() {
    let world = World::new();
    let server = TestServer::start(|_, _| ok(b"<!DOCTYPE html>\n<title>Sign in</title>"));
    for kind in ["url", "url_extract"] {
        let mut source = url(&server.url("/f.tar.gz?t=secret"));
        source["kind"] = json!(kind);
        let error = world.fetch(source).unwrap_err();
        assert!(matches!(error, SourceProblem::Page { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("HTML page") && text.ends_with("f.tar.gz?…"), "{text}");
        assert!(error.hint().is_some() && !text.contains("secret"), "{text}");
    }
    assert_eq!(world.cached(), ["f.tar.gz?t=secret.corrupt"]);
}

#[test]
fn schemes_have_no_case() {
    let world = World::new();
    world.write("packages/p/a", CONTENT);
    let server = TestServer::start(|_, _| ok(CONTENT));
    for address in [server.url("/f").replace("http", "HTTP"), "FILE://a".to_owned()] {
        world.fetch(url(&address)).unwrap();
    }
    assert_eq!(world.cached(), ["a", "f"]);
}

#[test]
fn mirrors_come_first_and_only_right_files_count() {
    let mut world = World::new();
    let sum = Sha1Sum::of(CONTENT);
    world.write(&format!("bad/sha1/{sum}"), b"damaged");
    let path = format!("/m/sha1/{sum}");
    let mirror = TestServer::start(move |_, request| {
        if request.path == path { ok(CONTENT) } else { answer("404 No\r\nContent-Length: 0", b"") }
    });
    world.options.mirrors = vec![
        Store::in_folder(world.path("absent")),
        Store::in_folder(world.path("bad")),
        world.mirror(&mirror.url("/none")),
        world.mirror(&mirror.url("/m/")),
    ];
    world.fetch(url("http://127.0.0.1:1/f")).unwrap();
    assert_eq!(world.cached(), ["f"]);
    let warnings = world.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("is damaged"), "{warnings:?}");
}

#[test]
fn offline_asks_nobody_and_says_all_that_is_missing() {
    let mut world = World::new();
    let sum = Sha1Sum::of(CONTENT);
    let server = TestServer::start(|_, _| ok(CONTENT));
    world.options.offline = true;
    world.options.mirrors = vec![world.mirror(&server.url(""))];
    let source = url(&server.url("/f"));
    let error = world.fetch(source.clone()).unwrap_err();
    assert!(error.to_string().contains("--offline"), "{error}");

    let commit = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
    let repository =
        json!({"kind": "git", "git": "https://u:p@h.invalid/r", "ref": commit, "ref_origin": "m"});
    let requests = [source.clone(), url("file://f"), repository].map(|s| world.request(&s));
    let absent = missing(&requests, &world.options, &Silent).unwrap();
    let shown: Vec<_> = absent.iter().map(|m| (m.url.as_str(), m.id.clone())).collect();
    let file = server.url("/f");
    assert_eq!(
        shown,
        [
            (file.as_str(), format!("sha1 {sum}")),
            ("file://f", format!("sha1 {sum}")),
            ("https://h.invalid/r", format!("commit {commit}")),
        ],
        "a file of this machine that is not there is missing, too"
    );

    world.write(&format!("mirror/sha1/{sum}"), CONTENT);
    world.options.mirrors.push(Store::in_folder(world.path("mirror")));
    assert_eq!(missing(&requests, &world.options, &Silent).unwrap().len(), 1);
    world.fetch(source).unwrap();
    assert_eq!(server.requests().len(), 0);
}

/// A mirror that answers each request with a status.
fn failing_mirror(world: &mut World, head: &'static str) -> TestServer {
    let mirror = TestServer::start(move |_, _| answer(head, b""));
    world.options.mirrors = vec![world.mirror(&mirror.url(""))];
    mirror
}

#[test]
fn a_mirror_that_is_down_is_skipped_by_files_and_repositories_alike() {
    let mut world = World::new();
    let (_, commit) = world.repository("origin");
    let mirror = failing_mirror(&mut world, "503 x\r\nContent-Length: 0");
    let origin = TestServer::start(|_, _| ok(CONTENT));
    let repository = json!({
        "kind": "git", "git": "https://served.invalid/origin",
        "ref": commit, "ref_origin": "main",
    });
    for source in [url(&origin.url("/a")), repository, url(&origin.url("/b"))] {
        world.fetch(source).unwrap();
    }
    let asked = mirror.requests().len();
    let paths: Vec<String> = mirror.requests().into_iter().map(|asked| asked.path).collect();
    assert!(paths.iter().any(|path| path.contains("/git/")), "{paths:?}");
    let warnings = world.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[2].contains("not asked again in this run"), "{warnings:?}");
    for name in ["/c", "/d"] {
        world.fetch(url(&origin.url(name))).unwrap();
    }
    assert_eq!(mirror.requests().len(), asked);
    assert_eq!(world.warnings().len(), 3);
}

#[test]
fn a_mirror_that_refuses_counts_too_and_where_nobody_listens_one_attempt_is_enough() {
    let mut world = World::new();
    let mirror = failing_mirror(&mut world, "403 x\r\nContent-Length: 0");
    let origin = TestServer::start(|_, _| ok(CONTENT));
    for name in ["/a", "/b", "/c", "/d"] {
        world.fetch(url(&origin.url(name))).unwrap();
    }
    assert_eq!(mirror.requests().len(), 3);
    let closed = ClosedAddress::new();
    let mut world = World::new();
    world.options.mirrors = vec![world.mirror(&closed.url(""))];
    for name in ["/a", "/b"] {
        world.fetch(url(&origin.url(name))).unwrap();
    }
    let warnings = world.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("not asked again"), "{warnings:?}");
}

#[test]
fn the_only_origin_keeps_its_attempts_for_each_source() {
    let world = World::new();
    let server = TestServer::start(|_, _| answer("503 x\r\nContent-Length: 0", b""));
    for name in ["/a", "/b", "/c", "/d", "/e"] {
        let error = world.fetch(url(&server.url(name))).unwrap_err();
        assert!(error.hint().unwrap().contains("--mirror"), "{error}");
    }
    assert_eq!(server.requests().len(), 5 * 2);
}

#[test]
fn a_mirror_without_a_file_is_asked_for_the_next() {
    let mut world = World::new();
    let mirror = failing_mirror(&mut world, "404 x\r\nContent-Length: 0");
    let origin = TestServer::start(|_, _| ok(CONTENT));
    for name in ["/a", "/b", "/c", "/d", "/e"] {
        world.fetch(url(&origin.url(name))).unwrap();
    }
    assert_eq!((mirror.requests().len(), world.warnings().len()), (5, 0));
}

#[test]
fn a_local_file_with_another_sum_is_copied_nowhere() {
    let world = World::new();
    world.write("private", b"secret");
    let error =
        world.fetch(url(&format!("file://{}", world.path("private").display()))).unwrap_err();
    assert!(matches!(error, SourceProblem::LocalSum { .. }), "{error}");
    assert!(error.to_string().contains("is declared"), "{error}");
    assert_eq!(world.cached(), [] as [String; 0]);
}

#[test]
fn the_end_of_the_run_ends_the_reading_of_cached_files() {
    let mut world = World::new();
    world.options.offline = true;
    let request = world.request(&url("http://h.invalid/f"));
    world.write("packages/cache/packages/p/s/f", b"");
    let path = world.path("packages/cache/packages/p/s/f");
    // A hole of a tebibyte.
    fs_err::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 40).unwrap();
    let looks = std::sync::atomic::AtomicU32::new(0);
    let over = || looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 3;
    assert_eq!(
        missing(std::slice::from_ref(&request), &world.options, &Interruptible::new(&Silent, over)),
        None
    );
    let over = Interruptible::new(&Silent, || true);
    assert_eq!(cached_file(&request, &over), None);
}
