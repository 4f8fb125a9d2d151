//! Portable jobs: the build of one package as a folder that any machine can carry out (docs/jobs.md).
//!
//! ```text
//! job.json               what is to be built: a JobDocument
//! package.tar            the package's folder
//! image/<sha256>         configuration of the builder image; none for the embedded builder
//! layers/<sha256>        its layers, not compressed, under their diff ids
//! sources/<sha256>       files, archives, bundles of git commits, and tars of files that git converts
//! packages/<id>.tar.xz   required packages
//! log                    log of a failed build, where it was asked for
//! mkpanda                program to carry the job out, where one was given
//! out/                   package.tar.xz, log and, last, record.json: see `results`
//! ```
//!
//! ```text
//! budget    limit of what is copied for a job, and the interrupt
//! document  job.json: typed and checked
//! export    from a package of a tree to a folder
//! folder    files of a job, opened without links and checked by their sums
//! pool      files that jobs in one folder share
//! inputs    from a folder to the inputs of a build, whose id is computed again
//! run       the build, in containers of this machine
//! results   what a job leaves in out/
//! unable    reasons why a machine cannot carry a job out
//! compare   two packages of one id, and what may have made them differ
//! ```
//!
//! A job has no paths: a file's name follows from its sum, or from the id of a package. It has nothing of
//! the machine that made it, and the same package gives the same bytes there and elsewhere: layers are
//! not compressed, since two stores may have one layer in two forms, and bundles are written by
//! [`BundleRequest::write_portable`](crate::source::BundleRequest::write_portable).
//!
//! Whoever made a job is not trusted (docs/security.md): each file is copied, checked by its sum and used
//! from the copy, or is checked by the helper that reads it; the id is computed from the package's folder,
//! the image and the sources as if they were a tree's. The machine's own scratch folder has the copies.

mod budget;
mod compare;
mod document;
mod error;
mod export;
mod folder;
mod inputs;
mod pool;
mod results;
mod run;
mod tarball;
mod unable;

pub use budget::TooLarge;
pub use compare::{ArchiveComparison, BuildTimes, Cause, CompareError, EntryDifference, compare};
pub use document::{JobDependency, JobDocument, JobImage, JobLimits, JobSource};
pub use error::{EntryProblem, PortableJobError};
pub use export::{ExportInputs, ExportOptions, export, export_inputs};
pub use folder::JobFolder;
pub use pool::JobFilePool;
pub use results::{JobOutcome, JobRecord, LOG, PACKAGE, PackageSums};
pub use run::{JobRunOptions, run};
pub use unable::Unable;
