//! Small answers and URLs as text: read up to a limit, shown without what may be secret.

use crate::base::http::answer::{Answer, Broken};

/// Upper limit of bytes read of an error's body; [`LONGEST_MESSAGE`] limits the letters shown.
const LONGEST_ERROR: usize = 64 << 10;
const LONGEST_MESSAGE: usize = 300;

/// Returns a URL without credentials and query: queries authorize uploads and downloads elsewhere.
pub(crate) fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    crate::base::http::redact(&url[..end])
}

/// Names the object of a URL in words.
pub(super) fn what(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(_), Some("manifests")) => "the image".to_owned(),
        (Some(name), Some("blobs")) => format!("the blob {name}"),
        _ => shown(url),
    }
}

/// Reads the registry's error message (distribution specification, "Error Codes").
pub(super) fn message(answer: &Answer<'_>) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(more)) = answer.bytes() {
        bytes.extend_from_slice(&more);
        if bytes.len() > LONGEST_ERROR {
            break;
        }
    }
    let Ok(said) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return String::new();
    };
    let first = said.get("errors").and_then(|errors| errors.get(0));
    let text = first.and_then(|first| first.get("message").or_else(|| first.get("code")));
    let text = text.and_then(serde_json::Value::as_str).unwrap_or_default();
    text.chars().take(LONGEST_MESSAGE).map(|l| if l.is_control() { ' ' } else { l }).collect()
}

/// Reads the rest of a small answer.
pub(super) fn read_all(answer: &Answer<'_>, most: u64) -> Result<Vec<u8>, ReadAll> {
    let mut bytes = Vec::new();
    while let Some(more) = answer.bytes().map_err(ReadAll::Broken)? {
        bytes.extend_from_slice(&more);
        if bytes.len() as u64 > most {
            return Err(ReadAll::TooLong(bytes.len() as u64));
        }
    }
    Ok(bytes)
}

/// A small answer cannot be read.
pub(super) enum ReadAll {
    Broken(Broken),
    TooLong(u64),
}
