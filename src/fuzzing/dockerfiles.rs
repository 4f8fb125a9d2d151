//! Dockerfiles and the patterns of `.dockerignore`: no accepted path leads out of an image or a context,
//! and an image configuration is the same after writing and reading.

use std::path::Path;

use crate::dockerfile::evaluate::{ConfigDocument, check};
use crate::dockerfile::ignore::Patterns;
use crate::dockerfile::model::{Dockerfile, Instruction};
use crate::dockerfile::options::DockerfileSurroundings;
use crate::dockerfile::step::{CopySource, LayerStep, RunMount};
use crate::package::Problem;

/// Target of a whole Dockerfile.
pub(super) fn dockerfile(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let around = DockerfileSurroundings::default();
    let read = match Dockerfile::parse(text) {
        Ok(read) => read,
        Err(problem) => return shown(problem, text),
    };
    for stage in &read.stages {
        for statement in &stage.statements {
            assert!(statement.position.line > 0 && statement.position.line <= text.lines().count());
            if let Instruction::Onbuild(trigger) = &statement.instruction {
                assert!(!trigger.text.is_empty());
            }
        }
    }
    match check(text, &around, &mut stays_inside) {
        Err(problem) => shown(problem, text),
        Ok(stages) => {
            for stage in stages {
                let bytes = stage.document.to_bytes().expect("a configuration is JSON");
                let again = ConfigDocument::parse(&bytes).expect("what was written is read");
                assert_eq!(again, stage.document);
            }
            true
        }
    }
}

/// Checks that no step leads out of the image or out of its origins.
fn stays_inside(step: &LayerStep) {
    match step {
        LayerStep::Folder(step) => normal(&step.path),
        LayerStep::Copy(step) => {
            normal(step.destination.trim_end_matches('/'));
            for source in &step.sources {
                match source {
                    CopySource::Path(path) => below(path),
                    CopySource::Git(git) => below(git.subfolder.as_deref().unwrap_or("")),
                    CopySource::Document(document) => below(&document.name),
                    CopySource::Url { .. } => {}
                }
            }
        }
        LayerStep::Run(step) => {
            normal(&step.workdir);
            assert!(!step.command.is_empty());
            assert!(!step.documents.iter().any(|document| document.name.contains('/')));
            for mount in &step.mounts {
                match mount {
                    RunMount::Bind { target, source, .. } => {
                        normal(target);
                        below(source);
                    }
                    RunMount::Cache { target, .. } | RunMount::Tmpfs { target, .. } => {
                        normal(target);
                    }
                    RunMount::Secret { target, .. } | RunMount::Ssh { target, .. } => {
                        normal(target.as_deref().unwrap_or("/"));
                    }
                }
            }
        }
    }
}

/// Checks that a path is absolute and has no part `.` or `..`.
fn normal(path: &str) {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    assert!(
        matches!(path, "" | "/")
            || path.strip_prefix('/').is_some_and(|path| path.split('/').all(plain)),
        "{path:?}"
    );
}

/// Checks that a path is relative and has no part `..`.
fn below(path: &str) {
    assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path:?}");
}

/// Checks that the report of a problem has no control characters; returns false, as the input was refused.
fn shown(problem: Problem, text: &str) -> bool {
    let report = problem.in_file(Path::new("Dockerfile"), text).to_string();
    assert!(!report.contains(|letter: char| letter.is_control() && letter != '\n'), "{report:?}");
    false
}

/// Target of `.dockerignore`: the first line of the input is a path, the others are patterns.
pub(super) fn dockerignore(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (path, text) = text.split_once('\n').unwrap_or(("a/b", text));
    let patterns = match Patterns::parse(text) {
        Ok(patterns) => patterns,
        Err(problem) => return shown(problem, text),
    };
    // With a lookup per folder, deep paths take the square of a walk's time.
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).take(24).collect();
    let out = patterns.leaves_out(&parts.join("/"));
    for count in 1..parts.len() {
        let folder = parts[..count].join("/");
        if patterns.leaves_out(&folder) && !out {
            assert!(patterns.may_keep_below(&folder), "{folder:?} of {path:?} is not entered");
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_of_dockerfiles_in_any_order_lead_nowhere(
            text in "(\n?(FROM|ARG|ENV|RUN|COPY|ADD|ONBUILD|WORKDIR|LABEL|EXPOSE|CMD|USER) | ?(AS b|x|\\.\\./y|/z/|a=b|<<A|<<-'B'|--from=b|--mount=type=cache,target=|\\$x|\\$\\{x:-\\.\\.\\}|\\[\"a\"\\]|https://h/r\\.git#v:\\.\\./s)|\nA\n|\n\tB\n|\\\\\n|'|\"){1,12}",
        ) {
            dockerfile(format!("ARG x=1\nFROM a\n{text}").as_bytes());
        }

        #[test]
        fn patterns_and_paths_agree(
            path in "[ab.]{1,2}(/[ab.]{1,2}){0,3}",
            patterns in "(\n?!?(a|b|\\*|\\*\\*|/|\\?|\\[a-b\\]|\\[\\^a\\]|\\\\|\\.)){1,10}",
        ) {
            dockerignore(format!("{path}\n{patterns}").as_bytes());
        }
    }
}
