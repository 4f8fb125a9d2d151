//! Writing of a file or folder into a step's root: always made anew, never written through an
//! existing entry.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use fs_err::OpenOptions;
use fs_err::os::unix::fs::OpenOptionsExt;
use nix::sys::stat::Mode;

use crate::base::removal::remove_all;
use crate::base::times::set_time_of;
use crate::container::within_root::Ownership;
use crate::dockerfile::context::kept_attributes;

/// Attributes of a file beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct With {
    pub(super) owner: Ownership,
    pub(super) mode: u32,
    /// True if a folder takes the place of a file, and the reverse, as where an archive is unpacked.
    pub(super) replaces: bool,
}

/// Copies an entry without following symlinks. An existing folder stays, and gets the attributes of
/// the copied folder. Conflicts between folders and other types are errors, unless `with` allows
/// replacement. Sockets and devices are left out. Returns `false` if the owner cannot be recorded
/// on the file itself.
pub(super) fn put(from: &Path, data: &Metadata, to: &Path, with: With) -> io::Result<bool> {
    let kind = data.file_type();
    let there = match fs_err::symlink_metadata(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found?),
    };
    if kind.is_dir() {
        match there {
            Some(there) if there.is_dir() => {}
            Some(_) if with.replaces => {
                fs_err::remove_file(to)?;
                fs_err::create_dir(to)?;
            }
            Some(_) => return Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
            None => fs_err::create_dir(to)?,
        }
    } else {
        match there {
            Some(there) if there.is_dir() && with.replaces => remove_all(to)?,
            Some(there) if there.is_dir() => {
                return Err(io::Error::from_raw_os_error(libc::EISDIR));
            }
            Some(_) => fs_err::remove_file(to)?,
            None => {}
        }
        if kind.is_symlink() {
            fs_err::os::unix::fs::symlink(fs_err::read_link(from)?, to)?;
        } else if kind.is_fifo() {
            nix::unistd::mkfifo(to, Mode::S_IRUSR | Mode::S_IWUSR)?;
        } else if kind.is_file() {
            let mut source = open_file(from)?;
            let mut target =
                // Private until it has its owner: a copied key must not be readable for a moment.
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            io::copy(&mut source, &mut target)?;
        } else {
            // A socket or a device, which no layer of a build has.
            return Ok(true);
        }
    }
    // A change of owner clears capabilities and set-id bits, so it comes first.
    let is_given = with.owner.apply(to)?;
    if kind.is_dir() || kind.is_file() {
        copy_attributes(from, to)?;
    }
    if !kind.is_symlink() {
        fs_err::set_permissions(to, std::fs::Permissions::from_mode(with.mode & 0o7777))?;
    }
    set_time_of(to, data)?;
    Ok(is_given)
}

/// Makes a hard link, in place of an existing file; a folder has to be removed before.
pub(super) fn link(file: &Path, to: &Path, replaces: bool) -> io::Result<()> {
    match fs_err::symlink_metadata(to) {
        Ok(there) if there.is_dir() && replaces => remove_all(to)?,
        Ok(there) if there.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
        Ok(_) if to == file => return Ok(()),
        Ok(_) => fs_err::remove_file(to)?,
        Err(_) => {}
    }
    fs_err::hard_link(file, to)
}

/// Writes a file with a text.
pub(super) fn put_text(text: &str, to: &Path, with: With) -> io::Result<()> {
    match fs_err::symlink_metadata(to) {
        Ok(there) if there.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
        Ok(_) => fs_err::remove_file(to)?,
        Err(_) => {}
    }
    fs_err::write(to, text)?;
    with.owner.apply(to).map(drop)?;
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(with.mode & 0o7777))
}

/// Opens a regular file: a FIFO in its place would wait for a writer.
fn open_file(path: &Path) -> io::Result<fs_err::File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!("{} is no longer a regular file", path.display())))
}

/// Copies the attributes that layers keep. Attributes that cannot be set are left out.
fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    for (name, value) in kept_attributes(from)? {
        match xattr::set(to, &name, &value) {
            // Capabilities need a right in the namespace of the filesystem (capabilities(7),
            // "Namespaced file capabilities").
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOTSUP)) => {}
            set => set?,
        }
    }
    Ok(())
}
