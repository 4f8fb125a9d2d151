//! An action that a thread repeats until the end of the run.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Thread that runs an action at intervals; dropping the value ends the thread and waits for its
/// end.
#[derive(Debug)]
pub(super) struct Ticker {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread; `tick` runs for the first time after one interval. If the thread cannot be
    /// started, `tick` never runs: progress is not worth an error.
    pub(super) fn start(every: Duration, mut tick: impl FnMut() + Send + 'static) -> Self {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let its = Arc::clone(&over);
        let work = move || {
            let (over, changed) = &*its;
            let mut guard = over.lock().unwrap_or_else(PoisonError::into_inner);
            while !*guard {
                let waited = changed.wait_timeout(guard, every);
                guard = waited.unwrap_or_else(PoisonError::into_inner).0;
                if !*guard {
                    drop(guard);
                    tick();
                    guard = over.lock().unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(work).ok();
        Self { over, thread }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (over, changed) = &*self.over;
        *over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // The panic hook has already reported a panic of `tick`.
            drop(thread.join());
        }
    }
}
