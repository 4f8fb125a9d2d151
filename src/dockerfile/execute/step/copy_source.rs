//! Files that the sources of COPY and ADD mean, with whom they belong to and their modes.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::super::choose::{choice, choose, owner};
use super::super::job::{CopyEntry, CopyInput, Match};
use super::{LayerMaker, from_context};
use crate::dockerfile::context::{ContextFiles, FileChoice};
use crate::dockerfile::step::{CopyStep, Unpack};
use crate::image::layers::KnownOwners;
use crate::runner::job::JobFailure;

/// The mode of what was downloaded, as docker has it.
const DOWNLOADED: u32 = 0o600;

/// Something to be copied, found.
pub(super) struct CopyItem {
    /// Where it lies in the view.
    pub(super) root: PathBuf,
    pub(super) found: Match,
    pub(super) owners: CopyOwners,
    pub(super) modes: Modes,
    /// True if it is unpacked if it is an archive.
    pub(super) may_unpack: bool,
}

/// Whom copied files belong to, if nothing else is said.
#[derive(Clone)]
pub(super) enum CopyOwners {
    Root,
    /// Their own owners.
    Kept,
    /// Whom they belonged to where there is one id only.
    Known(Rc<KnownOwners>),
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

/// What a source means.
pub(super) fn find(
    maker: &LayerMaker<'_>,
    step: &CopyStep,
    input: &CopyInput,
    index: usize,
) -> Result<Vec<CopyItem>, JobFailure> {
    let may_unpack = step.unpack != Unpack::Nothing;
    let item = |root, found, owners, modes| CopyItem { root, found, owners, modes, may_unpack };
    match input {
        CopyInput::Document => Ok(Vec::new()),
        CopyInput::Listed { folder, matches } => {
            let folder = maker.workspace.in_view(folder);
            let one =
                |found: &Match| item(folder.clone(), found.clone(), CopyOwners::Root, Modes::Plain);
            Ok(matches.iter().map(one).collect())
        }
        CopyInput::Pattern { layers, pattern, exclude, parents } => {
            let folders = maker.workspace.unpacked(layers)?;
            // Mounted, as whiteouts and opaque folders of its layers count.
            let tree = maker.workspace.mount_tree(&folders, &format!("source-{index}"))?;
            let choice = choice(exclude, *parents).map_err(from_context)?;
            let matches =
                choose(&ContextFiles::of_tree(&tree), pattern, &choice).map_err(from_context)?;
            // Once for all: there may be ten thousand matches.
            let owners = owners(maker, &folders)?;
            let one = |found| item(tree.clone(), found, owners.clone(), Modes::Kept);
            Ok(matches.into_iter().map(one).collect())
        }
        CopyInput::Download { file, name } => {
            let place = maker.workspace.in_view(file);
            let path = place.file_name().unwrap_or_default().into();
            let entries = vec![CopyEntry { path, place: name.into() }];
            let found = Match { is_folder: false, entries };
            let root = place.parent().unwrap_or(&place).to_owned();
            let may_unpack = step.unpack == Unpack::All;
            let item = item(root, found, CopyOwners::Root, Modes::All(DOWNLOADED));
            Ok(vec![CopyItem { may_unpack, ..item }])
        }
        CopyInput::CheckOut { folder } => {
            let root = maker.workspace.in_view(folder);
            let matches = choose(&ContextFiles::of_tree(&root), "", &FileChoice::default())
                .map_err(from_context)?;
            let one = |found| item(root.clone(), found, CopyOwners::Root, Modes::Kept);
            Ok(matches.into_iter().map(one).collect())
        }
    }
}

/// Returns the owners of files of unpacked layers, or of an unpacked archive: those on disk, and in the tier
/// `single`, where all files are the caller's, those that are kept beside the folders.
pub(super) fn owners(
    maker: &LayerMaker<'_>,
    folders: &[PathBuf],
) -> Result<CopyOwners, JobFailure> {
    if !maker.workspace.is_single() {
        return Ok(CopyOwners::Kept);
    }
    KnownOwners::read(folders)
        .map(|known| CopyOwners::Known(Rc::new(known)))
        .map_err(JobFailure::of)
}

impl CopyOwners {
    pub(super) fn of(&self, root: &Path, path: &Path, data: &Metadata) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Kept => (data.uid(), data.gid()),
            Self::Known(known) => owner(known, root, path),
        }
    }
}
