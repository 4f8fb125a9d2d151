//! The policy as a table. `docs/isolation.md` shows it to people; a test holds the two together.

/// Answer of the kernel instead of carrying the call out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeniedAnswer {
    /// Not permitted.
    Refuse,
    /// ENOSYS, so that programs fall back to an older call.
    Unknown,
    /// Done (and nothing happens).
    Pretend,
    /// A process outside is notified, and records the intended owner.
    Record,
}

/// Condition of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// If the argument, masked, has one of the bits.
    AnyBit {
        /// The argument's index.
        argument: u8,
        /// The bits.
        bits: u32,
    },
    /// If the argument's lower half, masked, is the value.
    Equals {
        /// The argument's index.
        argument: u8,
        /// Mask for the argument.
        mask: u32,
        /// The value.
        value: u32,
    },
}

/// Row of the table: a call by its numbers, its condition, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyRow {
    /// The call's name.
    pub name: &'static str,
    /// Number on this machine's architecture; `None` if absent.
    pub native: Option<u32>,
    /// Number for 32-bit programs (i386); `None` if absent.
    pub compat: Option<u32>,
    /// Condition of the row.
    pub when: When,
    /// Answer to the call.
    pub answer: DeniedAnswer,
    /// Reason.
    pub reason: &'static str,
}

/// Call by name: its number on this machine's architecture and for 32-bit programs (i386).
type CallNumbers = (&'static str, Option<libc::c_long>, Option<u32>);

/// Calls that are answered alike, whatever their arguments.
struct Group {
    reason: &'static str,
    answer: DeniedAnswer,
    calls: &'static [CallNumbers],
}

/// Calls that only the oldest architecture still has by number.
#[cfg(target_arch = "x86_64")]
mod old {
    pub(super) const CHOWN: Option<libc::c_long> = Some(libc::SYS_chown);
    pub(super) const LCHOWN: Option<libc::c_long> = Some(libc::SYS_lchown);
    pub(super) const MKNOD: Option<libc::c_long> = Some(libc::SYS_mknod);
}
#[cfg(not(target_arch = "x86_64"))]
mod old {
    pub(super) const CHOWN: Option<libc::c_long> = None;
    pub(super) const LCHOWN: Option<libc::c_long> = None;
    pub(super) const MKNOD: Option<libc::c_long> = None;
}

/// From 424 on, calls have one number on all architectures.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Number of the first unreviewed call: from there on calls are unknown to builds, as to an older
/// kernel, until they are reviewed here.
pub const FIRST_UNKNOWN: u32 = 471;

/// Calls from 424 on that builds may make: variants of older calls, on the caller's own memory,
/// descriptors and processes, or queries of information that `/proc` has.
pub const ALLOWED: [&str; 36] = [
    "pidfd_send_signal",
    "io_uring_enter",
    "io_uring_register",
    "pidfd_open",
    "close_range",
    "openat2",
    "pidfd_getfd",
    "faccessat2",
    "process_madvise",
    "epoll_pwait2",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "memfd_secret",
    "process_mrelease",
    "futex_waitv",
    "set_mempolicy_home_node",
    "cachestat",
    "fchmodat2",
    "map_shadow_stack",
    "futex_wake",
    "futex_wait",
    "futex_requeue",
    "statmount",
    "listmount",
    "lsm_get_self_attr",
    "lsm_set_self_attr",
    "lsm_list_modules",
    "mseal",
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "file_getattr",
    "file_setattr",
    "listns",
];

const NEW_USER_NAMESPACE: u32 = 0x1000_0000;

const REFUSED: &[Group] = &[
    Group {
        reason: "keyrings belong to the machine's user, not to the container",
        answer: DeniedAnswer::Refuse,
        calls: &[
            ("keyctl", Some(libc::SYS_keyctl), Some(288)),
            ("add_key", Some(libc::SYS_add_key), Some(286)),
            ("request_key", Some(libc::SYS_request_key), Some(287)),
        ],
    },
    Group {
        reason: "runs code in the kernel, watches it, or stalls it where exploits need it stalled",
        answer: DeniedAnswer::Refuse,
        calls: &[
            ("bpf", Some(libc::SYS_bpf), Some(357)),
            ("perf_event_open", Some(libc::SYS_perf_event_open), Some(336)),
            ("userfaultfd", Some(libc::SYS_userfaultfd), Some(374)),
        ],
    },
    Group {
        reason: "its requests pass no seccomp filter",
        answer: DeniedAnswer::Refuse,
        calls: &[("io_uring_setup", Some(libc::SYS_io_uring_setup), Some(425))],
    },
    Group {
        reason: "a build doesn't change the kernel, nor read its log",
        answer: DeniedAnswer::Refuse,
        calls: &[
            ("kexec_load", Some(libc::SYS_kexec_load), Some(283)),
            ("kexec_file_load", Some(libc::SYS_kexec_file_load), None),
            ("init_module", Some(libc::SYS_init_module), Some(128)),
            ("finit_module", Some(libc::SYS_finit_module), Some(350)),
            ("delete_module", Some(libc::SYS_delete_module), Some(129)),
            ("reboot", Some(libc::SYS_reboot), Some(88)),
            ("swapon", Some(libc::SYS_swapon), Some(87)),
            ("swapoff", Some(libc::SYS_swapoff), Some(115)),
            ("acct", Some(libc::SYS_acct), Some(51)),
            ("quotactl", Some(libc::SYS_quotactl), Some(131)),
            ("quotactl_fd", Some(libc::SYS_quotactl_fd), Some(443)),
            ("syslog", Some(libc::SYS_syslog), Some(103)),
        ],
    },
    Group {
        reason: "opens files outside of the root",
        answer: DeniedAnswer::Refuse,
        calls: &[("open_by_handle_at", Some(libc::SYS_open_by_handle_at), Some(342))],
    },
    Group {
        reason: "mounts are made before the build starts, and the root stays as it is",
        answer: DeniedAnswer::Refuse,
        calls: &[
            ("mount", Some(libc::SYS_mount), Some(21)),
            ("umount", None, Some(22)),
            ("umount2", Some(libc::SYS_umount2), Some(52)),
            ("pivot_root", Some(libc::SYS_pivot_root), Some(217)),
            ("open_tree", Some(libc::SYS_open_tree), Some(428)),
            ("move_mount", Some(libc::SYS_move_mount), Some(429)),
            ("fsopen", Some(libc::SYS_fsopen), Some(430)),
            ("fsconfig", Some(libc::SYS_fsconfig), Some(431)),
            ("fsmount", Some(libc::SYS_fsmount), Some(432)),
            ("fspick", Some(libc::SYS_fspick), Some(433)),
            ("mount_setattr", Some(libc::SYS_mount_setattr), Some(442)),
            ("open_tree_attr", Some(OPEN_TREE_ATTR), Some(467)),
        ],
    },
    Group {
        reason: "enters namespaces of others",
        answer: DeniedAnswer::Refuse,
        calls: &[("setns", Some(libc::SYS_setns), Some(346))],
    },
    Group {
        reason: "its arguments lie in memory, where no filter sees them; C libraries fall back",
        answer: DeniedAnswer::Unknown,
        calls: &[("clone3", Some(libc::SYS_clone3), Some(435)), ("socketcall", None, Some(102))],
    },
];

const ONE_ID: &str = "there is one id only";
const RECORDED: &str = "who gets a file is written down for the layer";

/// Calls that change owners.
const OWNERS: &[CallNumbers] = &[
    ("chown", old::CHOWN, Some(182)),
    ("chown32", None, Some(212)),
    ("fchown", Some(libc::SYS_fchown), Some(95)),
    ("fchown32", None, Some(207)),
    ("lchown", old::LCHOWN, Some(16)),
    ("lchown32", None, Some(198)),
    ("fchownat", Some(libc::SYS_fchownat), Some(298)),
];

/// Calls that change the owner of a process's new files.
const IDS: &[CallNumbers] = &[
    ("setuid", Some(libc::SYS_setuid), Some(23)),
    ("setuid32", None, Some(213)),
    ("setgid", Some(libc::SYS_setgid), Some(46)),
    ("setgid32", None, Some(214)),
    ("setreuid", Some(libc::SYS_setreuid), Some(70)),
    ("setreuid32", None, Some(203)),
    ("setregid", Some(libc::SYS_setregid), Some(71)),
    ("setregid32", None, Some(204)),
    ("setresuid", Some(libc::SYS_setresuid), Some(164)),
    ("setresuid32", None, Some(208)),
    ("setresgid", Some(libc::SYS_setresgid), Some(170)),
    ("setresgid32", None, Some(210)),
    ("setfsuid", Some(libc::SYS_setfsuid), Some(138)),
    ("setfsuid32", None, Some(215)),
    ("setfsgid", Some(libc::SYS_setfsgid), Some(139)),
    ("setfsgid32", None, Some(216)),
];

/// Calls that show the caller's supplementary groups.
const GROUPS: &[CallNumbers] =
    &[("getgroups", Some(libc::SYS_getgroups), Some(80)), ("getgroups32", None, Some(205))];

/// Calls emulated with success: enough for `dpkg -i`, `tar -xp` and `su daemon -c id` with a single
/// id.
const PRETENDED: &[Group] = &[
    Group { reason: ONE_ID, answer: DeniedAnswer::Pretend, calls: OWNERS },
    Group { reason: ONE_ID, answer: DeniedAnswer::Pretend, calls: IDS },
    Group {
        reason: ONE_ID,
        answer: DeniedAnswer::Pretend,
        calls: &[
            ("setgroups", Some(libc::SYS_setgroups), Some(81)),
            ("setgroups32", None, Some(206)),
        ],
    },
    Group {
        reason: "the caller's groups are none of the container's",
        answer: DeniedAnswer::Pretend,
        calls: GROUPS,
    },
    Group {
        reason: "there is nothing to give up",
        answer: DeniedAnswer::Pretend,
        calls: &[("capset", Some(libc::SYS_capset), Some(185))],
    },
];

const RECORDED_OWNERS: &[Group] =
    &[Group { reason: RECORDED, answer: DeniedAnswer::Record, calls: OWNERS }];
const RECORDED_IDS: &[Group] = &[Group {
    reason: "that a program went on as another user is written down, since the files that it makes aren't that user's",
    answer: DeniedAnswer::Record,
    calls: IDS,
}];

fn number(number: Option<libc::c_long>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

fn rows(groups: &'static [Group]) -> impl Iterator<Item = PolicyRow> {
    groups.iter().flat_map(|group| {
        group.calls.iter().map(|(name, native, compat)| PolicyRow {
            name,
            native: number(*native),
            compat: *compat,
            when: When::Always,
            answer: group.answer,
            reason: group.reason,
        })
    })
}

/// Rows for calls that no build needs, refused in both tiers.
pub fn refused() -> Vec<PolicyRow> {
    let row = |name, native: libc::c_long, compat, when, reason| PolicyRow {
        name,
        native: number(Some(native)),
        compat: Some(compat),
        when,
        answer: DeniedAnswer::Refuse,
        reason,
    };
    let is = |argument, value| When::Equals { argument, mask: u32::MAX, value };
    let namespace = When::AnyBit { argument: 0, bits: NEW_USER_NAMESPACE };
    let gives_back = "a new user namespace gives back capabilities";
    let types = "types into the caller's terminal";
    let hypervisor = "reaches the hypervisor past the network namespace";
    let conditional = [
        row("unshare CLONE_NEWUSER", libc::SYS_unshare, 310, namespace, gives_back),
        row("clone CLONE_NEWUSER", libc::SYS_clone, 120, namespace, gives_back),
        row("ioctl TIOCSTI", libc::SYS_ioctl, 54, is(1, 0x5412), types),
        row("ioctl TIOCLINUX", libc::SYS_ioctl, 54, is(1, 0x541c), types),
        row("socket AF_VSOCK", libc::SYS_socket, 359, is(0, 40), hypervisor),
    ];
    rows(REFUSED).chain(conditional).collect()
}

/// Rows for calls answered with success where the container has a single id: calls that would
/// change owners or ids, where no other id exists. FIFOs are really made: only devices are left
/// out.
pub fn pretended() -> Vec<PolicyRow> {
    let devices = [libc::S_IFCHR, libc::S_IFBLK].into_iter().flat_map(|kind| {
        [
            ("mknod of a device", old::MKNOD, 14, 1),
            ("mknodat of a device", Some(libc::SYS_mknodat), 297, 2),
        ]
        .map(|(name, native, compat, argument)| PolicyRow {
            name,
            native: number(native),
            compat: Some(compat),
            when: When::Equals { argument, mask: libc::S_IFMT, value: kind },
            answer: DeniedAnswer::Pretend,
            reason: "devices can't be made",
        })
    });
    rows(PRETENDED).chain(devices).collect()
}

/// Subset of [`pretended`] for users other than root.
pub fn pretended_groups() -> Vec<PolicyRow> {
    pretended().into_iter().filter(|row| row.name.starts_with("getgroups")).collect()
}

/// Rows for calls that notify the recorder, for a Dockerfile's commands with a single id: these
/// precede the rows of [`pretended`].
pub fn recorded() -> Vec<PolicyRow> {
    recorded_owners().into_iter().chain(rows(RECORDED_IDS)).collect()
}

/// Subset of [`recorded`] for commands of users other than root, who may not change their ids.
pub fn recorded_owners() -> Vec<PolicyRow> {
    rows(RECORDED_OWNERS).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Calls of the machine's kernel headers, which `scripts/test` installs with the C library's.
    fn calls_of_the_headers() -> Option<Vec<(String, u32)>> {
        let places =
            ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
        let text = places.iter().find_map(|place| fs_err::read_to_string(place).ok())?;
        let call = |line: &str| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        };
        Some(text.lines().filter_map(call).collect())
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn no_call_of_the_kernel_is_left_unjudged() {
        let Some(calls) = calls_of_the_headers() else {
            let reason = "no kernel headers here (package linux-libc-dev): nothing was compared";
            writeln!(std::io::stderr(), "SKIPPED: {reason}").unwrap();
            return;
        };
        assert!(calls.len() > 300, "{calls:?}");
        let rows = refused();
        let is_judged =
            |name: &str| ALLOWED.contains(&name) || rows.iter().any(|row| row.name == name);
        let unjudged: Vec<_> = calls
            .iter()
            .filter(|(name, number)| (424..FIRST_UNKNOWN).contains(number) && !is_judged(name))
            .collect();
        assert!(unjudged.is_empty(), "refuse or allow, by a row or in ALLOWED: {unjudged:?}");
    }

    #[test]
    fn every_number_up_to_the_first_unknown_one_is_judged() {
        let rows = refused();
        let names: std::collections::HashSet<_> = rows
            .iter()
            .filter(|row| row.native.is_some_and(|number| number >= 424))
            .map(|row| row.name)
            .chain(ALLOWED)
            .collect();
        assert_eq!(names.len(), usize::try_from(FIRST_UNKNOWN - 424).unwrap() - names_of_none());
    }

    /// Numbers below [`FIRST_UNKNOWN`] that no call has.
    fn names_of_none() -> usize {
        0
    }
}
