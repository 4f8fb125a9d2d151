//! COPY and ADD.

use std::fmt::Write as _;

use super::{Applied, StageState, paths};
use crate::base::http::redact_text;
use crate::dockerfile::chmod::Chmod;
use crate::dockerfile::expand::{Expander, expand};
use crate::dockerfile::model::{CopyInstruction, HereDocument, Position, TransferSource};
use crate::dockerfile::step::{CopyOrigin, CopySource, CopyStep, LayerStep, StepDocument, Unpack};
use crate::package::Problem;
use crate::source::GitSelection;

/// End of the part of a source that `--parents` leaves out.
const PIVOT: &str = "/./";

impl StageState {
    pub(super) fn transfer(
        &mut self,
        transfer: &CopyInstruction,
        position: &Position,
        add: bool,
    ) -> Result<Applied, Problem> {
        let from = match transfer.from.as_deref() {
            Some(from) => self.scope.origin(from, self.number, position)?,
            None => CopyOrigin::Context,
        };
        let written = self.expanded(&transfer.destination, position)?;
        let destination = paths::joined_place(&self.workdir(), &written);
        let checksum = self.optional_text(transfer.checksum.as_ref(), position)?;
        let mut sources = Vec::with_capacity(transfer.sources.len());
        let mut shown = String::from(if add { "ADD" } else { "COPY" });
        for source in &transfer.sources {
            let source = match source {
                TransferSource::Document(document) => {
                    CopySource::Document(self.document_source(document, position)?)
                }
                TransferSource::Location(text) => {
                    let text = self.expanded(text, position)?;
                    _ = write!(shown, " {text}");
                    location_source(&text, transfer, checksum.as_ref(), add, position)?
                }
            };
            if let CopySource::Document(document) = &source {
                _ = write!(shown, " <<{}", document.name);
            }
            sources.push(source);
        }
        if checksum.is_some() && !matches!(&*sources, [CopySource::Url { .. } | CopySource::Git(_)])
        {
            return Err(position.problem("--checksum is for one URL or one git repository"));
        }
        _ = write!(shown, " {written}");
        let mut exclude = Vec::new();
        for pattern in &transfer.exclude {
            exclude.push(self.expanded(pattern, position)?);
        }
        let step = CopyStep {
            from,
            sources,
            destination,
            chown: self.optional_text(transfer.chown.as_ref(), position)?,
            chmod: self.chmod(transfer, position)?,
            link: transfer.link,
            parents: transfer.parents,
            exclude,
            unpack: match transfer.unpack {
                _ if !add => Unpack::Nothing,
                None => Unpack::Local,
                Some(true) => Unpack::All,
                Some(false) => Unpack::Nothing,
            },
        };
        // The history goes with the image to whoever pulls it, and a URL may have a password.
        Ok(Applied { step: Some(LayerStep::Copy(step)), created_by: redact_text(&shown) })
    }

    fn chmod(
        &self,
        transfer: &CopyInstruction,
        position: &Position,
    ) -> Result<Option<Chmod>, Problem> {
        let Some(text) = self.optional_text(transfer.chmod.as_ref(), position)? else {
            return Ok(None);
        };
        let mode = Chmod::parse(&text).ok_or_else(|| {
            position
                .problem(format!("{text:?} is not a mode"))
                .hint("--chmod has 755 or 0755, or changes such as u=rwX,go=rX")
        })?;
        Ok(Some(mode))
    }

    fn document_source(
        &self,
        document: &HereDocument,
        position: &Position,
    ) -> Result<StepDocument, Problem> {
        let name = document.name.clone();
        let bad = |part: &str| matches!(part, "" | "." | "..");
        if name.split('/').any(bad) || name.contains('\0') {
            return Err(
                position.problem(format!("the here-document {name:?} can't be a file's name"))
            );
        }
        let text = document.text();
        let content = if document.expand {
            let lookup = |name: &str| self.lookup(name);
            expand(&text, &Expander::of_document(&lookup)).map_err(|error| {
                position.problem(format!("in the here-document {name}: {error}"))
            })?
        } else {
            text
        };
        Ok(StepDocument { name, content })
    }

    fn optional_text(
        &self,
        text: Option<&String>,
        position: &Position,
    ) -> Result<Option<String>, Problem> {
        let text = text.map(|text| self.expanded(text, position)).transpose()?;
        Ok(text.filter(|text| !text.is_empty()))
    }
}

fn location_source(
    text: &str,
    transfer: &CopyInstruction,
    checksum: Option<&String>,
    add: bool,
    position: &Position,
) -> Result<CopySource, Problem> {
    if text.contains('\0') {
        return Err(position.problem("a source has a NUL byte inside"));
    }
    if add && transfer.from.is_none() {
        if let Some(git) = git_source(text, transfer.keep_git, checksum, position) {
            return git;
        }
        if is_url(text) {
            if let Some(sum) = checksum
                && sum.parse::<crate::image::digest::BlobDigest>().is_err()
            {
                let message = format!("the checksum {sum:?} is not sha256: and 64 hex digits");
                return Err(position.problem(message));
            }
            return Ok(CopySource::Url { url: text.to_owned(), checksum: checksum.cloned() });
        }
    } else if is_url(text) && transfer.from.is_none() {
        return Err(position
            .problem(format!("COPY can't download {text}"))
            .hint("ADD does; it takes --checksum=sha256:… too"));
    }
    Ok(CopySource::Path(path_source(text, transfer.parents)))
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Path below its root; with `--parents`, the part before the pivot stays separate.
fn path_source(text: &str, parents: bool) -> String {
    match text.split_once(PIVOT).filter(|_| parents) {
        Some((before, after)) => format!("{}{PIVOT}{}", paths::below(before), paths::below(after)),
        None => paths::below(text),
    }
}

/// Parses a source as a git repository; `None` for other sources.
fn git_source(
    text: &str,
    keep_git: bool,
    checksum: Option<&String>,
    position: &Position,
) -> Option<Result<CopySource, Problem>> {
    let read = GitSelection::parse(text)?.and_then(|git| match checksum {
        Some(sum) => git.with_checksum(sum),
        None => Ok(git),
    });
    Some(match read {
        Ok(git) => Ok(CopySource::Git(GitSelection { keep_git: git.keep_git || keep_git, ..git })),
        Err(error) => Err(position.problem(error.to_string())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_stay_below_the_root() {
        assert_eq!(path_source("../a/./b/", false), "a/b");
        assert_eq!(path_source("/", false), "");
        assert_eq!(path_source("../a/./b/c", true), "a/./b/c");
        assert_eq!(path_source("./x/y", true), "x/y");
    }
}
