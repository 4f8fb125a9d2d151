//! Faults of providers, of their templates, and of the values for rendering.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::base::suggestion::{did_you_mean, nearest};
use crate::package::{NameError, PackageId, Report};

/// A provider cannot be read or rendered.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A file of the provider cannot be read.
    #[error("cannot read the provider's file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The folder does not hold a provider.
    #[error("{} does not hold a provider: there is no provider.yaml in it", .0.display())]
    NotProvider(PathBuf),
    /// There is no built-in provider of the name.
    #[error("{name:?} is not a built-in provider")]
    Unknown {
        /// The name.
        name: String,
        /// Known names.
        known: Vec<&'static str>,
    },
    /// A file has a fault at a place.
    #[error("{0}")]
    File(Box<Report>),
    /// A template cannot be rendered.
    #[error("{report}")]
    Template {
        /// The place in the template, and the fault.
        report: Box<Report>,
        /// Name of the output that is rendered.
        output: String,
    },
    /// The text of an output is not valid for its kind.
    #[error("{output}, rendered from {}: line {line} of the output is not valid {kind}: {reason}", template.display())]
    Output {
        /// Name of the output.
        output: String,
        /// The template.
        template: PathBuf,
        /// Name of the kind.
        kind: &'static str,
        /// Line of the output.
        line: usize,
        /// Fault.
        reason: String,
    },
    /// Values are missing, unknown or wrong.
    #[error("provider {provider}: {}", listed(faults))]
    Arguments {
        /// Name of the provider.
        provider: String,
        /// All faults, by the argument's name.
        faults: Vec<ArgumentFault>,
    },
    /// Two outputs have the same name.
    #[error("provider {provider}: two outputs have the name {name}")]
    SameOutput {
        /// Name of the provider.
        provider: String,
        /// Name of the outputs.
        name: String,
    },
    /// The files take too much time or memory.
    #[error("provider {provider}: its {what} {problem}")]
    Limit {
        /// Name of the provider.
        provider: String,
        /// Kind of files: outputs or pages.
        what: &'static str,
        /// Exceeded limit, in words.
        problem: String,
    },
    /// A package cannot be named after the provider.
    #[error("provider {provider}: {source}, so the late values have no package")]
    PackageName {
        /// Name of the provider.
        provider: String,
        /// Fault.
        source: NameError,
    },
    /// A package cannot be packed.
    #[error("provider {provider}: cannot pack {package}: {reason}")]
    Pack {
        /// Name of the provider.
        provider: String,
        /// Id of the package.
        package: PackageId,
        /// Fault.
        reason: String,
    },
    /// The name of an output, after rendering, cannot be that of a file.
    #[error("provider {provider}: {name:?} cannot be the name of an output")]
    OutputName {
        /// Name of the provider.
        provider: String,
        /// The name.
        name: String,
    },
}

impl ProviderError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { name, known } => {
                let all = known.join(", ");
                Some(match nearest(name, known.iter().copied()) {
                    Some(near) => format!("{} Built-in providers: {all}", did_you_mean(near)),
                    None => format!("built-in providers: {all}"),
                })
            }
            Self::File(report) | Self::Template { report, .. } => report.hint().map(str::to_owned),
            Self::NotProvider(_) => Some("docs/providers.md describes the folder".to_owned()),
            _ => None,
        }
    }
}

/// Fault of an argument's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgumentFault {
    /// There is no value.
    Missing {
        /// The argument.
        name: String,
        /// Name of the argument's type.
        kind: &'static str,
        /// Explanation of the argument.
        description: String,
    },
    /// There is no such argument.
    Unknown {
        /// The unknown name.
        name: String,
        /// Known arguments.
        known: Vec<String>,
    },
    /// Only the release may set the value.
    FromRelease(String),
    /// The release has to give the value, and does not.
    NotInRelease(String),
    /// The value breaks the rule of the argument's type.
    Wrong {
        /// The argument.
        name: String,
        /// Beginning of the value.
        value: String,
        /// The rule.
        rule: String,
    },
}

impl ArgumentFault {
    /// Name of the argument.
    pub fn name(&self) -> &str {
        match self {
            Self::Missing { name, .. }
            | Self::Unknown { name, .. }
            | Self::FromRelease(name)
            | Self::NotInRelease(name)
            | Self::Wrong { name, .. } => name,
        }
    }
}

impl fmt::Display for ArgumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, kind, description } if description.is_empty() => {
                write!(f, "{name} must be set ({kind})")
            }
            Self::Missing { name, kind, description } => {
                write!(f, "{name} must be set ({kind}: {description})")
            }
            Self::Unknown { name, known } => {
                match nearest(name, known.iter().map(String::as_str)) {
                    Some(other) => write!(f, "{name} is not known ({})", did_you_mean(other)),
                    None => write!(f, "{name} is not known"),
                }
            }
            Self::FromRelease(name) => {
                write!(f, "{name} comes from the release, and cannot be set")
            }
            Self::NotInRelease(name) => {
                write!(
                    f,
                    "{name} comes from the release, which does not have it here; only another provider.yaml helps"
                )
            }
            Self::Wrong { name, value, rule } => write!(f, "{name} {rule}, not {value}"),
        }
    }
}

fn listed(faults: &[ArgumentFault]) -> String {
    match faults {
        [fault] => fault.to_string(),
        _ => faults.iter().fold(format!("{} values are wrong:", faults.len()), |text, fault| {
            format!("{text}\n  {fault}")
        }),
    }
}
