//! Sources as declared (docs/format.md, "Sources"); the layer `source` fetches them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::Problem;
use super::json::{JsonKind, JsonNode, Object};
use crate::base::digest::{ParseDigestError, Sha1Sum, Sha256Sum};
use crate::base::http::redact;
use crate::base::text::written_as_text;

/// A git commit: 40 lower-case hex digits, not all zero.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(Sha1Sum);

/// Text that is not a commit id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a commit: expected 40 lower-case hex digits, not all zero")]
pub struct CommitIdError(String);

impl CommitId {
    /// The hex digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for CommitId {
    type Err = CommitIdError;

    fn from_str(text: &str) -> Result<Self, CommitIdError> {
        match text.parse::<Sha1Sum>() {
            // Git writes the zero id for "no object".
            Ok(sum) if text.bytes().any(|byte| byte != b'0') => Ok(Self(sum)),
            _ => Err(CommitIdError(text.to_owned())),
        }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

written_as_text!(CommitId);

/// Name of a source: the folder below `/pkg/src`, so a plain path component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

impl SourceName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceName {
    type Err = super::NameError;

    fn from_str(text: &str) -> Result<Self, super::NameError> {
        // 255 bytes are the limit of most filesystems for a name (NAME_MAX).
        let bad = text.is_empty()
            || text == "."
            || text == ".."
            || text.len() > 255
            || text.contains('/')
            || text.chars().any(char::is_control);
        // The package's own files lie beside its sources' folders in the cache.
        let taken = text.ends_with(".tar.xz")
            || text == "latest"
            || text.ends_with(".latest")
            || text.starts_with(".tmp-")
            || text == "buildinfo.full.json";
        let rule = if bad {
            "it becomes a folder, so it may not be empty, . or .., or have / or control characters"
        } else if taken {
            "a file of the builder's own has that name"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(super::NameError { kind: "source name", text: text.to_owned(), rule })
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(SourceName);

/// Source as written, and its parsed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSource {
    /// The object as written.
    pub as_written: Map<String, Value>,
    /// Declaration.
    pub spec: SourceSpec,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A commit of a repository elsewhere.
    Git {
        /// The repository's URL, as any git client takes it.
        url: String,
        /// The commit.
        commit: CommitId,
        /// The branch, tag or other name that is said to lead to the commit.
        ref_origin: String,
    },
    /// HEAD of a repository on this machine.
    GitLocal {
        /// Path of the repository, relative to the package's folder.
        rel_path: String,
    },
    /// A file.
    Url(FileSource),
    /// An archive, of which the build sees the contents.
    UrlExtract(FileSource),
}

/// A file that is fetched and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// `http://`, `https://`, `file:///absolute`, or `file://relative` to the package's folder.
    pub url: String,
    /// SHA-1, part of the package's id.
    pub sha1: Sha1Sum,
    /// SHA-256, checked if given, not part of the id.
    pub sha256: Option<Sha256Sum>,
    /// File name, if different from the end of the URL.
    pub filename: Option<String>,
}

/// A URL from which no file can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("{0:?} has no scheme: a URL begins with http://, https:// or file://")]
    NoScheme(String),
    /// The scheme is not supported.
    #[error("{0:?}: files are fetched by http, https and file only")]
    Scheme(String),
    /// The end of the URL is not a file name.
    #[error("{0:?} doesn't end in a file's name")]
    NoFileName(String),
}

impl FileSource {
    /// The name under which the file is cached and appears in the build: as declared, or the URL's last
    /// part with query and fragment, percent escapes as they are.
    pub fn file_name(&self) -> &str {
        self.filename.as_deref().or_else(|| file_name(&self.url)).unwrap_or_default()
    }

    /// Name without query and fragment, which determines the kind of archive.
    pub fn archive_name(&self) -> &str {
        match &self.filename {
            Some(name) => name,
            None if path_of_file_url(&self.url).is_some() => self.file_name(),
            None => file_name(without_query(&self.url)).unwrap_or_default(),
        }
    }

    /// True if the name has the query of the URL, which may be a secret.
    pub fn is_named_by_query(&self) -> bool {
        let is_file = path_of_file_url(&self.url).is_some();
        self.filename.is_none()
            && !is_file
            && self.url.split('#').next().is_some_and(|it| it.contains('?'))
    }
}

/// Returns the path of a URL that begins with `file://`; schemes have no case (RFC 3986, 3.1).
pub fn path_of_file_url(url: &str) -> Option<&str> {
    let (scheme, path) = url.split_once("://")?;
    scheme.eq_ignore_ascii_case("file").then_some(path)
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn file_name(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    // A `file://` URL has no host here: all of the rest is the path.
    let path = if scheme.eq_ignore_ascii_case("file") { rest } else { rest.split_once('/')?.1 };
    path.rsplit('/').next().filter(|name| is_file_name(name))
}

fn is_file_name(name: &str) -> bool {
    let is_one = !name.is_empty() && name != "." && name != ".." && name.len() <= LONGEST_NAME;
    is_one && !name.contains('/') && !name.chars().any(char::is_control)
}

/// Upper limit of a file name's length, with room for the suffix of a file with a wrong digest.
const LONGEST_NAME: usize = 255 - ".corrupt".len();

fn check_url(text: &str) -> Result<String, UrlError> {
    let url = text.trim().to_owned();
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(UrlError::NoScheme(redact(&url)));
    };
    if !["http", "https", "file"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(UrlError::Scheme(redact(&url)));
    }
    Ok(url)
}

impl PackageSource {
    /// The object as it may be shown to everybody: without user names, passwords and the values of
    /// queries in its URLs.
    pub fn shown(&self) -> Map<String, Value> {
        let mut shown = self.as_written.clone();
        for key in ["git", "url"] {
            if let Some(Value::String(url)) = shown.get_mut(key) {
                *url = redact(url);
            }
        }
        shown
    }

    /// Parses a source.
    pub fn from_json(node: &JsonNode) -> Result<Self, Problem> {
        let object = node.object("a source")?;
        let kind_node = object.get("kind").ok_or_else(|| {
            Problem::at(node.offset, "the source has no kind")
                .hint("add \"kind\": one of git, git_local, url, url_extract")
        })?;
        let spec = match kind_node.string("the kind of a source")? {
            "git" => git(node, object)?,
            "git_local" => git_local(node, object)?,
            "url" => SourceSpec::Url(file(node, object, "url")?),
            "url_extract" => SourceSpec::UrlExtract(file(node, object, "url_extract")?),
            other => {
                return Err(Problem::at(
                    kind_node.offset,
                    format!("there is no kind of source called {other:?}"),
                )
                .hint("the kinds are git, git_local, url and url_extract"));
            }
        };
        Ok(Self { as_written: object.to_map(), spec })
    }
}

fn git(node: &JsonNode, object: &Object) -> Result<SourceSpec, Problem> {
    only(object, "git", &["kind", "git", "url", "ref", "ref_origin"])?;
    let url = match (object.get("git"), object.get("url")) {
        (Some(url), None) | (None, Some(url)) => url,
        (None, None) => return Err(missing(node, "git", "git", "the repository's URL")),
        (Some(_), Some(url)) => {
            return Err(Problem::at(
                url.offset,
                "a git source has its URL under git or under url, not under both",
            ));
        }
    };
    let url_text = url.string("the URL of a git source")?.trim();
    // An argument with a leading `-` would be an option for git.
    if url_text.is_empty() || url_text.starts_with('-') {
        return Err(Problem::at(
            url.offset,
            format!("{url_text:?} is not a URL of a git repository"),
        ));
    }
    let commit =
        object.get("ref").ok_or_else(|| missing(node, "git", "ref", "the commit to build"))?;
    let origin = object.get("ref_origin").ok_or_else(|| {
        missing(node, "git", "ref_origin", "the branch on which the commit lives")
    })?;
    let ref_origin = origin.string("ref_origin")?;
    if ref_origin.is_empty() || ref_origin.starts_with('-') {
        return Err(Problem::at(
            origin.offset,
            format!("{ref_origin:?} is not the name of a branch or tag"),
        ));
    }
    Ok(SourceSpec::Git {
        url: url_text.to_owned(),
        commit: commit.string("ref")?.parse().map_err(|error: CommitIdError| {
            Problem::at(commit.offset, format!("ref: {error}"))
                .hint("ref is the full id of the commit; its branch goes into ref_origin")
        })?,
        ref_origin: ref_origin.to_owned(),
    })
}

fn git_local(node: &JsonNode, object: &Object) -> Result<SourceSpec, Problem> {
    only(object, "git_local", &["kind", "rel_path"])?;
    let path = object
        .get("rel_path")
        .ok_or_else(|| missing(node, "git_local", "rel_path", "the repository's path"))?;
    let rel_path = path.string("rel_path")?;
    if rel_path.is_empty() || rel_path.starts_with('/') || rel_path.contains('\0') {
        return Err(Problem::at(path.offset, format!("rel_path {rel_path:?} is not relative"))
            .hint("give the path relative to the package's folder"));
    }
    Ok(SourceSpec::GitLocal { rel_path: rel_path.to_owned() })
}

fn file(node: &JsonNode, object: &Object, kind: &str) -> Result<FileSource, Problem> {
    only(object, kind, &["kind", "url", "sha1", "sha256", "filename"])?;
    let url =
        object.get("url").ok_or_else(|| missing(node, kind, "url", "where to get the file"))?;
    let sha1 = object
        .get("sha1")
        .ok_or_else(|| missing(node, kind, "sha1", "the file's sum, as sha1sum prints it"))?;
    let problem = |node: &JsonNode, key: &str, error: ParseDigestError| {
        let problem = Problem::at(node.offset, format!("{key}: {error}"));
        let hint = match &node.kind {
            JsonKind::String(text) => hint_of_sum(key, text),
            _ => None,
        };
        Problem { hint, ..problem }
    };
    let sha256 = match object.get("sha256") {
        None => None,
        Some(sum) => {
            Some(sum.string("sha256")?.parse().map_err(|error| problem(sum, "sha256", error))?)
        }
    };
    let filename = match object.get("filename") {
        None => None,
        Some(name) => {
            let text = name.string("the filename of a source")?;
            if !is_file_name(text) {
                let message = format!("filename {text:?} can't be the name of a file");
                return Err(Problem::at(name.offset, message));
            }
            Some(text.to_owned())
        }
    };
    let address = check_url(url.string("the URL of a source")?)
        .map_err(|error| Problem::at(url.offset, error.to_string()))?;
    if filename.is_none() && file_name(&address).is_none() {
        let error = UrlError::NoFileName(redact(&address));
        return Err(Problem::at(url.offset, error.to_string())
            .hint("give the file a name with the key filename"));
    }
    Ok(FileSource {
        url: address,
        filename,
        sha1: sha1.string("sha1")?.parse().map_err(|error| problem(sha1, "sha1", error))?,
        sha256,
    })
}

/// Remedy of a sum of another kind, or in another form.
fn hint_of_sum(key: &str, text: &str) -> Option<String> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (right, digits) = if key == "sha1" { ("sha1", 40) } else { ("sha256", 64) };
    let other = [("an MD5", 32), ("a SHA-1", 40), ("a SHA-256", 64), ("a SHA-512", 128)];
    let other = other.iter().find(|(_, length)| *length == text.len() && *length != digits);
    match other {
        _ if !is_hex => None,
        Some((name, _)) => {
            Some(format!("that has the length of {name}; {right}sum FILE prints the right one"))
        }
        // Sums are texts in ids and names of files, so each has one spelling.
        None if text.len() == digits => Some("write it in lower case".to_owned()),
        None => Some(format!("it has {} digits; {right}sum FILE prints the whole sum", text.len())),
    }
}

/// Problem of a source without a required key; `what` is the key's meaning.
fn missing(node: &JsonNode, kind: &str, key: &str, what: &str) -> Problem {
    Problem::at(node.offset, format!("the {kind} source lacks the key {key}: {what}"))
        .hint(format!("add \"{key}\" to the source"))
}

/// Checks that a source has no other keys.
fn only(object: &Object, kind: &str, keys: &[&str]) -> Result<(), Problem> {
    match object.entries().iter().find(|entry| !keys.contains(&entry.key.as_str())) {
        None => Ok(()),
        Some(entry) => Err(Problem::at(
            entry.key_offset,
            format!("a {kind} source has no key {:?}", entry.key),
        )
        .hint_of_keys(&entry.key, keys)),
    }
}

#[cfg(test)]
mod tests;
