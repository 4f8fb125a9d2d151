//! Writing the set that is to become active, as `<path>.new`, and removing what is not to.
//!
//! Links are made below open folders: a set has many of them in few folders. Nothing is synced file
//! by file; [`sync`] makes all of it durable at once, before the swap is recorded.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{symlinkat, syncfs};

use super::paths::{Host, with_suffix};
use super::progress::{NEW, OLD};
use crate::archive::EntryPath;
use crate::install::{InstallPlan, Node, WANTS};

/// What the names of the prepared copies of units end with.
pub(super) const NEW_UNIT: &str = ".unit.new";

/// The set before, from the moment on at which it is being removed.
const DISCARDED: &str = "discarded.new";

/// The next set can't be prepared, or what is left can't be removed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something can't be written.
    #[error("can't prepare {}", path.display())]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something can't be removed.
    #[error("can't remove what an earlier run left")]
    Remove(#[source] io::Error),
    /// The disk doesn't take it.
    #[error("can't sync {}", path.display())]
    Sync {
        /// A folder of it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes the prepared set, and the copies of units that it wants.
pub(super) fn write(host: &Host, plan: &InstallPlan) -> Result<(), PrepareError> {
    let mut writer = Writer { host, last: None };
    for (path, node) in &plan.nodes {
        writer.node(path, node)?;
    }
    for unit in &plan.units {
        let from = host.repository().join(unit.package.to_string()).join(unit.file.as_path());
        let to = with_suffix(&host.units().join(unit.name.as_path()), NEW_UNIT);
        copy(&from, &to).map_err(|source| PrepareError::Write { path: to, source })?;
    }
    Ok(())
}

struct Writer<'a> {
    host: &'a Host,
    /// The folder that was written to last: most of a set comes in its order.
    last: Option<(Vec<u8>, File)>,
}

impl Writer<'_> {
    fn node(&mut self, path: &EntryPath, node: &Node) -> Result<(), PrepareError> {
        let Some((above, name)) = path.split() else { return Ok(()) };
        let name = match above {
            b"" => OsString::from_iter([OsStr::from_bytes(name), OsStr::new(NEW)]),
            _ => OsStr::from_bytes(name).to_owned(),
        };
        let failed = |source: io::Error| PrepareError::Write { path: self.place(path), source };
        // Only the units' folder may lie elsewhere.
        let is_wants = path.as_bytes() == WANTS.as_bytes();
        let known = self.last.as_ref().is_some_and(|(last, _)| last == above) && !is_wants;
        if !known {
            let folder = match above {
                b"" if is_wants => self.host.units().to_owned(),
                b"" => self.host.root().to_owned(),
                _ => self.place(&EntryPath::parse(above).unwrap_or_default()),
            };
            if is_wants {
                fs_err::create_dir_all(&folder).map_err(failed)?;
            }
            let folder = fs_err::File::open(folder).map_err(failed)?.into_parts().0;
            self.last = Some((if is_wants { b"/".to_vec() } else { above.to_vec() }, folder));
        }
        let Some((_, folder)) = &self.last else { return Ok(()) };
        make(folder, &name, node)
            .map_err(|source| PrepareError::Write { path: self.place(path), source })
    }

    /// Where a path of the plan is while it is prepared.
    fn place(&self, path: &EntryPath) -> PathBuf {
        let mut parts = path.parts();
        let top = OsStr::from_bytes(parts.next().unwrap_or_default());
        let above = if top == WANTS { self.host.units() } else { self.host.root() };
        let mut place = with_suffix(&above.join(top), NEW);
        place.extend(parts.map(OsStr::from_bytes));
        place
    }
}

fn make(folder: &File, name: &OsStr, node: &Node) -> io::Result<()> {
    match node {
        Node::Directory => {
            mkdirat(folder.as_fd(), name, Mode::from_bits_truncate(0o755)).map_err(io::Error::from)
        }
        Node::Symlink(target) => {
            symlinkat(OsStr::from_bytes(target), folder.as_fd(), name).map_err(io::Error::from)
        }
        Node::File(content) => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let mode = Mode::from_bits_truncate(0o644);
            let file = openat(folder.as_fd(), name, flags, mode)?;
            // Whatever the umask is: services of all users read these.
            fchmod(&file, mode)?;
            File::from(file).write_all(content)
        }
        Node::Copy { .. } => Err(io::Error::other("a host's units are copied elsewhere")),
    }
}

/// Copies a unit, which must not have become a link or a FIFO since it was looked at.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(from)?;
    if !source.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is no file", from.display())));
    }
    let mut target = fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(to)?;
    io::copy(&mut source, &mut target).map(drop)
}

/// Removes what is prepared, or what is left of a set that was.
pub(super) fn remove_new(host: &Host) -> Result<(), PrepareError> {
    let names = host.swapped().into_iter().map(|path| with_suffix(&path, NEW));
    let rest = [host.root().join("install_progress.new"), host.root().join(DISCARDED)];
    for path in names.chain(rest) {
        remove(&path).map_err(PrepareError::Remove)?;
    }
    for path in staged_units(host).map_err(PrepareError::Remove)? {
        remove(&path).map_err(PrepareError::Remove)?;
    }
    // Without the list of its packages it is what is left of one that was being removed.
    if !host.root().join("active.old").exists() {
        remove_old(host)?;
    }
    Ok(())
}

/// Removes the set before. It is gone from the first step on.
pub(super) fn remove_old(host: &Host) -> Result<(), PrepareError> {
    let discard = || {
        let (active, discarded) = (host.root().join("active.old"), host.root().join(DISCARDED));
        remove(&discarded)?;
        match fs_err::rename(&active, &discarded) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for path in host.swapped() {
            remove(&with_suffix(&path, OLD))?;
        }
        remove(&discarded)
    };
    discard().map_err(PrepareError::Remove)
}

/// Copies of units that are prepared.
fn staged_units(host: &Host) -> io::Result<Vec<PathBuf>> {
    let entries = match fs_err::read_dir(host.units()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut staged = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_bytes().ends_with(NEW_UNIT.as_bytes()) && !entry.file_type()?.is_dir() {
            staged.push(entry.path());
        }
    }
    Ok(staged)
}

/// Removes whatever is there, if something is.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let kind = match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.file_type(),
    };
    if kind.is_dir() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) }
}

/// Sees to it that all that was written is on disk.
pub(super) fn sync<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Result<(), PrepareError> {
    let mut synced = BTreeSet::new();
    for folder in folders {
        let failed = |source| PrepareError::Sync { path: folder.to_owned(), source };
        let file = match fs_err::File::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        if synced.insert(file.metadata().map_err(failed)?.dev()) {
            syncfs(file.file().as_fd()).map_err(|error| failed(error.into()))?;
        }
    }
    Ok(())
}
