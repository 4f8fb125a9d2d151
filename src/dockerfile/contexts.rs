//! Build contexts outside of the machine's folders: archives and repositories, fetched into a
//! scratch folder that is removed with the context.
//!
//! ```text
//! <scratch>/run-…/context/     the archive's files, or the repository's
//! <scratch>/run-…/download     what a URL gave
//! ```
//!
//! The folder is a run's (see [`crate::runner::home`]): if the process is killed, a later one sweeps it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::builder::ImageBuilder;
use crate::archive::{ARCHIVE_START, UnpackError, begins_as_archive, unpack_plain};
use crate::base::causes::with_causes;
use crate::base::escape::path_argument;
use crate::base::event::Observer;
use crate::base::http::{HttpError, redact};
use crate::base::removal::remove_all_closed;
use crate::container::cleaner;
use crate::container::helper::Interrupt;
use crate::container::poll::wait_readable;
use crate::dockerfile::git::{GitFilesError, check_out_git};
use crate::runner::home::RunScratch;
use crate::runner::session;
use crate::source::GitSelection;

/// Longer Dockerfiles are refused: they are read into memory.
const LONGEST_DOCKERFILE: u64 = 4 << 20;

/// Poll interval for interruptions while no data arrives.
const TICK: Duration = Duration::from_millis(100);

/// Source of a build context.
#[derive(Debug)]
pub enum ContextSource {
    /// A stream, such as stdin: an archive, or a Dockerfile alone.
    Stream(File),
    /// A file with an archive.
    File(PathBuf),
    /// Content at a URL: an archive, or a Dockerfile alone.
    Url(String),
    /// A git repository.
    Git(GitSelection),
}

/// Fetched build context.
#[derive(Debug)]
pub enum Brought {
    /// Files.
    Context(BroughtContext),
    /// A Dockerfile alone.
    Dockerfile(String),
}

/// A context's folder, removed when this is dropped.
#[derive(Debug)]
pub struct BroughtContext {
    folder: PathBuf,
    run: RunScratch,
}

/// A context cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// The scratch folder cannot be made.
    #[error("there is no room for the build context")]
    Room(#[source] io::Error),
    /// The source cannot be read.
    #[error("can't read {what}")]
    Read {
        /// Name for people.
        what: String,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The content is neither an archive nor a Dockerfile.
    #[error("{what} is neither an archive nor a Dockerfile: {problem}")]
    NoText {
        /// Name for people.
        what: String,
        /// Reason why the content is not a Dockerfile.
        problem: &'static str,
    },
    /// The file is not an archive.
    #[error("{} is neither a folder nor a tar archive", .0.display())]
    NoArchive(PathBuf),
    /// The archive can't be unpacked.
    #[error("can't unpack {what}")]
    Unpack {
        /// Name for people.
        what: String,
        /// Reason.
        #[source]
        source: UnpackError,
    },
    /// The download failed.
    #[error(transparent)]
    Download(HttpError),
    /// The repository cannot be fetched.
    #[error("{}", with_causes(.0))]
    Git(GitFilesError),
    /// The network is to be left alone.
    #[error("{0} would have to be fetched, and --offline forbids it")]
    Offline(String),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl BringError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoArchive(path) => Some(format!(
                "if it is a Dockerfile: -f {} FOLDER, or on stdin, for one without files: -",
                path_argument(path)
            )),
            Self::Unpack { source, .. } => crate::archive::limit_remedy(source).map(str::to_owned),
            Self::Download(error) => error.hint().map(str::to_owned),
            Self::Git(error) => error.hint(),
            _ => None,
        }
    }
}

impl ImageBuilder<'_> {
    /// Brings a context here.
    pub fn bring(
        &self,
        source: ContextSource,
        observer: &dyn Observer,
    ) -> Result<Brought, BringError> {
        let brought = match source {
            ContextSource::Stream(stream) => self.taken(stream, "stdin", observer),
            ContextSource::File(path) => self.unpacked(&path, observer),
            ContextSource::Url(url) => self.downloaded(&url, observer),
            ContextSource::Git(place) => self.checked_out(&place, observer),
        };
        // Whatever failed, it is for that.
        if self.runner.interrupt.is_raised() { Err(BringError::Interrupted) } else { brought }
    }

    fn taken(
        &self,
        stream: File,
        what: &str,
        observer: &dyn Observer,
    ) -> Result<Brought, BringError> {
        let read = |source| BringError::Read { what: what.to_owned(), source };
        let mut stream = WatchedStream::new(stream, &self.runner.interrupt);
        let mut start = Vec::new();
        // As docker does: what begins as an archive is a context, all else is a Dockerfile.
        (&mut stream).take(ARCHIVE_START as u64).read_to_end(&mut start).map_err(read)?;
        let whole = start.as_slice().chain(stream);
        if !begins_as_archive(&start) {
            return read_dockerfile(whole, what).map(Brought::Dockerfile);
        }
        let context = self.room(observer)?;
        context.unpack(&start, whole, what, self)?;
        Ok(Brought::Context(context))
    }

    fn unpacked(&self, path: &Path, observer: &dyn Observer) -> Result<Brought, BringError> {
        let what = path.display().to_string();
        let read = |source| BringError::Read { what: what.clone(), source };
        let opened = fs_err::File::open(path).map_err(read)?.into_parts().0;
        match self.taken(opened, &what, observer)? {
            Brought::Dockerfile(_) => Err(BringError::NoArchive(path.to_owned())),
            brought @ Brought::Context(_) => Ok(brought),
        }
    }

    fn downloaded(&self, url: &str, observer: &dyn Observer) -> Result<Brought, BringError> {
        let shown = redact(url);
        if self.fetch.offline {
            return Err(BringError::Offline(shown));
        }
        let room = self.room(observer)?;
        let path = room.run.folder().join("download");
        let mut file = fs_err::File::create_new(&path).map_err(BringError::Room)?.into_parts().0;
        self.fetch.http.download(url, &shown, &mut file, observer).map_err(BringError::Download)?;
        drop(file);
        let file = fs_err::File::open(&path).map_err(BringError::Room)?.into_parts().0;
        let brought = self.taken(file, &shown, observer);
        // At once, not with the context: the archive and its files would both take room during the
        // build.
        fs_err::remove_file(&path).map_err(BringError::Room)?;
        brought
    }

    fn checked_out(
        &self,
        place: &GitSelection,
        observer: &dyn Observer,
    ) -> Result<Brought, BringError> {
        if self.fetch.offline {
            return Err(BringError::Offline(redact(&place.url)));
        }
        let mut context = self.room(observer)?;
        let found = check_out_git(place, &context.folder, self.fetch, observer);
        context.folder = found.map_err(BringError::Git)?.0;
        Ok(Brought::Context(context))
    }

    fn room(&self, observer: &dyn Observer) -> Result<BroughtContext, BringError> {
        session::sweep(self.runner, observer);
        let run = self.runner.home.start_run().map_err(BringError::Room)?;
        // An archive may close its folders to their owner. Without a cleaner, a later run sweeps.
        drop(cleaner::spawn(&run.cleaning(None)));
        Ok(BroughtContext { folder: run.folder().join("context"), run })
    }
}

/// Reads a Dockerfile without a context.
pub fn read_dockerfile(stream: impl Read, what: &str) -> Result<String, BringError> {
    let mut bytes = Vec::new();
    let read = |source| BringError::Read { what: what.to_owned(), source };
    stream.take(LONGEST_DOCKERFILE + 1).read_to_end(&mut bytes).map_err(read)?;
    let wrong = |problem| BringError::NoText { what: what.to_owned(), problem };
    if bytes.len() as u64 > LONGEST_DOCKERFILE {
        return Err(wrong("it is too long"));
    }
    String::from_utf8(bytes).map_err(|_bad| wrong("it is not text"))
}

impl BroughtContext {
    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn unpack(
        &self,
        start: &[u8],
        stream: impl Read,
        what: &str,
        builder: &ImageBuilder<'_>,
    ) -> Result<(), BringError> {
        unpack_plain(start, stream, &self.folder, &builder.runner.archives)
            .map_err(|source| BringError::Unpack { what: what.to_owned(), source })
    }
}

impl Drop for BroughtContext {
    fn drop(&mut self) {
        for name in ["context", "download"] {
            let path = self.run.folder().join(name);
            // Leftovers are swept by a later run.
            drop(remove_all_closed(&path));
        }
    }
}

/// A stream that ends with an error when the run is interrupted, even if nothing comes.
#[derive(Debug)]
pub struct WatchedStream<'a> {
    stream: File,
    interrupt: &'a Interrupt,
}

impl<'a> WatchedStream<'a> {
    /// Watches a stream.
    pub fn new(stream: File, interrupt: &'a Interrupt) -> Self {
        Self { stream, interrupt }
    }
}

impl Read for WatchedStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.interrupt.is_raised() {
                return Err(io::Error::other("interrupted"));
            }
            if wait_readable(&[self.stream.as_fd()], Instant::now().checked_add(TICK))? {
                return self.stream.read(buffer);
            }
        }
    }
}
