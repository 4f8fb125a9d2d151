//! Submodules of a check-out from an untrusted network repository: each at the commit in its
//! parent's tree, fetched from the URL in `.gitmodules`.
//!
//! The check-out does not use `git submodule`, so that the result is the same with any git: only
//! URLs that ADD accepts are fetched, only folders that git has just made are entered, and number
//! and depth are limited.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use git2::{Config, Repository};

use super::git_fetch::{Fetcher, unusable};
use super::git_selection::is_fetchable;
use super::{SourceProblem, SubmoduleProblem};
use crate::base::http::redact;
use crate::base::memory_file::memory_file;
use crate::base::removal::remove_all;

/// Upper limit of nested repositories.
const DEEPEST: usize = 10;
/// Upper limit of repositories in total.
const MOST: usize = 1000;
/// Size limit of `.gitmodules` in bytes.
const LONGEST: usize = 1 << 20;
/// The mode of a submodule in a tree.
const GITLINK: u32 = 0o160_000;

/// Checks out submodules, and notes where.
pub(super) struct Submodules<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    /// Folders of the checked out submodules.
    pub(super) folders: Vec<PathBuf>,
}

/// Declaration of a submodule in `.gitmodules`.
#[derive(Debug, Default, PartialEq, Eq)]
struct DeclaredSubmodule {
    path: String,
    url: String,
    /// True for `update = none`.
    left_out: bool,
}

impl Submodules<'_> {
    /// Checks out all submodules of a check-out, and theirs.
    pub(super) fn check_out(
        &mut self,
        folder: &Path,
        url: &str,
        depth: usize,
    ) -> Result<(), SourceProblem> {
        let repository = Repository::open(folder).map_err(|error| unusable(folder, &error))?;
        let links = links(&repository).map_err(|error| unusable(folder, &error))?;
        if links.is_empty() {
            return Ok(());
        }
        let shown = redact(url);
        let problem = |path: &str, problem| SourceProblem::Submodule {
            path: path.to_owned(),
            url: shown.clone(),
            problem,
        };
        let declared = declared(&repository).map_err(|found| problem(".gitmodules", found))?;
        for (path, commit) in links {
            let failed = |found| problem(&path, found);
            let known = declared.iter().find(|known| known.path == path && !known.url.is_empty());
            let known = known.ok_or_else(|| failed(SubmoduleProblem::Undeclared))?;
            if known.left_out {
                continue;
            }
            if depth >= DEEPEST {
                return Err(failed(SubmoduleProblem::Deep(DEEPEST)));
            }
            if self.folders.len() >= MOST {
                return Err(failed(SubmoduleProblem::Many(MOST)));
            }
            let from = resolved(url, &known.url)
                .ok_or_else(|| failed(SubmoduleProblem::Url(redact(&known.url))))?;
            let place = place(folder, &path).map_err(failed)?;
            self.folders.push(place.clone());
            self.fetcher.check_out(&place, &from, &commit)?;
            self.check_out(&place, &from, depth + 1)?;
        }
        Ok(())
    }
}

/// Returns the submodules in the check-out's index, which git has filled from the commit: paths and
/// commits. Names that are not UTF-8 cannot be declared.
fn links(repository: &Repository) -> Result<Vec<(String, String)>, git2::Error> {
    let index = repository.index()?;
    let links = index.iter().filter(|entry| entry.mode == GITLINK);
    Ok(links
        .map(|entry| (String::from_utf8_lossy(&entry.path).into_owned(), entry.id.to_string()))
        .collect())
}

/// Reads the declarations in the commit's `.gitmodules`.
fn declared(repository: &Repository) -> Result<Vec<DeclaredSubmodule>, SubmoduleProblem> {
    let bad = |error: git2::Error| SubmoduleProblem::Declarations(error.message().to_owned());
    let wrong = |text: &str| SubmoduleProblem::Declarations(text.to_owned());
    let tree = repository.head().and_then(|head| head.peel_to_tree()).map_err(bad)?;
    let Some(entry) = tree.get_name(".gitmodules") else { return Ok(Vec::new()) };
    if !matches!(entry.filemode(), 0o100_644 | 0o100_755 | 0o100_664) {
        return Err(wrong("it is not a regular file"));
    }
    let blob = repository.find_blob(entry.id()).map_err(bad)?;
    if blob.size() > LONGEST {
        return Err(wrong("it is too long"));
    }
    // libgit2 would read the files that an include names.
    if String::from_utf8_lossy(blob.content()).to_ascii_lowercase().contains("[include") {
        return Err(wrong("it includes other files"));
    }
    parse(blob.content())
}

fn parse(text: &[u8]) -> Result<Vec<DeclaredSubmodule>, SubmoduleProblem> {
    let bad = |error: git2::Error| SubmoduleProblem::Declarations(error.message().to_owned());
    let failed = |error: std::io::Error| SubmoduleProblem::Declarations(error.to_string());
    let mut file = memory_file().map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let config = Config::open(Path::new(&path)).map_err(bad)?;
    let mut declared: BTreeMap<String, DeclaredSubmodule> = BTreeMap::new();
    let mut entries = config.entries(Some("submodule\\..*\\..*")).map_err(bad)?;
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(bad)?;
        let (Ok(name), true) = (entry.name(), entry.has_value()) else { continue };
        let Some((name, key)) = name.rsplit_once('.') else { continue };
        let Ok(value) = entry.value() else { continue };
        let known = declared.entry(name.to_owned()).or_default();
        match key {
            "path" => value.trim_end_matches('/').clone_into(&mut known.path),
            "url" => value.clone_into(&mut known.url),
            "update" => known.left_out = value == "none",
            _ => {}
        }
    }
    Ok(declared.into_values().collect())
}

/// Folder of a submodule, which must exist, be empty, and be reachable without symlinks.
fn place(folder: &Path, path: &str) -> Result<PathBuf, SubmoduleProblem> {
    let mut place = folder.to_owned();
    let mut is_empty = true;
    for part in Path::new(path).components() {
        let Component::Normal(name) = part else { return Err(SubmoduleProblem::Path) };
        // A submodule there would replace the repository's configuration and hooks.
        if name.eq_ignore_ascii_case(".git") || name.as_bytes().contains(&0) {
            return Err(SubmoduleProblem::Path);
        }
        place.push(name);
        match fs_err::symlink_metadata(&place) {
            Ok(data) if data.is_dir() => {}
            Ok(_) => return Err(SubmoduleProblem::InTheWay),
            Err(_) => fs_err::create_dir(&place).map_err(SubmoduleProblem::Folder)?,
        }
        is_empty = false;
    }
    let mut entries = fs_err::read_dir(&place).map_err(SubmoduleProblem::Folder)?;
    if is_empty || entries.next().is_some() {
        return Err(SubmoduleProblem::InTheWay);
    }
    Ok(place)
}

/// Resolves the URL of a submodule: absolute, or relative to the parent's URL without leaving its
/// host.
fn resolved(above: &str, url: &str) -> Option<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return is_fetchable(url).then(|| url.to_owned());
    }
    let start = above.find("://").map_or(0, |at| at + "://".len());
    let separator = if start > 0 { '/' } else { ':' };
    let at = above[start..].find(separator)? + start + 1;
    let (host, path) = above.split_at(at);
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for part in url.split('/') {
        match part {
            "" | "." => {}
            // Not above the host: the rest would be another server.
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    // An address of ssh's may begin at the root.
    let root = if separator == ':' && path.starts_with('/') { "/" } else { "" };
    let resolved = format!("{host}{root}{}", parts.join("/"));
    (!parts.is_empty() && is_fetchable(&resolved)).then_some(resolved)
}

/// Removes the `.git` files and folders of check-outs.
pub(super) fn remove_git(folders: &[PathBuf]) -> Result<(), SourceProblem> {
    for folder in folders {
        remove_all(&folder.join(OsStr::new(".git")))
            .map_err(SourceProblem::io("tidy a check-out"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_urls_stay_on_their_host() {
        for (above, url, result) in [
            ("https://h/g/a.git", "../b.git", Some("https://h/g/b.git")),
            ("https://h/g/a.git/", "./b", Some("https://h/g/a.git/b")),
            ("https://u@h:8/a.git", "../b", Some("https://u@h:8/b")),
            ("https://h/a.git", "../../b", None),
            ("https://h/a.git", "../", None),
            ("git@h:g/a.git", "../b.git", Some("git@h:g/b.git")),
            ("git@h:a.git", "../b", Some("git@h:b")),
            ("git@h:/srv/a.git", "../b", Some("git@h:/srv/b")),
            ("git@h:a.git", "../../b", None),
            ("https://h/a.git", "https://other/x", Some("https://other/x")),
            ("https://h/a.git", "/etc/x", None),
            ("https://h/a.git", "file:///etc/x", None),
            ("https://h/a.git", "ext::sh -c id", None),
            ("https://h/a.git", "-x", None),
        ] {
            assert_eq!(resolved(above, url).as_deref(), result, "{above} {url}");
        }
    }

    #[test]
    fn folders_are_entered_only_if_they_are_empty_and_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs_err::create_dir_all(root.join("full/x")).unwrap();
        fs_err::create_dir(root.join("empty")).unwrap();
        fs_err::os::unix::fs::symlink("/tmp", root.join("link")).unwrap();
        for path in ["empty", "new/deep", "full/x"] {
            assert_eq!(place(root, path).unwrap(), root.join(path));
        }
        for path in ["../x", "/x", "a/../../x", "", ".git/x", "a/.GIT/hooks"] {
            assert!(place(root, path).is_err(), "{path}");
        }
        for path in ["full", "link", "link/x"] {
            assert!(matches!(place(root, path), Err(SubmoduleProblem::InTheWay)), "{path}");
        }
    }

    #[test]
    fn declarations_are_read_as_git_reads_them() {
        let text = b"[submodule \"A.b\"]\n\tpath = \"x y\"\n\turl = ../b ; why\n\
            [submodule \"c\"]\npath=c/\nurl=https://h/c\nupdate=none\n[other]\npath=z\n";
        let one = |path: &str, url: &str, left_out| DeclaredSubmodule {
            path: path.to_owned(),
            url: url.to_owned(),
            left_out,
        };
        assert_eq!(
            parse(text).unwrap(),
            [one("x y", "../b", false), one("c", "https://h/c", true)]
        );
        assert!(parse(b"[submodule \"c\"\npath").is_err());
    }
}
