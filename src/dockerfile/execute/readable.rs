//! Files of the build context that only real root may read: a container's root isn't the machine's, so
//! it gets copies of its own.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::job::{CopyInput, Match, MountInput};
use super::place::{With, put};
use crate::container::idmap::IdMap;
use crate::container::within_root::{Ownership, make_folders};

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
        MountInput::Tree(input) | MountInput::Cache { begins_as: Some(input), .. } => Some(input),
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
    for entry in matches.iter().flat_map(|found| &found.entries) {
        // The folders on the way count too.
        for path in entry.path.ancestors() {
            let data = fs_err::symlink_metadata(folder.join(path))?;
            let wanted = if data.is_dir() { 0o005 } else { 0o004 };
            if !data.is_symlink() && data.permissions().mode() & wanted != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn copy_all(folder: &Path, matches: &[Match], owner: (u32, u32), to: &Path) -> io::Result<()> {
    fs_err::create_dir_all(to)?;
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
    let owner = Ownership { ids: owner, single: false };
    for entry in matches.iter().flat_map(|found| &found.entries) {
        if entry.path.as_os_str().is_empty() {
            continue;
        }
        let (from, target) = (folder.join(&entry.path), to.join(&entry.path));
        make_folders(to, target.parent().unwrap_or(to), owner)?;
        let data = fs_err::symlink_metadata(&from)?;
        put(&from, &data, &target, With { owner, mode: data.permissions().mode() }).map(drop)?;
    }
    Ok(())
}
