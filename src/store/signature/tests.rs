//! Keys and signatures that stock minisign 0.11 made, changed in every way.

use proptest::prelude::*;

use super::form::SignatureText;
use super::{
    FormError, KeyFormError, KeyId, RevokedKey, SignatureError, Statement, TrustedKey, TrustedKeys,
    verify,
};

const KEY_A: &str = "RWTz5LOY9MXl5ikD7WTHwfUyXHQrvOZ7gohagzj/Jo9lF4Wh77PrgqpR";
const ID_A: &str = "E6E5C5F498B3E4F3";
const KEY_B: &str = "RWT3Bd4DFZK1eHis/AK98Pe768osgQQ691CBHSXNiekgq+JIs1Vr8SAu";
const ID_B: &str = "78B5921503DE05F7";
const CONTENT: &[u8] = b"content\n";
const SUM: &str = "434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53";
/// Signature of the content by A; minisign makes the same whatever the comment is.
const BY_A: &str = "RUTz5LOY9MXl5uyrEFfVO+i6Ww6G5ygYO8bH4Oed8N4tYyRxTLFeifOUS47q7L8WOhE6m2SyzKOQ6YCRFwTN46RzuixqECjujwQ=";
const GLOBAL: &str =
    "mMqj7uonlXTKiq6vzjs52BPGwq8V7RxXmHUGbtQoWWaS14IEFXRik2wXiFbxUr/xHPkYpF/Vm/opjQOpUEo2DA==";

fn text(signature: &str, comment: &str, global: &str) -> String {
    format!("untrusted comment: signature\n{signature}\ntrusted comment: {comment}\n{global}\n")
}

fn good() -> String {
    text(BY_A, &format!("mkpanda id=p--1 sha256={SUM}"), GLOBAL)
}

fn key(line: &str) -> TrustedKey {
    line.parse().unwrap()
}

fn keys(trusted: &[&str], revoked: &[&str]) -> TrustedKeys {
    let revoked = revoked.iter().map(|text| RevokedKey::named(text, "/".as_ref()).unwrap());
    TrustedKeys::new(trusted.iter().map(|line| key(line)), revoked.collect())
}

fn check(text: &str, keys: &TrustedKeys) -> Result<KeyId, SignatureError> {
    verify(CONTENT, text.as_bytes(), "p--1", keys)
}

#[test]
fn a_signature_of_minisign_counts_for_its_artifact() {
    for trusted in [&[KEY_A][..], &[KEY_B, KEY_A], &[KEY_A, KEY_A]] {
        assert_eq!(check(&good(), &keys(trusted, &[])).unwrap().to_string(), ID_A);
    }
    assert!(check(&good(), &keys(&[KEY_A], &[ID_B, KEY_B])).is_ok());
    // As an editor of another system leaves it, and without the last line's end.
    for text in [good().replace('\n', "\r\n"), good().trim_end().to_owned()] {
        assert!(check(&text, &keys(&[KEY_A], &[])).is_ok());
    }
}

#[test]
fn a_signature_that_does_not_count_says_why() {
    let a = keys(&[KEY_A], &[]);
    let legacy = text(
        "RWTz5LOY9MXl5jxG30XVjkDojEg0oBZQtZ9D3OZRt45yan6Erarnv3wanXTOPbzADuG1FoT6NOoLYUOQJxhLh7C5X3jYjqYafAE=",
        &format!("mkpanda id=p--1 sha256={SUM}"),
        "rIflVomWrQXORVrnr+uL0ViNuck4Bl5F/xZPQax1gBOphznaDiZYsPq3jNtw88M3HLUXUI/o2RpUwzvgl8p4Dw==",
    );
    let by_b = text(
        "RUT3Bd4DFZK1eJcIKEbERxeyTgMGSd376ddFscsztCr3Y9deO4W8Jwz5hQTM/R00FzmOre+fnudYaRtMKZW8KxLk1Ozjs/RKPgU=",
        &format!("mkpanda id=p--1 sha256={SUM}"),
        "cyIs68feFJsXRcOe4705m5RI9Z2EIAViT5TDNxEdglFpdUi1iZ1JLvSPXlmCok+D1ZnPvOvzKRCf/VyNGrJ9BA==",
    );
    let other_id = text(
        BY_A,
        &format!("mkpanda id=q--1 sha256={SUM}"),
        "21/WVEE1/7HAI/nhx9VQmT3Co9flcPhij0R6BkSZGCLavElKYhxdLY9pkPLHecv1TNRTcgj8NbrqZR9AVm23Bg==",
    );
    let other_sum = text(
        BY_A,
        "mkpanda id=p--1 sha256=d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa",
        "U9+O6la5m3omWTCrvzHCwLTahUGlStekorKJtepzTrQwivjy2Oz1TSLgrTRjQORA03+6EZr9NCKJRhIxfleADA==",
    );
    let no_statement = text(
        BY_A,
        "timestamp:1\tfile:f",
        "5vkQ1owwEn9OTLEeg+jUftDnH+7pscQczLn0btuBiIK550d5jOphlYkbbqhHyuhIsyRo5vNEDgM1SnnUPo4bBA==",
    );
    let changed_comment = good().replace("p--1", "q--1");
    let both = format!("{}{}", good(), good());
    let forged = format!("{}trusted comment: mkpanda id=p--1 sha256={SUM}\n", good());
    for (text, trusted, said) in [
        (
            &good(),
            &keys(&[KEY_B], &[]),
            format!("key {ID_A}, which is not trusted; trusted: {ID_B}"),
        ),
        (&by_b, &a, format!("key {ID_B}, which is not trusted; trusted: {ID_A}")),
        (&good(), &keys(&[], &[]), format!("key {ID_A}, which is not trusted; trusted: none")),
        (&good(), &keys(&[KEY_A], &[ID_A]), format!("{ID_A}, which is revoked; trusted: none")),
        (&good(), &keys(&[KEY_A, KEY_B], &[KEY_A]), format!("is revoked; trusted: {ID_B}")),
        (&good(), &keys(&[KEY_B], &[&ID_A.to_lowercase()]), "is revoked".to_owned()),
        (&legacy, &a, "legacy form".to_owned()),
        (&other_id, &a, format!("key {ID_A} signed it as q--1, and p--1 is expected")),
        (
            &other_sum,
            &a,
            format!(
                "signed the SHA-256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, and the file has {SUM}"
            ),
        ),
        (&no_statement, &a, "with the trusted comment \"timestamp:1\\tfile:f\"".to_owned()),
        (&changed_comment, &a, format!("key {ID_A} did not sign this file with this")),
        (
            &good().replace(GLOBAL, &other_id[other_id.len() - 89..other_id.len() - 1]),
            &a,
            "did not sign".to_owned(),
        ),
        (&good().replace("RUTz", "RWTz"), &a, "legacy form".to_owned()),
        (&both, &a, "is not one of minisign".to_owned()),
        (&forged, &a, "is not one of minisign".to_owned()),
    ] {
        let error = check(text, trusted).unwrap_err();
        assert!(error.to_string().contains(&said), "{error}, not {said}");
    }
    let error = verify(&b"Content\n"[..], good().as_bytes(), "p--1", &a).unwrap_err();
    assert!(matches!(error, SignatureError::Invalid { .. }), "{error}");
    let error = verify(&b""[..], good().as_bytes(), "p--1", &a).unwrap_err();
    assert!(matches!(error, SignatureError::Invalid { .. }), "{error}");
}

#[test]
fn a_signature_that_is_cut_off_or_has_more_is_named() {
    let plain = good();
    let long = format!("untrusted comment: {}\n", "x".repeat(4096)) + &plain;
    let second = plain.lines().nth(1).unwrap();
    for (text, expected) in [
        (String::new(), FormError::Empty),
        (long, FormError::Long),
        (plain.lines().take(2).collect::<Vec<_>>().join("\n"), FormError::Lines(2)),
        (plain.clone() + "\n", FormError::Lines(5)),
        (
            plain.replace("untrusted", "trusted"),
            FormError::Comment { line: 1, expected: "untrusted comment: " },
        ),
        (
            plain.replace("\ntrusted comment: ", "\ntrusted comment:"),
            FormError::Comment { line: 3, expected: "trusted comment: " },
        ),
        (plain.replace(second, &second[..80]), FormError::Bytes { line: 2, expected: 74 }),
        (plain.replace(second, &format!("{second}=")), FormError::Bytes { line: 2, expected: 74 }),
        (plain[..plain.len() - 3].to_owned(), FormError::Bytes { line: 4, expected: 64 }),
        (plain.replace("RUT", "RVT"), FormError::Algorithm),
        (plain.replace("id=", "id=\u{1b}[2J"), FormError::Text),
    ] {
        let found = SignatureText::parse(text.as_bytes()).err();
        assert_eq!(found, Some(expected), "{text}");
    }
    assert_eq!(SignatureText::parse(b"\xff").err(), Some(FormError::Text));
}

#[test]
fn a_revoked_key_is_revoked_under_whichever_id() {
    // One byte of the id is another.
    let renamed = KEY_A.replace("9MXl5", "9MXA5");
    assert_ne!(key(&renamed).id(), key(KEY_A).id());
    assert!(keys(&[&renamed], &[KEY_A]).is_empty());
    assert!(keys(&[KEY_A], &[&renamed]).is_empty());
    assert!(check(&good(), &keys(&[KEY_A], &[&renamed])).is_err());
    // An id says nothing of others, and a key nothing of another one with its id.
    assert!(!keys(&[&renamed], &[ID_A]).is_empty());
    let same_id = format!("{}{}", &KEY_A[..16], &KEY_B[16..]);
    assert!(check(&good(), &keys(&[&same_id, KEY_A], &[&same_id])).is_ok());
    assert!(check(&good(), &keys(&[&same_id], &[KEY_A])).is_err());
}

#[test]
fn keys_are_lines_or_files() {
    assert_eq!(key(KEY_A).id().to_string(), ID_A);
    assert_eq!(
        key(&format!("untrusted comment: minisign public key {ID_A}\n{KEY_A}\n")),
        key(KEY_A)
    );
    assert_eq!(key(&format!("untrusted comment: x\r\n{KEY_A}\r\n")).line(), KEY_A);
    let secret = format!("untrusted comment: x\nRWRTY0Iy{}\n", "A".repeat(204));
    for (text, expected) in [
        ("", KeyFormError::Lines),
        ("/a/path", KeyFormError::Lines),
        (&KEY_A[..50], KeyFormError::Bytes),
        (&format!("{KEY_A}=="), KeyFormError::Bytes),
        (&KEY_A.replace("RWT", "RWS="), KeyFormError::Bytes),
        (&format!("{KEY_A}\n{KEY_B}"), KeyFormError::Lines),
        (&format!("untrusted comment: x\n{KEY_A}\n{KEY_B}"), KeyFormError::Lines),
        (&secret, KeyFormError::Secret),
        (&format!("untrusted comment: {}\n{KEY_A}", "x".repeat(4096)), KeyFormError::Lines),
    ] {
        assert_eq!(text.parse::<TrustedKey>().unwrap_err(), expected, "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("a.pub"), format!("untrusted comment: x\n{KEY_A}\n")).unwrap();
    fs_err::write(folder.path().join("a.key"), &secret).unwrap();
    fs_err::write(folder.path().join("none"), b"\xff\xfe").unwrap();
    assert_eq!(TrustedKey::named("a.pub", folder.path()).unwrap(), key(KEY_A));
    assert_eq!(TrustedKey::named(KEY_A, folder.path()).unwrap(), key(KEY_A));
    for (name, said) in [
        ("a.key", "a.key is not a public key"),
        ("none", "none is not a public key"),
        ("gone", "\"gone\" is neither a public key"),
        (secret.lines().nth(1).unwrap(), "the text is not a public key"),
    ] {
        let error = TrustedKey::named(name, folder.path()).unwrap_err();
        assert!(error.to_string().starts_with(said) || error.to_string().contains(said), "{error}");
        assert!(!format!("{error:?}").contains("RWRTY0Iy"), "{error:?}");
    }
    for bad in ["", "E6E5C5F498B3E4F", "+6E5C5F498B3E4F3", "G6E5C5F498B3E4F3"] {
        assert!(bad.parse::<KeyId>().is_err(), "{bad}");
    }
}

#[test]
fn statements_have_one_form() {
    let plain = format!("mkpanda id=p--1 sha256={SUM}");
    assert_eq!(plain.parse::<Statement>().unwrap().to_string(), plain);
    for bad in [
        plain.replace("mkpanda ", ""),
        plain.replace("id=p", "id= p"),
        plain.replace("id=p--1", "id="),
        plain.replace("id=p--1", "id=../p"),
        plain.replace(" sha256", "  sha256"),
        plain.to_uppercase(),
        format!("{plain} more"),
        format!("{plain} sha256={SUM}"),
        format!(" {plain}"),
    ] {
        assert!(bad.parse::<Statement>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in any::<Vec<u8>>(), lines in "(untrusted comment: )?[A-Za-z0-9+/=]{0,120}\n?") {
        drop(SignatureText::parse(&text));
        drop(String::from_utf8_lossy(&text).parse::<TrustedKey>());
        drop(lines.parse::<TrustedKey>());
        drop(lines.parse::<Statement>());
    }

    #[test]
    fn no_change_of_a_signature_counts(place in 0_usize..300, letter in " -~") {
        let plain = good();
        let place = place % plain.len();
        let changed = format!("{}{letter}{}", &plain[..place], &plain[place + 1..]);
        let lines = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        if lines(&changed) != lines(&plain) {
            prop_assert!(check(&changed, &keys(&[KEY_A], &[])).is_err());
        }
    }
}
