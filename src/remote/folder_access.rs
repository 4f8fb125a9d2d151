//! Check that no other user may change a folder that this machine and those of an engine share.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

/// Write permissions of the group and of everybody.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Bit that leaves entries to their owners (`S_ISVTX`).
const STICKY: u32 = 0o1000;

/// Finds a folder, of the given one and those in it, in which another user may put or replace files: jobs and
/// programs that run as this user.
pub(super) fn changeable_by_others(root: &Path) -> io::Result<Option<PathBuf>> {
    // Followed: the user may name a folder by a link.
    let is_safe = |data: &Metadata| {
        let is_sticky_or_closed =
            data.mode() & WRITABLE_BY_OTHERS == 0 || data.mode() & STICKY != 0;
        (is_own(data) || data.uid() == 0) && is_sticky_or_closed
    };
    if !is_safe(&fs_err::metadata(root)?) {
        return Ok(Some(root.to_owned()));
    }
    for entry in fs_err::read_dir(root)? {
        let path = entry?.path();
        // Not followed: a link of another user's would lead to folders of theirs.
        let data = match fs_err::symlink_metadata(&path) {
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            data => data?,
        };
        let is_ours = ["jobs", "pool", "programs"].iter().any(|name| path.ends_with(name));
        if is_ours && !(is_own(&data) && data.is_dir() && data.mode() & WRITABLE_BY_OTHERS == 0) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn is_own(data: &Metadata) -> bool {
    data.uid() == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_change_is_named() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("shared");
        fs_err::create_dir_all(root.join("jobs")).unwrap();
        fs_err::create_dir(root.join("notes")).unwrap();
        for (name, mode, named) in [
            (".", 0o755, false),
            (".", 0o775, true),
            (".", 0o757, true),
            // As /tmp: what is in it is looked at.
            (".", 0o1777, false),
            ("jobs", 0o755, false),
            ("jobs", 0o700, false),
            ("jobs", 0o775, true),
            ("jobs", 0o1777, true),
            // None of ours.
            ("notes", 0o777, false),
        ] {
            let path = if name == "." { root.clone() } else { root.join(name) };
            fs_err::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = changeable_by_others(&root).unwrap();
            assert_eq!(found, named.then(|| path.clone()), "{name} {mode:o}");
            fs_err::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink("/tmp", root.join("pool")).unwrap();
        assert_eq!(changeable_by_others(&root).unwrap(), Some(root.join("pool")));
    }
}
