//! The helper's side of a package's build.

mod build;
mod jobserver;
mod package;
mod shell;
mod stage;
mod state;
