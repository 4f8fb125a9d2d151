//! Processes that hold a lock on a file which other users can open, too.
//!
//! Such a lock cannot be refused to them, so the question is whose it is. A process counts as trusted if
//! all its user ids are root's, the caller's or those of the file's owner, and if its program has no
//! setuid bit: any user may start `sudo` with a descriptor that has been locked before. And it must have
//! taken the lock itself: a descriptor can be sent to a daemon.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// True if a trusted process holds an `flock` lock on the file, and where `/proc` does not tell.
pub(crate) fn has_trusted_holder(file: &std::fs::File) -> bool {
    let Ok(there) = file.metadata() else { return true };
    let trusted = [0, nix::unistd::geteuid().as_raw(), there.uid()];
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

fn is_trusted(process: &Path, trusted: &[u32]) -> bool {
    let status = fs_err::read_to_string(process.join("status")).unwrap_or_default();
    has_ids(&status, trusted)
        && fs_err::metadata(process.join("exe")).is_ok_and(|program| program.mode() & 0o6000 == 0)
}

/// True if all user ids of a process, as its `status` has them, are among some.
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
