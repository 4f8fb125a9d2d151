//! Input files of a job's action: those of the job, and the program that carries it out.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::action::{JOB, PROGRAM};
use super::blob::{BlobDigest, Content};
use super::error::ReapiError;
use super::tree::InputFile;
use crate::base::digest::Sha256Sum;
use crate::base::elf::static_machine;
use crate::portable::JobFolder;

/// Program that carries jobs out.
#[derive(Debug, Clone)]
pub(super) struct JobProgram {
    path: PathBuf,
    digest: BlobDigest,
    /// True if it needs libraries of the worker.
    pub(super) is_dynamic: bool,
}

/// The program, read on the first call.
#[derive(Debug, Default)]
pub(super) struct ProgramSlot(OnceLock<JobProgram>);

impl ProgramSlot {
    /// The program at a path, or this one.
    pub(super) fn get(&self, path: Option<&Path>) -> Result<&JobProgram, ReapiError> {
        if let Some(program) = self.0.get() {
            return Ok(program);
        }
        let own = Path::new("/proc/self/exe");
        let path = path.map_or_else(|| fs_err::read_link(own), |path| Ok(path.to_owned()));
        let path = path.map_err(|source| ReapiError::Program { path: own.to_owned(), source })?;
        let failed = |source| ReapiError::Program { path: path.clone(), source };
        let file = || fs_err::File::open(&path).map_err(failed);
        let bytes = file()?.metadata().map_err(failed)?.len();
        let sum = Sha256Sum::of_reader(file()?).map_err(failed)?;
        let is_dynamic = static_machine(file()?).is_err();
        let digest = BlobDigest { sum, bytes };
        Ok(self.0.get_or_init(|| JobProgram { path: path.clone(), digest, is_dynamic }))
    }
}

/// Files of the action's folder.
pub(super) fn files(job: &JobFolder, program: &JobProgram) -> Result<Vec<InputFile>, ReapiError> {
    let file = |(name, sum): (String, Sha256Sum)| {
        let path = job.path().join(&name);
        let data = fs_err::symlink_metadata(&path)
            .map_err(|source| ReapiError::File { doing: "read a file of the job", source })?;
        let digest = BlobDigest { sum, bytes: data.len() };
        let (content, is_executable) = (Content::File(path), false);
        let path = format!("{JOB}/{name}");
        Ok::<_, ReapiError>(InputFile { path, digest, content, is_executable })
    };
    let mut files: Vec<InputFile> = job.files().into_iter().map(file).collect::<Result<_, _>>()?;
    files.push(InputFile {
        path: PROGRAM.to_owned(),
        digest: program.digest.clone(),
        content: Content::File(program.path.clone()),
        is_executable: true,
    });
    Ok(files)
}
