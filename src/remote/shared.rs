//! The folder that this machine and those of an engine share.
//!
//! ```text
//! jobs/<sum>/job/           portable job, named by the sum of its job.json; results in job/out
//! jobs/<sum>/run.sh         script that carries it out
//! jobs/<sum>/ran-on         machine and name of the last run, written by the script
//! jobs/<sum>/output         output of all runs
//! jobs/<sum>/refused        results that were refused
//! pool/<sum>                layers and packages that jobs share by hard links
//! programs/<sum>/mkpanda    program that carries the jobs out
//! ```
//!
//! Two runs that want the same package meet at its job: the second one finds the job, and its result.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base::atomic::{self, AtomicFile, TemporaryFolder};
use crate::base::confinement::read_text;
use crate::base::digest::Sha256Sum;
use crate::base::removal::remove_all;
use crate::build::elsewhere::ElsewhereTask;
use crate::portable::{
    ExportInputs, ExportOptions, JobFilePool, JobFolder, PortableJobError, export_inputs,
};
use crate::runner::home::REMOTE_JOB_ABANDONED;

/// Prefix of a job that is being removed.
const REMOVED: &str = ".removed-";

/// Longest `ran-on` that is read, in bytes.
const LONGEST: u64 = 1024;

/// Longest name of a machine or a job that is shown.
const LONGEST_NAME: usize = 64;

/// Folder shared with the machines of an engine.
#[derive(Debug)]
pub(super) struct SharedFolder {
    root: PathBuf,
    pool: JobFilePool,
}

/// Job in a shared folder.
#[derive(Debug)]
pub(super) struct SharedJob {
    /// Folder of the job and its output.
    pub(super) folder: PathBuf,
    /// Sum of the job's description.
    pub(super) sum: Sha256Sum,
}

/// Job in a temporary folder, which is removed with the value.
#[derive(Debug)]
pub(super) struct StagedJob {
    /// Job.
    pub(super) job: JobFolder,
    #[cfg_attr(
        not(feature = "remote-execution"),
        expect(dead_code, reason = "it is removed on drop")
    )]
    folder: TemporaryFolder,
}

#[cfg(feature = "remote-execution")]
impl StagedJob {
    /// Folder around the job's, for other files.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl SharedFolder {
    /// Makes the folder, unless it is there, and removes what was abandoned.
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        for name in ["jobs", "pool"] {
            fs_err::create_dir_all(root.join(name))?;
        }
        let folder = Self { pool: JobFilePool::new(root.join("pool")), root };
        folder.sweep(SystemTime::now());
        Ok(folder)
    }

    /// Makes the job of a package, unless it is there.
    pub(super) fn make(
        &self,
        task: &ElsewhereTask<'_>,
        options: &ExportOptions<'_>,
    ) -> Result<SharedJob, PortableJobError> {
        let file = |source| PortableJobError::File { doing: "make a folder for the job", source };
        let staged = self.stage(task, options)?;
        let job = SharedJob::of(&self.root.join("jobs"), staged.job.sum.clone());
        fs_err::create_dir_all(&job.folder).map_err(file)?;
        match fs_err::rename(staged.job.path(), job.path()) {
            // Another run, or an earlier one, has made it: the same bytes.
            Err(_) if job.path().join("job.json").exists() => Ok(job),
            made => made.map(|()| job).map_err(file),
        }
    }

    /// Makes the job of a package in a temporary folder.
    pub(super) fn stage(
        &self,
        task: &ElsewhereTask<'_>,
        options: &ExportOptions<'_>,
    ) -> Result<StagedJob, PortableJobError> {
        let file = |source| PortableJobError::File { doing: "make a folder for the job", source };
        let folder = TemporaryFolder::create(&self.root.join("jobs")).map_err(file)?;
        let target = folder.path().join("job");
        let inputs = ExportInputs {
            home: task.home,
            archives: task.archives,
            interrupt: task.interrupt,
            request: task.request,
            sources: task.sources,
            pool: Some(&self.pool),
        };
        export_inputs(inputs, &target, options)?;
        Ok(StagedJob { job: JobFolder::open(&target)?, folder })
    }

    /// Copies a program into the folder, and returns its path.
    pub(super) fn program(&self, executable: &Path) -> io::Result<PathBuf> {
        let sum = Sha256Sum::of_file(executable)?;
        let path = self.root.join("programs").join(sum.as_str()).join("mkpanda");
        if !path.exists() {
            // Whole at once: a machine may start the program as soon as it has its name.
            let mut file = AtomicFile::create(&path)?.with_mode(0o755);
            io::copy(&mut fs_err::File::open(executable)?, file.file())?;
            file.commit()?;
        }
        Ok(path)
    }

    /// Removes abandoned jobs, and files that no job shares. A failure is left to the next run. Names of
    /// another form are not of this program: the folder is one that the user chose.
    fn sweep(&self, now: SystemTime) {
        let jobs = self.root.join("jobs");
        // By the time of change, which a link that is made or removed sets, too (inode(7)).
        let is_old = |path: &Path| {
            let changed = fs_err::symlink_metadata(path).ok().and_then(|data| {
                Some((now.duration_since(SystemTime::UNIX_EPOCH).ok()?, data.ctime()))
            });
            changed.is_some_and(|(now, then)| {
                now.saturating_sub(Duration::from_secs(u64::try_from(then).unwrap_or(0)))
                    > REMOTE_JOB_ABANDONED
            })
        };
        for path in entries(&jobs).into_iter().filter(|path| is_ours(path)) {
            // The output and the results of a run change their own times.
            if [&path, &path.join("output"), &path.join("job/out")]
                .iter()
                .all(|path| !path.exists() || is_old(path))
            {
                drop(remove_all(&path));
            }
        }
        for path in entries(&self.root.join("pool")).into_iter().filter(|path| is_ours(path)) {
            let is_shared = fs_err::symlink_metadata(&path).is_ok_and(|data| data.nlink() > 1);
            if !is_shared && is_old(&path) {
                drop(fs_err::remove_file(&path));
            }
        }
    }
}

/// True for the names of jobs, pooled files, and what a killed run leaves of either.
fn is_ours(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    let is_sum = |name: &str| name.parse::<Sha256Sum>().is_ok();
    let is_removed = |rest: &str| {
        rest.split_once('-').is_some_and(|(sum, process)| {
            is_sum(sum) && !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    is_sum(name)
        || name.strip_prefix(REMOVED).is_some_and(is_removed)
        || name.starts_with(atomic::TEMPORARY_PREFIX)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

impl SharedJob {
    fn of(jobs: &Path, sum: Sha256Sum) -> Self {
        Self { folder: jobs.join(sum.as_str()), sum }
    }

    /// The portable job itself.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("job")
    }

    /// Folder of the results.
    pub(super) fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    /// File for the output of all runs.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// Looks at the folder of the results anew: NFS may remember for a while that a file was not there.
    pub(super) fn refresh(&self) {
        for folder in [self.path(), self.out()] {
            drop(entries(&folder));
        }
    }

    /// Removes the results of an earlier run.
    pub(super) fn clear(&self) -> io::Result<()> {
        remove_all(&self.out())
    }

    /// Puts results that were refused aside, for whoever looks into them.
    pub(super) fn put_aside(&self) -> io::Result<PathBuf> {
        let refused = self.folder.join("refused");
        remove_all(&refused)?;
        fs_err::rename(self.out(), &refused)?;
        Ok(refused)
    }

    /// Removes the job with all that belongs to it.
    pub(super) fn remove(&self) -> io::Result<()> {
        // Under another name: a job that is removed in part would look like a whole one.
        let removed = format!("{REMOVED}{}-{}", self.sum, std::process::id());
        let removed = self.folder.with_file_name(removed);
        fs_err::rename(&self.folder, &removed)?;
        remove_all(&removed)
    }

    /// Removes the portable job alone, so that it is made anew.
    pub(super) fn forget(&self) -> io::Result<()> {
        let removed = self.folder.join(".removed");
        remove_all(&removed)?;
        fs_err::rename(self.path(), &removed)?;
        remove_all(&removed)
    }

    /// Writes the script.
    pub(super) fn write_script(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join("run.sh");
        atomic::write(&path, text.as_bytes())?;
        Ok(path)
    }

    /// Makes an empty file for the output, unless there is one.
    pub(super) fn start_output(&self) -> io::Result<()> {
        fs_err::OpenOptions::new().create(true).append(true).open(self.output()).map(drop)
    }

    /// Names of the engine's job and of the machine that the last run has written.
    pub(super) fn ran_on(&self) -> (Option<String>, Option<String>) {
        let text = read_text(&self.folder, Path::new("ran-on"), LONGEST).unwrap_or_default();
        parse_ran_on(&text)
    }
}

/// Reads `ran-on`: the names of a job and a machine. Anything that is not a plain name is none.
fn parse_ran_on(text: &str) -> (Option<String>, Option<String>) {
    let is_plain = |word: &&str| {
        word.len() <= LONGEST_NAME
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-+".contains(letter))
    };
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next().filter(is_plain).map(str::to_owned);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_another_machine_wrote_are_plain_or_none() {
        let some = |text: &str| Some(text.to_owned());
        for (text, job, node) in [
            ("12 n1\n", some("12"), some("n1")),
            ("12_3+1 a-b.example.org", some("12_3+1"), some("a-b.example.org")),
            ("", None, None),
            ("12", some("12"), None),
            ("\u{1b}[31m n1", None, some("n1")),
            (&"9".repeat(65), None, None),
        ] {
            assert_eq!(parse_ran_on(text), (job, node), "{text:?}");
        }
    }

    #[test]
    fn what_is_abandoned_is_removed_and_what_is_shared_stays() {
        let place = tempfile::tempdir().unwrap();
        let shared = SharedFolder::open(place.path().join("shared")).unwrap();
        let path = |name: &str| place.path().join("shared").join(name);
        let [job, alone, linked] = ["a", "b", "c"].map(|letter| letter.repeat(64));
        let removed = format!("jobs/.removed-{job}-12");
        let (job, alone, linked) =
            (format!("jobs/{job}"), format!("pool/{alone}"), format!("pool/{linked}"));
        let theirs = ["jobs/thesis", "jobs/.removed-x", "pool/photos"];
        for name in [&*job, &*removed].into_iter().chain(theirs) {
            fs_err::create_dir_all(path(name).join("job/out")).unwrap();
        }
        fs_err::write(path(&alone), "").unwrap();
        fs_err::write(path("pool/notes"), "").unwrap();
        fs_err::write(path(&linked), "").unwrap();
        fs_err::hard_link(path(&linked), place.path().join("link")).unwrap();
        let later = SystemTime::now() + REMOTE_JOB_ABANDONED;
        shared.sweep(later - Duration::from_secs(60));
        assert!(path(&job).exists() && path(&alone).exists());
        shared.sweep(later + Duration::from_secs(60));
        assert!(!path(&job).exists() && !path(&removed).exists() && !path(&alone).exists());
        assert!(path(&linked).exists() && path("pool/notes").exists());
        assert!(theirs.iter().all(|name| path(name).exists()));
    }

    #[test]
    fn a_program_is_copied_once_and_can_be_executed() {
        let place = tempfile::tempdir().unwrap();
        let shared = SharedFolder::open(place.path().join("shared")).unwrap();
        let own = place.path().join("own");
        fs_err::write(&own, "#!/bin/sh\n").unwrap();
        let copy = shared.program(&own).unwrap();
        assert_eq!(fs_err::metadata(&copy).unwrap().mode() & 0o777, 0o755);
        let first = fs_err::metadata(&copy).unwrap().ino();
        assert_eq!(shared.program(&own).unwrap(), copy);
        assert_eq!(fs_err::metadata(&copy).unwrap().ino(), first);
    }
}
