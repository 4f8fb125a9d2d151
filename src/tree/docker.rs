//! `docker/` folders: builder images that live in the tree (docs/format.md, "Builder images").

use std::path::Path;

use super::PackageTree;
use crate::base::digest::Sha1Sum;
use crate::package::{ImageName, PackageName};

/// What the names of the images of `docker/` folders begin with:
/// `dcos/dcos-builder:<folder>_dockerdir-latest`, and `…-<sum of the folder>`.
pub const DOCKER_FOLDER_IMAGES: &str = "dcos/dcos-builder:";

/// A `docker/` folder that an image's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerFolder<'a> {
    /// Owner.
    pub name: &'a PackageName,
    /// The folder with the Dockerfile.
    pub path: &'a Path,
    /// Which state of the folder the name asks for.
    pub tag: DockerFolderTag,
}

/// Which state of a `docker/` folder an image's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerFolderTag {
    /// What it is now.
    Latest,
    /// That with this sum.
    Sum(Sha1Sum),
}

impl PackageTree {
    /// The `docker/` folder that an image's name stands for, if it stands for one that is there.
    pub fn docker_folder(&self, image: &ImageName) -> Option<DockerFolder<'_>> {
        let tag = image.as_str().strip_prefix(DOCKER_FOLDER_IMAGES)?;
        let (name, state) = tag.rsplit_once("_dockerdir-")?;
        let tag = match state {
            "latest" => DockerFolderTag::Latest,
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
