//! The helper process, with all kinds of jobs.

use crate::build::job::BuildJob;
use crate::build::shell::{BundleJob, ShellJob};
use crate::dockerfile::execute::job::{DigestJob, LayerJob};
use crate::runner::job::Handler;
use crate::runner::{helper, jobs};

const OWN: [Handler; 5] = [
    Handler::of::<BuildJob>(),
    Handler::of::<ShellJob>(),
    Handler::of::<BundleJob>(),
    Handler::of::<LayerJob>(),
    Handler::of::<DigestJob>(),
];

/// Does the jobs that arrive on stdin; returns the process's exit code.
pub fn run() -> u8 {
    helper::run(&[&jobs::HANDLERS[..], &OWN].concat())
}
