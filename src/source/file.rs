//! Sources of the kinds `url` and `url_extract`: a file from the cache, a mirror or its URL, checked by its
//! sums.

use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{FetchOptions, FilePin, SourceProblem, SourceRequest};
use crate::archive::is_html;
use crate::base::atomic::{AtomicFile, naming_file};
use crate::base::digest::{Sha1Sum, Tee, Until};
use crate::base::event::{Event, Observer, SourceOrigin};
use crate::base::http::redact;
use crate::base::regular::open_regular;
use crate::package::{FileSource, path_of_file_url};
use crate::store::{ObjectKey, Store, StoreError, StoreTransfer};

/// Path of the file in the cache.
pub(super) fn cached_path(request: &SourceRequest, file: &FileSource) -> PathBuf {
    request.cache_dir.join(file.file_name())
}

/// Path of a `file://` URL: `file:///absolute`, or relative to the package's folder.
pub(super) fn local_path(request: &SourceRequest, url: &str) -> Option<PathBuf> {
    path_of_file_url(url).map(|path| request.package_dir.join(path))
}

/// True if the file is present with the right digests.
pub(super) fn is_as_declared(
    path: &Path,
    file: &FileSource,
    pin: Option<&FilePin>,
    observer: &dyn Observer,
) -> io::Result<bool> {
    match fs_err::metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            Ok(sum_mismatch(path, file, pin, observer)?.is_none())
        }
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Mismatch of a digest or of the size.
struct SumMismatch {
    kind: &'static str,
    expected: String,
    actual: String,
    /// True if the package declares another value, false if the lock does.
    is_declared: bool,
}

impl SumMismatch {
    /// Compares the declared or locked digest of a file with the real one.
    fn of<T: ToString + PartialEq>(
        kind: &'static str,
        expected: &T,
        actual: &T,
        is_declared: bool,
    ) -> Option<Self> {
        let mismatch = || Self {
            kind,
            expected: expected.to_string(),
            actual: actual.to_string(),
            is_declared,
        };
        (expected != actual).then(mismatch)
    }

    /// Error for a file that contradicts its pin, not its declaration.
    fn of_lock(self, request: &SourceRequest, url: String) -> SourceProblem {
        let Self { kind, expected, actual, .. } = self;
        SourceProblem::Locked { kind, url, expected, actual, subject: request.subject() }
    }
}

/// Returns the first mismatch of a file, if any. SHA-256 and size count only if declared or locked.
fn sum_mismatch(
    path: &Path,
    file: &FileSource,
    pin: Option<&FilePin>,
    observer: &dyn Observer,
) -> io::Result<Option<SumMismatch>> {
    let ends = || observer.is_interrupted();
    // SHA-256 costs as much again as SHA-1.
    if file.sha256.is_none() && pin.is_none() {
        let sha1 = Sha1Sum::of_file_within(path, u64::MAX, ends)?;
        return Ok(SumMismatch::of("sha1", &file.sha1, &sha1, true));
    }
    let mut tee = Tee::with_sha1(Until::new(open_regular(path)?, ends));
    io::copy(&mut tee, &mut io::sink())?;
    let (_, sums) = tee.finish();
    let declared = file.sha256.as_ref();
    Ok(SumMismatch::of("sha1", &file.sha1, &sums.sha1, true)
        .or_else(|| SumMismatch::of("sha256", declared?, &sums.sha256, true))
        .or_else(|| SumMismatch::of("sha256", &pin?.sha256, &sums.sha256, false))
        .or_else(|| SumMismatch::of("size", &pin?.size, &sums.bytes, false)))
}

/// Warns if the file's name contains the query of its URL, which may be a secret.
fn warn_of_query(request: &SourceRequest, file: &FileSource, observer: &dyn Observer) {
    if file.is_named_by_query() {
        let (subject, url) = (request.subject(), redact(&file.url));
        let message = format!(
            "the file's name has the query of {url} in it, which may be a secret; the source's key filename gives it another name"
        );
        observer.event(Event::Warning { subject, message });
    }
}

/// Brings the file into the cache; returns its path.
pub(super) fn fetch(
    request: &SourceRequest,
    file: &FileSource,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<PathBuf, SourceProblem> {
    warn_of_query(request, file, observer);
    let target = cached_path(request, file);
    let pin = options.pins.of(file);
    let fetched = |origin| {
        observer.event(Event::Source { subject: request.subject(), origin });
        Ok(target.clone())
    };
    if target.is_dir() {
        return Err(SourceProblem::InTheWay(target));
    }
    let is_cached = is_as_declared(&target, file, pin, observer);
    if is_cached.map_err(unless_interrupted("read the cache", observer))? {
        return fetched(SourceOrigin::Cache);
    }
    for mirror in &options.mirrors {
        if from_mirror(request, file, mirror, &target, options, observer)? {
            return fetched(SourceOrigin::Mirror);
        }
    }
    let mut new = create(&target)?;
    let shown = redact(&file.url);
    let mut origin = SourceOrigin::Network;
    if let Some(path) = local_path(request, &file.url) {
        copy(&path, &mut new, &shown)?;
        origin = SourceOrigin::Local;
    } else if options.offline {
        return Err(SourceProblem::Offline(shown));
    } else {
        let subject = request.subject();
        let done = options.http.download(&file.url, &subject, new.file(), observer)?;
        // Mismatched parts of two responses, and an undetected truncation, are the server's fault,
        // not the file's.
        if (done.resumed || done.may_be_short) && mismatch(&new, file, pin, observer)?.is_some() {
            options.http.download(&file.url, &subject, new.file(), observer)?;
        }
    }
    match mismatch(&new, file, pin, observer)? {
        None => new.commit().map_err(SourceProblem::io("write the cache"))?,
        Some(mismatch) if !mismatch.is_declared => return Err(mismatch.of_lock(request, shown)),
        // A local file can be inspected in place, and may be private.
        Some(SumMismatch { kind, expected, actual, .. }) if origin == SourceOrigin::Local => {
            return Err(SourceProblem::LocalSum { kind, url: shown, expected, actual });
        }
        Some(SumMismatch { kind, expected, actual, .. }) => {
            // docs/format.md, "url": kept for inspection, under a name that nothing reads.
            let corrupt = request.cache_dir.join(format!("{}.corrupt", file.file_name()));
            let is_page = begins_as_page(&mut new);
            keep(&mut new, &corrupt).map_err(SourceProblem::io("keep a corrupt download"))?;
            if is_page {
                return Err(SourceProblem::Page { url: shown, corrupt });
            }
            return Err(SourceProblem::Sum { kind, url: shown, expected, actual, corrupt });
        }
    }
    fetched(origin)
}

fn create(target: &Path) -> Result<AtomicFile, SourceProblem> {
    AtomicFile::create(target).map_err(SourceProblem::io("write the cache"))
}

fn mismatch(
    new: &AtomicFile,
    file: &FileSource,
    pin: Option<&FilePin>,
    observer: &dyn Observer,
) -> Result<Option<SumMismatch>, SourceProblem> {
    sum_mismatch(new.temporary_path(), file, pin, observer)
        .map_err(unless_interrupted("read what was fetched", observer))
}

/// Converts an I/O error into a problem: `Interrupted` if the run is over by now, which ends reads with an
/// error.
fn unless_interrupted(
    doing: &'static str,
    observer: &dyn Observer,
) -> impl FnOnce(io::Error) -> SourceProblem {
    let is_over = observer.is_interrupted();
    move |error| if is_over { SourceProblem::Interrupted } else { SourceProblem::io(doing)(error) }
}

/// True if the download is an HTML page: usually a login page, or a server's substitute for an
/// error.
fn begins_as_page(new: &mut AtomicFile) -> bool {
    const START: u64 = 4096;
    let mut start = Vec::new();
    let read = new.rewound().and_then(|file| file.take(START).read_to_end(&mut start));
    read.is_ok() && is_html(&start)
}

/// Keeps a download under another name. The mode is set by descriptor, not by path: the folder belongs to a
/// tree, whose owner could replace the temporary file by a link to a private file of root.
fn keep(new: &mut AtomicFile, corrupt: &Path) -> io::Result<()> {
    new.file().set_permissions(PermissionsExt::from_mode(0o644))?;
    fs_err::rename(new.temporary_path(), corrupt)
}

/// Copies a local file, which must be a regular one: a device or FIFO might have no end.
fn copy(path: &Path, to: &mut AtomicFile, shown: &str) -> Result<(), SourceProblem> {
    let no_file =
        |reason| SourceProblem::NoFile { url: shown.to_owned(), path: path.to_owned(), reason };
    let from = open_regular(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => no_file("is not a regular file"),
        io::ErrorKind::NotFound => no_file("does not exist"),
        _ => SourceProblem::Io { doing: "read a source", error },
    })?;
    let copy = || {
        // Between regular files, std uses `copy_file_range`: the filesystem may share the blocks.
        io::copy(&mut from.into_parts().0, to.file())
            .map_err(|error| naming_file(to.file(), error))?;
        to.file().flush()?;
        to.file().rewind()
    };
    copy().map_err(SourceProblem::io("copy a file into the cache"))
}

/// Name of a file in a mirror.
pub(super) fn file_key(file: &FileSource) -> ObjectKey {
    let name = format!("sha1/{}", file.sha1);
    name.parse().unwrap_or_else(|_| unreachable!("hex digits are valid in a name"))
}

/// Gets the file from one mirror; returns true if the cache has the file now. Faults of the mirror are
/// warnings, as there are other places to ask.
fn from_mirror(
    request: &SourceRequest,
    file: &FileSource,
    mirror: &Store,
    target: &Path,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<bool, SourceProblem> {
    if !options.may_ask(mirror) {
        return Ok(false);
    }
    let key = file_key(file);
    let mut new = create(target)?;
    let subject = request.subject();
    let transfer = StoreTransfer { subject: &subject, observer };
    let kind = |error: &StoreError| Some(error.kind());
    let got =
        mirror.item("a mirror", &transfer, kind, |place| place.get(&key, new.file(), &transfer))?;
    if got.is_none() {
        return Ok(false);
    }
    let Some(SumMismatch { kind, expected, actual, .. }) =
        mismatch(&new, file, options.pins.of(file), observer)?
    else {
        new.commit().map_err(SourceProblem::io("write the cache"))?;
        return Ok(true);
    };
    let name = mirror.backend().name();
    let message = format!(
        "the mirror's {name}/{key} is damaged and was not used: its {kind} is {actual}, not {expected}"
    );
    observer.event(Event::Warning { subject, message });
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_is_put_in_place_of_a_wrong_download_keeps_its_mode() {
        let place = tempfile::tempdir().unwrap();
        let private = place.path().join("private");
        fs_err::write(&private, "<html>").unwrap();
        fs_err::set_permissions(&private, PermissionsExt::from_mode(0o600)).unwrap();
        let mut new = AtomicFile::create(&place.path().join("cache/file")).unwrap();
        let temporary = new.temporary_path().to_owned();
        fs_err::remove_file(&temporary).unwrap();
        fs_err::os::unix::fs::symlink(&private, &temporary).unwrap();
        assert!(!begins_as_page(&mut new));
        keep(&mut new, &place.path().join("cache/file.corrupt")).unwrap();
        assert_eq!(fs_err::metadata(&private).unwrap().mode() & 0o777, 0o600);
    }
}
