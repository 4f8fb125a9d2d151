//! Shared caches in builds: lookups before, uploads after, and faults of the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::server::{Reply, Server};
use crate::signing::{Key, beside, halve};
use crate::support::{Place, Ran, files_below, git, repository, sha1};
use crate::tree::built;

/// A machine with two packages, one of which requires the other.
fn machine() -> Place {
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    place.package("low", "{}", "echo low > $PKG_PATH/low");
    place.package(
        "top",
        r#"{"requires": ["low"]}"#,
        "cat /opt/mesosphere/packages/low--*/low > $PKG_PATH/top",
    );
    place
}

fn option(cache: &Path) -> String {
    format!("--cache={}", cache.display())
}

fn fetched(ran: &Ran) -> usize {
    ran.stderr.lines().filter(|line| line.trim_start().starts_with("fetched ")).count()
}

fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.contains("warning")).collect()
}

/// A cache with the packages of [`machine`].
fn filled(place: &Place) -> PathBuf {
    let cache = place.path().join("cache");
    let ran = place.run(".", &["tree", &option(&cache)]).ok();
    assert_eq!(built(&ran.stderr).len(), 2, "{}", ran.stderr);
    assert!(warnings(&ran).is_empty(), "{}", ran.stderr);
    cache
}

fn archive_in(cache: &Path, name: &str) -> PathBuf {
    let found = files_below(&cache.join("packages").join(name));
    found.into_iter().find(|path| path.to_string_lossy().ends_with(".tar.xz")).unwrap()
}

#[test]
fn another_machine_takes_what_one_has_built() {
    let (here, there) = (machine(), machine());
    let cache = filled(&here);
    let ran = there.run(".", &["tree", &option(&cache)]).ok();
    assert_eq!((built(&ran.stderr), fetched(&ran)), (vec![], 2), "{}", ran.stderr);
    for name in ["low", "top"] {
        let (ours, theirs) = (here.archive(name), there.archive(name));
        assert_eq!(std::fs::read(ours).unwrap(), std::fs::read(theirs).unwrap(), "{name}");
    }
    // Nothing ran in a container.
    assert!(!there.home.join("builds").join("low").exists());
    // A web server is a cache to be read.
    let server = Server::files(&cache);
    let web = machine();
    let ran = web.run(".", &["tree", &format!("--cache={}", server.url(""))]).ok();
    assert_eq!((built(&ran.stderr), fetched(&ran)), (vec![], 2), "{}", ran.stderr);
    // And a repository: the original's tools read it.
    let repository = machine();
    let url = format!("--repository-url=file://{}", cache.display());
    let ran = repository.run(".", &["tree", &url]).ok();
    assert_eq!(fetched(&ran), 2, "{}", ran.stderr);
}

#[test]
fn caches_of_the_configuration_are_the_users() {
    let place = machine();
    let cache = filled(&place);
    let other = machine();
    let second = other.path().join("second");
    other.user(&format!(
        "[[cache]]\nurl = '{}'\nwrite = false\n\n[[cache]]\nurl = '{}'\nread = false\n",
        cache.display(),
        second.display()
    ));
    std::fs::remove_dir_all(cache.join("packages/top")).unwrap();
    let ran = other.run(".", &["tree"]).ok();
    assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (1, 1), "{}", ran.stderr);
    assert!(!cache.join("packages/top").exists(), "the first is only read");
    assert!(second.join("packages/top").exists() && !second.join("packages/low").exists());
    let tree = machine();
    tree.configure_first("[[cache]]\nurl = 'x'\n");
    tree.run(".", &["tree"]).fails(1).says("[[cache]] counts in your own configuration alone");
}

#[test]
fn a_damaged_object_is_built_anew_and_left() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("a flipped bit", |path| {
            let mut content = std::fs::read(path).unwrap();
            let middle = content.len() / 2;
            content[middle] ^= 1;
            std::fs::write(path, content).unwrap();
        }),
        ("cut off", halve),
        ("a page", |path| std::fs::write(path, "<html>Sign in</html>").unwrap()),
        ("empty", |path| std::fs::write(path, "").unwrap()),
    ];
    for (name, damage) in damages {
        let first = machine();
        let cache = filled(&first);
        let object = archive_in(&cache, "low");
        damage(&object);
        let wrong = std::fs::read(&object).unwrap();
        let place = machine();
        let ran = place.run(".", &["tree", &option(&cache)]).ok();
        assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (1, 1), "{name}: {}", ran.stderr);
        let said = warnings(&ran);
        assert!(said.iter().any(|line| line.contains("low")), "{name}: {}", ran.stderr);
        assert_eq!(std::fs::read(&object).unwrap(), wrong, "{name}");
        assert_eq!(place.file_of("low", "low"), "low\n", "{name}");
    }
}

/// Other bytes under one id, made by another program, with the same tar or another one in them.
#[test]
fn the_same_tar_is_the_same_package_and_another_is_reported() {
    for same in [true, false] {
        let first = machine();
        let cache = filled(&first);
        let object = archive_in(&cache, "low");
        let script = if same {
            "xz -dc \"$1\" > t && xz -0 -c t > \"$1\""
        } else {
            "mkdir u && tar -xJf \"$1\" -C u && echo evil > u/low && tar -cJf \"$1\" -C u ."
        };
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("bash");
        command.args(["-euc", script, "-"]).arg(&object).current_dir(folder.path());
        assert!(command.status().unwrap().success());
        std::fs::remove_file(format!("{}.sha256", object.display())).unwrap();
        let records = cache.join("records/low");
        std::fs::remove_dir_all(&records).unwrap();
        let before = std::fs::read(&object).unwrap();
        let place = machine();
        // It is not looked up, and so built.
        place.user(&format!("[[cache]]\nurl = '{}'\nread = false\n", cache.display()));
        let ran = place.run(".", &["tree"]).ok();
        assert_eq!(std::fs::read(&object).unwrap(), before);
        if same {
            assert!(warnings(&ran).is_empty(), "{}", ran.stderr);
            let sum = std::fs::read_to_string(format!("{}.sha256", object.display())).unwrap();
            assert!(sum.starts_with(&crate::support::sha256(&before)), "{sum}");
        } else {
            let said = warnings(&ran).join("\n");
            assert!(said.contains("has another packages/low/"), "{}", ran.stderr);
            assert!(ran.stderr.contains("hint: find out which of the two is right"));
            assert!(!records.exists());
        }
    }
}

#[test]
fn a_cache_that_is_down_or_refuses_ends_no_build() {
    // Nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = machine();
    let started = Instant::now();
    let ran = place.run(".", &["tree", &format!("--cache=http://127.0.0.1:{port}/")]).ok();
    assert_eq!(built(&ran.stderr).len(), 2);
    assert_eq!(warnings(&ran).len(), 1, "{}", ran.stderr);
    assert!(started.elapsed() < Duration::from_secs(20));
    for status in [403, 404, 500] {
        let server = Server::start(move |_request, _count| Reply::status(status));
        let place = machine();
        let ran = place.run(".", &["tree", &format!("--cache={}", server.url(""))]).ok();
        assert_eq!(built(&ran.stderr).len(), 2, "{status}: {}", ran.stderr);
        // A cache that lacks everything is none that fails.
        assert_eq!(warnings(&ran).is_empty(), status == 404, "{status}: {}", ran.stderr);
    }
    // A folder that cannot be written to.
    let place = machine();
    let file = place.write("file", "");
    let ran = place.run(".", &["tree", &option(&file.join("cache"))]).ok();
    assert_eq!(built(&ran.stderr).len(), 2, "{}", ran.stderr);
    assert!(!warnings(&ran).is_empty());
}

#[test]
fn sources_outlive_their_servers() {
    let make = |url: &str, repository: &str, commit: &str| {
        let place = Place::new();
        place.write("treeinfo.json", "{}");
        let sum = sha1(b"text\n");
        let sources = format!(
            r#"{{"sources": {{"file": {{"kind": "url", "url": "{url}", "sha1": "{sum}"}},
                "repo": {{"kind": "git", "git": "{repository}", "ref": "{commit}", "ref_origin": "main"}}}}}}"#
        );
        place.package("p", &sources, "cat /pkg/src/file/f /pkg/src/repo/* > $PKG_PATH/all");
        place
    };
    let folder = tempfile::tempdir().unwrap();
    let upstream = folder.path().join("upstream");
    std::fs::create_dir(&upstream).unwrap();
    std::fs::write(upstream.join("readme"), "from git\n").unwrap();
    let commit = repository(&upstream);
    let server = Server::start(|_request, _count| Reply::new("text\n"));
    let url = server.url("/f");
    let here = make(&url, upstream.to_str().unwrap(), &commit);
    let cache = here.path().join("cache");
    here.run("p", &[&option(&cache)]).ok();
    let bundle = cache.join(format!("sources/bundles/{commit}.bundle"));
    let check = git(&upstream, &["bundle", "verify", bundle.to_str().unwrap()]);
    assert!(check.contains(&commit) || check.is_empty(), "{check}");
    assert!(cache.join("sources/sha1").join(sha1(b"text\n")).is_file());
    drop(server);
    std::fs::remove_dir_all(&upstream).unwrap();
    let there = make(&url, upstream.to_str().unwrap(), &commit);
    // Sources alone.
    std::fs::remove_dir_all(cache.join("packages")).unwrap();
    let ran = there.run("p", &[&option(&cache)]).ok();
    assert_eq!(built(&ran.stderr).len(), 1, "{}", ran.stderr);
    assert_eq!(there.file_of("p", "all"), here.file_of("p", "all"));
}

#[test]
fn signatures_are_made_and_required() {
    let place = machine();
    let key = Key::new(place.path(), "good");
    let cache = place.path().join("cache");
    let sign = format!("--sign={}", key.secret.display());
    place.run(".", &["tree", &option(&cache), &sign]).ok();
    let object = archive_in(&cache, "low");
    // Stock minisign accepts it.
    let mut minisign = Command::new("minisign");
    minisign.args(["-V", "-q", "-P", &key.line, "-m"]).arg(&object);
    assert!(minisign.status().expect("minisign is missing; run: scripts/test prepare").success());
    let other = machine();
    let ran = other.run(".", &["tree", &option(&cache), &key.option()]).ok();
    assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (0, 2), "{}", ran.stderr);
    place.run(".", &["tree", &sign]).fails(1).says("name one that can be written to");
    std::fs::remove_file(beside(&object)).unwrap();
    let third = machine();
    let ran = third.run(".", &["tree", &option(&cache), &key.option()]).ok();
    assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (1, 1), "{}", ran.stderr);
    assert!(warnings(&ran).iter().any(|line| line.contains("cannot be trusted")), "{}", ran.stderr);
}

#[test]
fn without_a_network_folders_alone_are_asked() {
    let first = machine();
    let cache = filled(&first);
    let server = Server::files(&cache);
    let place = machine();
    let web = format!("--cache={}", server.url(""));
    let name = server.url("").trim_end_matches('/').to_owned();
    // One that is named together with --offline is a contradiction.
    place
        .run(".", &["tree", "--offline", &web, &option(&cache)])
        .fails(1)
        .says(&format!("the cache {name} needs a network, and --offline forbids"))
        .says("hint: name a cache on this machine");
    place.run(".", &["cache", "stat", "--offline", &server.url("")]).fails(1).says("--offline");
    let said =
        |option: &str| format!("the cache {name} is passed over: {option} forbids to ask it");
    let ran = place.run(".", &["tree", "--only-mirrors", &web, &option(&cache)]).ok();
    assert_eq!(fetched(&ran), 2, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches(&said("--only-mirrors")).count(), 1, "{}", ran.stderr);
    // One of the configuration is for other runs, too.
    place.user(&format!("[[cache]]\nurl = '{}'\n", server.url("")));
    std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
    let ran = place.run(".", &["tree", "--offline", &option(&cache)]).ok();
    assert_eq!(fetched(&ran), 2, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches(&said("--offline")).count(), 1, "{}", ran.stderr);
    assert!(server.requests().is_empty());
}

#[test]
fn a_fifo_in_place_of_a_file_is_not_waited_for() {
    let first = machine();
    let cache = filled(&first);
    let object = archive_in(&cache, "low");
    std::fs::remove_file(&object).unwrap();
    nix::unistd::mkfifo(&object, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let place = machine();
    let ran = place.run(".", &["tree", &option(&cache)]).ok();
    assert_eq!((built(&ran.stderr).len(), fetched(&ran)), (1, 1), "{}", ran.stderr);
    let mirror = place.path().join("m.tar");
    nix::unistd::mkfifo(&mirror, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let option = format!("--mirror={}", mirror.display());
    place.run(".", &["mirror", "verify", mirror.to_str().unwrap()]).fails(1);
    drop(place.run(".", &["tree", "--offline", &option]));
    let image = format!("[images]\n\"b:1\" = \"docker-archive:{}\"\n", mirror.display());
    place.user(&image);
    place.package("img", r#"{"docker": "b:1"}"#, "true");
    place.run("img", &[]).fails(1).says("not a regular file");
}
