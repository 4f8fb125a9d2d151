//! COPY, ADD and WORKDIR: by the helper itself, below the step's root.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::LayerMaker;
use super::copy_source::find;
use super::copying::Copying;
use crate::container::within_root::{Ownership, locate, make_folders, read_text};
use crate::dockerfile::step::{CopySource, CopyStep, FolderStep};
use crate::image::user::{ImageUserError, resolve_user};
use crate::runner::job::JobFailure;

impl LayerMaker<'_> {
    /// WORKDIR.
    pub(super) fn folder(
        &self,
        step: &FolderStep,
        below: &[PathBuf],
    ) -> Result<PathBuf, JobFailure> {
        let upper = self.make_root(below)?;
        let root = self.workspace.view().root();
        let place = locate(&root, Path::new(&step.path), false).map_err(JobFailure::of)?;
        // No owner needs to be set.
        if fs_err::symlink_metadata(&place).is_ok_and(|data| data.is_dir()) {
            return Ok(upper);
        }
        let owner = self.maker_of(&step.user)?;
        make_folders(&root, &place, owner).map_err(|error| {
            JobFailure::new(format!("can't make the folder {}: {error}", step.path))
        })?;
        Ok(upper)
    }

    /// COPY and ADD.
    pub(super) fn copy(&self, step: &CopyStep, below: &[PathBuf]) -> Result<PathBuf, JobFailure> {
        let upper = self.make_root(below)?;
        let root = self.workspace.view().root();
        let mut copying = Copying {
            maker: self,
            step,
            owner: step.chown.as_deref().map(|chown| self.new_owner_of(chown)).transpose()?,
            // Symlinks of the image are followed within its root: `/var/run` may lead to `/run`,
            // but never out.
            destination: locate(&root, Path::new(&step.destination), false)
                .map_err(JobFailure::of)?,
            root,
            unpacked: 0,
            linked: RefCell::default(),
        };
        let mut items = Vec::new();
        for (index, (source, input)) in step.sources.iter().zip(&self.job.inputs).enumerate() {
            items.push((source, find(self, step, input, index)?));
        }
        let is_text = |source: &CopySource| matches!(source, CopySource::Document(_));
        if items.iter().all(|(source, found)| found.is_empty() && !is_text(source)) {
            return Err(JobFailure {
                hint: Some("a pattern may match nothing, but not all of them".to_owned()),
                ..JobFailure::new("there is nothing to copy: no file matches")
            });
        }
        // Before the first file: a refused COPY must not be half done.
        copying.check_count(&items)?;
        for (source, found) in items {
            if let CopySource::Document(document) = source {
                copying.document(&document.name, &document.content)?;
            }
            for item in &found {
                copying.item(item)?;
            }
        }
        Ok(upper)
    }

    /// The ids that `--chown` means: a number alone is the group's too.
    fn new_owner_of(&self, chown: &str) -> Result<Ownership, JobFailure> {
        self.owner_of(&with_group(chown))?.map_err(JobFailure::of).map_err(|failure| JobFailure {
            message: format!("--chown={chown}: {}", failure.message),
            hint: Some("create the user or group in a RUN before it, or give ids, which need none: --chown=1000:1000".to_owned()),
            ..failure
        })
    }

    /// Ids of the owner of WORKDIR's folder: root's for a user that the image lacks, which only RUN
    /// has to find.
    fn maker_of(&self, user: &str) -> Result<Ownership, JobFailure> {
        let single = self.workspace.is_single();
        match self.owner_of(&with_group(user))? {
            Err(ImageUserError::NoUser(_) | ImageUserError::NoGroup(_)) => {
                Ok(Ownership { ids: (0, 0), is_single_id: single })
            }
            found => found.map_err(JobFailure::of),
        }
    }

    /// The ids of a user of the root, `name`, `uid`, `name:group` or `uid:gid`.
    fn owner_of(&self, user: &str) -> Result<Result<Ownership, ImageUserError>, JobFailure> {
        let root = self.workspace.view().root();
        let passwd = read_text(&root, "etc/passwd").map_err(JobFailure::of)?;
        let group = read_text(&root, "etc/group").map_err(JobFailure::of)?;
        let found = resolve_user(user, passwd.as_deref(), group.as_deref());
        let single = self.workspace.is_single();
        Ok(found.map(|found| Ownership { ids: (found.uid, found.gid), is_single_id: single }))
    }
}

/// A user as written, a number alone with the group of the same number.
fn with_group(user: &str) -> String {
    match user.parse::<u32>() {
        Ok(id) => format!("{id}:{id}"),
        Err(_) => user.to_owned(),
    }
}
