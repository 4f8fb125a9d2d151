//! Slurm: each package is a job of the cluster's queue, over a folder that all machines see.
//!
//! Slurm's word on a job is not trusted: a lost machine may look like a success, and `sbatch --requeue` begins a job
//! anew on its own. The verdict comes from the files of the result alone; the queue tells whether to go on waiting.

mod attempt;
mod client;
mod cluster;
mod error;
mod queue;
mod script;
mod status;
mod watch;

use crate::build::elsewhere::{ElsewhereAnswer, ElsewhereError, ElsewhereTask, Executor};

use attempt::SlurmBuild;

pub use cluster::{Slurm, SlurmSettings};

impl Executor for Slurm {
    fn build(&self, task: &ElsewhereTask<'_>) -> Result<ElsewhereAnswer, ElsewhereError> {
        SlurmBuild::new(self, task).and_then(SlurmBuild::carry_out).map_err(ElsewhereError::from)
    }
}
