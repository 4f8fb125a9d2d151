//! Threads for the connection, and the bridge from the threads that build packages.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch::{Receiver, channel};

use crate::container::helper::Interrupt;

/// Number of threads; the work is moving bytes between sockets and memory.
const THREADS: usize = 2;

/// Maximum reaction time to an interruption.
const SLICE: Duration = Duration::from_millis(50);

/// Starts the threads of an engine's connection.
pub(super) fn start() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(THREADS).thread_name("remote").enable_all().build()
}

/// Watches for an interruption, for all packages together: a hundred of them that look at a clock are work.
pub(super) fn watch(runtime: &Runtime, interrupt: Arc<Interrupt>) -> Receiver<bool> {
    let (sender, receiver) = channel(false);
    runtime.spawn(async move {
        while !interrupt.is_raised() {
            tokio::time::sleep(SLICE).await;
        }
        sender.send_replace(true);
    });
    receiver
}

/// Runs a future on this thread. An interruption of the run drops the future; `None` then.
pub(super) fn run<T>(
    runtime: &Runtime,
    interrupted: &Receiver<bool>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut interrupted = interrupted.clone();
    let interruption = async move { interrupted.wait_for(|is_raised| *is_raised).await.is_ok() };
    runtime.block_on(async {
        match select(pin!(interruption), pin!(future)).await {
            Either::Left((true, _dropped)) => None,
            Either::Left((false, future)) => Some(future.await),
            Either::Right((done, _)) => Some(done),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_ends_what_would_never_end() {
        let (runtime, interrupt) = (start().unwrap(), Arc::new(Interrupt::default()));
        let interrupted = watch(&runtime, Arc::clone(&interrupt));
        assert_eq!(run(&runtime, &interrupted, async { 1 }), Some(1));
        let raise = std::thread::spawn(move || interrupt.raise());
        assert_eq!(run(&runtime, &interrupted, std::future::pending::<u8>()), None);
        assert_eq!(run(&runtime, &interrupted, std::future::pending::<u8>()), None);
        raise.join().unwrap();
    }
}
