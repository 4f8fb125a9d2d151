//! Commands and names of jobs, and the first line of pipelines.

use std::path::{Component, Path};

use super::jobs::{Pipeline, PipelineJob};
use super::template::Template;
use crate::base::escape::shell_argument;
use crate::tree::PackageKey;

/// Folder for the logs of builds, at the top of a job's checkout.
pub(super) const LOGS: &str = "mkpanda-logs";

/// Command of a job without packages.
pub(super) const NOTHING: &str = "echo 'Nothing is to be built: stores have all packages.'";

/// Name of that job, and of the one that makes bootstraps.
pub(super) const NO_JOB: &str = "nothing to build";
pub(super) const BOOTSTRAPS: &str = "bootstraps";

/// Length of a job's name at which it is cut off, in bytes: engines have limits from 255 on.
const LONGEST_NAME: usize = 200;

/// What the jobs of a pipeline have in common.
#[derive(Debug, Default)]
pub struct JobSettings {
    /// The packages folder, relative to the top of a checkout; empty for the top itself.
    pub tree: String,
    /// Options of mkpanda for each job, as words.
    pub options: Vec<String>,
    /// Options of jobs that build, as words.
    pub build_options: Vec<String>,
    /// Tags of the runners.
    pub tags: Vec<String>,
    /// The user's own keys of each job.
    pub template: Template,
    /// Tree variants as they were typed; none for all of them.
    pub variants: Vec<String>,
    /// True if a last job makes the bootstraps.
    pub bootstraps: bool,
}

/// A folder's path relative to one above it, as text; `None` for other folders, and for paths that are not UTF-8.
pub fn folder_below(folder: &Path, top: &Path) -> Option<String> {
    let below = folder.strip_prefix(top).ok()?;
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    below.to_str().filter(|_| is_plain).map(str::to_owned)
}

impl JobSettings {
    /// Command that builds packages; they are quoted for the shell already.
    pub(super) fn command(&self, packages: &str) -> String {
        // Options count from the tree's folder (`-C`), and engines look for artifacts in the
        // checkout.
        let depth = Path::new(&self.tree).components().count();
        let logs = ["../".repeat(depth).as_str(), LOGS].concat();
        let more: String = self.build_options.iter().map(|option| word_after(option)).collect();
        let options = self.option_words();
        format!("{} pipeline build --logs {logs}{options}{more} {packages}", self.program())
    }

    /// Command that makes bootstraps.
    pub(super) fn bootstrap_command(&self) -> String {
        let (options, variants) = (self.option_words(), self.variant_words());
        format!("{} tree --mkbootstrap{options}{variants}", self.program())
    }

    /// Command that plans so many waves, for the outputs of a job of GitHub.
    pub(super) fn plan_command(&self, waves: usize) -> String {
        let (options, variants) = (self.option_words(), self.variant_words());
        format!("{} pipeline github --waves {waves}{options}{variants}", self.program())
    }

    fn variant_words(&self) -> String {
        self.variants.iter().map(|name| word_after(name)).collect()
    }

    fn program(&self) -> String {
        if self.tree.is_empty() {
            return "mkpanda".to_owned();
        }
        // A path that begins with a dash would be an option.
        let tree =
            if self.tree.starts_with('-') { format!("./{}", self.tree) } else { self.tree.clone() };
        format!("mkpanda -C {}", shell_argument(&tree))
    }

    fn option_words(&self) -> String {
        self.options.iter().map(|option| word_after(option)).collect()
    }
}

fn word_after(word: &str) -> String {
    format!(" {}", shell_argument(word))
}

/// The packages of a job as words of a shell: each with its variant, as a name alone is all variants of a package.
pub(super) fn package_words(packages: &[PackageKey]) -> String {
    let words = packages.iter().map(|key| shell_argument(&typed(key)));
    words.collect::<Vec<_>>().join(" ")
}

fn typed(key: &PackageKey) -> String {
    // The default variant by its name, too: the name alone would be all variants.
    format!("{}:{}", key.name, key.variant.name().unwrap_or("default"))
}

/// Name of a job for people: its package or, of several ones, its level with a number.
pub(super) fn job_name(job: &PipelineJob, number: usize) -> String {
    match job.packages.as_slice() {
        [key] => {
            let mut name = format!("build {}", key.typed());
            if name.len() > LONGEST_NAME {
                // `truncate` panics inside of a character.
                let end = (0..=LONGEST_NAME).rev().find(|end| name.is_char_boundary(*end));
                name.truncate(end.unwrap_or_default());
                // Two names may have the same beginning, and names of jobs have to differ.
                return format!("{name} part {number}");
            }
            name
        }
        packages => format!("build {} packages part {number}", packages.len()),
    }
}

/// First lines of a pipeline, for its readers.
pub(super) fn heading(command: &str, pipeline: &Pipeline) -> String {
    let number = |count: usize, noun: &str| {
        let ending = if count == 1 { "" } else { "s" };
        format!("{count} {noun}{ending}")
    };
    format!(
        "# Made by `mkpanda pipeline {command}`: {} in {} of {}.\n",
        number(pipeline.packages(), "package"),
        number(pipeline.jobs.len(), "job"),
        number(pipeline.levels().len(), "level"),
    )
}
