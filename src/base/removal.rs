//! Removing what is at a path, be it a file or a folder with all in it: the only place that does.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Removes what is at a path; it may be gone already. Symlinks are not followed.
#[expect(clippy::disallowed_methods, reason = "the only place")]
pub fn remove_all(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    let is_folder = match fs_err::symlink_metadata(path) {
        Err(error) => return gone(error),
        Ok(data) => data.is_dir(),
    };
    let removed = if is_folder { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) };
    removed.or_else(gone)
}

/// The same where folders may have any mode, which keeps an ordinary user from emptying them.
pub fn remove_all_closed(path: &Path) -> io::Result<()> {
    match remove_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.is_dir() => {
            open_folders(path)?;
            remove_all(path)
        }
        removed => removed,
    }
}

fn open_folders(folder: &Path) -> io::Result<()> {
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o700))?;
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_there_goes_and_what_a_link_leads_to_stays() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs_err::create_dir_all(path("folder/closed/below")).unwrap();
        fs_err::write(path("folder/closed/file"), "").unwrap();
        fs_err::create_dir(path("kept")).unwrap();
        fs_err::os::unix::fs::symlink(path("kept"), path("link")).unwrap();
        fs_err::os::unix::fs::symlink(path("kept"), path("folder/closed/link")).unwrap();
        fs_err::set_permissions(path("folder/closed"), PermissionsExt::from_mode(0o500)).unwrap();
        if !nix::unistd::geteuid().is_root() {
            assert!(remove_all(&path("folder")).is_err());
        }
        remove_all_closed(&path("folder")).unwrap();
        for name in ["link", "folder", "nothing"] {
            remove_all(&path(name)).unwrap();
            remove_all_closed(&path(name)).unwrap();
        }
        let names = fs_err::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["kept"]);
    }
}
