//! Threads for the connections of all stores in clouds, and the bridge from blocking code.

use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

use crate::base::event::Observer;
use crate::base::http::answer::SLICE;

/// Number of threads; the work is moving bytes between sockets and memory.
const THREADS: usize = 2;

/// Reason for an unfinished future.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The run was interrupted.
    Interrupted,
    /// The threads cannot be started.
    NoRuntime(String),
}

/// Runs a future on this thread. An interruption of the run drops the future with all its connections.
pub(super) fn run<T>(
    observer: &dyn Observer,
    future: impl Future<Output = T>,
) -> Result<T, Stopped> {
    if observer.is_interrupted() {
        return Err(Stopped::Interrupted);
    }
    runtime()?.block_on(async {
        let mut future = pin!(future);
        loop {
            // The future is polled on; only the look at the interruption comes between.
            match tokio::time::timeout(SLICE, future.as_mut()).await {
                Ok(done) => return Ok(done),
                Err(_) if observer.is_interrupted() => return Err(Stopped::Interrupted),
                Err(_) => {}
            }
        }
    })
}

fn runtime() -> Result<&'static Runtime, Stopped> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        let built = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("cloud")
            .enable_all()
            .build();
        built.map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|reason| Stopped::NoRuntime(reason.clone()))
}
