//! Process of a job inside its namespaces: its view of the caller's folders, and its scratch
//! folder.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use super::job::JobFailure;
use crate::archive::ArchiveLimits;
use crate::base::atomic::Unswept;
use crate::base::removal::remove_all;
use crate::container::idmap::{IdMap, Tier};
use crate::container::inputs::BoundFolders;
use crate::container::machine::{Machine, RootKind};
use crate::container::namespace::{self, Network};
use crate::container::overlay;
use crate::container::view::View;
use crate::image::layers::{LayerError, UnpackOptions, ensure_unpacked, with_merged_whiteouts};
use crate::image::store::LayerBlob;

/// Caller's folders for any job on layers, and the conditions of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobFolders {
    /// Id map and abilities of the machine.
    pub machine: Machine,
    /// Empty scratch folder of the job.
    pub scratch: PathBuf,
    /// Empty folder for the helper's view. Helpers may share the folder: each mounts its own view
    /// there.
    pub view: PathBuf,
    /// Folder of unpacked layers of this id map.
    pub layers: PathBuf,
    /// Limits of archives.
    pub limits: ArchiveLimits,
}

/// A job's process inside its namespaces, as the container's root.
#[derive(Debug)]
pub struct Workspace<'a> {
    folders: &'a JobFolders,
    inputs: BoundFolders,
    view: View,
}

/// Enters the namespaces, binds folders of the caller into a view, and becomes the container's root.
/// Files that only the caller may open have to be opened before.
pub fn enter(
    map: &IdMap,
    view: &Path,
    folders: &[PathBuf],
    network: Network,
) -> Result<View, JobFailure> {
    namespace::enter(network).map_err(JobFailure::of)?;
    // Where the caller's is narrow, other users of the container could not read what is made for them.
    umask(Mode::from_bits_truncate(0o022));
    let view = View::create(view, folders, map).map_err(|error| {
        let hint = error.remedy().map(str::to_owned);
        JobFailure { hint, ..JobFailure::of(error) }
    })?;
    // After the view has bound them, what only the caller can reach is no longer looked up by its
    // path.
    namespace::become_root(map).map_err(JobFailure::of)?;
    Ok(view)
}

/// Unpacks the layers that are not unpacked yet, and returns their folders, the lowest first.
pub fn unpack_layers(
    view: &View,
    inputs: &BoundFolders,
    folder: &Path,
    layers: &[LayerBlob],
    single_id: bool,
    limits: ArchiveLimits,
) -> Result<Vec<PathBuf>, LayerError> {
    let in_view = |layer: &LayerBlob| {
        let path = inputs.place(view, &layer.path);
        LayerBlob { path, ..layer.clone() }
    };
    let layers: Vec<LayerBlob> = layers.iter().map(in_view).collect();
    let knows = |folder: &Path| overlay::knows_attribute_whiteouts(view, folder);
    let options = UnpackOptions { single_id, limits };
    ensure_unpacked(&inputs.place(view, folder), &layers, &options, knows)
}

impl<'a> Workspace<'a> {
    /// Enters the namespaces of a job. `inputs` are further folders of the caller that the job
    /// needs.
    pub fn enter(
        folders: &'a JobFolders,
        inputs: BoundFolders,
        network: Network,
    ) -> Result<Self, JobFailure> {
        let mut inputs = inputs;
        inputs.add(&folders.scratch);
        inputs.add(&folders.layers);
        let view = enter(&folders.machine.map, &folders.view, inputs.folders(), network)?;
        Ok(Self { folders, inputs, view })
    }

    /// Private view of the process.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Folders and conditions of the job.
    pub fn folders(&self) -> &JobFolders {
        self.folders
    }

    /// True if the namespace has one id only.
    pub fn is_single(&self) -> bool {
        self.folders.machine.tier() == Tier::Single
    }

    /// Path in the view of a path of the caller.
    pub fn in_view(&self, path: &Path) -> PathBuf {
        self.inputs.place(&self.view, path)
    }

    /// Path in the view of an entry of the scratch folder.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.in_view(&self.folders.scratch).join(name)
    }

    /// A text with the caller's paths instead of the view's, and with the container's own paths as the
    /// container has them.
    pub fn named_outside(&self, text: &str) -> String {
        let root = format!("{}/", self.view.root().display());
        let text = self.inputs.named_outside(&self.view, text).replace(&root, "/");
        // The trees of stages and images, each in a folder of its own.
        let trees = format!("{}/trees/", self.view.path().display());
        let mut parts = text.split(trees.as_str());
        let mut named = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
            let rest = &part[end.unwrap_or(part.len())..];
            named.push_str(if rest.starts_with('/') { "" } else { "/" });
            named.push_str(rest);
        }
        named
    }

    /// Unpacks the layers that are not unpacked yet, and returns their folders, the lowest first.
    pub fn unpacked(&self, layers: &[LayerBlob]) -> Result<Vec<PathBuf>, JobFailure> {
        let JobFolders { layers: folder, limits, .. } = self.folders;
        unpack_layers(&self.view, &self.inputs, folder, layers, self.is_single(), *limits).map_err(
            |error| {
                let hint = error.hint().map(str::to_owned);
                let failure = JobFailure { hint, ..JobFailure::of(error) };
                let message = format!("{} (unpacked into {})", failure.message, folder.display());
                let hint = failure.hint.or_else(|| {
                    (self.folders.machine.root != RootKind::Overlay).then(|| {
                        "set MKPANDA_HOME to a folder on a filesystem of its own, such as a volume of the outer container".to_owned()
                    })
                });
                JobFailure { hint, ..JobFailure::new(message) }
            },
        )
    }

    /// Mounts unpacked layers read-only, and returns the mount point.
    pub fn mount_tree(&self, layers: &[PathBuf], name: &str) -> Result<PathBuf, JobFailure> {
        let at = self.view.path().join("trees").join(name);
        let lowest = self.view.path().join("empty");
        fs_err::create_dir_all(&at)
            .and_then(|()| fs_err::create_dir_all(&lowest))
            .map_err(JobFailure::of)?;
        let layers = self.mountable(layers)?;
        overlay::mount_layers(&self.view, &at, &lowest, &layers, None).map_err(JobFailure::of)?;
        Ok(at)
    }

    /// Returns unpacked layers as they are to be mounted, the lowest first.
    pub fn mountable(&self, layers: &[PathBuf]) -> Result<Vec<PathBuf>, JobFailure> {
        let home = tempfile::tempdir_in(self.view.layers()).map_err(JobFailure::of)?.keep();
        with_merged_whiteouts(layers, &home).map_err(JobFailure::of)
    }

    /// A failure in the caller's terms: with the caller's paths, and with the cause if the scratch
    /// folder's disk is full.
    pub fn explained(&self, failure: JobFailure) -> JobFailure {
        let mut message = self.named_outside(&failure.message);
        let mut hint = failure.hint;
        let no_room = is_full(&self.scratch(""));
        if no_room {
            let scratch = self.folders.scratch.parent().unwrap_or(&self.folders.scratch).display();
            message = format!("{message}; the disk of the scratch folder {scratch} is full");
            hint = hint.or_else(|| {
                Some("make room there, or let builds write elsewhere: --scratch DIR".to_owned())
            });
        }
        JobFailure { message, hint, no_room, ..failure }
    }

    /// Unmounts the container's root, if there is one.
    pub fn unmount_root(&self) {
        _ = nix::mount::umount2(&self.view.root(), nix::mount::MntFlags::MNT_DETACH);
    }

    /// Removes the entries of the scratch folder, except those that the parent takes.
    pub fn clear_up(&self, is_kept: impl Fn(&OsStr) -> bool) -> io::Result<()> {
        // An overlay's folders are busy while it is mounted.
        self.unmount_root();
        let mut unswept = Unswept::default();
        for entry in fs_err::read_dir(self.scratch(""))? {
            let entry = entry?;
            if !is_kept(&entry.file_name()) {
                unswept.note(remove_all(&entry.path()));
            }
        }
        unswept.first()
    }
}

/// True if a filesystem has no room for another file worth mentioning.
fn is_full(folder: &Path) -> bool {
    const WORTH_MENTIONING: u64 = 64 << 10;
    nix::sys::statvfs::statvfs(folder).is_ok_and(|disk| {
        let free = disk.blocks_available() * disk.fragment_size();
        free < WORTH_MENTIONING || (disk.files() > 0 && disk.files_available() == 0)
    })
}
