//! List of all inputs that a run without network lacks.

use std::fmt;

use crate::image::reference::ImageRef;
use crate::package::ImageName;
use crate::source::MissingSource;

/// Input that is missing on this machine and in all mirrors that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingInput {
    /// An upstream.
    Upstream(MissingSource),
    /// A builder image.
    Image {
        /// Name of the image.
        name: ImageName,
        /// Packages that are built in the image.
        packages: Vec<String>,
        /// Place from which the image would come.
        origin: String,
    },
    /// A base image of a Dockerfile.
    BaseImage {
        /// Name of the image.
        name: ImageRef,
        /// The image that would be built from the Dockerfile.
        image: ImageName,
    },
    /// A source.
    Source(MissingSource),
}

/// Number of packages that a line names.
const SHOWN: usize = 5;

impl fmt::Display for MissingInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(source) => {
                write!(f, "the tree's upstream  {}  {}", source.id, source.url)
            }
            Self::Image { name, packages, origin } => {
                let shown = packages.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
                let more = packages.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                write!(f, "image {name}  for {shown}{more}  {origin}")
            }
            Self::BaseImage { name, image } => {
                write!(f, "base image {}  for image {image}  docker://{name}", name.familiar())
            }
            Self::Source(MissingSource { package, name, id, url }) => {
                write!(f, "{package}/{name}  {id}  {url}")
            }
        }
    }
}

/// All missing inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingList {
    /// The items.
    pub items: Vec<MissingInput>,
    /// True if mirrors with URLs were asked.
    pub only_mirrors: bool,
}

impl MissingList {
    /// Name of the first image among the items.
    pub fn first_image(&self) -> Option<String> {
        self.items.iter().find_map(|item| match item {
            MissingInput::Image { name, .. } => Some(name.as_str().to_owned()),
            MissingInput::BaseImage { name, .. } => Some(name.familiar()),
            MissingInput::Upstream(_) | MissingInput::Source(_) => None,
        })
    }
}

impl fmt::Display for MissingList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_source = |item: &&MissingInput| matches!(item, MissingInput::Source(_));
        let is_upstream = |item: &&MissingInput| matches!(item, MissingInput::Upstream(_));
        let upstreams = self.items.iter().filter(is_upstream).count();
        let sources = self.items.iter().filter(is_source).count();
        let images = self.items.len() - upstreams - sources;
        let counts = [(upstreams, "upstream"), (images, "image"), (sources, "source")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| {
            let article = if what.starts_with(['u', 'i']) { "an" } else { "a" };
            if count == 1 { format!("{article} {what}") } else { format!("{count} {what}s") }
        });
        let counts = counts.collect::<Vec<_>>().join(" and ");
        let verb = if self.items.len() == 1 { "is" } else { "are" };
        let option = if self.only_mirrors { "--only-mirrors" } else { "--offline" };
        write!(f, "{counts} {verb} missing, and {option} forbids fetching them:")?;
        self.items.iter().try_for_each(|item| write!(f, "\n  {item}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_what_is_missing_for_whom_and_from_where() {
        let source = |name: &str| MissingSource {
            package: name.parse().unwrap(),
            name: "s".parse().unwrap(),
            url: "https://h/f".to_owned(),
            id: "sha1 0".to_owned(),
        };
        let image = |count: usize| MissingInput::Image {
            name: "a/b:1".parse().unwrap(),
            packages: (0..count).map(|number| format!("p{number}")).collect(),
            origin: "docker://docker.io/a/b:1".to_owned(),
        };
        let base = MissingInput::BaseImage {
            name: "ubuntu:22.04".parse().unwrap(),
            image: "dcos/dcos-builder:p_dockerdir-latest".parse().unwrap(),
        };
        let list = |items| MissingList { items, only_mirrors: false }.to_string();
        assert_eq!(
            list(vec![MissingInput::Source(source("p"))]),
            "a source is missing, and --offline forbids fetching them:\n  p/s  sha1 0  https://h/f"
        );
        assert_eq!(
            list(vec![
                MissingInput::Upstream(source("upstream")),
                image(2),
                base,
                MissingInput::Source(source("p")),
                MissingInput::Source(source("q")),
            ]),
            "an upstream and 2 images and 2 sources are missing, and --offline forbids fetching them:
  the tree's upstream  sha1 0  https://h/f
  image a/b:1  for p0, p1  docker://docker.io/a/b:1
  base image ubuntu:22.04  for image dcos/dcos-builder:p_dockerdir-latest  docker://docker.io/library/ubuntu:22.04
  p/s  sha1 0  https://h/f
  q/s  sha1 0  https://h/f"
        );
        let one = MissingList { items: vec![image(7)], only_mirrors: true }.to_string();
        assert!(one.contains("p4 and 2 more  docker"), "{one}");
        assert!(one.starts_with("an image is missing, and --only-mirrors forbids"), "{one}");
    }
}
