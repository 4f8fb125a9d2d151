//! Conversion of a planned package to a request for its builder.

use super::{BuildOptions, IdentifiedPackages, Project};
use crate::build::id::PackageIdentity;
use crate::build::job::{BuildSettings, Dependency, PackageBuild};
use crate::build::plan::{BuildPlan, PlanEntry};
use crate::build::record::RecordedDeclarations;
use crate::build::request::PackageRequest;
use crate::package::{SourceName, SourceSpec};
use crate::runner::command::Described;
use crate::runner::isolation;
use crate::source::SourceId;
use crate::tree::PackageKey;

impl Project {
    /// Inputs of a planned package's build.
    pub(super) fn request_of(
        &self,
        identified: &IdentifiedPackages,
        key: &PackageKey,
        options: &BuildOptions,
    ) -> PackageRequest {
        let (Some(package), Some(identity), Some(image)) =
            (self.tree.package(key), identified.identities.get(key), identified.images.get(key))
        else {
            unreachable!("planned packages have an id and an image")
        };
        let documents = identified.identities.documents(package, identity);
        let dependencies = identified.identities.dependencies(identity).map(|needed| Dependency {
            id: needed.id.clone(),
            archive: self.cache.archive(&needed.id),
            sha256: None,
        });
        let limits = &self.options.runner.limits;
        let settings = BuildSettings {
            source_date_epoch: self.options.source_date_epoch,
            compression: options.compression,
            network: options.network,
            time_limit: limits.time,
            log_limit: limits.log,
            keep: options.keep,
            keep_failed: options.keep_failed.is_some(),
        };
        let build = PackageBuild::new(
            package,
            identity.id.clone(),
            documents,
            (image.root.clone(), image.config.clone()),
            dependencies.collect(),
            &settings,
        );
        let sources = package.info.sources.iter().map(|(name, declared)| {
            let id = source_id(identity, name, &declared.spec);
            (name.clone(), declared.clone(), id)
        });
        let local = self.local_scope(package);
        let declared = RecordedDeclarations {
            requires: package.info.requires.clone(),
            image: package.info.image(),
        };
        let (key, sources) = (key.clone(), sources.collect());
        PackageRequest { key, package: build, declared, image: image.id.clone(), sources, local }
    }
}

impl Project {
    /// Describes the containers of package builds as text: a paragraph for each.
    pub fn describe(
        &self,
        identified: &IdentifiedPackages,
        plan: &BuildPlan,
        options: &BuildOptions,
    ) -> String {
        let runner = &self.options.runner;
        let map = isolation::expected_map(&runner.isolation);
        let cores = u32::try_from(options.pace.cores).unwrap_or(u32::MAX);
        let describe = |entry: &PlanEntry| {
            let package = self.request_of(identified, &entry.key, options).package;
            let command = package.command(&runner.home.packages(), cores);
            let described = Described { command: &command, map: &map, limits: &runner.limits };
            format!("\nsandbox {}\n{described}", entry.id)
        };
        plan.to_build().map(describe).collect::<Vec<_>>().concat()
    }
}

/// Id of a source at the time of the package's id; a `git_local` repository may have changed since.
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
