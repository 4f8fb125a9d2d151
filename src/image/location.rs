//! Locations of images in a configuration: `images` in `mkpanda.toml` gives a name one of these
//! forms. The forms are `skopeo`'s, so that locations which work there can be pasted here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::reference::{ImageRef, ReferenceError};
use crate::base::http::redact_place;
use crate::base::text::written_as_text;

/// Valid forms, for messages.
pub const FORMS: &str = "host, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], docker://REF, dockerfile:DIR";

/// Prefix of images in a registry.
pub const REGISTRY_PREFIX: &str = "docker://";
/// Prefix of folders with a Dockerfile.
pub const DOCKERFILE_PREFIX: &str = "dockerfile:";
/// Prefix of podman's own images, which only podman can read.
pub const PODMAN_PREFIX: &str = "containers-storage:";

/// Location of an image. A path may not contain a colon: the text behind a colon is the reference
/// within the layout or archive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageLocation {
    /// The machine itself ([`super::host`]).
    Host,
    /// A layout or an archive on disk.
    Stored(StoredImage),
    /// A registry.
    Registry(ImageRef),
    /// A folder with a Dockerfile, built on demand.
    Dockerfile(PathBuf),
}

/// An image in a layout or an archive on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoredImage {
    /// The form.
    pub form: ImageForm,
    /// The layout's folder or the archive.
    pub path: PathBuf,
    /// Reference within the layout or archive; needed where several images are stored.
    pub reference: Option<String>,
}

/// Form of an image outside of our store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageForm {
    /// An OCI image layout, as a folder.
    Oci,
    /// An OCI image layout in a tar archive.
    OciArchive,
    /// Archive of `docker save`.
    DockerArchive,
}

impl ImageForm {
    const ALL: [Self; 3] = [Self::Oci, Self::OciArchive, Self::DockerArchive];

    /// The form's name, as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
        }
    }
}

/// The text says nowhere where an image could lie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{:?} is not the location of an image: {problem}; the forms are {FORMS}",
    redact_place(text)
)]
pub struct LocationError {
    text: String,
    problem: &'static str,
}

impl ImageLocation {
    /// The same place, with a relative path taken from `base`.
    #[must_use]
    pub fn relative_to(self, base: &Path) -> Self {
        match self {
            Self::Dockerfile(folder) => Self::Dockerfile(base.join(folder)),
            other @ (Self::Host | Self::Registry(_)) => other,
            Self::Stored(image) => {
                Self::Stored(StoredImage { path: base.join(&image.path), ..image })
            }
        }
    }
}

impl FromStr for ImageLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let error = |problem| LocationError { text: text.to_owned(), problem };
        if text == "host" {
            return Ok(Self::Host);
        }
        if let Some(reference) = text.strip_prefix(REGISTRY_PREFIX) {
            let reference = reference.parse();
            return reference
                .map(Self::Registry)
                .map_err(|problem: ReferenceError| error(problem.rule));
        }
        if let Some(folder) = text.strip_prefix(DOCKERFILE_PREFIX) {
            if folder.is_empty() || folder.contains('\0') {
                return Err(error("no folder follows dockerfile:"));
            }
            return Ok(Self::Dockerfile(folder.into()));
        }
        if text.starts_with(PODMAN_PREFIX) {
            return Err(error(
                "only podman can read its own images: `podman save NAME | mkpanda image load -`",
            ));
        }
        let (name, rest) =
            text.split_once(':').ok_or_else(|| error("no form stands before a :"))?;
        let form = ImageForm::ALL
            .into_iter()
            .find(|form| form.as_str() == name)
            .ok_or_else(|| error("its form is not known"))?;
        let (path, reference) = match rest.split_once(':') {
            None => (rest, None),
            Some((path, reference)) => (path, Some(reference)),
        };
        if path.is_empty() || path.contains('\0') {
            return Err(error("no path follows the form"));
        }
        if reference == Some("") {
            return Err(error("no reference follows the last :"));
        }
        let reference = reference.map(str::to_owned);
        Ok(Self::Stored(StoredImage { form, path: path.into(), reference }))
    }
}

impl fmt::Display for ImageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Stored(image) => image.fmt(f),
            Self::Registry(reference) => write!(f, "{REGISTRY_PREFIX}{reference}"),
            Self::Dockerfile(folder) => write!(f, "{DOCKERFILE_PREFIX}{}", folder.display()),
        }
    }
}

impl fmt::Display for StoredImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.form.as_str(), self.path.display())?;
        self.reference.as_ref().map_or(Ok(()), |reference| write!(f, ":{reference}"))
    }
}

written_as_text!(ImageLocation);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_parse_and_print_back() {
        for text in [
            "host",
            "oci:dir",
            "oci:/a/b:ubuntu:14.04",
            "oci-archive:x.tar:latest",
            "docker-archive:../x.tar.xz",
            "docker://docker.io/library/ubuntu:14.04",
            "docker://localhost:5000/a/b:1",
            "dockerfile:builders/x",
        ] {
            assert_eq!(text.parse::<ImageLocation>().unwrap().to_string(), text);
        }
        let location: ImageLocation = "oci:d:docker.io/library/x:1".parse().unwrap();
        let ImageLocation::Stored(image) = location.relative_to(Path::new("/base")) else {
            unreachable!("it names a layout")
        };
        assert_eq!(image.path, Path::new("/base/d"));
        assert_eq!(image.reference.as_deref(), Some("docker.io/library/x:1"));
    }

    #[test]
    fn an_unknown_form_is_told_the_known_ones() {
        for bad in [
            "",
            "ubuntu",
            "oci:",
            "oci::x",
            "oci:d:",
            "dir:x",
            "Host",
            "ubuntu:14.04",
            "docker://",
            "docker://A",
            "docker:x:y",
            "dockerfile:",
            "containers-storage:x",
        ] {
            let error = bad.parse::<ImageLocation>().unwrap_err().to_string();
            assert!(error.contains("docker-archive:FILE"), "{bad}: {error}");
        }
    }
}
