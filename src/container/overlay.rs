//! A container's root: the image's layers below, a scratch upper directory above.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::view::View;
use crate::archive::Whiteouts;
use crate::base::atomic::TEMPORARY_PREFIX;

/// Upper limit of an image's layers: the kernel accepts 500 lower directories, and one is ours.
pub const MOST_LAYERS: usize = 499;

/// The root could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The kernel refused the overlay.
    #[error("can't mount the overlay of {layers} layers: {errno}")]
    Overlay {
        /// Number of layers.
        layers: usize,
        /// Answer of the kernel.
        errno: Errno,
    },
    /// The image has too many layers.
    #[error("the image has {0} layers; an overlay can have at most {MOST_LAYERS}")]
    TooManyLayers(usize),
    /// A folder could not be prepared.
    #[error("can't prepare the container's root")]
    Prepare {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Mounts layers at a folder, lowest first, above an empty folder of the view. Changes go into the
/// upper directory, with its work directory; without them, the mount is read-only.
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
    // `mount(2)` takes one page of options, about 30 layers with full paths. By short symlinks (`0`, `1`,
    // …) from the working directory, 500 layers fit, which is the kernel's own limit.
    let home = tempfile::tempdir_in(view.layers()).map_err(prepare)?.keep();
    let link = |target: &Path, name: &str| {
        fs_err::os::unix::fs::symlink(target, home.join(name)).map_err(prepare)
    };
    let all: Vec<&Path> =
        std::iter::once(lowest).chain(layers.iter().map(PathBuf::as_path)).collect();
    for (index, layer) in all.iter().enumerate() {
        link(layer, &index.to_string())?;
    }
    // overlayfs wants the topmost directory first (overlayfs.rst, "Multiple lower layers").
    let mut names: Vec<String> = (0..all.len()).rev().map(|index| index.to_string()).collect();
    let options = if let Some((upper, work)) = changes {
        link(upper, "u")?;
        link(work, "w")?;
        // `userxattr` (Linux 5.11): attributes `trusted.*` need privileges outside of the user namespace.
        // `volatile` (Linux 5.10): otherwise the mount's end writes all of the upper directory's filesystem
        // to the disk, and a build's `fsync` waits for the disk. No file here needs to survive a crash: a
        // build's result is read from the mount and packed, and the archive is synced to the disk.
        format!("lowerdir={},upperdir=u,workdir=w,userxattr,volatile", names.join(":"))
    } else {
        // Without an upper directory, the kernel wants two lower ones.
        let second = home.join("empty");
        fs_err::create_dir(&second).map_err(prepare)?;
        names.push("empty".to_owned());
        format!("lowerdir={},userxattr", names.join(":"))
    };
    // The kernel follows the names once, at the mount, from the working directory.
    let mounted = nix::unistd::chdir(&home).and_then(|()| {
        mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
    });
    nix::unistd::chdir("/").map_err(|errno| prepare(errno.into()))?;
    mounted.map_err(|errno| RootError::Overlay { layers: layers.len(), errno })
}

/// True if an overlay of layers in a folder supports whiteouts as files: tried with such a layer
/// there, since the filesystem's support for attributes matters as much as the kernel.
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

/// Puts a folder where the root is to be.
pub fn bind_root(folder: &Path, view: &View) -> Result<(), RootError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(folder), &view.root(), None::<&str>, flags, None::<&str>)
        .map_err(|errno| RootError::Prepare { source: errno.into() })
}
