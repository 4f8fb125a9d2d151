//! Lookup of a path in an unpacked layer, without leaving the layer.
//!
//! A symlink of a layer means a path in the container. Followed here, the link would lead into this
//! machine's own folders; so no symlink is followed, on the way or at the end. Overlayfs does not
//! follow symlinks of layers either: a folder of a higher layer replaces a symlink of a lower
//! layer.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::{is_opaque_at, is_whiteout_at};

/// Result of looking up a path in a layer.
pub(super) struct LayerLookup {
    /// Entry at the path, with its location; `None` also where the layer only removes an entry of
    /// the layers below.
    pub(super) found: Option<(PathBuf, Metadata)>,
    /// True if the layer hides the path in lower layers: by a whiteout, by an opaque folder, or by
    /// an entry other than a folder, at the path or above.
    pub(super) hides: bool,
}

/// Looks at a path of a layer, which is relative and has no `..`.
pub(super) fn look(layer: &Path, path: &Path) -> io::Result<LayerLookup> {
    let mut place = layer.to_owned();
    let mut data = fs_err::symlink_metadata(&place)?;
    let mut hides = is_opaque_at(&place)?;
    for part in path.components() {
        if !data.is_dir() {
            return Ok(LayerLookup { found: None, hides });
        }
        place.push(part);
        data = match fs_err::symlink_metadata(&place) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(LayerLookup { found: None, hides });
            }
            Err(error) => return Err(error),
        };
        if data.is_dir() {
            hides |= is_opaque_at(&place)?;
            continue;
        }
        // Overlayfs merges folders alone: any other entry hides what is below it.
        hides = true;
        if is_whiteout_at(&place, &data)? {
            return Ok(LayerLookup { found: None, hides });
        }
    }
    Ok(LayerLookup { found: Some((place, data)), hides })
}

/// True if the layers, lowest first, show a folder at a path to the layers above.
pub(super) fn shows_folder(layers: &[PathBuf], path: &Path) -> io::Result<bool> {
    for layer in layers.iter().rev() {
        let look = look(layer, path)?;
        if let Some((_, data)) = look.found {
            return Ok(data.is_dir());
        }
        if look.hides {
            return Ok(false);
        }
    }
    Ok(false)
}
