//! Pulling: an image of a registry into the store.

use std::path::Path;

use super::client::{Client, MirrorWarnings};
use super::error::{RegistryError, RegistryProblem, Verb};
use super::fetch::{FetchedLayers, blob_of_store, fetch_document};
use super::options::{Pull, PullOptions, PulledImage, Unpacker};
use super::partial::Partials;
use super::resolve::{self, ResolvedName};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer};
use crate::image::config::ImageConfig;
use crate::image::digest::BlobDigest;
use crate::image::load::{
    Blob, LoadProblem, StagedImage, Staging, check_count_of_layers, check_layers, check_platform,
};
use crate::image::manifest::{ImageManifest, parse_manifest};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::store::{Image, ImageStore};
use crate::store::registry::manifest::ManifestDocument;
use crate::store::registry::{BlobRequest, RegistryWire};

impl Client {
    /// Pulls an image into the store under its name (or without a name, where a tree's
    /// configuration determines the location:
    /// [`RegistryConfig`](crate::store::registry::RegistryConfig)), unless the store has the
    /// registry's current manifest. Configured mirrors are asked first. With an `unpacker`,
    /// downloaded layers are unpacked too.
    pub fn pull(
        &self,
        store: &ImageStore,
        reference: &ImageRef,
        options: &PullOptions,
        unpacker: Option<&dyn Unpacker>,
        observer: &dyn Observer,
    ) -> Result<PulledImage, RegistryError> {
        let pull = Pull { store, reference, options, unpacker, observer };
        let known = pull.known().map_err(|problem| RegistryError {
            verb: Verb::Pull,
            reference: Box::new(reference.clone()),
            host: reference.registry().to_owned(),
            problem: Box::new(problem),
        })?;
        if let Some((image, _)) = &known
            && reference.digest().is_some()
        {
            // The content of a digest never changes.
            return Ok(pull.there(image));
        }
        if let Some(pulled) = self.pull_mirrored(store, reference, options, observer)? {
            return Ok(pulled);
        }
        self.ask_places(reference, MirrorWarnings::All, observer, |wire| {
            pull.from(wire, known.as_ref())
        })
    }

    /// Asks if a mirror or the registry itself has an image of that name. The registry itself has the
    /// last word: a mirror that cannot be asked is named in a warning.
    pub fn has(
        &self,
        reference: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<bool, RegistryError> {
        match self.look(reference, observer) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Requests the manifest of an image, and nothing else; a missing one is an error.
    pub fn look(&self, reference: &ImageRef, observer: &dyn Observer) -> Result<(), RegistryError> {
        let ask = |wire: &RegistryWire<'_>| Ok(resolve::look(wire, reference)?);
        self.ask_places(reference, MirrorWarnings::Faults, observer, ask)
    }
}

impl Pull<'_> {
    /// Pulls the image from one place.
    fn from(
        &self,
        wire: &RegistryWire<'_>,
        known: Option<&(Image, BlobDigest)>,
    ) -> Result<PulledImage, RegistryProblem> {
        if let Some((image, top)) = known {
            match resolve::current(wire, self.reference)? {
                // The digest of the index, if there is one: HEAD of a tag tells that, not the
                // platform's manifest.
                Some(current) if current == *top => return Ok(self.there(image)),
                Some(_) => {}
                None => self.observer.event(Event::Note {
                    message: format!(
                        "{} does not answer a HEAD request with a digest, so the manifest of {} is fetched anew",
                        self.reference.registry(),
                        self.reference.familiar()
                    ),
                }),
            }
        }
        let ResolvedName { top, candidates, mut problems } =
            resolve::resolve(wire, self.reference, &self.options.platform)?;
        let names = if wire.is_of_tree() { Vec::new() } else { vec![self.reference.clone()] };
        for candidate in &candidates {
            let taken = candidate
                .fetch(wire, self.reference)
                .and_then(|manifest| self.take(wire, &top, &manifest, names.clone()));
            match taken {
                // An index need not say for which platform an entry is; the configuration does.
                Err(problem) if problem.is_of_entry() => {
                    problems.push((candidate.digest().to_string(), problem));
                }
                Err(problem) => return Err(problem),
                Ok(pulled) => {
                    self.warn_of(&problems);
                    return Ok(pulled);
                }
            }
        }
        Err(RegistryProblem::of_entries(problems))
    }

    /// Warns of damaged entries beside an image; those of other platforms are nothing to speak of.
    fn warn_of(&self, problems: &[(String, RegistryProblem)]) {
        for (entry, problem) in problems {
            if matches!(problem, RegistryProblem::Content(it) if it.is_of_another_kind()) {
                continue;
            }
            let subject = self.reference.familiar();
            let message = format!("{entry} of its index was passed over: {}", with_causes(problem));
            self.observer.event(Event::Warning { subject, message });
        }
    }

    /// Returns the store's image of that name, if the platform matches. A damaged image counts as
    /// missing.
    fn known(&self) -> Result<Option<(Image, BlobDigest)>, RegistryProblem> {
        let known = match self.store.pulled(self.reference) {
            Err(error) if error.is_damage() => None,
            other => other?,
        };
        let wanted = &self.options.platform;
        // A configuration seldom names its variant, so a wanted variant leads to a request.
        let same = |found: &Platform| wanted.variant.is_none() || wanted.variant == found.variant;
        Ok(known.filter(|(image, _)| wanted.accepts(&image.platform) && same(&image.platform)))
    }

    fn there(&self, image: &Image) -> PulledImage {
        PulledImage {
            reference: self.reference.clone(),
            id: image.id.clone(),
            manifest: image.manifest.clone(),
            was_there: true,
        }
    }

    /// Downloads the missing parts of an image, checks them, and commits the image to the store.
    fn take(
        &self,
        wire: &RegistryWire<'_>,
        top: &BlobDigest,
        document: &ManifestDocument,
        names: Vec<ImageRef>,
    ) -> Result<PulledImage, RegistryProblem> {
        let staged = self.store.staging_folder(self.observer)?;
        let folder = staged.folder.path();
        let partials = Partials::of(self.store.folder());
        let mut staging = Staging::new(folder, self.options.limits);
        // As it came, byte for byte: its digest is the image's name in registries.
        let manifest = staging.add_bytes(&document.bytes)?;
        let parsed = parse_manifest(&document.bytes, &document.media_type).map_err(|problem| {
            LoadProblem::Document { what: "the manifest".to_owned(), problem }
        })?;
        self.check_sizes(&parsed)?;
        let config = self.config(wire, &parsed, folder, &partials)?;
        let bytes = fs_err::read(&config.path).map_err(RegistryProblem::Keep)?;
        let image = ImageConfig::parse(&bytes).map_err(LoadProblem::from)?;
        check_platform(&image, &self.options.platform)?;
        check_count_of_layers(&image, parsed.layers.len())?;
        let layers = FetchedLayers::new(self, &parsed, &image, folder, &partials)?;
        let mut content = layers.fetch(wire)?;
        check_layers(&image, &content)?;
        content.push(config);
        let blobs: Vec<BlobDigest> = content.iter().map(|blob| blob.digest.clone()).collect();
        let found = StagedImage {
            names,
            called: Vec::new(),
            id: parsed.config.digest.sum().clone().into(),
            media_type: document.media_type.clone(),
            manifest,
            platform: image.platform,
            index: Some(top.clone()).filter(|top| *top != document.digest),
            content,
        };
        self.store.commit(std::slice::from_ref(&found), self.observer)?;
        for digest in &blobs {
            // After the commit: a run that is cut off before has all bytes for the next one.
            partials.forget(digest);
        }
        partials.sweep();
        Ok(PulledImage {
            reference: self.reference.clone(),
            id: found.id,
            manifest: document.digest.clone(),
            was_there: false,
        })
    }

    fn config(
        &self,
        wire: &RegistryWire<'_>,
        manifest: &ImageManifest,
        folder: &Path,
        partials: &Partials,
    ) -> Result<Blob, RegistryProblem> {
        let wanted = BlobRequest {
            digest: manifest.config.digest.clone(),
            size: manifest.config.size,
            what: "the configuration".to_owned(),
            subject: None,
        };
        let path = folder.join("config");
        if blob_of_store(self.store, &wanted, &path) {
            let file = fs_err::File::open(&path).map_err(RegistryProblem::Keep)?;
            let blob =
                crate::image::load::measure(file, None, u64::MAX, u64::MAX)?.at(path.clone());
            if blob.digest == wanted.digest {
                return Ok(blob);
            }
            // The link alone, not the store's file.
            fs_err::remove_file(&path).map_err(RegistryProblem::Keep)?;
        }
        fetch_document(wire, &wanted, partials, path)
    }
}
