//! The units of the active set, and systemd's part in changing it.
//!
//! systemd wants a unit's file in its own folder, not only a link to it in a `.wants` folder; so units
//! are copied there (docs/format.md, "Units"), and the links lead to the copies. `dcos.target` wants
//! all of them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::unit_name::{is_plain, is_unit_name};
use crate::base::event::Observer;

/// The target that wants all units of the active set.
pub(super) const TARGET: &str = "dcos.target";

/// Content of the target's file.
pub(super) const TARGET_CONTENT: &str = "[Install]\nWantedBy=multi-user.target\n";

/// Exit code of `systemctl` for a unit that is not loaded.
// `EXIT_NOTINSTALLED` of the init scripts of the LSB, which systemctl follows.
const NOT_LOADED: i32 = 5;

/// States of units that have not stopped.
const RUNNING: [&str; 4] = ["active", "reloading", "activating", "deactivating"];

/// The longest wait between two looks whether `systemctl` has come to its end.
const LONGEST_LOOK: Duration = Duration::from_millis(20);

/// Way of stopping and starting services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Systemd {
    /// Services are left alone.
    Off,
    /// Services are stopped and started, with waiting.
    Blocking,
    /// Services are stopped and started, without waiting.
    NoBlock,
}

/// Failure of systemd.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// There is no `systemctl`.
    #[error("can't run systemctl")]
    NoProgram(#[source] io::Error),
    /// A command failed.
    #[error("`systemctl {arguments}` failed: {how}")]
    Failed {
        /// Arguments of the command.
        arguments: String,
        /// Ending.
        how: String,
    },
    /// Units still run that were to stop.
    #[error("systemd has not stopped {}", .0.join(", "))]
    StillRunning(Vec<String>),
    /// An interruption ended the wait.
    #[error("interrupted")]
    Interrupted,
    /// The target's file can't be written or removed.
    #[error("can't set up {TARGET}")]
    Target(#[source] io::Error),
    /// The links to units can't be read.
    #[error("can't tell which units there are")]
    Units(#[source] io::Error),
}

impl SystemdError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram(_) => {
                Some("where there is no systemd, leave services alone: --no-systemd".to_owned())
            }
            Self::Failed { .. } => {
                Some("journalctl says more: journalctl --unit dcos.target".to_owned())
            }
            _ => None,
        }
    }
}

impl Systemd {
    /// True if services are stopped and started at all.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Checks that systemd is present and answers, before anything depends on it.
    pub(super) fn check(self) -> Result<(), SystemdError> {
        if self.is_on() { run(&["--version"]).map(drop) } else { Ok(()) }
    }

    /// Stops units; unknown units count as stopped. After an interruption, some units may be
    /// stopped.
    pub(super) fn stop(
        self,
        units: &[String],
        observer: &dyn Observer,
    ) -> Result<(), SystemdError> {
        if !self.is_on() || units.is_empty() {
            return Ok(());
        }
        let mut arguments = vec!["stop"];
        arguments.extend(self.no_block());
        arguments.extend(units.iter().map(String::as_str));
        // In one call for all: systemd stops them together, in the order of their dependencies.
        let status = self.wait(&arguments, observer)?;
        if status.success() {
            return Ok(());
        }
        if self == Self::NoBlock && status.code() == Some(NOT_LOADED) {
            // Those that it knows have been asked to stop, unless one of them refuses: they may still run.
            let loaded = units_that_are(units, &RUNNING).unwrap_or_default();
            let mut arguments = vec!["stop", "--no-block"];
            arguments.extend(loaded.iter().map(String::as_str));
            return if loaded.is_empty() { Ok(()) } else { told(&arguments, run(&arguments)?) };
        }
        // Of several units, the first one's fault is what systemctl tells.
        let running = units_that_are(units, &RUNNING);
        match running {
            Some(running) if !running.is_empty() => Err(SystemdError::StillRunning(running)),
            _ if status.code() == Some(NOT_LOADED) => Ok(()),
            _ => Err(failed(&arguments, status)),
        }
    }

    /// Reloads the units, and starts all wanted ones, now and at every start of the machine. After
    /// an interruption, the command still runs, but is not waited for. `gone` are removed units,
    /// whose failures are reset.
    pub(super) fn start(
        self,
        gone: &[String],
        observer: &dyn Observer,
    ) -> Result<(), SystemdError> {
        if !self.is_on() {
            return Ok(());
        }
        // systemd keeps the units that it has read, until it is told (systemctl(1),
        // "daemon-reload").
        insist(&["daemon-reload"])?;
        self.reset_failed(gone);
        // Without a second reload, which the one above makes needless.
        insist(&["enable", TARGET, "--no-reload"])?;
        let mut arguments = vec!["start", TARGET];
        arguments.extend(self.no_block());
        match self.wait(&arguments, observer) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(&arguments, status)),
            Err(SystemdError::Interrupted) => {
                insist(&["start", TARGET, "--no-block"])?;
                Err(SystemdError::Interrupted)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the failed units of a list, where their start was waited for.
    pub(super) fn failed(self, units: &[String]) -> Vec<String> {
        if self != Self::Blocking || units.is_empty() {
            return Vec::new();
        }
        units_that_are(units, &["failed"]).unwrap_or_default()
    }

    /// Resets the failed state of units. Other units are unaffected.
    pub(super) fn reset_failed(self, units: &[String]) {
        if self.is_on() {
            for unit in units_that_are(units, &["failed"]).unwrap_or_default() {
                drop(run(&["reset-failed", "--", &unit]));
            }
        }
    }

    /// Runs a command of systemd that may take as long as services do.
    fn wait(self, arguments: &[&str], observer: &dyn Observer) -> Result<ExitStatus, SystemdError> {
        if self == Self::NoBlock {
            return run(arguments);
        }
        if observer.is_interrupted() {
            return Err(SystemdError::Interrupted);
        }
        let mut child = systemctl(arguments).spawn().map_err(SystemdError::NoProgram)?;
        let mut look = Duration::from_millis(1);
        loop {
            if let Some(status) = child.try_wait().map_err(SystemdError::NoProgram)? {
                // Stopping a service sends the signal to all of its processes.
                if status.signal().is_some() && observer.is_interrupted() {
                    return Err(SystemdError::Interrupted);
                }
                return Ok(status);
            }
            if observer.is_interrupted() {
                // It only waits: what systemd was asked for goes on.
                drop(child.kill());
                drop(child.wait());
                return Err(SystemdError::Interrupted);
            }
            std::thread::sleep(look);
            look = LONGEST_LOOK.min(look * 2);
        }
    }

    /// Has systemd forget the target and all units.
    pub(super) fn forget(self) -> Result<(), SystemdError> {
        if self.is_on() { must(&["daemon-reload"]) } else { Ok(()) }
    }

    /// Has the target no longer started with the machine.
    pub(super) fn disable(self) -> Result<(), SystemdError> {
        if self.is_on() { must(&["disable", TARGET, "--no-reload"]) } else { Ok(()) }
    }

    fn no_block(self) -> Option<&'static str> {
        (self == Self::NoBlock).then_some("--no-block")
    }
}

fn must(arguments: &[&str]) -> Result<(), SystemdError> {
    let status = run(arguments)?;
    told(arguments, status)
}

fn told(arguments: &[&str], status: ExitStatus) -> Result<(), SystemdError> {
    if status.success() { Ok(()) } else { Err(failed(arguments, status)) }
}

/// Runs a command like [`must`], with one retry if a signal ended the command: stopping a service
/// sends a signal to all of its processes, and this process goes on.
fn insist(arguments: &[&str]) -> Result<(), SystemdError> {
    let status = run(arguments)?;
    if status.signal().is_some() { must(arguments) } else { told(arguments, status) }
}

/// Returns the units in one of these states; `None` if systemd does not answer.
fn units_that_are(units: &[String], states: &[&str]) -> Option<Vec<String>> {
    if units.is_empty() {
        return Some(Vec::new());
    }
    let mut arguments = vec!["is-active", "--"];
    arguments.extend(units.iter().map(String::as_str));
    let output = systemctl(&arguments).stdout(Stdio::piped()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // One line a unit, in the order of the arguments; the exit code says only whether any is
    // active.
    let told: Vec<&str> = text.lines().map(str::trim).collect();
    let is_one = |(_, state): &(&String, &str)| states.contains(state);
    (told.len() == units.len())
        .then(|| units.iter().zip(told).filter(is_one).map(|(unit, _)| unit.clone()).collect())
}

fn run(arguments: &[&str]) -> Result<ExitStatus, SystemdError> {
    systemctl(arguments).status().map_err(SystemdError::NoProgram)
}

fn systemctl(arguments: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    // The output is for people; stdout is data. A terminal's Ctrl-C reaches only this process,
    // which then decides.
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    command
}

fn failed(arguments: &[&str], status: ExitStatus) -> SystemdError {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "it did not end".to_owned(),
    };
    SystemdError::Failed { arguments: arguments.join(" "), how }
}

/// Returns the names of the units with links in a folder, sorted; empty if the folder is missing.
/// Of other names, only devices are included, which can be wanted without being files.
pub(super) fn units_in(folder: &Path) -> Result<Vec<String>, SystemdError> {
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(SystemdError::Units)?,
    };
    let mut units = Vec::new();
    for entry in entries {
        let entry = entry.map_err(SystemdError::Units)?;
        let is_folder = entry.file_type().map_err(SystemdError::Units)?.is_dir();
        let name = entry.file_name();
        if let Some(name) = name.to_str().filter(|name| !is_folder && is_wanted(name)) {
            units.push(name.to_owned());
        }
    }
    units.sort_unstable();
    Ok(units)
}

fn is_wanted(name: &str) -> bool {
    is_unit_name(name) || (is_plain(name) && name.ends_with(".device"))
}

/// Path of the target's file, in the folder of units.
pub(super) fn target_file(units: &Path) -> PathBuf {
    units.join(OsStr::new(TARGET))
}
