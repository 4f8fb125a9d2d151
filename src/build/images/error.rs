//! Errors of finding an image, with remedies.

use std::path::PathBuf;

use crate::base::causes::with_causes;
use crate::build::id::FolderError;
use crate::dockerfile::execute::DockerfileError;
use crate::image::host::HostBuilderError;
use crate::image::load::LoadError;
use crate::image::location::LocationError;
use crate::image::pins::PinError;
use crate::image::reference::ReferenceError;
use crate::image::registry::RegistryError;
use crate::image::store::ImageStoreError;
use crate::package::ImageName;
use crate::tree::DOCKER_FOLDER_IMAGES;

/// An image can't be found or used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name is not valid.
    #[error("{name:?} is not an image's name")]
    Name {
        /// The name.
        name: String,
        /// Reason.
        #[source]
        source: Box<ReferenceError>,
    },
    /// The configuration says nowhere where it could be.
    #[error("mkpanda.toml, images.{name:?}")]
    Location {
        /// The name.
        name: String,
        /// Fault.
        #[source]
        source: Box<LocationError>,
    },
    /// It can't be loaded from where the configuration says.
    #[error("image {name}")]
    Load {
        /// The name.
        name: String,
        /// Cause.
        #[source]
        source: Box<LoadError>,
    },
    /// The store can't be read.
    #[error("image {name}")]
    Store {
        /// The name.
        name: String,
        /// Cause.
        #[source]
        source: Box<ImageStoreError>,
    },
    /// The machine itself can't be used.
    #[error("image {name}: the embedded builder host")]
    Host {
        /// The name.
        name: String,
        /// Reason.
        #[source]
        source: Box<HostBuilderError>,
    },
    /// It can't be pulled from where the configuration says.
    #[error("image {name}")]
    Pull {
        /// The name.
        name: String,
        /// Cause.
        #[source]
        source: Box<RegistryError>,
    },
    /// The image differs from the one pinned in the lock.
    #[error("image {name}")]
    Pin {
        /// The name.
        name: String,
        /// Difference, or why the pinned image is not to be had.
        #[source]
        source: Box<PinError>,
    },
    /// The image cannot be built.
    #[error("image {name}")]
    Build {
        /// The name.
        name: String,
        /// Cause.
        #[source]
        source: Box<DockerfileError>,
    },
    /// The digest of the image's folder cannot be computed.
    #[error("image {name}")]
    Folder {
        /// The name.
        name: String,
        /// Reason.
        #[source]
        source: Box<FolderError>,
    },
    /// The image is missing, and pulling is not allowed now.
    #[error("image {name} is not there yet")]
    NotPulled {
        /// The name.
        name: ImageName,
    },
    /// The image is missing, and pulling or building is not allowed now.
    #[error("image {name} isn't here: it would be pulled, or built from {}, first", folder.display())]
    NotBuilt {
        /// The name.
        name: ImageName,
        /// Folder with the image's Dockerfile.
        folder: PathBuf,
    },
    /// No command can be run in it.
    #[error("image {name}: no command can be run in it: {problem}")]
    Unusable {
        /// The name.
        name: ImageName,
        /// Problem with the configuration.
        problem: String,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The image does not exist.
    #[error("there is no image {name}{}", tried(pulled.as_deref()))]
    NotFound {
        /// The name.
        name: ImageName,
        /// Answer of the registry.
        pulled: Option<Box<RegistryError>>,
        /// `docker/` folder from which the image could be built.
        docker_folder: Option<PathBuf>,
    },
}

impl ImageError {
    /// True if the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Folder { source, .. } => matches!(**source, FolderError::Interrupted),
            Self::Build { source, .. } => matches!(**source, DockerfileError::Interrupted),
            Self::Pin { source, .. } => source.is_interruption(),
            Self::Pull { source, .. } | Self::NotFound { pulled: Some(source), .. } => {
                source.is_interruption()
            }
            _ => false,
        }
    }

    /// Remedies: each way to provide an image, with its exact command.
    pub fn hint(&self) -> Option<String> {
        let (name, docker_folder) = match self {
            Self::NotFound { name, docker_folder, .. } => (name, docker_folder),
            Self::Pull { source, .. } => return source.hint(),
            Self::Pin { source, .. } => return source.hint(),
            Self::Build { source, .. } => return source.hint(),
            Self::Load { source, .. } => return source.problem.hint().map(str::to_owned),
            Self::Folder { source, .. } => return source.hint(),
            Self::Store { source, .. } => return source.hint(),
            _ => return None,
        };
        let mut ways = vec![
            format!("pull it: mkpanda image pull {name}"),
            format!(
                "or load it: mkpanda image load --name {name} FILE   (docker save, podman save or skopeo copy write such a FILE)"
            ),
            format!(
                "or say where it is, by lines in mkpanda.toml beside the tree (or with oci-archive:FILE, oci:DIR, docker://REFERENCE):\n    [images]\n    \"{name}\" = \"docker-archive:FILE\""
            ),
            format!(
                "or build in this machine's own /usr, by lines in mkpanda.toml:\n    [images]\n    \"{name}\" = \"host\""
            ),
        ];
        if let Some(folder) = docker_folder {
            ways.push(format!(
                "or build it from {}, with a tool of your choice, and load it",
                folder.display()
            ));
        } else if let Some(folder) = builder_folder(name) {
            ways.push(format!(
                "or describe it, in {folder}/Dockerfile beside the packages folder, as docs/builder-images.md shows"
            ));
        }
        Some(ways.join("\n"))
    }
}

/// Folder of the tree that has the image of this name, if it is there.
fn builder_folder(name: &ImageName) -> Option<String> {
    let tag = name.as_str().strip_prefix(DOCKER_FOLDER_IMAGES)?;
    Some(format!("rootfs/{}", tag.strip_suffix("_dockerdir-latest")?))
}

fn tried(error: Option<&RegistryError>) -> String {
    error.map_or_else(String::new, |error| format!(": {}", with_causes(error)))
}
