//! Recording of file owners set by a container's programs, in the single-id tier.
//!
//! The seccomp filter of such a container notifies this process of each call that changes owners
//! (see [`super::seccomp::table::recorded`]). The process makes the call itself with the
//! container's only id, which fails where the call would fail, copies a file up from a layer below,
//! and clears set-id bits and capabilities; then the intended owner is recorded:
//!
//! - by the attribute of a file or folder (see [`crate::archive::OwnerNote`]);
//! - in a list for symlinks and similar files, by their identity in the upper directory.
//!
//! Only files on the container's root are recorded: mounts are in no layer. Calls whose files
//! cannot be determined succeed, and are reported in the end ([`Recorder::finish`]): then owners
//! may be lost.
//!
//! No program in a container can block this process: files are opened with `O_PATH` only, and a
//! notification is read only when present.

mod call;
mod caller;
mod chown_command;
mod notifications;

pub(super) use notifications::Notifications;

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{Gid, Uid, fchownat};

use self::call::{RecordedCall, decode};
use self::caller::{Caller, FailedLookup, field, place};
use self::chown_command::NamedId;
use super::sandbox::User;
use super::seccomp::table::{self, PolicyRow};
use super::{namespace, sys};
use crate::archive::{FileIdentity, NotedId, OwnerNote};

/// Extended attribute that overlayfs sets on copied-up files and folders.
const ORIGIN: &str = "user.overlay.origin";

/// Owners set by a container's programs.
#[derive(Debug, Default)]
pub struct RecordedOwners {
    /// Owners of files that cannot have extended attributes.
    pub notes: HashMap<FileIdentity, OwnerNote>,
    /// True if something may have been lost.
    pub is_incomplete: bool,
}

/// Recipient of a container's notifications, and the owners recorded so far.
#[derive(Debug)]
pub struct Recorder {
    /// Upper directory of the container's root.
    upper: PathBuf,
    /// User of the command.
    user: User,
    /// Recorded system calls.
    calls: Vec<PolicyRow>,
    state: RefCell<RecorderState>,
}

#[derive(Debug, Default)]
struct RecorderState {
    recorded: RecordedOwners,
    /// True if notifications can arrive: the container's filter holds.
    has_begun: bool,
    /// Mount id of the container's root.
    root: Option<u64>,
}

impl Recorder {
    /// Creates a recorder for a container with this upper directory, whose command runs as `user`.
    pub fn new(upper: &Path, user: User) -> Self {
        let calls = table::recorded();
        Self { upper: upper.to_owned(), user, calls, state: RefCell::default() }
    }

    /// Returns the recorded owners.
    pub fn finish(self) -> RecordedOwners {
        let RecorderState { mut recorded, has_begun, .. } = self.state.into_inner();
        // Without the filter, calls of root are not recorded; those of other users are refused by the
        // kernel, so nothing is lost.
        recorded.is_incomplete |= !has_begun && self.user.uid == 0;
        recorded
    }

    /// Prepares for the notifications of a container.
    pub(super) fn begin(&self, listener: BorrowedFd<'_>) {
        if let Err(errno) = sys::answer_on_the_same_processor(listener) {
            tracing::debug!(%errno, "chown takes longer");
        }
        self.state.borrow_mut().has_begun = true;
    }

    /// Mount id of the container's root, looked up through a notifying process: the container's first
    /// process is not dumpable, so its folder in `/proc` is closed.
    fn root(&self, caller: &Caller) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        if state.root.is_none() {
            state.root = caller.top().and_then(|top| field(top.as_fd(), "mnt_id"));
        }
        state.root
    }

    /// Answers a pending notification.
    pub(super) fn answer(&self, listener: BorrowedFd<'_>) -> nix::Result<()> {
        let notification = match sys::receive_notification(listener) {
            // The caller is gone.
            Err(Errno::ENOENT | Errno::EINTR) => return Ok(()),
            taken => taken?,
        };
        let done = match decode(&self.calls, &notification) {
            Some(RecordedCall::Chown { file, user, group }) => {
                let caller = Caller::of(notification.thread);
                let found = caller.as_ref().ok_or(FailedLookup::Unknown);
                let found = found.and_then(|caller| Ok((caller.find(file)?, self.root(caller))));
                let named_id = || caller.as_ref().and_then(Caller::named_id);
                // After all that was read of the caller: the thread's id may have been reused before
                // (seccomp_unotify(2)).
                if !sys::is_still_waited_for(listener, notification.id) {
                    return Ok(());
                }
                match found {
                    Ok((file, Some(root))) => {
                        self.change_owner(&file, root, (user, group), &named_id)
                    }
                    Ok((_, None)) => {
                        self.note_loss("the container's root was not found");
                        Ok(())
                    }
                    Err(FailedLookup::Errno(errno)) => Err(errno),
                    Err(FailedLookup::Unknown) => {
                        self.note_loss("a file was not found");
                        Ok(())
                    }
                }
            }
            Some(RecordedCall::Become { groups, ids }) => {
                let own = if groups { self.user.gid } else { self.user.uid };
                if ids.iter().flatten().any(|id| *id != own) {
                    self.note_loss("a program went on as another user");
                }
                Ok(())
            }
            None => Ok(()),
        };
        match sys::answer(listener, notification.id, done) {
            Err(Errno::ENOENT) => Ok(()),
            sent => sent,
        }
    }

    /// Notes that owners may be lost.
    fn note_loss(&self, why: &str) {
        tracing::debug!("owners may be lost: {why}");
        self.state.borrow_mut().recorded.is_incomplete = true;
    }

    /// Changes the owner of a file, and records the owner if the file is on the container's root.
    fn change_owner(
        &self,
        file: &OwnedFd,
        root: u64,
        (user, group): (Option<u32>, Option<u32>),
        named_id: &dyn Fn() -> Option<NamedId>,
    ) -> nix::Result<()> {
        let data = fstat(file)?;
        let is_ours = field(file.as_fd(), "mnt_id") == Some(root);
        let mut root_file = RootFile { file, upper: &self.upper, data, is_from_below: None };
        if self.user.uid != 0 {
            self.check_permission(is_ours.then_some(&mut root_file), user, group)?;
        }
        // Determined now, as the following call copies the file up: afterwards, without an attribute, a
        // new file and a copied one look the same.
        if is_ours && !root_file.can_have_attributes() {
            root_file.is_from_below();
        }
        let zero = |id: Option<u32>| id.map(|_| 0);
        let (uid, gid) = (zero(user).map(Uid::from_raw), zero(group).map(Gid::from_raw));
        fchownat(file, "", uid, gid, AtFlags::AT_EMPTY_PATH)?;
        let is_something = user.is_some() || group.is_some();
        if is_ours && is_something && !self.note(&mut root_file, (user, group), named_id) {
            self.note_loss("an owner can't be noted");
        }
        Ok(())
    }

    /// Checks the permission of a user other than root: such a user may change own files only, to
    /// groups of their own. Nothing is known about files in mounts.
    fn check_permission(
        &self,
        root_file: Option<&mut RootFile<'_>>,
        user: Option<u32>,
        group: Option<u32>,
    ) -> nix::Result<()> {
        let is_own =
            root_file.is_none_or(|root_file| match root_file.note().unwrap_or_default().user {
                NotedId::Is(id) => id == self.user.uid,
                NotedId::Same | NotedId::Unset => !root_file.is_from_below(),
            });
        let has_group = |group| group == self.user.gid || self.user.groups.contains(&group);
        let may = user.is_none_or(|user| user == self.user.uid) && group.is_none_or(has_group);
        let is_nothing = user.is_none() && group.is_none();
        if is_nothing || (is_own && may) { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Records the new owner of a file; returns false if the record cannot be written.
    fn note(
        &self,
        root_file: &mut RootFile<'_>,
        (mut user, mut group): (Option<u32>, Option<u32>),
        named_id: &dyn Fn() -> Option<NamedId>,
    ) -> bool {
        let identity = if root_file.can_have_attributes() { None } else { root_file.identity() };
        let listed = |of: &FileIdentity| self.state.borrow().recorded.notes.get(of).copied();
        let before = root_file.note().or_else(|| identity.as_ref().and_then(listed));
        let before = before.unwrap_or_default();
        // An id equal to the visible one may be Busybox's filler for the id that the command line does
        // not name (see `chown_command`); then the recorded one stays.
        let seems = |given, before, shown| given == Some(shown) && matches!(before, NotedId::Is(_));
        if seems(user, before.user, self.user.uid) && named_id() == Some(NamedId::Group) {
            user = None;
        }
        if seems(group, before.group, self.user.gid) && named_id() == Some(NamedId::User) {
            group = None;
        }
        let is_new =
            self.user.uid == 0 && (root_file.can_have_attributes() || !root_file.is_from_below());
        let part = |given: Option<u32>, before: NotedId, shown: u32| match (given, before) {
            (None, before) => before,
            (Some(id), NotedId::Unset | NotedId::Same) if id == shown && is_new => NotedId::Same,
            (Some(id), _) => NotedId::Is(id),
        };
        let note = OwnerNote {
            user: part(user, before.user, self.user.uid),
            group: part(group, before.group, self.user.gid),
        };
        if root_file.can_have_attributes() {
            return note == before || note.write_through(&root_file.path()).is_ok();
        }
        let Some(identity) = identity else { return false };
        self.state.borrow_mut().recorded.notes.insert(identity, note);
        true
    }
}

/// File on the container's root, with its recorded state.
struct RootFile<'a> {
    file: &'a OwnedFd,
    upper: &'a Path,
    data: FileStat,
    is_from_below: Option<bool>,
}

impl RootFile<'_> {
    /// True if the file can have extended attributes.
    fn can_have_attributes(&self) -> bool {
        let kind = SFlag::from_bits_truncate(self.data.st_mode) & SFlag::S_IFMT;
        kind == SFlag::S_IFREG || kind == SFlag::S_IFDIR
    }

    /// Path for access to the attributes.
    fn path(&self) -> PathBuf {
        namespace::fd_path(self.file).into()
    }

    /// Owner in the file's attribute.
    fn note(&self) -> Option<OwnerNote> {
        if self.can_have_attributes() { OwnerNote::read_through(&self.path()).ok()? } else { None }
    }

    /// Path in the upper directory, if the file is in there.
    fn upper(&self) -> Option<PathBuf> {
        let place = place(self.file)?;
        let upper = self.upper.join(place.strip_prefix("/").ok()?);
        fs_err::symlink_metadata(&upper).is_ok().then_some(upper)
    }

    /// True if the file comes from a layer below, whether copied up or not.
    fn is_from_below(&mut self) -> bool {
        if let Some(known) = self.is_from_below {
            return known;
        }
        let can_have_attributes = self.can_have_attributes();
        let found = self.upper().is_none_or(|upper| {
            can_have_attributes && xattr::get(upper, ORIGIN).is_ok_and(|origin| origin.is_some())
        });
        *self.is_from_below.insert(found)
    }

    /// Identity in the upper directory, if the file is there.
    fn identity(&self) -> Option<FileIdentity> {
        fs_err::symlink_metadata(self.upper()?).ok().map(|data| FileIdentity::of(&data))
    }
}
