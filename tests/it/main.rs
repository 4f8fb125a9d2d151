//! The real executable, driven as a user would: one file per subject.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod build;
mod environment;
mod escape;
mod inside;
mod interrupt;
mod kernel;
mod limits;
mod support;
mod users;
