//! Place of a build that an engine carried out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Place of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPlace {
    /// Kind of the engine, such as `slurm`.
    pub engine: String,
    /// Machine, if the engine names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Name of the job in the engine, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl fmt::Display for BuildPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, node, job } = self;
        let job = job.as_ref().map_or_else(|| engine.clone(), |job| format!("{engine} {job}"));
        match node {
            Some(node) => write!(f, "{node} ({job})"),
            None => f.write_str(&job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_what_is_known_of_it() {
        let place = |node: Option<&str>, job: Option<&str>| {
            let (node, job) = (node.map(str::to_owned), job.map(str::to_owned));
            BuildPlace { engine: "slurm".to_owned(), node, job }.to_string()
        };
        assert_eq!(place(Some("n1"), Some("12")), "n1 (slurm 12)");
        assert_eq!(place(Some("n1"), None), "n1 (slurm)");
        assert_eq!(place(None, Some("12")), "slurm 12");
        assert_eq!(place(None, None), "slurm");
    }
}
