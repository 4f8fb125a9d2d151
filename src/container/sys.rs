//! The only `unsafe` of the crate: system calls that neither the standard library nor `nix` wraps
//! safely. Each function is small, takes and gives safe types, and says why it is sound.
#![expect(unsafe_code, reason = "the one place for it; see the module's doc")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{ForkResult, Pid};

/// Forks. Only for processes with one thread, which is checked: in a child of a process with
/// several threads, a lock held by another thread stays locked forever.
pub fn fork() -> nix::Result<Option<Pid>> {
    if thread_count() > 1 {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: this process has a single thread, so the child's state is complete.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Forks into new namespaces, with the same condition as [`fork`]. Unlike `unshare`, the child is in
/// a new pid namespace at once, which a process can do for any number of children.
pub fn fork_into(namespaces: nix::sched::CloneFlags) -> nix::Result<Option<Pid>> {
    if thread_count() > 1 {
        return Err(Errno::EDEADLK);
    }
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without a stack and without shared memory, clone is fork: the child continues in a
    // copy of the parent's memory. `clone3` would be clearer, but outer containers refuse it.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_u64, 0_u64, 0_u64, 0_u64) };
    let pid = i32::try_from(Errno::result(pid)?).map_err(|_overflow| Errno::EBADF)?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}

/// Starts a process that executes a program, or fails with the exit code that `execute` returns.
/// Until then the child shares this process's memory, and this process waits, so that no page
/// tables are copied. The condition of [`fork`] applies.
pub fn spawn(mut execute: impl FnMut() -> i32) -> nix::Result<Pid> {
    if thread_count() > 1 {
        return Err(Errno::EDEADLK);
    }
    let mut stack = vec![0_u8; 256 << 10];
    let child = Box::new(|| execute() as isize);
    let flags = nix::sched::CloneFlags::CLONE_VM | nix::sched::CloneFlags::CLONE_VFORK;
    // SAFETY: the only thread of this process is suspended until the child executes a program or
    // ends, so no other code uses the memory meanwhile, and the stack lives until then.
    unsafe { nix::sched::clone(child, &mut stack, flags, Some(libc::SIGCHLD)) }
}

fn thread_count() -> usize {
    fs_err::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Ends the process at once, without running destructors or exit handlers: for forked children.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor with that number or a higher one. Any later use of such a descriptor
/// fails with EBADF, so this is for processes at their beginning, and for processes that need no
/// more descriptors.
pub fn close_from(lowest: u32) {
    // SAFETY: the call takes three integers; what becomes of owners is said above.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, lowest, u32::MAX, 0) };
    if Errno::result(closed).is_ok() {
        return;
    }
    // Before Linux 5.9.
    let Ok(entries) = fs_err::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .filter(|number| u32::try_from(*number).is_ok_and(|number| number >= lowest))
        .collect();
    for number in numbers {
        // SAFETY: close takes an integer.
        unsafe { libc::close(number) };
    }
}

/// Takes set-id bits and device files from a mount and all mounts below it, and the right to write if
/// `read_only` is true (Linux 5.12).
pub fn restrict_mounts(mount: BorrowedFd<'_>, read_only: bool) -> nix::Result<()> {
    /// `struct mount_attr`.
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        cleared: u64,
        propagation: u64,
        user_namespace: u64,
    }
    const RDONLY: u64 = 1;
    const NOSUID: u64 = 2;
    const NODEV: u64 = 4;
    let set = NOSUID | NODEV | if read_only { RDONLY } else { 0 };
    let attributes = MountAttributes { set, cleared: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is a string that ends in zero, and the kernel reads a struct of the given size;
    // both live until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Closes every descriptor, and opens `/dev/null` as the standard streams: for forked children and
/// processes that use none of their inherited descriptors, so that no pipe stays open.
pub fn leave_descriptors() -> nix::Result<()> {
    let (first, last, flags) = (0_u32, u32::MAX, 0_u32);
    // SAFETY: close_range takes three integers. Whatever owns a descriptor in this process is not
    // used, nor dropped: the callers end by `exit_now`.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })?;
    // The lowest free numbers: 0, 1 and 2.
    for _stream in 0..3 {
        // SAFETY: the path is a string that ends in zero and lives for ever.
        Errno::result(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) })?;
    }
    Ok(())
}

/// Takes ownership of a descriptor that came with a message, by a duplicate with a new number,
/// which is sound even if another owner of the number exists.
pub fn own_descriptor(number: std::os::fd::RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: dup takes an integer, and fails if that is no descriptor.
    let copy = Errno::result(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the call returned a new descriptor without another owner.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Raises the loopback interface of the network namespace that the process is in.
pub fn raise_loopback() -> nix::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: an ifreq of zeroes is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = libc::c_char::from_ne_bytes([*byte]);
    }
    let fd = socket.as_raw_fd();
    // SAFETY: both ioctls read and write an ifreq that lives until they return; SIOCGIFFLAGS has
    // written the union's field that is read.
    unsafe {
        Errno::result(libc::ioctl(fd, libc::SIOCGIFFLAGS, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        Errno::result(libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request))?;
    }
    Ok(())
}

/// Installs a seccomp filter for this process and its descendants. Needs no-new-privileges.
pub fn install_seccomp(program: &[libc::sock_filter]) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_overflow| Errno::EINVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which the slice has.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    Errno::result(result).map(drop)
}

/// Installs a seccomp filter that notifies a process outside of some calls; returns the
/// notification descriptor. See [`install_seccomp`].
pub fn install_notifying_seccomp(program: &[libc::sock_filter]) -> nix::Result<OwnedFd> {
    let length = u16::try_from(program.len()).map_err(|_overflow| Errno::EINVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let install = |flags: libc::c_ulong| {
        // SAFETY: the kernel copies `len` instructions from `filter`, which the slice has.
        let result = unsafe {
            let mode = libc::SECCOMP_SET_MODE_FILTER;
            libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program)
        };
        Errno::result(result)
    };
    // Else a signal could interrupt a call that is never interrupted. Linux 5.19 and newer have it.
    let unbroken = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let fd = match install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | unbroken) {
        Err(Errno::EINVAL) => install(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        installed => installed,
    }?;
    let fd = i32::try_from(fd).map_err(|_overflow| Errno::EBADF)?;
    // SAFETY: the call returned a new descriptor without another owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// System call in a seccomp notification; its caller waits for the answer.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    /// The notification's number.
    pub id: u64,
    /// The thread.
    pub thread: Pid,
    /// Architecture of the call.
    pub architecture: u32,
    /// Number of the call on that architecture.
    pub call: u32,
    /// Arguments.
    pub arguments: [u64; 6],
}

/// Receives a pending notification. Fails with ENOENT if the caller is gone.
pub fn receive_notification(listener: BorrowedFd<'_>) -> nix::Result<Notification> {
    // SAFETY: a seccomp_notif of zeroes is a valid one, and what the kernel wants it to be.
    let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one seccomp_notif, whose size is part of the request's number.
    Errno::result(unsafe {
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        libc::ioctl(listener.as_raw_fd(), request, &raw mut notification)
    })?;
    Ok(Notification {
        id: notification.id,
        thread: Pid::from_raw(i32::try_from(notification.pid).unwrap_or(0)),
        architecture: notification.data.arch,
        call: u32::try_from(notification.data.nr).unwrap_or(u32::MAX),
        arguments: notification.data.args,
    })
}

/// True if the calling thread still waits, so that its number has not been reused.
pub fn is_still_waited_for(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the kernel reads one number, which lives until the call returns.
    let valid = unsafe {
        let request = libc::SECCOMP_IOCTL_NOTIF_ID_VALID;
        libc::ioctl(listener.as_raw_fd(), request, &raw const id)
    };
    valid == 0
}

/// Answers a notification: the call has succeeded or failed.
pub fn answer(listener: BorrowedFd<'_>, id: u64, done: nix::Result<()>) -> nix::Result<()> {
    let error = done.map_or_else(|errno| -(errno as i32), |()| 0);
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error, flags: 0 };
    // SAFETY: the kernel reads one seccomp_notif_resp, which lives until the call returns.
    let sent = unsafe {
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        libc::ioctl(listener.as_raw_fd(), request, &raw mut answer)
    };
    Errno::result(sent).map(drop)
}

/// Makes the notifying process wait on the same processor, which halves the time. Linux 6.6 and
/// newer.
pub fn answer_on_the_same_processor(listener: BorrowedFd<'_>) -> nix::Result<()> {
    const SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the argument is a flag word.
    let set = unsafe {
        let request = libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS;
        libc::ioctl(listener.as_raw_fd(), request, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    };
    Errno::result(set).map(drop)
}

/// Version of Landlock in the kernel; 0 if missing or disabled.
pub fn landlock_version() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the call takes no attributes.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Enters a Landlock domain that restricts no file, but scopes signals and abstract sockets to the
/// domain (version 6 and later) and so keeps ptrace, `/proc/<pid>/mem` and `/proc/<pid>/root`
/// inside it. Needs no-new-privileges.
pub fn enter_landlock_scope() -> nix::Result<()> {
    /// `struct landlock_ruleset_attr` of version 6.
    #[repr(C)]
    struct RulesetAttributes {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
    const SCOPE_SIGNAL: u64 = 2;
    let attributes = RulesetAttributes {
        handled_access_fs: 0,
        handled_access_net: 0,
        scoped: SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL,
    };
    // SAFETY: the kernel reads a struct of the given size, which lives until the call returns.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            size_of::<RulesetAttributes>(),
            0,
        )
    };
    let ruleset = i32::try_from(Errno::result(ruleset)?).map_err(|_overflow| Errno::EBADF)?;
    // SAFETY: the call returned a new descriptor without another owner.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    // SAFETY: landlock_restrict_self takes a descriptor and a flag word.
    let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    Errno::result(result).map(drop)
}

/// Gives every signal its default action and unblocks all, as a program expects to be started.
pub fn reset_signals() -> nix::Result<()> {
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// Waits for a blocked signal of any kind; returns its number, also for signals without a name in
/// `nix`, whose own wait panics at a realtime signal.
pub fn wait_for_signal() -> nix::Result<i32> {
    // SAFETY: a set of zeroes is a valid one; both calls read or write only the set and the number, which
    // live until they return.
    let (failed, number) = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        let mut number = 0;
        (libc::sigwait(&raw const all, &raw mut number), number)
    };
    if failed == 0 { Ok(number) } else { Err(Errno::from_raw(failed)) }
}

/// Sends a process a signal by its number.
pub fn send_signal(process: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: kill takes two integers.
    Errno::result(unsafe { libc::kill(process.as_raw(), number) }).map(drop)
}

/// Waits for the end of a child, or returns any ended child for `None`; returns the child with its
/// exit code, which is 128 plus the signal's number after a signal. `None` if no child has ended.
/// (`nix` fails for a child ended by a realtime signal.)
pub fn reap(child: Option<Pid>) -> nix::Result<Option<(Pid, i32)>> {
    let (wanted, flags) = child.map_or((-1, libc::WNOHANG), |child| (child.as_raw(), 0));
    let mut status = 0;
    // SAFETY: the kernel writes one integer, which lives until the call returns.
    let process = Errno::result(unsafe { libc::waitpid(wanted, &raw mut status, flags) })?;
    if process == 0 {
        return Ok(None);
    }
    // Without flags that ask for more, only those are told of that have ended.
    let code = if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    };
    Ok(Some((Pid::from_raw(process), code)))
}

/// Tries to create a process in new namespaces of the given kinds, in a child.
pub fn try_unshare(flags: nix::sched::CloneFlags) -> nix::Result<()> {
    match fork()? {
        None => match nix::sched::unshare(flags) {
            Ok(()) => exit_now(0),
            Err(error) => exit_now(error as i32),
        },
        Some(child) => match nix::sys::wait::waitpid(child, None)? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
            nix::sys::wait::WaitStatus::Exited(_, code) => Err(Errno::from_raw(code)),
            _ => Err(Errno::ECHILD),
        },
    }
}
