//! Decoding of a recorded system call, from its number and arguments alone.

use crate::container::seccomp::program::NATIVE;
use crate::container::seccomp::table::PolicyRow;
use crate::container::sys::Notification;

/// A recorded call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordedCall {
    /// A file gets a new owner.
    Chown {
        /// The file.
        file: Named,
        /// The user; nothing if it is to stay.
        user: Option<u32>,
        /// The group; nothing if it is to stay.
        group: Option<u32>,
    },
    /// The process is to go on as these users and groups.
    Become {
        /// True for group ids.
        groups: bool,
        /// New ids; unchanged ones are left out.
        ids: [Option<u32>; 3],
    },
}

/// Reference to a file in a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// By a descriptor of the caller's.
    Descriptor(i32),
    /// By a path in the caller's memory.
    Path {
        /// Folder at which the path starts.
        from: PathStart,
        /// Address of the path in the caller's memory.
        address: u64,
        /// True if a symlink at its end is followed.
        follow: bool,
        /// True if an empty path means the folder itself.
        may_be_empty: bool,
    },
}

/// Start of a relative path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathStart {
    /// In the caller's working directory.
    WorkingDirectory,
    /// In a folder that the caller has open.
    Descriptor(i32),
}

/// Decodes a call; `None` for calls outside of `rows`, the recorded ones.
pub(super) fn decode(rows: &[PolicyRow], notification: &Notification) -> Option<RecordedCall> {
    let is_native = notification.architecture == NATIVE;
    let number = |row: &PolicyRow| if is_native { row.native } else { row.compat };
    let name = rows.iter().find(|row| number(row) == Some(notification.call))?.name;
    let plain = name.trim_end_matches("32");
    // i386's first calls have ids of 16 bits.
    let is_short = !is_native && plain == name && name != "fchownat";
    let id = |index: usize| {
        let id = low(notification.arguments[index]);
        if is_short {
            Some(id & 0xffff).filter(|id| *id != 0xffff)
        } else {
            Some(id).filter(|id| *id != u32::MAX)
        }
    };
    let path = |follow| Named::Path {
        from: PathStart::WorkingDirectory,
        address: address(notification, 0),
        follow,
        may_be_empty: false,
    };
    let chown =
        |file, first: usize| RecordedCall::Chown { file, user: id(first), group: id(first + 1) };
    let become_one = |groups, count: usize| {
        let mut ids = [None; 3];
        for (index, slot) in ids.iter_mut().enumerate().take(count) {
            *slot = id(index);
        }
        RecordedCall::Become { groups, ids }
    };
    Some(match plain {
        "chown" => chown(path(true), 1),
        "lchown" => chown(path(false), 1),
        "fchown" => chown(Named::Descriptor(descriptor(notification.arguments[0])), 1),
        "fchownat" => chown(at(notification), 2),
        "setuid" | "setfsuid" => become_one(false, 1),
        "setreuid" => become_one(false, 2),
        "setresuid" => become_one(false, 3),
        "setgid" | "setfsgid" => become_one(true, 1),
        "setregid" => become_one(true, 2),
        "setresgid" => become_one(true, 3),
        _ => return None,
    })
}

/// File reference of `fchownat`.
fn at(notification: &Notification) -> Named {
    let flags = low(notification.arguments[4]);
    let has = |flag: libc::c_int| flags & flag.unsigned_abs() != 0;
    let from = match descriptor(notification.arguments[0]) {
        libc::AT_FDCWD => PathStart::WorkingDirectory,
        number => PathStart::Descriptor(number),
    };
    Named::Path {
        from,
        address: address(notification, 1),
        follow: !has(libc::AT_SYMLINK_NOFOLLOW),
        may_be_empty: has(libc::AT_EMPTY_PATH),
    }
}

/// Lower half of an argument, the only part that the kernel uses.
fn low(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn descriptor(argument: u64) -> i32 {
    low(argument).cast_signed()
}

fn address(notification: &Notification, index: usize) -> u64 {
    let argument = notification.arguments[index];
    if notification.architecture == NATIVE { argument } else { low(argument).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::seccomp::table::recorded;

    const I386: u32 = 0x4000_0003;

    fn call(architecture: u32, number: u32, arguments: [u64; 6]) -> Option<RecordedCall> {
        let thread = nix::unistd::Pid::from_raw(1);
        decode(&recorded(), &Notification { id: 1, thread, architecture, call: number, arguments })
    }

    fn native(number: libc::c_long, arguments: [u64; 6]) -> Option<RecordedCall> {
        call(NATIVE, u32::try_from(number).unwrap(), arguments)
    }

    const UNCHANGED: u64 = u64::MAX;

    #[test]
    fn every_recorded_call_is_read() {
        for row in recorded() {
            for (architecture, number) in [(NATIVE, row.native), (I386, row.compat)] {
                let Some(number) = number else { continue };
                assert!(call(architecture, number, [0; 6]).is_some(), "{}", row.name);
            }
        }
        assert_eq!(native(libc::SYS_read, [0; 6]), None);
    }

    #[test]
    fn what_stays_is_left_out() {
        let file = Named::Descriptor(3);
        assert_eq!(
            native(libc::SYS_fchown, [3, 7, UNCHANGED, 0, 0, 0]),
            Some(RecordedCall::Chown { file, user: Some(7), group: None })
        );
        assert_eq!(
            native(libc::SYS_setresuid, [UNCHANGED, 5, UNCHANGED, 0, 0, 0]),
            Some(RecordedCall::Become { groups: false, ids: [None, Some(5), None] })
        );
        // 16 bits; the call with 32 is another one.
        let short = call(I386, 95, [3, 0xffff, 8, 0, 0, 0]);
        assert_eq!(short, Some(RecordedCall::Chown { file, user: None, group: Some(8) }));
        let long = call(I386, 207, [3, 0xffff, 0xffff_ffff, 0, 0, 0]);
        assert_eq!(long, Some(RecordedCall::Chown { file, user: Some(0xffff), group: None }));
    }

    #[test]
    fn a_path_starts_where_the_caller_says() {
        let cwd = u64::from(libc::AT_FDCWD.cast_unsigned());
        let no_follow = u64::from(libc::AT_SYMLINK_NOFOLLOW.unsigned_abs());
        let empty = u64::from(libc::AT_EMPTY_PATH.unsigned_abs());
        for (from, flags, expected, follow, may_be_empty) in [
            (cwd, 0, PathStart::WorkingDirectory, true, false),
            (cwd | 1 << 40, no_follow, PathStart::WorkingDirectory, false, false),
            (9, empty, PathStart::Descriptor(9), true, true),
        ] {
            let Some(RecordedCall::Chown { file, .. }) =
                native(libc::SYS_fchownat, [from, 0x1000, 1, 2, flags, 0])
            else {
                panic!("no chown");
            };
            let named = Named::Path { from: expected, address: 0x1000, follow, may_be_empty };
            assert_eq!(file, named);
        }
    }
}
