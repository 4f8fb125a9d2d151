//! A root without overlay: layers merged into one folder by copying (a reflink where the filesystem
//! has them). The slowest way, for kernels and outer containers that give no overlay.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::AtFlags;
use walkdir::WalkDir;

use crate::archive::{Whiteouts, is_opaque_at, is_whiteout_at};
use crate::base::removal::remove_all;
use crate::base::times::set_time_of;

/// Lays one unpacked layer, in overlay form, over a folder. Sockets are left out.
pub fn merge_layer(layer: &Path, target: &Path) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in WalkDir::new(layer).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let Ok(relative) = entry.path().strip_prefix(layer) else { continue };
        let place = target.join(relative);
        let metadata = entry.metadata()?;
        let kind = metadata.file_type();
        if kind.is_socket() {
            continue;
        }
        if is_whiteout_at(entry.path(), &metadata)? {
            remove_all(&place)?;
            continue;
        }
        if kind.is_dir() {
            let opaque = is_opaque_at(entry.path())?;
            if opaque || !fs_err::symlink_metadata(&place).is_ok_and(|old| old.is_dir()) {
                remove_all(&place)?;
                fs_err::create_dir(&place)?;
            }
            folders.push((place.clone(), metadata.clone()));
        } else {
            remove_all(&place)?;
            copy_one(entry.path(), &place, &metadata)?;
        }
        own_like(&place, &metadata)?;
        // After the owner: a change of owner takes the set-id bits from a file (chown(2)).
        if !kind.is_symlink() && !kind.is_dir() {
            fs_err::set_permissions(
                &place,
                std::fs::Permissions::from_mode(metadata.mode() & 0o7777),
            )?;
        }
        set_time_of(&place, &metadata)?;
    }
    // Last, since a folder's own mode may forbid filling it, and filling it changes its time.
    for (place, metadata) in folders.iter().rev() {
        fs_err::set_permissions(place, std::fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        set_time_of(place, metadata)?;
    }
    Ok(())
}

/// Copies a file, link or folder with its own mode, owner and time. A socket is left out.
pub fn copy_entry(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs_err::symlink_metadata(from)?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return copy_folder(from, to);
    }
    // Devices cannot be made in a user namespace (EPERM, mknod(2)).
    if kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Ok(());
    }
    copy_one(from, to, &metadata)?;
    own_like(to, &metadata)?;
    if !kind.is_symlink() {
        fs_err::set_permissions(to, std::fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    set_time_of(to, &metadata)
}

/// Copies a folder with its own mode, owner and time.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs_err::symlink_metadata(from)?;
    fs_err::create_dir(to)?;
    merge_layer(from, to)?;
    own_like(to, &metadata)?;
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    set_time_of(to, &metadata)
}

/// Copies the upper directory of an overlay, with its whiteouts and opaque folders.
pub fn copy_upper(from: &Path, to: &Path) -> io::Result<()> {
    copy_folder(from, to)?;
    for entry in WalkDir::new(from).min_depth(1) {
        let entry = entry?;
        let (Ok(relative), metadata) = (entry.path().strip_prefix(from), entry.metadata()?) else {
            continue;
        };
        let place = to.join(relative);
        if metadata.is_dir() && is_opaque_at(entry.path())? {
            xattr::set(&place, "user.overlay.opaque", b"y")?;
        }
        if let (true, Some(above), Some(name)) =
            (is_whiteout_at(entry.path(), &metadata)?, place.parent(), place.file_name())
        {
            Whiteouts::Devices.make_at(above, name)?;
            let folder = entry.path().parent().unwrap_or(from);
            // The entry made has changed the folder's time.
            set_time_of(above, &fs_err::symlink_metadata(folder)?)?;
        }
    }
    Ok(())
}

fn copy_one(from: &Path, to: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return fs_err::os::unix::fs::symlink(fs_err::read_link(from)?, to);
    }
    if kind.is_fifo() {
        return Ok(nix::unistd::mkfifo(to, nix::sys::stat::Mode::from_bits_truncate(0o600))?);
    }
    // The standard library copies by `copy_file_range`, which shares the blocks where the
    // filesystem can.
    fs_err::copy(from, to).map(drop)
}

fn own_like(place: &Path, metadata: &std::fs::Metadata) -> io::Result<()> {
    let ids = (Some(metadata.uid().into()), Some(metadata.gid().into()));
    Ok(nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        place,
        ids.0,
        ids.1,
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layer_covers_an_earlier_one() {
        let home = tempfile::tempdir().unwrap();
        let [lower, upper, target] = ["lower", "upper", "target"].map(|name| {
            let path = home.path().join(name);
            fs_err::create_dir(&path).unwrap();
            path
        });
        fs_err::create_dir(lower.join("d")).unwrap();
        fs_err::write(lower.join("d/old"), "old").unwrap();
        fs_err::write(lower.join("f"), "1").unwrap();
        fs_err::os::unix::fs::symlink("f", lower.join("link")).unwrap();
        fs_err::create_dir(upper.join("d")).unwrap();
        fs_err::write(upper.join("d/new"), "new").unwrap();
        fs_err::write(upper.join("link"), "a file now").unwrap();
        fs_err::set_permissions(upper.join("d"), std::fs::Permissions::from_mode(0o750)).unwrap();
        merge_layer(&lower, &target).unwrap();
        merge_layer(&upper, &target).unwrap();
        assert_eq!(fs_err::read_to_string(target.join("d/old")).unwrap(), "old");
        assert_eq!(fs_err::read_to_string(target.join("d/new")).unwrap(), "new");
        assert_eq!(fs_err::read_to_string(target.join("f")).unwrap(), "1");
        assert_eq!(fs_err::read_to_string(target.join("link")).unwrap(), "a file now");
        assert_eq!(fs_err::metadata(target.join("d")).unwrap().mode() & 0o777, 0o750);
        xattr::set(upper.join("d"), "user.overlay.opaque", b"y").unwrap();
        merge_layer(&upper, &target).unwrap();
        assert!(!target.join("d/old").exists());
        let copy = home.path().join("copy");
        copy_upper(&upper, &copy).unwrap();
        assert!(is_opaque_at(&copy.join("d")).unwrap());
        assert_eq!(fs_err::read_to_string(copy.join("d/new")).unwrap(), "new");
    }
}
