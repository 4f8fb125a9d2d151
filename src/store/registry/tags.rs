//! The tags of a repository, page by page (distribution specification, "Listing Tags").

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};

use super::error::RegistryExchangeError;
use super::reply::{ReadAll, read_all, shown};
use super::transport::RegistryFailure;
use super::wire::{Ask, RegistryAccess, RegistryWire};

/// Number of tags that a page is asked for. Old registries give all at once.
const PAGE: u32 = 1000;
/// Upper limit of a page's length in bytes.
const LONGEST_PAGE: u64 = 32 << 20;
/// Upper limit of the number of tags.
const MOST: usize = 1_000_000;
/// Upper limit of the number of pages: a registry might have no last one.
const MOST_PAGES: u32 = 100_000;

/// A page of tags. Without any, some registries write null.
#[derive(serde::Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// Returns all tags of the repository.
pub(crate) fn all(
    wire: &RegistryWire<'_>,
    subject: &str,
) -> Result<BTreeSet<String>, RegistryExchangeError> {
    let mut url = wire.endpoint.url(&format!("tags/list?n={PAGE}"));
    let mut found = BTreeSet::new();
    for _ in 0..MOST_PAGES {
        let (tags, next) = page(wire, &url, subject)?;
        found.extend(tags);
        if found.len() > MOST {
            return Err(protocol(&url, "the repository has more than a million tags"));
        }
        match next {
            Some(next) => url = next,
            None => return Ok(found),
        }
    }
    Err(protocol(&url, "the list of tags has no end"))
}

/// Returns the tags of one page, and the URL of the next.
fn page(
    wire: &RegistryWire<'_>,
    url: &str,
    subject: &str,
) -> Result<(Vec<String>, Option<String>), RegistryExchangeError> {
    let ask = Ask::new(Method::GET, url, RegistryAccess::Pull);
    let (headers, bytes) = wire.retrying(subject, url, || {
        let (head, answer) = wire.once(&ask)?;
        let bytes = read_all(&answer, LONGEST_PAGE).map_err(|problem| match problem {
            ReadAll::Broken(broken) => wire.transport.broken(broken),
            ReadAll::TooLong(bytes) => {
                let (what, limit) = ("the list of tags".to_owned(), LONGEST_PAGE);
                RegistryFailure::Lasting(RegistryExchangeError::LongDocument { what, bytes, limit })
            }
        })?;
        Ok((head.headers, bytes))
    })?;
    let page: Page = serde_json::from_slice(&bytes)
        .map_err(|_error| protocol(url, "the registry answers with something else than tags"))?;
    Ok((page.tags.unwrap_or_default(), next(url, &headers)?))
}

/// Returns the URL of the next page, which the same repository has to have.
fn next(url: &str, headers: &HeaderMap) -> Result<Option<String>, RegistryExchangeError> {
    let links = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    let Some(target) = links.flat_map(|link| link.split(',')).find_map(next_target) else {
        return Ok(None);
    };
    let next = Url::parse(url).and_then(|here| Ok((here.join(target)?, here)));
    match next {
        // Credentials go along: a link must not lead them to another server or repository.
        Ok((next, here)) if next.origin() == here.origin() && next.path() == here.path() => {
            Ok(Some(next.into()))
        }
        _ => Err(protocol(url, "the next page of tags would be at another place")),
    }
}

/// Returns the target of a link (RFC 8288) to the next page.
fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| {
        let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    };
    parameters.split(';').any(is_next).then_some(target)
}

fn protocol(url: &str, reason: &str) -> RegistryExchangeError {
    RegistryExchangeError::Protocol { url: shown(url), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_of_the_same_repository() {
        let url = "https://h:1/v2/a/b/tags/list?n=2";
        let next = |link: &str| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            next(url, &headers).map_err(|error| error.to_string())
        };
        let expected = Ok(Some("https://h:1/v2/a/b/tags/list?n=2&last=x".to_owned()));
        for link in [
            r#"</v2/a/b/tags/list?n=2&last=x>; rel="next""#,
            r"<https://h:1/v2/a/b/tags/list?n=2&last=x>;rel=next",
            r#"</other>; rel="prev", <?n=2&last=x>; title="t"; REL="Next""#,
        ] {
            assert_eq!(next(link), expected, "{link}");
        }
        for link in ["", "</v2/a/b/tags/list>", r#"<x>; rel="prev""#, r#"x; rel="next""#] {
            assert_eq!(next(link), Ok(None), "{link}");
        }
        for link in ["//other/v2/a/b/tags/list", "http://h:1/v2/a/b/tags/list", "/v2/c/tags/list"] {
            assert!(next(&format!(r#"<{link}>; rel="next""#)).is_err(), "{link}");
        }
    }
}
