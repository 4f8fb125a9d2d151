//! The cache folder of a tree (docs/format.md, "The cache folder"), shared with the original's tools.
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
use crate::base::confinement;
use crate::package::{PackageId, PackageName, SourceName, Variant};

/// Upper limit of the length of a `latest` file, in bytes.
const LONGEST_LATEST: u64 = 4096;

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

    /// Folder of a package.
    pub fn package_folder(&self, name: &PackageName) -> PathBuf {
        self.root.join("packages").join(name.as_str())
    }

    /// A package's archive.
    pub fn archive(&self, id: &PackageId) -> PathBuf {
        self.package_folder(id.name()).join(format!("{id}.tar.xz"))
    }

    /// True if a package is present. Archives get their name when complete. A symlink does not
    /// count: the target may be any file of the user's.
    pub fn has(&self, id: &PackageId) -> bool {
        is_file(&self.archive(id))
    }

    /// Returns the first symlink among the folders that every run uses. Nothing is read, written or
    /// removed through such a link, as the target may be anywhere.
    pub fn linked(&self) -> Option<PathBuf> {
        let names = ["", "packages", "bootstrap", "complete", "upstream"];
        // These two are removed and made anew with all that is in them.
        let upstream = ["upstream/checkout", "upstream/source"];
        self.first_link(names.into_iter().chain(upstream).map(|name| self.root.join(name)))
    }

    /// Returns the first symlink among the folders of a package and its sources. The folders above
    /// are checked by [`Cache::linked`]; a package's own folder is checked before those of its
    /// sources.
    pub fn linked_folder<'a>(
        &self,
        name: &'a PackageName,
        sources: impl Iterator<Item = &'a SourceName>,
    ) -> Option<PathBuf> {
        let sources = sources.map(|source| self.source(name, source));
        let mut folders = [self.package_folder(name)].into_iter().chain(sources);
        folders.find(|folder| fs_err::symlink_metadata(folder).is_ok_and(|data| data.is_symlink()))
    }

    fn first_link(&self, mut folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
        let packages = self.root.parent().unwrap_or(&self.root);
        folders.find(|folder| {
            let below = folder.strip_prefix(packages).unwrap_or(folder);
            confinement::without_links(packages, below)
                .is_err_and(|error| confinement::leads_out(&error))
        })
    }

    /// Removes the empty folders of packages without results, and their empty parents.
    pub fn remove_empty_folders<'a>(&self, names: impl Iterator<Item = &'a PackageName>) {
        let folders = names.map(|name| self.package_folder(name));
        let above = [self.root.join("packages"), self.root.clone()];
        for folder in folders.chain(above) {
            // Non-empty folders cannot be removed, and need not be.
            drop(fs_err::remove_dir(folder));
        }
    }

    /// Path of a source's folder.
    pub fn source(&self, package: &PackageName, source: &SourceName) -> PathBuf {
        self.package_folder(package).join(source.as_str())
    }

    /// Records the last id of a package's variant; an unchanged record is not touched.
    pub fn write_latest(&self, id: &PackageId, variant: &Variant) -> io::Result<()> {
        let Some(latest) = self.prepare_latest(id, variant)? else { return Ok(()) };
        // A run that was killed between a package and its `latest` has left its own.
        atomic::sweep_temporaries(&self.package_folder(id.name())).log();
        latest.put_in_place()
    }

    /// Returns the last id of a package's variant. What a tree brings in place of the record, such as a link to a
    /// file without an end, is none.
    pub fn last_build(&self, name: &PackageName, variant: &Variant) -> Option<PackageId> {
        let file = variant.file("latest");
        let text =
            confinement::read_text(&self.package_folder(name), Path::new(&file), LONGEST_LATEST);
        text.ok()?.trim().parse().ok()
    }

    /// Prepares the file that [`Cache::write_latest`] writes, if a write is needed.
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

    /// Path of the upstream's checkout.
    pub fn upstream_checkout(&self) -> PathBuf {
        self.root.join("upstream/checkout")
    }
}

/// True if the path is a regular file, not a symlink.
pub fn is_file(path: &Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|data| data.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_links_are_found_and_archives_that_are_links_are_none() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs_err::create_dir_all(outside.join("packages/p/s")).unwrap();
        let id: PackageId = "p--1".parse().unwrap();
        let (name, source): (PackageName, SourceName) =
            ("p".parse().unwrap(), "s".parse().unwrap());
        let links = [
            ("cache", "."),
            ("cache/packages", "packages"),
            ("cache/bootstrap", "."),
            ("cache/complete", "."),
            ("cache/upstream", "."),
            ("cache/upstream/checkout", "."),
            ("cache/upstream/source", "."),
            ("cache/packages/p", "packages/p"),
            ("cache/packages/p/s", "packages/p/s"),
        ];
        for (number, (path, target)) in links.into_iter().enumerate() {
            let packages = place.path().join(number.to_string());
            let link = packages.join(path);
            fs_err::create_dir_all(link.parent().unwrap()).unwrap();
            let cache = Cache::of(&packages);
            let found = || {
                let folder = cache.linked_folder(&name, [&source].into_iter());
                cache.linked().or(folder)
            };
            assert_eq!(found(), None, "{path}");
            fs_err::os::unix::fs::symlink(outside.join(target), &link).unwrap();
            assert!(found().is_some_and(|found| found.starts_with(&packages)), "{path}");
        }
        let packages = place.path().join("archive");
        let cache = Cache::of(&packages);
        fs_err::create_dir_all(cache.package_folder(&name)).unwrap();
        fs_err::write(outside.join("x.tar.xz"), "").unwrap();
        fs_err::os::unix::fs::symlink(outside.join("x.tar.xz"), cache.archive(&id)).unwrap();
        assert!(!cache.has(&id));
        fs_err::remove_file(cache.archive(&id)).unwrap();
        fs_err::write(cache.archive(&id), "").unwrap();
        assert!(cache.has(&id));
    }

    #[test]
    fn what_is_in_place_of_latest_is_neither_waited_for_nor_read_without_an_end() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::of(place.path());
        let id: PackageId = "p--1".parse().unwrap();
        let (name, variant) = (id.name().clone(), Variant::default());
        let folder = cache.package_folder(&name);
        fs_err::create_dir_all(&folder).unwrap();
        let latest = folder.join("latest");
        fs_err::write(place.path().join("outside"), "p--2").unwrap();
        let links = ["/dev/zero", "../../../outside"].map(Some);
        for link in links.into_iter().chain([None]) {
            match link {
                Some(target) => fs_err::os::unix::fs::symlink(target, &latest).unwrap(),
                None => nix::unistd::mkfifo(&latest, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            }
            assert_eq!(cache.last_build(&name, &variant), None, "{link:?}");
            cache.write_latest(&id, &variant).unwrap();
            let data = fs_err::symlink_metadata(&latest).unwrap();
            assert!(data.is_file(), "{link:?}");
            fs_err::remove_file(&latest).unwrap();
        }
        cache.write_latest(&id, &variant).unwrap();
        assert_eq!(cache.last_build(&name, &variant), Some(id));
    }
}
