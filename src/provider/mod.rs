//! Providers: files for deployers, rendered from a release's values and templates (docs/providers.md).
//!
//! ```text
//! <folder>/provider.yaml     arguments, outputs, packages
//! <folder>/<any other>       templates, and files that templates include
//! ```
//!
//! A provider is data: [`Provider::read`] reads one from a folder, [`Provider::built_in`] gives one that
//! comes with the program, and both are checked as a whole. [`Provider::render`] is a pure function of
//! values: no time, no place and no machine has a part in its files.

mod archive;
mod argument;
mod built_in;
mod definition;
mod engine;
mod env;
mod error;
mod folder;
mod kind;
mod lists;
mod model;
mod names;
mod packages;
mod render;
mod shell;
mod token;
mod values;

#[cfg(test)]
mod tests;

pub use archive::{PackedFile, pack_files};
pub use argument::{Argument, ArgumentType, Origin};
pub use error::{ArgumentFault, ProviderError};
pub use kind::Kind;
pub use model::{Provider, ProviderFile};
pub use names::RELEASE_VALUES;
pub use values::Values;
