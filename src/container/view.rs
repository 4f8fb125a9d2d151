//! View of the machine for a helper that works for a container: a private tmpfs with the few
//! folders of the caller that the job needs.
//!
//! ```text
//! <view>/in/<n>/    a folder of the caller's, bound
//! <view>/layers/    short names for lower directories, and the folder that overlay is mounted from
//! <view>/skeleton/  the lowest layer: folders that every container has, for things to be mounted on
//! <view>/install/   the install root of what a build requires
//! <view>/root/      the container's root
//! <view>/files/     small files for `/etc`: a tmpfs of its own, as a command may write to them
//! <view>/start      the socket on which a container's first process hears that it may start
//! ```
//!
//! The view vanishes with the mount namespace, even after SIGKILL. The caller's folders are bound
//! while the process still has the caller's ids, since the container's root may not be able to
//! reach them by path (`/root`, for a build as real root); then the whole view moves to a folder
//! that everybody can reach, and covers the folder in this mount namespace alone. In a root without
//! any of the usual folders, another folder is covered; its contents are not needed, as inputs are
//! bound already.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::unistd::Pid;

use super::idmap::IdMap;
use super::{namespace, sys};

/// Folders that machines have and everybody can reach, in the order of trials.
const PLACES: [&str; 5] = ["mnt", "srv", "media", "opt", "tmp"];

/// Folders of a root that containers or helpers use after a folder has been covered.
const USED: [&str; 13] = [
    "bin", "dev", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "proc", "sbin", "sys",
    "usr",
];

/// The private view of a helper. See the module.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
}

/// The view could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A mount was refused.
    #[error("can't mount {what} at {}: {errno}", target.display())]
    Mount {
        /// Filesystem or folder to mount.
        what: String,
        /// Mount point.
        target: PathBuf,
        /// Answer of the kernel.
        errno: nix::errno::Errno,
    },
    /// The root has no folder that everybody can reach.
    #[error("the root folder has no folder that a container's view could cover")]
    NoPlace,
    /// A folder in the view could not be made.
    #[error("can't prepare the container's view of the machine")]
    Folder {
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl ViewError {
    /// Change that helps, if known.
    pub fn remedy(&self) -> Option<&'static str> {
        matches!(self, Self::NoPlace).then_some("make the folder /tmp, with mode 1777")
    }
}

/// Finds a folder of a root that everybody can reach and whose contents are not needed.
fn coverable(root: &Path) -> Option<PathBuf> {
    let is_reachable = |path: &PathBuf| {
        fs_err::metadata(path)
            .is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o001 != 0)
    };
    let usual = PLACES.map(|name| root.join(name));
    if let Some(found) = usual.into_iter().find(is_reachable) {
        return Some(found);
    }
    let is_folder = |entry: &fs_err::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let is_used = |path: &PathBuf| USED.iter().any(|name| *path == root.join(name));
    let entries = fs_err::read_dir(root).ok()?.flatten().filter(is_folder);
    let others = entries.map(|entry| entry.path()).filter(|path| !is_used(path));
    others.filter(is_reachable).min()
}

impl View {
    /// Mounts the tmpfs at an empty folder of the caller's and binds folders into it; the n-th of
    /// them is then at [`View::input`]`(n)`.
    pub fn create(at: &Path, inputs: &[PathBuf], map: &IdMap) -> Result<Self, ViewError> {
        let options = "mode=0755,uid=0,gid=0,size=1g";
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options)).map_err(|errno| {
            ViewError::Mount { what: "a tmpfs".to_owned(), target: at.to_owned(), errno }
        })?;
        let mut view = Self { path: at.to_owned() };
        view.make_folders(inputs.len(), map)?;
        for (index, input) in inputs.iter().enumerate() {
            let target = view.input(index);
            // Recursively: a mount with locked mounts below it may not be bound without them.
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(input), &target, None::<&str>, flags, None::<&str>).map_err(|errno| {
                ViewError::Mount { what: input.display().to_string(), target, errno }
            })?;
        }
        view.move_into_reach(map)?;
        Ok(view)
    }

    /// Moves the view to where the container's root can reach it.
    fn move_into_reach(&mut self, map: &IdMap) -> Result<(), ViewError> {
        let Some(target) = coverable(Path::new("/")) else {
            // The caller is the container's root, and reaches what the caller reaches.
            return if namespace::is_unmapped(map) { Err(ViewError::NoPlace) } else { Ok(()) };
        };
        // The kernel moves no mount out of a shared one (EINVAL); since `namespace::enter` all are private.
        mount(Some(&self.path), &target, None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(
            |errno| ViewError::Mount {
                what: "the container's view".to_owned(),
                target: target.clone(),
                errno,
            },
        )?;
        self.path = target;
        Ok(())
    }

    /// Makes the folders as the container's root: the caller's own ids may not exist on the tmpfs.
    fn make_folders(&self, inputs: usize, map: &IdMap) -> Result<(), ViewError> {
        let folders = |path: &Path| -> io::Result<()> {
            for name in ["in", "layers", "skeleton", "root"] {
                fs_err::create_dir(path.join(name))?;
            }
            (0..inputs).try_for_each(|index| fs_err::create_dir(path.join(format!("in/{index}"))))
        };
        if !namespace::is_unmapped(map) {
            return folders(&self.path).map_err(|source| ViewError::Folder { source });
        }
        let failed = |source| ViewError::Folder { source };
        // From inside, since the folders above may be closed to the container's root.
        nix::unistd::chdir(&self.path).map_err(|errno| failed(errno.into()))?;
        let Some(child) = sys::fork().map_err(|errno| failed(errno.into()))? else {
            let made = namespace::become_root(map).is_ok() && folders(Path::new("")).is_ok();
            sys::exit_now(i32::from(!made));
        };
        nix::unistd::chdir("/").map_err(|errno| failed(errno.into()))?;
        self.wait_for_folders(child)
    }

    fn wait_for_folders(&self, child: Pid) -> Result<(), ViewError> {
        if namespace::wait_exit_code(child) == 0 {
            return Ok(());
        }
        let message =
            format!("folders in {} could not be made as the container's root", self.path.display());
        Err(ViewError::Folder { source: io::Error::other(message) })
    }

    /// Path of the n-th input.
    pub fn input(&self, index: usize) -> PathBuf {
        self.path.join(format!("in/{index}"))
    }

    /// The folder that overlays are mounted from.
    pub fn layers(&self) -> PathBuf {
        self.path.join("layers")
    }

    /// The lowest layer of the container's root.
    pub fn skeleton(&self) -> PathBuf {
        self.path.join("skeleton")
    }

    /// Install root with a build's requirements.
    pub fn install(&self) -> PathBuf {
        self.path.join("install")
    }

    /// The container's root.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// Path of the socket on which the container's first process waits for its start.
    pub fn start_socket(&self) -> PathBuf {
        self.path.join("start")
    }

    /// The view itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_the_usual_folders_has_another_one_covered() {
        let cases: [(&[&str], Option<&str>); 6] = [
            (&["bin", "mnt", "srv", "tmp"], Some("mnt")),
            (&["bin", "tmp"], Some("tmp")),
            // Only the owner can reach the first.
            (&["-mnt", "tmp"], Some("tmp")),
            (&["bin", "dev", "proc", "usr", "work", "vol"], Some("vol")),
            (&["bin", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr", "-vol"], None),
            (&[], None),
        ];
        for (folders, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            for name in folders {
                let path = root.path().join(name.trim_start_matches('-'));
                fs_err::create_dir(&path).unwrap();
                let mode = if name.starts_with('-') { 0o700 } else { 0o755 };
                fs_err::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
            }
            fs_err::os::unix::fs::symlink("usr", root.path().join("a")).unwrap();
            let found = coverable(root.path());
            assert_eq!(found, expected.map(|name| root.path().join(name)), "{folders:?}");
        }
    }
}
