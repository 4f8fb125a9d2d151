//! Reading of the entries of a packages directory, each on its own, so that many are read at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err::DirEntry;

use super::PackageFolder;
use super::files::{BUILD_INFO, CACHE, files_of_kind, package_name, stays_in};
use crate::package::{PackageName, Problem, Report};

/// Result of reading an entry of a packages directory.
pub(super) enum FoundFolder {
    /// The entry has to do with no package.
    Nothing,
    /// Folder of a package, or one with a builder image alone.
    Package { name: PackageName, folder: Option<PackageFolder>, docker: Option<PathBuf> },
    /// Folder that looks like a package, with an invalid name.
    Misnamed(Report),
    /// The cache, with files of a package in it.
    PackageCalledCache(Report),
}

impl FoundFolder {
    /// Reads an entry, unless a nearer directory has a package of that name.
    pub(super) fn read(
        root: &Path,
        entry: &DirEntry,
        nearer: &BTreeMap<PackageName, PackageFolder>,
    ) -> Self {
        let file_name = entry.file_name();
        if file_name.as_encoded_bytes().starts_with(b".") {
            return Self::Nothing;
        }
        let path = entry.path();
        if file_name == CACHE {
            if files_of_kind(&path, BUILD_INFO).is_ok_and(|files| !files.is_empty()) {
                let problem = Problem::whole(format!(
                    "the folder has a {BUILD_INFO}, but is the cache of the packages, so it is not a package"
                ))
                .hint("give the package another name");
                return Self::PackageCalledCache(problem.in_file(&path, ""));
            }
            return Self::Nothing;
        }
        // A link to a folder is a folder, as it was in the original. What lies in it stays in it.
        let is_link = entry.file_type().map_or(true, |kind| kind.is_symlink());
        let is_folder =
            if is_link { path.is_dir() } else { entry.file_type().is_ok_and(|kind| kind.is_dir()) };
        if !is_folder {
            return Self::Nothing;
        }
        // A linked folder may lie anywhere; its own files must not lead out of it.
        let base = if is_link { path.as_path() } else { root };
        let name = package_name(&file_name);
        if name.as_ref().is_ok_and(|name| nearer.contains_key(name)) {
            return Self::Nothing;
        }
        let files = files_of_kind(&path, BUILD_INFO);
        match name {
            Ok(name) => {
                let docker = path.join("docker");
                // Most packages have none, which is cheaper to find out.
                let is_there = fs_err::symlink_metadata(&docker).is_ok();
                let stays = if is_there { stays_in(base, &docker) } else { Ok(()) };
                let has_docker = is_there && docker.is_dir() && stays.is_ok();
                let has_files = files.as_ref().map_or(true, |files| !files.is_empty());
                let folder = has_files.then(|| {
                    let mut folder =
                        PackageFolder::read(&name, base, path.clone(), has_docker, files);
                    folder.problems.extend(stays.err());
                    folder
                });
                Self::Package { name, folder, docker: has_docker.then_some(docker) }
            }
            Err(error) if files.is_ok_and(|files| !files.is_empty()) => {
                let problem = Problem::whole(format!(
                    "the folder has a {BUILD_INFO}, but can't be a package: {error}"
                ))
                .hint("rename the folder, or begin its name with a dot to have it ignored");
                Self::Misnamed(problem.in_file(&path, ""))
            }
            Err(_) => Self::Nothing,
        }
    }
}
