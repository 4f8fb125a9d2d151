//! The root of a step: layers below, an upper directory above.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::super::job::StepFailure;
use super::{Work, failed};
use crate::base::removal::remove_all;
use crate::container::machine::RootKind;
use crate::container::overlay;
use crate::container::within_root::locate;
use crate::image::layers::restore_implied_folders;

/// Something to be mounted on.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// Where, as the container names it.
    pub(super) path: PathBuf,
    /// Whether it is a file.
    pub(super) is_file: bool,
}

impl Point {
    pub(super) fn folder(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_file: false }
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_file: true }
    }
}

impl Work<'_> {
    /// Mounts the root, on which all `points` are there to be mounted on; gives the folder with the
    /// changes.
    pub(super) fn make_root(
        &self,
        below: &[PathBuf],
        points: &[Point],
    ) -> Result<PathBuf, StepFailure> {
        let root = self.view.root();
        let home = self.upper_home()?;
        let (upper, work) = (home.join("upper"), home.join("work"));
        for folder in [&upper, &work] {
            fs_err::create_dir(folder).map_err(failed)?;
        }
        let skeleton = self.view.skeleton();
        for point in points {
            make_point(&skeleton, point).map_err(failed)?;
        }
        let mount = || {
            overlay::mount_layers(&self.view, &root, &skeleton, below, Some((&upper, &work)))
                .map_err(failed)
        };
        mount()?;
        let mut is_complete = true;
        for point in points {
            // Where the image has a symlink there, it means something else of the root.
            let place = locate(&root, &point.path, false).map_err(failed)?;
            if fs_err::symlink_metadata(&place).is_err() {
                let path = place.strip_prefix(&root).unwrap_or(&place).to_owned();
                make_point(&skeleton, &Point { path, ..point.clone() }).map_err(failed)?;
                is_complete = false;
            }
        }
        if !is_complete {
            // A lower directory must not change below a mount.
            umount2(&root, MntFlags::empty()).map_err(failed)?;
            remove_all(&work).and_then(|()| fs_err::create_dir(&work)).map_err(failed)?;
            mount()?;
        }
        restore_implied_folders(&root, below).map_err(failed)?;
        Ok(upper)
    }

    /// Where the upper directory can be.
    fn upper_home(&self) -> Result<PathBuf, StepFailure> {
        match &self.job.machine.root {
            RootKind::Overlay => Ok(self.scratch("")),
            RootKind::OverlayOnTmpfs { size } => {
                let home = self.view.path().join("upper-home");
                fs_err::create_dir(&home).map_err(failed)?;
                let options = format!("mode=0755,uid=0,gid=0,size={size}");
                let flags = MsFlags::empty();
                mount(Some("tmpfs"), &home, Some("tmpfs"), flags, Some(options.as_str()))
                    .map_err(failed)?;
                Ok(home)
            }
            RootKind::Copy => Err(StepFailure {
                hint: Some("use --scratch DIR on a filesystem that can carry an overlay, such as a volume of the outer container".to_owned()),
                ..StepFailure::new("the kernel gives no overlay here, and without one it can't be told what a step changes")
            }),
        }
    }

    /// Mounts a tree of layers, to be read only.
    pub(super) fn mount_tree(
        &self,
        layers: &[PathBuf],
        name: &str,
    ) -> Result<PathBuf, StepFailure> {
        let at = self.view.path().join("trees").join(name);
        let lowest = self.view.path().join("empty");
        fs_err::create_dir_all(&at)
            .and_then(|()| fs_err::create_dir_all(&lowest))
            .map_err(failed)?;
        overlay::mount_layers(&self.view, &at, &lowest, layers, None).map_err(failed)?;
        Ok(at)
    }
}

fn make_point(skeleton: &Path, point: &Point) -> std::io::Result<()> {
    // No symlinks are in the skeleton, so that it can't be left.
    let place = locate(skeleton, &point.path, true)?;
    if !point.is_file {
        return fs_err::create_dir_all(place);
    }
    if let Some(above) = place.parent() {
        fs_err::create_dir_all(above)?;
    }
    fs_err::OpenOptions::new().create(true).append(true).open(place).map(drop)
}
