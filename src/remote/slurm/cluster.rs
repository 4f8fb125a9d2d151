//! Settings of builds by Slurm, and what all packages of a run share.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::client::SlurmClient;
use super::error::SlurmError;
use super::queue::JobQueue;
use crate::container::idmap::Tier;
use crate::portable::JobLimits;
use crate::remote::folder_access;
use crate::remote::shared::SharedFolder;

/// Word for Slurm in records and messages.
pub(super) const ENGINE: &str = "slurm";

/// Settings of builds by Slurm.
#[derive(Debug, Clone)]
pub struct SlurmSettings {
    /// Folder that all machines see, absolute.
    pub folder: PathBuf,
    /// Options for `sbatch`.
    pub options: Vec<String>,
    /// Time limit of a job; the build script's limit and half an hour by default.
    pub time: Option<Duration>,
    /// Program that carries jobs out, as the machines see it; a copy of this one in the folder by default.
    pub program: Option<PathBuf>,
    /// The builder's own folder on the machines.
    pub home: Option<PathBuf>,
    /// Longest interval between two looks at a job.
    pub poll: Duration,
    /// Limits of builds.
    pub limits: JobLimits,
    /// Tier that builds have to have.
    pub tier: Option<Tier>,
    /// Search path for Slurm's programs.
    pub search_path: String,
    /// Configuration of Slurm, if a variable names one.
    pub configuration: Option<PathBuf>,
}

/// Builds by Slurm.
#[derive(Debug)]
pub struct Slurm {
    pub(super) settings: SlurmSettings,
    pub(super) client: SlurmClient,
    pub(super) queue: JobQueue,
    /// The shared folder, once a job needs it, with the program.
    opened: OnceLock<Result<OpenedFolder, FolderFault>>,
}

/// Reason why the shared folder cannot be used, for all packages of a run.
#[derive(Debug)]
enum FolderFault {
    /// It cannot be read or written.
    File(io::ErrorKind, String),
    /// Another user may change this folder.
    ChangeableByOthers(PathBuf),
}

/// Folder and program of the jobs.
#[derive(Debug)]
pub(super) struct OpenedFolder {
    pub(super) folder: SharedFolder,
    pub(super) program: PathBuf,
}

impl Slurm {
    /// Prepares builds; nothing is read or written before the first one.
    pub fn new(settings: SlurmSettings) -> Self {
        let client = SlurmClient {
            search_path: settings.search_path.clone(),
            configuration: settings.configuration.clone(),
        };
        Self { settings, client, queue: JobQueue::default(), opened: OnceLock::new() }
    }

    /// The shared folder and the program, made on the first call.
    pub(super) fn opened(&self) -> Result<&OpenedFolder, SlurmError> {
        let file = |error: io::Error| FolderFault::File(error.kind(), error.to_string());
        let open = || {
            let folder = SharedFolder::open(self.settings.folder.clone()).map_err(file)?;
            let changeable = folder_access::changeable_by_others(&self.settings.folder);
            if let Some(path) = changeable.map_err(file)? {
                return Err(FolderFault::ChangeableByOthers(path));
            }
            let program = match &self.settings.program {
                Some(program) => program.clone(),
                None => fs_err::read_link("/proc/self/exe")
                    .and_then(|own| folder.program(&own))
                    .map_err(file)?,
            };
            Ok(OpenedFolder { folder, program })
        };
        self.opened.get_or_init(open).as_ref().map_err(|fault| match fault {
            FolderFault::File(kind, text) => {
                SlurmError::Folder(io::Error::new(*kind, text.clone()))
            }
            FolderFault::ChangeableByOthers(path) => SlurmError::OpenFolder(path.clone()),
        })
    }
}
