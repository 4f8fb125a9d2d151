//! The user's jobs in Slurm's queue. All packages of a run share one look at it, as each look costs the
//! cluster's controller time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::client::SlurmClient;
use super::error::ClientError;
use super::status::{FORMAT, JobStatus, Listing, parse_listing};

/// Looks at the queue.
#[derive(Debug, Default)]
pub(super) struct JobQueue {
    last: Mutex<Option<(Instant, Arc<Listing>)>>,
    away: Mutex<Away>,
}

/// Controller that does not answer.
#[derive(Debug, Default)]
struct Away {
    since: Option<Instant>,
    is_told: bool,
}

impl JobQueue {
    /// The jobs as they were at a time, or later.
    pub(super) fn listing(
        &self,
        client: &SlurmClient,
        not_before: Instant,
        ends: impl Fn() -> bool,
    ) -> Result<Arc<Listing>, ClientError> {
        // Held during the request: other packages wait for its answer instead of asking, too.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, listing)) = &*last
            && *at >= not_before
        {
            return Ok(Arc::clone(listing));
        }
        // Before the request: the answer may be as old as that.
        let at = Instant::now();
        let arguments = [
            "--noheader".to_owned(),
            // By default, `squeue` leaves out jobs that have ended.
            "--states=all".to_owned(),
            format!("--user={}", nix::unistd::geteuid()),
            format!("--format={FORMAT}"),
        ];
        let text = client.run("squeue", &arguments, ends);
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        match text {
            Ok(text) => {
                *away = Away::default();
                let listing = Arc::new(parse_listing(&text));
                *last = Some((at, Arc::clone(&listing)));
                Ok(listing)
            }
            Err(error) => {
                away.since.get_or_insert(at);
                Err(error)
            }
        }
    }

    /// Time since which the controller has not answered, and true if nobody was told yet.
    pub(super) fn away(&self) -> (Duration, bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !std::mem::replace(&mut away.is_told, true);
        (away.since.map(|since| since.elapsed()).unwrap_or_default(), is_new)
    }
}

/// Last job of a name, if there is one that has not ended.
pub(super) fn of_name(listing: &Listing, name: &str) -> Option<String> {
    use super::status::JobCourse::{Runs, Waits};
    let is_wanted = |(other, status): &(String, JobStatus)| {
        other == name && matches!(status.course(), Waits | Runs)
    };
    let ids = listing.iter().filter(|(_, job)| is_wanted(job)).map(|(id, _)| id.clone());
    // Numbers as texts, without zeros before them: the longer one is the later one.
    ids.max_by_key(|id| (id.len(), id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_job_of_a_name_counts_unless_it_has_ended() {
        let text = "9|RUNNING|None|n1|a\n10|PENDING|None||a\n11|COMPLETED|None|n1|a\n12|RUNNING|None|n1|b\n";
        let listing = parse_listing(text);
        assert_eq!(of_name(&listing, "a").as_deref(), Some("10"));
        assert_eq!(of_name(&listing, "b").as_deref(), Some("12"));
        assert_eq!(of_name(&listing, "c"), None);
    }
}
