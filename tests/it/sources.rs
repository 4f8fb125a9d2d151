//! Sources: where they come from, what happens when they don't, and what is made of archives.

use std::path::Path;

use crate::server::{Reply, Server};
use crate::support::{Place, git, repository, sha1};

const TEXT: &[u8] = b"the file\n";

fn url_source(kind: &str, url: &str, content: &[u8]) -> String {
    let sum = sha1(content);
    format!(r#"{{"single_source": {{"kind": "{kind}", "url": "{url}", "sha1": "{sum}"}}}}"#)
}

fn git_source(url: &str, commit: &str, origin: &str) -> String {
    format!(
        r#"{{"single_source": {{"kind": "git", "git": "{url}", "ref": "{commit}", "ref_origin": "{origin}"}}}}"#
    )
}

/// A package that is what its source has.
fn package(place: &Place, buildinfo: &str) {
    place.package("p", buildinfo, "cp -r /pkg/src/p/. $PKG_PATH/");
}

#[test]
fn a_file_comes_over_http_once() {
    let place = Place::new();
    let server = Server::start(|_, _| Reply::new(TEXT));
    let url = server.url("a/note.txt");
    package(&place, &url_source("url", &url, TEXT));
    let ran = place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "note.txt").as_bytes(), TEXT);
    assert!(ran.stderr.contains(&format!("   fetch p/p: {url} (9 B)")), "{}", ran.stderr);
    assert_eq!(std::fs::read(place.packages.join("cache/packages/p/p/note.txt")).unwrap(), TEXT);
    // Another build takes it from the cache, and so does one whose cached file is another.
    place.package("p", &url_source("url", &url, TEXT), "");
    place.run("p", &[]).ok();
    assert_eq!(server.targets(), ["/a/note.txt"]);
    std::fs::write(place.packages.join("cache/packages/p/p/note.txt"), "other").unwrap();
    place.package("p", &url_source("url", &url, TEXT), "true");
    place.run("p", &[]).ok();
    assert_eq!(server.targets(), ["/a/note.txt", "/a/note.txt"]);
    place.assert_clean();
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let place = Place::new();
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let whole = content.clone();
    let server = Server::start(move |request, before| {
        let reply = Reply::new(whole.clone()).with("ETag", "\"1\"").with("Accept-Ranges", "bytes");
        if before == 0 {
            return Reply { cut: Some(1_100_000), ..reply };
        }
        let range = request.header("range").unwrap();
        let from: usize =
            range.strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
        let end = whole.len();
        Reply { status: 206, body: whole[from..].to_vec(), ..reply }
            .with("Content-Range", &format!("bytes {from}-{}/{end}", end - 1))
    });
    package(&place, &url_source("url", &server.url("big"), &content));
    place.run("p", &[]).ok().says("trying again in");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("if-range"), Some("\"1\""));
    place.assert_clean();
}

#[test]
fn what_a_server_does_not_have_is_named_without_the_password() {
    let place = Place::new();
    let server = Server::start(|_, _| Reply::status(404));
    let url = server.url("gone").replace("http://", "http://me:secret@");
    package(&place, &url_source("url", &url, TEXT));
    let ran = place.run("p", &[]).fails(1).says("/gone: the server answers 404");
    assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    place.assert_clean();
}

#[test]
fn what_came_with_the_wrong_sum_is_kept_aside_and_not_used() {
    let place = Place::new();
    let server = Server::start(|_, _| Reply::new("something else"));
    let url = server.url("note");
    package(&place, &url_source("url", &url, TEXT));
    let other = sha1(b"something else");
    place
        .run("p", &[])
        .fails(1)
        .says(&format!("the sha1 of {url} is {other}, but {} is declared", sha1(TEXT)));
    let folder = place.packages.join("cache/packages/p/p");
    let kept = std::fs::read_to_string(folder.join("note.corrupt")).unwrap();
    assert_eq!(kept, "something else");
    assert!(!folder.join("note").exists());
    // With the sum corrected, it is fetched: what was kept aside is never taken.
    package(&place, &url_source("url", &url, b"something else"));
    place.run("p", &[]).ok();
    assert_eq!(server.targets().len(), 2);
    place.assert_clean();
}

#[test]
fn mirrors_are_asked_first_by_sum() {
    let mut place = Place::new();
    let origin = Server::start(|_, _| Reply::new(TEXT));
    let mirror = place.path().join("mirror");
    std::fs::create_dir_all(mirror.join("sha1")).unwrap();
    std::fs::write(mirror.join("sha1").join(sha1(TEXT)), TEXT).unwrap();
    let info = url_source("url", &origin.url("note"), TEXT);
    let fresh = |place: &Place| {
        std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    };
    package(&place, &info);
    // A folder; a URL; from the environment; and offline, which a folder may be.
    place.run("p", &["--offline", "--mirror", mirror.to_str().unwrap()]).ok();
    fresh(&place);
    let served = Server::files(&mirror);
    place.run("p", &[&format!("--mirror={}", served.url(""))]).ok();
    assert_eq!(served.targets(), [format!("/sha1/{}", sha1(TEXT))]);
    fresh(&place);
    place.variables.push(("MKPANDA_MIRROR".to_owned(), mirror.display().to_string()));
    place.run("p", &[]).ok();
    assert_eq!(origin.targets(), [""; 0]);
    // A mirror that is damaged or has nothing is passed over.
    fresh(&place);
    std::fs::write(mirror.join("sha1").join(sha1(TEXT)), "damaged").unwrap();
    place.run("p", &[]).ok().says("is damaged and was not used");
    fresh(&place);
    std::fs::remove_file(mirror.join("sha1").join(sha1(TEXT))).unwrap();
    let ran = place.run("p", &[]).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(origin.targets(), ["/note", "/note"]);
    place.assert_clean();
}

#[test]
fn offline_all_that_is_missing_is_listed_before_the_first_build() {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    let url = "https://user:secret@example.org/f-1.tar.gz";
    let commit = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
    place.package("a", "{}", "");
    place.package("b", &url_source("url_extract", url, TEXT), "");
    let sources = format!(
        r#"{{"sources": {{"one": {{"kind": "url", "url": "http://example.org/one", "sha1": "{commit}"}},
            "two": {{"kind": "git", "git": "https://example.org/two.git", "ref": "{commit}", "ref_origin": "main"}},
            "here": {{"kind": "url", "url": "file://here", "sha1": "{}"}}}}}}"#,
        sha1(TEXT)
    );
    place.package("c", &sources, "");
    place.write("c/here", "the file\n");
    let ran = place.run(".", &["tree", "--offline"]).fails(1);
    insta::assert_snapshot!(place.generic(&ran.stderr), @r"
    error: 3 sources are missing, and --offline forbids fetching them:
      b/b  sha1 eb7161f8a8840e3efb179f59b4d29dcda2ca7909  https://example.org/f-1.tar.gz
      c/one  sha1 4e66b78a14efa4c7d9e615f2da4917297bf3d5a5  http://example.org/one
      c/two  commit 4e66b78a14efa4c7d9e615f2da4917297bf3d5a5  https://example.org/two.git
      hint: make a mirror where there is a network (mkpanda mirror create DIR) and name it here (--mirror DIR), or run once without --offline
    ");
    assert!(!place.packages.join("cache/packages/a/latest").exists(), "nothing is built");
    // `a` alone needs nothing.
    place.run("a", &["--offline"]).ok();
    place.assert_clean();
}

#[test]
fn a_proxy_from_the_environment_is_used() {
    let mut place = Place::new();
    let proxy = Server::start(|_, _| Reply::new(TEXT));
    package(&place, &url_source("url", "http://host.invalid/note", TEXT));
    place.variables.push(("HTTP_PROXY".to_owned(), proxy.url("")));
    place.variables.push(("http_proxy".to_owned(), proxy.url("")));
    place.run("p", &[]).ok();
    assert_eq!(proxy.targets(), ["http://host.invalid/note"]);
}

#[test]
fn a_git_source_is_a_clone_at_its_commit() {
    let place = Place::new();
    let origin = place.path().join("origin");
    std::fs::create_dir(&origin).unwrap();
    std::fs::write(origin.join("file"), "one\n").unwrap();
    let first = repository(&origin);
    std::fs::write(origin.join("file"), "two\n").unwrap();
    git(&origin, &["commit", "-qam", "second"]);
    let second = git(&origin, &["rev-parse", "HEAD"]);
    let url = format!("file://{}", origin.display());
    let script = "cp /pkg/src/p/file $PKG_PATH/; cat /pkg/src/p/.git/HEAD > $PKG_PATH/head
        cat /pkg/src/p/.git/config > $PKG_PATH/config";
    place.package("p", &git_source(&url, &second, "main"), script);
    let ran = place.run("p", &[]).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(place.file_of("p", "file"), "two\n");
    assert!(!place.file_of("p", "config").contains(&*place.path().to_string_lossy()));
    // The branch has moved on: a warning that shows both.
    place.package("p", &git_source(&url, &first, "main"), script);
    let ran = place.run("p", &[]).ok().says("warning: ").says(&first).says(&second);
    assert_eq!(place.file_of("p", "file"), "one\n");
    assert!(!place.file_of("p", "head").is_empty(), "{}", ran.stderr);
    // What isn't there. An id has the commit alone, so it is the script that makes it new.
    place.package("p", &git_source(&url, &first, "no-branch"), "true");
    place.run("p", &[]).fails(1).says("there is no ref_origin \"no-branch\" in file://");
    place.package("p", &git_source(&url, &"1".repeat(40), "main"), script);
    place.run("p", &[]).fails(1).says(&format!("there is no commit {} in", "1".repeat(40)));
    // It is read where it is, offline as well.
    place.package("p", &git_source(&url, &second, "main"), "true");
    std::fs::rename(&origin, place.path().join("away")).unwrap();
    place.run("p", &["--offline"]).fails(1).says("a source is missing, and --offline forbids");
    std::fs::rename(place.path().join("away"), &origin).unwrap();
    place.run("p", &["--offline"]).ok();
    place.assert_clean();
}

#[test]
fn a_git_source_comes_from_a_mirror_folder() {
    let place = Place::new();
    let origin = place.path().join("origin");
    std::fs::create_dir(&origin).unwrap();
    std::fs::write(origin.join("file"), "one\n").unwrap();
    let commit = repository(&origin);
    let mirror = place.path().join("mirror");
    let at = mirror.join("git/example.org/x/y.git");
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    git(place.path(), &["clone", "-q", "--mirror", "origin", at.to_str().unwrap()]);
    package(&place, &git_source("https://example.org/x/y", &commit, "main"));
    place.run("p", &["--offline", "--mirror", mirror.to_str().unwrap()]).ok();
    assert_eq!(place.file_of("p", "file"), "one\n");
}

#[test]
fn a_local_repository_is_taken_at_its_head() {
    let place = Place::new();
    let folder = place.path().join("tree/work");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "one\n").unwrap();
    repository(&folder);
    package(&place, r#"{"single_source": {"kind": "git_local", "rel_path": "../../work"}}"#);
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "file"), "one\n");
    std::fs::write(folder.join("untracked"), "").unwrap();
    assert!(!place.run("p", &[]).ok().stderr.contains("built"));
    std::fs::write(folder.join("file"), "two\n").unwrap();
    let ran = place.run("p", &[]).fails(1);
    insta::assert_snapshot!(place.generic(&ran.stderr), @r"
    error: package p: can't make its id: source p of package p: there are uncommitted changes in <place>/tree/work: file
      hint: commit or stash them: a build takes what HEAD has
    ");
    git(&folder, &["commit", "-qam", "second"]);
    place.run("p", &[]).ok().says("built");
    assert_eq!(place.file_of("p", "file"), "two\n");
}

/// `git http-backend` behind a password.
fn private_git(root: &Path) -> Server {
    let root = root.to_owned();
    let backend = Path::new(&git(&root, &["--exec-path"])).join("git-http-backend");
    Server::start(move |request, _| {
        // "me:secret"
        if request.header("authorization") != Some("Basic bWU6c2VjcmV0") {
            return Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let mut child = std::process::Command::new(&backend)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("GIT_PROJECT_ROOT", &root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("REQUEST_METHOD", &request.method)
            .env("REMOTE_USER", "me")
            .env("CONTENT_TYPE", request.header("content-type").unwrap_or_default())
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", request.header("content-encoding").unwrap_or_default())
            .env("GIT_PROTOCOL", request.header("git-protocol").unwrap_or_default())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &request.body).unwrap();
        let answer = child.wait_with_output().unwrap().stdout;
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let mut reply = Reply::new(&answer[end + 4..]);
        for line in String::from_utf8_lossy(&answer[..end]).lines() {
            let (name, value) = line.split_once(": ").unwrap();
            match name {
                "Status" => reply.status = value[..3].parse().unwrap(),
                _ => reply = reply.with(name, value),
            }
        }
        reply
    })
}

#[test]
fn a_private_repository_is_had_with_what_the_users_git_knows() {
    let mut place = Place::new();
    let work = place.path().join("work");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(work.join("file"), "private\n").unwrap();
    let commit = repository(&work);
    let served = place.path().join("served");
    std::fs::create_dir(&served).unwrap();
    git(place.path(), &["clone", "-q", "--bare", "work", "served/x.git"]);
    let server = private_git(&served);
    package(&place, &git_source(&server.url("x.git"), &commit, "main"));
    let config = place.path().join("gitconfig");
    place.variables.push(("GIT_CONFIG_GLOBAL".to_owned(), config.display().to_string()));
    std::fs::write(&config, "").unwrap();
    place.run("p", &[]).fails(1).says("git could not fetch http://127.0.0.1");
    let helper = "[credential]\nhelper = \"!f() { echo username=me; echo password=secret; }; f\"\n";
    std::fs::write(&config, helper).unwrap();
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "file"), "private\n");
    place.assert_clean();
}
