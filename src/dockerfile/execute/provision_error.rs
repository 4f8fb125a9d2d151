//! Errors of providing base images and room for containers.

use crate::image::config::ImageConfigError;
use crate::image::pins::PinError;
use crate::image::platform::Platform;
use crate::image::reference::ReferenceError;
use crate::image::registry::RegistryError;
use crate::image::store::ImageStoreError;
use crate::runner::session::SessionError;

/// An image or room for containers cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The name of the image is not valid.
    #[error("{name:?} is not a valid image name")]
    Name {
        /// Name.
        name: String,
        /// Broken rule.
        #[source]
        source: ReferenceError,
    },
    /// The image cannot be pulled.
    #[error("there is no image {name}")]
    Pull {
        /// Name of the image.
        name: String,
        /// Cause.
        #[source]
        source: Box<RegistryError>,
    },
    /// The image that the lock pins cannot be provided.
    #[error(transparent)]
    Pin(Box<PinError>),
    /// The store cannot provide the image.
    #[error("image {name}")]
    Store {
        /// Name of the image.
        name: String,
        /// Cause.
        #[source]
        source: Box<ImageStoreError>,
    },
    /// The configuration of the image is not valid.
    #[error("the image {name} can't be used")]
    Config {
        /// Name of the image.
        name: String,
        /// Cause.
        #[source]
        source: ImageConfigError,
    },
    /// The image is for another platform.
    #[error("the image {name} is for {found}, not for {wanted}")]
    Platform {
        /// Name of the image.
        name: String,
        /// Platform of the image.
        found: Box<Platform>,
        /// Platform of the build.
        wanted: Box<Platform>,
    },
    /// Something would have to be pulled or run, and only the cache may be used.
    #[error("not all of it is in the cache")]
    NotCached,
    /// The registration of used files cannot be written.
    #[error("the files that this build uses can't be registered")]
    Register(#[source] std::io::Error),
    /// No containers can be run.
    #[error("no containers")]
    Session(#[source] SessionError),
}

impl ProvisionError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Pull { source, .. } => source.hint(),
            Self::Pin(error) => error.hint(),
            Self::Store { source, .. } => source.hint(),
            Self::Session(error) => error.hint(),
            _ => None,
        }
    }
}
