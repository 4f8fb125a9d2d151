//! Engines that build packages on other machines: each package as a portable job (docs/many-machines.md).
//!
//! ```text
//! shared         folder that this machine and those of the engine share: jobs, files of several jobs, the program
//! folder_access  whether other users may change that folder
//! checked        results of a job, copied and compared with what was asked for
//! slurm          the queue of a cluster
//! reapi          engines of the Remote Execution API
//! ```
//!
//! An engine is an [`Executor`](crate::build::elsewhere::Executor). Whatever an engine says of a job serves
//! to wait and to explain; the verdict comes from the files of the result alone, which are copied before they
//! are checked.

mod checked;
mod folder_access;
#[cfg(feature = "remote-execution")]
pub mod reapi;
mod shared;
pub mod slurm;
