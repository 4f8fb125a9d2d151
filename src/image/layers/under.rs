//! Whiteouts of nothing.
//!
//! Overlayfs hides a whiteout only where folders are merged. A folder of a single layer is shown
//! unmerged, including its whiteouts: as names that cannot be opened. So the folders with whiteouts
//! are noted beside a layer, and where no layer below has such a folder, an empty folder is put
//! right below.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::look::shows_folder;
use crate::archive::EntryPath;
use crate::base::regular::read_own;
use crate::base::removal::remove_all;

/// Returns the path of the list of a layer's folders that have whiteouts, separated by NUL; there is no file
/// if there are none.
pub(super) fn file(layer: &Path) -> PathBuf {
    layer.with_extension("whiteouts")
}

pub(super) fn write(layer: &Path, folders: &[EntryPath]) -> io::Result<()> {
    if folders.is_empty() {
        return remove_all(&file(layer));
    }
    let names: Vec<&[u8]> = folders.iter().map(EntryPath::as_bytes).collect();
    fs_err::write(file(layer), names.join(&0))
}

/// Returns the layers to be mounted, the lowest first: those that are given, and further ones, made in
/// `home`, with folders for whiteouts of nothing.
pub fn with_merged_whiteouts(layers: &[PathBuf], home: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let mut under = None;
        for folder in read(layer)? {
            // The root is always merged.
            if folder.as_os_str().is_empty() || shows_folder(&layers[..index], &folder)? {
                continue;
            }
            // Right below the layer, so that the folder hides nothing of the layers above.
            let place = under.get_or_insert_with(|| home.join(format!("under-{index}")));
            fs_err::create_dir_all(place.join(folder))?;
        }
        all.extend(under);
        all.push(layer.clone());
    }
    Ok(all)
}

fn read(layer: &Path) -> io::Result<Vec<PathBuf>> {
    let bytes = match read_own(&file(layer)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let path = |name: &[u8]| PathBuf::from(OsString::from_vec(name.to_vec()));
    Ok(bytes.split(|byte| *byte == 0).map(path).collect())
}
