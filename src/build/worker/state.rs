//! What a build script left, kept for a look into it: see [`crate::build::kept`].
//!
//! ```text
//! <state>/src/, result/   the folders that the script could write to
//! <state>/package/        the copy of the package's folder
//! <state>/upper/          changes in the root; root/, the whole root, where the kernel has no overlay
//! ```
//!
//! A shell mounts the changes as a further layer, so any number of shells find the same state.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::base::removal::remove_all;
use crate::build::kept::STATE;
use crate::container::copy::{copy_folder, copy_upper};
use crate::runner::command::{EarlierChanges, Prepared};
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// Folders that a build script writes to.
const WRITTEN: [&str; 2] = ["src", "result"];
const PACKAGE: &str = "package";
const UPPER: &str = "upper";
const ROOT: &str = "root";

/// Changes that a command makes in its root.
pub(super) fn changes(workspace: &Workspace<'_>, prepared: &Prepared<'_>) -> EarlierChanges {
    match prepared.upper() {
        Some(upper) => EarlierChanges::Upper(upper.to_owned()),
        None => EarlierChanges::Whole(workspace.scratch(ROOT)),
    }
}

/// Collects the state in a folder of the scratch folder, from where the parent takes it. Other users
/// cannot enter the folder: a setuid program in it may run as the caller.
pub(super) fn collect(
    workspace: &Workspace<'_>,
    changes: &EarlierChanges,
    package: &Path,
) -> io::Result<()> {
    let state = workspace.scratch(STATE);
    let collected = collect_in(&state, workspace, changes, package);
    if collected.is_err() {
        // On a full disk, half of it would only be in the way.
        drop(remove_all(&state));
    }
    collected
}

fn collect_in(
    state: &Path,
    workspace: &Workspace<'_>,
    changes: &EarlierChanges,
    package: &Path,
) -> io::Result<()> {
    // The folders of a mounted overlay must not be moved.
    workspace.unmount_root();
    fs_err::create_dir(state)?;
    fs_err::set_permissions(state, PermissionsExt::from_mode(0o700))?;
    for name in WRITTEN {
        fs_err::rename(workspace.scratch(name), state.join(name))?;
    }
    let is_on_disk = |path: &Path| path.starts_with(workspace.scratch(""));
    if is_on_disk(package) {
        fs_err::rename(package, state.join(PACKAGE))?;
    } else {
        copy_folder(package, &state.join(PACKAGE))?;
    }
    match changes {
        EarlierChanges::Upper(upper) if is_on_disk(upper) => {
            fs_err::rename(upper, state.join(UPPER))
        }
        EarlierChanges::Upper(upper) => copy_upper(upper, &state.join(UPPER)),
        EarlierChanges::Whole(root) => fs_err::rename(root, state.join(ROOT)),
    }
}

/// Puts copies of the folders that a script writes to into the scratch folder. Returns the package's
/// copy, and the changes in the root.
pub(super) fn restore(
    workspace: &Workspace<'_>,
    state: &Path,
) -> Result<(PathBuf, EarlierChanges), JobFailure> {
    for name in WRITTEN {
        // Copies, as the shell may write to them, and the next one is to find what the script left.
        copy_folder(&state.join(name), &workspace.scratch(name)).map_err(JobFailure::of)?;
    }
    let upper = state.join(UPPER);
    let changes = if upper.is_dir() {
        EarlierChanges::Upper(upper)
    } else {
        EarlierChanges::Whole(state.join(ROOT))
    };
    Ok((state.join(PACKAGE), changes))
}
