//! The real executable, driven as a user would: one file per subject.

mod build;
mod support;
