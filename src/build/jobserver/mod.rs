//! Jobserver of the run: a fifo with a token for each core that is not reserved by a running build.
//! Programs that support GNU make's protocol (make, cargo, ninja, gcc) take a token for each
//! additional job and put the token back when the job ends, so that a build uses idle cores of
//! other builds.
//!
//! ```text
//! <run>/jobserver/fifo    in the run's scratch folder, which nobody else can enter
//! ```
//!
//! The fifo is bound read-only into containers, so that no container can close it for others. Every
//! process in a container may open the fifo for reading and writing: a read-only mount does not
//! apply to fifos.
//!
//! A token does not identify its holder. So the accounting is based on missing tokens: `out` is the
//! number of tokens in the fifo or with builds. Whenever a build begins or ends, and each second,
//! all tokens in the fifo are taken out and counted, and the right number is put back:
//!
//! - Surplus tokens were written by a build that never took them, and are dropped.
//! - When no build runs, missing tokens are lost (a killed build had them), and are put back.
//! - When a build fails while others run, its share of the missing tokens is put back. An excess is
//!   corrected by the first rule.
//! - A starting build takes its own cores from the pool; cores held by other builds at that moment
//!   are a debt, collected as soon as their tokens are put back.
//!
//! So the worst effects of a build on others are to leave each of them only its own cores, or to
//! let them run too many jobs for a second, and either effect ends with the build. Concurrent runs
//! have separate jobservers.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::base::event::{Event, Observer};

/// Path of the fifo in containers.
pub const PLACE_INSIDE: &str = "/pkg/jobserver";

/// Way to announce the jobserver to a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// The way that the image's make supports.
    #[default]
    Auto,
    /// By the fifo's path, which make 4.4, ninja 1.13, cargo and gcc 13 understand.
    Fifo,
    /// By two inherited descriptors, which make 4.2 and cargo understand, too.
    Descriptors,
}

/// Parameters for a helper whose build takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobserverAccess {
    /// The fifo, the only file in its folder.
    pub fifo: PathBuf,
    /// Way of the announcement; `None` if only packing takes part.
    pub style: Option<Style>,
    /// Number of cores without a token, at least one.
    pub own: u32,
    /// Number of cores.
    pub cores: u32,
}

/// Interval of counting the tokens while builds run.
const INTERVAL: Duration = Duration::from_secs(1);

/// Timeout of a wait for a token before the next count, in milliseconds.
const PATIENCE: u16 = 100;

/// Upper limit of tokens: the size of an atomic write to a pipe.
const MOST: usize = 4096;

/// More than any pipe holds, in bytes: who writes faster than they are read here is not waited for.
const ENOUGH: usize = 2 << 20;

/// A run's jobserver. Dropping it removes the fifo.
#[derive(Debug)]
pub struct Jobserver {
    fifo: PathBuf,
    style: Style,
    pool: Arc<TokenPool>,
    collector: Option<JoinHandle<()>>,
}

impl Jobserver {
    /// Makes the fifo in a run's scratch folder.
    pub fn start(scratch: &Path, cores: usize, style: Style) -> io::Result<Self> {
        let folder = scratch.join("jobserver");
        fs_err::create_dir(&folder)?;
        let fifo = folder.join("fifo");
        let pool = match TokenPool::create(&fifo, cores.min(MOST)) {
            Ok(pool) => Arc::new(pool),
            Err(error) => {
                remove(&fifo);
                return Err(error);
            }
        };
        let collecting = Arc::clone(&pool);
        let collector = std::thread::spawn(move || collecting.collect());
        Ok(Self { fifo, style, pool, collector: Some(collector) })
    }

    /// Starts the run's jobserver, if it is wanted and of use; a failure is a warning.
    pub fn start_if_useful(
        scratch: &Path,
        cores: usize,
        style: Option<Style>,
        observer: &dyn Observer,
    ) -> Option<Self> {
        let style = style.filter(|_style| cores > 1)?;
        match Self::start(scratch, cores, style) {
            Ok(jobserver) => Some(jobserver),
            Err(error) => {
                let message =
                    format!("no jobserver, so builds get fixed shares of the cores: {error}");
                observer.event(Event::Warning { subject: String::new(), message });
                None
            }
        }
    }

    /// Records the start of a build with `own` cores without a token; `is_told` is true if it may
    /// take tokens.
    pub fn begin(&self, own: usize, is_told: bool) -> JobserverAccess {
        let mut book = self.pool.lock();
        book.reserved += own;
        self.pool.reconcile(&mut book, |_held| 0);
        let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
        JobserverAccess {
            fifo: self.fifo.clone(),
            style: is_told.then_some(self.style),
            own: count(own),
            cores: count(book.cores),
        }
    }

    /// Records the end of a build with `own` cores while `others` run; `failed` is true if the
    /// build may have been killed, and so kept tokens.
    pub fn end(&self, own: usize, others: usize, failed: bool) {
        let mut book = self.pool.lock();
        book.reserved = book.reserved.saturating_sub(own);
        self.pool.reconcile(&mut book, |held| lost(held, others, failed));
    }
}

impl Drop for Jobserver {
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.changed.notify_all();
        if let Some(collector) = self.collector.take() {
            drop(collector.join());
        }
        remove(&self.fifo);
    }
}

/// Removes the fifo and its folder; leftovers are swept with the run's scratch folder.
fn remove(fifo: &Path) {
    drop(fs_err::remove_file(fifo));
    drop(fifo.parent().map(fs_err::remove_dir));
}

/// Number of missing tokens that count as lost at the end of a build.
fn lost(missing: usize, others: usize, failed: bool) -> usize {
    match (others, failed) {
        (0, _) => missing,
        (_, true) => missing.div_ceil(others + 1),
        (_, false) => 0,
    }
}

/// The book, as far as it is arithmetic.
#[derive(Debug, Default)]
struct Book {
    cores: usize,
    /// Cores that running builds have without a token.
    reserved: usize,
    /// Tokens in the fifo or with builds.
    out: usize,
    closed: bool,
}

impl Book {
    /// Number of tokens that should exist.
    fn due(&self) -> usize {
        self.cores.saturating_sub(self.reserved)
    }

    /// Balances the accounts after `found` tokens have been taken out of the fifo; returns the
    /// number to put back. `lost` computes the number of missing tokens that will never come back.
    fn balance(&mut self, found: usize, lost: impl FnOnce(usize) -> usize) -> usize {
        let missing = self.out.saturating_sub(found);
        let held = missing - lost(missing).min(missing);
        let put = self.due().saturating_sub(held);
        self.out = held + put;
        put
    }

    fn is_in_debt(&self) -> bool {
        self.out > self.due()
    }
}

/// The fifo with its accounting.
#[derive(Debug)]
struct TokenPool {
    /// Open for reading and writing during the whole run: a fifo loses its content when the last
    /// descriptor is closed.
    pipe: File,
    book: Mutex<Book>,
    changed: Condvar,
}

impl TokenPool {
    fn create(fifo: &Path, cores: usize) -> io::Result<Self> {
        nix::unistd::mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // Builds may have any user of their container; its folder keeps others out.
        fs_err::set_permissions(fifo, std::fs::Permissions::from_mode(0o666))?;
        let pipe = File::options()
            // Both ends by one descriptor (which fifo(7) allows on Linux), so that neither opening
            // blocks, and the fifo never ends for a build while no other has it open.
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(fifo)?;
        let pool =
            Self { pipe, book: Book { cores, ..Book::default() }.into(), changed: Condvar::new() };
        pool.reconcile(&mut pool.lock(), |_held| 0);
        Ok(pool)
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the fifo and the book in line.
    fn reconcile(&self, book: &mut Book, lost: impl FnOnce(usize) -> usize) {
        let put = book.balance(self.drain(), lost);
        let written = (&self.pipe).write(&vec![b'+'; put]).unwrap_or(0);
        // A build that fills the fifo at this moment put more tokens there than it should hold.
        book.out -= put - written;
        self.changed.notify_all();
    }

    /// Takes all tokens out of the fifo and counts them.
    fn drain(&self) -> usize {
        let mut buffer = [0; 4096];
        let mut found = 0;
        while found < ENOUGH {
            match (&self.pipe).read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => found += count,
            }
        }
        found
    }

    /// Collects debts and looks after the fifo until the jobserver is closed.
    fn collect(&self) {
        let mut book = self.lock();
        while !book.closed {
            if book.is_in_debt() {
                drop(book);
                let mut waiting = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
                // Whatever ends the wait, the book is looked at.
                _ = poll(&mut waiting, PollTimeout::from(PATIENCE));
                book = self.lock();
                if book.is_in_debt() {
                    self.reconcile(&mut book, |_held| 0);
                }
            } else if book.reserved == 0 {
                book = self.changed.wait(book).unwrap_or_else(PoisonError::into_inner);
            } else {
                let (waited, timeout) = self
                    .changed
                    .wait_timeout(book, INTERVAL)
                    .unwrap_or_else(PoisonError::into_inner);
                book = waited;
                if timeout.timed_out() {
                    self.reconcile(&mut book, |_held| 0);
                }
            }
        }
    }
}
