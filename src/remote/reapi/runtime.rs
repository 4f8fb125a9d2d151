//! Threads for the connection, and the bridge from the threads that build packages.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::container::helper::Interrupt;

/// Number of threads; the work is moving bytes between sockets and memory.
const THREADS: usize = 2;

/// Maximum reaction time to an interruption.
const SLICE: Duration = Duration::from_millis(50);

/// Starts the threads of an engine's connection.
pub(super) fn start() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("remote").enable_all().build()
}

/// Runs a future on this thread. An interruption of the run drops the future; `None` then.
pub(super) fn run<T>(
    runtime: &Runtime,
    interrupt: &Interrupt,
    future: impl Future<Output = T>,
) -> Option<T> {
    runtime.block_on(async {
        let mut future = pin!(future);
        while !interrupt.is_raised() {
            if let Ok(done) = tokio::time::timeout(SLICE, future.as_mut()).await {
                return Some(done);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_ends_what_would_never_end() {
        let (runtime, interrupt) = (start().unwrap(), Interrupt::default());
        assert_eq!(run(&runtime, &interrupt, async { 1 }), Some(1));
        interrupt.raise();
        assert_eq!(run(&runtime, &interrupt, std::future::pending::<u8>()), None);
    }
}
