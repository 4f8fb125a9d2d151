//! COPY, ADD and WORKDIR: by the helper itself, below the step's root.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::content::told_owner;
use super::super::job::{CopyInput, LayerWork, Match, StepFailure};
use super::super::select::select;
use super::place::{With, put, put_text};
use super::{Work, failed};
use crate::archive::{EntryPath, is_tar, unpack_tar};
use crate::container::within_root::{Ownership, locate, make_folders, read_text};
use crate::dockerfile::step::{CopySource, CopyStep, FolderStep, Unpack};
use crate::image::layers::KnownOwners;
use crate::image::user::resolve_user;

/// The mode of what was downloaded, as docker has it.
const DOWNLOADED: u32 = 0o600;
const WRITTEN: u32 = 0o644;

/// Something to be copied, found.
struct Item {
    /// Where it lies in the view.
    from: PathBuf,
    /// What it is called, if it goes into a folder.
    name: PathBuf,
    /// What of it is copied: paths below it; it is a folder then, whose contents are meant.
    entries: Option<Vec<PathBuf>>,
    owners: Owners,
    /// Its mode, if that isn't its own.
    mode: Option<u32>,
    /// Whether it is unpacked if it is an archive.
    may_unpack: bool,
}

/// Whom copied files belong to, if nothing else is said.
enum Owners {
    Root,
    /// Their own owners.
    Kept,
    /// Whom they belonged to where there is one id only.
    Told(KnownOwners, PathBuf),
}

impl Work<'_> {
    /// WORKDIR.
    pub(super) fn folder(
        &self,
        step: &FolderStep,
        below: &[PathBuf],
    ) -> Result<PathBuf, StepFailure> {
        let upper = self.make_root(below, &[])?;
        let root = self.view.root();
        let owner = self.owner_of(&step.user)?;
        let place = locate(&root, Path::new(&step.path), false).map_err(failed)?;
        make_folders(&root, &place, owner).map_err(|error| {
            StepFailure::new(format!("can't make the folder {}: {error}", step.path))
        })?;
        Ok(upper)
    }

    /// COPY and ADD.
    pub(super) fn copy(
        &self,
        step: &CopyStep,
        work: &LayerWork,
        below: &[PathBuf],
    ) -> Result<PathBuf, StepFailure> {
        let upper = self.make_root(below, &[])?;
        let root = self.view.root();
        let mut copying = Copying {
            work: self,
            step,
            owner: step.chown.as_deref().map(|chown| self.owner_of(chown)).transpose()?,
            destination: locate(&root, Path::new(&step.destination), false).map_err(failed)?,
            root,
            unpacked: 0,
        };
        let mut items = Vec::new();
        for (index, (source, input)) in step.sources.iter().zip(&work.inputs).enumerate() {
            items.push((source, copying.find(source, input, index)?));
        }
        let count = items.iter().map(|(_, found)| found.len().max(1)).sum::<usize>();
        for (source, found) in items {
            if let CopySource::Document(document) = source {
                copying.document(&document.name, &document.content, count)?;
            }
            for item in &found {
                copying.item(item, count)?;
            }
        }
        Ok(upper)
    }

    /// The ids of a user of the root, `name`, `uid`, `name:group` or `uid:gid`.
    fn owner_of(&self, user: &str) -> Result<Ownership, StepFailure> {
        let root = self.view.root();
        let passwd = read_text(&root, "etc/passwd").map_err(failed)?;
        let group = read_text(&root, "etc/group").map_err(failed)?;
        let found = resolve_user(user, passwd.as_deref(), group.as_deref()).map_err(failed)?;
        Ok(Ownership { ids: (found.uid, found.gid), single: self.is_single() })
    }
}

struct Copying<'a> {
    work: &'a Work<'a>,
    step: &'a CopyStep,
    root: PathBuf,
    owner: Option<Ownership>,
    /// Without symlinks.
    destination: PathBuf,
    unpacked: u32,
}

impl Copying<'_> {
    /// What a source means.
    fn find(
        &self,
        source: &CopySource,
        input: &CopyInput,
        index: usize,
    ) -> Result<Vec<Item>, StepFailure> {
        let unpacks_local = self.step.unpack != Unpack::Nothing;
        match input {
            CopyInput::Document => Ok(Vec::new()),
            CopyInput::Listed { folder, matches } => {
                let folder = self.work.place(folder);
                let item = |found: &Match| {
                    let from = locate(&folder, &found.path, false).map_err(failed)?;
                    item(from, found, Owners::Root, unpacks_local).map_err(failed)
                };
                matches.iter().map(item).collect()
            }
            CopyInput::Pattern { layers, pattern } => {
                let folders = self.work.unpacked(layers)?;
                let tree = self.work.mount_tree(&folders, &format!("source-{index}"))?;
                let matches = select(&tree, pattern, &self.step.exclude).map_err(failed)?;
                if matches.is_empty() {
                    return Err(StepFailure::new(format!("{pattern}: there is no such file")));
                }
                let mut items = Vec::new();
                for found in &matches {
                    let from = locate(&tree, &found.path, false).map_err(failed)?;
                    let owners = if self.work.is_single() {
                        Owners::Told(KnownOwners::read(&folders).map_err(failed)?, tree.clone())
                    } else {
                        Owners::Kept
                    };
                    items.push(item(from, found, owners, unpacks_local).map_err(failed)?);
                }
                Ok(items)
            }
            CopyInput::Download { file, name } => {
                let found = Match { path: name.into(), entries: Vec::new() };
                let unpacks = self.step.unpack == Unpack::All;
                let item = item(self.work.place(file), &found, Owners::Root, unpacks);
                Ok(vec![Item { mode: Some(DOWNLOADED), ..item.map_err(failed)? }])
            }
            CopyInput::CheckOut { folder } => {
                let from = self.work.place(folder);
                let CopySource::Git { .. } = source else { return Ok(Vec::new()) };
                let entries = walkdir::WalkDir::new(&from).min_depth(1).sort_by_file_name();
                let entries: Result<Vec<PathBuf>, _> = entries
                    .into_iter()
                    .map(|entry| {
                        let entry = entry?;
                        Ok(entry.path().strip_prefix(&from).unwrap_or(entry.path()).to_owned())
                    })
                    .collect();
                let entries = entries.map_err(|error: walkdir::Error| failed(error))?;
                Ok(vec![Item {
                    from,
                    name: PathBuf::new(),
                    entries: Some(entries),
                    owners: Owners::Root,
                    mode: None,
                    may_unpack: false,
                }])
            }
        }
    }

    /// Where a file goes that is called so; `count` things are copied in all.
    fn target(&self, name: &Path, count: usize) -> Result<PathBuf, StepFailure> {
        let is_folder = self.step.destination.ends_with('/')
            || count > 1
            || self.step.parents
            || fs_err::symlink_metadata(&self.destination).is_ok_and(|data| data.is_dir());
        let target = if is_folder { self.destination.join(name) } else { self.destination.clone() };
        let above = target.parent().unwrap_or(&self.root);
        self.make_folders(above)?;
        Ok(target)
    }

    fn make_folders(&self, folder: &Path) -> Result<(), StepFailure> {
        make_folders(&self.root, folder, self.new_owner()).map_err(|error| {
            let path = folder.strip_prefix(&self.root).unwrap_or(folder).display();
            StepFailure::new(format!("can't make the folder /{path}: {error}"))
        })
    }

    fn new_owner(&self) -> Ownership {
        self.owner.unwrap_or(Ownership { ids: (0, 0), single: self.work.is_single() })
    }

    fn document(&self, name: &str, text: &str, count: usize) -> Result<(), StepFailure> {
        let target = self.target(Path::new(name), count)?;
        let mode = self.mode(WRITTEN, false);
        put_text(text, &target, With { owner: self.new_owner(), mode })
            .map_err(|error| not_copied(name, &error))
    }

    fn mode(&self, mode: u32, is_folder: bool) -> u32 {
        self.step.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, is_folder))
    }

    fn item(&mut self, item: &Item, count: usize) -> Result<(), StepFailure> {
        let shown = item.name.display().to_string();
        let Some(entries) = &item.entries else {
            if item.may_unpack && is_tar(&item.from).map_err(|error| not_copied(&shown, &error))? {
                return self.archive(item);
            }
            let name = match (self.step.parents, item.name.file_name()) {
                (false, Some(name)) => PathBuf::from(name),
                _ => item.name.clone(),
            };
            let target = self.target(&name, count)?;
            let copied = self.one(item, &item.from, Path::new(""), &target);
            return copied.map_err(|error| not_copied(&shown, &error));
        };
        let target = match self.step.parents {
            true => self.destination.join(&item.name),
            false => self.destination.clone(),
        };
        self.make_folders(&target)?;
        for below in entries {
            self.one(item, &item.from.join(below), below, &self.within(&target, below)?)
                .map_err(|error| not_copied(&item.name.join(below).display().to_string(), &error))?;
        }
        Ok(())
    }

    /// Where something below a copied folder goes: what is there already may be a symlink to a folder.
    fn within(&self, target: &Path, below: &Path) -> Result<PathBuf, StepFailure> {
        let whole = target.join(below);
        let path = whole.strip_prefix(&self.root).unwrap_or(&whole);
        let place = locate(&self.root, path, true).map_err(failed)?;
        if let Some(above) = place.parent() {
            // Its own folder may be one that was left out.
            self.make_folders(above)?;
        }
        Ok(place)
    }

    fn one(&self, item: &Item, from: &Path, below: &Path, to: &Path) -> io::Result<()> {
        let data = fs_err::symlink_metadata(from)?;
        let owner = self.owner.unwrap_or_else(|| Ownership {
            ids: item.owners.of(from, below, &data),
            single: self.work.is_single(),
        });
        let mode = item.mode.unwrap_or(data.permissions().mode() & 0o7777);
        put(from, &data, to, With { owner, mode: self.mode(mode, data.is_dir()) })
    }

    /// Unpacks an archive into the destination.
    fn archive(&mut self, item: &Item) -> Result<(), StepFailure> {
        let single = self.work.is_single();
        self.unpacked += 1;
        let folder = self.work.scratch(&format!("unpacked-{}", self.unpacked));
        unpack_tar(&item.from, &folder, &self.work.job.limits, single).map_err(failed)?;
        let walk = walkdir::WalkDir::new(&folder).min_depth(1).sort_by_file_name();
        let entries: Result<Vec<PathBuf>, walkdir::Error> = walk
            .into_iter()
            .map(|entry| {
                let entry = entry?;
                Ok(entry.path().strip_prefix(&folder).unwrap_or(entry.path()).to_owned())
            })
            .collect();
        let owners = if single {
            let known = KnownOwners::read(std::slice::from_ref(&folder)).map_err(failed)?;
            Owners::Told(known, folder.clone())
        } else {
            Owners::Kept
        };
        let unpacked = Item {
            from: folder.clone(),
            name: item.name.clone(),
            entries: Some(entries.map_err(failed)?),
            owners,
            mode: None,
            may_unpack: false,
        };
        self.item(&unpacked, 1)?;
        fs_err::remove_dir_all(&folder).map_err(failed)
    }
}

impl Owners {
    fn of(&self, from: &Path, _below: &Path, data: &Metadata) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Kept => (data.uid(), data.gid()),
            Self::Told(known, root) => told_owner(from).unwrap_or_else(|| {
                let path = from.strip_prefix(root).unwrap_or(from);
                let name = path.as_os_str().as_encoded_bytes();
                EntryPath::parse(name).map_or((0, 0), |path| known.of(&path))
            }),
        }
    }
}

fn item(from: PathBuf, found: &Match, owners: Owners, may_unpack: bool) -> io::Result<Item> {
    let is_folder = fs_err::symlink_metadata(&from)?.is_dir();
    let name: OsString = found.path.clone().into_os_string();
    Ok(Item {
        from,
        name: name.into(),
        entries: is_folder.then(|| found.entries.clone()),
        owners,
        mode: None,
        may_unpack,
    })
}

fn not_copied(what: &str, error: &io::Error) -> StepFailure {
    StepFailure::new(format!("can't copy {what}: {error}"))
}
