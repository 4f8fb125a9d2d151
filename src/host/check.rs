//! Programs in packages' `check/`, which check that the packages work on this machine.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::{AccessFlags, access};

use super::active::ActiveError;
use super::paths::Host;
use crate::package::PackageId;

/// The checks can't be listed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The active set can't be told.
    #[error(transparent)]
    Active(#[from] ActiveError),
    /// A package's checks can't be read.
    #[error("can't read the checks of package {package}")]
    Unreadable {
        /// The package.
        package: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCheck {
    /// Package of the check.
    pub package: PackageId,
    /// File name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// The checks of the active packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    /// Executable checks, sorted by package and name.
    pub checks: Vec<HostCheck>,
    /// Files without execute permission.
    pub not_executable: Vec<HostCheck>,
    /// Active packages that are no longer in the repository.
    pub gone: Vec<PackageId>,
}

impl Host {
    /// The checks of the active packages.
    pub fn checks(&self) -> Result<Checks, CheckError> {
        let mut found = Checks::default();
        for package in self.active()? {
            let package_folder = self.repository().join(package.to_string());
            if !package_folder.is_dir() {
                // Unlike a package without checks: the active set is damaged, and success would
                // hide that.
                found.gone.push(package);
                continue;
            }
            let folder = package_folder.join("check");
            let unreadable = |source| CheckError::Unreadable { package: package.clone(), source };
            let entries = match fs_err::read_dir(&folder) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    continue;
                }
                other => other.map_err(unreadable)?,
            };
            let mut names = entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<_>>>()
                .map_err(unreadable)?;
            names.sort_unstable();
            for name in names {
                let path = folder.join(&name);
                if path.is_dir() {
                    continue;
                }
                let name = name.to_string_lossy().into_owned();
                let check = HostCheck { package: package.clone(), name, path };
                // By the kernel, which knows ACLs and the mount option `noexec`; the bits of the
                // mode do not.
                match access(&check.path, AccessFlags::X_OK) {
                    Ok(()) => found.checks.push(check),
                    Err(_) => found.not_executable.push(check),
                }
            }
        }
        Ok(found)
    }
}

impl HostCheck {
    /// Runs the check; its output goes to this process's stdout and stderr or, if `quiet` is set,
    /// to stderr only. Returns true on success.
    pub fn run(&self, quiet: bool) -> io::Result<bool> {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::null());
        if quiet {
            command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        }
        command.status().map(|status| status.success())
    }
}
