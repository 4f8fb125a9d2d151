//! Writing of the next set, as `<path>.new`, and removal of unneeded files.
//!
//! Nothing waits for the disk but the few files that are written, at the end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::next_set;
use super::paths::{Host, with_suffix};
use super::prepare_error::PrepareError;
use super::progress::{NEW, OLD, next_record};
use super::relocate::{MOVING, finish_removal, relocate};
use super::sync::sync;
use super::unit_name::is_plain;
use super::units::own_of;
use crate::base::removal::remove_all;
use crate::install::InstallPlan;

/// Suffix of the prepared copies of units.
pub(super) const NEW_UNIT: &str = ".unit.new";

/// End of the names of copies of units that have made room for others, until the swap is over.
pub(super) const OLD_UNIT: &str = ".unit.old";

/// Name of the previous set during its removal.
const DISCARDED: &str = "discarded.new";

/// Number of files that are synced one by one; for more, the whole filesystem is synced.
const FEW: usize = 8;

/// Writes the prepared set by changing the previous one, and the needed copies of units. File
/// contents are on disk afterwards; names are on disk when the record of the swap is, which follows
/// them in any journal.
pub(super) fn write(host: &Host, plan: &InstallPlan) -> Result<(), PrepareError> {
    let mut written = next_set::write(host, plan)?;
    for unit in &plan.units {
        let from = host.repository().join(unit.package.to_string()).join(unit.file.as_path());
        let to = with_suffix(&host.units().join(unit.name.as_path()), NEW_UNIT);
        let copied = copy(&from, &to);
        written.push(copied.map_err(|source| PrepareError::Write { path: to, source })?);
    }
    if written.len() > FEW {
        // Every fsync(2) may wait for a commit of the journal, one after another; syncfs(2) waits
        // for one.
        return sync([host.root(), host.units()]);
    }
    let failed = |source| PrepareError::Sync { path: host.root().to_owned(), source };
    for file in &written {
        // Begins to write all of them, so that the first wait is for all.
        _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
    written.iter().try_for_each(File::sync_data).map_err(failed)
}

/// Copies a unit, which must not have become a link or a FIFO since it was looked at.
fn copy(from: &Path, to: &Path) -> io::Result<File> {
    let mut source = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(from)?;
    let there = source.metadata()?;
    if !there.is_file() {
        return Err(io::Error::other(format!("{} is not a file", from.display())));
    }
    // A unit may contain secrets. Only the owner may write to the copy.
    let mode = there.mode() & 0o755;
    let mut target = fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        // Private until it is whole: the mode of the source may keep others out.
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(to)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(PermissionsExt::from_mode(mode))?;
    Ok(target.into_parts().0)
}

/// Removes the prepared set, or its rest.
pub(super) fn remove_new(host: &Host) -> Result<(), PrepareError> {
    // First, as the prepared set has the names of its units.
    for end in [NEW_UNIT, OLD_UNIT] {
        remove_units(host, end)?;
    }
    let remove = || {
        for path in host.swapped() {
            for end in ["", NEW, OLD] {
                let path = with_suffix(&path, end);
                finish_removal(&path)?;
                remove_all(&with_suffix(&path, MOVING))?;
            }
            remove_all(&with_suffix(&path, NEW))?;
        }
        finish_removal(&host.root().join(DISCARDED))?;
        remove_all(&next_record(host))?;
        remove_all(&host.root().join(DISCARDED))
    };
    remove().map_err(PrepareError::Remove)?;
    // Without the list of its packages it is what is left of one that was being removed.
    if !host.root().join("active.old").exists() {
        remove_old(host)?;
    }
    Ok(())
}

/// Removes the set before. It is gone from the first step on.
pub(super) fn remove_old(host: &Host) -> Result<(), PrepareError> {
    let discard = || {
        // By a rename, as a half-removed `active.old` would name packages whose links are gone.
        let (active, discarded) = (host.root().join("active.old"), host.root().join(DISCARDED));
        remove_all(&discarded)?;
        // A disk that is read-only refuses a renaming even of nothing.
        if active.symlink_metadata().is_ok() {
            relocate(&active, &discarded)?;
        }
        for path in host.swapped() {
            remove_all(&with_suffix(&path, OLD))?;
        }
        remove_all(&discarded)
    };
    discard().map_err(PrepareError::Remove)
}

/// Removes copies of units that have made room for others.
pub(super) fn remove_old_units(host: &Host) -> Result<(), PrepareError> {
    remove_units(host, OLD_UNIT)
}

/// Removes copies of our units whose names end so. All others in systemd's folder are an administrator's,
/// whatever their names are.
fn remove_units(host: &Host, end: &str) -> Result<(), PrepareError> {
    let found = units_ending(host, end).map_err(PrepareError::Remove)?;
    if found.is_empty() {
        return Ok(());
    }
    let mut own = BTreeSet::new();
    for set in ["", NEW, OLD] {
        let units =
            // Of all three sets: an activation that was cut off may have renamed any of them.
            own_of(host, set).map_err(|error| PrepareError::Remove(io::Error::other(error)))?;
        own.extend(units);
    }
    for (unit, path) in found {
        if host.is_rooted() || own.contains(&unit) {
            remove_all(&path).map_err(PrepareError::Remove)?;
        }
    }
    Ok(())
}

/// Copies of units whose names end so; older versions prepared some whose names aren't units'.
fn units_ending(host: &Host, end: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs_err::read_dir(host.units()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut staged = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let unit = name.to_str().and_then(|name| name.strip_suffix(end));
        if let Some(unit) = unit.filter(|unit| is_plain(unit))
            && !entry.file_type()?.is_dir()
        {
            staged.push((unit.to_owned(), entry.path()));
        }
    }
    Ok(staged)
}
