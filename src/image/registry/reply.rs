//! Small answers and URLs as text: read up to a limit, shown without what may be secret.

use crate::base::http::answer::{Answer, Broken};

/// What registries say of an error is read up to here, and shown up to [`LONGEST_MESSAGE`].
const LONGEST_ERROR: usize = 64 << 10;
const LONGEST_MESSAGE: usize = 300;

/// A URL without what may be secret: uploads and downloads elsewhere are allowed by their queries.
pub(super) fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    crate::base::http::redact(&url[..end])
}

/// What a URL asks for, in words.
pub(super) fn what(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(_), Some("manifests")) => "the image".to_owned(),
        (Some(name), Some("blobs")) => format!("the blob {name}"),
        _ => shown(url),
    }
}

/// What the registry says is wrong (distribution specification, "Error Codes").
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

/// Why a small answer can't be read.
pub(super) enum ReadAll {
    Broken(Broken),
    TooLong(u64),
}
