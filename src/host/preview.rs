//! Preview of an activation's changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::activate::{ActivateError, Actor, Intended};
use super::active::{ActiveError, linked};
use super::progress;
use super::units::own;
use crate::archive::EntryPath;
use crate::install::{InstallNode, WANTS, WELL_KNOWN};
use crate::package::PackageId;

/// Names that come, go, or stand for something else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NameChanges {
    /// Items that only the new set has.
    pub added: BTreeSet<String>,
    /// Items that only the active set has.
    pub removed: BTreeSet<String>,
    /// Items with changed content.
    pub changed: BTreeSet<String>,
}

/// Changes of an activation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Preview {
    /// Ids of packages.
    pub packages: NameChanges,
    /// Links, by their paths below the install root.
    pub links: NameChanges,
    /// Files, by their paths below the install root.
    pub files: NameChanges,
    /// Units.
    pub units: NameChanges,
    /// Users to be made.
    pub users: Vec<String>,
    /// State directories to be made.
    #[serde(serialize_with = "as_text")]
    pub state_directories: Vec<PathBuf>,
}

impl Actor<'_> {
    /// Determines the changes of an activation of packages.
    pub fn preview(&self, ids: &[PackageId]) -> Result<Preview, ActivateError> {
        let host = self.host;
        if !host.root().is_dir() {
            let missing = fs_err::metadata(host.root()).err();
            let missing = missing.unwrap_or_else(|| io::ErrorKind::NotADirectory.into());
            return Err(ActivateError::Lock(missing));
        }
        // What is active is half of one set and half of another; only a command with the lock may
        // mend that.
        if progress::read(host).map_err(super::swap::SwapError::from)?.is_some() {
            return Err(ActiveError::CutOff(host.root().to_owned()).into());
        }
        // Without the lock, which needs write access: a preview is for everybody.
        let intended = self.intend(ids)?;
        let active = linked(&host.root().join("active"))?.unwrap_or_default();
        let mut preview = Preview {
            packages: packages(&active, ids),
            users: intended.users.missing.iter().map(|user| user.name.to_string()).collect(),
            ..Preview::default()
        };
        let states = intended.packages.iter().filter(|package| package.info.state_directory);
        let states = states.map(|package| host.state().join(package.id.name().as_str()));
        preview.state_directories = states.filter(|path| !path.exists()).collect();
        self.compare_root(&intended, &mut preview).map_err(ActiveError::Unreadable)?;
        self.compare_units(&intended, &mut preview.units)?;
        Ok(preview)
    }

    fn compare_root(&self, intended: &Intended, preview: &mut Preview) -> io::Result<()> {
        let root = self.host.root();
        let mut there = BTreeMap::new();
        for name in WELL_KNOWN {
            let name = EntryPath::parse(name.as_bytes()).unwrap_or_default();
            read_tree(root, name, &mut there)?;
        }
        for name in ["environment", "environment.export", "active.buildinfo.full.json"] {
            if let Ok(content) = fs_err::read(root.join(name)) {
                let name = EntryPath::parse(name.as_bytes()).unwrap_or_default();
                there.insert(name, InstallNode::File(content));
            }
        }
        for (path, node) in &intended.plan.nodes {
            let top = path.parts().next().unwrap_or_default();
            // Those two say what `packages` and `units` of the preview say already.
            if *node == InstallNode::Directory || top == b"active" || top == WANTS.as_bytes() {
                continue;
            }
            let changes = changes_of(preview, node);
            match there.remove(path) {
                None => _ = changes.added.insert(shown(path)),
                Some(other) if other != *node => _ = changes.changed.insert(shown(path)),
                Some(_) => {}
            }
        }
        for (path, node) in there {
            changes_of(preview, &node).removed.insert(shown(&path));
        }
        Ok(())
    }

    fn compare_units(
        &self,
        intended: &Intended,
        changes: &mut NameChanges,
    ) -> Result<(), ActivateError> {
        let host = self.host;
        let mut there: BTreeSet<String> =
            own(host, &host.wants(), &host.root().join("active"))?.into_iter().collect();
        for unit in &intended.plan.units {
            let name = String::from_utf8_lossy(unit.name.as_bytes()).into_owned();
            if !there.remove(&name) {
                changes.added.insert(name);
                continue;
            }
            let package = host.repository().join(unit.package.to_string());
            let content = |path: PathBuf| fs_err::read(path).ok();
            if content(package.join(unit.file.as_path())) != content(host.units().join(&name)) {
                changes.changed.insert(name);
            }
        }
        changes.removed.extend(there);
        Ok(())
    }
}

/// Paths as text; JSON has no other.
fn as_text<S: serde::Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

fn packages(active: &[PackageId], ids: &[PackageId]) -> NameChanges {
    let gone = active.iter().filter(|id| !ids.contains(id));
    let new = ids.iter().filter(|id| !active.contains(id));
    NameChanges {
        added: new.map(ToString::to_string).collect(),
        removed: gone.map(ToString::to_string).collect(),
        changed: BTreeSet::new(),
    }
}

fn changes_of<'a>(preview: &'a mut Preview, node: &InstallNode) -> &'a mut NameChanges {
    match node {
        InstallNode::Symlink(_) => &mut preview.links,
        _ => &mut preview.files,
    }
}

fn shown(path: &EntryPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// Reads links and files below a folder, which may be missing.
fn read_tree(
    root: &Path,
    path: EntryPath,
    there: &mut BTreeMap<EntryPath, InstallNode>,
) -> io::Result<()> {
    let mut open = vec![path];
    while let Some(folder) = open.pop() {
        let entries = match fs_err::read_dir(root.join(folder.as_path())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = EntryPath::parse(entry.file_name().as_bytes()).map_err(io::Error::other)?;
            let path = folder.join(&name);
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                let target = fs_err::read_link(entry.path())?;
                there.insert(path, InstallNode::Symlink(target.as_os_str().as_bytes().to_vec()));
            } else if kind.is_file() {
                there.insert(path, InstallNode::File(fs_err::read(entry.path())?));
            }
        }
    }
    Ok(())
}
