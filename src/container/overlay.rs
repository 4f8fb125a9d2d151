//! A container's root: the image's layers below, a scratch upper directory above.
//!
//! `mount(2)` takes one page of options, about 30 layers with full paths. So each layer gets a short
//! symlink (`0`, `1`, …) in the view, and the mount is made from there: 500 layers fit, which is
//! the kernel's own limit.
//!
//! The mount is `volatile` (Linux 5.10, older than `userxattr`): without it, its end writes all of the
//! upper directory's filesystem to the disk, and a build's `fsync` waits for the disk. Nothing here
//! outlives the machine: what a build gives is read from the mount, packed, and the archive is written
//! through to the disk.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::machine::RootKind;
use super::view::View;
use crate::archive::Whiteouts;
use crate::base::atomic::TEMPORARY_PREFIX;

/// The most layers that an image may have: the kernel takes 500 lower directories, one is ours.
pub const MOST_LAYERS: usize = 499;

/// Folders that every container has.
const SKELETON: [&str; 7] = ["dev", "opt/mesosphere", "pkg/build", "pkg/src", "proc", "sys", "tmp"];

/// The root could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The kernel refused the overlay.
    #[error("can't mount the overlay of {layers} layers: {errno}")]
    Overlay {
        /// How many layers it was to have.
        layers: usize,
        /// What the kernel answered.
        errno: Errno,
    },
    /// A tmpfs was refused.
    #[error("can't mount a tmpfs of {size} bytes for the root's changes: {errno}")]
    Tmpfs {
        /// Its size.
        size: u64,
        /// What the kernel answered.
        errno: Errno,
    },
    /// The image has too many layers.
    #[error("the image has {0} layers; an overlay can have at most {MOST_LAYERS}")]
    TooManyLayers(usize),
    /// A folder could not be prepared.
    #[error("can't prepare the container's root")]
    Prepare {
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// Makes the root at the view's `root/`. `layers` are unpacked, the lowest first; `scratch` is a
/// folder of this container's own.
pub fn make_root(
    view: &View,
    layers: &[PathBuf],
    scratch: &Path,
    kind: &RootKind,
) -> Result<(), RootError> {
    let prepare = |source| RootError::Prepare { source };
    if layers.len() > MOST_LAYERS {
        return Err(RootError::TooManyLayers(layers.len()));
    }
    let upper_home = match kind {
        RootKind::Overlay => scratch.to_owned(),
        RootKind::OverlayOnTmpfs { size } => {
            let home = view.path().join("upper-home");
            fs_err::create_dir(&home).map_err(prepare)?;
            let options = format!("mode=0755,uid=0,gid=0,size={size}");
            mount(Some("tmpfs"), &home, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
                .map_err(|errno| RootError::Tmpfs { size: *size, errno })?;
            home
        }
        RootKind::Copy => {
            let copy = scratch.join("root");
            fs_err::create_dir(&copy).map_err(prepare)?;
            for layer in layers {
                super::copy::merge_layer(layer, &copy).map_err(prepare)?;
            }
            return bind_root(&copy, view);
        }
    };
    let upper = upper_home.join("upper");
    let work = upper_home.join("work");
    for folder in [&upper, &work] {
        fs_err::create_dir(folder).map_err(prepare)?;
    }
    make_skeleton(&view.skeleton()).map_err(prepare)?;
    let with_skeleton: Vec<PathBuf> =
        std::iter::once(view.skeleton()).chain(layers.iter().cloned()).collect();
    mount_overlay(view, &with_skeleton, &upper, &work)
}

/// Mounts layers at a folder, the lowest first, and below them an empty folder of the view's. Changes
/// go into the upper directory, with its working one; without them, the mount is read-only.
pub fn mount_layers(
    view: &View,
    at: &Path,
    lowest: &Path,
    layers: &[PathBuf],
    changes: Option<(&Path, &Path)>,
) -> Result<(), RootError> {
    let prepare = |source| RootError::Prepare { source };
    if layers.len() > MOST_LAYERS {
        return Err(RootError::TooManyLayers(layers.len()));
    }
    let home = tempfile::tempdir_in(view.layers()).map_err(prepare)?.keep();
    let link = |target: &Path, name: &str| {
        fs_err::os::unix::fs::symlink(target, home.join(name)).map_err(prepare)
    };
    let all: Vec<&Path> =
        std::iter::once(lowest).chain(layers.iter().map(PathBuf::as_path)).collect();
    for (index, layer) in all.iter().enumerate() {
        link(layer, &index.to_string())?;
    }
    let mut names: Vec<String> = (0..all.len()).rev().map(|index| index.to_string()).collect();
    let options = if let Some((upper, work)) = changes {
        link(upper, "u")?;
        link(work, "w")?;
        format!("lowerdir={},upperdir=u,workdir=w,userxattr,volatile", names.join(":"))
    } else {
        // Without an upper directory, the kernel wants two lower ones.
        let second = home.join("empty");
        fs_err::create_dir(&second).map_err(prepare)?;
        names.push("empty".to_owned());
        format!("lowerdir={},userxattr", names.join(":"))
    };
    let mounted = nix::unistd::chdir(&home).and_then(|()| {
        mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
    });
    nix::unistd::chdir("/").map_err(|errno| prepare(errno.into()))?;
    mounted.map_err(|errno| RootError::Overlay { layers: layers.len(), errno })
}

/// Whether an overlay of layers in a folder knows whiteouts that are files: tried with such a layer
/// there, since what the filesystem makes of attributes matters as much as the kernel.
pub fn knows_attribute_whiteouts(view: &View, folder: &Path) -> bool {
    let attempt = || -> io::Result<bool> {
        let layer = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(folder)?;
        let below = tempfile::tempdir_in(view.layers())?.keep();
        for name in ["gone", "kept"] {
            fs_err::write(below.join(name), name)?;
        }
        Whiteouts::Attributes.make_at(layer.path(), "gone".as_ref())?;
        let at = tempfile::tempdir_in(view.layers())?.keep();
        mount_layers(view, &at, &below, &[layer.path().to_owned()], None)
            .map_err(io::Error::other)?;
        let names = fs_err::read_dir(&at)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>();
        let is_gone = !at.join("gone").exists();
        umount2(&at, MntFlags::MNT_DETACH)?;
        Ok(is_gone && names? == ["kept"])
    };
    let known = attempt();
    tracing::debug!(?known, folder = %folder.display(), "tried whiteouts that are files");
    known.unwrap_or(false)
}

/// Makes the lowest layer, on which nothing of an image depends: what is mounted later needs folders
/// to be mounted on, and made in the upper directory each of them would be written to the disk and
/// removed again (1.3 ms each on a disk that discards at once).
fn make_skeleton(folder: &Path) -> io::Result<()> {
    for name in SKELETON {
        fs_err::create_dir_all(folder.join(name))?;
    }
    fs_err::set_permissions(folder.join("tmp"), PermissionsExt::from_mode(0o1777))
}

fn mount_overlay(
    view: &View,
    layers: &[PathBuf],
    upper: &Path,
    work: &Path,
) -> Result<(), RootError> {
    let prepare = |source| RootError::Prepare { source };
    let home = view.layers();
    for (index, layer) in layers.iter().enumerate() {
        fs_err::os::unix::fs::symlink(layer, home.join(index.to_string())).map_err(prepare)?;
    }
    fs_err::os::unix::fs::symlink(upper, home.join("u")).map_err(prepare)?;
    fs_err::os::unix::fs::symlink(work, home.join("w")).map_err(prepare)?;
    // The topmost layer comes first.
    let names: Vec<String> = (0..layers.len()).rev().map(|index| index.to_string()).collect();
    let options = format!("lowerdir={},upperdir=u,workdir=w,userxattr,volatile", names.join(":"));
    let root = view.root();
    let mounted = nix::unistd::chdir(&home).and_then(|()| {
        mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
    });
    nix::unistd::chdir("/").map_err(|errno| prepare(errno.into()))?;
    mounted.map_err(|errno| RootError::Overlay { layers: layers.len(), errno })
}

/// Puts a folder where the root is to be.
fn bind_root(folder: &Path, view: &View) -> Result<(), RootError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(folder), &view.root(), None::<&str>, flags, None::<&str>)
        .map_err(|errno| RootError::Prepare { source: errno.into() })
}
