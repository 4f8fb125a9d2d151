//! From a tree to packages: ids, the plan, its execution.
//!
//! Data flows one way: a packages directory is opened ([`project`]), its packages get their ids
//! ([`id`]), which with the [`cache`] gives a [`plan`]: plain data that `--dry-run` prints. Its
//! execution ([`execute`], in the order of [`schedule`]) brings each package into the cache
//! ([`supply`]), mostly by a [`job`] of a helper process (`worker`). The result is kept as a
//! [`record`] in the builder's own folder ([`crate::runner::home`]), the source of a later run's
//! [`estimate`]s. Concurrent builds share the cores by a [`jobserver`]. What a failed build leaves may be
//! [`kept`], and a [`shell`] starts in the container of a build. An engine may build packages [`elsewhere`].

pub mod archive_sums;
pub mod cache;
mod delegate;
pub mod elsewhere;
pub mod estimate;
pub mod execute;
mod failed;
pub mod gc;
pub mod history;
pub mod id;
pub mod images;
pub mod job;
pub mod jobserver;
pub mod kept;
mod local;
pub mod missing;
pub mod package_runner;
pub mod place;
pub mod plan;
pub mod project;
pub mod record;
pub mod request;
pub mod schedule;
pub mod shell;
pub mod supply;
pub mod upload;
pub mod upstream;
mod worker;
