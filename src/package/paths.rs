//! Paths of artifacts in a repository (docs/format.md).
//!
//! ```text
//! packages/<name>/<id>.tar.xz                    package
//! packages/<name>/<id>.dcos_config               late package, rendered on the host
//! package_lists/<list id>.package_list.json      packages of a cluster
//! bootstrap/<id>.bootstrap.tar.xz                bootstrap
//! bootstrap/<id>.active.json                     ids of a bootstrap's packages
//! ```

use std::fmt::Display;

use super::PackageId;

const LATE: &str = ".dcos_config";
const LISTS: &str = "package_lists/";
const LIST: &str = ".package_list.json";
const BOOTSTRAP: &str = ".bootstrap.tar.xz";
const ACTIVE: &str = ".active.json";

/// Path of a package.
pub fn package_path(id: &PackageId) -> String {
    format!("packages/{}/{id}.tar.xz", id.name())
}

/// Path of a late package.
pub fn late_path(id: &PackageId) -> String {
    format!("packages/{}/{id}{LATE}", id.name())
}

/// True for paths of late packages.
pub fn is_late(path: &str) -> bool {
    path.starts_with("packages/") && path.ends_with(LATE)
}

/// Path of a list of packages.
pub fn package_list_path(id: &str) -> String {
    format!("{LISTS}{id}{LIST}")
}

/// Id of the list of packages at a path.
pub fn package_list_id(path: &str) -> Option<&str> {
    path.strip_prefix(LISTS)?.strip_suffix(LIST)
}

/// Name of a bootstrap's archive.
pub fn bootstrap_name(id: impl Display) -> String {
    format!("{id}{BOOTSTRAP}")
}

/// Name of the list of a bootstrap's packages.
pub fn active_name(id: impl Display) -> String {
    format!("{id}{ACTIVE}")
}

/// Id in the name of a bootstrap's archive.
pub fn bootstrap_id(name: &str) -> Option<&str> {
    name.strip_suffix(BOOTSTRAP)
}

/// Id in the name of the list of a bootstrap's packages.
pub fn active_id(name: &str) -> Option<&str> {
    name.strip_suffix(ACTIVE)
}

/// Path of a bootstrap's archive.
pub fn bootstrap_path(id: impl Display) -> String {
    format!("bootstrap/{}", bootstrap_name(id))
}

/// Path of the list of a bootstrap's packages.
pub fn active_path(id: impl Display) -> String {
    format!("bootstrap/{}", active_name(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_format() {
        let id: PackageId = "a--1".parse().unwrap();
        assert_eq!(package_path(&id), "packages/a/a--1.tar.xz");
        assert_eq!(late_path(&id), "packages/a/a--1.dcos_config");
        assert_eq!(package_list_path("x"), "package_lists/x.package_list.json");
        assert_eq!(package_list_id(&package_list_path("x")), Some("x"));
        assert_eq!(package_list_id("package_lists/x.json"), None);
        assert_eq!(bootstrap_path("b"), "bootstrap/b.bootstrap.tar.xz");
        assert_eq!(active_path("b"), "bootstrap/b.active.json");
        assert!(is_late(&late_path(&id)) && !is_late(&package_path(&id)));
        assert_eq!(bootstrap_id(&bootstrap_name("b")), Some("b"));
        assert_eq!((active_id(&active_name("b")), active_id("b.json")), (Some("b"), None));
    }
}
