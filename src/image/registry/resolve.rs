//! From a name to the manifest that is for the wanted platform.

use super::error::RegistryProblem;
use crate::image::digest::BlobDigest;
use crate::image::document::{
    CheckedDescriptor, DocumentError, DocumentKind, LONGEST_DOCUMENT, MANIFEST_TYPES, kind_of,
    parse_index,
};
use crate::image::load::LoadProblem;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::store::registry::manifest::{self, DocumentRequest, ManifestDocument};
use crate::store::registry::{RegistryExchangeError, RegistryWire};

/// Upper limit of nested indexes.
const DEEPEST_INDEX: usize = 4;
/// Upper limit of indexes to read, and of manifests to try, for one name.
const MOST_DOCUMENTS: usize = 32;

/// Result of resolving a name.
pub(super) struct ResolvedName {
    /// Digest of the registry's document for the name: the manifest, or an index above the
    /// manifest.
    pub(super) top: BlobDigest,
    /// Manifests that match the reference, best first; at least one.
    pub(super) candidates: Vec<Candidate>,
    /// Indexes below the top one that cannot be used, by digest.
    pub(super) problems: Vec<(String, RegistryProblem)>,
}

/// Possible manifest.
pub(super) enum Candidate {
    /// The name's own.
    Document(ManifestDocument),
    /// An entry of an index.
    Entry(CheckedDescriptor),
}

impl Candidate {
    /// The digest of the manifest.
    pub(super) fn digest(&self) -> &BlobDigest {
        match self {
            Self::Document(document) => &document.digest,
            Self::Entry(target) => &target.digest,
        }
    }

    /// Fetches the manifest.
    pub(super) fn fetch(
        &self,
        wire: &RegistryWire<'_>,
        reference: &ImageRef,
    ) -> Result<ManifestDocument, RegistryProblem> {
        match self {
            Self::Document(document) => Ok(document.clone()),
            Self::Entry(target) => fetch(wire, target, &reference.familiar()),
        }
    }
}

/// Asks for the digest of a name's document; `None` if the registry does not answer in a single
/// request.
pub(super) fn current(
    wire: &RegistryWire<'_>,
    reference: &ImageRef,
) -> Result<Option<BlobDigest>, RegistryExchangeError> {
    // A HEAD does not count as a pull in Docker Hub's rate limit.
    manifest::head(wire, &request(&name(reference), &reference.familiar()))
}

/// Succeeds if the registry has a document of that name; where HEAD tells nothing, GET settles it.
pub(super) fn look(
    wire: &RegistryWire<'_>,
    reference: &ImageRef,
) -> Result<(), RegistryExchangeError> {
    if current(wire, reference)?.is_some() {
        return Ok(());
    }
    let (name, subject) = (name(reference), reference.familiar());
    let wanted = request(&name, &subject);
    manifest::get(wire, &wanted, reference.digest(), LONGEST_DOCUMENT).map(drop)
}

/// Finds the manifests that a name may mean for a platform.
pub(super) fn resolve(
    wire: &RegistryWire<'_>,
    reference: &ImageRef,
    platform: &Platform,
) -> Result<ResolvedName, RegistryProblem> {
    let subject = reference.familiar();
    let name = name(reference);
    let first = request(&name, &subject);
    let document = manifest::get(wire, &first, reference.digest(), LONGEST_DOCUMENT)?;
    let top = document.digest.clone();
    let mut problems = Vec::new();
    let candidates = match kind_of(&document.media_type) {
        DocumentKind::Manifest => vec![Candidate::Document(document)],
        DocumentKind::Index => {
            let mut search = ManifestSearch::new(platform, Vec::new());
            let mut fitting = Vec::new();
            let index = search.read(&document, 0)?;
            search.collect(wire, index, &subject, 0, &mut fitting)?;
            let fitting = search.sorted(fitting)?;
            problems = search.problems;
            fitting.into_iter().take(MOST_DOCUMENTS).map(Candidate::Entry).collect()
        }
        DocumentKind::Other => {
            let (what, media_type) = (reference.familiar(), document.media_type);
            let problem = DocumentError::MediaType { what, media_type };
            return Err(wrong("what the registry has", problem));
        }
    };
    Ok(ResolvedName { top, candidates, problems })
}

/// Fetches the target of an index entry.
fn fetch(
    wire: &RegistryWire<'_>,
    target: &CheckedDescriptor,
    subject: &str,
) -> Result<ManifestDocument, RegistryProblem> {
    let name = target.digest.to_string();
    let next = request(&name, subject);
    let document = manifest::get(wire, &next, Some(&target.digest), LONGEST_DOCUMENT)?;
    let found = document.bytes.len() as u64;
    // The digest is right, so the index is wrong.
    if found != target.size {
        let (what, expected) = ("the manifest".to_owned(), target.size);
        return Err(LoadProblem::Size { what, expected, found }.into());
    }
    // The index is reliable; a registry's header depends on the pusher.
    Ok(ManifestDocument { media_type: target.media_type.clone(), ..document })
}

/// Returns true if a registry's document is an image or leads to an image.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_served(bytes: &[u8], wanted: &Platform) -> bool {
    let Some(media_type) = manifest::media_type(&reqwest::header::HeaderMap::new(), bytes) else {
        return false;
    };
    match kind_of(&media_type) {
        DocumentKind::Manifest => {
            crate::image::manifest::parse_manifest(bytes, &media_type).is_ok()
        }
        DocumentKind::Index => parse_index(bytes, Some(&media_type)).is_ok_and(|index| {
            let mut search = ManifestSearch::new(wanted, index.odd);
            let fitting = search.fitting(index.targets);
            search
                .sorted(fitting)
                .is_ok_and(|found| found.iter().all(|it| it.kind != DocumentKind::Other))
        }),
        DocumentKind::Other => false,
    }
}

/// The search of indexes for manifests.
struct ManifestSearch<'s> {
    wanted: &'s Platform,
    /// Entries that cannot be used, for the message.
    others: Vec<String>,
    /// Indexes that cannot be used, by digest.
    problems: Vec<(String, RegistryProblem)>,
    /// Number of indexes that were read.
    count: usize,
}

impl<'s> ManifestSearch<'s> {
    fn new(wanted: &'s Platform, others: Vec<String>) -> Self {
        Self { wanted, others, problems: Vec::new(), count: 0 }
    }

    /// Reads an index.
    fn read(
        &mut self,
        document: &ManifestDocument,
        depth: usize,
    ) -> Result<Vec<CheckedDescriptor>, RegistryProblem> {
        self.count += 1;
        if depth > DEEPEST_INDEX || self.count > MOST_DOCUMENTS {
            return Err(LoadProblem::Index { limit: MOST_DOCUMENTS as u64 }.into());
        }
        let index = parse_index(&document.bytes, Some(&document.media_type))
            .map_err(|problem| wrong("the index", problem))?;
        self.others.extend(index.odd);
        Ok(index.targets)
    }

    /// Adds the manifests to which the entries of an index lead, through others as well. An index that
    /// cannot be used leaves those beside it.
    fn collect(
        &mut self,
        wire: &RegistryWire<'_>,
        index: Vec<CheckedDescriptor>,
        subject: &str,
        depth: usize,
        found: &mut Vec<CheckedDescriptor>,
    ) -> Result<(), RegistryProblem> {
        for target in self.fitting(index) {
            if target.kind != DocumentKind::Index {
                found.push(target);
                continue;
            }
            let inner =
                fetch(wire, &target, subject).and_then(|document| self.read(&document, depth + 1));
            match inner {
                Ok(inner) => self.collect(wire, inner, subject, depth + 1, found)?,
                Err(problem) if problem.is_of_entry() => {
                    self.problems.push((target.digest.to_string(), problem));
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// The entries that may be for the platform.
    fn fitting(&mut self, targets: Vec<CheckedDescriptor>) -> Vec<CheckedDescriptor> {
        let mut fitting = Vec::new();
        for target in targets {
            match (&target.platform, target.kind) {
                (Some(platform), _) if !target.may_be_for(self.wanted) => {
                    // Attestations have no platform, which they say so.
                    if platform.os != "unknown" {
                        self.others.push(platform.to_string());
                    }
                }
                (_, DocumentKind::Other) => self.others.push(target.media_type.clone()),
                _ => fitting.push(target),
            }
        }
        fitting
    }

    /// Sorts candidates, best first; fails if none is left.
    fn sorted(
        &mut self,
        mut fitting: Vec<CheckedDescriptor>,
    ) -> Result<Vec<CheckedDescriptor>, RegistryProblem> {
        fitting.sort_by_key(|target| target.rank(self.wanted));
        if !fitting.is_empty() {
            return Ok(fitting);
        }
        if self.others.is_empty() && !self.problems.is_empty() {
            return Err(RegistryProblem::of_entries(std::mem::take(&mut self.problems)));
        }
        Err(LoadProblem::no_image_for(self.wanted, &self.others, &self.problems).into())
    }
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
