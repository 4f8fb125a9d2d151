//! Threads for encoding blocks.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::block::{Block, Method, encode};
use super::level::CompressionLevel;
use super::rewrite::Rewrite;

/// Source of a block.
#[derive(Debug)]
pub(super) enum BlockJob {
    /// Data.
    New {
        data: Arc<Vec<u8>>,
        range: Range<usize>,
        regions: Vec<Range<usize>>,
        method: Method,
        level: CompressionLevel,
    },
    /// Another block.
    Rewrite(Rewrite),
}

impl BlockJob {
    fn run(self, cancelled: &AtomicBool) -> io::Result<Block> {
        match self {
            Self::New { data, range, regions, method, level } => {
                encode(&data[range], &regions, method, level, cancelled)
            }
            Self::Rewrite(rewrite) => rewrite.encode(cancelled),
        }
    }
}

type Done = (u64, io::Result<Block>);

/// Pool of threads, started on demand up to a maximum. Dropping the pool ends them, even in the
/// middle of a block.
#[derive(Debug)]
pub(super) struct BlockPool {
    /// Nothing when no more will come.
    jobs: Option<Sender<(u64, BlockJob)>>,
    waiting: Arc<Mutex<Receiver<(u64, BlockJob)>>>,
    done: (Sender<Done>, Receiver<Done>),
    cancelled: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    threads: usize,
    running: usize,
}

impl BlockPool {
    pub(super) fn new(threads: u32) -> Self {
        let (jobs, waiting) = channel();
        Self {
            jobs: Some(jobs),
            waiting: Arc::new(Mutex::new(waiting)),
            done: channel(),
            cancelled: Arc::default(),
            workers: Vec::new(),
            threads: usize::try_from(threads).unwrap_or(1).max(1),
            running: 0,
        }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// True if all threads have something to do.
    pub(super) fn is_busy(&self) -> bool {
        self.running == self.threads
    }

    pub(super) fn submit(&mut self, number: u64, job: BlockJob) -> io::Result<()> {
        if self.running == self.workers.len() {
            let (waiting, done) = (Arc::clone(&self.waiting), self.done.0.clone());
            let cancelled = Arc::clone(&self.cancelled);
            let work = move || work(&waiting, &done, &cancelled);
            self.workers.push(thread::Builder::new().name("xz".to_owned()).spawn(work)?);
        }
        self.running += 1;
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send((number, job)).is_ok());
        if sent { Ok(()) } else { Err(io::Error::other("no thread that compresses is left")) }
    }

    /// Waits for a block, but not for long; nothing if none was ready by then.
    pub(super) fn wait(&mut self, time: Duration) -> io::Result<Option<(u64, Block)>> {
        match self.done.1.recv_timeout(time) {
            Ok((number, block)) => {
                self.running -= 1;
                Ok(Some((number, block?)))
            }
            Err(RecvTimeoutError::Timeout) if !self.workers.iter().any(JoinHandle::is_finished) => {
                Ok(None)
            }
            Err(_) => Err(io::Error::other("a thread that compresses has ended")),
        }
    }
}

impl Drop for BlockPool {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.jobs = None;
        for worker in self.workers.drain(..) {
            drop(worker.join());
        }
    }
}

fn work(waiting: &Mutex<Receiver<(u64, BlockJob)>>, done: &Sender<Done>, cancelled: &AtomicBool) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, job)) = next else { return };
        // The memory of a job's data is free behind it, for the next one.
        let block = job.run(cancelled);
        if done.send((number, block)).is_err() {
            return;
        }
    }
}
