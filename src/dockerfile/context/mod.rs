//! Files for COPY and ADD: of a build context, without ignored files, or of the tree of a stage or
//! an image.
//!
//! A source is a path or a pattern below the root. Symlinks on the way are followed as if the root
//! were `/`, so that none leads out; symlinks below a found folder are copied as files, and are not
//! followed. Results come in the order of names, one entry at a time.

mod attributes;
mod digest;
mod resolve;
mod select;
mod walk;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use attributes::kept_attributes;
pub use digest::{Sum, digest};
pub use select::Selected;
pub use walk::{ContextEntries, ContextEntry, ContextEntryKind};

use super::ignore::Patterns;
use crate::base::confinement;
use crate::base::regular::open_regular;
use crate::base::remedy::raise_limit;
use crate::container::helper::Interrupt;
use crate::package::{Problem, problem::Report};

/// Name of the file with patterns to leave out.
const IGNORE_FILE: &str = ".dockerignore";

/// Longer ignore files and Dockerfiles are refused: they are read into memory.
const LONGEST: u64 = 4 << 20;

/// Files below a root.
#[derive(Debug, Clone)]
pub struct ContextFiles {
    root: PathBuf,
    ignore: Patterns,
    /// True for the build context of the caller, whose paths are meaningful in messages.
    is_context: bool,
    /// Upper limit of the bytes that are read for one digest.
    most: u64,
    interrupt: Arc<Interrupt>,
}

/// Selection among a source's files.
#[derive(Debug, Clone, Default)]
pub struct FileChoice {
    /// Patterns to leave out, relative to the copied folder.
    pub exclude: Patterns,
    /// True if the folders in the source's name are kept, and `**` is any number of them.
    pub parents: bool,
}

/// Files cannot be found or read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file that is needed can't be read.
    #[error("can't read {what}")]
    Read {
        /// Name for people.
        what: &'static str,
        /// Reason, with the path.
        #[source]
        source: io::Error,
    },
    /// A file exceeds the size limit of its kind.
    #[error("{} has more than {} bytes", path.display(), LONGEST)]
    TooLong {
        /// Path of the file.
        path: PathBuf,
    },
    /// Files that are copied together are too large.
    #[error("with {path:?}, the files to copy have more than {most} bytes")]
    TooLarge {
        /// Path of the file with which the limit is exceeded.
        path: PathBuf,
        /// The limit.
        most: u64,
    },
    /// A symlink leads to a file outside of the build context.
    #[error("{} is a symlink that leads out of the build context", path.display())]
    LeadsOut {
        /// The link.
        path: PathBuf,
    },
    /// The ignore file is not valid.
    #[error(transparent)]
    Ignore(Box<Report>),
    /// A source is missing.
    #[error("there is no {source_path:?} in {}", looked_in(root.as_deref()))]
    Missing {
        /// The source as the instruction has it.
        source_path: String,
        /// Searched context; none for a stage or an image.
        root: Option<PathBuf>,
    },
    /// A source exists, but is left out.
    #[error("{source_path:?} is left out of the build context by its .dockerignore")]
    LeftOut {
        /// The source as the instruction has it.
        source_path: String,
    },
    /// A pattern is not valid.
    #[error("{0:?} is not a pattern of files")]
    Pattern(String),
    /// Symlinks lead in a circle.
    #[error("{0:?} leads through more symlinks than can be followed")]
    Links(String),
    /// The files can't be looked at.
    #[error("can't look at the files to copy")]
    Look {
        /// Reason, with the path.
        #[source]
        source: io::Error,
    },
}

impl ContextError {
    /// Remedy.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => {
                Some("a source is a path below the build context, or below the root of --from")
            }
            Self::LeadsOut { .. } => {
                Some("put the file itself there, or name it with --file where it is")
            }
            Self::TooLarge { .. } => Some(concat!(
                "if they are meant to be that large, ",
                raise_limit!("unpacked", "UNPACKED")
            )),
            Self::LeftOut { .. } => Some("put an exception into it: a line that begins with !"),
            _ => None,
        }
    }
}

impl ContextFiles {
    /// Opens a build context. Ignore patterns are in `<dockerfile>.dockerignore` beside the
    /// Dockerfile, else in `.dockerignore` at the context's top.
    pub fn of_context(root: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let beside = dockerfile.map(|path| {
            let mut name = path.as_os_str().to_owned();
            name.push(IGNORE_FILE);
            PathBuf::from(name)
        });
        // The first one that is there counts alone, as with docker.
        let paths = beside.into_iter().chain([root.join(IGNORE_FILE)]);
        Self::less_what_is_ignored(root, paths)
    }

    /// A build context from elsewhere, where no symlink leads out: as [`Self::of_context`], with the
    /// Dockerfile's path relative to it.
    pub fn of_brought_context(
        root: &Path,
        dockerfile: Option<&Path>,
    ) -> Result<Self, ContextError> {
        let mut paths = Vec::new();
        let beside = dockerfile.map(|path| format!("{}{IGNORE_FILE}", path.display()));
        for path in beside.into_iter().chain([IGNORE_FILE.to_owned()]) {
            paths.extend(file_within(root, Path::new(&path))?);
        }
        Self::less_what_is_ignored(root, paths)
    }

    fn less_what_is_ignored(
        root: &Path,
        paths: impl IntoIterator<Item = PathBuf>,
    ) -> Result<Self, ContextError> {
        for path in paths {
            let text = if path.starts_with(root) {
                read_below(root, &path, "what to leave out")
            } else {
                read_beside(&path, "what to leave out")
            };
            match text {
                Ok(text) => {
                    let wrong = |problem: Problem| {
                        ContextError::Ignore(Box::new(problem.in_file(&path, &text)))
                    };
                    let ignore = Patterns::parse(&text).map_err(wrong)?;
                    return Ok(Self { ignore, is_context: true, ..Self::of_tree(root) });
                }
                Err(ContextError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { is_context: true, ..Self::of_tree(root) })
    }

    /// The tree of a stage or an image, of which nothing is left out.
    pub fn of_tree(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            ignore: Patterns::default(),
            is_context: false,
            most: u64::MAX,
            interrupt: Arc::default(),
        }
    }

    /// The same files, whose digests end with an error when the run is interrupted, and at a limit of bytes: files
    /// of a context may be of any length, with holes that take no space.
    #[must_use]
    pub fn within(self, most: u64, interrupt: &Arc<Interrupt>) -> Self {
        Self { most, interrupt: Arc::clone(interrupt), ..self }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn missing(&self, source_path: String) -> ContextError {
        let root = self.is_context.then(|| self.root.clone());
        ContextError::Missing { source_path, root }
    }

    /// Resolves a source: to one file or folder, or, for a pattern, to any number of them in the
    /// order of their names.
    pub fn select(&self, source: &str, choice: &FileChoice) -> Result<Vec<Selected>, ContextError> {
        select::select(self, source, choice)
    }

    /// Entries of a selection: a file, or a folder with all entries below.
    pub fn entries<'f>(
        &'f self,
        selected: &'f Selected,
        choice: &'f FileChoice,
    ) -> ContextEntries<'f> {
        ContextEntries::new(self, selected, choice)
    }
}

fn looked_in(context: Option<&Path>) -> String {
    let elsewhere = || "the stage or image that `from` names".to_owned();
    context.map_or_else(elsewhere, |root| root.display().to_string())
}

/// Path of the regular file at a path below a root, if any; symlinks are followed as if the root
/// were `/`.
pub fn file_within(root: &Path, path: &Path) -> Result<Option<PathBuf>, ContextError> {
    let found = match resolve::resolve(root, path) {
        Ok(found) => found.map(|found| root.join(found)),
        Err(resolve::ResolveError::Links) => {
            return Err(ContextError::Links(path.display().to_string()));
        }
        Err(resolve::ResolveError::Look(source)) => return Err(ContextError::Look { source }),
    };
    Ok(found.filter(|found| fs_err::symlink_metadata(found).is_ok_and(|data| data.is_file())))
}

/// Reads a Dockerfile, or a text like it, which no symlink may lead to out of the root.
pub fn read_below(root: &Path, path: &Path, what: &'static str) -> Result<String, ContextError> {
    let file = match confinement::open_below(root, path.strip_prefix(root).unwrap_or(path)) {
        Ok(file) => file,
        Err(error) if confinement::leads_out(&error) => {
            return Err(ContextError::LeadsOut { path: path.to_owned() });
        }
        Err(error) => {
            let source = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            return Err(ContextError::Read { what, source });
        }
    };
    read(file, path, what)
}

/// Reads a file that lies beside a Dockerfile: nothing but a regular file, which ends.
fn read_beside(path: &Path, what: &'static str) -> Result<String, ContextError> {
    let file = open_regular(path).map_err(|source| ContextError::Read { what, source })?;
    read(file, path, what)
}

/// Reads a Dockerfile, or a text like it, which the caller has named: a pipe is waited for.
pub fn read_text(path: &Path, what: &'static str) -> Result<String, ContextError> {
    let file = fs_err::File::open(path).map_err(|source| ContextError::Read { what, source })?;
    read(file, path, what)
}

fn read(file: impl io::Read, path: &Path, what: &'static str) -> Result<String, ContextError> {
    use std::io::Read as _;
    let error = |source| ContextError::Read { what, source };
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > LONGEST {
        return Err(ContextError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}
