//! Providers: files for deployers, rendered from a release's values and templates (docs/providers.md).
//!
//! ```text
//! <folder>/provider.yaml     arguments, outputs, pages, packages
//! <folder>/<any other>       templates, and files that templates include
//! ```
//!
//! A provider is data: [`Provider::read`] reads a provider from a folder, [`Provider::built_in`]
//! returns a built-in one, and both are checked as a whole. [`Provider::render`] is a pure function
//! of values: its files depend on no time, path or machine.

mod archive;
mod argument;
mod bounds;
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
mod pages;
mod render;
mod shell;
mod token;
mod values;

#[cfg(test)]
mod tests;

pub use archive::{PackedFile, pack_files};
pub use argument::{ArgumentOrigin, ArgumentType, TemplateArgument};
pub use error::{ArgumentFault, ProviderError};
pub use kind::TextKind;
pub use model::{Provider, ProviderFile};
pub use names::{RELEASE_VALUES, ReleaseValue};
pub use pages::VariantFiles;
pub use values::Values;
