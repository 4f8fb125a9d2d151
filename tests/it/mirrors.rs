//! Mirrors: trees that are carried into a closed network and built there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::inside::left_out;
use crate::server::{Reply, Server};
use crate::support::{BUILDER, Place, Ran, copy_folder, files_below, git, ran, repository, sha1};
use crate::tiny::tiny_image;
use crate::tree::built;

const NOTE: &[u8] = b"a note\n";

/// A connected place: its tree takes a file, a commit, an image of `mkpanda.toml` and one of a `docker/` folder.
pub struct Connected {
    pub place: Place,
    pub server: Server,
    pub commit: String,
}

impl Connected {
    pub fn new() -> Self {
        let place = Place::bare();
        let web = place.path().join("web");
        std::fs::create_dir_all(web.join("repository")).unwrap();
        std::fs::write(web.join("note"), NOTE).unwrap();
        std::fs::write(web.join("other"), "other\n").unwrap();
        let work = web.join("repository");
        std::fs::write(work.join("file"), "as it was\n").unwrap();
        let commit = repository(&work);
        git(&work, &["tag", "-a", "-m", "one", "v1"]);
        std::fs::write(work.join("file"), "moved on\n").unwrap();
        git(&work, &["commit", "-qam", "second"]);
        git(&work, &["update-server-info"]);
        let server = Server::files(&web);
        let tiny = tiny_image().display().to_string();
        std::fs::copy(tiny_image(), place.packages.join("../tiny.tar")).unwrap();
        place.run("", &["image", "load", "--name", "tiny", &tiny]).ok();
        place.write(
            "mkpanda.toml",
            &format!("[images]\n\"{BUILDER}\" = \"docker-archive:../tiny.tar\"\n"),
        );
        place.write("treeinfo.json", "{}");
        place.package("file", &url_source(&server.url("note")), "cp /pkg/src/file/note $PKG_PATH/");
        let source = format!(
            r#"{{"kind": "git", "git": "{}", "ref": "{commit}", "ref_origin": "main"}}"#,
            server.url("repository/.git")
        );
        place.package(
            "commit",
            &format!(
                r#"{{"single_source": {source}, "requires": ["file"], "docker": "dcos/dcos-builder:commit_dockerdir-latest"}}"#
            ),
            "cp /word /pkg/src/commit/file $PKG_PATH/; cp /pkg/src/commit/.git/packed-refs $PKG_PATH/refs",
        );
        place.write("commit/docker/Dockerfile", "FROM tiny\nCOPY word /word\n");
        place.write("commit/docker/word", "built\n");
        Self { place, server, commit }
    }

    /// The tree as it is carried: without its cache, and without the file of the image.
    pub fn away(&self) -> Place {
        let away = Place::bare();
        for entry in std::fs::read_dir(&self.place.packages).unwrap() {
            let entry = entry.unwrap();
            let target = away.packages.join(entry.file_name());
            match entry.file_name().to_str().unwrap() {
                "cache" => {}
                _ if entry.file_type().unwrap().is_dir() => copy_folder(&entry.path(), &target),
                _ => drop(std::fs::copy(entry.path(), target).unwrap()),
            }
        }
        away
    }

    fn create(&self, more: &[&str], mirror: &Path) -> Ran {
        let mirror = mirror.to_str().unwrap();
        self.place.run("", &[&["mirror", "create"], more, &[mirror]].concat())
    }
}

fn url_source(url: &str) -> String {
    let sum = sha1(NOTE);
    format!(r#"{{"single_source": {{"kind": "url", "url": "{url}", "sha1": "{sum}"}}}}"#)
}

/// Runs in a network namespace that has no interface but a loopback that is down.
pub fn without_network(place: &Place, arguments: &[&str]) -> Ran {
    let mut command = place.command("", arguments);
    if std::env::var("MKPANDA_TEST_AS").is_ok_and(|kind| kind == "nested") {
        left_out("a network namespace of the test's own (the container has no network)", "it-root");
        return ran(&command.output().unwrap());
    }
    let mut outer = Command::new("unshare");
    if nix::unistd::Uid::current().is_root() {
        outer.arg("--net");
    } else {
        outer.args(["--map-current-user", "--net"]);
    }
    outer.arg(command.get_program()).args(command.get_args());
    outer.current_dir(command.get_current_dir().unwrap()).env_clear();
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&outer.stdin(Stdio::null()).output().unwrap())
}

fn bundle(mirror: &Path, commit: &str) -> PathBuf {
    mirror.join(format!("bundles/{commit}.bundle"))
}

/// Flips a bit in the middle of a file, as a user would not.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_tree_that_is_carried_over_is_built_without_a_network_and_gives_the_same_bytes() {
    let connected = Connected::new();
    connected.place.run("", &["tree"]).ok();
    for form in ["mirror", "mirror.tar"] {
        let mirror = connected.place.path().join(form);
        connected.create(&[], &mirror).ok();
        connected.place.run("", &["mirror", "verify", mirror.to_str().unwrap()]).ok();
        let away = connected.away();
        let option = mirror.display().to_string();
        let asked = connected.server.requests().len();
        let ran = without_network(&away, &["tree", "--offline", "--mirror", &option]).ok();
        assert_eq!(built(&ran.stderr), ["file", "commit"], "{}", ran.stderr);
        assert_eq!(connected.server.requests().len(), asked, "nobody is asked");
        for name in ["file", "commit"] {
            let (one, other) = (connected.place.archive(name), away.archive(name));
            assert_eq!(one.file_name(), other.file_name());
            if name == "file" {
                assert_eq!(std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
            }
        }
        let file = |name| away.file_of("commit", name);
        assert_eq!((file("file"), file("word")), ("as it was\n".to_owned(), "built\n".to_owned()));
        let refs = file("refs");
        assert!(
            refs.contains("refs/tags/v1") && refs.contains("refs/remotes/origin/main"),
            "{refs}"
        );
        // The bases are there, so that the image can be built again.
        away.write("commit/docker/word", "again\n");
        without_network(&away, &["tree", "--offline", "--mirror", &option]).ok();
        assert_eq!(away.file_of("commit", "word"), "again\n");
        away.assert_clean();
    }
    let mirror = connected.place.path().join("mirror");
    git(
        &connected.place.path().join("web/repository"),
        &["bundle", "verify", bundle(&mirror, &connected.commit).to_str().unwrap()],
    );
    // Other tools read the archive, and it holds what the folder does.
    let listed = Command::new("tar").arg("-tf").arg(mirror.with_extension("tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let folder = files_below(&mirror);
    assert_eq!(listed.lines().count(), folder.len(), "{listed}");
    let lock = std::fs::read_to_string(mirror.join("mkpanda-mirror.json")).unwrap();
    assert!(lock.contains(&connected.server.url("note")), "{lock}");
}

#[test]
fn again_only_what_changed_is_written_and_what_nothing_needs_is_dropped() {
    let connected = Connected::new();
    connected.place.run("", &["tree"]).ok();
    for form in ["mirror", "mirror.tar"] {
        let mirror = connected.place.path().join(form);
        connected.create(&["--packages"], &mirror).ok();
        let asked = connected.server.requests().len();
        let before = std::fs::metadata(&mirror).unwrap().modified().unwrap();
        let began = Instant::now();
        connected.create(&["--packages"], &mirror).ok().says("; 0 written, 0 dropped");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert_eq!(connected.server.requests().len(), asked);
        if form == "mirror.tar" {
            assert_eq!(std::fs::metadata(&mirror).unwrap().modified().unwrap(), before);
        }
        // One source more, and one less.
        let url = connected.server.url("other");
        let more = url_source(&url).replace(&sha1(NOTE), &sha1(b"other\n"));
        connected.place.package("more", &more, "true");
        connected.create(&[], &mirror).ok().says("; 1 written, 0 dropped");
        std::fs::remove_dir_all(connected.place.packages.join("more")).unwrap();
        // Packages go as well, where they are not asked for: two, each with its sum.
        connected.create(&["--prune"], &mirror).ok().says("; 0 written, 5 dropped");
        connected.place.run("", &["mirror", "verify", mirror.to_str().unwrap()]).ok();
    }
}

#[test]
fn a_mirror_has_the_same_bytes_whenever_it_is_made() {
    let connected = Connected::new();
    connected.place.run("", &["tree"]).ok();
    let (one, other) =
        (connected.place.path().join("one.tar"), connected.place.path().join("two.tar"));
    connected.create(&[], &one).ok();
    connected.create(&[], &other).ok();
    assert!(std::fs::read(one).unwrap() == std::fs::read(other).unwrap());
}

#[test]
fn every_fault_of_a_mirror_is_named() {
    let connected = Connected::new();
    connected.place.run("", &["tree"]).ok();
    let mirror = connected.place.path().join("mirror");
    connected.create(&[], &mirror).ok();
    let verify =
        |place: &Path| connected.place.run("", &["mirror", "verify", place.to_str().unwrap()]);
    let note = format!("sha1/{}", sha1(NOTE));
    flip(&mirror.join(&note));
    std::fs::write(mirror.join("sha1/extra"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", mirror.join("sha1/link")).unwrap();
    std::fs::remove_file(bundle(&mirror, &connected.commit)).unwrap();
    let blob = files_below(&mirror.join("images/blobs/sha256")).remove(0);
    std::fs::OpenOptions::new().append(true).open(&blob).unwrap().set_len(7).unwrap();
    let said = verify(&mirror).fails(1).stderr;
    let lock = std::fs::read_to_string(mirror.join("mkpanda-mirror.json")).unwrap();
    let sum = crate::support::sha256(NOTE);
    for part in [
        &format!("{note}: its SHA-256 is "),
        &format!("but the lock file says {sum}"),
        "sha1/extra: not in the lock file",
        "sha1/link: neither a file nor a folder",
        &format!("bundles/{}.bundle: missing", connected.commit),
        &format!("{}: it has 7 bytes, but", blob.file_name().unwrap().to_str().unwrap()),
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    // A lock file that was changed with a file: the file's name says what it should be.
    let found = std::fs::read(mirror.join(&note)).unwrap();
    let edited = lock.replace(&sum, &crate::support::sha256(&found));
    std::fs::write(mirror.join("mkpanda-mirror.json"), edited).unwrap();
    let said = verify(&mirror).fails(1).stderr;
    let by_name =
        format!("{note}: its SHA-1 is {}, but its name says {}", sha1(&found), sha1(NOTE));
    assert!(said.contains(&by_name), "{said}");
    std::fs::write(mirror.join("mkpanda-mirror.json"), "{}").unwrap();
    verify(&mirror).fails(1).says("the lock file mkpanda-mirror.json of");
    // What was damaged is written again.
    std::fs::write(mirror.join("mkpanda-mirror.json"), lock).unwrap();
    std::fs::remove_file(mirror.join("sha1/link")).unwrap();
    std::fs::remove_file(mirror.join("sha1/extra")).unwrap();
    connected.create(&[], &mirror).ok().says(&format!("{note} is not as the lock file says"));
    verify(&mirror).ok();
    // A folder with other files is not touched.
    let other = connected.place.path().join("web");
    connected.create(&[], &other).fails(1).says("is not a mirror");
}

#[test]
fn nothing_wrong_of_a_mirror_is_used() {
    let connected = Connected::new();
    connected.place.run("", &["tree"]).ok();
    let whole = connected.place.path().join("whole");
    connected.create(&[], &whole).ok();
    let offline = |mirror: &Path, package: &str| {
        let away = connected.away();
        away.run(package, &["--offline", "--mirror", mirror.to_str().unwrap()])
    };
    let damaged = |name: &str| {
        let mirror = connected.place.path().join(name);
        copy_folder(&whole, &mirror);
        mirror
    };
    let mirror = damaged("a");
    flip(&mirror.join("sha1").join(sha1(NOTE)));
    offline(&mirror, "file")
        .fails(1)
        .says(&format!("sha1/{} is damaged and was not used", sha1(NOTE)));
    // Cut short, empty, of another commit, without an end of its header.
    let good = std::fs::read(bundle(&whole, &connected.commit)).unwrap();
    let head = b"# v2 git bundle\n".to_vec();
    for (number, bad) in
        [&good[..good.len() - 30], &good[..0], &head, &good[..40]].iter().enumerate()
    {
        let mirror = damaged(&format!("b{number}"));
        std::fs::write(bundle(&mirror, &connected.commit), bad).unwrap();
        let ran = offline(&mirror, "commit").fails(1);
        ran.says(&format!("bundles/{}.bundle is damaged and was not used", connected.commit));
    }
    let mirror = damaged("c");
    let other = git(&connected.place.path().join("web/repository"), &["rev-parse", "main"]);
    let text = String::from_utf8_lossy(&good).replace("refs/heads/main", "refs/heads/../x");
    std::fs::write(bundle(&mirror, &connected.commit), text.as_bytes()).unwrap();
    offline(&mirror, "commit").fails(1).says("a name in it is not valid");
    assert_ne!(other, connected.commit);
    let mirror = damaged("e");
    let blob = files_below(&mirror.join("images/blobs/sha256")).remove(0);
    std::fs::remove_file(&blob).unwrap();
    let name = blob.file_name().unwrap().to_str().unwrap();
    let ran =
        connected.away().run("", &["tree", "--offline", "--mirror", mirror.to_str().unwrap()]);
    ran.fails(1).says(name);
    // Blobs of images.
    for (number, blob) in files_below(&whole.join("images/blobs/sha256")).iter().enumerate() {
        let mirror = damaged(&format!("d{number}"));
        flip(&mirror.join("images/blobs/sha256").join(blob.file_name().unwrap()));
        let away = connected.away();
        let ran = away.run("", &["tree", "--offline", "--mirror", mirror.to_str().unwrap()]);
        assert!(
            ran.stderr.contains("is damaged and was not used") || ran.code == 0,
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn odd_archives_are_not_used() {
    let connected = Connected::new();
    let away = connected.away();
    let write = |entries: &[(&str, tar::EntryType, &[u8])]| {
        let mut tar = Vec::new();
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(content);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        let path = connected.place.path().join("odd.tar");
        std::fs::write(&path, tar).unwrap();
        path
    };
    let name = format!("sha1/{}", sha1(NOTE));
    let good = (name.as_str(), tar::EntryType::Regular, NOTE);
    for (bad, kind) in [
        ("../x", tar::EntryType::Regular),
        ("/x", tar::EntryType::Regular),
        ("sha1/../../x", tar::EntryType::Regular),
        ("sha1/link", tar::EntryType::Symlink),
        ("sha1/hard", tar::EntryType::Link),
        ("sha1/device", tar::EntryType::Char),
        ("sha1/sparse", tar::EntryType::GNUSparse),
        (name.as_str(), tar::EntryType::Regular),
    ] {
        let path = write(&[good, (bad, kind, b"")]);
        let ran = away.run("file", &["--offline", "--mirror", path.to_str().unwrap()]).fails(1);
        assert!(ran.stderr.contains("the archive is not used"), "{bad}: {}", ran.stderr);
        assert!(ran.stderr.contains(bad.trim_start_matches("./")), "{bad}: {}", ran.stderr);
    }
    // The same without anything odd is used.
    let path = write(&[("./", tar::EntryType::Directory, b""), good]);
    let image = tiny_image().display();
    away.write("mkpanda.toml", &format!("[images]\n\"{BUILDER}\" = \"docker-archive:{image}\"\n"));
    away.run("file", &["--offline", "--mirror", path.to_str().unwrap()]).ok();
}

#[test]
fn offline_everything_that_is_missing_is_listed_before_anything_is_built() {
    let connected = Connected::new();
    let away = connected.away();
    for arguments in [&["tree", "--offline"][..], &["tree", "--offline", "--dry-run"]] {
        let said = away.run("", arguments).fails(1).stderr;
        let said = away.generic(&said).replace(&connected.server.url(""), "<server>/");
        let said = said.replace(&connected.commit, "<commit>");
        insta::allow_duplicates! {
        insta::assert_snapshot!(said, @r"
        error: 2 images and 2 sources are missing, and --offline forbids fetching them:
          image dcos/dcos-builder:dcos-builder_dockerdir-latest  for file  docker-archive:<place>/tree/packages/../tiny.tar
          base image tiny:latest  for image dcos/dcos-builder:commit_dockerdir-latest  docker://docker.io/library/tiny:latest
          file/file  sha1 0e24de2a654535665d4cfab1675ed252371f863a  <server>/note
          commit/commit  commit <commit>  <server>/repository/.git
          hint: make a mirror where there is a network (mkpanda mirror create DIR) and name it here (--mirror DIR), or run once without --offline
          hint: to get this image alone, where there is a network: mkpanda image pull dcos/dcos-builder:dcos-builder_dockerdir-latest
          hint: or load it: mkpanda image load --name dcos/dcos-builder:dcos-builder_dockerdir-latest FILE   (docker save, podman save or skopeo copy write such a FILE)
        ");
        }
    }
    assert!(!away.packages.join("cache/packages/file/latest").exists());
    // An upstream that is missing is listed with what the tree's own packages lack.
    let upstream = url_source("http://h.invalid/up.tar").replace("\"url\", ", "\"url_extract\", ");
    let upstream =
        upstream.strip_prefix("{\"single_source\": ").unwrap().strip_suffix('}').unwrap();
    away.write("upstream.json", upstream);
    let said = away.run("", &["tree", "--offline"]).fails(1).stderr;
    assert!(said.contains("an upstream and 2 images and 2 sources are missing"), "{said}");
    assert!(said.contains("the tree's upstream  sha1 "), "{said}");
    assert!(said.contains("http://h.invalid/up.tar"), "{said}");
}

#[test]
fn an_upstream_is_in_the_mirror() {
    let connected = Connected::new();
    let place = &connected.place;
    let upstream = place.path().join("web/up/packages/above");
    std::fs::create_dir_all(&upstream).unwrap();
    std::fs::write(upstream.join("buildinfo.json"), url_source(&connected.server.url("note")))
        .unwrap();
    std::fs::write(upstream.join("build"), "#!/bin/bash\ncp /pkg/src/above/note $PKG_PATH/\n")
        .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(upstream.join("build"), mode).unwrap();
    let archive = place.path().join("web/up.tar");
    let status = Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(place.path().join("web"))
        .arg("up")
        .status();
    assert!(status.unwrap().success());
    let sum = sha1(&std::fs::read(&archive).unwrap());
    let url = connected.server.url("up.tar");
    place.write(
        "upstream.json",
        &format!(r#"{{"kind": "url_extract", "url": "{url}", "sha1": "{sum}"}}"#),
    );
    place.run("", &["tree"]).ok();
    let mirror = place.path().join("mirror");
    connected.create(&[], &mirror).ok();
    assert!(mirror.join("sha1").join(&sum).is_file());
    let away = connected.away();
    without_network(&away, &["tree", "--offline", "--mirror", mirror.to_str().unwrap()]).ok();
    assert_eq!(away.file_of("above", "note").as_bytes(), NOTE);
}

#[test]
fn a_mirror_on_a_web_server_is_all_that_is_asked() {
    let connected = Connected::new();
    connected.place.run("", &["tree"]).ok();
    let mirror = connected.place.path().join("mirror");
    connected.create(&[], &mirror).ok();
    let intranet = Server::files(&mirror);
    let away = connected.away();
    let option = format!("--mirror={}", intranet.url(""));
    let refused = away.run("", &["tree", "--offline", &option]).fails(1);
    refused.says("--offline forbids any connection").says("--only-mirrors");
    assert_eq!(intranet.targets(), [""; 0]);
    let asked = connected.server.requests().len();
    away.run("", &["tree", "--only-mirrors", &option]).ok();
    assert_eq!(away.file_of("commit", "word"), "built\n");
    assert_eq!(connected.server.requests().len(), asked);
    // What the mirror lacks is listed, and fetched from nowhere.
    let poor = Server::start(|_, _| Reply::status(404));
    let away = connected.away();
    let said = away.run("", &["tree", "--only-mirrors", &format!("--mirror={}", poor.url(""))]);
    let said = said.fails(1).stderr;
    assert!(
        said.contains("2 images and 2 sources are missing, and --only-mirrors forbids"),
        "{said}"
    );
    assert_eq!(connected.server.requests().len(), asked);
}

#[test]
fn a_fetch_takes_everything_and_says_all_that_failed() {
    let connected = Connected::new();
    let place = &connected.place;
    let ran = place.run("", &["fetch"]).ok();
    assert_eq!(built(&ran.stderr), [""; 0]);
    assert!(place.packages.join("cache/packages/file/file/note").is_file());
    assert!(!place.packages.join("cache/packages/file/latest").exists());
    // All of it is here: the base image, too.
    place.run("", &["tree", "--offline"]).ok();
    for name in ["one", "two"] {
        let url = connected.server.url(&format!("no-{name}"));
        place.package(name, &url_source(&url), "");
    }
    place.package("image", r#"{"docker": "127.0.0.1:1/no:1"}"#, "");
    place.user("[registries.\"127.0.0.1:1\"]\ninsecure = true\n");
    let said = place.run("", &["fetch"]).fails(1).stderr;
    for part in
        ["no-one", "no-two", "127.0.0.1:1/no:1", "3 sources and images could not be fetched"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let events = place.run("", &["fetch", "--progress=json"]).fails(1).stderr;
    for line in events.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(events.contains(r#""event":"source""#), "{events}");
}
