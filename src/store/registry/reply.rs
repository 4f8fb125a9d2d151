//! Small responses and URLs as text: read up to a limit, and shown without possible secrets.

use serde_json::Value;

use crate::base::http::answer::{Broken, HttpAnswer};
use crate::base::http::redact_text;

/// Upper limit of bytes read of an error's body; [`LONGEST_MESSAGE`] limits the letters shown.
const LONGEST_ERROR: usize = 64 << 10;
const LONGEST_MESSAGE: usize = 300;

/// Returns a URL without credentials and query: queries authorize uploads and downloads elsewhere.
pub(crate) fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    crate::base::http::redact(&url[..end])
}

/// Names the object of a URL in words.
pub(super) fn object_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(_), Some("manifests")) => "the image".to_owned(),
        (Some(name), Some("blobs")) => format!("the blob {name}"),
        _ => shown(url),
    }
}

/// Reads the error message in a response: the registry's own (distribution specification, "Error
/// Codes"), or the text of a proxy or another server.
pub(super) fn message(answer: &HttpAnswer<'_>) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(more)) = answer.bytes() {
        bytes.extend_from_slice(&more);
        if bytes.len() > LONGEST_ERROR {
            break;
        }
    }
    let text = words(&bytes);
    text.chars().take(LONGEST_MESSAGE).map(|l| if l.is_control() { ' ' } else { l }).collect()
}

/// The words of an error's body.
fn words(bytes: &[u8]) -> String {
    let Ok(said) = serde_json::from_slice::<Value>(bytes) else {
        // A sentence of a proxy; a whole page is not shown.
        let text = String::from_utf8_lossy(bytes);
        let is_sentence =
            !text.contains('\u{fffd}') && !text.trim_start().starts_with(['<', '{', '[']);
        let line = text.trim().lines().next().unwrap_or_default();
        return if is_sentence { redact_text(line.trim_end()) } else { String::new() };
    };
    let errors =
        said.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let all = if errors.is_empty() { std::slice::from_ref(&said) } else { errors };
    let mut words: Vec<String> = Vec::new();
    for error in all {
        // Of the specification, of OAuth 2.0 (RFC 6749, 5.2), and of some registries' own.
        let keys = ["message", "error_description", "error", "details", "code"];
        let text = keys.iter().filter_map(|key| error.get(key)?.as_str());
        let text = text.chain(error.as_str()).find(|text| !text.trim().is_empty());
        let text = text.map(|text| redact_text(text.trim()));
        words.extend(text.filter(|text| !words.contains(text)));
    }
    words.join("; ")
}

/// Reads the rest of a small answer.
pub(super) fn read_all(answer: &HttpAnswer<'_>, most: u64) -> Result<Vec<u8>, ReadAll> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_found_whatever_their_shape() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"quota","detail":{"a":1}}]}"#, "quota"),
            (r#"{"errors":[{"code":"A"},{"message":"b"},{"message":"b"}]}"#, "A; b"),
            (r#"{"errors":[{"status":403,"message":"of Artifactory"}]}"#, "of Artifactory"),
            (r#"{"errors":["a text"]}"#, "a text"),
            (r#"{"errors":null,"message":"m"}"#, "m"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, "expired"),
            (r#"{"message":"","code":"C"}"#, "C"),
            (r#"{"message":"see https://u:p@h/x"}"#, "see https://h/x"),
            ("no such repository\nmore", "no such repository"),
            ("<html>x</html>", ""),
            ("{\"cut", ""),
            ("\u{fffd}", ""),
            ("", ""),
            ("[]", ""),
        ] {
            assert_eq!(words(body.as_bytes()), expected, "{body}");
        }
    }
}
