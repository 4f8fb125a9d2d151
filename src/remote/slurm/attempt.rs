//! The course of one package's job: submission, watch, result, and another submission where a job is lost.

use std::time::Instant;

use super::cluster::{OpenedFolder, Slurm};
use super::error::{ClientError, SlurmError};
use super::queue::of_name;
use super::script::{Script, Submission};
use super::status::parse_submitted;
use super::watch::{JobEnd, JobWatch};
use crate::base::digest::Sha256Sum;
use crate::base::event::Phase;
use crate::build::elsewhere::{ElsewhereAnswer, ElsewhereTask};
use crate::portable::{ExportOptions, JobOutcome, JobRecord, PortableJobError};
use crate::remote::checked;
use crate::remote::shared::SharedJob;

/// Number of submissions of a job.
const ATTEMPTS: u32 = 3;

/// Build of one package.
pub(super) struct SlurmBuild<'a> {
    slurm: &'a Slurm,
    task: &'a ElsewhereTask<'a>,
    opened: &'a OpenedFolder,
    job: SharedJob,
    /// Name of the job in the queue.
    name: String,
    /// Machines that could not carry it out.
    excluded: Vec<String>,
}

impl<'a> SlurmBuild<'a> {
    /// Makes the job, unless an earlier run has.
    pub(super) fn new(slurm: &'a Slurm, task: &'a ElsewhereTask<'a>) -> Result<Self, SlurmError> {
        (task.on_phase)(Phase::Prepare);
        let opened = slurm.opened()?;
        let job = make(slurm, opened, task)?;
        // The folder is part of it: a job in another one leaves its result there.
        let place = Sha256Sum::of(job.folder.to_string_lossy().as_bytes());
        let name = format!("mkpanda-{}-{:.32}", task.request.package.id.name(), place.as_str());
        Ok(Self { slurm, task, opened, job, name, excluded: Vec::new() })
    }

    /// Builds the package, with the result of an earlier run if there is one.
    pub(super) fn carry_out(mut self) -> Result<ElsewhereAnswer, SlurmError> {
        let mut queued = self.queued()?;
        if queued.is_none() {
            match self.watch().record() {
                Ok(Some(record)) if record.outcome == JobOutcome::Built => {
                    return self.answer(record, None);
                }
                Ok(_) => self.job.clear().map_err(SlurmError::Folder)?,
                Err(fault) => return Err(self.watch().refused(fault, None)),
            }
        }
        let mut attempts = 0;
        loop {
            let id = match queued.take() {
                Some(id) => id,
                None => self.submit()?,
            };
            attempts += 1;
            match self.watch().watched(&id)? {
                JobEnd::Recorded(record) if record.outcome != JobOutcome::Unable => {
                    return self.answer(*record, Some(id));
                }
                JobEnd::Recorded(record) => {
                    let place = self.watch().place(Some(id));
                    let message = record.message.unwrap_or_default();
                    if attempts >= ATTEMPTS {
                        let hint = record.hint;
                        return Err(SlurmError::Unable { place, message, hint });
                    }
                    self.watch().warn(format!(
                        "{place} cannot carry it out: {message}; another machine is asked for"
                    ));
                    self.excluded.extend(place.node);
                }
                JobEnd::Lost(last) if attempts >= ATTEMPTS => {
                    return Err(SlurmError::Gone { attempts, last });
                }
                JobEnd::Lost(last) => {
                    self.watch().warn(format!(
                        "the job ended without a result: {last}; it is submitted again"
                    ));
                    self.renew()?;
                }
            }
            self.job.clear().map_err(SlurmError::Folder)?;
        }
    }

    fn watch(&self) -> JobWatch<'_> {
        JobWatch { slurm: self.slurm, task: self.task, job: &self.job }
    }

    /// The job of an earlier run, if it is still in the queue.
    fn queued(&self) -> Result<Option<String>, SlurmError> {
        if !self.job.folder.join("run.sh").exists() {
            return Ok(None);
        }
        self.watch().patiently(|| {
            let listing = self
                .slurm
                .queue
                .listing(&self.slurm.client, Instant::now(), || self.watch().is_over())?;
            Ok(of_name(&listing, &self.name))
        })
    }

    /// Submits the job.
    fn submit(&self) -> Result<String, SlurmError> {
        let settings = &self.slurm.settings;
        let script = Script {
            job: &self.job,
            program: &self.opened.program,
            home: settings.home.as_deref(),
            shows_output: self.task.shows_output,
        };
        self.job.start_output().map_err(SlurmError::Folder)?;
        let script = self.job.write_script(&script.text()).map_err(SlurmError::Folder)?;
        let submission = Submission {
            job: &self.job,
            name: &self.name,
            script: &script,
            options: &settings.options,
            time: settings.time,
            script_time: self.task.request.package.time_limit,
            excluded: &self.excluded,
        };
        let arguments = submission.arguments();
        let mut is_again = false;
        self.watch().patiently(|| {
            // A submission without an answer may have been taken.
            if std::mem::replace(&mut is_again, true) {
                let (client, queue) = (&self.slurm.client, &self.slurm.queue);
                let listing = queue.listing(client, Instant::now(), || self.watch().is_over())?;
                if let Some(id) = of_name(&listing, &self.name) {
                    return Ok(id);
                }
            }
            // Not to be interrupted: a job that is queued has to be known, to be cancelled.
            let text = self.slurm.client.run("sbatch", &arguments, || false)?;
            let id = parse_submitted(&text);
            id.ok_or(ClientError::Refused { name: "sbatch", said: "it names no job".to_owned() })
        })
    }

    /// Makes the job anew, in case that its files are the cause.
    fn renew(&mut self) -> Result<(), SlurmError> {
        drop(self.job.forget());
        self.job = make(self.slurm, self.opened, self.task)?;
        Ok(())
    }

    /// Brings the result to this machine.
    fn answer(&self, record: JobRecord, id: Option<String>) -> Result<ElsewhereAnswer, SlurmError> {
        (self.task.on_phase)(Phase::Pack);
        let place = self.watch().place(id.clone());
        let tier = self.slurm.settings.tier;
        let taken = checked::take(record, &self.job.out(), self.task, tier);
        let taken = taken.map_err(|fault| self.watch().refused(fault, id))?;
        let mut record = taken.record;
        if let Some(record) = &mut record {
            record.ran_on = Some(place.clone());
        }
        let job = SharedJob { folder: self.job.folder.clone(), sum: self.job.sum.clone() };
        let clear_up = Box::new(move || {
            if let Err(error) = job.remove() {
                tracing::warn!(%error, "a job that is done cannot be removed");
            }
        });
        Ok(ElsewhereAnswer { place, result: taken.result, record, clear_up })
    }
}

fn make(
    slurm: &Slurm,
    opened: &OpenedFolder,
    task: &ElsewhereTask<'_>,
) -> Result<SharedJob, SlurmError> {
    let settings = &slurm.settings;
    let options = ExportOptions {
        limits: settings.limits,
        tier: settings.tier,
        failed: false,
        program: None,
    };
    let made = opened.folder.make(task, &options);
    made.map_err(|error| match error {
        PortableJobError::Interrupted => SlurmError::Interrupted,
        error => SlurmError::Job(Box::new(error)),
    })
}
