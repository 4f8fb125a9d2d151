//! Mounts of a command, beside the root: `--mount`, and the files for name resolution and network
//! access.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::mount::{MsFlags, mount};

use super::super::caches::sharing_of;
use super::super::choose::{choice, choose};
use super::super::job::{CopyInput, Match, MountInput, SecretBytes};
use super::super::placement::{With, put};
use super::{LayerMaker, from_context};
use crate::base::removal::remove_all;
use crate::container::within_root::{Ownership, locate, make_folders, make_folders_with};
use crate::dockerfile::context::ContextFiles;
use crate::dockerfile::step::{RunMount, RunStep, Sharing};
use crate::image::store::LayerBlob;
use crate::runner::command::{Mount, MountSource};
use crate::runner::job::JobFailure;

/// Prepared mounts of a command, and the variables of its secrets and ssh agents.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) all: Vec<Mount>,
    pub(super) variables: Vec<(String, String)>,
    /// Number of ssh agents.
    agents: u32,
}

impl Mounts {
    fn add(&mut self, source: PathBuf, target: impl Into<PathBuf>, writable: bool) {
        let source = MountSource::View(source);
        self.all.push(Mount { source, target: target.into(), writable, is_shared: false });
    }
}

impl LayerMaker<'_> {
    /// Prepares all mounts of the command.
    pub(super) fn mounts(&self, step: &RunStep) -> Result<Mounts, JobFailure> {
        let mut mounts = Mounts::default();
        let home = self.workspace.view().path().join("mounts");
        fs_err::create_dir(&home).map_err(JobFailure::of)?;
        if !step.documents.is_empty() {
            let pipes = home.join("pipes");
            fs_err::create_dir(&pipes).map_err(JobFailure::of)?;
            for document in &step.documents {
                write_file(&pipes.join(&document.name), document.content.as_bytes(), 0o755)?;
            }
            mounts.add(pipes, "/dev/pipes", false);
        }
        for (index, (wanted, input)) in step.mounts.iter().zip(&self.job.mounts).enumerate() {
            self.mount(wanted, input, &home.join(index.to_string()), &mut mounts)?;
            if sharing_of(&step.mounts, index) == Some(Sharing::Shared)
                && let Some(mount) = mounts.all.last_mut()
            {
                mount.is_shared = true;
            }
        }
        Ok(mounts)
    }

    fn mount(
        &self,
        wanted: &RunMount,
        input: &MountInput,
        home: &Path,
        mounts: &mut Mounts,
    ) -> Result<(), JobFailure> {
        match (wanted, input) {
            (RunMount::Bind { source, target, writable, .. }, MountInput::Tree(input)) => {
                let place = self.tree(input, source, home, *writable)?;
                mounts.add(place, target, *writable);
            }
            (
                RunMount::Cache { target, read_only, mode, owner, from, source, .. },
                MountInput::Cache { folder, begins_as },
            ) => {
                let place = self.workspace.in_view(folder).join("files");
                if fs_err::symlink_metadata(&place).is_err() {
                    match (from, begins_as) {
                        (Some((_, source)), Some(input)) => {
                            self.begin_cache(&place, input, source, home)?;
                        }
                        _ => fs_err::create_dir(&place).map_err(JobFailure::of)?,
                    }
                    let owner = Ownership { ids: *owner, is_single_id: self.workspace.is_single() };
                    owner.apply(&place).map(drop).map_err(JobFailure::of)?;
                    let mode = std::fs::Permissions::from_mode(*mode);
                    fs_err::set_permissions(&place, mode).map_err(JobFailure::of)?;
                }
                let place = match source {
                    None => place,
                    Some(source) => self.folder_of_cache(&place, source, (*owner, *mode))?,
                };
                mounts.add(place, target, !read_only);
            }
            (RunMount::Tmpfs { target, size }, MountInput::Tmpfs) => {
                fs_err::create_dir(home).map_err(JobFailure::of)?;
                let size = size.map_or_else(String::new, |size| format!(",size={size}"));
                let options = format!("mode=1777{size}");
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(Some("tmpfs"), home, Some("tmpfs"), flags, Some(options.as_str()))
                    .map_err(JobFailure::of)?;
                mounts.add(home.to_owned(), target, true);
            }
            (
                RunMount::Secret { target, variable, mode, owner, .. },
                MountInput::Secret(Some(SecretBytes(content))),
            ) => {
                if let Some(variable) = variable {
                    let value = String::from_utf8_lossy(content).into_owned();
                    mounts.variables.push((variable.clone(), value));
                }
                if let Some(target) = target {
                    // The view is in memory, and is gone with the step.
                    write_file(home, content, *mode)?;
                    let owner = Ownership { ids: *owner, is_single_id: self.workspace.is_single() };
                    // With a single id, root is the only user, and a file in memory has user attributes only
                    // since Linux 6.6.
                    if !owner.is_single_id {
                        owner.apply(home).map(drop).map_err(JobFailure::of)?;
                    }
                    mounts.add(home.to_owned(), target, false);
                }
            }
            (RunMount::Ssh { target, mode, owner, .. }, MountInput::Socket(Some(socket))) => {
                let count = mounts.agents;
                mounts.agents += 1;
                let target =
                    target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{count}"));
                if count == 0 {
                    mounts.variables.push(("SSH_AUTH_SOCK".to_owned(), target.clone()));
                }
                let place = self.workspace.in_view(socket);
                let mode = std::fs::Permissions::from_mode(*mode);
                fs_err::set_permissions(&place, mode).map_err(JobFailure::of)?;
                let owner = Ownership { ids: *owner, is_single_id: self.workspace.is_single() };
                owner.apply(&place).map(drop).map_err(JobFailure::of)?;
                mounts.add(place, target, true);
            }
            // An optional secret or agent is missing.
            (RunMount::Secret { .. }, MountInput::Secret(None))
            | (RunMount::Ssh { .. }, MountInput::Socket(None)) => {}
            _ => {
                return Err(JobFailure::new("the helper was given other mounts than the step has"));
            }
        }
        Ok(())
    }

    /// Returns a folder in a cache, made if missing. The caller holds the cache's lock.
    fn folder_of_cache(
        &self,
        cache: &Path,
        source: &str,
        (ids, mode): ((u32, u32), u32),
    ) -> Result<PathBuf, JobFailure> {
        let place = locate(cache, Path::new(source), false).map_err(JobFailure::of)?;
        let owner = Ownership { ids, is_single_id: self.workspace.is_single() };
        make_folders_with(cache, &place, owner, mode).map_err(|error| {
            JobFailure::new(format!("{source}: the cache has no such folder: {error}"))
        })?;
        Ok(place)
    }

    /// Fills a new cache with copies of a folder's files.
    fn begin_cache(
        &self,
        place: &Path,
        input: &CopyInput,
        source: &str,
        home: &Path,
    ) -> Result<(), JobFailure> {
        // Left by a step that was killed. Under another name until it is whole: a half-filled cache
        // would never be filled again.
        let new = place.with_file_name("files.new");
        remove_all(&new).map_err(JobFailure::of)?;
        fs_err::create_dir(&new).map_err(JobFailure::of)?;
        let meant = match input {
            CopyInput::Listed { folder, matches } => {
                self.copy_matches(&self.workspace.in_view(folder), matches, &new)?;
                only(matches)
            }
            CopyInput::Pattern { layers, .. } => self.copy_of_layers(layers, source, home, &new)?,
            _ => return Err(JobFailure::new("the helper was given no files for a cache")),
        };
        let meant = meant.unwrap_or_else(|| source.into());
        let found = locate(&new, &meant, false).map_err(JobFailure::of)?;
        if !found.is_dir() {
            return Err(JobFailure::new(format!(
                "{source}: there is no such folder to begin a cache with"
            )));
        }
        fs_err::rename(&found, place).map_err(JobFailure::of)?;
        if found != new {
            remove_all(&new).map_err(JobFailure::of)?;
        }
        Ok(())
    }

    /// Copies files of layers to the same paths; returns the path of the source's match.
    fn copy_of_layers(
        &self,
        layers: &[LayerBlob],
        source: &str,
        home: &Path,
        to: &Path,
    ) -> Result<Option<PathBuf>, JobFailure> {
        let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tree = self
            .workspace
            .mount_tree(&self.workspace.unpacked(layers)?, &format!("mount-{name}"))?;
        let choice = choice(&[], false).map_err(from_context)?;
        let matches =
            choose(&ContextFiles::of_tree(&tree), source, &choice).map_err(from_context)?;
        self.copy_matches(&tree, &matches, to)?;
        Ok(only(&matches))
    }

    /// The files of a bind mount.
    fn tree(
        &self,
        input: &CopyInput,
        source: &str,
        home: &Path,
        writable: bool,
    ) -> Result<PathBuf, JobFailure> {
        let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (root, meant) = match input {
            // Copied, without ignored files, and with root as the owner.
            CopyInput::Listed { folder, matches } => {
                let copy = self.workspace.scratch(&format!("mount-{name}"));
                fs_err::create_dir(&copy).map_err(JobFailure::of)?;
                let folder = self.workspace.in_view(folder);
                self.copy_matches(&folder, matches, &copy)?;
                (copy, only(matches))
            }
            CopyInput::Pattern { layers, .. } if writable => {
                let copy = self.workspace.scratch(&format!("mount-{name}"));
                fs_err::create_dir(&copy).map_err(JobFailure::of)?;
                let meant = self.copy_of_layers(layers, source, home, &copy)?;
                (copy, meant)
            }
            CopyInput::Pattern { layers, .. } => {
                let layers = self.workspace.unpacked(layers)?;
                (self.workspace.mount_tree(&layers, &format!("mount-{name}"))?, None)
            }
            _ => return Err(JobFailure::new("the helper was given no files for a mount")),
        };
        let meant = meant.unwrap_or_else(|| source.into());
        let place = locate(&root, &meant, false).map_err(JobFailure::of)?;
        if fs_err::symlink_metadata(&place).is_err() {
            return Err(JobFailure::new(format!("{source}: there is no such file to be mounted")));
        }
        Ok(place)
    }

    /// Copies the listed files to the same paths.
    fn copy_matches(&self, from: &Path, matches: &[Match], to: &Path) -> Result<(), JobFailure> {
        let owner = Ownership { ids: (0, 0), is_single_id: self.workspace.is_single() };
        for entry in matches.iter().flat_map(|found| &found.entries) {
            if entry.path.as_os_str().is_empty() {
                continue;
            }
            let (place, target) = (from.join(&entry.path), to.join(&entry.path));
            make_folders(to, target.parent().unwrap_or(to), owner).map_err(JobFailure::of)?;
            let data = fs_err::symlink_metadata(&place).map_err(JobFailure::of)?;
            let with = With { owner, mode: data.permissions().mode(), replaces: false };
            put(&place, &data, &target, with).map(drop).map_err(JobFailure::of)?;
        }
        Ok(())
    }
}

/// Path of a source's only match. Symlinks on the way are resolved there, as they are not copied.
fn only(matches: &[Match]) -> Option<PathBuf> {
    match matches {
        [one] => one.entries.first().map(|entry| entry.path.clone()),
        _ => None,
    }
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), JobFailure> {
    fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        // Before the content is in it, so that nobody reads a secret in between.
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .map_err(JobFailure::of)
}
