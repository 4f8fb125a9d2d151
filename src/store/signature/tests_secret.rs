//! Secret keys, and signing; both ways with stock minisign.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{
    SecretKeyError, SecretKeyFile, SignError, Signer, TrustedKey, TrustedKeys, public_path, verify,
};
use crate::base::digest::Sha256Sum;

const CONTENT: &[u8] = b"an archive";

/// Runs minisign, without a terminal, in a folder; `true` if it ends well.
fn minisign(folder: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("minisign").args(arguments).current_dir(folder).output();
    let output = output.expect("minisign is missing; run: scripts/test prepare");
    output.status.success()
}

fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn minisign_accepts_what_is_signed_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (sum, id) = (Sha256Sum::of(CONTENT), "p--1");
    for (name, password) in [("plain", None), ("locked", Some("pass word"))] {
        let secret = path(&format!("{name}.key"));
        let made = Signer::create(&secret, password).unwrap();
        let public = path(&format!("{name}.pub"));
        assert_eq!((mode(&secret), mode(&public)), (0o600, 0o644));
        let signer = Signer::open(&secret, password).unwrap();
        assert_eq!(signer.key(), made.key());
        fs_err::write(path("f"), CONTENT).unwrap();
        let text = signer.sign(CONTENT, id, &sum).unwrap();
        fs_err::write(path("f.minisig"), &text).unwrap();
        assert!(minisign(folder.path(), &["-Vm", "f", "-p", public.to_str().unwrap()]));
        assert!(minisign(folder.path(), &["-VHm", "f", "-P", signer.key().line()]));
        let keys = TrustedKeys::new([signer.key().clone()], Vec::new());
        assert_eq!(verify(CONTENT, text.as_bytes(), id, &keys).unwrap(), signer.key().id());
        fs_err::write(path("f"), "another archive").unwrap();
        assert!(!minisign(folder.path(), &["-Vm", "f", "-P", signer.key().line()]));
        for file in [&secret, &public] {
            let before = fs_err::read(file).unwrap();
            let error = Signer::create(&secret, None).unwrap_err();
            assert!(matches!(error, SecretKeyError::Exists(_)), "{error}");
            assert_eq!(fs_err::read(file).unwrap(), before);
        }
        // With one of the two alone, nothing is written either.
        fs_err::remove_file(&secret).unwrap();
        assert!(matches!(Signer::create(&secret, None), Err(SecretKeyError::Exists(_))));
        assert!(!secret.exists());
    }
    let left = fs_err::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with(".tmp-")));
}

#[test]
fn keys_and_signatures_of_minisign_work_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(minisign(folder.path(), &["-G", "-W", "-p", "k.pub", "-s", "k.key"]));
    let signer = Signer::open(&path("k.key"), None).unwrap();
    let key = TrustedKey::named("k.pub", folder.path()).unwrap();
    assert_eq!(signer.key(), &key);
    fs_err::write(path("f"), CONTENT).unwrap();
    let sum = Sha256Sum::of(CONTENT);
    let statement = format!("mkpanda id=p--1 sha256={sum}");
    let sign = ["-S", "-s", "k.key", "-m", "f", "-t", &statement];
    assert!(minisign(folder.path(), &sign));
    let text = fs_err::read(path("f.minisig")).unwrap();
    let keys = TrustedKeys::new([key.clone()], Vec::new());
    assert_eq!(verify(CONTENT, &text, "p--1", &keys).unwrap(), key.id());
    let text = signer.sign(CONTENT, "p--1", &sum).unwrap();
    fs_err::write(path("f.minisig"), &text).unwrap();
    assert!(minisign(folder.path(), &["-Vm", "f", "-p", "k.pub"]));
    // The public key can be made again from ours, too.
    Signer::create(&path("own.key"), None).unwrap();
    assert!(minisign(folder.path(), &["-R", "-s", "own.key", "-p", "again.pub"]));
    let again = TrustedKey::named("again.pub", folder.path()).unwrap();
    assert_eq!(again, TrustedKey::named("own.pub", folder.path()).unwrap());
}

#[test]
fn secret_keys_that_cannot_be_used_are_named_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let signer = Signer::create(&path("k.key"), Some("right")).unwrap();
    let file = SecretKeyFile::open(&path("k.key")).unwrap();
    assert!(file.is_encrypted());
    for shown in [format!("{signer:?}"), format!("{file:?}")] {
        assert!(shown.len() < 200 && !shown.contains("RWRT"), "{shown}");
    }
    let text = fs_err::read_to_string(path("k.key")).unwrap();
    let error = file.unlock(Some("wrong")).unwrap_err();
    assert!(matches!(error, SecretKeyError::Password(_)), "{error}");
    let error = Signer::open(&path("k.key"), None).unwrap_err();
    assert!(matches!(error, SecretKeyError::NoPassword(_)), "{error}");
    let error = Signer::open(&path("k.key"), Some(&"x".repeat(1025))).unwrap_err();
    assert!(matches!(error, SecretKeyError::LongPassword), "{error}");
    let plain = Signer::create(&path("plain.key"), None).unwrap();
    let plain_text = fs_err::read_to_string(path("plain.key")).unwrap();
    for (content, said) in [
        (String::new(), "two lines"),
        (text.replace("untrusted", "x"), "does not begin"),
        (text.clone() + "more\n", "two lines"),
        (text.replace("RWRT", "RWR!"), "not base64"),
        (text[..text.len() - 5].to_owned(), "158 bytes"),
        (text.replace("RWRTY0Iy", "RWRTY0Iz"), "algorithms are unknown"),
        (fs_err::read_to_string(path("k.pub")).unwrap(), "a public key has 42"),
        ("x".repeat(5000), "more than 4096"),
        (change(&plain_text, 100), "checksum is wrong"),
        (no_checksum(&change(&plain_text, 100)), "checksum is wrong"),
    ] {
        fs_err::write(path("bad"), &content).unwrap();
        let error = Signer::open(&path("bad"), Some("right")).unwrap_err();
        assert!(error.to_string().contains(said), "{error}, not {said}");
        assert!(!format!("{error:?}").contains("RWR"), "{error:?}");
    }
    assert!(matches!(Signer::open(&path("gone"), None), Err(SecretKeyError::Read(_))));
    fs_err::write(path("plain"), no_checksum(&plain_text)).unwrap();
    assert_eq!(Signer::open(&path("plain"), None).unwrap().key(), plain.key());
    let other = Sha256Sum::of(b"other");
    let error = plain.sign(CONTENT, "p--1", &other).unwrap_err();
    assert!(matches!(error, SignError::OtherSum { .. }), "{error}");
    let error = plain.sign(CONTENT, "p--1 sha256=", &Sha256Sum::of(CONTENT)).unwrap_err();
    assert!(matches!(error, SignError::Id(_)), "{error}");
}

/// Changes a letter so far from the end of a secret key: within the public half.
fn change(text: &str, from_end: usize) -> String {
    let place = text.len() - from_end;
    let letter = if &text[place..=place] == "A" { "B" } else { "A" };
    format!("{}{letter}{}", &text[..place], &text[place + 1..])
}

/// The key as minisign writes it, with a checksum of zeros.
fn no_checksum(text: &str) -> String {
    let (comment, line) = text.trim_end().split_once('\n').unwrap();
    format!("{comment}\n{}{}=\n", &line[..168], "A".repeat(43))
}

#[test]
fn public_keys_lie_beside_secret_ones() {
    for (secret, public) in [("/a/x.key", "/a/x.pub"), ("x.key", "x.pub"), ("/a/x.y", "/a/x.y.pub")]
    {
        assert_eq!(public_path(Path::new(secret)), Path::new(public));
    }
}
