//! The caller's standard streams, connected to a command in a container.
//!
//! With terminals on both sides, the caller's one is raw: each byte goes to the container's terminal, which
//! makes signals and line editing of it, and gets the size of the caller's. Otherwise three pipes carry
//! bytes.

use std::io::{self, ErrorKind, IsTerminal, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::SigId;
use signal_hook::consts::{SIGCONT, SIGQUIT, SIGTSTP, SIGWINCH};
use signal_hook::low_level::{emulate_default_handler, pipe, unregister};

use super::raw::RawMode;
use crate::container::console::{self, ConsoleSocket, PipeEnds, TerminalSize};

/// Interval of looks at a terminal that no process has open, in milliseconds.
const PAUSE: u16 = 50;

/// True if the command can have a terminal: with one stream elsewhere, its bytes must not get there by
/// way of a terminal.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Size of the caller's terminal.
pub fn terminal_size() -> TerminalSize {
    TerminalSize::of(io::stdin()).unwrap_or(TerminalSize { rows: 24, columns: 80 })
}

/// Connects the terminals until the command has ended.
pub fn attend_terminal(socket: &ConsoleSocket, over: &PipeReader) -> io::Result<()> {
    let Some(channel) = socket.accept(over.as_fd())? else { return Ok(()) };
    // Without a container there is none.
    let Some(master) = console::receive_master(&channel)? else { return Ok(()) };
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut signals = TerminalSignals::catch()?;
    let raw = RawMode::enter()?;
    let mut master = std::fs::File::from(master);
    // It may have changed meanwhile.
    terminal_size().set(&master)?;
    let mut typed: Vec<u8> = Vec::new();
    let mut reads_input = true;
    loop {
        let stdin = io::stdin();
        let mut waited = vec![
            PollFd::new(over.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.readable.as_fd(), PollFlags::POLLIN),
        ];
        let wants = if typed.is_empty() {
            PollFlags::POLLIN
        } else {
            PollFlags::POLLIN | PollFlags::POLLOUT
        };
        waited.push(PollFd::new(master.as_fd(), wants));
        // What is typed waits until the container takes it.
        if reads_input && typed.is_empty() {
            waited.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut waited, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            polled => polled?,
        };
        let said = |index: usize| {
            waited.get(index).and_then(PollFd::revents).unwrap_or(PollFlags::empty())
        };
        let (is_over, has_signal) = (!said(0).is_empty(), !said(1).is_empty());
        let (of_master, of_input) = (said(2), !said(3).is_empty());
        if has_signal {
            signals.obey(&raw, &master)?;
        }
        if of_input {
            reads_input = read_input(&mut typed)?;
        }
        if of_master.contains(PollFlags::POLLOUT) {
            write_some(&mut master, &mut typed)?;
        }
        let has_writers = !of_master.intersects(PollFlags::POLLIN | PollFlags::POLLHUP)
            || show_output(&mut master)?;
        if is_over {
            // The last output is there by now.
            while show_output(&mut master)? {
                if !is_readable(&master)? {
                    break;
                }
            }
            return Ok(());
        }
        if !has_writers {
            // A program may open /dev/tty again.
            typed.clear();
            let mut ended = [PollFd::new(over.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ended, PollTimeout::from(PAUSE)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn is_readable(master: &impl AsFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut polled, PollTimeout::ZERO)? > 0)
}

/// Reads what was typed; false if no more will come.
fn read_input(typed: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    // Past the buffer of the library, which would hold back what poll does not know of.
    match nix::unistd::read(io::stdin(), &mut buffer) {
        Ok(0) | Err(Errno::EIO) => Ok(false),
        Ok(count) => {
            typed.extend_from_slice(&buffer[..count]);
            Ok(true)
        }
        Err(Errno::EINTR | Errno::EAGAIN) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}

fn write_some(master: &mut std::fs::File, typed: &mut Vec<u8>) -> io::Result<()> {
    match master.write(typed) {
        Ok(count) => {
            typed.drain(..count);
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        // Nobody has the terminal open.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => typed.clear(),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Shows output of the container; false if no process has its terminal open.
fn show_output(master: &mut std::fs::File) -> io::Result<bool> {
    let mut buffer = [0; 1 << 13];
    match master.read(&mut buffer) {
        Ok(0) => Ok(false),
        Ok(count) => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush())?;
            Ok(true)
        }
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Signals that matter to a terminal, caught until dropped.
struct TerminalSignals {
    readable: UnixStream,
    ids: Vec<SigId>,
    quit: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

impl TerminalSignals {
    fn catch() -> io::Result<Self> {
        let (readable, written) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let (quit, stop) = (Arc::default(), Arc::default());
        let mut caught = Self { readable, ids: Vec::new(), quit, stop };
        for (signal, flag) in [(SIGQUIT, &caught.quit), (SIGTSTP, &caught.stop)] {
            caught.ids.push(signal_hook::flag::register(signal, Arc::clone(flag))?);
        }
        for signal in [SIGWINCH, SIGCONT, SIGQUIT, SIGTSTP] {
            caught.ids.push(pipe::register(signal, written.try_clone()?)?);
        }
        Ok(caught)
    }

    /// Does what the signals ask for.
    fn obey(&mut self, raw: &RawMode, master: impl AsFd) -> io::Result<()> {
        let mut bytes = [0; 64];
        while matches!(self.readable.read(&mut bytes), Ok(count) if count > 0) {}
        for (flag, signal) in [(&self.quit, SIGQUIT), (&self.stop, SIGTSTP)] {
            if flag.swap(false, Ordering::SeqCst) {
                raw.suspend();
                emulate_default_handler(signal)?;
            }
        }
        // After a stop, and for a window of another size.
        raw.renew()?;
        Ok(terminal_size().set(master)?)
    }
}

impl Drop for TerminalSignals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            unregister(id);
        }
    }
}

/// Connects stdin, stdout and stderr by pipes until the command has ended.
pub fn attend_pipes(socket: &ConsoleSocket, over: &PipeReader) -> io::Result<()> {
    let Some(channel) = socket.accept(over.as_fd())? else { return Ok(()) };
    let PipeEnds { input, output, errors } = console::pass_pipes(&channel)?;
    // Not waited for: it may wait for input that the command does not want.
    std::thread::spawn(move || drop(feed(input)));
    let errors = std::thread::spawn(move || copy(errors, &mut io::stderr()));
    let shown = copy(output, &mut io::stdout());
    let complained = errors.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    shown.and(complained)
}

fn feed(mut input: PipeWriter) -> io::Result<()> {
    let stdin: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    io::copy(&mut std::fs::File::from(stdin), &mut input).map(drop)
}

/// Copies without delay. A reader that has gone ends it, and so the pipe.
fn copy(mut from: PipeReader, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = [0; 1 << 13];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match to.write_all(&buffer[..count]).and_then(|()| to.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
}
