//! New trees and packages from templates. New files pass `mkpanda check` and build; existing files stay.
//!
//! ```text
//! <tree>/treeinfo.json      {}: all packages
//! <tree>/mkpanda.toml       the builder image, and what else may be set
//! <tree>/.gitignore         the cache
//! <tree>/hello/             an example
//! <tree>/<package>/buildinfo.json, build
//! ```

mod source;
mod templates;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::confinement;
use crate::base::escape::path_argument;
use crate::base::regular::read_regular;
use crate::package::{PackageName, variant_of_file};
use crate::tree::{CACHE, has_buildinfo};

/// Upper limit of a `.gitignore` that is looked at, in bytes.
const LONGEST_IGNORE_FILE: u64 = 1 << 20;

pub use source::{DeclareError, NewSource, local_file};

/// Kind of a new folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CreatedKind {
    /// A tree.
    Tree,
    /// A package in a tree.
    Package,
}

/// New tree or package, with the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Created {
    /// Kind.
    pub kind: CreatedKind,
    /// Folder.
    pub path: PathBuf,
    /// Files in the order of writing.
    pub files: Vec<PathBuf>,
    /// A `.gitignore` that was there before and does not have the tree's cache: what is missing there.
    pub not_ignored: Option<PathBuf>,
}

/// A tree or a package cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// A file exists already.
    #[error("{} is there already, so nothing was written", .0.display())]
    Exists(PathBuf),
    /// The folder is a tree already.
    #[error("{} is a tree already, so nothing was written", .0.display())]
    IsTree(PathBuf),
    /// The name is that of the tree's cache.
    #[error("{} is the cache of the tree, so no package can be there, and nothing was written", .0.display())]
    IsCache(PathBuf),
    /// A folder on the way is a symlink.
    #[error("{} leads through a symlink, so nothing was written", .0.display())]
    Link(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The source cannot be declared.
    #[error(transparent)]
    Source(#[from] DeclareError),
}

impl ScaffoldError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::IsCache(_) => Some("give the package another name".to_owned()),
            Self::Exists(_) => Some("give another name, or move it away first".to_owned()),
            Self::Link(_) => {
                Some("write in the place where it leads, or move it away first".to_owned())
            }
            Self::IsTree(path) => {
                Some(format!("a new package in it: mkpanda -C {} init NAME", path_argument(path)))
            }
            Self::Write { .. } => None,
            Self::Source(error) => error.hint(),
        }
    }
}

/// New file.
struct NewFile {
    name: String,
    text: String,
    mode: u32,
}

impl NewFile {
    fn plain(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), mode: 0o644 }
    }

    fn script(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), mode: 0o755 }
    }
}

/// True if a folder is a packages folder: it has the description of a tree, or a package.
pub fn is_tree(folder: &Path) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    let is_description =
        |name: &str, suffix| variant_of_file(name, suffix).is_some_and(|it| it.is_ok());
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let is_own = name.to_str().is_some_and(|name| is_description(name, "treeinfo.json"));
        // Names that begin with a dot are no packages (docs/format.md).
        is_own || has_buildinfo(&entry.path()) && !is_hidden(&entry.path())
    })
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Makes a tree with an example in a folder, which may have other files.
pub fn tree(folder: &Path) -> Result<Created, ScaffoldError> {
    if is_tree(folder) {
        return Err(ScaffoldError::IsTree(folder.to_owned()));
    }
    let mut files = vec![
        NewFile::plain("treeinfo.json", "{}\n"),
        NewFile::plain("mkpanda.toml", templates::CONFIGURATION),
        NewFile::plain("hello/buildinfo.json", templates::buildinfo(None)),
        NewFile::script("hello/build", templates::EXAMPLE),
    ];
    // A folder under git often has one, and its lines have to stay.
    let ignored = folder.join(".gitignore");
    let has_cache = read_regular(&ignored, LONGEST_IGNORE_FILE).is_ok_and(|text| {
        let text = String::from_utf8_lossy(&text);
        text.lines().any(|line| line.trim().trim_matches('/') == CACHE)
    });
    let is_there = fs_err::symlink_metadata(&ignored).is_ok();
    if !is_there {
        files.push(NewFile::plain(".gitignore", format!("/{CACHE}/\n")));
    }
    let created = write(CreatedKind::Tree, folder, Path::new(""), &files)?;
    Ok(Created { not_ignored: (is_there && !has_cache).then_some(ignored), ..created })
}

/// Fails if a tree can have no package of that name, or has one, or anything else in its place.
pub fn refuse_to_replace(tree: &Path, name: &PackageName) -> Result<(), ScaffoldError> {
    let folder = tree.join(name.as_str());
    if name.as_str() == CACHE {
        return Err(ScaffoldError::IsCache(folder));
    }
    let taken = ["buildinfo.json", "build"].map(|file| folder.join(file));
    let is_there = |path: &&PathBuf| fs_err::symlink_metadata(path).is_ok();
    match taken.iter().find(is_there) {
        Some(path) => Err(ScaffoldError::Exists(path.clone())),
        // A package may have descriptions of variants alone.
        None if has_buildinfo(&folder) => Err(ScaffoldError::Exists(folder)),
        None => refuse_links(tree, Path::new(name.as_str())),
    }
}

/// Fails if a path below a folder leads through a symlink, which may lead out of a tree.
fn refuse_links(folder: &Path, path: &Path) -> Result<(), ScaffoldError> {
    match confinement::without_links(folder, path) {
        Err(error) if confinement::leads_out(&error) => Err(ScaffoldError::Link(folder.join(path))),
        _ => Ok(()),
    }
}

/// Makes a package in a tree.
pub fn package(
    tree: &Path,
    name: &PackageName,
    source: Option<&NewSource>,
) -> Result<Created, ScaffoldError> {
    let script = match source {
        None => templates::PACKAGE.to_owned(),
        Some(_) => templates::with_source(name),
    };
    let declared = source.map(|source| (name, source));
    let files = [
        NewFile::plain("buildinfo.json", templates::buildinfo(declared)),
        NewFile::script("build", script),
    ];
    write(CreatedKind::Package, tree, Path::new(name.as_str()), &files)
}

/// Writes new files into a folder below another one; fails if one of the files exists.
fn write(
    kind: CreatedKind,
    top: &Path,
    below: &Path,
    files: &[NewFile],
) -> Result<Created, ScaffoldError> {
    let path = if below.as_os_str().is_empty() { top.to_owned() } else { top.join(below) };
    let places: Vec<PathBuf> = files.iter().map(|file| path.join(&file.name)).collect();
    for file in files {
        let file = below.join(&file.name);
        refuse_links(top, file.parent().unwrap_or(below))?;
    }
    if let Some(taken) = places.iter().find(|place| fs_err::symlink_metadata(place).is_ok()) {
        // All of them are looked up before the first is written: nothing is left half made.
        return Err(ScaffoldError::Exists(taken.clone()));
    }
    for (file, place) in files.iter().zip(&places) {
        let failed = |source| ScaffoldError::Write { path: place.clone(), source };
        if let Some(above) = place.parent() {
            fs_err::create_dir_all(above).map_err(failed)?;
        }
        // Even if it came to be there just now.
        let mut options = fs_err::OpenOptions::new();
        options.write(true).create_new(true);
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, file.mode);
        let mut opened = options.open(place).map_err(failed)?;
        opened.write_all(file.text.as_bytes()).map_err(failed)?;
    }
    Ok(Created { kind, path, files: places, not_ignored: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_through_a_symlink() {
        let place = tempfile::tempdir().unwrap();
        let (folder, private) = (place.path().join("tree"), place.path().join("private"));
        fs_err::create_dir(&private).unwrap();
        fs_err::create_dir(&folder).unwrap();
        for target in ["../private", "missing", "own"] {
            fs_err::create_dir_all(folder.join("own")).unwrap();
            for name in ["hello", "new"] {
                fs_err::os::unix::fs::symlink(target, folder.join(name)).unwrap();
            }
            let made = tree(&folder);
            assert!(matches!(made, Err(ScaffoldError::Link(_))), "{target}: {made:?}");
            let name = "new".parse().unwrap();
            let made = refuse_to_replace(&folder, &name);
            assert!(matches!(made, Err(ScaffoldError::Link(_))), "{target}: {made:?}");
            let made = package(&folder, &name, None);
            assert!(matches!(made, Err(ScaffoldError::Link(_))), "{target}: {made:?}");
            for name in ["hello", "new"] {
                fs_err::remove_file(folder.join(name)).unwrap();
            }
        }
        assert!(fs_err::read_dir(&private).unwrap().next().is_none());
        assert!(fs_err::read_dir(folder.join("own")).unwrap().next().is_none());
        // The tree itself may be reached by a link.
        fs_err::os::unix::fs::symlink("tree", place.path().join("alias")).unwrap();
        tree(&place.path().join("alias")).unwrap();
    }

    #[test]
    fn nothing_is_replaced_and_nothing_is_half_written() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("tree");
        fs_err::create_dir_all(folder.join("hello")).unwrap();
        fs_err::write(folder.join("hello/build"), "mine").unwrap();
        assert!(
            matches!(tree(&folder), Err(ScaffoldError::Exists(path)) if path.ends_with("hello/build"))
        );
        assert_eq!(fs_err::read_dir(&folder).unwrap().count(), 1);
        fs_err::remove_file(folder.join("hello/build")).unwrap();
        assert_eq!(tree(&folder).unwrap().files.len(), 5);
        assert!(matches!(tree(&folder), Err(ScaffoldError::IsTree(_))));
        let other = place.path().join("other");
        fs_err::create_dir(&other).unwrap();
        fs_err::write(other.join(".gitignore"), "*.o\n").unwrap();
        let created = tree(&other).unwrap();
        assert_eq!((created.files.len(), created.not_ignored), (4, Some(other.join(".gitignore"))));
        assert_eq!(fs_err::read_to_string(other.join(".gitignore")).unwrap(), "*.o\n");
        let name = "hello".parse().unwrap();
        assert!(matches!(package(&folder, &name, None), Err(ScaffoldError::Exists(_))));
        assert_eq!(package(&folder, &"zlib".parse().unwrap(), None).unwrap().files.len(), 2);
        assert!(is_tree(&folder) && !is_tree(place.path()) && !is_tree(&folder.join("zlib")));
    }
}
