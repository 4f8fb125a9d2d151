//! The description of a release that is being made.

use super::artifact::ReleaseArtifact;
use super::layout::ReleaseLocation;
use super::metadata::{Metadata, NO_AZURE};
use super::storage::Storages;
use super::trees::{Completes, all_packages};

/// Describes a release without the artifacts of its channel. `cloudformation_s3_url` has no `/` at the end.
pub fn describe(
    location: &ReleaseLocation,
    tag: &str,
    completes: Completes,
    core: &[ReleaseArtifact],
    storages: &Storages,
    cloudformation_s3_url: &str,
) -> Metadata {
    let urls = storages.all.iter().map(|storage| (storage.name.clone(), storage.url.clone()));
    let azure = storages.all.iter().find(|storage| storage.name == "azure");
    let release = location.release_path();
    Metadata {
        commit: location.commit().clone(),
        tag: tag.to_owned(),
        packages: all_packages(&completes),
        core_artifacts: core.iter().map(ReleaseArtifact::described).collect(),
        channel_artifacts: Vec::new(),
        all_completes: completes,
        repository_path: location.repository().to_string(),
        repository_url: format!("{}{}", storages.preferred().url, location.repository()),
        build_name: location.channel_path(),
        cloudformation_s3_url_full: format!("{cloudformation_s3_url}/{release}/cloudformation"),
        reproducible_artifact_path: release,
        storage_urls: urls.collect(),
        azure_download_url: azure.map_or_else(|| NO_AZURE.to_owned(), |azure| azure.url.clone()),
    }
}
