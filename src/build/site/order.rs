//! From a planned package to the job that a helper gets.

use std::path::PathBuf;

use super::{BuildOptions, Known, Site};
use crate::build::id::PackageIdentity;
use crate::build::job::{BuildJob, Dependency};
use crate::build::one::Order;
use crate::container::machine::Machine;
use crate::package::{SourceName, SourceSpec};
use crate::source::SourceId;
use crate::tree::PackageKey;

impl Site {
    /// What building a planned package takes.
    pub(super) fn order(
        &self,
        known: &Known,
        key: &PackageKey,
        machine: &Machine,
        options: &BuildOptions,
    ) -> Order {
        let (Some(package), Some(identity), Some(image)) =
            (self.tree.package(key), known.identities.get(key), known.images.get(key))
        else {
            unreachable!("planned packages have an id and an image")
        };
        let home = &self.options.home;
        let documents = known.identities.documents(package, identity);
        let dependencies = known.identities.dependencies(identity).map(|needed| Dependency {
            id: needed.id.clone(),
            archive: self.cache.archive(&needed.id),
        });
        let job = BuildJob {
            id: identity.id.clone(),
            machine: machine.clone(),
            network: options.network,
            scratch: PathBuf::new(),
            view: PathBuf::new(),
            layers: home.layers(&machine.map.digest()),
            packages: home.packages(),
            package_folder: package.folder.clone(),
            build_script: package.info.build_script.clone(),
            has_extra: package.has_extra,
            image: image.root.clone(),
            sources: Vec::new(),
            dependencies: dependencies.collect(),
            buildinfo_full: documents.buildinfo_full,
            pkginfo: documents.pkginfo,
            environment: variables(identity, options.source_date_epoch),
            source_date_epoch: options.source_date_epoch,
            threads: 1,
            jobserver: None,
            output: PathBuf::new(),
            log: PathBuf::new(),
            time_limit: options.time_limit,
            limits: self.options.limits,
            keep: options.keep,
        };
        let sources = package.info.sources.iter().map(|(name, declared)| {
            let id = source_id(identity, name, &declared.spec);
            (name.clone(), declared.clone(), id)
        });
        Order { key: key.clone(), job, sources: sources.collect() }
    }
}

/// What a source added to its package's id; a `git_local` repository may have moved on since.
fn source_id(identity: &PackageIdentity, name: &SourceName, spec: &SourceSpec) -> SourceId {
    match spec {
        SourceSpec::Git { commit, .. } => SourceId::Commit(commit.clone()),
        SourceSpec::GitLocal { .. } => match identity.inputs.heads.get(name) {
            Some(commit) => SourceId::Commit(commit.clone()),
            None => unreachable!("every git_local source was asked for its HEAD"),
        },
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
            SourceId::DownloadedSha1(file.sha1.clone())
        }
    }
}

/// What the build script is told (SPEC §4), beside `PKG_PATH` and `NUM_CORES`.
fn variables(identity: &PackageIdentity, source_date_epoch: u64) -> Vec<(String, String)> {
    let pairs = [
        ("PKG_VERSION", identity.id.version().to_string()),
        ("PKG_NAME", identity.key.name.to_string()),
        ("PKG_ID", identity.id.to_string()),
        ("PKG_VARIANT", identity.key.variant.to_string()),
        ("SOURCE_DATE_EPOCH", source_date_epoch.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
