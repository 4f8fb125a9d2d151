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

/// A URL without credentials and without the values of its query; the user's name stays where it is a part
/// of the address (ssh). The whole text counts, whatever letters are in it.
pub fn redact(url: &str) -> String {
    let Some(at) = url.find("://") else { return url.to_owned() };
    let (scheme, rest) = url.split_at(at + "://".len());
    let mut shown = scheme.to_owned();
    // Browsers and this crate's library take more slashes for two.
    let rest = rest.trim_start_matches(['/', '\\']);
    let rest = if scheme.ends_with("file://") { &url[at + "://".len()..] } else { rest };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    push_authority(scheme, authority, &mut shown);
    let (path, fragment) = behind.split_once('#').map_or((behind, None), |(a, b)| (a, Some(b)));
    let (path, query) = path.split_once('?').map_or((path, None), |(a, b)| (a, Some(b)));
    shown.push_str(path);
    if let Some(query) = query {
        shown.push('?');
        push_keys(query, &mut shown);
    }
    if let Some(fragment) = fragment {
        shown.push('#');
        shown.push_str(fragment);
    }
    shown
}

/// A text, such as another program's messages, in which the URLs are shown as by [`redact`], as far as they
/// can be told from the rest.
pub fn redact_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let start = rest[..at]
            .rfind(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter))
            .map_or(0, |before| before + rest[before..].chars().next().map_or(1, char::len_utf8));
        let end = rest[at..]
            .find(|letter: char| letter.is_whitespace() || "\"<>`".contains(letter))
            .map_or(rest.len(), |length| at + length);
        shown.push_str(&rest[..start]);
        let url = &rest[start..end];
        // What encloses it.
        let quoted = rest[..start].ends_with('\'') && url.ends_with(['\'', ':']);
        let kept = if quoted { url.rfind('\'').unwrap_or(url.len()) } else { url.len() };
        shown.push_str(&redact(&url[..kept]));
        shown.push_str(&url[kept..]);
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

fn push_authority(scheme: &str, authority: &str, shown: &mut String) {
    let Some((user, host)) = authority.rsplit_once('@') else {
        shown.push_str(authority);
        return;
    };
    let scheme = scheme.trim_end_matches("://");
    if scheme.ends_with("ssh") || scheme.ends_with("ssh+git") {
        shown.push_str(user.split(':').next().unwrap_or_default());
        shown.push('@');
    }
    shown.push_str(host);
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
