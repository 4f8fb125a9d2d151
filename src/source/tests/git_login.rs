//! Passwords in URLs of git repositories, on servers that lead elsewhere.

use std::sync::OnceLock;

use serde_json::json;

use super::*;
use crate::base::http::test_server::{Request, ServerAction, TestServer, answer};

const NOT_FOUND: &str = "404 Not Found\r\nContent-Length: 0";
const UNAUTHORIZED: &str =
    "401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm=\"r\"";

/// Gives a file of a folder.
fn file(folder: &Path, request: &Request) -> Vec<ServerAction> {
    let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
    match fs_err::read(folder.join(path)) {
        Ok(bytes) => answer(&format!("200 OK\r\nContent-Length: {}", bytes.len()), &bytes),
        Err(_) => answer(NOT_FOUND, b""),
    }
}

/// A world with the bare repository `bare/r.git`, as plain files; with its last commit.
fn served() -> (World, PathBuf, String) {
    let world = World::new();
    let (_, commit) = world.repository("r");
    let folder = world.path("bare");
    fs_err::create_dir(&folder).unwrap();
    git(&world.path("r"), &["clone", "-q", "--bare", ".", &folder.join("r.git").to_string_lossy()]);
    git(&folder.join("r.git"), &["update-server-info"]);
    (world, folder, commit)
}

fn fetched(world: &World, url: &str, commit: &str) {
    let url = url.replace("http://", "http://me:secret@");
    let source = json!({ "kind": "git", "git": url, "ref": commit, "ref_origin": "main" });
    world.fetch(source).unwrap();
}

#[test]
fn a_password_goes_to_no_server_that_its_own_leads_to() {
    let (world, folder, commit) = served();
    let other = TestServer::start(move |_, request| file(&folder, request));
    let place = other.url("");
    let first = TestServer::start(move |_, request| {
        let there = format!("302 Found\r\nContent-Length: 0\r\nLocation: {place}{}", request.path);
        answer(&there, b"")
    });
    fetched(&world, &first.url("/r.git"), &commit);
    let told = |server: &TestServer| {
        server.requests().iter().filter(|it| it.header("authorization").is_some()).count()
    };
    assert!(told(&first) > 0 && other.requests().len() > 1);
    assert_eq!(told(&other), 0);
}

#[test]
fn a_server_that_leads_to_another_path_of_its_own_is_told_the_password() {
    let (world, folder, commit) = served();
    let own: std::sync::Arc<OnceLock<String>> = std::sync::Arc::default();
    let place = std::sync::Arc::clone(&own);
    let server = TestServer::start(move |_, request| {
        if let Some(path) = request.path.strip_prefix("/r/") {
            let there = format!("{}/r.git/{path}", place.get().unwrap());
            let head = format!("301 Moved\r\nContent-Length: 0\r\nLocation: {there}");
            return answer(&head, b"");
        }
        // Base64 of `me:secret`.
        if request.header("authorization") != Some("Basic bWU6c2VjcmV0") {
            return answer(UNAUTHORIZED, b"");
        }
        file(&folder, request)
    });
    own.set(server.url("")).unwrap();
    fetched(&world, &server.url("/r"), &commit);
}
