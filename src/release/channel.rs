//! Artifacts of a channel: the version, the static pkgpanda, and the files of providers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::artifact::{ArtifactContent, ExistingObject, ReleaseArtifact, content_type};
use super::error::ReleaseError;
use super::layout::LayoutError;
use super::metadata::{Complete, Metadata};
use super::pkgpanda::StaticPkgpanda;
use super::trees::BootstrapSums;
use crate::base::digest::Sha256Sum;
use crate::package::Variant;
use crate::provider::{Provider, ProviderFile, Values, VariantFiles};

/// Name of the provider for machines without a cloud; the original called the module `bash`. Installers render
/// it where machines are.
pub const ON_PREMISES: &str = "onprem";

/// Folder beside `packages/` with the configuration of a downstream product.
const GEN_EXTRA: &str = "gen_extra";

/// Parts that the artifacts of a channel are made of.
#[derive(Debug)]
pub struct ChannelParts<'p> {
    /// The release, without artifacts of the channel.
    pub metadata: &'p Metadata,
    /// Text of the object `version`.
    pub version: &'p str,
    /// The static pkgpanda.
    pub pkgpanda: &'p StaticPkgpanda,
    /// Public key of the one that signs the release; none signs if there is none.
    pub signing_key: Option<&'p str>,
    /// Providers in the order of their files.
    pub providers: &'p [Provider],
    /// Sums of the bootstraps.
    pub bootstrap_sums: &'p BootstrapSums,
}

impl ChannelParts<'_> {
    /// Makes the artifacts, in the order of `metadata.json`. Nothing is stored.
    pub fn artifacts(&self) -> Result<Vec<ReleaseArtifact>, ReleaseError> {
        let key = |name: &str| name.parse().map_err(LayoutError::from);
        let version = ArtifactContent::Bytes(self.version.as_bytes().to_vec());
        let mut artifacts = vec![
            ReleaseArtifact::of_channel(key("version")?, Some(content_type::TEXT), version),
            self.pkgpanda.artifact()?,
        ];
        for provider in self.providers {
            let (mut variants, mut all) = (Vec::new(), Values::new());
            for (variant, complete) in self.metadata.deployed() {
                let values =
                    self.values(provider.name(), variant, complete, &self.bootstrap_sums[variant]);
                let files = provider.render(&values)?;
                let of_channel = files.iter().filter(|file| !file.reproducible);
                variants.push(VariantFiles {
                    variant: variant.hashed().to_owned(),
                    files: of_channel.map(|file| file.name.clone()).collect(),
                });
                for file in files {
                    add(&mut artifacts, file)?;
                }
                // Pages know values of the release alone, which are the same for every variant.
                all = values;
            }
            // Without a variant there is nothing to launch.
            if !variants.is_empty() {
                for page in provider.render_pages(&all, &variants)? {
                    add(&mut artifacts, page)?;
                }
            }
        }
        Ok(artifacts)
    }

    /// The URL of the repository for a provider: that of the storage with the provider's name, else of the
    /// preferred one.
    fn bootstrap_url(&self, provider: &str) -> String {
        let own = self.metadata.storage_urls.get(provider);
        // Launch pages of a cloud take files from the same cloud, as with the original.
        own.map_or_else(
            || self.metadata.repository_url.clone(),
            |url| format!("{url}{}", self.metadata.repository_path),
        )
    }

    fn values(
        &self,
        provider: &str,
        variant: &Variant,
        complete: &Complete,
        bootstrap_sha256: &Sha256Sum,
    ) -> Values {
        let metadata = self.metadata;
        let bootstrap_url = self.bootstrap_url(provider);
        let pkgpanda_url = format!("{bootstrap_url}/{}", self.pkgpanda.repository_path());
        let package_ids: Vec<String> = complete.packages.iter().map(ToString::to_string).collect();
        Values::new()
            .release("azure_download_url", metadata.azure_download_url.as_str())
            .release("bootstrap_id", complete.bootstrap.as_str())
            .release("bootstrap_sha256", bootstrap_sha256.as_str())
            .release("bootstrap_url", bootstrap_url)
            .release("bootstrap_variant", variant.file(""))
            .release("build_name", metadata.build_name.as_str())
            .release("cloudformation_s3_url_full", metadata.cloudformation_s3_url_full.as_str())
            .release("commit", metadata.commit.as_str())
            .release("package_ids", package_ids)
            .release("pkgpanda_sha256", self.pkgpanda.sha256.as_str())
            .release("pkgpanda_url", pkgpanda_url)
            .release("provider", provider)
            .release("reproducible_artifact_path", metadata.reproducible_artifact_path.as_str())
            .release("repository_url", metadata.repository_url.as_str())
            .release("signing_key", self.signing_key.unwrap_or_default())
            .release("tag", metadata.tag.as_str())
            .release("variant", variant.hashed())
            .release("version", self.version)
    }
}

/// Adds a file of a provider. A reproducible file may be that of another variant, too.
fn add(artifacts: &mut Vec<ReleaseArtifact>, file: ProviderFile) -> Result<(), ReleaseError> {
    let key = file.name.parse().map_err(LayoutError::from)?;
    let source = ArtifactContent::Bytes(file.bytes);
    let artifact = if file.reproducible {
        let artifact = ReleaseArtifact::reproducible(key, source, ExistingObject::Serves);
        ReleaseArtifact { content_type: file.content_type, ..artifact }
    } else {
        ReleaseArtifact::of_channel(key, file.content_type.as_deref(), source)
    };
    // A second one would be a second object of the same key, which a plan refuses.
    if !(file.reproducible && artifacts.contains(&artifact)) {
        artifacts.push(artifact);
    }
    Ok(())
}

/// Providers of a release.
#[derive(Debug)]
pub struct Providers {
    /// Providers whose files are artifacts, in this order.
    pub clouds: Vec<Provider>,
    /// Provider carried by installers.
    pub on_premises: Provider,
}

impl Providers {
    /// Reads the providers: the built-in ones of clouds in the order of the original, then those in folders by
    /// their names, which take the place of built-in ones. For installers, a folder `onprem` comes first, then the
    /// folder `gen_extra` of the checkout, if that is a provider, then the built-in provider.
    pub fn read(folders: &[PathBuf], checkout: &Path) -> Result<Self, ReleaseError> {
        let mut names: Vec<&str> =
            Provider::built_in_names().filter(|name| *name != ON_PREMISES).collect();
        names.sort_unstable();
        let mut read: BTreeMap<String, &PathBuf> = BTreeMap::new();
        let mut more = Vec::new();
        for folder in folders {
            let provider = Provider::read(folder)?;
            let name = provider.name().to_owned();
            if let Some(first) = read.insert(name.clone(), folder) {
                let folders = [first.clone(), folder.clone()];
                return Err(ReleaseError::SameProvider { name, folders });
            }
            more.push(provider);
        }
        names.retain(|name| more.iter().all(|provider| provider.name() != *name));
        let built_in = names.into_iter().map(Provider::built_in);
        let mut clouds = built_in.collect::<Result<Vec<_>, _>>()?;
        more.sort_by(|one, other| one.name().cmp(other.name()));
        clouds.extend(more);
        let own = clouds.iter().position(|provider| provider.name() == ON_PREMISES);
        let extra = checkout.join(GEN_EXTRA);
        let on_premises = match own {
            Some(own) => clouds.remove(own),
            None if extra.join("provider.yaml").is_file() => Provider::read(&extra)?,
            None => Provider::built_in(ON_PREMISES)?,
        };
        Ok(Self { clouds, on_premises })
    }
}
