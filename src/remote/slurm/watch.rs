//! Waiting for a job: looks at the result and at the queue, and patience with a controller that is away.

use std::time::{Duration, Instant};

use super::cluster::{ENGINE, Slurm};
use super::error::{ClientError, EndedJob, SlurmError};
use super::status::{JobCourse, JobStatus, parse_job};
use crate::base::event::{Event, Phase};
use crate::build::elsewhere::ElsewhereTask;
use crate::build::place::BuildPlace;
use crate::portable::JobRecord;
use crate::remote::checked::{self, ResultError};
use crate::remote::shared::SharedJob;
use crate::runner::follow::following;

/// First interval between two looks.
const FIRST: Duration = Duration::from_millis(200);
/// Poll interval for an interruption.
const APART: Duration = Duration::from_millis(20);
/// Time for a cancelled job to end.
const CANCELLING: Duration = Duration::from_secs(5);
/// Intervals after which a job without a result is lost: files may take that long to be seen.
const SETTLES: u32 = 2;
/// Intervals after which a waiting job is reported.
const PATIENCE: u32 = 36;
/// Intervals after which a controller that does not answer ends the build.
const GIVES_UP: u32 = 360;

/// End of a submitted job.
pub(super) enum JobEnd {
    /// There is a record.
    Recorded(Box<JobRecord>),
    /// The job is no more, and there is no record.
    Lost(Box<EndedJob>),
}

/// Watch of one package's job.
pub(super) struct JobWatch<'a> {
    pub(super) slurm: &'a Slurm,
    pub(super) task: &'a ElsewhereTask<'a>,
    pub(super) job: &'a SharedJob,
}

impl JobWatch<'_> {
    /// Reports a warning on the package.
    pub(super) fn warn(&self, message: String) {
        let subject = self.task.request.package.id.to_string();
        self.task.observer.event(Event::Warning { subject, message });
    }

    /// True if the run was interrupted.
    pub(super) fn is_over(&self) -> bool {
        self.task.interrupt.is_raised()
    }

    /// Asks Slurm until it answers.
    pub(super) fn patiently<T>(
        &self,
        mut ask: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<T, SlurmError> {
        let (began, mut pause) = (Instant::now(), self.first_pause());
        loop {
            if self.is_over() {
                return Err(SlurmError::Interrupted);
            }
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(_) if self.is_over() => return Err(SlurmError::Interrupted),
                Err(source) if !source.may_pass() => return Err(SlurmError::Submit(source)),
                Err(source) => self.away(began.elapsed(), source)?,
            }
            self.pause(&mut pause);
        }
    }

    /// Says once that Slurm does not answer; an error after a long time.
    fn away(&self, after: Duration, source: ClientError) -> Result<(), SlurmError> {
        let (since, is_new) = self.slurm.queue.away();
        let after = after.max(since);
        if after > self.slurm.settings.poll * GIVES_UP {
            return Err(SlurmError::Away { after, source });
        }
        if is_new {
            self.warn(format!("{source}; it is asked again until it answers"));
        }
        Ok(())
    }

    fn first_pause(&self) -> Duration {
        FIRST.min(self.slurm.settings.poll)
    }

    /// Waits for the next look, whose interval grows, or for an interruption.
    fn pause(&self, interval: &mut Duration) {
        let until = Instant::now() + *interval;
        while Instant::now() < until && !self.is_over() {
            std::thread::sleep(APART.min(*interval));
        }
        *interval = (*interval * 3 / 2).min(self.slurm.settings.poll);
    }

    /// Watches a job to its end, with its output where that is shown.
    pub(super) fn watched(&self, id: &str) -> Result<JobEnd, SlurmError> {
        let watch = || self.watch(id);
        let ended = if self.task.shows_output {
            let subject = self.task.request.package.id.to_string();
            following(&self.job.output(), &subject, self.task.observer, watch)
        } else {
            watch()
        };
        if self.is_over() {
            self.cancel(id);
            return Err(SlurmError::Interrupted);
        }
        ended
    }

    fn watch(&self, id: &str) -> Result<JobEnd, SlurmError> {
        let poll = self.slurm.settings.poll;
        let (began, mut interval) = (Instant::now(), self.first_pause());
        let (mut lost_since, mut runs, mut is_told) = (None::<Instant>, false, false);
        while !self.is_over() {
            let looked = Instant::now();
            // A listing that another package got since this one's last look is new enough.
            let not_before = looked.checked_sub(interval).map_or(began, |then| then.max(began));
            if let Some(end) = self.recorded(id)? {
                return Ok(end);
            }
            let queue = &self.slurm.queue;
            let listing = match queue.listing(&self.slurm.client, not_before, || self.is_over()) {
                Ok(listing) => listing,
                Err(_) if self.is_over() => break,
                Err(source) if !source.may_pass() => return Err(SlurmError::Submit(source)),
                Err(source) => {
                    self.away(Duration::ZERO, source)?;
                    self.pause(&mut interval);
                    continue;
                }
            };
            let status = listing.get(id).map(|(_, status)| status);
            match status.map(JobStatus::course) {
                Some(JobCourse::Waits) => {
                    lost_since = None;
                    if !is_told && began.elapsed() > poll * PATIENCE {
                        is_told = true;
                        let reason =
                            status.map(|status| status.reason.as_str()).unwrap_or_default();
                        let minutes = began.elapsed().as_secs() / 60;
                        self.warn(format!(
                            "Slurm's job {id} has been waiting for {minutes} min ({reason})"
                        ));
                    }
                }
                Some(JobCourse::Runs) => {
                    lost_since = None;
                    if !std::mem::replace(&mut runs, true) {
                        (self.task.on_phase)(Phase::Build);
                    }
                }
                Some(JobCourse::Ended | JobCourse::Stopped) | None => {
                    let since = *lost_since.get_or_insert(looked);
                    if since.elapsed() > poll * SETTLES {
                        return self.lost(id, status);
                    }
                }
            }
            self.pause(&mut interval);
        }
        Err(SlurmError::Interrupted)
    }

    /// The end of a job that has left a record.
    fn recorded(&self, id: &str) -> Result<Option<JobEnd>, SlurmError> {
        match self.record() {
            Ok(record) => Ok(record.map(|record| JobEnd::Recorded(Box::new(record)))),
            Err(fault) => Err(self.refused(fault, Some(id.to_owned()))),
        }
    }

    /// The end of a job that is no more; a record that is seen at last counts.
    fn lost(&self, id: &str, status: Option<&JobStatus>) -> Result<JobEnd, SlurmError> {
        if let Some(end) = self.recorded(id)? {
            return Ok(end);
        }
        let known = status.cloned().or_else(|| self.show(id));
        let is_stopped = known.as_ref().is_some_and(|status| status.course() == JobCourse::Stopped);
        if known.as_ref().is_some_and(|status| status.state == "PENDING") {
            // It would stay in the queue for ever.
            drop(self.slurm.client.run("scancel", &[id.to_owned()], || false));
        }
        let mut place = self.place(Some(id.to_owned()));
        if let Some(status) = known.as_ref().filter(|status| !status.nodes.is_empty()) {
            place.node = Some(status.nodes.clone());
        }
        let ended = Box::new(EndedJob { place, status: known, output: self.job.output() });
        if is_stopped { Err(SlurmError::Stopped(ended)) } else { Ok(JobEnd::Lost(ended)) }
    }

    /// State of a job that is no longer in the queue.
    fn show(&self, id: &str) -> Option<JobStatus> {
        let arguments = ["show", "job", "--oneliner", id].map(str::to_owned);
        let text = self.slurm.client.run("scontrol", &arguments, || self.is_over()).ok()?;
        parse_job(&text)
    }

    /// Cancels a job, and waits a moment for its end: mkpanda removes its files on the machine.
    fn cancel(&self, id: &str) {
        let (client, queue) = (&self.slurm.client, &self.slurm.queue);
        // The interruption has come already, and must not end this request.
        if let Err(error) = client.run("scancel", &[id.to_owned()], || false) {
            self.warn(format!("Slurm's job {id} may go on: {error}"));
            return;
        }
        let until = Instant::now() + CANCELLING;
        while Instant::now() < until {
            let listing = queue.listing(client, Instant::now(), || false);
            let status = listing.as_ref().ok().and_then(|listing| listing.get(id));
            if !status.is_some_and(|(_, status)| {
                matches!(status.course(), JobCourse::Waits | JobCourse::Runs)
            }) {
                return;
            }
            std::thread::sleep(self.first_pause());
        }
    }

    /// Reads the record, if there is one.
    pub(super) fn record(&self) -> Result<Option<JobRecord>, ResultError> {
        self.job.refresh();
        checked::read_record(&self.job.out(), &self.job.sum, &self.task.request.package.id)
    }

    /// Place of the last run; `id` is the job that this run has watched.
    pub(super) fn place(&self, id: Option<String>) -> BuildPlace {
        let (job, node) = self.job.ran_on();
        // The file is that of an earlier job if this one has not begun.
        let node = node.filter(|_| id.is_none() || id == job);
        BuildPlace { engine: ENGINE.to_owned(), node, job: id.or(job) }
    }

    /// Error of a refused result, which is put aside.
    pub(super) fn refused(&self, source: ResultError, id: Option<String>) -> SlurmError {
        let place = self.place(id);
        let aside = match source {
            ResultError::Copy(_) | ResultError::Interrupted => None,
            _ => self.job.put_aside().ok(),
        };
        SlurmError::Result { place, source: Box::new(source), aside }
    }
}
