//! Challenges of a registry's 401: `WWW-Authenticate` (RFC 9110, 11.6.1). The header comes from outside
//! and is read up to a limit.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Upper limit of a header's length in bytes.
const LONGEST: usize = 8 * 1024;

/// Upper limit of a registry's scopes beyond those of a request.
const MOST_SCOPES: usize = 16;

/// Kind of credentials that a registry demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token of a token server, by name and password or anonymous.
    Bearer {
        /// The token server's URL, as written.
        realm: String,
        /// The registry's name at the token server.
        service: Option<String>,
        /// Scope of the token, if the registry names one.
        scope: Option<String>,
        /// True if a token was for too little (RFC 6750, 3.1).
        is_insufficient: bool,
    },
}

/// Returns the known challenges of a header, in their order.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    if header.len() > LONGEST {
        return Vec::new();
    }
    let mut found: Vec<Scheme> = Vec::new();
    let mut rest = header;
    while let Some(item) = next_item(&mut rest) {
        match (item, found.last_mut()) {
            (ChallengePart::Scheme(name), _) => found.push(Scheme { name, parameters: Vec::new() }),
            (ChallengePart::Parameter(name, value), Some(scheme)) => {
                scheme.parameters.push((name, value));
            }
            (ChallengePart::Parameter(..), None) => return Vec::new(),
        }
    }
    found.into_iter().filter_map(Scheme::understood).collect()
}

/// Returns the challenges of an answer.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter();
    texts.filter_map(|text| text.to_str().ok()).flat_map(parse).collect()
}

pub(super) fn is_insufficient(challenge: &Challenge) -> bool {
    matches!(challenge, Challenge::Bearer { is_insufficient: true, .. })
}

/// Returns the requested scopes that a token lacks.
pub(super) fn missing_scopes(asked: &[Challenge], had: &[String]) -> Vec<String> {
    let scopes = asked.iter().filter_map(|challenge| match challenge {
        Challenge::Bearer { scope, .. } => scope.as_deref(),
        Challenge::Basic => None,
    });
    let words = scopes.flat_map(str::split_whitespace).map(str::to_owned);
    words.filter(|scope| !had.contains(scope)).take(MOST_SCOPES).collect()
}

struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn understood(self) -> Option<Challenge> {
        if self.name.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !self.name.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |wanted: &str| {
            let same = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
            self.parameters.iter().find(same).map(|(_, value)| value.clone())
        };
        let realm = parameter("realm")?;
        let is_insufficient = parameter("error").is_some_and(|error| error == "insufficient_scope");
        let (service, scope) = (parameter("service"), parameter("scope"));
        Some(Challenge::Bearer { realm, service, scope, is_insufficient })
    }
}

enum ChallengePart {
    Scheme(String),
    Parameter(String, String),
}

/// Takes the next scheme or parameter off the text; `None` at its end, or where it makes no sense.
fn next_item(rest: &mut &str) -> Option<ChallengePart> {
    *rest = rest.trim_start_matches([' ', '\t', ',']);
    let end = rest.find(|letter| !is_token(letter)).unwrap_or(rest.len());
    if end == 0 {
        return None;
    }
    let (word, behind) = rest.split_at(end);
    let after = behind.trim_start_matches([' ', '\t']);
    let Some(value) = after.strip_prefix('=') else {
        *rest = behind;
        return Some(ChallengePart::Scheme(word.to_owned()));
    };
    let value = value.trim_start_matches([' ', '\t']);
    let (value, behind) = if let Some(quoted) = value.strip_prefix('"') {
        unquote(quoted)?
    } else {
        let end = value.find(|letter| !is_token(letter)).unwrap_or(value.len());
        (value[..end].to_owned(), &value[end..])
    };
    *rest = behind;
    Some(ChallengePart::Parameter(word.to_owned(), value))
}

fn is_token(letter: char) -> bool {
    // The letters of a token (RFC 9110, 5.6.2), with `/` and `:`, as some write URLs without
    // quotes.
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(letter)
}

/// Returns the text of a quoted string, and the rest behind.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_real_registries_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
            is_insufficient: scope.is_none_or(|scope| !scope.starts_with("repo"))
                && scope.is_some(),
        };
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push""#;
        for (header, expected) in [
            (r#"Basic realm="basic-realm""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                hub,
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/x:pull,push"),
                )],
            ),
            (
                r#"Bearer realm="https://a/",error="insufficient_scope",scope="special""#,
                vec![bearer("https://a/", None, Some("special"))],
            ),
            (
                r#"Negotiate, bEARER Realm = "https://a/\"t\"" , error="invalid_token", Basic realm=x"#,
                vec![bearer("https://a/\"t\"", None, None), Challenge::Basic],
            ),
            ("Bearer service=x", vec![]),
            (r#"Bearer realm="unclosed"#, vec![]),
            (r#"realm="x""#, vec![]),
            ("", vec![]),
            ("=,=,", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
        assert!(parse(&"Basic ".repeat(5000)).is_empty());
    }
}
