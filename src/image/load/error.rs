//! Errors of loading an image.

use std::io;
use std::path::PathBuf;

use crate::archive::{LimitExceeded, ReadError};
use crate::base::causes::with_causes;
use crate::image::config::ImageConfigError;
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::document::{DocumentError, LONGEST_DOCUMENT};
use crate::image::location::ImageForm;
use crate::image::platform::Platform;
use crate::image::store::ImageStoreError;

/// An image cannot be loaded; the store is unchanged.
#[derive(Debug, thiserror::Error)]
#[error("can't load an image from {input}")]
pub struct LoadError {
    /// The file, the folder, or the caller's name of the stream.
    pub input: String,
    /// Reason.
    #[source]
    pub problem: LoadProblem,
}

/// Reason why an image cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadProblem {
    /// The input can't be read.
    #[error("it can't be read: {0}")]
    Read(io::Error),
    /// The store cannot be written to.
    #[error("can't write into the image store: {0}")]
    Write(io::Error),
    /// The archive can't be read.
    #[error(transparent)]
    Archive(ReadError),
    /// The store refused the image.
    #[error(transparent)]
    Store(#[from] ImageStoreError),
    /// Neither a file nor a folder.
    #[error("{} is not a regular file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// A folder where an archive was asked for.
    #[error("it is a folder, and {} names a file", form.as_str())]
    Folder {
        /// Requested form.
        form: ImageForm,
    },
    /// A file where a folder was asked for.
    #[error("it is not a folder with an OCI layout")]
    NoFolder,
    /// There is no image of the form that was asked for.
    #[error("{}", no_image(*form, *old_docker))]
    NoImage {
        /// Requested form, if any.
        form: Option<ImageForm>,
        /// True if the input looks like an archive from docker before 1.10.
        old_docker: bool,
    },
    /// The target of a descriptor is missing.
    #[error("{what} is missing: {name} isn't there")]
    Missing {
        /// Role of the missing part.
        what: String,
        /// The digest or the name.
        name: String,
    },
    /// The content does not match its digest.
    #[error(
        "{what} is damaged or was changed: it should have the digest {expected}, but has {found}"
    )]
    Digest {
        /// Role or name of the damaged part.
        what: String,
        /// Digest in the reference.
        expected: BlobDigest,
        /// Digest of the content.
        found: BlobDigest,
    },
    /// The content does not match its size.
    #[error("{what} has {found} bytes, but should have {expected}")]
    Size {
        /// Role of the part.
        what: String,
        /// Size in the descriptor.
        expected: u64,
        /// Size of the content.
        found: u64,
    },
    /// A layer's uncompressed content isn't the configuration's.
    #[error("layer {number} unpacks to {found}, but the image's configuration says {expected}")]
    DiffId {
        /// Number of the layer, from 1, the lowest.
        number: usize,
        /// The configuration's.
        expected: DiffId,
        /// Digest of the uncompressed content.
        found: DiffId,
    },
    /// A layer can't be decompressed.
    #[error("layer {number} ({digest}) can't be used: {reason}")]
    LayerContent {
        /// Number of the layer, from 1, the lowest.
        number: usize,
        /// The blob.
        digest: BlobDigest,
        /// Reason.
        reason: String,
    },
    /// Manifest and configuration differ in the number of layers.
    #[error("the image has {layers} layers, but its configuration names {diff_ids}")]
    LayerCount {
        /// Number of layers in the configuration.
        diff_ids: usize,
        /// Number of layers.
        layers: usize,
    },
    /// A document can't be used.
    #[error("{what} can't be used: {problem}")]
    Document {
        /// Role of the document.
        what: String,
        /// Reason.
        problem: DocumentError,
    },
    /// A document is too long to be one.
    #[error("{what} has {bytes} bytes; documents may have {LONGEST_DOCUMENT}")]
    LongDocument {
        /// Role of the document.
        what: String,
        /// Size of the document.
        bytes: u64,
    },
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ImageConfigError),
    /// The input has images for other platforms only.
    #[error("it has no image for {wanted}, only for {}", found.join(", "))]
    Platform {
        /// Wanted platform.
        wanted: Platform,
        /// Platforms in the input.
        found: Vec<String>,
    },
    /// No entry of an index can be used.
    #[error("none of its entries can be used: {}", reasons.join("; "))]
    NoneUsable {
        /// Reason of each entry.
        reasons: Vec<String>,
        /// True if all entries are no images for the platform.
        of_another_kind: bool,
    },
    /// Indexes within indexes.
    #[error("its indexes lead to more than {limit} others, or too deep into each other")]
    Index {
        /// Upper limit of entries.
        limit: u64,
    },
    /// The input has more documents than any real image, or repeats the same ones.
    #[error("its manifests, indexes and configurations have more than {limit} bytes together")]
    Documents {
        /// Upper limit of all documents' bytes.
        limit: u64,
    },
    /// More images or names than can be meant.
    #[error("it has more than {most} images and names of images")]
    Many {
        /// Upper limit.
        most: usize,
    },
    /// The input exceeds a limit.
    #[error("{0}, which is the limit")]
    Limit(LimitExceeded),
    /// One name has two contents.
    #[error("it has {name:?} twice, with different contents")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// One image was asked for by name.
    #[error("it has no image {wanted:?}; it has {}", list(called))]
    NotCalled {
        /// Wanted name.
        wanted: String,
        /// Names in the input.
        called: Vec<String>,
    },
    /// One image was wanted, and the input has several.
    #[error("it has several images, of which one must be named: {}", list(called))]
    Several {
        /// Names of the images.
        called: Vec<String>,
    },
    /// The input is valid and has no images.
    #[error("it has no image in it")]
    Empty,
    /// The name of an image in the input is not valid.
    #[error("it names an image {text:?}, which is not an image reference")]
    Name {
        /// The name.
        text: String,
    },
}

impl From<ReadError> for LoadProblem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Limit(limit) => Self::Limit(limit),
            error => Self::Archive(error),
        }
    }
}

impl LoadProblem {
    /// True if the entry is for another platform, so that other entries may match.
    pub(in crate::image) fn is_of_another_kind(&self) -> bool {
        matches!(
            self,
            Self::Platform { .. }
                | Self::Document { problem: DocumentError::MediaType { .. }, .. }
                | Self::NoneUsable { of_another_kind: true, .. }
        )
    }

    /// True if one entry cannot be used, whenever it is tried, which says nothing of others beside it.
    pub(in crate::image) fn is_of_entry(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::NoFile { .. }
                | Self::Digest { .. }
                | Self::Size { .. }
                | Self::DiffId { .. }
                | Self::LayerContent { .. }
                | Self::LayerCount { .. }
                | Self::Document { .. }
                | Self::LongDocument { .. }
                | Self::Config(_)
                | Self::Name { .. }
                | Self::Platform { .. }
                | Self::NoneUsable { .. }
        )
    }

    /// The problem of an index without an image for the platform: `others` are its entries for other
    /// platforms or of other kinds, `unread` its indexes that cannot be read, by digest.
    pub(in crate::image) fn no_image_for(
        wanted: &Platform,
        others: &[String],
        unread: &[(String, impl std::fmt::Display)],
    ) -> Self {
        let unread = unread.iter().map(|(digest, it)| format!("the index {digest} ({it})"));
        let mut found: Vec<String> = others.iter().cloned().chain(unread).collect();
        found.sort();
        found.dedup();
        Self::Platform { wanted: wanted.clone(), found }
    }

    /// Joins the problems of all entries, each with the entry's name.
    pub(in crate::image) fn of_entries(mut problems: Vec<(String, Self)>) -> Self {
        if problems.len() <= 1 {
            return problems.pop().map_or(Self::Empty, |(_, problem)| problem);
        }
        let (mut all, mut platform) = (Vec::new(), None);
        for (_, problem) in &problems {
            if let Self::Platform { wanted, found } = problem {
                platform = Some(wanted.clone());
                all.extend(found.iter().cloned());
            }
        }
        let is_platform = |(_, problem): &(_, Self)| matches!(problem, Self::Platform { .. });
        match platform {
            Some(wanted) if problems.iter().all(is_platform) => {
                all.sort();
                all.dedup();
                Self::Platform { wanted, found: all }
            }
            _ => Self::NoneUsable {
                of_another_kind: problems.iter().all(|(_, problem)| problem.is_of_another_kind()),
                reasons: problems
                    .iter()
                    .map(|(called, problem)| format!("{called}: {}", with_causes(problem)))
                    .collect(),
            },
        }
    }

    /// Remedy, unless it is plain.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoImage { .. } | Self::NoFolder => Some(
                "an image is what `docker save`, `podman save`, `skopeo copy … oci-archive:FILE` \
                 or `skopeo copy … oci:DIR` write",
            ),
            Self::Archive(_) | Self::Digest { .. } | Self::Size { .. } | Self::DiffId { .. } => {
                Some("save or copy the image again")
            }
            Self::Limit(limit) => limit.remedy(),
            Self::Platform { .. } => Some(
                "take it for another platform by `mkpanda image pull --platform OS/ARCH PLACE`, PLACE being docker-archive:FILE, oci-archive:FILE or oci:DIR",
            ),
            Self::Document { problem: DocumentError::MediaType { .. }, .. }
            | Self::LayerContent { .. } => {
                Some("`skopeo copy` can convert it: layers plain or compressed by gzip or zstd")
            }
            _ => None,
        }
    }
}

fn list(called: &[String]) -> String {
    if called.is_empty() { "none that has a name".to_owned() } else { called.join(", ") }
}

fn no_image(form: Option<ImageForm>, old_docker: bool) -> &'static str {
    match form {
        _ if old_docker => "it was written by a docker before 1.10, whose archives have no ids",
        Some(ImageForm::DockerArchive) => "it is not a docker archive: it has no manifest.json",
        Some(_) => "it is not an OCI archive: it has no index.json",
        None => "it is not an image: it has neither index.json nor manifest.json",
    }
}
