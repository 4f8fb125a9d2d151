//! Keys and signatures: no text makes a reader panic, and no change of a signature counts.

use crate::store::signature::{KeyId, Statement, TrustedKey, TrustedKeys, verify};

use super::documents::no_control_characters;

/// Key that made the signature among the seeds.
const KEY: &str = "RWTz5LOY9MXl5ikD7WTHwfUyXHQrvOZ7gohagzj/Jo9lF4Wh77PrgqpR";
/// The lines of the signature by that key, of `content` with a newline, which alone may count.
const GOOD: [&str; 3] = [
    "RUTz5LOY9MXl5uyrEFfVO+i6Ww6G5ygYO8bH4Oed8N4tYyRxTLFeifOUS47q7L8WOhE6m2SyzKOQ6YCRFwTN46RzuixqECjujwQ=",
    "trusted comment: mkpanda id=p--1 sha256=434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53",
    "mMqj7uonlXTKiq6vzjs52BPGwq8V7RxXmHUGbtQoWWaS14IEFXRik2wXiFbxUr/xHPkYpF/Vm/opjQOpUEo2DA==",
];

pub(super) fn signature(data: &[u8]) -> bool {
    let key: TrustedKey = KEY.parse().expect("a key");
    let keys = TrustedKeys::new([key.clone()], Vec::new());
    let counts = match verify(&b"content\n"[..], data, "p--1", &keys) {
        Ok(made_by) => {
            assert_eq!(made_by, key.id());
            let text = std::str::from_utf8(data).expect("a signature is text");
            assert!(text.lines().skip(1).eq(GOOD), "{text:?}");
            true
        }
        Err(error) => {
            no_control_characters(&error.to_string());
            false
        }
    };
    let Ok(text) = std::str::from_utf8(data) else { return counts };
    let key = text.parse::<TrustedKey>();
    if let Ok(key) = &key {
        assert_eq!(key.line().parse::<TrustedKey>().as_ref(), Ok(key));
        assert!(key.line().len() == 56 && text.contains(key.line()));
    }
    let statement = text.parse::<Statement>();
    if let Ok(statement) = &statement {
        assert_eq!(statement.to_string(), text);
    }
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.to_string(), text.to_ascii_uppercase());
    }
    counts || key.is_ok() || statement.is_ok()
}
