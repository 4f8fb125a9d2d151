//! Streaming of a blob to the unpacker during the download: a FIFO that follows the blob's file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::stat::Mode;

/// Poll interval while waiting for a reader of the FIFO.
// Opening a FIFO for writing without blocking fails until there is a reader (ENXIO, fifo(7)), and
// nothing tells when.
const POLL: Duration = Duration::from_millis(5);
const BUFFER: usize = 256 << 10;

/// Progress of a blob's download.
#[derive(Debug, Default)]
pub(super) struct BlobProgress {
    state: Mutex<TailState>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct TailState {
    bytes: u64,
    end: Option<End>,
    /// The FIFO has no reader any more.
    unread: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// No more bytes will follow.
    Failed,
}

impl BlobProgress {
    /// So many bytes are in the file.
    pub(super) fn reached(&self, bytes: u64) {
        self.change(|state| state.bytes = bytes);
    }

    /// The file has all.
    pub(super) fn whole(&self) {
        self.change(|state| state.end = state.end.or(Some(End::Whole)));
    }

    /// Marks the blob as failed: no more bytes follow.
    pub(super) fn give_up(&self) {
        self.change(|state| state.end = Some(End::Failed));
    }

    /// The reader of the FIFO has finished.
    pub(super) fn unread(&self) {
        self.change(|state| state.unread = true);
    }

    fn change(&self, change: impl FnOnce(&mut TailState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn now(&self) -> TailState {
        // Poison says that a thread panicked, which its join tells; the state is one assignment and
        // never half.
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is more than so many bytes, or an end.
    fn beyond(&self, bytes: u64) -> TailState {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *self
            .changed
            .wait_while(state, |state| state.bytes <= bytes && state.end.is_none())
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a FIFO that other ids may read.
pub(super) fn make(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o644))?;
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o644))
}

/// Passes a blob's bytes to the reader of the FIFO during the download; returns true if all were
/// passed. The file exists as soon as the first byte does.
pub(super) fn follow(fifo: &Path, blob: &Path, progress: &BlobProgress) -> bool {
    let Some(mut fifo) = open(fifo, progress) else { return false };
    let mut at = 0;
    let mut buffer = vec![0; BUFFER];
    let mut file: Option<File> = None;
    loop {
        let state = progress.beyond(at);
        if state.end == Some(End::Failed) {
            return false;
        }
        if at == state.bytes {
            return true;
        }
        let open = || fs_err::File::open(blob).map(fs_err::File::into_file);
        let Some(from) = file.take().or_else(|| open().ok()) else { return false };
        let mut rest = from;
        while at < state.bytes {
            let most = BUFFER.min(usize::try_from(state.bytes - at).unwrap_or(BUFFER));
            let Ok(count) = rest.read(&mut buffer[..most]) else { return false };
            // A reader that is gone (EPIPE), as SIGPIPE is ignored in programs of Rust.
            if count == 0 || fifo.write_all(&buffer[..count]).is_err() {
                return false;
            }
            at += count as u64;
        }
        file = Some(rest);
    }
}

/// Opens the FIFO as soon as a reader exists. (A blocking open would wait forever without a
/// reader.)
fn open(path: &Path, progress: &BlobProgress) -> Option<File> {
    loop {
        match nix::fcntl::open(
            path,
            OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC,
            Mode::empty(),
        ) {
            Ok(opened) => {
                // Blocking from now on: a slow unpacker is waited for, instead of an error (EAGAIN,
                // pipe(7)).
                nix::fcntl::fcntl(&opened, FcntlArg::F_SETFL(OFlag::empty())).ok()?;
                return Some(opened.into());
            }
            // A reader of a failed blob must be told, too, as it waits for the end.
            Err(_nobody) if progress.now().unread => return None,
            Err(_nobody) => std::thread::sleep(POLL),
        }
    }
}
