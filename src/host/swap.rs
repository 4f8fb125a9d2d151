//! Swap of the prepared set with the active one, which is completed or undone in all cases.
//!
//! ```text
//! install_progress: archive       every <path> becomes <path>.old
//! install_progress: move_new      every <path>.new becomes <path>; copies of units become
//!                                 <unit>.unit.old, and the prepared ones take their places
//!                                 services start
//! install_progress is removed
//! ```
//!
//! Before the first rename, `.new` is complete and `.old` is gone; the record is synced, and
//! earlier changes in a folder reach the disk before the record or together with it. From there on
//! every step is a rename, and the state shows which renames are done: [`finish`] does the rest,
//! from any point. If a step fails, the renames are undone in reverse order, which may be
//! interrupted at any point, too.

use std::io;
use std::path::{Path, PathBuf};

use super::paths::{Host, with_suffix};
use super::pending;
use super::prepare::{NEW_UNIT, OLD_UNIT, remove_new, remove_old_units};
use super::progress::{self, NEW, OLD, ProgressError, SwapStage};
use super::relocate::{finish_removal, has_moved, relocate};
use super::systemd::{Systemd, SystemdError};
use super::units::{self, own_of};
use crate::base::atomic::sync_folder;
use crate::base::causes::with_causes;
use crate::base::escape::path_argument;
use crate::base::event::{Event, Observer};
use crate::base::remedy::with_hint;
use crate::base::removal::remove_all;

/// A swap can't be done.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The stage cannot be recorded.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// Services don't stop.
    #[error("services can't be stopped, so the active set stays as it is")]
    Stop(#[source] SystemdError),
    /// The run was interrupted before anything was renamed.
    #[error("interrupted: the active set stays as it is")]
    Interrupted,
    /// The units of a set cannot be listed.
    #[error(transparent)]
    Units(SystemdError),
    /// A file cannot be renamed; everything is as before.
    #[error("can't change the active set, which stays as it is")]
    Undone(#[source] io::Error),
    /// A file cannot be renamed, and the renames before cannot be undone.
    #[error("the active set is half changed: changing it failed, and so did putting it back")]
    Stuck(#[source] io::Error),
    /// Part of the prepared set is missing.
    #[error("an activation was interrupted, and its prepared set is gone: there is no {}", missing.display())]
    Lost {
        /// The part.
        missing: PathBuf,
        /// Commands that put the previous set back.
        commands: Vec<String>,
    },
}

impl SwapError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Progress(error) => error.hint(),
            Self::Stop(error) | Self::Units(error) => error.hint(),
            Self::Undone(error) if error.kind() == io::ErrorKind::ResourceBusy => Some(
                "a folder of the install root that is a mount point cannot be moved: unmount it"
                    .to_owned(),
            ),
            Self::Stuck(_) => Some("remove the cause, then finish it: pkgpanda setup".to_owned()),
            Self::Lost { commands, .. } => Some(format!(
                "put the previous set back:\n    {}\n    pkgpanda setup",
                commands.join("\n    ")
            )),
            _ => None,
        }
    }
}

/// Activates the prepared set. After an error the active set is unchanged, unless the error says
/// otherwise. The caller then starts services and clears the progress.
pub(super) fn swap(
    host: &Host,
    systemd: Systemd,
    observer: &dyn Observer,
) -> Result<(), SwapError> {
    // Before services stop: if the machine stops meanwhile, the next command has them started
    // again.
    progress::record(host, SwapStage::Archive).inspect_err(|_| drop(progress::clear(host)))?;
    let undo = |error: SwapError| {
        take_back(host, systemd, observer);
        error
    };
    // Before the first rename: the folder of links, which says this, is swapped, too.
    let units = own_of(host, "").map_err(|error| undo(SwapError::Units(error)))?;
    let stopped = units::stopped(&host.wants(), &units);
    systemd.stop(&stopped, observer).map_err(|error| undo(not_stopped(error)))?;
    let mut renames = Renames::default();
    match rename_all(host, &mut renames, &units) {
        Ok(()) => {
            forget_old_units(host, observer);
            Ok(())
        }
        Err(SwapStep::Progress(error)) => match renames.undo() {
            Ok(()) => Err(undo(error.into())),
            Err(error) => Err(SwapError::Stuck(error)),
        },
        Err(SwapStep::Rename(error)) => match renames.undo() {
            Ok(()) => Err(undo(SwapError::Undone(error))),
            Err(error) => Err(SwapError::Stuck(error)),
        },
    }
}

/// Removes what was prepared, and has what was stopped run again: whatever of that fails is told, and services
/// that do not start are left to the next command.
fn take_back(host: &Host, systemd: Systemd, observer: &dyn Observer) {
    // The caller removes the rest, and tells of it.
    drop(remove_new(host));
    if let Err(error) = progress::clear(host) {
        warn(observer, with_causes(&error));
    }
    if !systemd.is_on() {
        return;
    }
    let noted = pending::note(host);
    match Systemd::NoBlock.start(&[], observer) {
        Ok(()) => drop(pending::clear(host)),
        Err(error) => {
            let cause = with_causes(&error);
            let message = format!("services that were stopped can't be started again: {cause}");
            let (message, command) = match noted {
                Ok(()) => (message, "pkgpanda setup"),
                Err(error) => (
                    format!("{message}; a later command cannot know it: {error}"),
                    "systemctl start dcos.target",
                ),
            };
            let hint = format!("once the cause is gone, start them: {command}");
            warn(observer, with_hint(message, Some(&hint)));
        }
    }
}

/// Removes copies of units that have made room. The set is whole then, so nothing else waits for that.
fn forget_old_units(host: &Host, observer: &dyn Observer) {
    if let Err(error) = remove_old_units(host) {
        warn(observer, format!("copies of units of the set before stay: {}", with_causes(&error)));
    }
}

fn warn(observer: &dyn Observer, message: String) {
    observer.event(Event::Warning { subject: String::new(), message });
}

/// Finishes a swap that was cut off; `false` if there is none. What is left to do is what
/// [`swap`] leaves.
pub(super) fn finish(
    host: &Host,
    systemd: Systemd,
    observer: &dyn Observer,
) -> Result<bool, SwapError> {
    let Some(progress) = progress::read(host)? else { return Ok(false) };
    let names = host.swapped();
    // Nothing may be touched unless the end can be reached.
    if let Some(name) = names.iter().find(|name| !there(name) && !there(&with_suffix(name, NEW))) {
        let commands = commands_back(host, progress.stage, &names);
        return Err(SwapError::Lost { missing: with_suffix(name, NEW), commands });
    }
    let mut stopped = Vec::new();
    // The folder of links is at one of the two names, depending on how far it came.
    for end in ["", OLD] {
        let units = own_of(host, end).map_err(SwapError::Units)?;
        stopped.extend(units::stopped(&with_suffix(&host.wants(), end), &units));
    }
    // In the second stage the services were stopped before its record was written.
    if progress.stage == SwapStage::Archive {
        systemd.stop(&stopped, observer).map_err(not_stopped)?;
    }
    finish_renames(host, &names).map_err(SwapError::Stuck)?;
    forget_old_units(host, observer);
    Ok(true)
}

/// Commands that give the previous set its names again, and remove the record.
fn commands_back(host: &Host, stage: SwapStage, names: &[PathBuf]) -> Vec<String> {
    let mut commands = Vec::new();
    for name in names {
        let old = with_suffix(name, OLD);
        // Before the second stage, an entry without a previous one has not been archived yet.
        if there(name) && (stage == SwapStage::MoveNew || there(&old)) {
            commands.push(format!("rm -r {}", path_argument(name)));
        }
        if there(&old) {
            commands.push(format!("mv {} {}", path_argument(&old), path_argument(name)));
        }
    }
    commands.push(format!("rm {}", path_argument(&progress::place(host))));
    commands
}

fn not_stopped(error: SystemdError) -> SwapError {
    match error {
        SystemdError::Interrupted => SwapError::Interrupted,
        error => SwapError::Stop(error),
    }
}

/// Records that nothing is left to do.
pub(super) fn clear(host: &Host) -> Result<(), SwapError> {
    if host.units() != host.root() {
        // On another disk, perhaps, where nothing says what comes first.
        sync_folder(host.units()).map_err(SwapError::Stuck)?;
    }
    progress::clear(host).map_err(SwapError::Progress)
}

enum SwapStep {
    Progress(ProgressError),
    Rename(io::Error),
}

impl From<io::Error> for SwapStep {
    fn from(error: io::Error) -> Self {
        Self::Rename(error)
    }
}

fn rename_all(host: &Host, renames: &mut Renames, old_units: &[String]) -> Result<(), SwapStep> {
    let names = host.swapped();
    for name in names.iter().filter(|name| there(name)) {
        renames.rename(name.clone(), with_suffix(name, OLD))?;
    }
    progress::record(host, SwapStage::MoveNew).map_err(SwapStep::Progress)?;
    // Without a look whether it is there: every swapped name has a prepared one, even an empty
    // folder.
    for name in &names {
        renames.rename(with_suffix(name, NEW), name.clone())?;
    }
    Ok(place_units(host, old_units, renames)?)
}

fn finish_renames(host: &Host, names: &[PathBuf]) -> io::Result<()> {
    for name in names {
        let (new, old) = (with_suffix(name, NEW), with_suffix(name, OLD));
        for path in [name, &new, &old] {
            finish_removal(path)?;
        }
        if !there(&new) {
            continue;
        }
        if there(name) {
            if there(&old) {
                // The rest of a copied folder, or an entry made by another program since: a set is
                // archived whole.
                remove_all(name)?;
            } else {
                relocate(name, &old)?;
            }
        }
        relocate(&new, name)?;
    }
    let old = own_of(host, OLD).map_err(io::Error::other)?;
    place_units(host, &old, &mut Renames::default())
}

/// Units of the previous set that the active one lacks.
pub(super) fn gone_units(host: &Host) -> Vec<String> {
    let now = own_of(host, "").unwrap_or_default();
    let before = own_of(host, OLD).unwrap_or_default();
    let wants = with_suffix(&host.wants(), OLD);
    let gone: Vec<String> = before.into_iter().filter(|unit| !now.contains(unit)).collect();
    units::stopped(&wants, &gone)
}

/// Units of the active set that systemd can start by their names.
pub(super) fn active_units(host: &Host) -> Vec<String> {
    units::stopped(&host.wants(), &own_of(host, "").unwrap_or_default())
}

/// Moves the prepared copies of units to their places, and the previous and the unneeded copies
/// aside.
fn place_units(host: &Host, old: &[String], renames: &mut Renames) -> io::Result<()> {
    let wanted = own_of(host, "").map_err(io::Error::other)?;
    for unit in &wanted {
        let place = host.units().join(unit);
        let staged = with_suffix(&place, NEW_UNIT);
        if there(&staged) {
            if there(&place) {
                renames.rename(place.clone(), with_suffix(&place, OLD_UNIT))?;
            }
            renames.rename(staged, place)?;
        }
    }
    for unit in old.iter().filter(|unit| !wanted.contains(unit)) {
        let place = host.units().join(unit);
        if there(&place) {
            renames.rename(place.clone(), with_suffix(&place, OLD_UNIT))?;
        }
    }
    Ok(())
}

fn there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Renames that can be undone.
#[derive(Debug, Default)]
struct Renames(Vec<(PathBuf, PathBuf)>);

impl Renames {
    fn rename(&mut self, from: PathBuf, to: PathBuf) -> io::Result<()> {
        let moved = relocate(&from, &to);
        // It may have moved although what is left of it cannot be removed.
        if moved.is_ok() || has_moved(&from) {
            self.0.push((from, to));
        }
        moved
    }

    fn undo(self) -> io::Result<()> {
        // The reverse order alone keeps `finish` right at each point at which this may be cut off.
        self.0.into_iter().rev().try_for_each(|(from, to)| {
            finish_removal(&from)?;
            relocate(&to, &from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_in_the_way_is_named_as_the_cause() {
        let undone = |errno| SwapError::Undone(io::Error::from_raw_os_error(errno)).hint();
        assert!(undone(libc::EBUSY).unwrap().contains("unmount it"));
        assert_eq!(undone(libc::EROFS), None);
        // As fs_err wraps it.
        let wrapped = io::Error::new(io::ErrorKind::ResourceBusy, "failed to rename");
        assert!(SwapError::Undone(wrapped).hint().is_some());
    }
}
