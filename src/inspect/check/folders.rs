//! Oddities of folders: large files, and folders that look like packages.

use std::collections::BTreeSet;
use std::path::Path;

use super::finding::{Rule, TreeFindings, whole};
use crate::base::suggestion::nearest;
use crate::package::PackageName;
use crate::tree::{Package, PackageTree};

/// Size of a large file in `extra/`, in bytes.
const LARGE: u64 = 10 << 20;

/// Finds large files in a package's `extra/`.
pub(super) fn check_extra(package: &Package, findings: &mut TreeFindings) {
    let Some(extra) = package.extra() else { return };
    for entry in walkdir::WalkDir::new(&extra).into_iter().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        if data.is_file() && data.len() > LARGE {
            let message = format!(
                "the file has {} MiB, and is read whenever the package's id is made",
                data.len() >> 20
            );
            let hint = "declare it as a source, which is fetched when it is needed";
            findings.warning(Rule::LargeFile, whole(entry.path(), message, hint));
        }
    }
}

/// Finds folders with a build script and without a description.
pub(super) fn check_root(tree: &PackageTree, findings: &mut TreeFindings) {
    let names: BTreeSet<&str> = tree.names().map(PackageName::as_str).collect();
    let Ok(entries) = fs_err::read_dir(tree.root()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        // The tree's own cache has folders with build scripts of packages, too.
        let is_passed_over = name.as_encoded_bytes().starts_with(b".") || name == "cache";
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_package = name.to_str().is_some_and(|name| names.contains(name));
        if !is_passed_over && is_folder && !is_package {
            check_folder(&entry.path(), findings);
        }
    }
}

fn check_folder(folder: &Path, findings: &mut TreeFindings) {
    const DESCRIPTION: &str = "buildinfo.json";
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    let names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    // `buildinfo.jsn` and the like: without this, the folder would be passed over in silence.
    let near = names.iter().find(|name| nearest(name, [DESCRIPTION]).is_some());
    let is_described = names.iter().any(|name| name.ends_with(DESCRIPTION));
    let hint = match near {
        Some(near) => format!("rename {near} to {DESCRIPTION}"),
        None => format!("write {DESCRIPTION}: {{}} is a package without sources"),
    };
    if !is_described && (near.is_some() || names.iter().any(|name| name == "build")) {
        let message =
            format!("the folder looks like a package, but is not one: it has no {DESCRIPTION}");
        findings.warning(Rule::NotAPackage, whole(folder, message, &hint));
    }
}
