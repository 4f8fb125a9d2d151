//! Trials of all that builds need of a machine: what works, what does not, the reason, and the command that mends
//! it. Every feature is tried by the code by which builds use it; nothing follows from a version number.
//!
//! ```text
//! try_all ─► folders   the builder's own folder and the scratch folder: written to, executed from
//!         ─► tiers     user namespaces and both id maps; what containers have in them
//!         ─► programs  git, git-lfs, and the programs that connect networks
//! ```

mod folders;
mod programs;
pub mod system;
mod tiers;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::session::RunnerSettings;
use crate::container::idmap::Tier;
use system::System;

/// Something that builds use of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// User namespaces, in which every container is.
    UserNamespaces,
    /// Isolation tier with ranges of ids.
    Ranges,
    /// Isolation tier with one id.
    Single,
    /// Overlays in a user namespace, on the scratch folder's filesystem.
    Overlay,
    /// Seccomp filters.
    Seccomp,
    /// Seccomp filters that ask a process outside: owners that `RUN` gives to files in the tier `single`.
    SeccompNotify,
    /// Landlock scopes, which keep signals and abstract sockets inside.
    Landlock,
    /// A procfs of each container's own.
    Proc,
    /// A sysfs of each container's own.
    Sysfs,
    /// Pseudo-terminals of each container's own.
    Devpts,
    /// Message queues of each container's own.
    Mqueue,
    /// A host name of each container's own.
    HostName,
    /// Cgroups for limits of memory and processes.
    Cgroups,
    /// Networks of their own for commands of Dockerfiles.
    Network,
    /// git, for `git` sources.
    Git,
    /// git-lfs, for sources whose repositories use it.
    GitLfs,
    /// The builder's own folder, `$MKPANDA_HOME`.
    Home,
    /// Scratch folder of runs.
    Scratch,
}

impl Feature {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 18] = [
        Self::UserNamespaces,
        Self::Ranges,
        Self::Single,
        Self::Overlay,
        Self::Seccomp,
        Self::SeccompNotify,
        Self::Landlock,
        Self::Proc,
        Self::Sysfs,
        Self::Devpts,
        Self::Mqueue,
        Self::HostName,
        Self::Cgroups,
        Self::Network,
        Self::Git,
        Self::GitLfs,
        Self::Home,
        Self::Scratch,
    ];

    /// Name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserNamespaces => "user-namespaces",
            Self::Ranges => "ranges",
            Self::Single => "single",
            Self::Overlay => "overlay",
            Self::Seccomp => "seccomp",
            Self::SeccompNotify => "seccomp-notify",
            Self::Landlock => "landlock",
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Devpts => "devpts",
            Self::Mqueue => "mqueue",
            Self::HostName => "host-name",
            Self::Cgroups => "cgroups",
            Self::Network => "network",
            Self::Git => "git",
            Self::GitLfs => "git-lfs",
            Self::Home => "home",
            Self::Scratch => "scratch",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is not a feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a feature")]
pub struct UnknownFeature(String);

impl FromStr for Feature {
    type Err = UnknownFeature;

    fn from_str(text: &str) -> Result<Self, UnknownFeature> {
        let found = Self::ALL.into_iter().find(|feature| feature.as_str() == text);
        found.ok_or_else(|| UnknownFeature(text.to_owned()))
    }
}

/// Result of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrialResult {
    /// The feature is there.
    Works,
    /// Builds use something in its place.
    Limited,
    /// The feature is not there.
    Missing,
    /// The trial needs another feature, which is not there.
    Untried,
}

impl fmt::Display for TrialResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Works => "works",
            Self::Limited => "limited",
            Self::Missing => "missing",
            Self::Untried => "untried",
        })
    }
}

/// Finding on one feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeatureFinding {
    /// Feature.
    pub feature: Feature,
    /// Result.
    pub state: TrialResult,
    /// Description of what is there, or the reason why it is not.
    pub detail: String,
    /// Alternative commands or changes, of which one mends it.
    pub remedies: Vec<String>,
}

impl FeatureFinding {
    fn works(feature: Feature, detail: impl Into<String>) -> Self {
        Self { feature, state: TrialResult::Works, detail: detail.into(), remedies: Vec::new() }
    }

    fn limited(feature: Feature, detail: impl Into<String>, remedies: Vec<String>) -> Self {
        Self { feature, state: TrialResult::Limited, detail: detail.into(), remedies }
    }

    fn missing(feature: Feature, detail: impl Into<String>, remedies: Vec<String>) -> Self {
        Self { feature, state: TrialResult::Missing, detail: detail.into(), remedies }
    }

    fn untried(feature: Feature, needs: Feature) -> Self {
        let detail = format!("not tried, since it needs {needs}");
        Self { feature, state: TrialResult::Untried, detail, remedies: Vec::new() }
    }
}

/// Findings on all features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeatureReport {
    /// System at hand.
    pub system: System,
    /// Tier of builds, if there is one.
    pub tier: Option<Tier>,
    /// Findings, in the order of [`Feature::ALL`].
    pub features: Vec<FeatureFinding>,
}

impl FeatureReport {
    /// True if a feature is there.
    pub fn has(&self, feature: Feature) -> bool {
        let found = self.features.iter().find(|finding| finding.feature == feature);
        found.is_some_and(|finding| finding.state == TrialResult::Works)
    }
}

/// Tries all features.
pub fn try_all(settings: &RunnerSettings, system: System) -> FeatureReport {
    let mut features = Vec::new();
    let run = settings.home.start_run();
    let tier = if let Ok(run) = &run {
        let tried = tiers::try_tiers(settings, run, &system);
        features.extend(tried.findings);
        features.push(tiers::try_cgroups(&system));
        features.push(match tried.machine.as_ref() {
            Some(machine) => programs::try_network(settings, run, machine, &system),
            None => FeatureFinding::untried(Feature::Network, Feature::UserNamespaces),
        });
        tried.machine.map(|machine| machine.tier())
    } else {
        let needy = |feature: &Feature| {
            !matches!(feature, Feature::Git | Feature::GitLfs | Feature::Home | Feature::Scratch)
        };
        let untried = Feature::ALL.into_iter().filter(needy);
        features.extend(untried.map(|feature| FeatureFinding::untried(feature, Feature::Scratch)));
        None
    };
    features.extend(programs::try_git(&settings.isolation.search_path, &system));
    features.extend(folders::try_folders(&settings.home, run.as_ref()));
    features.sort_by_key(|finding| finding.feature);
    FeatureReport { system, tier, features }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_has_one_name() {
        for feature in Feature::ALL {
            assert_eq!(feature.as_str().parse(), Ok(feature));
            let json = serde_json::to_value(feature).unwrap();
            assert_eq!(json, feature.as_str());
        }
        let error = "overlays".parse::<Feature>().unwrap_err();
        assert_eq!(error.to_string(), "\"overlays\" is not a feature");
    }
}
