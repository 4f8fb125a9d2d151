//! Planned builds with estimates, for observers.

use std::collections::BTreeMap;

use super::Project;
use crate::base::event::{Planned, PlannedPackage};
use crate::build::estimate::estimate;
use crate::build::execute::Pace;
use crate::build::plan::{Action, BuildPlan, PlanEntry, Why};
use crate::tree::PackageKey;

impl Project {
    /// Describes the remaining entries, with their `indices`.
    pub(super) fn planned(
        &self,
        plan: &BuildPlan,
        indices: &BTreeMap<&PackageKey, usize>,
        pace: &Pace,
    ) -> Planned {
        let describe = |entry: &PlanEntry| {
            let last = match &entry.action {
                Action::Build(Why::Changed { from, .. }) => Some(from),
                Action::Build(Why::ArchiveMissing) => Some(&entry.id),
                Action::Build(Why::NeverBuilt) | Action::Cached => None,
            };
            // Indirect needs are reached through the direct ones.
            let requires = self.tree.requires(&entry.key);
            PlannedPackage {
                id: entry.id.to_string(),
                needs: requires.iter().filter_map(|key| indices.get(key).copied()).collect(),
                expected: estimate(&self.options.runner.home, &entry.key.name, last),
            }
        };
        Planned {
            cached: plan.entries.len() - indices.len(),
            jobs: pace.jobs,
            keeps_going: pace.keep_going,
            packages: plan.to_build().map(describe).collect(),
        }
    }
}
