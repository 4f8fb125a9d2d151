//! Description of a package build as data, the same for a helper on this machine and for a remote
//! one. Paths are the caller's; the helper sees them through its view.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::CompressionLevel;
use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::container::namespace::Network;
use crate::image::config::RunConfig;
use crate::install::INSTALL_ROOT;
use crate::package::{PackageId, SourceName};
use crate::runner::command::{
    CommandRoot, ContainerCommand, Mount, MountSource, NameLookup, names_files,
};
use crate::runner::readable::InputCopies;
use crate::runner::workspace::JobFolders;
use crate::source::FetchedSource;
use crate::tree::{Package, PackageKey};

use super::id::Documents;
use super::jobserver::JobserverAccess;

/// Inputs of a package's build that the plan knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackageBuild {
    /// Package.
    pub id: PackageId,
    /// Folder of the package.
    pub folder: PathBuf,
    /// Build script, relative to the folder.
    pub build_script: String,
    /// True if the folder has an `extra/`.
    pub has_extra: bool,
    /// Root file system.
    pub root: CommandRoot,
    /// Configuration of the builder image.
    pub config: RunConfig,
    /// Required packages, in dependency order.
    pub dependencies: Vec<Dependency>,
    /// Text of `buildinfo.full.json`.
    pub buildinfo_full: String,
    /// Text of `pkginfo.json`.
    pub pkginfo: String,
    /// Variables of the build script beside the image's, `PKG_PATH` and `NUM_CORES`.
    pub environment: Vec<(String, String)>,
    /// Latest time of files in the package, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// Level of compression of the package.
    #[serde(default)]
    pub compression: CompressionLevel,
    /// Network of the build script.
    pub network: Network,
    /// Longest run time of the build script.
    pub time_limit: Option<Duration>,
    /// Largest log, in bytes.
    pub log_limit: u64,
    /// True if `src` and `result` are kept.
    pub keep: bool,
    /// True if what a failed build leaves is kept.
    pub keep_failed: bool,
}

/// Package that another package requires.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dependency {
    /// Package.
    pub id: PackageId,
    /// Archive.
    pub archive: PathBuf,
    /// SHA-256 of the archive, known when the build begins.
    #[serde(default)]
    pub sha256: Option<Sha256Sum>,
}

impl Dependency {
    /// Name of the folder among the unpacked packages: the archive's digest. Ids do not determine
    /// the bytes of an archive in a tree's cache.
    pub fn folder(&self) -> String {
        self.sha256.as_ref().map_or_else(|| self.id.to_string(), ToString::to_string)
    }
}

/// Job that builds a package.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildJob {
    /// Inputs known to the plan.
    pub package: PackageBuild,
    /// Folders and conditions of the job.
    pub folders: JobFolders,
    /// Folder of unpacked packages.
    pub packages: PathBuf,
    /// Build script as a command.
    pub command: ContainerCommand,
    /// Fetched sources.
    pub sources: Vec<(SourceName, FetchedSource)>,
    /// Number of cores announced to the build; without a jobserver, also the number of compressing
    /// threads.
    pub threads: u32,
    /// Jobserver of the run.
    pub jobserver: Option<JobserverAccess>,
    /// File for the archive, which the caller made empty.
    pub output: PathBuf,
    /// Log.
    pub log: PathBuf,
}

/// Settings of a package's build that do not come from the package.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// Latest time of files in the package, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// Level of compression of the package.
    pub compression: CompressionLevel,
    /// Network of the build script.
    pub network: Network,
    /// Longest run time of the build script.
    pub time_limit: Option<Duration>,
    /// Largest log, in bytes.
    pub log_limit: u64,
    /// True if `src` and `result` are kept.
    pub keep: bool,
    /// True if what a failed build leaves is kept.
    pub keep_failed: bool,
}

impl PackageBuild {
    /// Inputs of the build of a package with this id in an image.
    pub fn new(
        package: &Package,
        id: PackageId,
        documents: Documents,
        (root, config): (CommandRoot, RunConfig),
        dependencies: Vec<Dependency>,
        settings: &BuildSettings,
    ) -> Self {
        let BuildSettings {
            source_date_epoch,
            compression,
            network,
            time_limit,
            log_limit,
            keep,
            keep_failed,
        } = *settings;
        Self {
            folder: package.folder.clone(),
            build_script: package.info.build_script.clone(),
            has_extra: package.has_extra,
            root,
            config,
            dependencies,
            buildinfo_full: documents.buildinfo_full,
            pkginfo: documents.pkginfo,
            environment: variables(&id, &package.key, source_date_epoch),
            id,
            source_date_epoch,
            compression,
            network,
            time_limit,
            log_limit,
            keep,
            keep_failed,
        }
    }

    /// Path of the result in the container.
    pub fn package_path(&self) -> String {
        format!("{INSTALL_ROOT}/packages/{}", self.id)
    }

    /// The build script as a command. `packages` is the folder of unpacked packages.
    pub fn command(&self, packages: &Path, cores: u32) -> ContainerCommand {
        let caller = MountSource::Caller;
        let scratch = |name: &str| MountSource::Scratch(name.to_owned());
        let mut mounts = vec![
            Mount::writable(scratch("src"), "/pkg/src"),
            Mount::read_only(MountSource::Package(String::new()), "/pkg/build"),
        ];
        if self.has_extra {
            mounts.push(Mount::read_only(MountSource::Package("extra".to_owned()), "/pkg/extra"));
        }
        // Before the packages, which are mounted into it.
        mounts.push(Mount::read_only(MountSource::View("install".into()), INSTALL_ROOT));
        mounts.extend(self.dependencies.iter().map(|needed| {
            let source = caller(packages.join(needed.folder()));
            Mount::read_only(source, format!("{INSTALL_ROOT}/packages/{}", needed.id))
        }));
        mounts.push(Mount::writable(scratch("result"), self.package_path()));
        let mut arguments = self.config.entrypoint.clone();
        arguments.push(format!("/pkg/build/{}", self.build_script));
        let mut environment = self.config.env.clone();
        environment.push(("PKG_PATH".to_owned(), self.package_path()));
        environment.extend(self.environment.iter().cloned());
        environment.push(("NUM_CORES".to_owned(), cores.to_string()));
        ContainerCommand {
            root: self.root.clone(),
            mounts,
            files: names_files(match self.network {
                Network::None => NameLookup::Own,
                Network::Host => NameLookup::Machine,
            }),
            folders: vec![("/tmp".into(), 0o1777)],
            arguments,
            environment,
            working_directory: self.config.working_dir.clone(),
            user: self.config.user.clone(),
            network: self.network,
            time_limit: self.time_limit,
            log_limit: self.log_limit,
            no_new_privileges: true,
        }
    }

    /// The same build with copies of the inputs that only the caller can read.
    pub fn readable(&self, copies: &mut InputCopies<'_>) -> io::Result<Self> {
        let mut build = self.clone();
        build.folder = copies.readable(&build.folder)?;
        if let CommandRoot::Layers(layers) = &mut build.root {
            for layer in layers {
                layer.path = copies.readable(&layer.path)?;
            }
        }
        for needed in &mut build.dependencies {
            needed.archive = copies.readable(&needed.archive)?;
        }
        Ok(build)
    }
}

/// Variables of the build script beside `PKG_PATH` and `NUM_CORES` (docs/build-environment.md, "Variables of the
/// build script").
fn variables(id: &PackageId, key: &PackageKey, source_date_epoch: u64) -> Vec<(String, String)> {
    let pairs = [
        ("PKG_VERSION", id.version().to_string()),
        ("PKG_NAME", key.name.to_string()),
        ("PKG_ID", id.to_string()),
        ("PKG_VARIANT", key.variant.to_string()),
        ("SOURCE_DATE_EPOCH", source_date_epoch.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A built package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// SHA-1 of the archive.
    pub sha1: Sha1Sum,
    /// SHA-256 of the archive.
    pub sha256: Sha256Sum,
    /// Size of the archive in bytes.
    pub bytes: u64,
    /// Size of the unpacked contents in bytes.
    pub unpacked: u64,
    /// Level of compression; missing where it is the default.
    #[serde(default, skip_serializing_if = "CompressionLevel::is_default")]
    pub compression: CompressionLevel,
    /// SHA-256 of the uncompressed archive; missing in records of older versions.
    #[serde(default)]
    pub tar_sha256: Option<Sha256Sum>,
    /// Remarks for the build's record.
    pub notes: Vec<String>,
}
