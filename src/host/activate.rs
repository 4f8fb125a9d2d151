//! Changing the active set.

use std::path::PathBuf;

use nix::unistd::Uid;

use super::active::{linked, odd_entries};
use super::lock::FolderLock;
use super::machine_units::MachineUnits;
use super::paths::Host;
use super::pending;
use super::prepare;
use super::record;
use super::repository::PackageRepository;
use super::state;
use super::swap::{self, SwapError};
use super::systemd::{Systemd, SystemdError};
use super::unit_name::is_unit_name;
use super::units;
use super::users::{Accounts, MakeUsers, NeededUsers};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer};
use crate::base::remedy::with_hint;
use crate::base::suggestion::nearest;
use crate::install::{
    InstallError, InstallPlan, PackageContents, environment_warnings, plan_install,
};
use crate::package::PackageId;

pub use super::activate_error::ActivateError;

/// Remark on an entry of `active/` that counts for nothing.
pub(crate) const PASSED_OVER: &str = "is not a link to a package of its name, and is passed over";

/// Means to change a machine.
#[derive(Clone, Copy)]
pub struct Actor<'a> {
    /// Paths of the machine.
    pub host: &'a Host,
    /// Handling of services.
    pub systemd: Systemd,
    /// Users of the machine.
    pub accounts: &'a Accounts,
    /// Receiver of events.
    pub observer: &'a dyn Observer,
}

impl std::fmt::Debug for Actor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("host", self.host).finish_non_exhaustive()
    }
}

/// Set to become active, checked as far as possible without changes.
#[derive(Debug)]
pub struct Intended {
    /// The packages, sorted by id.
    pub packages: Vec<PackageContents>,
    /// Contents of the future install root.
    pub plan: InstallPlan,
    /// Users needed by the packages.
    pub users: NeededUsers,
}

impl Actor<'_> {
    /// Makes packages the active set.
    pub fn activate(&self, ids: &[PackageId]) -> Result<(), ActivateError> {
        let _lock = self.begin()?;
        self.activate_locked(ids)
    }

    /// Activates a package in place of the active one of the same name.
    pub fn swap(&self, id: &PackageId) -> Result<(), ActivateError> {
        let _lock = self.begin()?;
        let mut ids = self.host.active()?;
        let Some(place) = ids.iter().position(|active| active.name() == id.name()) else {
            let names = ids.iter().map(|active| active.name().as_str());
            let near = nearest(id.name().as_str(), names).map(str::to_owned);
            return Err(ActivateError::NotActive { name: id.name().clone(), near });
        };
        ids[place] = id.clone();
        self.activate_locked(&ids)
    }

    /// Takes the lock on the root, and completes an interrupted activation.
    pub(super) fn begin(&self) -> Result<FolderLock, ActivateError> {
        let (lock, started) = self.begin_and_start()?;
        if let Err(error) = started {
            self.warn_of_pending(&error);
        }
        Ok(lock)
    }

    /// The same; tells whether services that an earlier activation could not start are started now.
    pub(super) fn begin_and_start(
        &self,
    ) -> Result<(FolderLock, Result<(), SystemdError>), ActivateError> {
        let lock = self.lock()?;
        for odd in odd_entries(&self.host.root().join("active"))? {
            self.warn(format!("{} {PASSED_OVER}", odd.display()));
        }
        let mut started = Ok(());
        if !self.finish_swap()? {
            prepare::remove_new(self.host)?;
            started = self.start_pending();
        }
        Ok((lock, started))
    }

    /// Starts the services that an earlier activation could not start.
    fn start_pending(&self) -> Result<(), SystemdError> {
        if !self.systemd.is_on() || !pending::is_pending(self.host) {
            return Ok(());
        }
        self.note("starting services that an earlier activation left".to_owned());
        self.systemd.start(&[], self.observer)?;
        drop(pending::clear(self.host));
        Ok(())
    }

    pub(super) fn warn_of_pending(&self, error: &SystemdError) {
        let cause = with_causes(error);
        self.warn(format!("services of the active set still can't be started: {cause}"));
    }

    fn warn(&self, message: String) {
        self.observer.event(Event::Warning { subject: String::new(), message });
    }

    pub(super) fn lock(&self) -> Result<FolderLock, ActivateError> {
        let waiting = || self.note("waiting for another pkgpanda".to_owned());
        let give_up = || self.observer.is_interrupted();
        let lock = FolderLock::acquire_unless(self.host.root(), waiting, give_up);
        lock.map_err(ActivateError::Lock)?.ok_or(ActivateError::Interrupted)
    }

    /// Fails if the run is over: the prepared set is removed then, and services were never stopped.
    pub(super) fn go_on(&self) -> Result<(), ActivateError> {
        if self.observer.is_interrupted() { Err(ActivateError::Interrupted) } else { Ok(()) }
    }

    /// Completes an interrupted swap; returns `false` if none is recorded.
    pub(super) fn finish_swap(&self) -> Result<bool, ActivateError> {
        if !swap::finish(self.host, self.systemd, self.observer)? {
            return Ok(false);
        }
        self.note("finished an activation that was cut off".to_owned());
        self.end_finished()?;
        Ok(true)
    }

    /// Completes an interrupted swap. The set is active already, so errors are only warnings.
    fn end_finished(&self) -> Result<(), ActivateError> {
        let packages = PackageRepository::new(self.host, self.observer);
        let packages = match packages.load_all(&self.host.active()?) {
            Ok(packages) => packages,
            Err(error) => {
                let message = with_causes(&error);
                self.observer.event(Event::Warning { subject: String::new(), message });
                Vec::new()
            }
        };
        let users = self.accounts.needed(&packages, MakeUsers::Manual, false).unwrap_or_default();
        self.end(&packages, &users)
    }

    /// Reads and checks packages as the next active set; nothing is changed.
    pub fn intend(&self, ids: &[PackageId]) -> Result<Intended, ActivateError> {
        let host = self.host;
        let packages = PackageRepository::new(host, self.observer).load_all(ids)?;
        let roles = host.roles()?;
        let mut plan = plan_install(&packages, &host.install_options(&roles))?;
        self.check_units(&plan)?;
        units::add_record(host, &mut plan)?;
        plan.warnings.extend(environment_warnings(&packages));
        // The original's switch: sites whose users come from a directory forbid programs to make
        // any.
        let manual = host.config().join("manual_host_users").exists();
        let make = if manual { MakeUsers::Manual } else { MakeUsers::Yes };
        let users = self.accounts.needed(&packages, make, Uid::effective().is_root())?;
        Ok(Intended { packages, plan, users })
    }

    pub(super) fn activate_locked(&self, ids: &[PackageId]) -> Result<(), ActivateError> {
        let mut intended = match self.intend(ids) {
            Ok(intended) => intended,
            Err(error) => {
                self.forget_archive_after(&error)?;
                return Err(error);
            }
        };
        for warning in &intended.plan.warnings {
            let message = warning.clone();
            self.observer.event(Event::Warning { subject: String::new(), message });
        }
        // Before anything is made: without systemd neither users nor state directories are to be
        // left behind.
        self.systemd.check()?;
        self.go_on()?;
        self.make_users(&mut intended.users)?;
        let mut made = Vec::new();
        // Users come first, as state directories are made for their uids.
        let swapped = self.prepare(&intended, &mut made).and_then(|()| {
            self.go_on()?;
            if !self.systemd.is_on() {
                self.note("Do not stop services".to_owned());
            }
            Ok(swap::swap(self.host, self.systemd, self.observer)?)
        });
        if let Err(error) = swapped {
            // A stuck swap is completed by the next command out of what is prepared, so that must
            // stay.
            if !matches!(error, ActivateError::Swap(SwapError::Stuck(_))) {
                if let Err(error) = prepare::remove_new(self.host) {
                    self.warn(with_causes(&error));
                }
                self.forget_previous();
                for folder in made {
                    drop(fs_err::remove_dir(folder));
                }
            }
            return Err(error);
        }
        self.end(&intended.packages, &intended.users)
    }

    /// Makes nothing active: services are stopped, and their units removed.
    pub(super) fn deactivate(&self) -> Result<(), ActivateError> {
        let intended = self.intend(&[])?;
        let mut made = Vec::new();
        self.prepare(&intended, &mut made)?;
        swap::swap(self.host, self.systemd, self.observer)?;
        // `systemctl` goes on listing a failed unit whose file is gone (systemctl(1),
        // "reset-failed").
        self.systemd.reset_failed(&swap::gone_units(self.host));
        Ok(swap::clear(self.host)?)
    }

    /// Completes an activation after the swap.
    fn end(&self, packages: &[PackageContents], users: &NeededUsers) -> Result<(), ActivateError> {
        let uid_of = |user: &str| users.present.get(user).copied();
        // Before the start, as services need their files.
        let given = state::change_owners(self.host, packages, uid_of, self.observer);
        let host = self.host;
        let noted = if self.systemd.is_on() { pending::note(host) } else { Ok(()) };
        if let Err(error) = &noted {
            let message = format!("cannot record that services are to be started: {error}");
            self.warn(with_hint(message, Some("if they do not run: pkgpanda setup")));
        }
        let started = self.systemd.start(&swap::gone_units(host), self.observer);
        // The set is complete even if a service does not start, so the record of the swap goes. It stays where the
        // start could not be noted: then the next command finds it, and starts the services.
        if noted.is_ok() || matches!(started, Ok(()) | Err(SystemdError::Interrupted)) {
            swap::clear(host)?;
        }
        self.forget_previous();
        match started {
            Ok(()) => drop(pending::clear(host)),
            Err(SystemdError::Interrupted) => {
                drop(pending::clear(host));
                // The start goes on without this process, so nothing is left for a later command.
                return Err(ActivateError::Unwaited);
            }
            Err(error) => return Err(ActivateError::Start(error)),
        }
        // A target counts as started even if units that it only wants fail (systemd.unit(5),
        // "Wants="), so each is looked at.
        let failed = self.systemd.failed(&swap::active_units(host));
        if !failed.is_empty() {
            return Err(ActivateError::Failed(failed));
        }
        given.map_err(ActivateError::Given)
    }

    /// Does everything before the swap; adds the state directories made to `made`.
    fn prepare(&self, intended: &Intended, made: &mut Vec<PathBuf>) -> Result<(), ActivateError> {
        let host = self.host;
        let present = &intended.users.present;
        state::make(host, &intended.packages, |user| present.get(user).copied(), made)?;
        if fs_err::symlink_metadata(host.state()).is_err() {
            made.push(host.state().to_owned());
        }
        self.record_archive()?;
        prepare::write(host, &intended.plan)?;
        Ok(prepare::remove_old(host)?)
    }

    /// Removes the previous set; its record still allows a rollback.
    fn remove_archive(&self) -> Result<(), ActivateError> {
        self.record_archive()?;
        Ok(prepare::remove_old(self.host)?)
    }

    fn record_archive(&self) -> Result<(), ActivateError> {
        let root = self.host.root();
        // A set that was activated twice in a row is both: a rollback to it would change nothing.
        let active = linked(&root.join("active"))?;
        if let Some(ids) =
            linked(&root.join("active.old"))?.filter(|ids| active.as_ref() != Some(ids))
        {
            // The record is used only if this activation fails or is interrupted, so its absence does not prevent
            // one.
            if let Err(error) = record::write_previous(self.host, &ids) {
                self.warn(format!(
                    "the set before the active one cannot be recorded, so a rollback to it is impossible if this activation fails or is interrupted: {error}"
                ));
            }
        }
        Ok(())
    }

    /// Removes the record of the previous set once `active.old` has that set. After a failed activation there
    /// is no `active.old`, and a rollback needs the record.
    fn forget_previous(&self) {
        let root = self.host.root();
        let ids = |name: &str| linked(&root.join(name)).ok().flatten();
        let old = ids("active.old");
        if old.is_some() && old != ids("active") {
            drop(record::forget_previous(self.host));
        }
    }

    /// Removes the previous set after errors that the original found only during preparation, when it had
    /// removed that set already: scripts may expect that there is no `.old` after such an error.
    fn forget_archive_after(&self, error: &ActivateError) -> Result<(), ActivateError> {
        let ActivateError::Install(error) = error else { return Ok(()) };
        match **error {
            InstallError::SameFile { .. }
            | InstallError::FileAndFolder { .. }
            | InstallError::NoFolder { .. }
            | InstallError::UnitIsNoFile { .. }
            | InstallError::ReservedUnit { .. }
            | InstallError::SysctlWithoutService(_) => self.remove_archive(),
            _ => Ok(()),
        }
    }

    fn make_users(&self, users: &mut NeededUsers) -> Result<(), ActivateError> {
        for user in std::mem::take(&mut users.missing) {
            self.note(format!("making the user {}", user.name));
            let uid = self.accounts.make(&user)?;
            users.present.insert(user.name.to_string(), uid);
        }
        Ok(())
    }

    /// Units must have names that can be handed to systemd, and neither replace nor shadow any but
    /// pkgpanda's own.
    fn check_units(&self, plan: &InstallPlan) -> Result<(), ActivateError> {
        let own = units::own(self.host, &self.host.wants(), &self.host.root().join("active"))?;
        let machine = MachineUnits::of(self.host);
        for unit in &plan.units {
            let package = unit.package.clone();
            let name = String::from_utf8_lossy(unit.name.as_bytes()).into_owned();
            if !is_unit_name(&name) {
                return Err(ActivateError::UnitName { package, unit: name });
            }
            // Before the swap: a copy over the machine's own unit of that name could not be taken
            // back.
            if let Some(found) = machine.shadowed(&name, &own) {
                return Err(ActivateError::ForeignUnit { package, unit: name, found });
            }
        }
        Ok(())
    }

    pub(super) fn note(&self, message: String) {
        self.observer.event(Event::Note { message });
    }
}
