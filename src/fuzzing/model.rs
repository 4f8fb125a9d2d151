//! Model of an unpacked layer in memory: folders as maps, symlinks resolved by hand.
//!
//! The model uses no descriptors and system calls, so that model and code cannot have the same
//! fault. If the model refuses an archive, unpacking must fail, too.

use std::collections::BTreeMap;

use super::guarded_folder::What;
use super::recipe::{Recipe, RecipeEntry};

/// Upper limit of symlinks in a walk, as in the kernel.
const MOST_LINKS: usize = 40;

type Name = Vec<u8>;

/// Something at a path.
#[derive(Debug, Clone)]
pub(super) enum ModelNode {
    Directory(Directory),
    File { data: Vec<u8>, mode: u32, mtime: u64 },
    Symlink(Vec<u8>),
    Fifo,
    Whiteout,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    entries: BTreeMap<Name, ModelNode>,
    opaque: bool,
    /// Mode in the last entry of the folder.
    mode: Option<u32>,
}

/// Reason why the model refuses.
type Refused = &'static str;

/// Reason of a walk's end.
enum ModelStop {
    Missing,
    NoFolder,
}

/// Resolved path: the real folders from the root down.
type Real = Vec<Name>;

/// Type of an entry, with its mode and time where the model knows them.
type ModelEntry = (What, Option<u32>, Option<u64>);

impl Directory {
    /// Makes the model of a recipe's layer.
    pub(super) fn of_layer(recipe: &Recipe) -> Result<Self, Refused> {
        let mut root = Self::default();
        for entry in &recipe.entries {
            root.add(entry)?;
        }
        Ok(root)
    }

    fn add(&mut self, entry: &RecipeEntry) -> Result<(), Refused> {
        let parts = parts(&entry.name)?;
        let Some((last, above)) = parts.split_last() else {
            if entry.kind == b'5' {
                self.mode = Some(entry.mode);
                return Ok(());
            }
            return Err("a root that is not a folder");
        };
        if above.iter().any(|part| part.starts_with(b".wh..wh.")) {
            return Ok(());
        }
        if above.iter().any(|part| part.starts_with(b".wh.")) {
            return Err("below a whiteout");
        }
        if last.as_slice() == b".wh..wh..opq" {
            return self.hide_content(above);
        }
        if last.starts_with(b".wh..wh.") {
            return Ok(());
        }
        if let Some(hidden) = last.strip_prefix(b".wh.") {
            return self.whiteout(above, hidden);
        }
        let new = match entry.kind {
            b'5' => return self.directory(above, last, entry.mode),
            b'0' => {
                ModelNode::File { data: entry.data.clone(), mode: entry.mode, mtime: entry.mtime }
            }
            b'2' if entry.link.is_empty() => return Err("a symlink to nothing"),
            b'2' => ModelNode::Symlink(entry.link.clone()),
            b'6' => ModelNode::Fifo,
            b'1' => self.linked(&parts, &entry.link)?,
            _ => return Err("a kind that the model doesn't know"),
        };
        self.put(above, last, new)
    }

    fn linked(&self, path: &[Name], link: &[u8]) -> Result<ModelNode, Refused> {
        let target = parts(link)?;
        if target == path {
            return Err("a link to itself");
        }
        let (last, above) = target.split_last().ok_or("a link to the root")?;
        let real = self.walk(above).map_err(|_stop| "a link to what isn't there")?;
        match self.folder(&real).and_then(|folder| folder.entries.get(last)) {
            None => Err("a link to what isn't there"),
            Some(ModelNode::Directory(_)) => Err("a link to a folder"),
            Some(ModelNode::Whiteout) => Err("a link to what is removed"),
            Some(node) => Ok(node.clone()),
        }
    }

    fn put(&mut self, above: &[Name], last: &Name, new: ModelNode) -> Result<(), Refused> {
        let real = self.ensure(above)?;
        let folder = self.folder_mut(&real);
        if let Some(ModelNode::Directory(there)) = folder.entries.get(last)
            && !there.entries.is_empty()
        {
            return Err("something in the place of a filled folder");
        }
        folder.entries.insert(last.clone(), new);
        Ok(())
    }

    fn directory(&mut self, above: &[Name], last: &Name, mode: u32) -> Result<(), Refused> {
        let real = self.ensure(above)?;
        let entries = &mut self.folder_mut(&real).entries;
        let opaque = matches!(entries.get(last), Some(ModelNode::Whiteout));
        if !matches!(entries.get(last), Some(ModelNode::Directory(_))) {
            entries.insert(last.clone(), ModelNode::Directory(Self { opaque, ..Self::default() }));
        }
        if let Some(ModelNode::Directory(folder)) = entries.get_mut(last) {
            folder.mode = Some(mode);
        }
        Ok(())
    }

    fn whiteout(&mut self, above: &[Name], hidden: &[u8]) -> Result<(), Refused> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err("a whiteout of nothing");
        }
        let real = self.ensure(above)?;
        let entry = self.folder_mut(&real).entries.entry(hidden.to_vec());
        if let ModelNode::Directory(folder) = entry.or_insert(ModelNode::Whiteout) {
            folder.opaque = true;
        }
        Ok(())
    }

    fn hide_content(&mut self, path: &[Name]) -> Result<(), Refused> {
        let real = self.ensure(path)?;
        if let Some((last, above)) = path.split_last() {
            let above = self.walk(above).map_err(|_stop| "nothing there")?;
            let there = self.folder(&above).and_then(|folder| folder.entries.get(last));
            if !matches!(there, Some(ModelNode::Directory(_))) {
                return Err("a symlink that should hide what is below it");
            }
        }
        self.folder_mut(&real).opaque = true;
        Ok(())
    }

    /// Returns the folder at a path, after making missing folders.
    fn ensure(&mut self, path: &[Name]) -> Result<Real, Refused> {
        let mut real = Real::new();
        for end in 1..=path.len() {
            real = match self.walk(&path[..end]) {
                Ok(real) => real,
                Err(ModelStop::NoFolder) => return Err("through an entry that is not a folder"),
                Err(ModelStop::Missing) => {
                    let name = &path[end - 1];
                    let folder = self.folder_mut(&real);
                    if folder.entries.contains_key(name) {
                        return Err("through a symlink to nothing");
                    }
                    folder.entries.insert(name.clone(), ModelNode::Directory(Self::default()));
                    real.push(name.clone());
                    real
                }
            };
        }
        Ok(real)
    }

    /// Resolves a path with all symlinks, with this folder as the root.
    fn walk(&self, path: &[Name]) -> Result<Real, ModelStop> {
        let mut real = Real::new();
        let mut left: Vec<Name> = path.iter().rev().cloned().collect();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    real.pop();
                    continue;
                }
                _ => {}
            }
            let folder = self.folder(&real).ok_or(ModelStop::NoFolder)?;
            match folder.entries.get(&part) {
                None => return Err(ModelStop::Missing),
                Some(ModelNode::Directory(_)) => real.push(part),
                Some(ModelNode::Symlink(target)) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(ModelStop::NoFolder);
                    }
                    if target.starts_with(b"/") {
                        real.clear();
                    }
                    left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                Some(_) => return Err(ModelStop::NoFolder),
            }
        }
        Ok(real)
    }

    fn folder(&self, real: &[Name]) -> Option<&Self> {
        real.iter().try_fold(self, |folder, part| match folder.entries.get(part) {
            Some(ModelNode::Directory(folder)) => Some(folder),
            _ => None,
        })
    }

    fn folder_mut(&mut self, real: &[Name]) -> &mut Self {
        real.iter().fold(self, |folder, part| match folder.entries.get_mut(part) {
            Some(ModelNode::Directory(folder)) => folder,
            _ => unreachable!("a real path leads to a folder"),
        })
    }

    /// All entries below, and the folder itself at the empty path.
    pub(super) fn listing(&self) -> BTreeMap<Vec<u8>, ModelEntry> {
        let mut all = BTreeMap::new();
        self.list(&[], false, &mut all);
        all
    }

    /// Adds all entries; in an opaque folder, whiteouts have nothing left to hide.
    fn list(&self, path: &[u8], is_hidden: bool, all: &mut BTreeMap<Vec<u8>, ModelEntry>) {
        let is_hidden = is_hidden || self.opaque;
        all.insert(path.to_vec(), (What::Directory { opaque: self.opaque }, self.mode, None));
        for (name, node) in &self.entries {
            let path = if path.is_empty() { name.clone() } else { [path, b"/", name].concat() };
            let found = match node {
                ModelNode::Directory(folder) => {
                    folder.list(&path, is_hidden, all);
                    continue;
                }
                ModelNode::File { data, mode, mtime } => {
                    (What::File(data.clone()), Some(*mode), Some(*mtime))
                }
                ModelNode::Symlink(target) => (What::Symlink(target.clone()), None, None),
                ModelNode::Fifo => (What::Fifo, None, None),
                ModelNode::Whiteout if is_hidden => continue,
                ModelNode::Whiteout => (What::Whiteout, None, None),
            };
            all.insert(path, found);
        }
    }
}

/// The parts of a name below the layer's root.
fn parts(name: &[u8]) -> Result<Vec<Name>, Refused> {
    let parts: Vec<Name> = name
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect();
    if name.is_empty() || parts.iter().any(|part| part == b"..") {
        return Err("a name that is none");
    }
    Ok(parts)
}
