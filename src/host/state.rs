//! State directories: files of services, kept for all versions of their packages.
//!
//! Their content belongs to a service, which may nest folders, move them, and put links there while
//! the owner is being changed. So the walk uses descriptors, follows no symlink, and skips files
//! with several names: such a file may be a hard link to a file of root's made by the service
//! (CVE-2017-18078).

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Uid, fchown, fchownat};

use super::paths::Host;
use crate::base::descent::{Descent, FOLDER};
use crate::base::event::{Event, Observer};
use crate::install::PackageContents;

/// Number of names that a warning shows.
const SHOWN: usize = 3;

/// Upper limit of a path's bytes in a message.
const LONGEST_SHOWN: usize = 400;

/// Upper limit of attempts for a folder that is moved meanwhile.
const ATTEMPTS: u32 = 4;

/// A state directory cannot be made, or cannot be given to its user.
#[derive(Debug, thiserror::Error)]
#[error("can't set up the state directory {}", path.display())]
pub struct StateError {
    /// The directory.
    path: PathBuf,
    /// Reason.
    #[source]
    source: io::Error,
}

/// Makes missing state directories for their packages' users; adds the new ones to `made`.
pub(super) fn make(
    host: &Host,
    packages: &[PackageContents],
    uid_of: impl Fn(&str) -> Option<u32>,
    made: &mut Vec<PathBuf>,
) -> Result<(), StateError> {
    for package in packages.iter().filter(|package| package.info.state_directory) {
        let path = place(host, package);
        let failed = |source| StateError { path: path.clone(), source };
        fs_err::create_dir_all(host.state()).map_err(failed)?;
        match fs_err::create_dir(&path) {
            Ok(()) => made.push(path.clone()),
            // An administrator may have put a link there, to another disk.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => continue,
            Err(source) => return Err(failed(source)),
        }
        let user = package.info.username.as_ref();
        if let Some(uid) = user.and_then(|user| uid_of(user.as_str())) {
            give_folder(&path, Uid::from_raw(uid)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Changes the owner of state directories, with their contents, to their packages' users. A failure
/// does not stop the others; the first error is returned for the caller's message.
pub(super) fn change_owners(
    host: &Host,
    packages: &[PackageContents],
    uid_of: impl Fn(&str) -> Option<u32>,
    observer: &dyn Observer,
) -> Result<(), StateError> {
    let mut outcome = Ok(());
    for package in packages.iter().filter(|package| package.info.state_directory) {
        let user = package.info.username.as_ref();
        let Some(uid) = user.and_then(|user| uid_of(user.as_str())) else { continue };
        let path = place(host, package);
        match give_folder(&path, Uid::from_raw(uid)) {
            Ok(linked) => warn_of_links(&path, package, &linked, observer),
            Err(source) => outcome = outcome.and(Err(StateError { path, source })),
        }
    }
    outcome
}

fn warn_of_links(
    path: &Path,
    package: &PackageContents,
    linked: &[CString],
    observer: &dyn Observer,
) {
    if linked.is_empty() {
        return;
    }
    let names: Vec<_> = linked.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = linked.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(", and {more} more") };
    let message = format!(
        "files in {} stay whose they are, as they have other names, too: {}{more}",
        path.display(),
        names.join(", ")
    );
    observer.event(Event::Warning { subject: package.id.to_string(), message });
}

fn place(host: &Host, package: &PackageContents) -> PathBuf {
    host.state().join(package.id.name().as_str())
}

/// A folder whose content is being given away.
#[derive(Debug)]
struct GivenFolder {
    name: CString,
    /// Names of the entries that are left.
    left: Vec<CString>,
    owner: u32,
}

/// Changes the owner of a folder and of all entries below; returns the names of files that were
/// skipped because they have several names.
fn give_folder(path: &Path, to: Uid) -> io::Result<Vec<CString>> {
    for attempt in 1.. {
        // The folder itself may be a link of the administrator's: only root can write above it.
        let top = OwnedFd::from(fs_err::File::open(path)?.into_parts().0);
        let mut giving =
            Giving { path, to, way: Descent::new(top), linked: Vec::new(), last: None };
        match giving.change_all() {
            // The service moves its folders meanwhile.
            Err(Errno::ESTALE) if attempt < ATTEMPTS => {}
            Err(error) => return Err(giving.named(error)),
            Ok(()) => return Ok(giving.linked),
        }
    }
    Ok(Vec::new())
}

struct Giving<'a> {
    path: &'a Path,
    to: Uid,
    way: Descent<GivenFolder>,
    linked: Vec<CString>,
    /// Entry whose owner could not be changed.
    last: Option<CString>,
}

impl Giving<'_> {
    fn change_all(&mut self) -> nix::Result<()> {
        // The top folder is entered by its own name `.`, so that it is handled as all folders below it.
        let top = openat(self.way.current(), c".", FOLDER, Mode::empty())?;
        self.enter(c"", top)?;
        while let Some(given) = self.way.note() {
            match given.left.pop() {
                Some(name) => self.entry(&name).inspect_err(|_| self.last = Some(name))?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, name: &CStr, folder: OwnedFd) -> nix::Result<()> {
        let mut left = Vec::new();
        for entry in Dir::openat(&folder, c".", FOLDER, Mode::empty())?.iter() {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                left.push(entry.file_name().to_owned());
            }
        }
        let owner = fstat(&folder)?.st_uid;
        self.way.enter(folder, GivenFolder { name: name.to_owned(), left, owner })
    }

    /// Gives the current folder away: last, as until then its content is not the service's to change.
    fn leave(&mut self) -> nix::Result<()> {
        let owner = self.way.note().map(|given| given.owner);
        if owner.is_some_and(|owner| owner != self.to.as_raw()) {
            fchown(self.way.current(), Some(self.to), None)?;
        }
        self.way.leave().map(drop).map_err(|_moved| Errno::ESTALE)
    }

    fn entry(&mut self, name: &CStr) -> nix::Result<()> {
        // Opens nothing: neither is a FIFO waited for, nor does a device do anything.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let entry = match openat(self.way.current(), name, flags, Mode::empty()) {
            // Services may run already, and remove their files.
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        let there = fstat(&entry)?;
        if SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
            // The examined folder, whatever has its name by now.
            let folder = openat(&entry, c".", FOLDER, Mode::empty())?;
            return self.enter(name, folder);
        }
        if there.st_uid == self.to.as_raw() {
            return Ok(());
        }
        // Mere `fchownat` would give a service `/etc/shadow`, had it linked that name here.
        if there.st_nlink > 1 {
            self.linked.push(name.to_owned());
            return Ok(());
        }
        // The very file that was looked at: its name may lead to another one by now.
        fchownat(&entry, c"", Some(self.to), None, AtFlags::AT_EMPTY_PATH)
    }

    /// Makes an error with the path of the folder.
    fn named(&self, error: Errno) -> io::Error {
        let mut path = self.path.to_owned();
        for given in self.way.notes().skip(1) {
            if path.as_os_str().len() > LONGEST_SHOWN {
                path.push("…");
                break;
            }
            path.push(OsStr::from_bytes(given.name.to_bytes()));
        }
        if let Some(name) = &self.last {
            path.push(OsStr::from_bytes(name.to_bytes()));
        }
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("failed to give away `{}`: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    const TO: u32 = 4242;

    fn owner(path: &Path) -> u32 {
        fs_err::symlink_metadata(path).unwrap().uid()
    }

    /// Returns a user to give files to: another user if the test runs as root, else the same user,
    /// as only root can change owners.
    fn user() -> Uid {
        let own = Uid::effective();
        if own.is_root() { Uid::from_raw(TO) } else { own }
    }

    #[test]
    fn all_that_is_in_it_is_given_but_for_what_is_elsewhere_too() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs_err::create_dir_all(path("state/deep/er")).unwrap();
        for name in ["state/file", "state/deep/er/file", "roots", "elsewhere"] {
            fs_err::write(path(name), "").unwrap();
        }
        fs_err::hard_link(path("roots"), path("state/deep/link")).unwrap();
        fs_err::hard_link(path("state/file"), path("state/own-link")).unwrap();
        symlink(path("elsewhere"), path("state/symlink")).unwrap();
        nix::unistd::mkfifo(&path("state/fifo"), Mode::S_IRWXU).unwrap();
        let mut linked = give_folder(&path("state"), user()).unwrap();
        linked.sort();
        let given = ["state", "state/deep", "state/deep/er", "state/deep/er/file", "state/fifo"];
        for name in given.into_iter().chain(["state/symlink"]) {
            assert_eq!(owner(&path(name)), user().as_raw(), "{name}");
        }
        let own = Uid::effective().as_raw();
        for name in ["roots", "elsewhere", "state/file"] {
            assert_eq!(owner(&path(name)), own, "{name}");
        }
        if Uid::effective().is_root() {
            assert_eq!(linked, [c"file", c"link", c"own-link"].map(CStr::to_owned));
        }
        // Through an administrator's link it is the folder to which that leads.
        symlink(path("state"), path("moved")).unwrap();
        assert!(give_folder(&path("moved"), user()).is_ok());
    }

    #[test]
    fn what_is_given_may_be_of_any_depth() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = OwnedFd::from(fs_err::File::open(home.path()).unwrap().into_parts().0);
        for _ in 0..2_500 {
            nix::sys::stat::mkdirat(&folder, c"d", Mode::S_IRWXU).unwrap();
            folder = openat(&folder, c"d", FOLDER, Mode::empty()).unwrap();
        }
        give_folder(home.path(), user()).unwrap();
        assert_eq!(fstat(&folder).unwrap().st_uid, user().as_raw());
        crate::base::removal::remove_all(&home.path().join("d")).unwrap();
    }
}
