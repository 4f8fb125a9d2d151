//! Failures of making pipelines, and of their jobs.

use crate::package::Report;

/// A pipeline cannot be made, or a job of one failed.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// A template is not valid.
    #[error(transparent)]
    Template(Box<Report>),
    /// A template cannot be read.
    #[error("the template cannot be read")]
    TemplateFile(#[source] std::io::Error),
    /// No store is named through which packages could pass.
    #[error(
        "no cache is named that jobs could read and write, and packages pass from job to job through one"
    )]
    NoStore,
    /// A store would be named together with a password, which the pipeline would show to all its readers.
    #[error(
        "the URL of {place} has a password or a query, which the pipeline would show to its readers"
    )]
    Secret {
        /// The store, without secrets.
        place: String,
    },
    /// The jobs would not find the tree.
    #[error("the tree {tree} is not below {top}, where jobs begin")]
    Outside {
        /// The packages folder.
        tree: String,
        /// Top of the checkout.
        top: String,
    },
    /// The pipeline is too large for the engine, even as one job.
    #[error("the pipeline has {size} bytes, and {engine} takes {limit}")]
    TooLarge {
        /// Name of the engine.
        engine: &'static str,
        /// Bytes of the pipeline.
        size: usize,
        /// Largest number of bytes.
        limit: usize,
    },
    /// Packages are built, and the next jobs cannot get them.
    #[error("{} not in {store}, where the next jobs look: {}", count(packages), packages.join(", "))]
    NotStored {
        /// Ids of the packages.
        packages: Vec<String>,
        /// Name of the store.
        store: String,
    },
    /// A log cannot be copied.
    #[error("the log of {package} cannot be copied")]
    Log {
        /// Id of the package.
        package: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

fn count(packages: &[String]) -> String {
    match packages.len() {
        1 => "1 package is".to_owned(),
        count => format!("{count} packages are"),
    }
}

impl PipelineError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Template(report) => report.hint().map(str::to_owned),
            Self::NoStore => Some(
                "name one that all runners reach: --cache=s3://BUCKET/PREFIX\nor in your config.toml:\n    [[cache]]\n    url = \"s3://BUCKET/PREFIX\""
                    .to_owned(),
            ),
            Self::Secret { .. } => Some(
                "give the runners credentials by their environment: docs/stores.md names the variables".to_owned(),
            ),
            Self::Outside { .. } => Some("run the command in the checkout that has the tree".to_owned()),
            Self::TooLarge { .. } => Some("give a smaller --template, or fewer options".to_owned()),
            Self::NotStored { .. } => {
                Some("the warnings above say why the store did not take them".to_owned())
            }
            Self::TemplateFile(_) | Self::Log { .. } => None,
        }
    }
}
