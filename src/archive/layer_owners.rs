//! File owners, kept in an extended attribute in the single-id tier, where `chown` is impossible.
//!
//! A file or folder has its owner in an extended attribute, [`OWNER_ATTRIBUTE`]: `USER:GROUP`, each
//! a number, `=` or `-`, see [`NotedId`]. In a complete layer, both are numbers, and files of root
//! have no attribute; a copy of a file together with its attributes keeps the owner. The owners of
//! files without such attributes (symlinks, FIFOs) are kept by [`FileIdentity`] while a layer is
//! made, and in the list beside the layer later.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::path::EntryPath;

/// Extended attribute with the owner of a file, where `chown` is impossible: `USER:GROUP`.
pub const OWNER_ATTRIBUTE: &str = "user.mkpanda.owner";

/// A user or group id as a file's note has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotedId {
    /// The id was set.
    Is(u32),
    /// The id was set to the visible id of the file. On a new file, the intention is either that
    /// id, or to keep the owner of the file that the new one will replace (`sed -i`, `useradd` with
    /// `/etc/shadow`), whose visible id was copied: then the replaced file's id is kept.
    Same,
    /// The id was never set.
    #[default]
    Unset,
}

impl NotedId {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "=" => Some(Self::Same),
            "-" => Some(Self::Unset),
            number => number.parse().ok().map(Self::Is),
        }
    }

    /// Returns the resulting id.
    fn resolve(self, replaced: Option<u32>, own: u32) -> u32 {
        match self {
            Self::Is(id) => id,
            Self::Same => replaced.unwrap_or(own),
            Self::Unset => own,
        }
    }
}

impl fmt::Display for NotedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(id) => id.fmt(f),
            Self::Same => f.write_str("="),
            Self::Unset => f.write_str("-"),
        }
    }
}

/// Owner in a file's attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnerNote {
    /// The user.
    pub user: NotedId,
    /// The group.
    pub group: NotedId,
}

impl OwnerNote {
    /// Makes a note of two numbers.
    pub fn of((user, group): (u32, u32)) -> Self {
        Self { user: NotedId::Is(user), group: NotedId::Is(group) }
    }

    /// Parses the attribute's value; `None` if not valid, which counts as missing.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (user, group) = std::str::from_utf8(value).ok()?.split_once(':')?;
        Some(Self { user: NotedId::parse(user)?, group: NotedId::parse(group)? })
    }

    /// Reads the note of a file or folder.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        Ok(xattr::get(path, OWNER_ATTRIBUTE)?.and_then(|value| Self::parse(&value)))
    }

    /// Reads the note of the file to which a link in `/proc/self/fd` leads.
    pub fn read_through(link: &Path) -> io::Result<Option<Self>> {
        Ok(xattr::get_deref(link, OWNER_ATTRIBUTE)?.and_then(|value| Self::parse(&value)))
    }

    /// Writes a note of the file to which a link in `/proc/self/fd` leads.
    pub fn write_through(self, link: &Path) -> io::Result<()> {
        xattr::set_deref(link, OWNER_ATTRIBUTE, self.to_string().as_bytes())
    }

    /// Writes a note of a file or folder.
    fn write(self, path: &Path) -> io::Result<()> {
        xattr::set(path, OWNER_ATTRIBUTE, self.to_string().as_bytes())
    }

    /// Returns the resulting owner: `replaced` is the owner of the replaced file, `own` the default
    /// owner.
    pub fn resolve(self, replaced: Option<(u32, u32)>, own: (u32, u32)) -> (u32, u32) {
        let user = self.user.resolve(replaced.map(|ids| ids.0), own.0);
        (user, self.group.resolve(replaced.map(|ids| ids.1), own.1))
    }
}

impl fmt::Display for OwnerNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

/// Records the owner of a file or folder in its layer, where `chown` is impossible.
pub fn write_owner(path: &Path, owner: (u32, u32)) -> io::Result<()> {
    OwnerNote::of(owner).write(path)
}

/// Sets or removes the attribute of a file in a complete layer, so that the attribute matches `owner`;
/// `said` is the present one. Files of root have none.
pub(super) fn correct_owner(
    path: &Path,
    said: Option<OwnerNote>,
    owner: (u32, u32),
) -> io::Result<()> {
    let due = Some(owner).filter(|owner| *owner != (0, 0)).map(OwnerNote::of);
    if said == due {
        return Ok(());
    }
    let corrected = match due {
        Some(note) => note.write(path),
        None => xattr::remove(path, OWNER_ATTRIBUTE),
    };
    match corrected {
        // The filesystem has no such attributes, but the list beside the layer has the owner, too.
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => Ok(()),
        corrected => corrected,
    }
}

/// Identity of a file among all files of its filesystem, including later files with the same inode
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl FileIdentity {
    /// Returns the identity of a file.
    pub fn of(data: &Metadata) -> Self {
        Self { device: data.dev(), inode: data.ino(), created: data.created().ok() }
    }
}

/// Entry of a layer under construction, as input of a search for its owner.
#[derive(Debug, Clone, Copy)]
pub struct Ownable<'a> {
    /// Path.
    pub path: &'a EntryPath,
    /// Owner in the file's attribute.
    pub note: Option<OwnerNote>,
    /// True if overlayfs has copied the entry up from a layer below: files and folders have a mark then.
    pub is_copied_up: bool,
    /// Group of the parent folder, if the folder passes its group to new files (set-group-id).
    pub group_of_folder: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for text in ["7:8", "0:0", "-:8", "7:-", "=:=", "=:4294967294"] {
            assert_eq!(OwnerNote::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in ["", "7", "7:", ":", "x:1", "1:2:3", "4294967296:1", "\u{fffd}"] {
            assert_eq!(OwnerNote::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_a_note_leaves_open_is_filled_in() {
        let resolve = |text: &str, replaced| {
            OwnerNote::parse(text.as_bytes()).unwrap().resolve(replaced, (1, 2))
        };
        assert_eq!(resolve("7:8", Some((3, 4))), (7, 8));
        assert_eq!(resolve("7:-", Some((3, 4))), (7, 2));
        assert_eq!(resolve("=:=", Some((3, 4))), (3, 4));
        assert_eq!(resolve("=:-", None), (1, 2));
    }
}
