//! Opening of files below a folder, whatever symlinks are on the way.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Upper limit of attempts; one in some thousands fails on a busy machine.
const ATTEMPTS: u32 = 500;

/// Calls `openat2` with retries: the kernel returns EAGAIN if any file on the machine was renamed
/// or mounted during the resolution of a `..`, as a possible escape from the folder cannot be ruled
/// out then (openat2(2)).
pub fn open_within(folder: impl AsFd, path: &Path, how: OpenHow) -> nix::Result<OwnedFd> {
    for attempt in 0..ATTEMPTS {
        match openat2(&folder, path, how) {
            // A burst of mounts or renames, such as other builds make, is over after some
            // milliseconds.
            Err(Errno::EAGAIN) if attempt > ATTEMPTS / 2 => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// Absolute path of an existing file or folder, with its symlinks followed.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    fs_err::canonicalize(path).map_err(|error| match error.kind() {
        kind @ io::ErrorKind::NotFound => {
            io::Error::new(kind, format!("{} does not exist", path.display()))
        }
        _ => error,
    })
}

/// Opens the file at a path below a folder, for reading. Symlinks are followed as long as they stay
/// below the folder; a symlink that leads out is an error ([`leads_out`]).
pub fn open_below(folder: &Path, path: &Path) -> io::Result<File> {
    open_resolved(folder, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, ResolveFlag::RESOLVE_BENEATH)
}

/// Opens a regular file below an open folder, for reading. No symlink is followed, neither on the way nor
/// at the end: another user with write access could have replaced a listed file by a symlink.
pub fn open_listed(folder: impl AsFd, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let file = File::from(open_without_links(folder, path, flags)?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!("{} is not a file any more", path.display())))
}

/// Finds the target of a path below an open folder without opening it; no symlink is followed.
pub fn find_listed(folder: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open_without_links(folder, path, OFlag::O_PATH | OFlag::O_NOFOLLOW)
}

fn open_without_links(folder: impl AsFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok(open_within(folder, path, how)?)
}

/// Opens a regular file below a folder to which others may write, as by [`open_listed`].
pub fn open_plain(folder: &Path, path: &Path) -> io::Result<File> {
    open_listed(open_folder(folder)?, path)
}

/// Opens the folder of a listed path below an open folder with `O_PATH`, without following
/// symlinks.
pub fn open_parent_of_listed(folder: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    open_without_links(folder, parent.unwrap_or(Path::new(".")), flags)
}

/// Resolves a path below a folder to a path without symlinks behind the folder's own path. Symlinks
/// are followed as in [`open_below`].
pub fn locate_below(folder: &Path, path: &Path) -> io::Result<PathBuf> {
    let flags = OFlag::O_PATH;
    let found = open_resolved(folder, path, flags, ResolveFlag::RESOLVE_BENEATH)?;
    // By the descriptor: a lookup by the path could be led elsewhere meanwhile.
    let real = fs_err::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    let root = fs_err::canonicalize(folder)?;
    match real.strip_prefix(&root) {
        Ok(below) => Ok(folder.join(below)),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EXDEV)),
    }
}

/// Fails if the target of a path below a folder, or one of the folders on the way, is a symlink.
/// Missing parts are not failures.
pub fn without_links(folder: &Path, path: &Path) -> io::Result<()> {
    match open_resolved(folder, path, OFlag::O_PATH, ResolveFlag::RESOLVE_NO_SYMLINKS) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened.map(drop),
    }
}

/// Reads a regular file below a folder, found as by [`open_below`]. Other types, and text that is
/// not UTF-8, are errors of the kind `InvalidData`; a file longer than `longest` bytes is an error
/// of the kind `FileTooLarge`.
pub fn read_text(folder: &Path, path: &Path, longest: u64) -> io::Result<String> {
    let file = open_below(folder, path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "this is not a regular file"));
    }
    if metadata.len() > longest {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is too long"));
    }
    let mut bytes = Vec::new();
    // Limited again: the file may grow, and one of `/proc` says that it has no bytes.
    file.take(longest).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// True for the error of a path that leads out of its folder, or through a symlink where none may be.
pub fn leads_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EXDEV | libc::ELOOP))
}

fn open_resolved(
    folder: &Path,
    path: &Path,
    flags: OFlag,
    resolve: ResolveFlag,
) -> io::Result<File> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        // Without magic links: `/proc/self/root` and the like lead out without being a path.
        .resolve(resolve | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let root = open_folder(folder)?;
    Ok(File::from(open_within(root, path, how)?))
}

/// Opens a folder with `O_PATH`, for paths below. The folder itself may be reached by a symlink.
pub fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(folder, flags, nix::sys::stat::Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn symlinks_are_followed_below_the_folder_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("folder");
        fs_err::create_dir_all(folder.join("a/b")).unwrap();
        fs_err::write(folder.join("a/file"), "inside").unwrap();
        fs_err::write(place.path().join("secret"), "outside").unwrap();
        let absolute = place.path().join("secret");
        let links: [(&str, &Path); 7] = [
            ("near", Path::new("a/file")),
            ("a/up", Path::new("../a/file")),
            ("chain", Path::new("near")),
            ("out", Path::new("../secret")),
            ("absolute", &absolute),
            ("through", Path::new("a/../../secret")),
            ("chain-out", Path::new("out")),
        ];
        for (name, target) in links {
            fs_err::os::unix::fs::symlink(target, folder.join(name)).unwrap();
        }
        fs_err::os::unix::fs::symlink("a", folder.join("link")).unwrap();
        for (path, inside) in [
            ("a/file", true),
            ("near", true),
            ("a/up", true),
            ("chain", true),
            ("link/file", true),
            ("out", false),
            ("absolute", false),
            ("through", false),
            ("chain-out", false),
            ("../secret", false),
        ] {
            let (read, located) =
                (read_text(&folder, path.as_ref(), 99), locate_below(&folder, path.as_ref()));
            if inside {
                assert_eq!(read.unwrap(), "inside", "{path}");
                assert_eq!(located.unwrap(), folder.join("a/file"), "{path}");
            } else {
                assert!(leads_out(&read.unwrap_err()), "{path}");
                assert!(leads_out(&located.unwrap_err()), "{path}");
            }
        }
        for (path, fine) in [("a/b", true), ("a/none/x", true), ("link/b", false), ("near", false)]
        {
            assert_eq!(without_links(&folder, path.as_ref()).is_ok(), fine, "{path}");
        }
        assert_eq!(
            read_text(&folder, Path::new("a/file"), 3).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
        // The folder itself may be reached by a link.
        fs_err::os::unix::fs::symlink(&folder, place.path().join("alias")).unwrap();
        assert_eq!(
            read_text(&place.path().join("alias"), Path::new("near"), 99).unwrap(),
            "inside"
        );
    }

    #[test]
    fn renames_elsewhere_keep_nothing_from_being_opened() {
        let scratch = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(scratch.path().join("root/a/b/c/d")).unwrap();
        let link = scratch.path().join("root/a/b/c/d/l");
        fs_err::os::unix::fs::symlink(format!("{}a/b", "../".repeat(80)), link).unwrap();
        let root = fs_err::File::open(scratch.path().join("root")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let [one, other] = ["one", "other"].map(|name| scratch.path().join(name));
                fs_err::write(&one, "").unwrap();
                while !done.load(Ordering::Relaxed) {
                    fs_err::rename(&one, &other).unwrap();
                    fs_err::rename(&other, &one).unwrap();
                }
            });
            let how = OpenHow::new()
                .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_IN_ROOT);
            let opened: Vec<_> = (0..10_000)
                .map(|_| open_within(root.file(), Path::new("a/b/c/d/l/c"), how).map(drop))
                .collect();
            done.store(true, Ordering::Relaxed);
            assert!(opened.iter().all(Result::is_ok));
        });
    }
}
