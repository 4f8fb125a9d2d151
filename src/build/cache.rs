//! The cache folder of a tree (SPEC §6), shared with the original's tools.
//!
//! ```text
//! packages/<name>/<id>.tar.xz                 the package
//! packages/<name>/[<variant>.]latest          the id of the last build
//! packages/<name>/<source>/…                  downloads, cache.git mirrors
//! bootstrap/<bootstrap id>.bootstrap.tar.xz
//! bootstrap/<bootstrap id>.active.json        list of ids
//! bootstrap/[<variant>.]bootstrap.latest      the bootstrap id
//! complete/[<variant>.]complete.latest.json   {"bootstrap": id or null, "packages": [ids, sorted]}
//! upstream/checkout                           the upstream, expanded
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::base::atomic::{self, PreparedFile};
use crate::package::{PackageId, PackageName, SourceName, Variant};

/// A tree's cache folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of a packages directory.
    pub fn of(packages: &Path) -> Self {
        Self { root: packages.join("cache") }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one package.
    pub fn package_folder(&self, name: &PackageName) -> PathBuf {
        self.root.join("packages").join(name.as_str())
    }

    /// A package's archive.
    pub fn archive(&self, id: &PackageId) -> PathBuf {
        self.package_folder(id.name()).join(format!("{id}.tar.xz"))
    }

    /// Whether a package is there. Archives get their name when they are whole.
    pub fn has(&self, id: &PackageId) -> bool {
        self.archive(id).is_file()
    }

    /// Removes the folders of packages of which nothing came, and those above them.
    pub fn remove_empty_folders<'a>(&self, names: impl Iterator<Item = &'a PackageName>) {
        let folders = names.map(|name| self.package_folder(name));
        let above = [self.root.join("packages"), self.root.clone()];
        for folder in folders.chain(above) {
            // Those that have something in them can't be removed, and needn't.
            drop(fs_err::remove_dir(folder));
        }
    }

    /// Where a source is kept.
    pub fn source(&self, package: &PackageName, source: &SourceName) -> PathBuf {
        self.package_folder(package).join(source.as_str())
    }

    /// Says which id a package's variant had last; touches nothing if it says so already.
    pub fn write_latest(&self, id: &PackageId, variant: &Variant) -> io::Result<()> {
        let Some(latest) = self.prepare_latest(id, variant)? else { return Ok(()) };
        // A run that was killed between a package and its `latest` has left its own.
        atomic::sweep_temporaries(&self.package_folder(id.name())).log();
        latest.put_in_place()
    }

    /// Prepares what [`Cache::write_latest`] writes, if it does.
    pub fn prepare_latest(
        &self,
        id: &PackageId,
        variant: &Variant,
    ) -> io::Result<Option<PreparedFile>> {
        let path = self.package_folder(id.name()).join(variant.file("latest"));
        atomic::prepare_if_changed(&path, id.to_string().as_bytes())
    }

    /// The folder of bootstraps.
    pub fn bootstraps(&self) -> PathBuf {
        self.root.join("bootstrap")
    }

    /// A tree variant's `bootstrap.latest`.
    pub fn bootstrap_latest(&self, variant: &Variant) -> PathBuf {
        self.bootstraps().join(variant.file("bootstrap.latest"))
    }

    /// A tree variant's `complete.latest.json`.
    pub fn complete_latest(&self, variant: &Variant) -> PathBuf {
        self.root.join("complete").join(variant.file("complete.latest.json"))
    }

    /// Where the upstream is expanded.
    pub fn upstream_checkout(&self) -> PathBuf {
        self.root.join("upstream/checkout")
    }
}
