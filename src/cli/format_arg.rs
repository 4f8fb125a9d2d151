//! Form of results on stdout.

use clap::ValueEnum;

/// Form of a result on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum FormatArg {
    /// Lines for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}
