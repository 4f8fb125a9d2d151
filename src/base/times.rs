//! Fixed times of files: a build's inputs do not depend on the time of a fetch or a write.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use walkdir::WalkDir;

/// Gives a file, folder or symbolic link a time, in seconds since 1970.
pub fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    set(path, &TimeSpec::new(i64::try_from(seconds).unwrap_or(i64::MAX), 0))
}

/// Gives a file, folder or symbolic link the time of another.
pub fn set_time_of(path: &Path, other: &Metadata) -> io::Result<()> {
    set(path, &TimeSpec::new(other.mtime(), other.mtime_nsec()))
}

fn set(path: &Path, time: &TimeSpec) -> io::Result<()> {
    Ok(utimensat(AT_FDCWD, path, time, time, UtimensatFlags::NoFollowSymlink)?)
}

/// Sets the times of a folder and all its contents. No symbolic link is followed.
pub fn set_times(folder: &Path, seconds: u64) -> io::Result<()> {
    // A folder after its contents: the walk reads it, which would change the access time set
    // before.
    for entry in WalkDir::new(folder).contents_first(true) {
        set_time(entry?.path(), seconds)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_gets_the_time_and_links_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let (tree, other) = (place.path().join("tree"), place.path().join("other"));
        fs_err::create_dir_all(tree.join("a/b")).unwrap();
        fs_err::write(tree.join("a/b/f"), "").unwrap();
        fs_err::write(&other, "").unwrap();
        fs_err::os::unix::fs::symlink(&other, tree.join("a/link")).unwrap();
        set_times(&tree, 1_000_000_000).unwrap();
        for name in ["", "a", "a/b", "a/b/f", "a/link"] {
            let found = fs_err::symlink_metadata(tree.join(name)).unwrap();
            assert_eq!(found.mtime(), 1_000_000_000, "{name}");
        }
        assert!(fs_err::metadata(&other).unwrap().mtime() > 1_000_000_000);
    }
}
