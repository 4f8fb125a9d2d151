//! Files of the build context that only real root may read: a container's root isn't the machine's, so
//! it gets copies of its own.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::job::{CopyInput, Match, MountInput};
use super::place::{With, put};
use crate::container::idmap::IdMap;
use crate::container::within_root::{Ownership, locate, make_folders};

/// Puts copies, below an empty folder `into`, in the place of files that the container's root couldn't
/// read.
pub(super) fn make_readable(
    inputs: &mut [CopyInput],
    mounts: &mut [MountInput],
    map: &IdMap,
    into: &Path,
) -> io::Result<()> {
    if map.root().0 == nix::unistd::Uid::current().as_raw() {
        return Ok(());
    }
    let mounted = mounts.iter_mut().filter_map(|mount| match mount {
        MountInput::Tree(input) => Some(input),
        _ => None,
    });
    for (index, input) in inputs.iter_mut().chain(mounted).enumerate() {
        let CopyInput::Listed { folder, matches } = input else { continue };
        if !are_readable(folder, matches)? {
            let copy = into.join(index.to_string());
            copy_all(folder, matches, map.root(), &copy)?;
            *folder = copy;
        }
    }
    Ok(())
}

fn are_readable(folder: &Path, matches: &[Match]) -> io::Result<bool> {
    for path in paths(matches) {
        // The folders on the way count too, and a symlink's target does.
        let place = locate(folder, &path, false)?;
        for place in place.ancestors().take_while(|place| place.starts_with(folder)) {
            let Ok(data) = fs_err::symlink_metadata(place) else { continue };
            let wanted = if data.is_dir() { 0o005 } else { 0o004 };
            if !data.is_symlink() && data.permissions().mode() & wanted != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn paths(matches: &[Match]) -> impl Iterator<Item = PathBuf> {
    matches.iter().flat_map(|found| {
        let below = found.entries.iter().map(|entry| found.path.join(entry));
        std::iter::once(found.path.clone()).chain(below)
    })
}

fn copy_all(folder: &Path, matches: &[Match], owner: (u32, u32), to: &Path) -> io::Result<()> {
    fs_err::create_dir_all(to)?;
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
    let owner = Ownership { ids: owner, single: false };
    for found in matches {
        let from = locate(folder, &found.path, false)?;
        // A match is followed if it is a symlink, what lies in it is not.
        let is_whole = found.path.as_os_str().is_empty();
        let top = if is_whole { to.to_owned() } else { to.join(&found.path) };
        if let (false, Some(above)) = (is_whole, top.parent()) {
            make_folders(to, above, owner)?;
        }
        let all = std::iter::once(PathBuf::new()).chain(found.entries.iter().cloned());
        for below in all {
            let (from, to) = if below.as_os_str().is_empty() {
                (from.clone(), top.clone())
            } else {
                (from.join(&below), top.join(&below))
            };
            let data = fs_err::symlink_metadata(&from)?;
            if !data.is_dir() || fs_err::symlink_metadata(&to).is_err() {
                put(&from, &data, &to, With { owner, mode: data.permissions().mode() }).map(drop)?;
            }
        }
    }
    Ok(())
}
