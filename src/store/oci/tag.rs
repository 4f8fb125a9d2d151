//! Tags of objects: a readable text of the key, from which the key can be read again unless it is long.
//!
//! A tag has up to 128 letters, digits and `_ . -`, and begins with none of the last two (OCI
//! distribution specification, "Pulling manifests"); a key has more letters, and up to 1024 of them.
//!
//! ```text
//! /                            _
//! letters, digits, . and -     themselves
//! - first in a part            _-h
//! . first in the key           _-d
//! _ + @ : = , ~ !              _-u _-p _-a _-c _-e _-m _-t _-x
//! longer than 128 letters      the first 93, _-s, and 32 digits of the key's SHA-256
//! ```
//!
//! `packages/curl/curl--01.tar.xz` has the tag `packages_curl_curl--01.tar.xz`. Two keys share a
//! tag only if half of their SHA-256 is equal. Correctness does not depend on uniqueness: each
//! artifact has its whole key as an annotation, which is compared.

use crate::base::digest::Sha256Sum;
use crate::store::key::ObjectKey;

/// Upper limit of a tag's length.
const LONGEST: usize = 128;
/// Number of hex digits of a shortened tag.
const DIGITS: usize = 32;
/// Separator before the digits of a shortened tag. An escape has another letter.
const SHORTENED: &str = "_-s";
/// Number of letters before the separator.
const HEAD: usize = LONGEST - SHORTENED.len() - DIGITS;
/// Letters of keys with their escapes.
const ESCAPES: [(u8, u8); 10] = [
    (b'-', b'h'),
    (b'.', b'd'),
    (b'_', b'u'),
    (b'+', b'p'),
    (b'@', b'a'),
    (b':', b'c'),
    (b'=', b'e'),
    (b',', b'm'),
    (b'~', b't'),
    (b'!', b'x'),
];

/// Key of a tag, as far as the tag alone tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TagKey {
    /// The key.
    Whole(ObjectKey),
    /// Only the annotation has the key.
    Shortened,
}

/// Returns the tag of an object.
pub(super) fn of(key: &ObjectKey) -> String {
    let whole = encode(key.as_str());
    if whole.len() <= LONGEST {
        return whole;
    }
    let sum = Sha256Sum::of(key.as_str().as_bytes());
    format!("{}{SHORTENED}{}", &whole[..HEAD], &sum.as_str()[..DIGITS])
}

/// Reads a tag; `None` if no object has the tag.
pub(super) fn read(tag: &str) -> Option<TagKey> {
    if is_shortened(tag) {
        return Some(TagKey::Shortened);
    }
    let key: ObjectKey = decode(tag)?.parse().ok()?;
    // A tag that another program made may decode to a key whose tag is another.
    (of(&key) == tag).then_some(TagKey::Whole(key))
}

/// True if the object of a tag may lie below a folder; a shortened tag does not always tell.
pub(super) fn may_be_below(tag: &str, folder: &ObjectKey) -> bool {
    match read(tag) {
        None => false,
        Some(TagKey::Whole(key)) => key.is_below(folder),
        Some(TagKey::Shortened) => {
            let prefix = format!("{}_", encode(folder.as_str()));
            tag[..HEAD].starts_with(&prefix[..prefix.len().min(HEAD)])
        }
    }
}

/// Returns a text of any length, which has no letters beyond ASCII.
fn encode(key: &str) -> String {
    let mut text = String::new();
    let mut before = None;
    for byte in key.bytes() {
        let is_plain = match byte {
            b'-' => before != Some(b'/') && before.is_some(),
            b'.' => before.is_some(),
            byte => byte.is_ascii_alphanumeric(),
        };
        before = Some(byte);
        if byte == b'/' {
            text.push('_');
        } else if is_plain {
            text.push(char::from(byte));
        } else if let Some((_, letter)) = ESCAPES.iter().find(|(plain, _)| *plain == byte) {
            text.push_str("_-");
            text.push(char::from(*letter));
        }
    }
    text
}

fn decode(tag: &str) -> Option<String> {
    let mut key = String::new();
    let mut rest = tag;
    while let Some(letter) = rest.chars().next() {
        if let Some(escape) = rest.strip_prefix("_-") {
            let letter = escape.bytes().next()?;
            let (plain, _) = ESCAPES.iter().find(|(_, escape)| *escape == letter)?;
            key.push(char::from(*plain));
            rest = &escape[1..];
        } else {
            key.push(if letter == '_' { '/' } else { letter });
            rest = &rest[letter.len_utf8()..];
        }
    }
    Some(key)
}

fn is_shortened(tag: &str) -> bool {
    tag.len() == LONGEST
        && tag.is_ascii()
        && tag[HEAD..].strip_prefix(SHORTENED).is_some_and(|digits| {
            digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> ObjectKey {
        text.parse().unwrap()
    }

    fn is_tag(text: &str) -> bool {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        text.len() <= LONGEST
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
    }

    #[test]
    fn tags_are_readable() {
        let id = "curl--a9fcd54b25e7e863d72cd47c08af46e61b74b561";
        for (text, tag) in [
            (format!("packages/curl/{id}.tar.xz"), format!("packages_curl_{id}.tar.xz")),
            ("bootstrap/0.bootstrap.tar.xz".into(), "bootstrap_0.bootstrap.tar.xz".into()),
            ("a_b/-c/.d".into(), "a_-ub__-hc_.d".into()),
            ("-a/+b@c:d=e,f~g!".into(), "_-ha__-pb_-ac_-cd_-ee_-mf_-tg_-x".into()),
            (".a".into(), "_-da".into()),
        ] {
            assert_eq!(of(&key(&text)), tag);
            assert_eq!(read(&tag), Some(TagKey::Whole(key(&text))));
        }
        let long = format!("packages/{0}/{0}--x.tar.xz", "long-name".repeat(8));
        let tag = of(&key(&long));
        assert!(tag.starts_with("packages_long-namelong-name"), "{tag}");
        assert_eq!((tag.len(), read(&tag)), (128, Some(TagKey::Shortened)));
    }

    #[test]
    fn tags_of_other_things_are_not_read() {
        for tag in ["_", "_x", "x_", "a__b", "a_-zb", "a_-", "a_-hb", "a_-db", "v1:2", "é", ""] {
            assert_eq!(read(tag), None, "{tag}");
        }
        let upper = format!("{}_-s{}", "a".repeat(HEAD), "A".repeat(DIGITS));
        assert_eq!(read(&upper), None);
    }

    #[test]
    fn folders_are_told_by_tags() {
        let long = format!("a_b/c/{}", "d".repeat(200));
        for (text, folder, expected) in [
            ("a/b/c", "a", true),
            ("a/b/c", "a/b", true),
            ("a/b_c", "a/b", false),
            ("a/b", "a/b", false),
            (&long, "a_b", true),
            (&long, "a_b/c", true),
            (&long, "a_b/d", false),
        ] {
            assert_eq!(may_be_below(&of(&key(text)), &key(folder)), expected, "{text} {folder}");
        }
    }

    proptest! {
        #[test]
        fn each_key_has_a_tag_of_its_own(text in "[a-cA-B0-1_.+@:=,~!/-]{1,160}") {
            let Ok(key) = text.parse::<ObjectKey>() else { return Ok(()) };
            let tag = of(&key);
            prop_assert!(is_tag(&tag), "{tag}");
            match read(&tag) {
                Some(TagKey::Whole(found)) => prop_assert_eq!(found, key),
                Some(TagKey::Shortened) => prop_assert!(encode(&text).len() > LONGEST),
                None => prop_assert!(false, "{tag}"),
            }
            if let Some((folder, _)) = text.rsplit_once('/') {
                prop_assert!(may_be_below(&tag, &folder.parse().unwrap()));
            }
        }

        #[test]
        fn any_text_is_read_or_not(tag in "[a-s_-]{0,140}") {
            if let Some(TagKey::Whole(key)) = read(&tag) {
                prop_assert_eq!(of(&key), tag);
            }
        }
    }
}
