//! COPY, ADD and WORKDIR: by the helper itself, below the step's root.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::choose::{choice, choose, owner};
use super::super::job::{CopyEntry, CopyInput, Match};
use super::super::place::{With, put, put_text};
use super::{LayerMaker, from_context};
use crate::archive::{is_tar, unpack_tar};
use crate::base::removal::remove_all;
use crate::container::within_root::{Ownership, locate, make_folders, read_text};
use crate::dockerfile::context::{Choice, Files};
use crate::dockerfile::step::{CopySource, CopyStep, FolderStep, Unpack};
use crate::image::layers::KnownOwners;
use crate::image::user::resolve_user;
use crate::runner::job::Failure;

/// The mode of what was downloaded, as docker has it.
const DOWNLOADED: u32 = 0o600;
const WRITTEN: u32 = 0o644;
const SETUID: u32 = 0o4000;

/// Something to be copied, found.
struct Item {
    /// Where it lies in the view.
    root: PathBuf,
    found: Match,
    owners: Owners,
    modes: Modes,
    /// True if it is unpacked if it is an archive.
    may_unpack: bool,
}

/// Whom copied files belong to, if nothing else is said.
enum Owners {
    Root,
    /// Their own owners.
    Kept,
    /// Whom they belonged to where there is one id only.
    Told(KnownOwners),
}

/// Which modes copied files have, if nothing else is said.
#[derive(Clone, Copy)]
enum Modes {
    Kept,
    /// Their own, but not as programs that run as their owner: what the caller has such files for is
    /// nothing that an image should have.
    Plain,
    /// Those of an archive's files, whose modes and owners `--chmod` and `--chown` leave alone, as
    /// in Docker.
    Unpacked,
    All(u32),
}

impl LayerMaker<'_> {
    /// WORKDIR.
    pub(super) fn folder(&self, step: &FolderStep, below: &[PathBuf]) -> Result<PathBuf, Failure> {
        let upper = self.make_root(below)?;
        let root = self.workspace.view().root();
        let owner = self.owner_of(&step.user)?;
        let place = locate(&root, Path::new(&step.path), false).map_err(Failure::of)?;
        make_folders(&root, &place, owner).map_err(|error| {
            Failure::new(format!("can't make the folder {}: {error}", step.path))
        })?;
        Ok(upper)
    }

    /// COPY and ADD.
    pub(super) fn copy(&self, step: &CopyStep, below: &[PathBuf]) -> Result<PathBuf, Failure> {
        let upper = self.make_root(below)?;
        let root = self.workspace.view().root();
        let mut copying = Copying {
            maker: self,
            step,
            owner: step.chown.as_deref().map(|chown| self.new_owner_of(chown)).transpose()?,
            destination: locate(&root, Path::new(&step.destination), false).map_err(Failure::of)?,
            root,
            unpacked: 0,
        };
        let mut items = Vec::new();
        for (index, (source, input)) in step.sources.iter().zip(&self.job.inputs).enumerate() {
            items.push((source, copying.find(input, index)?));
        }
        let is_text = |source: &CopySource| matches!(source, CopySource::Document(_));
        if items.iter().all(|(source, found)| found.is_empty() && !is_text(source)) {
            return Err(Failure {
                hint: Some("a pattern may match nothing, but not all of them".to_owned()),
                ..Failure::new("there is nothing to copy: no file matches")
            });
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

    /// The ids that `--chown` means: a number alone is the group's too.
    fn new_owner_of(&self, chown: &str) -> Result<Ownership, Failure> {
        let found = match chown.parse::<u32>() {
            Ok(id) => self.owner_of(&format!("{id}:{id}")),
            Err(_) => self.owner_of(chown),
        };
        found.map_err(|failure| Failure {
            message: format!("--chown={chown}: {}", failure.message),
            hint: Some("create the user or group in a RUN before it, or give ids, which need none: --chown=1000:1000".to_owned()),
            ..failure
        })
    }

    /// The ids of a user of the root, `name`, `uid`, `name:group` or `uid:gid`.
    fn owner_of(&self, user: &str) -> Result<Ownership, Failure> {
        let root = self.workspace.view().root();
        let passwd = read_text(&root, "etc/passwd").map_err(Failure::of)?;
        let group = read_text(&root, "etc/group").map_err(Failure::of)?;
        let found = resolve_user(user, passwd.as_deref(), group.as_deref()).map_err(Failure::of)?;
        Ok(Ownership { ids: (found.uid, found.gid), single: self.workspace.is_single() })
    }
}

struct Copying<'a> {
    maker: &'a LayerMaker<'a>,
    step: &'a CopyStep,
    root: PathBuf,
    owner: Option<Ownership>,
    /// Without symlinks.
    destination: PathBuf,
    unpacked: u32,
}

impl Copying<'_> {
    /// What a source means.
    fn find(&self, input: &CopyInput, index: usize) -> Result<Vec<Item>, Failure> {
        let may_unpack = self.step.unpack != Unpack::Nothing;
        let item = |root, found, owners, modes| Item { root, found, owners, modes, may_unpack };
        match input {
            CopyInput::Document => Ok(Vec::new()),
            CopyInput::Listed { folder, matches } => {
                let folder = self.maker.workspace.in_view(folder);
                let one =
                    |found: &Match| item(folder.clone(), found.clone(), Owners::Root, Modes::Plain);
                Ok(matches.iter().map(one).collect())
            }
            CopyInput::Pattern { layers, pattern, exclude, parents } => {
                let folders = self.maker.workspace.unpacked(layers)?;
                let tree = self.maker.workspace.mount_tree(&folders, &format!("source-{index}"))?;
                let choice = choice(exclude, *parents).map_err(from_context)?;
                let matches =
                    choose(&Files::of_tree(&tree), pattern, &choice).map_err(from_context)?;
                let mut items = Vec::new();
                for found in matches {
                    let owners = self.owners(&folders)?;
                    items.push(item(tree.clone(), found, owners, Modes::Kept));
                }
                Ok(items)
            }
            CopyInput::Download { file, name } => {
                let place = self.maker.workspace.in_view(file);
                let path = place.file_name().unwrap_or_default().into();
                let entries = vec![CopyEntry { path, place: name.into() }];
                let found = Match { is_folder: false, entries };
                let root = place.parent().unwrap_or(&place).to_owned();
                let may_unpack = self.step.unpack == Unpack::All;
                let item = item(root, found, Owners::Root, Modes::All(DOWNLOADED));
                Ok(vec![Item { may_unpack, ..item }])
            }
            CopyInput::CheckOut { folder } => {
                let root = self.maker.workspace.in_view(folder);
                let matches =
                    choose(&Files::of_tree(&root), "", &Choice::default()).map_err(from_context)?;
                let one = |found| item(root.clone(), found, Owners::Root, Modes::Kept);
                Ok(matches.into_iter().map(one).collect())
            }
        }
    }

    /// Whose files of unpacked layers, or of an unpacked archive, are.
    fn owners(&self, folders: &[PathBuf]) -> Result<Owners, Failure> {
        if !self.maker.workspace.is_single() {
            return Ok(Owners::Kept);
        }
        KnownOwners::read(folders).map(Owners::Told).map_err(Failure::of)
    }

    /// Where a file goes that is called so; `count` things are copied in all.
    fn target(&self, name: &Path, count: usize) -> Result<PathBuf, Failure> {
        let is_folder = self.step.destination.ends_with('/')
            || count > 1
            || self.step.parents
            || fs_err::symlink_metadata(&self.destination).is_ok_and(|data| data.is_dir());
        let target = if is_folder { self.destination.join(name) } else { self.destination.clone() };
        let above = target.parent().unwrap_or(&self.root);
        self.make_folders(above)?;
        Ok(target)
    }

    fn make_folders(&self, folder: &Path) -> Result<(), Failure> {
        make_folders(&self.root, folder, self.new_owner()).map_err(|error| {
            let path = folder.strip_prefix(&self.root).unwrap_or(folder).display();
            Failure::new(format!("can't make the folder /{path}: {error}"))
        })
    }

    fn new_owner(&self) -> Ownership {
        self.owner.unwrap_or(Ownership { ids: (0, 0), single: self.maker.workspace.is_single() })
    }

    fn document(&self, name: &str, text: &str, count: usize) -> Result<(), Failure> {
        let target = self.target(Path::new(name), count)?;
        let mode = self.mode(WRITTEN, false);
        put_text(text, &target, With { owner: self.new_owner(), mode })
            .map_err(|error| not_copied(name, &error))
    }

    fn mode(&self, mode: u32, is_folder: bool) -> u32 {
        self.step.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, is_folder))
    }

    fn item(&mut self, item: &Item, count: usize) -> Result<(), Failure> {
        let shown = |place: &Path| place.display().to_string();
        if item.found.is_folder {
            self.make_folders(&self.destination)?;
            for entry in &item.found.entries {
                if entry.place.as_os_str().is_empty() {
                    continue;
                }
                let to = self.within(&self.destination, &entry.place)?;
                self.one(item, entry, &to)
                    .map_err(|error| not_copied(&shown(&entry.place), &error))?;
            }
            return Ok(());
        }
        for entry in &item.found.entries {
            let failed = |error| not_copied(&shown(&entry.place), &error);
            if item.may_unpack && is_tar(&item.root.join(&entry.path)).map_err(failed)? {
                self.archive(&item.root.join(&entry.path))?;
                continue;
            }
            let target = self.target(&entry.place, count)?;
            self.one(item, entry, &target).map_err(failed)?;
        }
        Ok(())
    }

    /// Where something below a copied folder goes: what is there already may be a symlink to a folder.
    fn within(&self, target: &Path, below: &Path) -> Result<PathBuf, Failure> {
        let whole = target.join(below);
        let path = whole.strip_prefix(&self.root).unwrap_or(&whole);
        let place = locate(&self.root, path, true).map_err(Failure::of)?;
        if let Some(above) = place.parent() {
            // Its own folder may be one that was left out.
            self.make_folders(above)?;
        }
        Ok(place)
    }

    fn one(&self, item: &Item, entry: &CopyEntry, to: &Path) -> io::Result<()> {
        let from = item.root.join(&entry.path);
        let data = fs_err::symlink_metadata(&from)?;
        let unpacked = matches!(item.modes, Modes::Unpacked);
        let owner = self.owner.filter(|_| !unpacked).unwrap_or_else(|| Ownership {
            ids: item.owners.of(&item.root, &entry.path, &data),
            single: self.maker.workspace.is_single(),
        });
        let own = data.permissions().mode() & 0o7777;
        let mode = match item.modes {
            Modes::Kept | Modes::Unpacked => own,
            Modes::Plain => own & !SETUID,
            Modes::All(mode) => mode,
        };
        let mode = if unpacked { mode } else { self.mode(mode, data.is_dir()) };
        let with = With { owner, mode };
        if !put(&from, &data, to, with)? {
            let path = to.strip_prefix(&self.root).unwrap_or(to).to_owned();
            self.maker.told.borrow_mut().push((path, owner.ids));
        }
        Ok(())
    }

    /// Unpacks an archive into the destination.
    fn archive(&mut self, archive: &Path) -> Result<(), Failure> {
        let single = self.maker.workspace.is_single();
        self.unpacked += 1;
        let folder = self.maker.workspace.scratch(&format!("unpacked-{}", self.unpacked));
        unpack_tar(archive, &folder, &self.maker.job.place.limits, single).map_err(Failure::of)?;
        let matches =
            choose(&Files::of_tree(&folder), "", &Choice::default()).map_err(from_context)?;
        for found in matches {
            let owners = self.owners(std::slice::from_ref(&folder))?;
            let (root, modes) = (folder.clone(), Modes::Unpacked);
            self.item(&Item { root, found, owners, modes, may_unpack: false }, 1)?;
        }
        remove_all(&folder).map_err(Failure::of)
    }
}

impl Owners {
    fn of(&self, root: &Path, path: &Path, data: &Metadata) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Kept => (data.uid(), data.gid()),
            Self::Told(known) => owner(known, root, path),
        }
    }
}

fn not_copied(what: &str, error: &io::Error) -> Failure {
    Failure::new(format!("can't copy {what}: {error}"))
}
