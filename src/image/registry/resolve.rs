//! From a name to the manifest that is for the wanted platform.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::error::RegistryProblem;
use super::wire::{Access, Ask, Content, Failure, ReadAll, Wire, read_all, shown};
use crate::base::digest::Sha256Sum;
use crate::image::digest::BlobDigest;
use crate::image::document::{
    DocumentError, Kind, LONGEST_DOCUMENT, MANIFEST_TYPES, Target, kind_of, parse_index,
};
use crate::image::load::LoadProblem;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;

/// How deep indexes may lie within each other.
const DEEPEST_INDEX: usize = 4;
/// The header in which registries say what they give.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A document as a registry gave it, whose digest has been checked if one was known.
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: BlobDigest,
    pub(super) media_type: String,
}

/// What a name means.
pub(super) struct Resolved {
    /// What the registry has under the name: the manifest, or an index that leads to it.
    pub(super) top: BlobDigest,
    /// The manifest.
    pub(super) manifest: Document,
}

/// Asks which document a name means; `None` if the registry doesn't tell in one request.
pub(super) fn current(
    wire: &Wire<'_>,
    reference: &ImageRef,
) -> Result<Option<BlobDigest>, RegistryProblem> {
    let url = wire.endpoint.url(&format!("manifests/{}", name(reference)));
    let ask = Ask {
        method: Method::HEAD,
        url: &url,
        access: Access::Pull,
        also: None,
        headers: accept(),
        body: Content::None,
    };
    match wire.ask(&subject(reference), &ask) {
        Ok((head, _answer)) => Ok(digest_said(&head.headers)),
        Err(RegistryProblem::Status { .. }) => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Fetches the manifest that a name means for a platform.
pub(super) fn resolve(
    wire: &Wire<'_>,
    reference: &ImageRef,
    platform: &Platform,
) -> Result<Resolved, RegistryProblem> {
    let subject = subject(reference);
    let mut document = fetch(wire, &subject, &name(reference), reference.digest())?;
    let top = document.digest.clone();
    for _depth in 0..=DEEPEST_INDEX {
        match kind_of(&document.media_type) {
            Kind::Manifest => return Ok(Resolved { top, manifest: document }),
            Kind::Index => {}
            Kind::Other => {
                let problem = DocumentError::MediaType {
                    what: reference.familiar(),
                    media_type: document.media_type,
                };
                return Err(wrong("what the registry has", problem));
            }
        }
        let targets = parse_index(&document.bytes, Some(&document.media_type))
            .map_err(|problem| wrong("the index", problem))?;
        let chosen = choose(targets, platform)?;
        document = fetch(wire, &subject, &chosen.digest.to_string(), Some(&chosen.digest))?;
        if document.bytes.len() as u64 != chosen.size {
            let (what, expected) = ("the manifest".to_owned(), chosen.size);
            let found = document.bytes.len() as u64;
            return Err(LoadProblem::Size { what, expected, found }.into());
        }
        // The index knows; a registry's header is only what somebody has told it.
        document.media_type = chosen.media_type;
    }
    Err(LoadProblem::Index { limit: DEEPEST_INDEX as u64 }.into())
}

/// What a registry's document comes to, whatever it is: whether it leads to an image, or is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_served(bytes: &[u8], wanted: &Platform) -> bool {
    let Some(media_type) = media_type(&HeaderMap::new(), bytes) else { return false };
    match kind_of(&media_type) {
        Kind::Manifest => crate::image::document::parse_manifest(bytes, &media_type).is_ok(),
        Kind::Index => parse_index(bytes, Some(&media_type)).is_ok_and(|targets| {
            choose(targets, wanted).is_ok_and(|chosen| chosen.kind != Kind::Other)
        }),
        Kind::Other => false,
    }
}

/// The entry of an index that suits a platform best.
fn choose(targets: Vec<Target>, wanted: &Platform) -> Result<Target, RegistryProblem> {
    let mut others = Vec::new();
    let mut fitting = Vec::new();
    for target in targets {
        match (&target.platform, target.kind) {
            (Some(platform), _) if !wanted.accepts(platform) || !variant_fits(wanted, platform) => {
                // Attestations have no platform, which they say so.
                if platform.os != "unknown" {
                    others.push(platform.to_string());
                }
            }
            (_, Kind::Other) => others.push(target.media_type.clone()),
            _ => fitting.push(target),
        }
    }
    fitting.sort_by_key(|target| match &target.platform {
        Some(platform) => (0, platform.distance()),
        None => (1, 0),
    });
    fitting.into_iter().next().ok_or_else(|| {
        others.sort();
        others.dedup();
        LoadProblem::Platform { wanted: wanted.clone(), found: others }.into()
    })
}

/// A variant that is asked for has to be had.
fn variant_fits(wanted: &Platform, found: &Platform) -> bool {
    wanted.variant.is_none() || found.variant.is_none() || wanted.variant == found.variant
}

fn fetch(
    wire: &Wire<'_>,
    subject: &str,
    name: &str,
    expected: Option<&BlobDigest>,
) -> Result<Document, RegistryProblem> {
    let url = wire.endpoint.url(&format!("manifests/{name}"));
    let ask = Ask {
        method: Method::GET,
        url: &url,
        access: Access::Pull,
        also: None,
        headers: accept(),
        body: Content::None,
    };
    let (headers, bytes) = wire.retrying(subject, &url, || {
        let (head, answer) = wire.once(&ask)?;
        let bytes = read_all(&answer, LONGEST_DOCUMENT).map_err(|problem| match problem {
            ReadAll::Broken(broken) => wire.broken(broken),
            ReadAll::TooLong(bytes) => {
                let what = "the manifest".to_owned();
                Failure::Lasting(LoadProblem::LongDocument { what, bytes }.into())
            }
        })?;
        Ok((head.headers, bytes))
    })?;
    let found = BlobDigest::from(Sha256Sum::of(&bytes));
    let said = digest_said(&headers);
    if let Some(expected) = expected.or(said.as_ref())
        && *expected != found
    {
        let (what, expected) = ("the manifest".to_owned(), expected.clone());
        return Err(LoadProblem::Digest { what, expected, found }.into());
    }
    let media_type = media_type(&headers, &bytes).ok_or_else(|| RegistryProblem::Protocol {
        url: shown(&url),
        reason: "the registry answers with something else than a manifest".to_owned(),
    })?;
    Ok(Document { bytes, digest: found, media_type })
}

fn name(reference: &ImageRef) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}

/// What events call the documents of an image.
fn subject(reference: &ImageRef) -> String {
    reference.familiar()
}

fn accept() -> HeaderMap {
    let kinds = HeaderValue::from_str(&MANIFEST_TYPES.join(", "));
    kinds.into_iter().map(|kinds| (ACCEPT, kinds)).collect()
}

fn digest_said(headers: &HeaderMap) -> Option<BlobDigest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.trim().parse().ok()
}

/// A document's media type: as it says itself, else as the registry does.
fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let own = document.get("mediaType").and_then(serde_json::Value::as_str);
    let header = || {
        let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(text.split(';').next().unwrap_or_default().trim())
    };
    own.or_else(header).map(str::to_owned)
}

fn wrong(what: &str, problem: DocumentError) -> RegistryProblem {
    LoadProblem::Document { what: what.to_owned(), problem }.into()
}
