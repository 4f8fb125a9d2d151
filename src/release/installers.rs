//! Installers of tree variants: one executable file each, for machines without a cloud and without network.
//!
//! The installer of variant V runs on the bootstrap of the tree `V.installer` (`installer` for the default
//! variant), and carries the bootstrap and the packages of V. A variant without such a tree has none.

use std::path::PathBuf;

use super::artifact::{ArtifactContent, ReleaseArtifact};
use super::error::ReleaseError;
use super::layout::LayoutError;
use super::metadata::{Complete, Metadata};
use super::pkgpanda::StaticPkgpanda;
use super::trees::BootstrapSums;
use crate::base::event::{Event, Observer};
use crate::build::cache::Cache;
use crate::installer::{BootstrapPart, InstallerParts, file_name, write};
use crate::package::Variant;
use crate::package::paths::{active_name, bootstrap_name};
use crate::provider::Provider;

/// Name of an installer's tree.
const INSTALLER: &str = "installer";

/// The tree of a variant's installer, if the release has one.
fn tree_of<'m>(metadata: &'m Metadata, variant: &Variant) -> Option<&'m Variant> {
    let names = match variant.name() {
        None => vec![INSTALLER.to_owned()],
        // The documents of the original have the second form, its code and all known trees the first.
        Some(name) => vec![format!("{name}.{INSTALLER}"), format!("{INSTALLER}.{name}")],
    };
    let known = |name: &String| {
        metadata.all_completes.keys().find(|variant| variant.name() == Some(name.as_str()))
    };
    names.iter().find_map(known)
}

/// Parts that all installers of a release have.
#[derive(Debug)]
pub struct InstallerSource<'i> {
    /// The release, without artifacts of the channel.
    pub metadata: &'i Metadata,
    /// Cache with bootstraps and packages, in which installers are made.
    pub cache: &'i Cache,
    /// Sums of the bootstraps.
    pub bootstrap_sums: &'i BootstrapSums,
    /// The static pkgpanda, which is the program of installers.
    pub pkgpanda: &'i StaticPkgpanda,
    /// Version of the product.
    pub version: &'i str,
    /// Provider that installers render where machines are.
    pub provider: &'i Provider,
}

/// An installer in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeInstaller {
    /// The file.
    pub path: PathBuf,
    /// The artifact of the channel.
    pub artifact: ReleaseArtifact,
}

impl InstallerSource<'_> {
    /// Makes the installers of all variants with an installer; a variant without one causes a
    /// warning.
    pub fn installers(&self, observer: &dyn Observer) -> Result<Vec<MadeInstaller>, ReleaseError> {
        let mut made = Vec::new();
        for (variant, complete) in self.metadata.deployed() {
            let Some(tree) = tree_of(self.metadata, variant) else {
                let message = format!(
                    "there is no installer: the release has no tree {}",
                    variant.file(INSTALLER)
                );
                observer.event(Event::Warning { subject: format!("tree {variant}"), message });
                continue;
            };
            let task = format!("installer {variant}");
            observer.event(Event::TaskBegan { task: task.clone() });
            let installer = self.installer(variant, complete, tree, observer);
            observer.event(Event::TaskEnded { task });
            made.push(installer?);
        }
        Ok(made)
    }

    fn installer(
        &self,
        variant: &Variant,
        complete: &Complete,
        tree: &Variant,
        observer: &dyn Observer,
    ) -> Result<MadeInstaller, ReleaseError> {
        let bootstrap = |complete: &Complete| {
            let id = complete.bootstrap.to_string();
            let folder = self.cache.bootstraps();
            BootstrapPart {
                archive: folder.join(bootstrap_name(&id)),
                active: folder.join(active_name(&id)),
                id,
            }
        };
        let packages = complete.packages.iter().map(|id| (id.clone(), self.cache.archive(id)));
        let parts = InstallerParts {
            variant,
            version: self.version,
            commit: self.metadata.commit.as_str(),
            tag: &self.metadata.tag,
            provider: self.provider,
            pkgpanda: &self.pkgpanda.path,
            pkgpanda_sha256: &self.pkgpanda.sha256,
            bootstrap: bootstrap(complete),
            bootstrap_sha256: &self.bootstrap_sums[variant],
            installer_bootstrap: self.metadata.all_completes.get(tree).map(bootstrap),
            packages: packages.collect(),
        };
        let name = file_name(variant);
        let path = self.cache.root().join(&name);
        write(&parts, &path, observer)?;
        let key = name.parse().map_err(LayoutError::from)?;
        let artifact = ReleaseArtifact::of_channel(key, None, ArtifactContent::File(path.clone()));
        Ok(MadeInstaller { path, artifact })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_of_installers_are_found_by_both_names() {
        let text = include_bytes!("../../tests/data/release/metadata.json");
        let mut metadata = Metadata::parse(text).unwrap();
        let ee: Variant = "ee".parse().unwrap();
        let found = |metadata: &Metadata, variant: &Variant| {
            tree_of(metadata, variant).map(ToString::to_string)
        };
        assert_eq!(found(&metadata, &ee).as_deref(), Some("ee.installer"));
        assert_eq!(found(&metadata, &Variant::DEFAULT), None);
        let complete = metadata.all_completes.remove(&"ee.installer".parse().unwrap()).unwrap();
        assert_eq!(found(&metadata, &ee), None);
        for name in ["installer", "installer.ee"] {
            metadata.all_completes.insert(name.parse().unwrap(), complete.clone());
        }
        assert_eq!(found(&metadata, &Variant::DEFAULT).as_deref(), Some("installer"));
    }
}
