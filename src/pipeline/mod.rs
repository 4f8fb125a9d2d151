//! Pipelines of CI engines, from the graph of a tree: a job for each package that no store has.
//!
//! ```text
//! jobs       packages, needs and levels of jobs; fewer jobs, where an engine has a limit
//! script     commands and names of jobs
//! engine     the engines with their limits, and the text of a pipeline below these
//! gitlab     a pipeline in the form of GitLab
//! buildkite  a pipeline in the form of Buildkite
//! github     a pipeline in the form of GitHub: waves, planned before or when it runs
//! template   keys of the user's own in each job
//! value      YAML as text
//! stored     packages that stores have
//! ```
//!
//! A pipeline is data: nothing here runs it. The same graph gives the same text. Names, paths and URLs are quoted for the
//! shell first and for YAML then, and have no meaning for the engine's own expressions.

mod buildkite;
mod engine;
mod error;
mod github;
mod gitlab;
mod jobs;
mod script;
mod stored;
mod template;
#[cfg(test)]
mod tests;
mod value;

pub use engine::{Engine, PipelineText, text};
pub use error::PipelineError;
pub use github::{planned, wave_lines};
pub use jobs::{Pipeline, PipelineJob};
pub use script::{JobSettings, folder_below};
pub use stored::stored;
pub use template::{LONGEST_TEMPLATE, Template};
