//! A folder to unpack into, with a canary beside.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::archive::{is_opaque_at, is_whiteout_at};

/// In memory where there is such a place: fuzzing would wear out a disk.
const MEMORY: &str = "/dev/shm";

pub(super) struct GuardedFolder(tempfile::TempDir);

/// Entry at a path below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnpackedEntry {
    pub(super) what: What,
    pub(super) mode: u32,
    pub(super) mtime: i64,
    /// Inode number, equal for the names of one file.
    pub(super) inode: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// True if overlayfs treats the folder as opaque.
    Directory {
        opaque: bool,
    },
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Fifo,
    Whiteout,
    Other,
}

pub(super) type UnpackedListing = BTreeMap<Vec<u8>, UnpackedEntry>;

impl GuardedFolder {
    pub(super) fn new() -> Self {
        let mut builder = tempfile::Builder::new();
        let prefix = format!("mkpanda-fuzz-{}-", std::process::id());
        builder.prefix(&prefix);
        let folder =
            if Path::new(MEMORY).is_dir() { builder.tempdir_in(MEMORY) } else { builder.tempdir() };
        let place = Self(folder.expect("a temporary folder can be made"));
        fs_err::create_dir(place.outside()).expect("a folder can be made");
        fs_err::write(place.outside().join("victim"), "untouched").expect("a file can be written");
        place
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.0.path().join("folder")
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.0.path().join("outside")
    }

    /// Panics unless all is as it was beside the folder.
    pub(super) fn check(&self) {
        let names = |folder: &Path| {
            let entries = fs_err::read_dir(folder).expect("the folder is still there");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("it can be listed").file_name()).collect();
            names.sort();
            names
        };
        let beside: Vec<_> =
            names(self.0.path()).into_iter().filter(|name| name != "folder").collect();
        assert_eq!(beside, ["outside"], "something was written beside the folder");
        assert_eq!(names(&self.outside()), ["victim"], "something was written outside");
        let victim = self.outside().join("victim");
        let metadata = fs_err::symlink_metadata(&victim).expect("the victim is there");
        let content = fs_err::read(&victim).expect("the victim can be read");
        assert_eq!((content.as_slice(), metadata.nlink()), (&b"untouched"[..], 1));
    }

    /// All entries below the folder, which itself has the empty path.
    pub(super) fn listing(&self) -> UnpackedListing {
        listing(&self.folder())
    }
}

impl Drop for GuardedFolder {
    fn drop(&mut self) {
        open(self.0.path());
    }
}

/// Lets an ordinary user remove what has no permissions.
fn open(folder: &Path) {
    drop(fs_err::set_permissions(folder, PermissionsExt::from_mode(0o700)));
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open(&entry.path());
        }
    }
}

fn listing(folder: &Path) -> UnpackedListing {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    let mut changed = Vec::new();
    while let Some(path) = open.pop() {
        let metadata = fs_err::symlink_metadata(&path).expect("what is listed is there");
        let mode = metadata.mode() & 0o7777;
        let kind = metadata.mode() & libc::S_IFMT;
        let needed = if kind == libc::S_IFDIR { 0o500 } else { 0o400 };
        // An ordinary user cannot look into files without permissions.
        if [libc::S_IFDIR, libc::S_IFREG].contains(&kind) && mode & needed != needed {
            fs_err::set_permissions(&path, PermissionsExt::from_mode(mode | needed))
                .expect("the owner can change a mode");
            changed.push((path.clone(), mode));
        }
        let what = match kind {
            libc::S_IFDIR => {
                let entries = fs_err::read_dir(&path).expect("a folder can be listed");
                open.extend(entries.map(|entry| entry.expect("it can be listed").path()));
                What::Directory { opaque: is_opaque_at(&path).is_ok_and(|opaque| opaque) }
            }
            libc::S_IFREG | libc::S_IFCHR
                if is_whiteout_at(&path, &metadata).is_ok_and(|whiteout| whiteout) =>
            {
                What::Whiteout
            }
            libc::S_IFREG => What::File(fs_err::read(&path).expect("a file can be read")),
            libc::S_IFLNK => {
                let target = fs_err::read_link(&path).expect("a symlink can be read");
                What::Symlink(target.as_os_str().as_bytes().to_vec())
            }
            libc::S_IFIFO => What::Fifo,
            _ => What::Other,
        };
        // At once, as the file may have other names that come later.
        if kind == libc::S_IFREG
            && let Some((path, mode)) = changed.pop_if(|(changed, _)| *changed == path)
        {
            fs_err::set_permissions(path, PermissionsExt::from_mode(mode))
                .expect("the owner can change a mode");
        }
        let name = path.strip_prefix(folder).expect("it is below the folder");
        let found = UnpackedEntry { what, mode, mtime: metadata.mtime(), inode: metadata.ino() };
        all.insert(name.as_os_str().as_bytes().to_vec(), found);
    }
    for (path, mode) in changed.into_iter().rev() {
        fs_err::set_permissions(path, PermissionsExt::from_mode(mode))
            .expect("the owner can change a mode");
    }
    all
}
