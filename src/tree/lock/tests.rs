//! Texts of locks, good and bad, and differences from what trees need.

use super::*;
use crate::image::pins::{ImageKey, ImagePin};
use crate::source::{AddedKey, AddedPin};

const SHA1: &str = "0e24de2a654535665d4cfab1675ed252371f863a";

fn sha256(letter: char) -> String {
    letter.to_string().repeat(64)
}

fn file(url: &str, sha1: &str) -> SourceKey {
    SourceKey::File { url: url.to_owned(), sha1: sha1.parse().unwrap() }
}

fn example() -> TreeLock {
    let pin = FilePin { sha256: sha256('a').parse().unwrap(), size: 7 };
    let commit: CommitId = SHA1.parse().unwrap();
    let key = |name: &str| ImageKey {
        name: name.parse().unwrap(),
        platform: "linux/arm/v7".parse().unwrap(),
    };
    let digest = |letter| format!("sha256:{}", sha256(letter));
    let image =
        ImagePin { manifest: digest('b').parse().unwrap(), id: digest('c').parse().unwrap() };
    TreeLock {
        path: PathBuf::new(),
        upstreams: [(
            SourceKey::GitLocal { rel_path: "../up".to_owned(), commit: commit.clone() },
            None,
        )]
        .into(),
        sources: [
            (SourceKey::Git { url: "git@h:r".to_owned(), commit }, None),
            (file("https://h/\"odd\\name\"ä", SHA1), Some(pin)),
        ]
        .into(),
        images: [(key("ubuntu:22.04"), image.clone())].into(),
        base_images: [(key("h:5/x"), image)].into(),
        added: [
            (
                AddedKey::Git { url: "https://h/r.git".to_owned(), reference: "v1".to_owned() },
                AddedPin::Commit(SHA1.parse().unwrap()),
            ),
            (
                AddedKey::File { url: "https://h/\"odd\"".to_owned() },
                AddedPin::File(FilePin { sha256: sha256('d').parse().unwrap(), size: 8 }),
            ),
        ]
        .into(),
    }
}

#[test]
fn what_is_written_is_read_and_written_the_same() {
    let lock = example();
    let text = lock.to_text();
    assert_eq!(TreeLock::parse(&text).unwrap(), lock);
    assert_eq!(TreeLock::parse(&text).unwrap().to_text(), text);
    insta::assert_snapshot!(text, @r#"
    # What builds of this tree take from elsewhere. Written by `mkpanda lock`.
    version = 1

    upstreams = [
      { git_local = "../up", commit = "0e24de2a654535665d4cfab1675ed252371f863a" },
    ]

    sources = [
      { git = "git@h:r", commit = "0e24de2a654535665d4cfab1675ed252371f863a" },
      { url = "https://h/\"odd\\name\"ä", sha1 = "0e24de2a654535665d4cfab1675ed252371f863a", sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", size = 7 },
    ]

    images = [
      { name = "docker.io/library/ubuntu:22.04", platform = "linux/arm/v7", manifest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", id = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" },
    ]

    base_images = [
      { name = "h:5/x:latest", platform = "linux/arm/v7", manifest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", id = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc" },
    ]

    added = [
      { git = "https://h/r.git", ref = "v1", commit = "0e24de2a654535665d4cfab1675ed252371f863a" },
      { url = "https://h/\"odd\"", sha256 = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", size = 8 },
    ]
    "#);
}

#[test]
fn a_text_that_is_no_lock_is_refused_with_its_place() {
    let good = example().to_text();
    let line = |text: &str| format!("version = 1\nsources = [\n  {text},\n]\n");
    let one = format!(r#"{{ url = "u", sha1 = "{SHA1}", sha256 = "{}", size = 1 }}"#, sha256('a'));
    let image = format!(
        r#"{{ name = "x", platform = "a/b/c/d", manifest = "sha256:{0}", id = "sha256:{0}" }}"#,
        sha256('a')
    );
    // A merge of two branches that both added the same.
    assert!(TreeLock::parse(&line(&format!("{one}, {one}"))).is_ok());
    assert!(
        TreeLock::parse(&line(&format!("{one}, {}", one.replace("size = 1", "size = 2")))).is_err()
    );
    for (text, says, place) in [
        (String::new(), "the key version is missing", None),
        ("version = 2\nmore = 1\n".to_owned(), "version 2 of the format", Some(10)),
        (format!("{good}more = 1\n"), "there is no key \"more\"", Some(good.len())),
        (line(&one.replace("size = 1", "size = -1")), "-1", Some(0)),
        (line(&one.replace(SHA1, "x")), "is not a SHA-1", Some(0)),
        (line(&one.replace(", size = 1", "")), "a source needs git", Some(26)),
        (line(&one.replace("url =", "git =")), "a source needs git", Some(26)),
        (line(&one.replace("\"u\"", "\"u\\u001B\"")), "no control characters", Some(26)),
        (line(&one.replace("size", "mode = 1, size")), "there is no key \"mode\"", Some(0)),
        (format!("version = 1\nimages = [{image}]"), "platform: ", Some(0)),
        (
            format!("version = 1\nimages = [{}]", image.replace("\"x\"", "\"A b\"")),
            "is not a valid image reference",
            Some(0),
        ),
        (
            format!("version = 1\nadded = [{{ git = \"u\", commit = \"{SHA1}\" }}]"),
            "what is added has git, ref and commit",
            Some(21),
        ),
        (
            "version = 1\nadded = [{ url = \"u\", ref = \"v\" }]".to_owned(),
            "what is added has git, ref and commit",
            Some(21),
        ),
        ("version = 1\nsources = [[[[".to_owned(), "", Some(0)),
        (format!("version = 1\nsources = {}", "[".repeat(100_000)), "", Some(0)),
    ] {
        let problem = TreeLock::parse(&text).unwrap_err();
        assert!(problem.message.contains(says), "{says}: {problem:?}");
        match place {
            Some(0) => assert!(problem.offset.is_some(), "{problem:?}"),
            Some(place) => assert_eq!(problem.offset, Some(place), "{problem:?}"),
            None => {}
        }
    }
}

#[test]
fn differences_have_both_sums_and_a_command() {
    let lock = example();
    let other = "a".repeat(40);
    let wanted = |key| WantedSource { key, users: ["p/s".to_owned(), "q/s".to_owned()].into() };
    let url = "https://h/\"odd\\name\"ä";
    let found = |key| LockFault::of_source(&lock.sources, &wanted(key));
    assert_eq!(found(file(url, SHA1)), None);
    let changed = found(file(url, &other)).unwrap();
    let missing = found(file("https://u:secret@h/new", &other)).unwrap();
    let faults = LockFaults { path: "mkpanda.lock".into(), items: vec![changed, missing] };
    let text = format!("{faults}\n{}", faults.hint());
    assert!(!text.contains("secret"));
    insta::assert_snapshot!(text, @r#"
    mkpanda.lock does not fit the tree:
      source p/s, q/s: the lock has sha1 0e24de2a654535665d4cfab1675ed252371f863a, the tree has sha1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  https://h/"odd\name"ä
      source p/s, q/s: not in the lock  sha1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa  https://h/new
    if they were meant to change: mkpanda lock --update p/s
    add what is new, and drop what nothing needs: mkpanda lock
    "#);
}

#[test]
fn a_lock_lies_beside_the_configuration_and_the_nearer_one_counts() {
    let place = tempfile::tempdir().unwrap();
    let packages = place.path().join("packages");
    fs_err::create_dir(&packages).unwrap();
    let (near, far) = (packages.join(LOCK_NAME), place.path().join(LOCK_NAME));
    assert_eq!(TreeLock::place(&packages), near);
    assert_eq!(TreeLock::read(&packages).unwrap(), None);
    fs_err::write(place.path().join("mkpanda.toml"), "").unwrap();
    assert_eq!(TreeLock::place(&packages), far);
    fs_err::write(&far, "version = 1").unwrap();
    assert_eq!(TreeLock::read(&packages).unwrap().unwrap().path, far);
    fs_err::os::unix::fs::symlink("/etc/hostname", &near).unwrap();
    let refused = TreeLock::read(&packages).unwrap_err().to_string();
    assert!(refused.contains("a symlink leads out"), "{refused}");
}
