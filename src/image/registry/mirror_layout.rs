//! Layouts of mirrors: an OCI layout below `images/`, in a folder, an archive or on a web server
//! (docs/format.md, "Mirrors").
//!
//! The index gives the manifest of a name, as in any layout; all below is checked by digests, as of a layout
//! that is loaded.

use std::path::Path;

use serde_json::json;

use super::error::RegistryProblem;
use super::options::{Pull, PulledImage};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::Event;
use crate::image::digest::BlobDigest;
use crate::image::document::{
    CheckedDescriptor, DocumentError, DocumentKind, LONGEST_DOCUMENT, REF_NAME, ReferencedBlob,
    parse_index,
};
use crate::image::load::{ImageSelection, LoadError, LoadInput, LoadOptions, LoadProblem, Naming};
use crate::image::location::ImageForm;
use crate::image::manifest::{ImageManifest, parse_manifest};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::store::{Backend, FailureKind, ObjectKey, StoreError, StoreTransfer};

/// Folder of a mirror that is an OCI layout.
pub const IMAGES: &str = "images";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A mirror does not give an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum MirrorProblem {
    /// A document or blob cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] StoreError),
    /// What came is not what it should be.
    #[error("{name} in {place} is damaged and was not used")]
    Damaged {
        name: String,
        place: String,
        #[source]
        problem: Box<LoadProblem>,
    },
    /// The fault is this machine's.
    #[error(transparent)]
    Local(LoadProblem),
}

impl MirrorProblem {
    pub(super) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Fetch(error) => Some(error.kind()).filter(|kind| *kind != FailureKind::Local),
            // As a refusal, after which the next place is asked: a damaged mirror must not stop a
            // build.
            Self::Damaged { .. } => Some(FailureKind::Denied),
            Self::Local(_) => None,
        }
    }

    pub(super) fn into_problem(self) -> RegistryProblem {
        match self {
            Self::Fetch(StoreError::Interrupted) => RegistryProblem::Exchange(
                crate::store::registry::RegistryExchangeError::Interrupted,
            ),
            Self::Fetch(error) => RegistryProblem::Keep(std::io::Error::other(error)),
            Self::Damaged { problem, .. } => RegistryProblem::Content(*problem),
            Self::Local(problem) => RegistryProblem::Content(problem),
        }
    }
}

/// The layout of a mirror.
pub(super) struct MirrorLayout<'l> {
    pub(super) place: &'l dyn Backend,
    pub(super) transfer: &'l StoreTransfer<'l>,
}

impl MirrorLayout<'_> {
    fn damaged(&self, name: &str, problem: LoadProblem) -> MirrorProblem {
        let (name, place) = (name.to_owned(), self.place.name());
        MirrorProblem::Damaged { name, place, problem: Box::new(problem) }
    }

    /// The problem with a file to which a document leads: that it is missing is damage.
    fn needed(&self, name: &str, problem: MirrorProblem) -> MirrorProblem {
        match problem {
            MirrorProblem::Fetch(error) if error.is_not_found() => {
                let (what, place) = ("the image".to_owned(), name.to_owned());
                self.damaged(name, LoadProblem::Missing { what, name: place })
            }
            problem => problem,
        }
    }

    /// Reads a document, which is short.
    fn document(&self, name: &str) -> Result<Vec<u8>, MirrorProblem> {
        let mut bytes = Vec::new();
        // One byte more than allowed, so that a longer document is told from a whole one.
        self.place.get_range(&key(name), 0..LONGEST_DOCUMENT + 1, &mut bytes, self.transfer)?;
        if bytes.is_empty() {
            // Of an empty range a server cannot say that the file is missing.
            self.place.head(&key(name), self.transfer)?;
        }
        let length = bytes.len() as u64;
        if length > LONGEST_DOCUMENT {
            let what = name.to_owned();
            return Err(self.damaged(name, LoadProblem::LongDocument { what, bytes: length }));
        }
        Ok(bytes)
    }

    pub(super) fn find(
        &self,
        reference: &ImageRef,
        platform: &Platform,
    ) -> Result<Vec<CheckedDescriptor>, MirrorProblem> {
        let name = format!("{IMAGES}/index.json");
        let bytes = self.document(&name)?;
        self.select(&name, &bytes, platform, |target| {
            let names = target.full_name.iter().chain(&target.ref_name);
            // Content is what a digest names, under whatever name the mirror has it.
            if reference.digest() == Some(&target.digest) {
                return true;
            }
            target.may_be_for(platform)
                && names
                    .filter_map(|name| name.parse().ok())
                    .any(|name: ImageRef| name == *reference)
        })
    }

    /// The manifests of an index that are wanted, the most suitable first.
    pub(super) fn select(
        &self,
        name: &str,
        bytes: &[u8],
        platform: &Platform,
        is_it: impl Fn(&CheckedDescriptor) -> bool,
    ) -> Result<Vec<CheckedDescriptor>, MirrorProblem> {
        let mut targets = parse_index(bytes, None)
            .map_err(|problem| self.damaged(name, document("the index", problem)))?
            .targets;
        targets.retain(|target| target.kind == DocumentKind::Manifest && is_it(target));
        targets.sort_by_key(|target| target.rank(platform));
        Ok(targets)
    }

    /// Takes an image into the store.
    pub(super) fn take(
        &self,
        pull: &Pull<'_>,
        of_tree: bool,
    ) -> Result<Option<PulledImage>, MirrorProblem> {
        self.take_first(pull, &self.find(pull.reference, &pull.options.platform)?, of_tree)
    }

    /// Takes the first image that can be used into the store; `None` if there is none at all.
    pub(super) fn take_first(
        &self,
        pull: &Pull<'_>,
        targets: &[CheckedDescriptor],
        of_tree: bool,
    ) -> Result<Option<PulledImage>, MirrorProblem> {
        let mut problems = Vec::new();
        for target in targets {
            match self.take_target(pull, target, of_tree) {
                Err(MirrorProblem::Damaged { name, problem, .. }) if problem.is_of_entry() => {
                    problems.push((name, *problem));
                }
                taken => {
                    self.warn_of(&problems);
                    return taken;
                }
            }
        }
        match problems.as_slice() {
            [] => Ok(None),
            [(name, _)] => {
                let name = name.clone();
                Err(self.damaged(&name, LoadProblem::of_entries(problems)))
            }
            _ => {
                let name = format!("the image {}", pull.reference.familiar());
                Err(self.damaged(&name, LoadProblem::of_entries(problems)))
            }
        }
    }

    /// Warns of damaged entries beside an image; those of other platforms are nothing to speak of.
    fn warn_of(&self, problems: &[(String, LoadProblem)]) {
        for (name, problem) in problems.iter().filter(|(_, it)| !it.is_of_another_kind()) {
            let place = self.place.name();
            let message = format!("{name} in {place} was passed over: {}", with_causes(problem));
            let subject = self.transfer.subject.to_owned();
            self.transfer.observer.event(Event::Warning { subject, message });
        }
    }

    fn take_target(
        &self,
        pull: &Pull<'_>,
        target: &CheckedDescriptor,
        of_tree: bool,
    ) -> Result<Option<PulledImage>, MirrorProblem> {
        let Pull { store, reference, options, observer, .. } = *pull;
        let local =
            |error: crate::image::store::ImageStoreError| MirrorProblem::Local(error.into());
        let names = if of_tree { Vec::new() } else { vec![reference.clone()] };
        let known = match store.find_manifest(&target.digest) {
            Err(error) if error.is_damage() => None,
            other => other.map_err(local)?,
        };
        if let Some(image) = known {
            let was_there = names.iter().all(|name| image.references.contains(name));
            if !was_there {
                store.name(&image, &names, observer).map_err(local)?;
            }
            let (reference, manifest) = (reference.clone(), image.manifest);
            return Ok(Some(PulledImage { reference, id: image.id, manifest, was_there }));
        }
        // In the store's folder: blobs that the store has are hard links, which need the same
        // filesystem.
        let staged = store.staging_folder(observer).map_err(local)?;
        let folder = staged.folder.path().join("layout");
        self.gather(pull, target, &folder)?;
        let load = LoadOptions {
            form: Some(ImageForm::Oci),
            selection: ImageSelection::All,
            naming: if of_tree { Naming::Nameless } else { Naming::As(reference.clone()) },
            platform: options.platform.clone(),
            limits: options.limits,
        };
        let loaded = store.load(LoadInput::Path(&folder), &load, observer);
        let loaded = loaded.map_err(|LoadError { problem, .. }| match problem {
            // The user's own limit says nothing about the mirror.
            problem @ (LoadProblem::Store(_) | LoadProblem::Write(_) | LoadProblem::Limit(_)) => {
                MirrorProblem::Local(problem)
            }
            problem => self.damaged(&format!("the image {}", reference.familiar()), problem),
        })?;
        let Some(image) = loaded.into_iter().next() else { return Ok(None) };
        let (reference, manifest) = (reference.clone(), image.manifest);
        Ok(Some(PulledImage { reference, id: image.id, manifest, was_there: false }))
    }

    /// Makes a layout with one image of the mirror, for loading.
    fn gather(
        &self,
        pull: &Pull<'_>,
        target: &CheckedDescriptor,
        folder: &Path,
    ) -> Result<(), MirrorProblem> {
        let written = |error| MirrorProblem::Local(LoadProblem::Write(error));
        fs_err::create_dir_all(folder.join("blobs/sha256")).map_err(written)?;
        let name = blob_name(&target.digest);
        let bytes = self.document(&name).map_err(|problem| self.needed(&name, problem))?;
        let found = BlobDigest::from(Sha256Sum::of(&bytes));
        if found != target.digest {
            let (what, expected) = ("the manifest".to_owned(), target.digest.clone());
            return Err(self.damaged(&name, LoadProblem::Digest { what, expected, found }));
        }
        let manifest = parse_manifest(&bytes, &target.media_type)
            .map_err(|problem| self.damaged(&name, document("the manifest", problem)))?;
        self.check_sizes(pull, &manifest, &name)?;
        let path = |digest: &BlobDigest| folder.join("blobs/sha256").join(digest.hex());
        fs_err::write(path(&target.digest), bytes).map_err(written)?;
        let layers = manifest.layers.iter().map(|layer| &layer.content);
        for content in std::iter::once(&manifest.config).chain(layers) {
            let path = path(&content.digest);
            if path.exists() {
                continue;
            }
            let own = pull.store.blob_path(&content.digest);
            let is_there = fs_err::metadata(&own).is_ok_and(|data| data.len() == content.size);
            if is_there && fs_err::hard_link(&own, &path).is_ok() {
                continue;
            }
            let name = blob_name(&content.digest);
            self.fetch(content, &path).map_err(|problem| self.needed(&name, problem))?;
        }
        let entry = json!({
            "mediaType": target.media_type, "digest": target.digest, "size": target.size,
            "annotations": { REF_NAME: pull.reference.to_string() },
        });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        fs_err::write(folder.join("oci-layout"), LAYOUT_TEXT).map_err(written)?;
        fs_err::write(folder.join("index.json"), index).map_err(written)
    }

    fn fetch(&self, content: &ReferencedBlob, path: &Path) -> Result<(), MirrorProblem> {
        let name = blob_name(&content.digest);
        let wrong = |found| {
            let (what, expected) = (name.clone(), content.size);
            self.damaged(&name, LoadProblem::Size { what, expected, found })
        };
        // A wrong length is told before gigabytes of it come.
        let head = self.place.head(&key(&name), self.transfer)?;
        if let Some(found) = head.size.filter(|found| *found != content.size) {
            return Err(wrong(found));
        }
        let file = fs_err::OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let written = |error| MirrorProblem::Local(LoadProblem::Write(error));
        let mut file = file.map_err(written)?.into_parts().0;
        let got = self.place.get(&key(&name), &mut file, self.transfer)?;
        if got.bytes == content.size { Ok(()) } else { Err(wrong(got.bytes)) }
    }

    /// Refuses what says itself that it is too large, before any of it comes.
    fn check_sizes(
        &self,
        pull: &Pull<'_>,
        manifest: &ImageManifest,
        name: &str,
    ) -> Result<(), MirrorProblem> {
        pull.check_sizes(manifest).map_err(|problem| match problem {
            // The user's own limit says nothing about the mirror.
            problem @ LoadProblem::Limit(_) => MirrorProblem::Local(problem),
            problem => self.damaged(name, problem),
        })
    }
}

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap_or_else(|_| unreachable!("names in a layout are valid in a store"))
}

fn blob_name(digest: &BlobDigest) -> String {
    format!("{IMAGES}/blobs/sha256/{}", digest.hex())
}

fn document(what: &str, problem: DocumentError) -> LoadProblem {
    LoadProblem::Document { what: what.to_owned(), problem }
}
