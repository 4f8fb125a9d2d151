//! URLs as text: validation, and display without credentials.

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
    let colon = url.find("://").or_else(|| begins_mistyped(url));
    let Some(colon) = colon else { return url.to_owned() };
    let (scheme, rest) = url.split_at(colon + 1);
    // Browsers and this crate's library take more slashes for two, and fewer.
    let behind = rest.trim_start_matches(SLASHES);
    let (slashes, rest) = match rest.strip_prefix("//") {
        Some(path) if scheme.ends_with("file:") => ("//", path),
        Some(_) => ("//", behind),
        None => (&rest[..rest.len() - behind.len()], behind),
    };
    let mut shown = [scheme, slashes].concat();
    // In `https://user:a/b@host` the slash ends the host for a parser: what stands before it is the
    // user's.
    let rest = behind_odd_password(scheme, rest).unwrap_or(rest);
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

/// A place, such as a registry or the name of an image, as by [`redact`]; of one without a scheme, a user's name
/// with a password is not shown either.
pub fn redact_place(place: &str) -> String {
    const DIGESTS: [&str; 4] = ["sha256", "sha512", "sha1", "md5"];
    let shown = redact(place);
    match shown.rsplit_once('@') {
        Some((user, host))
            if !shown.contains("://")
                && user.contains(':')
                && !host.split_once(':').is_some_and(|(kind, _)| DIGESTS.contains(&kind)) =>
        {
            host.to_owned()
        }
        _ => shown,
    }
}

/// Separators of scheme and host; JSON writes `\/` as well.
const SLASHES: [char; 2] = ['/', '\\'];

/// True for schemes whose URLs libraries accept with any slashes behind the scheme.
fn is_common(scheme: &str) -> bool {
    ["http", "https", "ftp"].iter().any(|common| scheme.eq_ignore_ascii_case(common))
}

/// Place of the colon of a URL that begins a text, and has other slashes behind it than two.
fn begins_mistyped(text: &str) -> Option<usize> {
    text.find(':').filter(|colon| is_common(&text[..*colon]))
}

/// Returns the rest behind a password with an unescaped slash, which ends the host's name.
fn behind_odd_password<'a>(scheme: &str, rest: &'a str) -> Option<&'a str> {
    let end = rest.find(SLASHES)?;
    let (authority, behind) = rest.split_at(end);
    let port = authority.rsplit_once(':')?.1;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) || port.ends_with(']');
    if is_port || authority.contains(['@', '?', '#']) || !is_common(scheme.trim_end_matches(':')) {
        return None;
    }
    Some(behind.rsplit_once('@')?.1)
}

/// A text, such as another program's messages, in which the URLs are shown as by [`redact`], as far as they
/// can be told from the rest.
pub fn redact_text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, colon)) = next_url(rest) {
        let end = rest[colon..]
            .find(|letter: char| letter.is_whitespace() || "\"<>`".contains(letter))
            .map_or(rest.len(), |length| colon + length);
        shown.push_str(&rest[..start]);
        let url = &rest[start..end];
        // The quote around the URL.
        let quoted = rest[..start].ends_with('\'') && url.ends_with(['\'', ':']);
        let kept = if quoted { url.rfind('\'').unwrap_or(url.len()) } else { url.len() };
        shown.push_str(&redact(&url[..kept]));
        shown.push_str(&url[kept..]);
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
}

/// Start of the next URL in a text, and the place of its first colon.
fn next_url(text: &str) -> Option<(usize, usize)> {
    text.match_indices(':').find_map(|(colon, _)| {
        let start = text[..colon]
            .rfind(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter))
            .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
        let is_url = text[colon..].starts_with("://") || is_common(&text[start..colon]);
        // A transport that is named before the URL, as in `http::https://h`.
        let is_transport = text[colon..].starts_with("::");
        (is_url && !is_transport).then_some((start, colon))
    })
}

fn push_authority(scheme: &str, authority: &str, shown: &mut String) {
    // The last one: a password may have an unescaped `@`.
    let Some((user, host)) = authority.rsplit_once('@') else {
        shown.push_str(authority);
        return;
    };
    let scheme = scheme.trim_end_matches(':');
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
