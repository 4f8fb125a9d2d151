//! `<root>/.pkgpanda.pending`: a set is active, and its services are still to be started.
//!
//! After the swap, the set stays active. Actions that systemd refuses then, because it is busy or
//! the disk is full, are done by the next command.

use std::io;
use std::path::PathBuf;

use super::paths::Host;
use crate::base::atomic;

fn place(host: &Host) -> PathBuf {
    host.root().join(".pkgpanda.pending")
}

/// True if services are still to be started.
pub(super) fn is_pending(host: &Host) -> bool {
    fs_err::symlink_metadata(place(host)).is_ok()
}

/// Notes that services are still to be started.
pub(super) fn note(host: &Host) -> io::Result<()> {
    atomic::write_if_changed(&place(host), b"")
}

/// Notes that nothing is left to do.
pub(super) fn clear(host: &Host) -> io::Result<()> {
    match fs_err::remove_file(place(host)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
