//! The helper process: the same executable, dispatched first thing in `main`, before any thread
//! exists.
//!
//! A helper keeps a user namespace and starts a process for each job ([`keeper`]): process 1 of a pid
//! namespace of its own, which opens the caller's files (log, archive), enters the other namespaces,
//! does the job and answers.

use super::job::{self, Handler, JobFailure};
use crate::container::keeper::{self, Worker};
use crate::container::namespace::NamespaceError;

/// Does the jobs that arrive on stdin with the handlers of a table; returns the exit code.
pub fn run(handlers: &[Handler]) -> u8 {
    keeper::keep(&Jobs(handlers))
}

struct Jobs<'a>(&'a [Handler]);

impl Worker for Jobs<'_> {
    fn refuse(&self, error: NamespaceError) {
        let hint = error.remedy().map(str::to_owned);
        job::refuse(JobFailure { hint, ..JobFailure::of(error) });
    }

    fn work(&self, job: &[u8]) -> u8 {
        Handler::dispatch(self.0, job)
    }
}
