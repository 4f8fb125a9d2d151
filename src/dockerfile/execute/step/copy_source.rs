//! Files that the sources of COPY and ADD mean, with whom they belong to and their modes.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::choose::{choice, choose, owner};
use super::super::job::{CopyEntry, CopyInput, Match};
use super::copying::Copying;
use super::from_context;
use crate::dockerfile::context::{Choice, Files};
use crate::dockerfile::step::Unpack;
use crate::image::layers::KnownOwners;
use crate::runner::job::Failure;

/// The mode of what was downloaded, as docker has it.
const DOWNLOADED: u32 = 0o600;

/// Something to be copied, found.
pub(super) struct Item {
    /// Where it lies in the view.
    pub(super) root: PathBuf,
    pub(super) found: Match,
    pub(super) owners: Owners,
    pub(super) modes: Modes,
    /// True if it is unpacked if it is an archive.
    pub(super) may_unpack: bool,
}

/// Whom copied files belong to, if nothing else is said.
pub(super) enum Owners {
    Root,
    /// Their own owners.
    Kept,
    /// Whom they belonged to where there is one id only.
    Told(KnownOwners),
}

/// Which modes copied files have, if nothing else is said.
#[derive(Clone)]
pub(super) enum Modes {
    Kept,
    /// Their own, but not as programs that run as their owner: what the caller has such files for is
    /// nothing that an image should have.
    Plain,
    /// Those of an archive's files, which `--chmod` leaves alone, as in BuildKit.
    Unpacked {
        /// Folders that the archive doesn't describe: such ones stay as they are if they are there.
        implied: HashSet<PathBuf>,
    },
    All(u32),
}

impl Copying<'_> {
    /// What a source means.
    pub(super) fn find(&self, input: &CopyInput, index: usize) -> Result<Vec<Item>, Failure> {
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
    pub(super) fn owners(&self, folders: &[PathBuf]) -> Result<Owners, Failure> {
        if !self.maker.workspace.is_single() {
            return Ok(Owners::Kept);
        }
        KnownOwners::read(folders).map(Owners::Told).map_err(Failure::of)
    }
}

impl Owners {
    pub(super) fn of(&self, root: &Path, path: &Path, data: &Metadata) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Kept => (data.uid(), data.gid()),
            Self::Told(known) => owner(known, root, path),
        }
    }
}
