//! Errors between a declared source and a checked one.

use std::io;
use std::path::{Path, PathBuf};

use super::OutOfScope;
use crate::base::http::HttpError;
use crate::package::{CommitId, PackageName, SourceName};
use crate::store::StoreError;

/// A source could not be identified or fetched.
#[derive(Debug, thiserror::Error)]
#[error("source {name} of package {package}")]
pub struct SourceError {
    /// Package of the source.
    pub package: PackageName,
    /// The source's name.
    pub name: SourceName,
    /// Cause.
    #[source]
    pub problem: Box<SourceProblem>,
}

/// Problem with a source. URLs inside have no credentials.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    /// A download failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A mirror's file cannot be taken, by a fault of this machine.
    #[error(transparent)]
    Store(StoreError),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A local file cannot be read or written; the inner error has the path.
    #[error("cannot {doing}")]
    Io {
        /// Attempted step.
        doing: &'static str,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// The history that a bundle needs is cut off.
    #[error("the repository {} is shallow: the history of the commit is not whole", .0.display())]
    Shallow(PathBuf),
    /// A `file://` URL names nothing that could be copied.
    #[error("{url} is not a file: {path} {reason}")]
    NoFile {
        /// The URL as declared.
        url: String,
        /// Path of the file.
        path: PathBuf,
        /// Reason why the path is not a file.
        reason: &'static str,
    },
    /// The downloaded file does not match its declared digest.
    #[error(
        "the {kind} of {url} is {actual}, but {expected} is declared; what came is kept as {kept}",
        kept = shown_file(.corrupt)
    )]
    Sum {
        /// `sha1` or `sha256`.
        kind: &'static str,
        /// The URL.
        url: String,
        /// Declared digest.
        expected: String,
        /// Digest of the download.
        actual: String,
        /// Path of the kept download.
        corrupt: PathBuf,
    },
    /// A local file does not match its declared digest.
    #[error("the {kind} of {url} is {actual}, but {expected} is declared")]
    LocalSum {
        /// `sha1` or `sha256`.
        kind: &'static str,
        /// The URL.
        url: String,
        /// Declared digest.
        expected: String,
        /// The file's sum.
        actual: String,
    },
    /// A file has the declared SHA-1, and is not the one of the lock.
    #[error("the {kind} of {url} is {actual}, but mkpanda.lock wants {expected}")]
    Locked {
        /// `sha256` or `size`.
        kind: &'static str,
        /// The URL.
        url: String,
        /// The lock's value.
        expected: String,
        /// The file's value.
        actual: String,
        /// Name of the source for `mkpanda lock`.
        subject: String,
    },
    /// A page for people came in place of the file.
    #[error("what came from {url} is an HTML page, not the file that is declared; it is kept as {corrupt}", corrupt = shown_file(.corrupt))]
    Page {
        /// The URL.
        url: String,
        /// File with the page.
        corrupt: PathBuf,
    },
    /// It isn't here, and the network may not be asked.
    #[error("{0} is not in the cache or in a mirror's folder, and --offline forbids to fetch it")]
    Offline(String),
    /// Something else lies where the cache has a file or a mirror.
    #[error("{} is in the way: it is not what the cache keeps there", shown_file(.0))]
    InTheWay(PathBuf),
    /// `rel_path` leads nowhere.
    #[error("there is no {path}: is the rel_path {rel_path:?} right?", path = .path.display())]
    NoSuchRelPath {
        /// As declared.
        rel_path: String,
        /// Resolved path.
        path: PathBuf,
    },
    /// `rel_path` leads out of the tree's scope.
    #[error("the rel_path {rel_path:?} leads out of {root}, the tree's own folder: to {path}", path = .out.path.display(), root = .out.root.display())]
    OutOfScope {
        /// As declared.
        rel_path: String,
        /// Target outside of the scope, and the remedy.
        out: OutOfScope,
    },
    /// `rel_path` leads to something that is no git repository.
    #[error("{path} can't be used as a git repository: {reason}", path = .path.display())]
    NoRepository {
        /// Expected path.
        path: PathBuf,
        /// Error of libgit2.
        reason: String,
        /// True if the repository belongs to another user.
        foreign: bool,
    },
    /// A local repository has no commit at HEAD.
    #[error("the git repository {path} has no commit at HEAD", path = .0.display())]
    NoCommits(PathBuf),
    /// A local repository has changes that no commit has.
    #[error("there are uncommitted changes in {path}: {files}", path = .path.display(), files = listed(.files))]
    Uncommitted {
        /// The repository.
        path: PathBuf,
        /// Changed tracked files.
        files: Vec<String>,
    },
    /// The commit is not in the repository.
    #[error("there is no commit {commit} in {url} (ref_origin {ref_origin:?})")]
    NoSuchCommit {
        /// The declared commit.
        commit: CommitId,
        /// The declared branch or tag.
        ref_origin: String,
        /// The repository.
        url: String,
    },
    /// The branch or tag is not in the repository.
    #[error("there is no ref_origin {ref_origin:?} in {url}")]
    NoSuchOrigin {
        /// The declared branch or tag.
        ref_origin: String,
        /// The repository.
        url: String,
    },
    /// The URL would have git run a command of the URL's choice.
    #[error("{0} uses a git transport that runs commands, which a package can't ask for")]
    Transport(String),
    /// The git program can't be run.
    #[error("cannot run {program}", program = .program.display())]
    NoGit {
        /// The program.
        program: PathBuf,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// The git program failed.
    #[error("git could not fetch {url}:\n{output}")]
    Git {
        /// The repository.
        url: String,
        /// Output of git.
        output: String,
    },
    /// The git program failed with local objects.
    #[error("git failed on {url}:\n{output}")]
    GitState {
        /// The repository.
        url: String,
        /// Words of git.
        output: String,
    },
    /// A repository has a format that is not supported.
    #[error("{url} cannot be used: {reason}")]
    Format {
        /// The repository.
        url: String,
        /// The format.
        reason: String,
    },
    /// Files of which Git LFS has the contents, and the repository only pointers.
    #[error("Git LFS has the contents of files of {url}, and the repository only pointers to them: {files}", files = listed(.files))]
    LfsPointers {
        /// The repository.
        url: String,
        /// The files.
        files: Vec<String>,
    },
    /// There is no room for a mirror.
    #[error("git could not fetch {url} into {folder}/, where no space is left:\n{output}", folder = .folder.display())]
    GitNoRoom {
        /// The repository.
        url: String,
        /// The folder of mirrors.
        folder: PathBuf,
        /// Output of git.
        output: String,
    },
    /// The git program said nothing for too long, and was stopped.
    #[error("git said nothing for {seconds} s while it fetched {url}, and was stopped")]
    GitStalled {
        /// The repository.
        url: String,
        /// Length of the wait.
        seconds: u64,
    },
    /// The commit differs from the expected one.
    #[error("{url} has the commit {found}, but {expected} is expected")]
    OtherCommit {
        /// The repository.
        url: String,
        /// Received commit.
        found: CommitId,
        /// Expected beginning of its digits.
        expected: String,
    },
    /// A submodule can't be checked out.
    #[error("{path} of {url} can't be checked out")]
    Submodule {
        /// Path of the submodule, or of its declaration.
        path: String,
        /// Repository with the submodule.
        url: String,
        /// Reason.
        #[source]
        problem: SubmoduleProblem,
    },
    /// A repository in the cache can't be read or written.
    #[error("the git repository {path} can't be used", path = .path.display())]
    Repository {
        /// The repository.
        path: PathBuf,
        /// Error of libgit2.
        #[source]
        error: git2::Error,
    },
}

/// Reason why a submodule cannot be checked out.
#[derive(Debug, thiserror::Error)]
pub enum SubmoduleProblem {
    /// Nothing says from where.
    #[error("it is a submodule for which .gitmodules has no URL")]
    Undeclared,
    /// The URL refers to a file or a command, or leaves the host of its base URL.
    #[error("a submodule may not have the URL {0:?}: only http, https, git and ssh are allowed")]
    Url(String),
    /// The path leads out of the check-out, or into git's own files.
    #[error("a submodule may not have this path")]
    Path,
    /// There is a file or a symlink, or files.
    #[error("something else is in its place")]
    InTheWay,
    /// The folder cannot be used.
    #[error("its folder can't be used")]
    Folder(#[source] io::Error),
    /// There are too many within one another.
    #[error("submodules are nested more than {0} deep")]
    Deep(usize),
    /// There are too many.
    #[error("there are more than {0} submodules")]
    Many(usize),
    /// The declarations cannot be read.
    #[error("submodules are declared in a way that can't be read: {0}")]
    Declarations(String),
}

impl From<StoreError> for SourceProblem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Interrupted => Self::Interrupted,
            StoreError::Destination { error, .. } => Self::Io { doing: "write the cache", error },
            error => Self::Store(error),
        }
    }
}

impl SourceProblem {
    pub(super) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |error| Self::Io { doing, error }
    }

    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Http(error) => {
                let hint = error.hint()?;
                let is_mirrorable = error.is_not_found() || error.is_unreachable();
                let mirror = if is_mirrorable { ", or use a mirror (--mirror)" } else { "" };
                return Some(format!("{hint}{mirror}"));
            }
            Self::Sum { .. } | Self::LocalSum { .. } => {
                "if the file was meant to change, put its new sum into the buildinfo.json"
            }
            Self::Locked { subject, .. } => {
                return Some(format!(
                    "if the file was meant to change: mkpanda lock --update {subject}"
                ));
            }
            Self::Offline(_) => "leave out --offline once, or name a mirror that has it (--mirror)",
            Self::InTheWay(_) => "remove it",
            Self::Shallow(_) => "in the repository: git fetch --unshallow",
            Self::GitNoRoom { .. } => "make room there: mkpanda gc gives back what no build needs",
            Self::OutOfScope { out, .. } => return Some(out.hint.clone()),
            Self::NoRepository { path, foreign: true, .. } => {
                return Some(format!(
                    "it belongs to another user; if you trust it: git config --global --add safe.directory {}",
                    path.display()
                ));
            }
            Self::Page { .. } => {
                "the server may want a login (docs/format.md, \"Sources\"), or have the file at another URL: look at the page"
            }
            Self::Uncommitted { .. } => "commit or stash them: a build takes what HEAD has",
            Self::NoSuchCommit { .. } => {
                "check ref, and whether the commit was pushed to a branch or tag of that repository"
            }
            Self::NoSuchOrigin { .. } => "check ref_origin: the branch or tag on which ref lives",
            Self::NoGit { .. } => {
                "install git: sources of kind git are fetched with it, and git_local ones compared"
            }
            Self::LfsPointers { .. } => {
                "install git-lfs (package git-lfs), and run once without --offline: the contents are fetched with it"
            }
            Self::Submodule { problem: SubmoduleProblem::Undeclared, .. } => {
                "if it isn't needed: ?submodules=false behind the repository's URL"
            }
            Self::Git { .. } => {
                "git runs without a terminal: try the same URL with `git ls-remote`"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// The path of a file whose name may have a URL's query, which may be a secret: `name?…`.
pub(super) fn shown_file(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once('?') {
        Some((name, _)) => path.with_file_name(format!("{name}?…")).display().to_string(),
        None => path.display().to_string(),
    }
}

pub(super) fn listed(files: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut shown = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN {
        shown = format!("{shown} and {} more", files.len() - SHOWN);
    }
    shown
}
