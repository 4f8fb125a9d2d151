//! URLs as text: checking them, and showing them without credentials.

use super::HttpError;

/// Parses a URL for HTTP.
pub(super) fn parse(text: &str) -> Result<reqwest::Url, HttpError> {
    let bad = |reason: String| HttpError::Url { url: redact(text), reason };
    let url = reqwest::Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(bad(format!("its scheme is {}", url.scheme())));
    }
    Ok(url)
}

/// A URL, or a text such as another program's messages, without the credentials of the URLs in it and
/// without the values of their queries; the user's name stays where it is a part of the address (ssh).
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = after
            .find(|letter: char| letter.is_whitespace() || "/?#'\"<>`".contains(letter))
            .unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@') {
            None => shown.push_str(authority),
            Some((user, host)) => {
                let scheme = before.trim_end_matches("://");
                if scheme.ends_with("ssh") || scheme.ends_with("ssh+git") {
                    shown.push_str(user.split(':').next().unwrap_or_default());
                    shown.push('@');
                }
                shown.push_str(host);
            }
        }
        rest = behind;
        let end = rest
            .find(|letter: char| letter.is_whitespace() || "?#'\"<>`".contains(letter))
            .unwrap_or(rest.len());
        if rest[end..].starts_with('?') && !rest[..end].contains("://") {
            shown.push_str(&rest[..=end]);
            rest = &rest[end + 1..];
            let end = rest
                .find(|letter: char| letter.is_whitespace() || "#'\"<>`".contains(letter))
                .unwrap_or(rest.len());
            push_keys(&rest[..end], &mut shown);
            rest = &rest[end..];
        }
    }
    shown.push_str(rest);
    shown
}

/// A query's keys, each with its `=`; a part without one may be a secret as a whole.
fn push_keys(query: &str, shown: &mut String) {
    let keys = query.split('&').filter_map(|part| part.split_once('=')).map(|(key, _)| key);
    for (number, key) in keys.enumerate() {
        if number > 0 {
            shown.push('&');
        }
        shown.push_str(key);
        shown.push('=');
    }
}
