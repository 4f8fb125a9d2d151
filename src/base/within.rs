//! Opening what lies below a folder, whatever symlinks say.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OpenHow, openat2};

/// How often it is tried; one try in some thousands fails on a busy machine.
const ATTEMPTS: u32 = 500;

/// Calls `openat2`, again where the kernel asks for it: it answers EAGAIN if anything was renamed or
/// mounted anywhere on the machine while it followed a `..`, as it can't tell then whether that led
/// out of the folder (openat2(2)).
pub fn open_within(folder: impl AsFd, path: &Path, how: OpenHow) -> nix::Result<OwnedFd> {
    for attempt in 0..ATTEMPTS {
        match openat2(&folder, path, how) {
            Err(Errno::EAGAIN) if attempt > ATTEMPTS / 2 => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::EAGAIN) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{OFlag, ResolveFlag};

    use super::*;

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
