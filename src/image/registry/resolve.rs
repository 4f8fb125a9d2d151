//! From a name to the manifest that is for the wanted platform.

use super::error::RegistryProblem;
use crate::image::digest::BlobDigest;
use crate::image::document::{
    DocumentError, Kind, LONGEST_DOCUMENT, MANIFEST_TYPES, Target, kind_of, parse_index,
};
use crate::image::load::LoadProblem;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::store::registry::manifest::{self, Document, DocumentRequest};
use crate::store::registry::{ExchangeError, Wire};

/// How deep indexes may lie within each other.
const DEEPEST_INDEX: usize = 4;
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
) -> Result<Option<BlobDigest>, ExchangeError> {
    manifest::head(wire, &request(&name(reference), &reference.familiar()))
}

/// Fetches the manifest that a name means for a platform.
pub(super) fn resolve(
    wire: &Wire<'_>,
    reference: &ImageRef,
    platform: &Platform,
) -> Result<Resolved, RegistryProblem> {
    let subject = reference.familiar();
    let name = name(reference);
    let first = request(&name, &subject);
    let mut document = manifest::get(wire, &first, reference.digest(), LONGEST_DOCUMENT)?;
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
        let name = chosen.digest.to_string();
        let next = request(&name, &subject);
        document = manifest::get(wire, &next, Some(&chosen.digest), LONGEST_DOCUMENT)?;
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
    let Some(media_type) = manifest::media_type(&reqwest::header::HeaderMap::new(), bytes) else {
        return false;
    };
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

fn request<'r>(name: &'r str, subject: &'r str) -> DocumentRequest<'r> {
    DocumentRequest { name, accept: &MANIFEST_TYPES, subject }
}

fn name(reference: &ImageRef) -> String {
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    }
}

fn wrong(what: &str, problem: DocumentError) -> RegistryProblem {
    LoadProblem::Document { what: what.to_owned(), problem }.into()
}
