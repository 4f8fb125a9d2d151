//! Files that appear whole or not at all.
//!
//! All files are written beside their final paths under a name with the prefix `.tmp-`, synced, and
//! renamed; a process that dies leaves at most such a temporary file or folder. Leftovers are told
//! from files in use by locks: an [`AtomicFile`] is locked itself ([`sweep_temporaries`]), and
//! folders are made under a common lock ([`sweep_under_lock`]).

use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::File;
use fs_err::os::unix::fs::OpenOptionsExt;

use super::event::{Event, Observer};
use super::regular::open_regular;
use super::removal::{remove_all, remove_all_closed};

/// Prefix of files under construction.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Adds the name of an open file to an error, where the file has a name.
pub fn naming_file(file: &std::fs::File, error: io::Error) -> io::Error {
    use std::os::fd::AsRawFd;
    if error.kind() == io::ErrorKind::Interrupted {
        return error;
    }
    match fs_err::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        Ok(path) => naming(&path, &error),
        Err(_) => error,
    }
}

/// Upper limit of attempts to make a folder that another process keeps removing as empty.
const ATTEMPTS: u32 = 100;

/// File under construction, removed on drop unless committed ([`AtomicFile::commit`]).
#[derive(Debug)]
pub struct AtomicFile {
    file: tempfile::NamedTempFile,
    target: PathBuf,
    mode: u32,
}

impl AtomicFile {
    /// Starts a file with the final path `target`, in a folder that is made if missing.
    pub fn create(target: &Path) -> io::Result<Self> {
        let folder = target.parent().unwrap_or(Path::new("/"));
        for attempt in 1.. {
            fs_err::create_dir_all(folder)?;
            let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder);
            let file = match made {
                // A writer that failed removes its new folders, if they are empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    continue;
                }
                other => other?,
            };
            // A filesystem without locks is not swept either. The lock is waited for: its holder
            // took the file for a leftover, and removes the file.
            drop(file.as_file().lock());
            // A sweeper has removed it before it was locked: then another one is made.
            if file.as_file().metadata()?.nlink() > 0 {
                return Ok(Self { file, target: target.to_owned(), mode: 0o644 });
            }
        }
        unreachable!("attempts are counted without end")
    }

    /// Final path of the file.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Path of the file before the commit.
    pub fn temporary_path(&self) -> &Path {
        self.file.path()
    }

    /// The file under construction.
    pub fn file(&mut self) -> &mut std::fs::File {
        self.file.as_file_mut()
    }

    /// The file under construction, to be read from its beginning.
    pub fn rewound(&mut self) -> io::Result<&mut std::fs::File> {
        self.file.as_file_mut().rewind()?;
        Ok(self.file.as_file_mut())
    }

    /// Sets the mode that the file has as soon as it has its name; 0644 otherwise.
    #[must_use]
    pub fn with_mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Syncs the file and gives it its final name, replacing what was there.
    pub fn commit(self) -> io::Result<()> {
        self.prepare()?.put_in_place()
    }

    /// Like [`AtomicFile::commit`], without a sync, for files that are checked at each use: a power
    /// cut may damage them.
    pub fn commit_unsynced(self) -> io::Result<()> {
        self.complete()?.put_in_place()
    }

    /// Syncs the file: all of [`AtomicFile::commit`] that takes time.
    pub fn prepare(self) -> io::Result<PreparedFile> {
        // Before the rename: after a power cut, a name must not lead to an empty file.
        self.file.as_file().sync_data().map_err(|error| naming(&self.target, &error))?;
        self.complete()
    }

    fn complete(self) -> io::Result<PreparedFile> {
        use std::os::unix::fs::PermissionsExt;
        self.file
            .as_file()
            .set_permissions(PermissionsExt::from_mode(self.mode))
            .map_err(|error| naming(&self.target, &error))?;
        Ok(PreparedFile { file: self.file, target: self.target })
    }
}

/// Complete file without its final name. Dropping the value removes the file.
#[derive(Debug)]
pub struct PreparedFile {
    file: tempfile::NamedTempFile,
    target: PathBuf,
}

impl PreparedFile {
    /// Renames the file to its final name, replacing any existing file.
    pub fn put_in_place(self) -> io::Result<()> {
        let Self { file, target } = self;
        file.persist(&target).map(drop).map_err(|error| naming(&target, &error.error))
    }

    /// Renames the file to its final name, unless the name exists; returns `false` in that case.
    pub fn put_if_absent(self) -> io::Result<bool> {
        let Self { file, target } = self;
        match file.persist_noclobber(&target) {
            Ok(_) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(naming(&target, &error.error)),
        }
    }
}

/// Adds the path to an error, as `fs_err` does.
fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("failed to write file `{}`: {error}", path.display()))
}

impl Write for AtomicFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => naming(&self.target, &error),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file: synced, and renamed into place. Leftovers of dead writers in the folder are
/// removed.
pub fn write(target: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(target)?;
    file.write_all(content)?;
    file.commit()?;
    // A failed removal is harmless.
    target.parent().map(sweep_temporaries).unwrap_or_default().log();
    Ok(())
}

/// Writes a file unless its content is the same, so that unchanged files keep their times.
pub fn write_if_changed(target: &Path, content: &[u8]) -> io::Result<()> {
    if has_content(target, content).unwrap_or(false) { Ok(()) } else { write(target, content) }
}

/// Prepares the write of [`write_if_changed`].
pub fn prepare_if_changed(target: &Path, content: &[u8]) -> io::Result<Option<PreparedFile>> {
    if has_content(target, content).unwrap_or(false) {
        return Ok(None);
    }
    let mut file = AtomicFile::create(target)?;
    file.write_all(content)?;
    file.prepare().map(Some)
}

fn has_content(path: &Path, content: &[u8]) -> io::Result<bool> {
    // One byte more than wanted shows that the file is longer.
    let mut old = Vec::with_capacity(content.len() + 1);
    // Others may have made a FIFO there, which would wait for a writer.
    open_regular(path)?.take(content.len() as u64 + 1).read_to_end(&mut old)?;
    Ok(old == content)
}

/// Syncs a folder, so that its entries survive a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Lists files and folders with the prefix of those under construction, in use or left; a missing folder has
/// none.
pub fn temporaries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.filter(|path| path.as_ref().map_or(true, is_temporary)).collect()
}

/// Temporary files and folders that a sweep could not remove. A failure stops neither the sweep nor
/// the caller, so the caller reports the failures and goes on.
#[derive(Debug, Default)]
#[must_use = "what stays has to be reported"]
pub struct Unswept(Vec<io::Error>);

impl Unswept {
    /// Notes an attempt to remove something.
    pub fn note(&mut self, attempt: io::Result<()>) {
        self.0.extend(attempt.err());
    }

    /// Adds the failures of another sweep.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Reports to the user.
    pub fn report(self, observer: &dyn Observer) {
        for error in self.0 {
            let message = format!("what an earlier run left cannot be removed: {error}");
            observer.event(Event::Warning { subject: String::new(), message });
        }
    }

    /// Reports to developers, where there is no observer.
    pub fn log(self) {
        for error in self.0 {
            tracing::warn!(%error, "what an earlier run left cannot be removed");
        }
    }

    /// The first error, for callers whose only work is to remove.
    pub fn first(self) -> io::Result<()> {
        self.0.into_iter().next().map_or(Ok(()), Err)
    }
}

/// Folder under construction, removed with all contents on drop.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// Makes a folder in `above`, whose lock protects the folder from [`sweep_under_lock`], which
    /// removes leftovers of killed processes.
    pub fn create(above: &Path) -> io::Result<Self> {
        let made = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(above)?;
        // The crate's own removal has a descriptor open for each level.
        Ok(Self(made.keep()))
    }

    /// Path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Leftovers are swept later.
        drop(remove_all_closed(&self.0));
    }
}

/// Removes temporary files that dead processes left in a folder. A file is locked while it is written, so no
/// other lock is needed; folders are left to [`sweep_under_lock`].
pub fn sweep_temporaries(folder: &Path) -> Unswept {
    sweep_older(folder, Duration::ZERO)
}

/// Like [`sweep_temporaries`], for files older than `age` only: in a folder that machines share, the lock of
/// another machine may be invisible.
pub fn sweep_older(folder: &Path, age: Duration) -> Unswept {
    sweep(folder, |path| {
        let Ok(data) = fs_err::symlink_metadata(path) else { return Ok(()) };
        let is_young =
            || data.modified().map_or(true, |time| time.elapsed().unwrap_or_default() < age);
        if !data.is_file() || (!age.is_zero() && is_young()) {
            return Ok(());
        }
        // A file that cannot be opened belongs to another user, who sweeps it.
        let mut options = fs_err::OpenOptions::new();
        let opened =
            options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
        let Ok(file) = opened else { return Ok(()) };
        if file.file().try_lock().is_ok() { remove_all(path) } else { Ok(()) }
    })
}

/// Removes all temporary files and folders that dead processes left in a folder. The caller holds the lock
/// under which they are made.
pub fn sweep_under_lock(folder: &Path) -> Unswept {
    sweep(folder, remove_all_closed)
}

fn sweep(folder: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> Unswept {
    let mut unswept = Unswept::default();
    match temporaries(folder) {
        Ok(paths) => paths.iter().for_each(|path| unswept.note(remove(path))),
        Err(error) => unswept.note(Err(error)),
    }
    unswept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uncommitted_file_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b");
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs_err::read_dir(folder.path().join("a")).unwrap().count(), 0);
        fs_err::write(folder.path().join("a/.tmp-left"), "half").unwrap();
        write(&target, b"whole").unwrap();
        assert_eq!(fs_err::read(&target).unwrap(), b"whole");
        assert_eq!(fs_err::read_dir(folder.path().join("a")).unwrap().count(), 1);
        let full = naming_file(&File::open(&target).unwrap().into_parts().0, io::Error::other("x"));
        assert!(full.to_string().contains("a/b`: x"), "{full}");
    }

    #[test]
    fn what_is_left_is_swept_and_what_is_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut used = AtomicFile::create(&folder.path().join("used")).unwrap();
        fs_err::write(folder.path().join(".tmp-left"), "half").unwrap();
        fs_err::create_dir(folder.path().join(".tmp-folder")).unwrap();
        sweep_temporaries(folder.path()).first().unwrap();
        used.write_all(b"whole").unwrap();
        used.commit().unwrap();
        let mut names: Vec<_> = fs_err::read_dir(folder.path()).unwrap().collect();
        names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        let names: Vec<_> = names.into_iter().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [".tmp-folder", "used"]);
        fs_err::create_dir_all(folder.path().join(".tmp-folder/closed/below")).unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs_err::set_permissions(folder.path().join(".tmp-folder/closed"), closed).unwrap();
        sweep_under_lock(folder.path()).first().unwrap();
        assert!(temporaries(folder.path()).unwrap().is_empty());
        assert!(folder.path().join("used").exists());
        sweep_under_lock(&folder.path().join("missing")).first().unwrap();
    }

    #[test]
    fn what_cannot_be_removed_keeps_nothing_else_from_going() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs_err::create_dir(folder.path().join(format!(".tmp-{name}"))).unwrap();
        }
        let unswept = sweep(folder.path(), |path| {
            if path.ends_with(".tmp-b") {
                Err(io::Error::other("it is held"))
            } else {
                remove_all(path)
            }
        });
        assert_eq!(temporaries(folder.path()).unwrap(), [folder.path().join(".tmp-b")]);
        assert_eq!(unswept.first().unwrap_err().to_string(), "it is held");
        assert!(sweep_under_lock(Path::new("/proc/self/exe")).first().is_err());
    }
}
