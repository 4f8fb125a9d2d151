//! Standard streams of a command that a person watches: a terminal of the container's own, or pipes.
//!
//! The parent listens at a socket in a folder that is closed to other users; the job's process
//! connects as the caller, before it enters the container.
//!
//! ```text
//! parent ── ConsoleSocket ◄── connection ── process of the job ── first process ── command
//!    terminal:  ◄──────────────── the terminal's master ─────────────────────────────┘
//!    pipes:     ── read end of stdin, write ends of stdout and stderr ──► process of the job
//! ```
//!
//! The terminal belongs to the container's own devpts. The caller's terminal is never open in a
//! container: a program there could type into it (CVE-2017-5226), read from it, or change its modes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::PollFlags;
use nix::sys::stat::{Mode, fchmod};
use nix::sys::termios::{InputFlags, SetArg, tcgetattr, tcsetattr};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};
use serde::{Deserialize, Serialize};

use super::{passing, poll};

/// Name of the socket in its folder.
const NAME: &str = "console";

/// Multiplexer of the container's own devpts.
const MULTIPLEXER: &str = "/dev/pts/ptmx";

/// Size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Number of rows.
    pub rows: u16,
    /// Number of columns.
    pub columns: u16,
}

impl TerminalSize {
    /// Size of an open terminal.
    pub fn of(terminal: impl AsFd) -> nix::Result<Self> {
        let size = tcgetwinsize(terminal).map_err(errno)?;
        Ok(Self { rows: size.ws_row, columns: size.ws_col })
    }

    /// Gives a terminal this size; its programs get SIGWINCH if it is another one.
    pub fn set(self, terminal: impl AsFd) -> nix::Result<()> {
        let Self { rows, columns } = self;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(terminal, size).map_err(errno)
    }
}

/// Standard streams of a command.
#[derive(Debug)]
pub enum Streams {
    /// Nothing to read, and a log for the output.
    Log,
    /// Pipes: stdin, stdout, stderr.
    Pipes([OwnedFd; 3]),
    /// A terminal of the container's own.
    Terminal(ContainerTerminal),
}

/// Terminal that a container makes.
#[derive(Debug, Clone)]
pub struct ContainerTerminal {
    /// Connection that gets the master.
    pub channel: Arc<UnixStream>,
    /// Size at the beginning.
    pub size: TerminalSize,
}

impl ContainerTerminal {
    /// Makes the terminal, and makes it the controlling one and the standard streams of this process,
    /// which has to lead a session.
    pub(super) fn enter(&self) -> nix::Result<()> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = open(MULTIPLEXER, flags, Mode::empty())?;
        unlockpt(&master).map_err(errno)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        // By the master (Linux 4.13), not by a path: `/dev/pts` could be that of another instance.
        let terminal = ioctl_tiocgptpeer(&master, flags).map_err(errno)?;
        self.size.set(&terminal)?;
        let mut modes = tcgetattr(&terminal)?;
        // Erasing takes whole letters.
        modes.input_flags |= InputFlags::IUTF8;
        tcsetattr(&terminal, SetArg::TCSANOW, &modes)?;
        rustix::process::ioctl_tiocsctty(&terminal).map_err(errno)?;
        nix::unistd::dup2_stdin(&terminal)?;
        nix::unistd::dup2_stdout(&terminal)?;
        nix::unistd::dup2_stderr(&terminal)?;
        passing::pass(&self.channel, &master)
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// Socket of the parent at which the job's process calls.
#[derive(Debug)]
pub struct ConsoleSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl ConsoleSocket {
    /// Makes the socket in a folder that no other user can enter.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(short(&fs_err::File::open(folder)?))?;
        Ok(Self { path: folder.join(NAME), listener })
    }

    /// Path of the socket, for [`connect`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the connection; nothing if `over` becomes readable before.
    pub fn accept(&self, over: BorrowedFd<'_>) -> io::Result<Option<UnixStream>> {
        let said = poll::wait_any(&[self.listener.as_fd(), over], None)?.unwrap_or_default();
        if said.first().is_none_or(PollFlags::is_empty) {
            return Ok(None);
        }
        self.listener.accept().map(|(stream, _)| Some(stream))
    }
}

/// Path of the socket by its folder's descriptor: the folder's own path may be longer than that of a
/// socket can be.
fn short(folder: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd())
}

/// Connects to the parent.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    let folder = fs_err::File::open(socket.parent().unwrap_or(socket))?;
    UnixStream::connect(short(&folder))
}

/// Receives the master of the container's terminal; nothing if there is none.
pub fn receive_master(channel: &UnixStream) -> io::Result<Option<OwnedFd>> {
    passing::receive(channel)
}

/// Parent's ends of a command's pipes.
#[derive(Debug)]
pub struct PipeEnds {
    /// Write end of stdin.
    pub input: io::PipeWriter,
    /// Read end of stdout.
    pub output: io::PipeReader,
    /// Read end of stderr.
    pub errors: io::PipeReader,
}

/// Makes the pipes, and passes the command's ends to the job's process.
pub fn pass_pipes(channel: &UnixStream) -> io::Result<PipeEnds> {
    let (theirs, input) = io::pipe()?;
    let (output, their_output) = io::pipe()?;
    let (errors, their_errors) = io::pipe()?;
    // The container's user may open /dev/stdin, /dev/stdout and /dev/stderr.
    fchmod(&theirs, Mode::from_bits_truncate(0o444))?;
    fchmod(&their_output, Mode::from_bits_truncate(0o622))?;
    fchmod(&their_errors, Mode::from_bits_truncate(0o622))?;
    passing::pass(channel, &theirs)?;
    passing::pass(channel, &their_output)?;
    passing::pass(channel, &their_errors)?;
    Ok(PipeEnds { input, output, errors })
}

/// Receives the command's ends of the pipes.
pub fn receive_pipes(channel: &UnixStream) -> io::Result<[OwnedFd; 3]> {
    let next =
        || passing::receive(channel)?.ok_or_else(|| io::Error::other("the parent passed no pipes"));
    Ok([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn pipes_lead_from_one_process_to_another_wherever_the_socket_is() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(200));
        fs_err::create_dir(&deep).unwrap();
        let socket = ConsoleSocket::bind(&deep).unwrap();
        let path = socket.path().to_owned();
        let theirs = std::thread::spawn(move || receive_pipes(&connect(&path)?));
        let (over, _open) = io::pipe().unwrap();
        let channel = socket.accept(over.as_fd()).unwrap().unwrap();
        let mut ends = pass_pipes(&channel).unwrap();
        let [input, output, errors] = theirs.join().unwrap().unwrap();
        ends.input.write_all(b"in").unwrap();
        drop(ends.input);
        let mut text = String::new();
        std::fs::File::from(input).read_to_string(&mut text).unwrap();
        assert_eq!(text, "in");
        for (theirs, mut ours) in [(output, ends.output), (errors, ends.errors)] {
            std::fs::File::from(theirs).write_all(b"out").unwrap();
            let mut text = String::new();
            ours.read_to_string(&mut text).unwrap();
            assert_eq!(text, "out");
        }
    }

    #[test]
    fn nobody_waits_for_a_job_that_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let socket = ConsoleSocket::bind(folder.path()).unwrap();
        let (over, open) = io::pipe().unwrap();
        drop(open);
        assert!(socket.accept(over.as_fd()).unwrap().is_none());
    }
}
