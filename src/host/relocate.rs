//! Moving a file or folder to another name, also where the kernel cannot rename it.
//!
//! A folder of a lower layer of an overlay cannot be renamed (EXDEV; `redirect_dir` is off by
//! default): the case of a root in an image. Such a folder is copied under a temporary name, put in
//! place by a rename, and then removed at the old path. A mark beside the folder records the
//! removal: after an interruption, either the new name is missing, or both folders are whole, or
//! the mark shows which of the two is not.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;
use std::time::SystemTime;

use nix::unistd::Uid;

use super::paths::with_suffix;
use crate::base::removal::remove_all;

/// End of the name of a copy under way, which belongs to no set.
pub(super) const MOVING: &str = ".moving.new";

/// End of the name of the mark beside something that has moved, and is being removed.
const GONE: &str = ".gone.new";

/// Removes the rest of a moved folder.
pub(super) fn finish_removal(path: &Path) -> io::Result<()> {
    if !has_moved(path) {
        return Ok(());
    }
    remove_all(path)?;
    fs_err::remove_file(with_suffix(path, GONE))
}

/// Renames, or copies and removes.
pub(super) fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    match fs_err::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_and_remove(from, to),
        other => other,
    }
}

fn copy_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    let copy = with_suffix(to, MOVING);
    remove_all(&copy)?;
    copy_all(from, &copy).inspect_err(|_| drop(remove_all(&copy)))?;
    fs_err::rename(&copy, to)?;
    let mark = with_suffix(from, GONE);
    // After the copy has its name: with the mark, the old place may be removed without a look.
    let marked = fs_err::File::create(&mark).and_then(|mark| mark.sync_all());
    marked.inspect_err(|_| {
        // What is moved is whole still, and so it has not moved.
        drop(remove_all(&mark));
        drop(remove_all(to));
    })?;
    finish_removal(from)
}

/// True if something has moved, and what is left of it where it was is still to be removed.
pub(super) fn has_moved(path: &Path) -> bool {
    with_suffix(path, GONE).symlink_metadata().is_ok()
}

/// Copies a file, a link or a folder with all that is in it. Sets have folders, links and small files alone.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut open = vec![(from.to_owned(), to.to_owned())];
    let mut folders = Vec::new();
    while let Some((from, to)) = open.pop() {
        let there = fs_err::symlink_metadata(&from)?;
        if there.is_dir() {
            fs_err::create_dir(&to)?;
            for entry in fs_err::read_dir(&from)? {
                let entry = entry?;
                open.push((entry.path(), to.join(entry.file_name())));
            }
            folders.push((to.clone(), there.clone()));
        } else if there.is_symlink() {
            fs_err::os::unix::fs::symlink(fs_err::read_link(&from)?, &to)?;
        } else if there.is_file() {
            fs_err::copy(&from, &to)?;
            let times = std::fs::FileTimes::new()
                .set_modified(there.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            let file = fs_err::OpenOptions::new().write(true).open(&to)?;
            // As a rename keeps them.
            file.file().set_times(times)?;
            file.sync_data()?;
        } else {
            let message = format!("{} is neither a file nor a link nor a folder", from.display());
            return Err(io::Error::other(message));
        }
        if Uid::effective().is_root() {
            // Other users can give nothing away (chown(2)), and what they copy is their own
            // already.
            lchown(&to, Some(there.uid()), Some(there.gid()))?;
        }
    }
    // Now that they are full: a folder that its owner may not write to takes no entries.
    for (folder, there) in folders.into_iter().rev() {
        fs_err::set_permissions(folder, PermissionsExt::from_mode(there.mode() & 0o7777))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_the_same_and_gone_where_it_was() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs_err::create_dir_all(path("bin/deep")).unwrap();
        fs_err::write(path("bin/deep/file"), "content").unwrap();
        fs_err::set_permissions(path("bin/deep/file"), PermissionsExt::from_mode(0o600)).unwrap();
        fs_err::set_permissions(path("bin/deep"), PermissionsExt::from_mode(0o711)).unwrap();
        std::os::unix::fs::symlink("/nowhere", path("bin/link")).unwrap();
        // Leftovers of an earlier interruption are harmless.
        fs_err::create_dir(path("bin.old.moving.new")).unwrap();
        copy_and_remove(&path("bin"), &path("bin.old")).unwrap();
        assert!(!path("bin").exists() && !path("bin.old.moving.new").exists());
        assert_eq!(fs_err::read(path("bin.old/deep/file")).unwrap(), b"content");
        let mode = |name: &str| fs_err::metadata(path(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("bin.old/deep"), mode("bin.old/deep/file")), (0o711, 0o600));
        assert_eq!(fs_err::read_link(path("bin.old/link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 1, "no mark stays");
        // Cut off while it is removed.
        fs_err::create_dir_all(path("bin/half")).unwrap();
        finish_removal(&path("bin")).unwrap();
        assert!(path("bin/half").is_dir(), "without a mark it is not a leftover");
        fs_err::write(path("bin.gone.new"), "").unwrap();
        finish_removal(&path("bin")).unwrap();
        assert_eq!(fs_err::read_dir(home.path()).unwrap().count(), 1);
        fs_err::write(path("one"), "x").unwrap();
        copy_and_remove(&path("one"), &path("two")).unwrap();
        assert!(!path("one").exists() && path("two").is_file());
        // Something odd keeps all as it is.
        nix::unistd::mkfifo(&path("bin.old/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(copy_and_remove(&path("bin.old"), &path("bin")).is_err());
        assert!(path("bin.old/link").is_symlink() && !path("bin").exists());
        assert!(!path("bin.moving.new").exists());
    }
}
