//! The digest of files that a step is about to take: of what makes the layer what it is, not of times.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::job::Match;
use crate::archive::OWNER_ATTRIBUTE;
use crate::base::digest::{Sha256Sum, Tee};
use crate::container::within_root::locate;

/// Describes a file as it is copied, owners only where they are kept.
pub(super) fn describe(
    place: &Path,
    name: &Path,
    with_owner: bool,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let data = fs_err::symlink_metadata(place)?;
    let mut line = format!("{name:?} {:o}", data.permissions().mode());
    if with_owner {
        let (uid, gid) = told_owner(place).unwrap_or((data.uid(), data.gid()));
        _ = write!(line, " {uid}:{gid}");
    }
    if data.is_symlink() {
        _ = write!(line, " {:?}", fs_err::read_link(place)?);
    } else if data.is_file() {
        _ = write!(line, " {}", Sha256Sum::of_file(place)?);
        if let Ok(Some(value)) = xattr::get(place, "security.capability") {
            _ = write!(line, " {value:?}");
        }
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

/// The digest of files of a folder of the caller's.
pub(super) fn of_matches(folder: &Path, matches: &[Match]) -> io::Result<Sha256Sum> {
    let mut text = Tee::new(io::sink());
    for found in matches {
        let from = locate(folder, &found.path, false)?;
        describe(&from, &found.path, false, &mut text)?;
        for below in &found.entries {
            describe(&from.join(below), &found.path.join(below), false, &mut text)?;
        }
    }
    Ok(text.finish().1.sha256)
}

/// Whom a file or folder says that it belongs to, where it can't on disk.
pub(super) fn told_owner(path: &Path) -> Option<(u32, u32)> {
    let value = xattr::get(path, OWNER_ATTRIBUTE).ok()??;
    let (uid, gid) = std::str::from_utf8(&value).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}
