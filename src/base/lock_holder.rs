//! Processes that hold, or wait for, a lock on a file that other users can open, too.
//!
//! Other users cannot be kept from such a lock, so the holder is checked. A process counts as
//! trusted if all its user ids are root's, the caller's or those of the file's owner, and if its
//! program has no setuid bit: any user may start `sudo` with a locked descriptor. And the process
//! must have taken the lock itself: a descriptor can be sent to a daemon.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// True if a trusted process holds an `flock` lock on the file, and where `/proc` does not tell.
pub(crate) fn has_trusted_holder(file: &std::fs::File) -> bool {
    let Ok(there) = file.metadata() else { return true };
    let trusted = [0, nix::unistd::geteuid().as_raw(), there.uid()];
    // Without `/proc` nobody can be ruled out: a lock that is waited for in vain is better than
    // none.
    let Ok(processes) = fs_err::read_dir("/proc") else { return true };
    let mut tells = false;
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else { continue };
        tells = true;
        if is_trusted(&process.path(), &trusted) && holds(&process.path(), pid, &there) {
            return true;
        }
    }
    !tells
}

/// True if a trusted other process waits for an `flock` lock on the file: that process will
/// continue as soon as possible, whoever holds the lock now.
pub(crate) fn has_trusted_waiter(file: &std::fs::File) -> bool {
    let Ok(there) = file.metadata() else { return true };
    let trusted = [0, nix::unistd::geteuid().as_raw(), there.uid()];
    let locks = fs_err::read_to_string("/proc/locks").unwrap_or_default();
    waiters(&locks, there.ino()).any(|pid| {
        let process = Path::new("/proc").join(pid.to_string());
        // The list has the disk by a number that may be another than the file's (btrfs).
        pid != std::process::id() && is_trusted(&process, &trusted) && has_open(&process, &there)
    })
}

/// Processes that wait for an `flock` lock on files of an inode number: `1: -> FLOCK ADVISORY WRITE <pid>
/// <device>:<inode> …` (`proc_locks(5)`).
fn waiters(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    locks.lines().filter_map(move |line| {
        let mut words = line.split_whitespace().skip(1);
        let is_waiter = words.next() == Some("->") && words.next() == Some("FLOCK");
        let pid = words.nth(2).filter(|_| is_waiter)?.parse().ok()?;
        let (_, found) = words.next()?.rsplit_once(':')?;
        (found.parse() == Ok(inode)).then_some(pid)
    })
}

fn has_open(process: &Path, file: &Metadata) -> bool {
    let Ok(descriptors) = fs_err::read_dir(process.join("fd")) else { return false };
    let mut descriptors = descriptors.flatten();
    descriptors.any(|descriptor| {
        let path = descriptor.path();
        fs_err::metadata(path).is_ok_and(|it| (it.dev(), it.ino()) == (file.dev(), file.ino()))
    })
}

fn is_trusted(process: &Path, trusted: &[u32]) -> bool {
    let status = fs_err::read_to_string(process.join("status")).unwrap_or_default();
    has_ids(&status, trusted)
        // A setuid program of root's is started by any user, with a descriptor of that user's
        // choice.
        && fs_err::metadata(process.join("exe")).is_ok_and(|program| program.mode() & 0o6000 == 0)
}

/// True if all user ids in a process's `status` are among the trusted ones.
fn has_ids(status: &str, trusted: &[u32]) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let mut ids = line.split_whitespace().map(str::parse::<u32>).peekable();
    ids.peek().is_some() && ids.all(|id| id.is_ok_and(|id| trusted.contains(&id)))
}

fn holds(process: &Path, pid: &str, file: &Metadata) -> bool {
    let Ok(descriptors) = fs_err::read_dir(process.join("fdinfo")) else { return false };
    descriptors.flatten().any(|descriptor| {
        let info = fs_err::read_to_string(descriptor.path()).unwrap_or_default();
        // Before the file itself is looked at, which may lie on a disk that doesn't answer.
        took_lock(&info, pid)
            && fs_err::metadata(process.join("fd").join(descriptor.file_name()))
                .is_ok_and(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
    })
}

/// True if a descriptor has an `flock` lock that a process took: `lock: 1: FLOCK ADVISORY WRITE <pid> …`
/// (`proc_pid_fdinfo(5)`, since Linux 4.1).
fn took_lock(info: &str, pid: &str) -> bool {
    let mut locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
    locks.any(|lock| {
        let mut words = lock.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.nth(2) == Some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_process_counts() {
        let table = [
            ("Name:\tx\nUid:\t0\t0\t0\t0\nGid:\t5\t5\t5\t5\n", true),
            ("Uid:\t7\t7\t7\t7\n", true),
            ("Uid:\t7\t0\t0\t0\n", true),
            ("Uid:\t1000\t0\t0\t0\n", false),
            ("Uid:\t0\t0\t1000\t0\n", false),
            ("Uid:\t1000\t1000\t1000\t1000\n", false),
            ("Uid:\n", false),
            ("Uid:\tx\n", false),
            ("", false),
        ];
        for (status, expected) in table {
            assert_eq!(has_ids(status, &[0, 7]), expected, "{status:?}");
        }
    }

    #[test]
    fn only_a_lock_that_the_process_took_counts() {
        let table = [
            ("pos:\t0\nlock:\t1: FLOCK  ADVISORY  WRITE 12 fe:01:99 0 EOF\n", true),
            ("lock:\t1: FLOCK  ADVISORY  READ 12 fe:01:99 0 EOF\n", true),
            ("lock:\t1: POSIX  ADVISORY  WRITE 12 fe:01:99 0 EOF\n", false),
            (
                "lock:\t1: POSIX  ADVISORY  READ 3 a:b:1 0 5\nlock:\t2: FLOCK ADVISORY WRITE 12 a:b:1 0 EOF",
                true,
            ),
            ("lock:\t1: FLOCK  ADVISORY  WRITE 123 fe:01:99 0 EOF\n", false),
            ("lock:\t1: FLOCK\n", false),
            ("pos:\t0\nflags:\t02\n", false),
        ];
        for (info, expected) in table {
            assert_eq!(took_lock(info, "12"), expected, "{info:?}");
        }
    }

    #[test]
    fn who_waits_for_a_lock_is_listed() {
        let locks = "1: FLOCK  ADVISORY  WRITE 10 fe:01:99 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 11 fe:01:99 0 EOF\n\
                     1:  -> FLOCK  ADVISORY  READ 12 fe:01:99 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 13 fe:01:99 0 EOF\n\
                     2: -> POSIX  ADVISORY  WRITE 14 fe:01:99 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 15 fe:01:990 0 EOF\n\
                     4: -> FLOCK  ADVISORY  WRITE 0 fe:01\n4: ->\n\n";
        assert_eq!(waiters(locks, 99).collect::<Vec<_>>(), [11, 12]);
        assert_eq!(waiters(locks, 990).collect::<Vec<_>>(), [15]);
        assert_eq!(waiters("", 99).next(), None);
    }

    #[test]
    fn another_process_that_waits_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().lock().unwrap();
        assert!(!has_trusted_waiter(file.as_file()));
        let mut command = std::process::Command::new("flock");
        let mut child = command.arg("--no-fork").arg(file.path()).arg("true").spawn().unwrap();
        let mut looks = 0..1000;
        while !has_trusted_waiter(file.as_file()) {
            assert!(looks.next().is_some(), "nobody waits");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        file.as_file().unlock().unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!has_trusted_waiter(file.as_file()));
        // A thread of this process would be waited for without end.
        file.as_file().lock().unwrap();
        let other = fs_err::File::open(file.path()).unwrap().into_parts().0;
        let waiting = std::thread::spawn(move || other.lock().unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!has_trusted_waiter(file.as_file()));
        file.as_file().unlock().unwrap();
        waiting.join().unwrap();
    }

    #[test]
    fn this_process_is_trusted_while_it_holds_a_lock() {
        let file = tempfile::tempfile().unwrap();
        assert!(!has_trusted_holder(&file));
        file.lock().unwrap();
        assert!(has_trusted_holder(&file));
        file.unlock().unwrap();
        file.lock_shared().unwrap();
        assert!(has_trusted_holder(&file));
    }
}
