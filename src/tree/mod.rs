//! A packages directory and its upstreams, read into one checked [`PackageTree`] (docs/format.md,
//! "A package's folder" and "Trees").
//!
//! ```text
//! <packages>/<name>/[<variant>.]buildinfo.json    a package, one file per variant
//! <packages>/<name>/{build,extra/,docker/,…}      what its build sees; docker/ also without a package
//! <packages>/[<variant>.]treeinfo.json            a tree: which packages, in which variants
//! <packages>/upstream.json                        a source whose packages/ adds what is not here
//! <packages>/cache/, <packages>/.*                no packages
//! ```
//!
//! Everything is read once. Problems of a package are kept beside its name and become errors only
//! when the package is needed, so a broken package never stops another one's build; all problems of
//! needed packages are then shown together. Errors point at the place in the file to change.

mod check;
mod docker;
mod error;
mod files;
mod found;
pub mod lock;
mod position;
mod read;
mod resolve;
mod upstream;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::package::{
    BuildInfo, PackageName, Report, Requirement, TreeInfo, Variant, VariantError,
};

pub use docker::{DOCKER_FOLDER_IMAGES, DockerFolder, DockerFolderTag};
pub use error::TreeError;
pub use files::CACHE;
pub use resolve::{BuildSet, TreeSet};
#[cfg(any(test, fuzzing))]
pub(crate) use upstream::parse_upstream;
pub use upstream::{Upstream, UpstreamChain, read_upstream};

/// Package in one of its variants, the unit of a tree.
pub type PackageKey = Requirement;

/// Reads a variant as it is typed on a command line: `default` and `<default>` name the default one.
pub fn typed_variant(text: &str) -> Result<Variant, VariantError> {
    if ["default", "<default>"].contains(&text) { Ok(Variant::DEFAULT) } else { text.parse() }
}

/// True if a folder has the description of a package, of whatever variant.
pub fn has_buildinfo(folder: &Path) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().ends_with(b"buildinfo.json"))
}

/// All packages of a packages directory and its upstreams, with the trees described in the
/// directory.
#[derive(Debug, Clone)]
pub struct PackageTree {
    root: PathBuf,
    folders: BTreeMap<PackageName, PackageFolder>,
    /// Folders that look like packages, with invalid names.
    misnamed_folders: Vec<Report>,
    trees: BTreeMap<Variant, Result<TreeFile, Report>>,
    misnamed_trees: Vec<Report>,
    /// Oddities of the directory that are let through.
    warnings: Vec<Report>,
    /// `docker/` folders of packages, and builders of `rootfs/`.
    docker_folders: BTreeMap<PackageName, PathBuf>,
}

/// Checked package in one variant.
#[derive(Debug, Clone)]
pub struct Package {
    /// Name and variant.
    pub key: PackageKey,
    /// Folder of the package.
    pub folder: PathBuf,
    /// Contents of its `buildinfo.json`.
    pub info: BuildInfo,
    /// True if an `extra` is beside the `buildinfo.json`.
    pub has_extra: bool,
    /// Questionable but accepted contents.
    pub warnings: Vec<Report>,
    text: String,
}

impl Package {
    /// Path of `[<variant>.]buildinfo.json`.
    pub fn info_path(&self) -> PathBuf {
        self.folder.join(self.key.variant.file("buildinfo.json"))
    }

    /// Path of the build script: a regular file in the package's folder.
    pub fn build_script(&self) -> PathBuf {
        self.folder.join(&self.info.build_script)
    }

    /// Path of `extra`, if present.
    pub fn extra(&self) -> Option<PathBuf> {
        self.has_extra.then(|| self.folder.join("extra"))
    }
}

/// Folder of a package, with its variants, each valid or faulty on its own.
#[derive(Debug, Clone)]
struct PackageFolder {
    path: PathBuf,
    /// Problems of the folder itself, and thereby of all variants.
    problems: Vec<Report>,
    variants: BTreeMap<Variant, Result<Package, Vec<Report>>>,
}

/// Parsed `treeinfo.json`.
#[derive(Debug, Clone)]
struct TreeFile {
    path: PathBuf,
    text: String,
    info: TreeInfo,
}

/// Result of a lookup by name and variant.
#[derive(Debug)]
enum Lookup<'a> {
    Found(&'a Package),
    Broken(Vec<&'a Report>),
    NoVariant(Vec<&'a Variant>),
    Absent,
}

impl PackageTree {
    /// The packages directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The package that a folder of the packages directory is.
    pub fn name_of_folder(&self, folder: &Path) -> Result<PackageName, TreeError> {
        let name = folder.file_name();
        let parsed = name.and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if let Some(parsed) = parsed.filter(|name| self.folders.contains_key(name)) {
            return Ok(parsed);
        }
        match self.misnamed_folders.iter().find(|report| report.path().file_name() == name) {
            Some(report) => Err(TreeError::Problems(vec![report.clone()])),
            None => Err(TreeError::NotAPackage(folder.to_owned())),
        }
    }

    /// Returns a package, if present and valid.
    pub fn package(&self, key: &PackageKey) -> Option<&Package> {
        match self.lookup(key) {
            Lookup::Found(package) => Some(package),
            Lookup::Broken(_) | Lookup::NoVariant(_) | Lookup::Absent => None,
        }
    }

    /// True if a package is there, be it broken or not.
    pub fn has(&self, key: &PackageKey) -> bool {
        !matches!(self.lookup(key), Lookup::Absent | Lookup::NoVariant(_))
    }

    /// The packages that aren't broken, each variant for itself.
    pub fn keys(&self) -> impl Iterator<Item = PackageKey> {
        self.folders.values().flat_map(|folder| {
            folder.variants.values().flatten().map(|package| package.key.clone())
        })
    }

    /// The names of all packages, broken ones too.
    pub fn names(&self) -> impl Iterator<Item = &PackageName> {
        self.folders.keys()
    }

    /// Tree of default variants in memory, each with its `buildinfo.json`.
    #[cfg(test)]
    pub(crate) fn in_memory(packages: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut folders = BTreeMap::new();
        for (name, text) in packages {
            let key = PackageKey { name: name.parse().unwrap(), variant: Variant::DEFAULT };
            let info = BuildInfo::parse(&text, &key.name, &key.variant).unwrap();
            let (folder, warnings) = (PathBuf::new(), Vec::new());
            let package =
                Package { key: key.clone(), folder, info, has_extra: false, warnings, text };
            let variants = BTreeMap::from([(Variant::DEFAULT, Ok(package))]);
            let folder = PackageFolder { path: PathBuf::new(), problems: Vec::new(), variants };
            folders.insert(key.name, folder);
        }
        let info = TreeInfo::default();
        let file = TreeFile { path: PathBuf::new(), text: String::new(), info };
        Self {
            root: PathBuf::new(),
            folders,
            misnamed_folders: Vec::new(),
            trees: BTreeMap::from([(Variant::DEFAULT, Ok(file))]),
            misnamed_trees: Vec::new(),
            docker_folders: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    fn lookup(&self, key: &PackageKey) -> Lookup<'_> {
        let Some(folder) = self.folders.get(&key.name) else { return Lookup::Absent };
        // A fault of the folder is one of all variants: which ones there are is not sure.
        if !folder.problems.is_empty() {
            return Lookup::Broken(folder.problems.iter().collect());
        }
        match folder.variants.get(&key.variant) {
            None => Lookup::NoVariant(folder.variants.keys().collect()),
            Some(Err(reports)) => Lookup::Broken(reports.iter().collect()),
            Some(Ok(package)) => Lookup::Found(package),
        }
    }
}
