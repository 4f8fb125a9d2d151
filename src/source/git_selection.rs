//! Remote git repositories with a selected commit and folder, in the syntax of `ADD` and build
//! contexts.
//!
//! ```text
//! https://host/path.git#REFERENCE:FOLDER
//! https://host/path.git?branch=NAME&subdir=FOLDER     also tag, ref, commit or checksum, keep-git-dir, submodules
//! git://host/path   ssh://user@host/path   user@host:path
//! ```

use serde::{Deserialize, Serialize};

use crate::base::http::redact;
use crate::package::CommitId;

/// Schemes that always mean a repository, independent of the path.
const GIT_SCHEMES: [&str; 2] = ["git://", "ssh://"];
/// Schemes of any web address.
const WEB_SCHEMES: [&str; 2] = ["http://", "https://"];

/// Repository with a selected commit and folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSelection {
    /// From where: without a fragment or a query.
    pub url: String,
    /// The branch, tag, other ref or commit.
    pub reference: Option<String>,
    /// Folder in the repository, relative and without `..`.
    pub subfolder: Option<String>,
    /// True if `.git` stays.
    pub keep_git: bool,
    /// True if its submodules are checked out, too.
    pub submodules: bool,
    /// True if files have the commit's time, not that of the check-out.
    pub commit_time: bool,
    /// Required beginning of the commit's digits.
    pub checksum: Option<String>,
}

/// A text that means a git repository, but can't.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitSelectionError {
    /// The URL could be taken for an option, or has control characters.
    #[error("{0:?} can't be the URL of a git repository")]
    Url(String),
    /// The reference could be taken for an option or for several.
    #[error("{0:?} can't be a branch, tag or commit")]
    Reference(String),
    /// The checksum is not valid.
    #[error("{0:?} is not a commit: 7 to 64 hex digits are expected")]
    Checksum(String),
    /// Something is said twice, and differently.
    #[error("the {what} is given twice: {one:?} and {other:?}")]
    Twice {
        /// Name for people.
        what: &'static str,
        /// First way of giving the value.
        one: String,
        /// Second way.
        other: String,
    },
    /// A part of the query is unknown.
    #[error(
        "{0:?} is not an option of a git repository's URL: the options are ref, branch, tag, commit, checksum, subdir, keep-git-dir, submodules, mtime and fetch-by-commit"
    )]
    Query(String),
    /// A part of the query has an invalid value.
    #[error("{key}={value:?} in the URL of a git repository should be {expected}")]
    Value {
        /// Name of the parameter.
        key: String,
        /// Value of the parameter.
        value: String,
        /// Valid values.
        expected: &'static str,
    },
}

/// True if repositories may be fetched from a URL, independent of the end of its path: neither
/// local files nor commands.
pub(super) fn is_fetchable(url: &str) -> bool {
    let schemes = GIT_SCHEMES.iter().chain(&WEB_SCHEMES);
    let rest = schemes.clone().find_map(|scheme| url.strip_prefix(scheme));
    let is_known = match rest {
        Some(rest) => {
            let authority = rest.split('/').next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            !host.is_empty() && ![authority, host].iter().any(|part| part.starts_with('-'))
        }
        None => is_address(url) && !url.starts_with('-') && !url.contains("@-"),
    };
    is_known && !url.chars().any(char::is_control)
}

/// True for ssh's form `user@host:path`.
fn is_address(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, path)| {
        host.contains('@') && !host.contains('/') && !path.starts_with("//")
    })
}

impl GitSelection {
    /// Parses a text; `None` if the text does not mean a git repository.
    pub fn parse(text: &str) -> Option<Result<Self, GitSelectionError>> {
        let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (url, query) = whole.split_once('?').unwrap_or((whole, ""));
        let is_web = WEB_SCHEMES.iter().any(|scheme| url.starts_with(scheme));
        let ends_as_git = url.trim_end_matches('/').strip_suffix(".git").is_some();
        let is_git = GIT_SCHEMES.iter().any(|scheme| url.starts_with(scheme))
            || is_address(url)
            || is_web && ends_as_git;
        is_git.then(|| Self::read(url, query, fragment))
    }

    fn read(url: &str, query: &str, fragment: &str) -> Result<Self, GitSelectionError> {
        if !is_fetchable(url) {
            return Err(GitSelectionError::Url(redact(url)));
        }
        let (reference, subfolder) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut selection = Self {
            url: url.to_owned(),
            reference: given(reference),
            subfolder: given(&below(subfolder)),
            keep_git: false,
            submodules: true,
            commit_time: false,
            checksum: None,
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            selection.add(&key, &value)?;
        }
        if selection.reference.is_none()
            && selection.checksum.as_ref().is_some_and(|sum| sum.parse::<CommitId>().is_ok())
        {
            selection.reference.clone_from(&selection.checksum);
        }
        selection.checked()
    }

    fn add(&mut self, key: &str, value: &str) -> Result<(), GitSelectionError> {
        let full = |kind: &str| match value.strip_prefix("refs/") {
            Some(_) => value.to_owned(),
            None => format!("refs/{kind}/{value}"),
        };
        match key {
            "ref" => set(&mut self.reference, "reference", value),
            "branch" => set(&mut self.reference, "reference", &full("heads")),
            "tag" => set(&mut self.reference, "reference", &full("tags")),
            "subdir" => set(&mut self.subfolder, "folder", &below(value)),
            "commit" | "checksum" => set(&mut self.checksum, "commit", value),
            "keep-git-dir" => switch(key, value).map(|keep| self.keep_git |= keep),
            "submodules" => switch(key, value).map(|wanted| self.submodules = wanted),
            // The way of fetching does not change the content.
            "fetch-by-commit" => switch(key, value).map(drop),
            "mtime" => {
                self.commit_time = match value {
                    "commit" => true,
                    "checkout" => false,
                    _ => return Err(wrong(key, value, "commit or checkout")),
                };
                Ok(())
            }
            _ => Err(GitSelectionError::Query(key.to_owned())),
        }
    }

    /// Adds a required commit.
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, GitSelectionError> {
        set(&mut self.checksum, "commit", checksum)?;
        self.checked()
    }

    fn checked(self) -> Result<Self, GitSelectionError> {
        let is_odd = |text: &&String| {
            // git would take it for an option.
            text.starts_with('-')
                || text.contains(':')
                // git refuses such a ref (git-check-ref-format(1)), and as a range it would mean
                // others.
                || text.contains("..")
                || text.chars().any(|letter| letter.is_control() || letter.is_whitespace())
        };
        if let Some(reference) = self.reference.as_ref().filter(is_odd) {
            return Err(GitSelectionError::Reference(reference.clone()));
        }
        let is_sum = |sum: &String| {
            (7..=64).contains(&sum.len()) && sum.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match self.checksum.as_ref().filter(|sum| !is_sum(sum)) {
            Some(sum) => Err(GitSelectionError::Checksum(sum.clone())),
            None => Ok(self),
        }
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn set(
    field: &mut Option<String>,
    what: &'static str,
    value: &str,
) -> Result<(), GitSelectionError> {
    match field {
        Some(known) if known != value => {
            Err(GitSelectionError::Twice { what, one: known.clone(), other: value.to_owned() })
        }
        _ => {
            *field = given(value);
            Ok(())
        }
    }
}

fn wrong(key: &str, value: &str, expected: &'static str) -> GitSelectionError {
    GitSelectionError::Value { key: key.to_owned(), value: value.to_owned(), expected }
}

fn switch(key: &str, value: &str) -> Result<bool, GitSelectionError> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(wrong(key, value, "true or false")),
    }
}

/// A path below a root: relative, without anything that leads out.
fn below(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_selections_are_told_from_files() {
        let git = |url: &str, reference: &str, folder: &str, keep: bool| {
            Some((url.to_owned(), reference.to_owned(), folder.to_owned(), keep))
        };
        let commit = "0123456789012345678901234567890123456789";
        for (text, result) in [
            ("https://h/a.git", git("https://h/a.git", "", "", false)),
            ("https://h/a.git#v1:x/y", git("https://h/a.git", "v1", "x/y", false)),
            ("https://h/a.git#:../x", git("https://h/a.git", "", "x", false)),
            ("git@h:a/b.git#main", git("git@h:a/b.git", "main", "", false)),
            ("ssh://git@h/a", git("ssh://git@h/a", "", "", false)),
            ("git://h/a", git("git://h/a", "", "", false)),
            (
                "https://h/a.git?tag=v1&subdir=d&keep-git-dir=true",
                git("https://h/a.git", "refs/tags/v1", "d", true),
            ),
            (
                "https://h/a.git?branch=a%2Fb&keep-git-dir",
                git("https://h/a.git", "refs/heads/a/b", "", true),
            ),
            (
                &format!("https://h/a.git?commit={commit}"),
                git("https://h/a.git", commit, "", false),
            ),
            ("https://h/a.git?commit=0123456", git("https://h/a.git", "", "", false)),
            ("https://h/a.tar.gz", None),
            ("a.git", None),
            ("dir/x@y:z", None),
        ] {
            let read = GitSelection::parse(text).map(|read| {
                let GitSelection { url, reference, subfolder, keep_git, .. } = read.unwrap();
                (url, reference.unwrap_or_default(), subfolder.unwrap_or_default(), keep_git)
            });
            assert_eq!(read, result, "{text}");
        }
        let text = "https://h/a.git?submodules=false&mtime=commit&fetch-by-commit=true";
        let selection = GitSelection::parse(text).unwrap().unwrap();
        assert!(!selection.submodules && selection.commit_time);
    }

    #[test]
    fn places_that_can_be_none_are_refused() {
        for text in [
            "https://h/a.git?ref=a&tag=b",
            "https://h/a.git?x=y",
            "https://h/a.git?submodules=maybe",
            "https://h/a.git?mtime=now",
            "https://h/a.git?checksum=xyz",
            "https://h/a.git#-x",
            "https://h/a.git?ref=a:b",
            "https://-h/a.git",
            "ssh://-oProxyCommand=x/a",
            "-u@h:a",
            "u@-h:a",
            "https:///a.git",
            "https://h/\na.git",
        ] {
            assert!(GitSelection::parse(text).unwrap().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_lies_on_a_network_is_fetched() {
        for url in ["http://h/x", "ssh://u@h/x", "u@h:x", "git://h:1/x"] {
            assert!(is_fetchable(url), "{url}");
        }
        for url in ["file:///x", "/x", "./x", "x", "ext::sh -c x", "h:x", "u@h://x", "-x@h:y"] {
            assert!(!is_fetchable(url), "{url}");
        }
    }
}
