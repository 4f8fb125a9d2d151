//! Engines of the Remote Execution API, version 2 (<https://github.com/bazelbuild/remote-apis>): each package is an
//! action.
//!
//! ```text
//! settings      address, properties, credentials, limits
//! engine        what all packages of a run share: connection, known blobs, capabilities
//! connection    address, TLS, metadata of requests
//! runtime       threads of the connection
//! call          a call, repeated until the engine answers
//! capabilities  what the engine can
//! blob, tree    digests; files as a Merkle tree
//! inputs        files of a job's action
//! action        command and action
//! storage       what the engine lacks, uploaded once
//! write, read   one blob as a stream
//! live          output of a job while it runs
//! operation     execution: states, lost streams, lost operations, cancellation
//! outputs       files of a result
//! attempt       the course of one package
//! error         faults, and remedies
//! ```
//!
//! The key of a result in the engine's cache is the digest of the action, and so of all inputs, the program among
//! them. A result is believed only if it is complete and fits the job, whether the engine has just made it or had it
//! in its cache: the verdict comes from the files alone (`checked`). Memory does not grow with the
//! size of files: they are streamed from and to disk.
//!
//! A job is staged in `remote/` of the builder's own folder, where jobs share layers and packages by hard links.

mod action;
mod attempt;
mod blob;
mod call;
mod capabilities;
mod connection;
mod engine;
mod error;
mod inputs;
mod live;
mod operation;
mod outputs;
mod read;
mod runtime;
mod settings;
mod storage;
mod tree;
mod write;

use attempt::ReapiBuild;

use crate::build::elsewhere::{ElsewhereAnswer, ElsewhereError, ElsewhereTask, Executor};

pub use engine::Reapi;
pub use settings::ReapiSettings;

impl Executor for Reapi {
    fn build(&self, task: &ElsewhereTask<'_>) -> Result<ElsewhereAnswer, ElsewhereError> {
        ReapiBuild::new(self, task).and_then(ReapiBuild::carry_out).map_err(ElsewhereError::from)
    }
}
