//! Files of COPY and ADD on their way to the destination.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::choose::{choose, folders_above, model_of};
use super::super::job::CopyEntry;
use super::super::placement::{With, link, put, put_text};
use super::copy_source::{CopyItem, Modes, owners};
use super::linked::Linked;
use super::{LayerMaker, from_context};
use crate::archive::{is_tar, unpack_tar};
use crate::base::removal::remove_all;
use crate::container::within_root::{Ownership, locate, make_folders_with};
use crate::dockerfile::context::{ContextFiles, FileChoice};
use crate::dockerfile::step::{CopySource, CopyStep};
use crate::runner::job::JobFailure;

const WRITTEN: u32 = 0o644;
/// The mode of folders that are made on the way.
const FOLDER: u32 = 0o755;
const SETUID: u32 = 0o4000;

pub(super) struct Copying<'a> {
    pub(super) maker: &'a LayerMaker<'a>,
    pub(super) step: &'a CopyStep,
    pub(super) root: PathBuf,
    pub(super) owner: Option<Ownership>,
    /// Without symlinks.
    pub(super) destination: PathBuf,
    pub(super) unpacked: u32,
    /// Copies of files with several names.
    pub(super) linked: RefCell<Linked>,
}

impl Copying<'_> {
    /// True if files go into the destination, and not to its name.
    fn is_into_folder(&self) -> bool {
        self.step.destination.ends_with('/')
            || self.step.parents
            || fs_err::symlink_metadata(&self.destination).is_ok_and(|data| data.is_dir())
    }

    /// Refuses several things for one name, of which only the last would be left.
    pub(super) fn check_count(
        &self,
        items: &[(&CopySource, Vec<CopyItem>)],
    ) -> Result<(), JobFailure> {
        let is_text = |source: &CopySource| matches!(source, CopySource::Document(_));
        let count: usize =
            items.iter().map(|(source, found)| found.len() + usize::from(is_text(source))).sum();
        let are_folders = items.iter().all(|(source, found)| {
            !is_text(source) && found.iter().all(|item| item.found.is_folder)
        });
        if count < 2 || are_folders || self.is_into_folder() {
            return Ok(());
        }
        let destination = &self.step.destination;
        let message = format!(
            "{count} sources need a folder, but {destination} is not one, and has no / at its end"
        );
        Err(JobFailure { hint: Some(format!("write {destination}/")), ..JobFailure::new(message) })
    }

    /// Returns the destination of a file of that name.
    fn target(&self, name: &Path) -> Result<PathBuf, JobFailure> {
        let is_folder = self.is_into_folder();
        let target = if is_folder { self.destination.join(name) } else { self.destination.clone() };
        self.make_folders(if is_folder {
            &self.destination
        } else {
            target.parent().unwrap_or(&self.root)
        })?;
        Ok(target)
    }

    fn make_folders(&self, folder: &Path) -> Result<(), JobFailure> {
        let mode = self.mode(FOLDER, true);
        make_folders_with(&self.root, folder, self.new_owner(), mode).map_err(|error| {
            let path = folder.strip_prefix(&self.root).unwrap_or(folder).display();
            JobFailure::new(format!("can't make the folder /{path}: {error}"))
        })
    }

    /// Makes the folders that an entry is in below the destination, if they are missing: like those that
    /// it is in where it is taken from.
    fn make_parents(&self, item: &CopyItem, entry: &CopyEntry) -> Result<(), JobFailure> {
        for (place, source) in folders_above(&entry.path, &entry.place) {
            let whole = self.destination.join(place);
            let below = whole.strip_prefix(&self.root).unwrap_or(&whole);
            let to = locate(&self.root, below, false).map_err(JobFailure::of)?;
            if fs_err::symlink_metadata(&to).is_ok() {
                continue;
            }
            match model_of(&item.root, source) {
                Some((source, _)) => {
                    let (path, place) = (source.to_owned(), place.to_owned());
                    let shown = place.display().to_string();
                    self.one(item, &CopyEntry { path, place }, &to)
                        .map_err(|error| not_copied(&shown, &error))?;
                }
                None => self.make_folders(&to)?,
            }
        }
        Ok(())
    }

    fn new_owner(&self) -> Ownership {
        self.owner
            .unwrap_or(Ownership { ids: (0, 0), is_single_id: self.maker.workspace.is_single() })
    }

    pub(super) fn document(&self, name: &str, text: &str) -> Result<(), JobFailure> {
        let target = self.target(Path::new(name))?;
        self.make_folders(target.parent().unwrap_or(&self.root))?;
        let mode = self.mode(WRITTEN, false);
        put_text(text, &target, With { owner: self.new_owner(), mode, replaces: false })
            .map_err(|error| not_copied(name, &error))
    }

    fn mode(&self, mode: u32, is_folder: bool) -> u32 {
        self.step.chmod.as_ref().map_or(mode, |chmod| chmod.apply(mode, is_folder))
    }

    pub(super) fn item(&mut self, item: &CopyItem) -> Result<(), JobFailure> {
        let shown = |place: &Path| place.display().to_string();
        if item.found.is_folder {
            self.make_folders(&self.destination)?;
            for entry in &item.found.entries {
                if entry.place.as_os_str().is_empty() {
                    continue;
                }
                let to = self.within(item, entry)?;
                let is_folder = |place: &Path| {
                    fs_err::symlink_metadata(place).is_ok_and(|there| there.is_dir())
                };
                if is_folder(&item.root.join(&entry.path)) && self.keeps_folder(item, entry, &to)? {
                    continue;
                }
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
            let target = if self.is_into_folder() {
                self.make_folders(&self.destination)?;
                self.within(item, entry)?
            } else {
                self.target(&entry.place)?
            };
            self.one(item, entry, &target).map_err(failed)?;
        }
        Ok(())
    }

    /// Returns the destination of an entry below a copied folder, or below the destination. Symlinks on the way to
    /// it are followed within the root: the kernel would follow them on the machine.
    fn within(&self, item: &CopyItem, entry: &CopyEntry) -> Result<PathBuf, JobFailure> {
        self.make_parents(item, entry)?;
        let whole = self.destination.join(&entry.place);
        let path = whole.strip_prefix(&self.root).unwrap_or(&whole);
        let place = locate(&self.root, path, true).map_err(JobFailure::of)?;
        if let Some(above) = place.parent() {
            // Its own folder may be one that was left out.
            self.make_folders(above)?;
        }
        Ok(place)
    }

    /// True if a folder of an archive leaves alone what is in its place: a folder that the archive
    /// doesn't describe, or a symlink to a folder of the root, into which the archive is unpacked.
    fn keeps_folder(
        &self,
        item: &CopyItem,
        entry: &CopyEntry,
        to: &Path,
    ) -> Result<bool, JobFailure> {
        let Modes::Unpacked { implied } = &item.modes else { return Ok(false) };
        let Ok(there) = fs_err::symlink_metadata(to) else { return Ok(false) };
        if there.is_dir() {
            return Ok(implied.contains(&entry.place));
        }
        if !there.is_symlink() {
            return Ok(false);
        }
        let below = to.strip_prefix(&self.root).unwrap_or(to);
        let end = locate(&self.root, below, false).map_err(JobFailure::of)?;
        Ok(fs_err::symlink_metadata(end).is_ok_and(|data| data.is_dir()))
    }

    fn one(&self, item: &CopyItem, entry: &CopyEntry, to: &Path) -> io::Result<()> {
        let from = item.root.join(&entry.path);
        let data = fs_err::symlink_metadata(&from)?;
        let unpacked = matches!(item.modes, Modes::Unpacked { .. });
        let owner = self.owner.unwrap_or_else(|| Ownership {
            ids: item.owners.of(&item.root, &entry.path, &data),
            is_single_id: self.maker.workspace.is_single(),
        });
        let own = data.permissions().mode() & 0o7777;
        let mode = match item.modes {
            Modes::Kept | Modes::Unpacked { .. } => own,
            Modes::Plain => own & !SETUID,
            Modes::All(mode) => mode,
        };
        let mode = if unpacked { mode } else { self.mode(mode, data.is_dir()) };
        let with = With { owner, mode, replaces: unpacked };
        // A link to a file whose place is taken now would have other content.
        self.linked.borrow_mut().forget(to);
        if data.is_file() && data.nlink() > 1 {
            let file = (data.dev(), data.ino(), owner.ids, mode);
            let first = self.linked.borrow().place(&file).cloned();
            // A folder or a link may have taken its place.
            if let Some(first) = first
                && fs_err::symlink_metadata(&first).is_ok_and(|there| there.is_file())
            {
                return link(&first, to, with.replaces);
            }
            self.linked.borrow_mut().insert(file, to.to_owned());
        }
        // A symlink can have no attributes of users (xattr(7)), so its owner is kept beside the
        // layer.
        if !put(&from, &data, to, with)? {
            let path = to.strip_prefix(&self.root).unwrap_or(to).to_owned();
            self.maker.told.borrow_mut().push((path, owner.ids));
        }
        Ok(())
    }

    /// Unpacks an archive into the destination.
    fn archive(&mut self, archive: &Path) -> Result<(), JobFailure> {
        let single = self.maker.workspace.is_single();
        self.unpacked += 1;
        let folder = self.maker.workspace.scratch(&format!("unpacked-{}", self.unpacked));
        let limits = &self.maker.job.folders.limits;
        let implied = unpack_tar(archive, &folder, limits, single).map_err(|error| {
            let hint = error.hint().map(str::to_owned);
            JobFailure { hint, ..JobFailure::of(error) }
        })?;
        let implied: HashSet<PathBuf> =
            implied.iter().map(|path| path.as_path().to_owned()).collect();
        let matches = choose(&ContextFiles::of_tree(&folder), "", &FileChoice::default())
            .map_err(from_context)?;
        for found in matches {
            let owners = owners(self.maker, std::slice::from_ref(&folder))?;
            let (root, modes) = (folder.clone(), Modes::Unpacked { implied: implied.clone() });
            self.item(&CopyItem { root, found, owners, modes, may_unpack: false })?;
        }
        // The numbers of its files may be those of others soon.
        *self.linked.borrow_mut() = Linked::default();
        remove_all(&folder).map_err(JobFailure::of)
    }
}

fn not_copied(what: &str, error: &io::Error) -> JobFailure {
    JobFailure::new(format!("can't copy {what}: {error}"))
}
