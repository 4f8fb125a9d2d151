//! From a tree to packages: ids, the plan, its execution.
//!
//! Data flows one way: a packages directory is opened ([`site`]), its packages get their ids
//! ([`id`]), which with the [`cache`] gives a [`plan`]: plain data that `--dry-run` prints. Carrying
//! it out ([`execute`], in the order of [`schedule`]) hands each package ([`one`]) to a helper
//! process ([`worker`]) as a [`job`]; what it came to is kept as a [`record`] in the builder's own
//! folder ([`home`]), from which a later run has its [`estimate`]s. Builds that run at once share the
//! cores by a [`jobserver`].

pub mod cache;
pub mod contexts;
pub mod dockerfile;
pub mod estimate;
pub mod execute;
mod failed;
pub mod gc;
pub mod id;
pub mod images;
pub mod isolation;
pub mod job;
pub mod jobserver;
pub mod one;
pub mod plan;
mod readable;
pub mod record;
pub mod schedule;
pub mod scratch;
pub mod site;
pub mod unpack;
pub mod upstream;
pub mod worker;
