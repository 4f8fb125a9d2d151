//! Runs commands in containers, for packages and for Dockerfiles alike.
//!
//! A run of the program that needs containers opens a [`session`]: the isolation tier is detected
//! ([`isolation`]), a scratch folder made ([`scratch`]) in the builder's own folder ([`home`]), and
//! the run's inputs are registered ([`uses`]). Work inside namespaces is done by a helper process
//! ([`helper`]), which receives typed jobs ([`job`]). A job enters its namespaces through a
//! [`workspace`], and runs a command over layers with [`command`]: the command is data, and no
//! other code runs commands.
//!
//! ```text
//! caller ── Session ── Job ──► helper ── Workspace ── Command ──► container
//!                       ▲                                  │
//!                       └──────── answer or Failure ◄──────┘
//! ```

pub mod aliases;
pub mod command;
pub mod follow;
pub mod helper;
pub mod home;
pub mod isolation;
pub mod job;
pub mod jobs;
pub mod kept;
pub mod log_tail;
pub mod measure;
pub mod own_folder;
pub mod readable;
pub mod scratch;
pub mod session;
pub mod trees;
pub mod trial;
pub mod unpack;
pub mod uses;
pub mod workspace;
