//! `docker/` folders: builder images that live in the tree (docs/format.md, "Builder images").

use std::path::Path;

use super::PackageTree;
use crate::base::digest::Sha1Sum;
use crate::package::{ImageName, PackageName};

/// Prefix of the names of `docker/` folders' images: `dcos/dcos-builder:<folder>_dockerdir-latest`,
/// and `…-<digest of the folder>`.
pub const DOCKER_FOLDER_IMAGES: &str = "dcos/dcos-builder:";

/// A `docker/` folder that an image's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerFolder<'a> {
    /// Owner.
    pub name: &'a PackageName,
    /// The folder with the Dockerfile.
    pub path: &'a Path,
    /// State of the folder in the name.
    pub tag: DockerFolderTag,
}

/// State of a `docker/` folder in an image's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerFolderTag {
    /// The current state.
    Latest,
    /// The state with this digest.
    Sum(Sha1Sum),
}

impl PackageTree {
    /// Returns the `docker/` folder for an image's name, if the name means an existing one.
    pub fn docker_folder(&self, image: &ImageName) -> Option<DockerFolder<'_>> {
        let tag = image.as_str().strip_prefix(DOCKER_FOLDER_IMAGES)?;
        let (name, state) = tag.rsplit_once("_dockerdir-")?;
        let tag = match state {
            "latest" => DockerFolderTag::Latest,
            // Any other text is an image of a registry.
            sum => DockerFolderTag::Sum(sum.parse().ok()?),
        };
        let (name, path) = self.docker_folders.get_key_value(&name.parse().ok()?)?;
        Some(DockerFolder { name, path, tag })
    }
}

/// The name of the image of a package's `docker/` folder as it is.
pub(super) fn latest_image(name: &PackageName) -> String {
    format!("{DOCKER_FOLDER_IMAGES}{name}_dockerdir-latest")
}
