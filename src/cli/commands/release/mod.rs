//! `mkpanda release`: releases of trees, in storages from which people install.

mod create;
mod read;

use std::path::{Path, PathBuf};

use super::super::error::CliError;
use super::super::format_arg::FormatArg;
use super::super::release_args::{ReleaseArgs, ReleaseCommand, ShownArg};
use super::super::settings::Settings;
use super::Context;
use crate::base::event::{Event, Observer};
use crate::release::config::{self, ReleaseConfig};
use crate::release::{Commit, ReleaseError, StaticPkgpanda, Storages, commit, trees};

/// Name of the variable that names the commit of a release.
const COMMIT: &str = "DCOS_IMAGE_COMMIT";

/// Runs a subcommand.
pub fn run(context: &Context<'_>, args: &ReleaseArgs) -> Result<(), CliError> {
    args.check()?;
    match &args.command {
        ReleaseCommand::Create { channel, tag, variants } => {
            create::create(context, args, channel, tag, variants)
        }
        ReleaseCommand::Promote { source, destination, destination_channel } => {
            create::promote(context, args, source, destination, destination_channel.as_deref())
        }
        ReleaseCommand::CreateInstaller { source } => {
            create::create_installer(context, args, source)
        }
        ReleaseCommand::List { repository } => read::list(context, args, repository.as_deref()),
        ReleaseCommand::Show { channel } => read::show(context, args, channel),
        ReleaseCommand::Diff { first, second } => read::diff(context, args, first, second),
    }
}

/// Folders, configuration and storages of a command.
struct Desk {
    /// The packages folder.
    packages: PathBuf,
    settings: Settings,
    config: ReleaseConfig,
    storages: Storages,
}

impl Desk {
    /// Reads the configuration. The folder is that of a checkout with `packages/`, or a packages folder.
    fn open(context: &Context<'_>, args: &ReleaseArgs) -> Result<Self, CliError> {
        let folder = context.folder()?;
        let below = folder.join("packages");
        let packages = if below.is_dir() { below } else { folder.clone() };
        let settings = context.settings(args.jobs, Some(&packages))?;
        let path = match &args.config {
            Some(path) => folder.join(path),
            None => trees::checkout(&packages).join(config::FILE),
        };
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => ReleaseError::NoConfiguration(path.clone()),
            _ => ReleaseError::File { operation: "read", path: path.clone(), source },
        };
        let text = read_text(&path).map_err(failed)?;
        let variable = |name: &str| context.environment.get(name).map(str::to_owned);
        let config = ReleaseConfig::parse(&path, &text, &variable).map_err(ReleaseError::from)?;
        let storages = Storages::open(&config, &settings.stores).map_err(ReleaseError::from)?;
        Ok(Self { packages, settings, config, storages })
    }

    /// The folder of the checkout.
    fn checkout(&self) -> &Path {
        trees::checkout(&self.packages)
    }

    fn commit(&self, context: &Context<'_>) -> Result<Commit, CliError> {
        Ok(commit(self.checkout(), context.environment.get(COMMIT))?)
    }

    /// Finds the static pkgpanda: the given one, else the one beside this program.
    fn pkgpanda(
        &self,
        context: &Context<'_>,
        args: &ReleaseArgs,
    ) -> Result<StaticPkgpanda, CliError> {
        let named = match &args.pkgpanda {
            Some(path) => Some(context.folder()?.join(path)),
            None => self.config.pkgpanda.clone(),
        };
        let beside = || {
            let own = fs_err::read_link("/proc/self/exe").unwrap_or_default();
            own.with_file_name("pkgpanda")
        };
        Ok(StaticPkgpanda::read(&named.unwrap_or_else(beside))?)
    }

    /// Reports the storages without a stored file, and fails if all are such.
    fn check_written(&self, observer: &dyn Observer) -> Result<(), CliError> {
        let mut reasons = Vec::new();
        for storage in &self.storages.all {
            if let Some(reason) = storage.unwritten {
                let message = format!("nothing is stored in storage {}: {reason}", storage.name);
                observer.event(Event::Note { message });
                reasons.push(format!("{}: {reason}", storage.name));
            }
        }
        if reasons.len() == self.storages.all.len() {
            let path = self.config.path.clone();
            return Err(ReleaseError::NothingWritten { path, reasons }.into());
        }
        let preferred = self.storages.preferred();
        match preferred.unwritten {
            None => Ok(()),
            Some(reason) => {
                let name = preferred.name.clone();
                Err(ReleaseError::PreferredUnwritten { name, reason }.into())
            }
        }
    }

    fn cloudformation_s3_url(&self) -> Result<&str, CliError> {
        self.config.cloudformation_s3_url.as_deref().ok_or_else(|| {
            let path = self.config.path.clone();
            ReleaseError::NoOption { path, key: "cloudformation_s3_url" }.into()
        })
    }
}

/// True if the caller has named the commit of releases.
fn names_commit(context: &Context<'_>) -> bool {
    context.environment.get(COMMIT).is_some()
}

/// Reads a configuration, of a limited length.
fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = crate::base::regular::open_regular(path)?;
    file.take(config::LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > config::LONGEST {
        return Err(std::io::Error::other(format!("it has more than {} bytes", config::LONGEST)));
    }
    Ok(text)
}

impl From<ReleaseError> for CliError {
    fn from(error: ReleaseError) -> Self {
        Self::Release(Box::new(error))
    }
}

impl ReleaseArgs {
    /// Refuses options that the command has no use for.
    fn check(&self) -> Result<(), CliError> {
        let (name, stores, reads) = match self.command {
            ReleaseCommand::Create { .. } => ("create", true, false),
            ReleaseCommand::Promote { .. } => ("promote", true, false),
            ReleaseCommand::CreateInstaller { .. } => ("create-installer", false, false),
            ReleaseCommand::List { .. } => ("list", false, true),
            ReleaseCommand::Show { .. } => ("show", false, true),
            ReleaseCommand::Diff { .. } => ("diff", false, true),
        };
        let builds = matches!(self.command, ReleaseCommand::Create { .. });
        let useless = [
            ("--noop", self.noop && reads),
            ("--local", self.local && reads),
            ("--replace", self.replace && !stores),
            ("--pkgpanda", self.pkgpanda.is_some() && reads),
            ("--jobs", self.jobs.is_some() && !builds),
        ];
        let refused = |option, place| Err(CliError::Useless { option, place });
        if let Some((option, _)) = useless.into_iter().find(|(_, is_useless)| *is_useless) {
            return refused(option, format!("mkpanda release {name}"));
        }
        for (option, is_given) in [("--noop", self.noop), ("--local", self.local)] {
            if is_given && self.replace {
                return refused("--replace", format!("a run that stores nothing ({option})"));
            }
        }
        // Installers are shown by their paths alone.
        let shows_paths = !stores && !reads || self.local && !self.noop;
        match self.format {
            ShownArg::Json if shows_paths => {
                refused("--format json", "the paths of installers".to_owned())
            }
            ShownArg::Html if shows_paths => {
                refused("--format html", "the paths of installers".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Form of a result that has no page; `place` names the result in the error.
    fn format_without_page(&self, place: &str) -> Result<FormatArg, CliError> {
        self.format
            .without_page()
            .ok_or_else(|| CliError::Useless { option: "--format html", place: place.to_owned() })
    }
}
