//! From the folder `genconf` to the folder that hosts install from.

use std::path::{Path, PathBuf};

use super::error::InstallerError;
use super::file::InstallerFile;
use super::input::{self, ConfigInput};
use super::keep::UPGRADE_SCRIPT;
use super::serve::{ServedFile, ServedFolder, write};
use crate::base::digest::Sha1Sum;
use crate::base::event::{Event, Observer};
use crate::package::paths::package_path;
use crate::provider::{ProviderError, ProviderFile};

/// The argument with the version before an upgrade.
const INSTALLED: &str = "installed_version";

/// Run on a folder `genconf`.
#[derive(Clone, Copy)]
pub struct Genconf<'a> {
    installer: &'a InstallerFile,
    folder: &'a Path,
    observer: &'a dyn Observer,
}

impl std::fmt::Debug for Genconf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Genconf").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Results of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeResult {
    /// The folder to serve.
    pub folder: PathBuf,
    /// Path of the upgrade script below that folder, if requested.
    pub upgrade: Option<String>,
    /// URL of the folder for hosts, if configured.
    pub url: Option<String>,
}

impl<'a> Genconf<'a> {
    /// A run of an installer on a folder.
    pub fn new(installer: &'a InstallerFile, folder: &'a Path, observer: &'a dyn Observer) -> Self {
        Self { installer, folder, observer }
    }

    /// Checks the configuration and writes the folder `serve`, all or nothing; with `installed`, a script
    /// that upgrades hosts from that version, too. All faults of the configuration are reported at once.
    pub fn run(&self, installed: Option<&str>) -> Result<ServeResult, InstallerError> {
        let manifest = self.installer.manifest();
        let provider = self.installer.provider()?;
        let ConfigInput { mut values, check_bins, mut faults, warnings } =
            input::read(self.folder, &provider, manifest)?;
        for message in warnings {
            self.observer.event(Event::Warning { subject: String::new(), message });
        }
        if let Some(installed) = installed {
            if !provider.arguments().iter().any(|argument| argument.name == INSTALLED) {
                return Err(InstallerError::NoUpgrade(provider.name().to_owned()));
            }
            values = values.given(INSTALLED, installed);
        }
        let mut rendered = match provider.render(&values) {
            Ok(rendered) => rendered,
            Err(ProviderError::Arguments { faults: wrong, .. }) => {
                faults.extend(wrong.iter().map(ToString::to_string));
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        if !faults.is_empty() {
            return Err(InstallerError::Configuration { faults });
        }
        let upgrade = match installed {
            Some(installed) => Some(self.place_upgrade(installed, &mut rendered)?),
            None => None,
        };
        let mut files: Vec<ServedFile> = rendered.into_iter().map(ServedFile::from).collect();
        files.extend(check_bins.map(|(id, bytes)| ServedFile {
            name: package_path(&id),
            bytes,
            is_program: false,
        }));
        let served = ServedFolder {
            installer: self.installer,
            files,
            upgrade: upgrade.as_deref(),
            observer: self.observer,
        };
        let folder = write(&served, self.folder)?;
        let url = provider.checked(&values, "bootstrap_url");
        Ok(ServeResult { folder, upgrade, url })
    }

    /// Gives the upgrade script a path by the versions before and after.
    fn place_upgrade(
        &self,
        installed: &str,
        files: &mut [ProviderFile],
    ) -> Result<String, InstallerError> {
        let script = files
            .iter_mut()
            .find(|file| file.name == UPGRADE_SCRIPT)
            .ok_or_else(|| InstallerError::NoUpgrade(self.installer.manifest().provider.clone()))?;
        let sum = Sha1Sum::of(&[installed.as_bytes(), b"\0", &script.bytes].concat()).to_string();
        // Version 5 and the variant of RFC 9562.
        let uuid = format!(
            "{}-{}-5{}-8{}-{}",
            &sum[..8],
            &sum[8..12],
            &sum[13..16],
            &sum[17..20],
            &sum[20..32]
        );
        script.name = format!("upgrade/{uuid}/{UPGRADE_SCRIPT}");
        Ok(script.name.clone())
    }
}
