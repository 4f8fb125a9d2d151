//! Root of a container: layers below, an upper directory above.
//!
//! ```text
//! <scratch>/upper/      changes
//! <scratch>/work/       overlayfs's own
//! <scratch>/root/       copy of the layers, where the kernel has no overlay
//! ```
//!
//! Mount points (`/proc`, `/etc/resolv.conf`, the caller's mounts) that the image lacks are folders and
//! files of the lowest layer of all, the skeleton, which is in memory. The upper directory never
//! contains mount points: a layer made of the upper directory has none, and no mount point costs a
//! write to the disk (1.3 ms each on a disk that discards at once).

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::base::removal::remove_all;
use crate::container::copy::merge_layer;
use crate::container::machine::RootKind;
use crate::container::overlay;
use crate::container::within_root::locate;
use crate::image::host::HostRoot;
use crate::image::layers::restore_implied_folders;
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// A mount point, or another folder that has to be there.
#[derive(Debug, Clone)]
pub struct Point {
    path: PathBuf,
    is_file: bool,
    mode: Option<u32>,
}

impl Point {
    /// Folder.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), is_file: false, mode: None }
    }

    /// Folder with a mode.
    pub fn folder_with_mode(path: impl Into<PathBuf>, mode: u32) -> Self {
        Self { mode: Some(mode), ..Self::folder(path) }
    }

    /// Empty file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { is_file: true, ..Self::folder(path) }
    }
}

/// Mounts the root at the view's `root/`, with all `points` in it, and returns the folder that receives
/// the changes; none where the kernel has no overlay. `layers` are unpacked, the lowest first.
pub fn make_root(
    workspace: &Workspace<'_>,
    layers: &[PathBuf],
    host: Option<&HostRoot>,
    points: &[Point],
) -> Result<Option<PathBuf>, JobFailure> {
    let view = workspace.view();
    let root = view.root();
    if let Some(host) = host {
        lay_out(&view.skeleton(), host).map_err(JobFailure::of)?;
    }
    let Some(home) = upper_home(workspace)? else {
        let copy = workspace.scratch("root");
        // Without overlay the mount points lie in the copy, which nothing is made of.
        fs_err::create_dir(&copy).map_err(JobFailure::of)?;
        for layer in std::iter::once(&view.skeleton()).chain(layers) {
            merge_layer(layer, &copy).map_err(JobFailure::of)?;
        }
        points.iter().try_for_each(|point| make(&copy, point)).map_err(JobFailure::of)?;
        restore_implied_folders(&copy, layers).map_err(JobFailure::of)?;
        overlay::bind_root(&copy, view).map_err(JobFailure::of)?;
        return Ok(None);
    };
    let (upper, work) = (home.join("upper"), home.join("work"));
    for folder in [&upper, &work] {
        fs_err::create_dir(folder).map_err(JobFailure::of)?;
    }
    let skeleton = view.skeleton();
    for point in points {
        let below = point.path.strip_prefix("/").unwrap_or(&point.path);
        // Without the machine's folders there is no link in it yet.
        let is_plain =
            host.is_none() && below.components().all(|part| matches!(part, Component::Normal(_)));
        let made = if is_plain {
            make_at(&skeleton, &skeleton.join(below), point)
        } else {
            make(&skeleton, point)
        };
        made.map_err(JobFailure::of)?;
    }
    let mounted = workspace.mountable(layers)?;
    let mount = || {
        overlay::mount_layers(view, &root, &skeleton, &mounted, Some((&upper, &work)))
            .map_err(JobFailure::of)
    };
    mount()?;
    let mut is_complete = true;
    for point in points {
        // A symlink of the image leads elsewhere in the root.
        let place = locate(&root, &point.path, false).map_err(JobFailure::of)?;
        if fs_err::symlink_metadata(&place).is_err() {
            let path = place.strip_prefix(&root).unwrap_or(&place).to_owned();
            make(&skeleton, &Point { path, ..point.clone() }).map_err(JobFailure::of)?;
            is_complete = false;
        }
    }
    if !is_complete {
        // A lower directory must not change below a mount.
        umount2(&root, MntFlags::empty()).map_err(JobFailure::of)?;
        // A work directory is used once: with `volatile`, the kernel marks it, and refuses another
        // mount (overlayfs.rst, "Volatile mount").
        remove_all(&work).and_then(|()| fs_err::create_dir(&work)).map_err(JobFailure::of)?;
        mount()?;
    }
    restore_implied_folders(&root, layers).map_err(JobFailure::of)?;
    Ok(Some(upper))
}

/// Failure of a job that needs a root's changes on a machine without overlay.
pub fn no_overlay() -> JobFailure {
    JobFailure::new("the kernel has no overlay here, and without one the changes of a step are unknown").with_hint(
        "use --scratch DIR on a filesystem that can carry an overlay, such as a volume of the outer container",
    )
}

/// Folder for the upper directory; none where roots are copied.
fn upper_home(workspace: &Workspace<'_>) -> Result<Option<PathBuf>, JobFailure> {
    match &workspace.folders().machine.root {
        RootKind::Overlay => Ok(Some(workspace.scratch(""))),
        RootKind::OverlayOnTmpfs { size } => {
            let home = workspace.view().path().join("upper-home");
            fs_err::create_dir(&home).map_err(JobFailure::of)?;
            let options = format!("mode=0755,uid=0,gid=0,size={size}");
            let flags = MsFlags::empty();
            // A tmpfs of its own, since that of the view has 1 GiB.
            mount(Some("tmpfs"), &home, Some("tmpfs"), flags, Some(options.as_str())).map_err(
                |errno| {
                    JobFailure::new(format!("a tmpfs of {size} bytes cannot be mounted: {errno}"))
                },
            )?;
            Ok(Some(home))
        }
        RootKind::Copy => Ok(None),
    }
}

/// Makes the folders and symlinks of the embedded builder's root.
fn lay_out(skeleton: &Path, host: &HostRoot) -> std::io::Result<()> {
    let below = |path: &Path| skeleton.join(path.strip_prefix("/").unwrap_or(path));
    for folder in &host.folders {
        let place = below(&folder.path);
        fs_err::create_dir_all(&place)?;
        fs_err::set_permissions(place, PermissionsExt::from_mode(folder.mode))?;
    }
    for link in &host.symlinks {
        let place = below(&link.path);
        fs_err::create_dir_all(place.parent().unwrap_or(skeleton))?;
        fs_err::os::unix::fs::symlink(&link.target, place)?;
    }
    Ok(())
}

/// Makes a mount point below a folder that may contain symbolic links.
fn make(root: &Path, point: &Point) -> std::io::Result<()> {
    let place = locate(root, &point.path, false)?;
    if fs_err::symlink_metadata(&place).is_ok() {
        return Ok(());
    }
    make_at(root, &place, point)
}

fn make_at(root: &Path, place: &Path, point: &Point) -> std::io::Result<()> {
    if point.is_file {
        fs_err::create_dir_all(place.parent().unwrap_or(root))?;
        return fs_err::OpenOptions::new().create(true).append(true).open(place).map(drop);
    }
    fs_err::create_dir_all(place)?;
    match point.mode {
        Some(mode) => fs_err::set_permissions(place, PermissionsExt::from_mode(mode)),
        None => Ok(()),
    }
}
