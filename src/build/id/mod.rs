//! Inputs of a package's id, and the two files that repeat them (docs/format.md, "Package id").
//!
//! `version = H(build_ids)`: the same tree with the same image ids has the same ids as in the
//! original. [`identify`] reads the relevant files and asks its caller for two inputs of other
//! layers, the images' ids and the commits of local repositories; everything else is pure.

mod documents;
mod folder;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use serde_json::{Map, Value};

use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::base::parallel;
use crate::package::hash::{self, HashError};
use crate::package::{CommitId, NameError, PackageId, SourceName, SourceSpec};
use crate::tree::{Package, PackageKey, PackageTree};

pub use documents::Documents;
pub use folder::{FileHasher, FolderError};

/// The format's version, which is part of every id.
pub const FORMAT_VERSION: &str = "0.2";

/// Inputs of a package's id outside of its `buildinfo.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// Id of the builder image: the digest of its configuration.
    pub image: Sha256Sum,
    /// The SHA-1 of the build script.
    pub build: Sha1Sum,
    /// The hash of `extra`, if there is one.
    pub extra: Option<Sha1Sum>,
    /// The commits of sources of kind `git_local`.
    pub heads: BTreeMap<SourceName, CommitId>,
}

/// Id of a package, with its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageIdentity {
    /// Name and variant.
    pub key: PackageKey,
    /// The id.
    pub id: PackageId,
    /// Inputs outside of `buildinfo.json`.
    pub inputs: Inputs,
    /// All direct and indirect requirements: indices in [`Identities`], in the order of their ids.
    dependencies: Vec<usize>,
    /// Id as text, the sort key of lists of ids.
    text: String,
    /// Hash of the text, which enters the ids of all dependent packages.
    hash_of_text: Sha1Sum,
}

/// Ids of packages, in dependency order.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    all: Vec<PackageIdentity>,
    places: HashMap<PackageKey, usize>,
}

/// Reason why a package has no id; `E` is the error of the caller's functions.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError<E: Error + 'static> {
    /// A file of the package can't be hashed.
    #[error("package {package}: can't make its id")]
    Files {
        /// The package.
        package: PackageKey,
        /// Problem with the file.
        #[source]
        source: FolderError,
    },
    /// An image or a repository is missing.
    #[error("package {package}: can't make its id")]
    Outside {
        /// The package.
        package: PackageKey,
        /// Reason.
        #[source]
        source: E,
    },
    /// A value of the `buildinfo.json` has no hash.
    #[error("package {package}: can't make its id")]
    Hash {
        /// The package.
        package: PackageKey,
        /// The value.
        #[source]
        source: HashError,
    },
    /// The resulting version is not valid.
    #[error("package {package}: can't make its id")]
    Version {
        /// The package.
        package: PackageKey,
        /// Reason.
        #[source]
        source: NameError,
    },
    /// A package is not in the tree, or precedes a required package.
    #[error("package {0} can't have an id before all that it requires has one")]
    Order(PackageKey),
}

/// Computes the ids of packages of a tree, given in dependency order. `image` returns the id of a
/// package's builder image, `head` the commit of a `git_local` source, whose `rel_path` is relative
/// to the package's folder.
pub fn identify<E: Error + 'static>(
    tree: &PackageTree,
    order: &[PackageKey],
    hasher: &FileHasher<'_>,
    mut image: impl FnMut(&Package) -> Result<Sha256Sum, E>,
    mut head: impl FnMut(&Package, &SourceName, &str) -> Result<CommitId, E>,
) -> Result<Identities, IdentityError<E>> {
    let packages: Vec<&Package> =
        distinct(order).into_iter().filter_map(|key| tree.package(key)).collect();
    // All at once and before the order counts: reading files is the slow part, and independent of
    // other packages.
    let sums = parallel::each_short(&packages, |package| sums_of_files(package, hasher));
    let keys = packages.iter().map(|package| &package.key);
    let mut sums: HashMap<&PackageKey, _> = keys.zip(sums).collect();
    identify_with(tree, order, |package| {
        let key = || package.key.clone();
        let outside = |source| IdentityError::Outside { package: key(), source };
        let files = |source| IdentityError::Files { package: key(), source };
        let mut heads = BTreeMap::new();
        for (name, source) in &package.info.sources {
            if let SourceSpec::GitLocal { rel_path } = &source.spec {
                heads.insert(name.clone(), head(package, name, rel_path).map_err(outside)?);
            }
        }
        let image = image(package).map_err(outside)?;
        let sums = sums.remove(&package.key).unwrap_or_else(|| sums_of_files(package, hasher));
        let (build, extra) = sums.map_err(files)?;
        Ok(Inputs { image, build, extra, heads })
    })
}

/// [`identify`] without reading anything.
pub fn identify_with<E: Error + 'static>(
    tree: &PackageTree,
    order: &[PackageKey],
    mut inputs: impl FnMut(&Package) -> Result<Inputs, IdentityError<E>>,
) -> Result<Identities, IdentityError<E>> {
    let order = distinct(order);
    let mut identities = Identities::default();
    let mut scratch = Scratch { seen: vec![usize::MAX; order.len()], ranks: ranks(&order) };
    for key in order {
        let out_of_order = || IdentityError::Order(key.clone());
        let package = tree.package(key).ok_or_else(out_of_order)?;
        let dependencies = identities.closure(package, &mut scratch).ok_or_else(out_of_order)?;
        let inputs = inputs(package)?;
        let requires =
            hash::hash_list(dependencies.iter().map(|&place| &identities.all[place].hash_of_text));
        let id = id_of(package, &inputs, requires)?;
        let text = id.to_string();
        let hash_of_text = Sha1Sum::of(text.as_bytes());
        identities.places.insert(key.clone(), identities.all.len());
        let key = key.clone();
        let identity = PackageIdentity { key, id, inputs, dependencies, text, hash_of_text };
        identities.all.push(identity);
    }
    Ok(identities)
}

/// Computes the id of a package outside of its tree, and the files that describe it. `requires` are
/// the ids of all that it requires, in their order.
pub fn identify_alone<E: Error + 'static>(
    package: &Package,
    inputs: &Inputs,
    requires: &[PackageId],
) -> Result<(PackageId, Documents), IdentityError<E>> {
    let texts: Vec<String> = requires.iter().map(ToString::to_string).collect();
    let hashes: Vec<Sha1Sum> = texts.iter().map(|text| Sha1Sum::of(text.as_bytes())).collect();
    let id = id_of(package, inputs, hash::hash_list(hashes.iter()))?;
    let ids = documents::build_ids(package, inputs, texts.iter().map(String::as_str));
    let documents = documents::documents(package, inputs, &id, ids);
    Ok((id, documents))
}

/// Id of a package, given the hash of the list of all that it requires.
fn id_of<E: Error + 'static>(
    package: &Package,
    inputs: &Inputs,
    requires: Sha1Sum,
) -> Result<PackageId, IdentityError<E>> {
    let key = || package.key.clone();
    let hash = documents::hash_build_ids(package, inputs, requires)
        .map_err(|source| IdentityError::Hash { package: key(), source })?;
    let version = match &package.info.version_extra {
        None => hash.to_string(),
        Some(extra) => format!("{extra}.{hash}"),
    };
    let version =
        version.parse().map_err(|source| IdentityError::Version { package: key(), source })?;
    Ok(PackageId::new(package.key.name.clone(), version))
}

/// The files of a package that its id depends on: the sum of its build script, and that of `extra/`.
pub fn sums_of_files(
    package: &Package,
    hasher: &FileHasher<'_>,
) -> Result<(Sha1Sum, Option<Sha1Sum>), FolderError> {
    let build = hasher.hash_file(&package.build_script())?;
    let extra = package.extra().map(|path| hasher.hash_folder(&path)).transpose()?;
    Ok((build, extra))
}

impl Identities {
    /// Returns all ids, in dependency order.
    pub fn iter(&self) -> impl Iterator<Item = &PackageIdentity> {
        self.all.iter()
    }

    /// Returns the id of a package.
    pub fn get(&self, key: &PackageKey) -> Option<&PackageIdentity> {
        self.all.get(*self.places.get(key)?)
    }

    /// All direct and indirect requirements of a package, in the order of their ids.
    pub fn dependencies<'a>(
        &'a self,
        package: &'a PackageIdentity,
    ) -> impl ExactSizeIterator<Item = &'a PackageIdentity> {
        package.dependencies.iter().map(|&place| &self.all[place])
    }

    /// `None` if a requirement has no id yet.
    fn closure(&self, package: &Package, scratch: &mut Scratch) -> Option<Vec<usize>> {
        let mark = self.all.len();
        let mut found = Vec::new();
        for required in &package.info.requires {
            let place = *self.places.get(required)?;
            for place in std::iter::once(place).chain(self.all[place].dependencies.iter().copied())
            {
                if scratch.seen[place] != mark {
                    scratch.seen[place] = mark;
                    found.push(place);
                }
            }
        }
        // The order of the ids as texts, which the hash depends on. Names are ranked once, as
        // comparing whole ids of ten thousand packages takes seconds.
        found.sort_unstable_by(|&a, &b| {
            let by_name = scratch.ranks[a].cmp(&scratch.ranks[b]);
            by_name.then_with(|| self.all[a].text.cmp(&self.all[b].text))
        });
        Some(found)
    }
}

/// Buffers shared by all packages, so that ten thousand packages take a moment.
struct Scratch {
    /// Last package that reached each index, as a replacement for one set per package.
    seen: Vec<usize>,
    /// Rank of each package's name in the order of ids: no `<name>--` is a prefix of another, so
    /// ids of two names are ordered as their names.
    ranks: Vec<usize>,
}

fn distinct(order: &[PackageKey]) -> Vec<&PackageKey> {
    let mut seen = std::collections::HashSet::new();
    order.iter().filter(|key| seen.insert(*key)).collect()
}

fn ranks(order: &[&PackageKey]) -> Vec<usize> {
    // With the separator, which decides where one name begins with another.
    let mut names: Vec<String> = order.iter().map(|key| format!("{}--", key.name)).collect();
    let wanted = names.clone();
    names.sort_unstable();
    names.dedup();
    let ranks: HashMap<&String, usize> =
        names.iter().enumerate().map(|(rank, name)| (name, rank)).collect();
    wanted.iter().filter_map(|name| ranks.get(name).copied()).collect()
}

/// Keys that a source's id adds: `{"commit": …}` or `{"downloaded_sha1": …}`.
fn source_id(name: &SourceName, spec: &SourceSpec, inputs: &Inputs) -> Map<String, Value> {
    let (key, value) = match spec {
        SourceSpec::Git { commit, .. } => ("commit", Some(commit.as_str())),
        SourceSpec::GitLocal { .. } => ("commit", inputs.heads.get(name).map(CommitId::as_str)),
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
            ("downloaded_sha1", Some(file.sha1.as_str()))
        }
    };
    value.map(|value| (key.to_owned(), Value::from(value))).into_iter().collect()
}
