//! Settings of builds on other machines, from options, variables and `[executor]` of the user's configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::Environment;
use super::executor_args::{ExecutorArg, ExecutorArgs};
use super::executor_file::ExecutorFile;
use super::given::GivenValues;
use super::remote::RemoteSettings;
use super::settings_error::SettingsError;
use super::value::Text;
use crate::build::elsewhere::{Elsewhere, LocalShare};
use crate::container::idmap::Tier;
use crate::portable::JobLimits;
use crate::remote::slurm::{Slurm, SlurmSettings};

/// Longest interval between two looks at a job, by default.
const POLL: Duration = Duration::from_secs(5);

/// Upper limit of that interval.
const LONGEST_POLL: Duration = Duration::from_secs(60 * 60);

/// Settings of builds on other machines, without options.
#[derive(Debug, Clone)]
pub struct ExecutorSettings {
    /// Machines that build packages, if that is said.
    pub kind: Option<ExecutorArg>,
    /// Folder that all machines see.
    pub folder: Option<PathBuf>,
    /// Program that carries jobs out.
    pub program: Option<PathBuf>,
    home: Option<PathBuf>,
    options: Vec<String>,
    time: Option<Duration>,
    poll: Duration,
    fallback: bool,
    search_path: String,
    configuration: Option<PathBuf>,
    /// Engine of the Remote Execution API.
    pub remote: RemoteSettings,
}

impl GivenValues<'_> {
    /// Settings of builds on other machines.
    pub(super) fn executor(
        &self,
        environment: &Environment,
    ) -> Result<ExecutorSettings, SettingsError> {
        let duration = |key: &str, pick: fn(&ExecutorFile) -> Option<String>| {
            let text = self.users_text(key, |file| pick(&file.executor));
            text.map(|text| text.duration()).transpose()
        };
        let path = |key: &str, pick: fn(&ExecutorFile) -> Option<PathBuf>| {
            let said = self.variable(key).map(|text| PathBuf::from(text.value));
            let found = said.or_else(|| self.users_path(|file| pick(&file.executor)));
            found.map(std::path::absolute).transpose()
        };
        let read = |source| SettingsError::Read { source };
        let options = self
            .file(|file| Some(file.executor.options.clone()).filter(|options| !options.is_empty()));
        let options = options.unwrap_or_default();
        // `sbatch` would take it for the script, and what follows for the script's arguments.
        if let Some(option) = options.iter().find(|option| !option.starts_with('-')) {
            let origin = "executor.options".to_owned();
            return Err(Text { origin, value: option.clone() }
                .wrong("option of sbatch in one text, such as --partition=p"));
        }
        Ok(ExecutorSettings {
            kind: self.choice("EXECUTOR_KIND", |file| file.executor.kind)?,
            folder: path("EXECUTOR_FOLDER", |file| file.folder.clone()).map_err(read)?,
            program: path("EXECUTOR_PROGRAM", |file| file.program.clone()).map_err(read)?,
            // Of another machine: it is not looked at here.
            home: self.file(|file| file.executor.home.clone()),
            options,
            time: duration("executor.time", |file| file.time.clone())?,
            poll: duration("executor.poll", |file| file.poll.clone())?
                .unwrap_or(POLL)
                // A job that ended is only noticed at the next look.
                .min(LONGEST_POLL),
            fallback: self.file(|file| file.executor.fallback).unwrap_or(false),
            search_path: environment.get("PATH").unwrap_or_default().to_owned(),
            configuration: environment.get("SLURM_CONF").map(PathBuf::from),
            remote: self.remote(environment)?,
        })
    }
}

/// What builds need that other machines cannot give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The machine's network.
    pub(super) network: bool,
    /// Folders that a build leaves in the cache.
    pub(super) keep: bool,
    /// Signatures of packages that come from elsewhere.
    pub(super) signatures: bool,
}

/// Makes the engine that the settings and options name; `None` for builds on this machine.
pub(super) fn elsewhere(
    settings: &ExecutorSettings,
    args: &ExecutorArgs,
    (limits, tier): (JobLimits, Option<Tier>),
    wanted: Wanted,
) -> Result<Option<Elsewhere>, SettingsError> {
    // An engine that is named is meant, unless something else is said.
    let typed = args.executor.or(args.remote_executor.as_ref().map(|_url| ExecutorArg::Remote));
    let named = settings.remote.executor.as_ref().map(|_url| ExecutorArg::Remote);
    let kind = typed.or(settings.kind).or(named).unwrap_or(ExecutorArg::Local);
    if kind == ExecutorArg::Local {
        return Ok(None);
    }
    // Refused, and not passed over: builds that need the network would fail on the other machine in
    // odd ways.
    if wanted.network {
        return Err(SettingsError::ExecutorNetwork);
    }
    if wanted.keep {
        return Err(SettingsError::ExecutorKeep);
    }
    if kind == ExecutorArg::Remote {
        // The engine's cache may have results of others, which nobody can vouch for.
        if wanted.signatures {
            return Err(SettingsError::ExecutorUnsigned);
        }
        let mut remote = settings.remote.clone();
        remote.fallback |= settings.fallback;
        let remote = remote.with(args)?;
        let (fallback, local_jobs) = (remote.fallback, usize::from(remote.local_jobs));
        let executor = remote.engine(limits, tier)?;
        return Ok(Some(Elsewhere { executor, fallback, local: LocalShare::new(local_jobs) }));
    }
    let typed = |typed: &Option<PathBuf>, set: &Option<PathBuf>| {
        let typed = typed.as_ref().map(std::path::absolute).transpose();
        let typed = typed.map_err(|source| SettingsError::Read { source })?;
        Ok::<_, SettingsError>(typed.or_else(|| set.clone()))
    };
    let folder = typed(&args.executor_folder, &settings.folder)?;
    let folder = folder.ok_or(SettingsError::NoExecutorFolder)?;
    let program = typed(&args.executor_program, &settings.program)?;
    // A script names them.
    if let Some(odd) = [Some(&folder), program.as_ref(), settings.home.as_ref()]
        .into_iter()
        .flatten()
        .find(|path| path.to_str().is_none_or(|text| text.contains(['\n', '\r'])))
    {
        let (origin, value) = ("executor".to_owned(), odd.display().to_string());
        return Err(Text { origin, value }.wrong("path without line breaks in UTF-8"));
    }
    let settings = settings.clone();
    let executor = Slurm::new(SlurmSettings {
        folder,
        options: settings.options,
        time: settings.time,
        program,
        home: settings.home,
        poll: settings.poll,
        limits,
        tier,
        search_path: settings.search_path,
        configuration: settings.configuration,
    });
    let local = LocalShare::new(0);
    Ok(Some(Elsewhere { executor: Arc::new(executor), fallback: settings.fallback, local }))
}
