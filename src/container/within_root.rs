//! Paths below a container's root, as a process in the container would follow them.
//!
//! The helper resolves paths by itself, component by component, and never lets the kernel follow a
//! symlink: a result has no symlinks, and lies below the root. The result is sound as long as no
//! other process writes there meanwhile, so paths are resolved while no container runs in the root.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::archive::write_owner;

/// Upper limit of symlinks in a lookup, as in the kernel.
const MOST_LINKS: u32 = 40;

/// Upper limit of bytes read of `/etc/passwd` and the like.
const LARGEST_DATABASE: u64 = 4 << 20;

/// Resolves a path to a path below `root` without symlinks. Missing parts count as folders
/// yet to be made. A symlink as the last part is followed, unless `keep_last` is set.
pub fn locate(root: &Path, path: &Path, keep_last: bool) -> io::Result<PathBuf> {
    let mut left: Vec<OsString> = parts(path);
    left.reverse();
    let mut found = PathBuf::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            // Nothing is above the root: there, `..` is the root itself, as for a process in it.
            found.pop();
            continue;
        }
        let next = found.join(&part);
        let is_link = !(keep_last && left.is_empty())
            && fs_err::symlink_metadata(root.join(&next)).is_ok_and(|data| data.is_symlink());
        if !is_link {
            found = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = fs_err::read_link(root.join(&next))?;
        if target.is_absolute() {
            found = PathBuf::new();
        }
        left.extend(parts(&target).into_iter().rev());
    }
    Ok(root.join(found))
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Reads a small text file of the root: 4 MiB at most, the rest is ignored. `None` if there is no regular
/// file.
pub fn read_text(root: &Path, path: &str) -> io::Result<Option<String>> {
    use io::Read;
    let place = locate(root, Path::new(path), false)?;
    // A FIFO must not be waited for.
    if !fs_err::symlink_metadata(&place).is_ok_and(|data| data.is_file()) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    fs_err::File::open(place)?.take(LARGEST_DATABASE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Owner of new files, and the ability to set that owner on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// User and group.
    pub ids: (u32, u32),
    /// True if the namespace has a single id: then the owner is an extended attribute.
    pub is_single_id: bool,
}

impl Ownership {
    /// Sets the owner of a file. Returns `false` if the owner can be set neither on disk nor as an
    /// extended attribute, which only files and folders can have.
    pub fn apply(self, path: &Path) -> io::Result<bool> {
        if !self.is_single_id {
            fs_err::os::unix::fs::lchown(path, Some(self.ids.0), Some(self.ids.1))?;
            return Ok(true);
        }
        let data = fs_err::symlink_metadata(path)?;
        if self.ids == (0, 0) && !data.is_dir() {
            // A new file without the attribute belongs to root already.
            return Ok(true);
        }
        if data.is_file() || data.is_dir() {
            write_owner(path, self.ids)?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Makes a folder, found by [`locate`], and its missing parents, with the mode 0755.
pub fn make_folders(root: &Path, folder: &Path, owner: Ownership) -> io::Result<()> {
    make_folders_with(root, folder, owner, 0o755)
}

/// Like [`make_folders`], with another mode of the folders that are made.
pub fn make_folders_with(
    root: &Path,
    folder: &Path,
    owner: Ownership,
    mode: u32,
) -> io::Result<()> {
    let below = folder.strip_prefix(root).map_err(io::Error::other)?;
    let mut place = root.to_owned();
    for part in below.components() {
        place.push(part);
        match fs_err::symlink_metadata(&place) {
            Ok(data) if data.is_dir() => continue,
            Ok(_) => return Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        std::fs::DirBuilder::new().mode(0o755).create(&place)?;
        // A change of owner clears set-id bits, so it comes first.
        owner.apply(&place).map(drop)?;
        fs_err::set_permissions(&place, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_lead_nowhere_but_below_the_root() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        fs_err::create_dir_all(root.join("usr/lib")).unwrap();
        let link = |target: &str, name: &str| {
            fs_err::os::unix::fs::symlink(target, root.join(name)).unwrap();
        };
        link("usr/lib", "lib");
        link("/usr", "abs");
        link("../../../../etc/passwd", "out");
        link("loop", "loop");
        for (path, keep_last, found) in [
            ("/lib/x", false, "usr/lib/x"),
            ("/abs/lib", false, "usr/lib"),
            ("abs/../lib", false, "usr/lib"),
            ("/out", false, "etc/passwd"),
            ("/out", true, "out"),
            ("/../../x/../y", false, "y"),
            ("/missing/deep", false, "missing/deep"),
            ("/", false, ""),
        ] {
            let located = locate(root, Path::new(path), keep_last).unwrap();
            assert_eq!(located, root.join(found), "{path}");
        }
        assert!(locate(root, Path::new("/loop"), false).is_err());
        fs_err::write(root.join("file"), "text").unwrap();
        assert_eq!(read_text(root, "/file").unwrap().as_deref(), Some("text"));
        assert_eq!(read_text(root, "/usr").unwrap(), None);
        let own = (nix::unistd::Uid::current().as_raw(), nix::unistd::Gid::current().as_raw());
        let owner = Ownership { ids: own, is_single_id: false };
        make_folders(root, &root.join("usr/a/b"), owner).unwrap();
        assert!(root.join("usr/a/b").is_dir());
        assert!(make_folders(root, &root.join("file/b"), owner).is_err());
    }
}
