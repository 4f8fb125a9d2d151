//! What `squeue` and `scontrol` print. Both are foreign: a line that is not understood is passed over, and a word
//! that is not known is taken for a job that goes on.

use std::collections::BTreeMap;

/// Format of `squeue`: number, state, reason, machines, and the name, which may have any letter.
pub(super) const FORMAT: &str = "%i|%T|%r|%N|%j";

/// Longest word that is kept.
const LONGEST: usize = 200;

/// State of a job in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobStatus {
    /// Word of Slurm.
    pub(super) state: String,
    /// Reason that the job waits, or has ended; empty if there is none.
    pub(super) reason: String,
    /// Machines; empty while the job waits.
    pub(super) nodes: String,
}

/// Course of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobCourse {
    /// It waits for machines.
    Waits,
    /// It runs, or goes on after an interruption.
    Runs,
    /// It has ended; Slurm may begin it anew after the loss of a machine.
    Ended,
    /// It was ended for a reason that another attempt has, too.
    Stopped,
}

impl JobStatus {
    /// Course of the job.
    pub(super) fn course(&self) -> JobCourse {
        match self.state.as_str() {
            "PENDING" if self.is_given_up() => JobCourse::Ended,
            "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_FED" | "REQUEUE_HOLD"
            | "RESV_DEL_HOLD" | "SPECIAL_EXIT" => JobCourse::Waits,
            "COMPLETED" | "FAILED" | "NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" | "REVOKED"
            | "LAUNCH_FAILED" => JobCourse::Ended,
            "CANCELLED" | "TIMEOUT" | "DEADLINE" | "OUT_OF_MEMORY" => JobCourse::Stopped,
            _ => JobCourse::Runs,
        }
    }
}

impl JobStatus {
    /// True if Slurm keeps the job in the queue and never begins it again: it could not be launched, or too often.
    fn is_given_up(&self) -> bool {
        let reason = self.reason.to_lowercase().replace('_', " ");
        reason.contains("requeued held") || reason == "jobholdmaxrequeue"
    }
}

/// Jobs of `squeue`, by number, with their names.
pub(super) type Listing = BTreeMap<String, (String, JobStatus)>;

/// Reads the lines of `squeue` in [`FORMAT`].
pub(super) fn parse_listing(text: &str) -> Listing {
    let line = |line: &str| {
        let mut fields = line.splitn(5, '|').map(word);
        let id = fields.next().filter(|id| is_id(id))?;
        let (state, reason, nodes) = (fields.next()?, fields.next()?, fields.next()?);
        let reason = if reason == "None" { String::new() } else { reason };
        Some((id, (fields.next()?, JobStatus { state, reason, nodes })))
    };
    text.lines().filter_map(line).collect()
}

/// Reads the line of `scontrol show job --oneliner`: keys with values, the first of each key. A value with blanks is
/// cut off at the first one.
pub(super) fn parse_job(text: &str) -> Option<JobStatus> {
    let value = |key: &str| {
        let mut words = text.lines().next()?.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).map(word)
    };
    let plain = |text: Option<String>| {
        text.filter(|text| text != "None" && text != "(null)").unwrap_or_default()
    };
    Some(JobStatus {
        state: value("JobState")?,
        reason: plain(value("Reason")),
        nodes: plain(value("NodeList")),
    })
}

/// Reads what `sbatch --parsable` prints: a number, and with several clusters the name of one.
pub(super) fn parse_submitted(text: &str) -> Option<String> {
    // A plugin of the site may print lines of its own before the number.
    let last = text.lines().rfind(|line| !line.trim().is_empty())?;
    let id = last.split(';').next()?.trim();
    is_id(id).then(|| id.to_owned())
}

/// True for the number of a job.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A word that can be shown.
fn word(text: &str) -> String {
    let shown = text.trim().chars().take(LONGEST);
    shown.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(state: &str, reason: &str, nodes: &str) -> JobStatus {
        let [state, reason, nodes] = [state, reason, nodes].map(str::to_owned);
        JobStatus { state, reason, nodes }
    }

    #[test]
    fn jobs_of_a_listing_are_found_whatever_stands_between() {
        let text = "12|RUNNING|None|n1|mkpanda-a-0\n\
            slurm_load_jobs error: x\n\
            13|PENDING|Resources||mkpanda-b|c\n\
            14_2|PENDING|Priority||array\n\
            ../15|RUNNING|None|n1|x\n\
            16|\u{1b}[31mRUNNING|None|n1|x\n\
            17|COMPLETED|None\n\n";
        let found = parse_listing(text);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["12", "13", "16"]);
        assert_eq!(found["12"], ("mkpanda-a-0".to_owned(), status("RUNNING", "", "n1")));
        assert_eq!(found["13"], ("mkpanda-b|c".to_owned(), status("PENDING", "Resources", "")));
        assert_eq!(found["16"].1.state, " [31mRUNNING");
    }

    #[test]
    fn words_of_slurm_decide_what_is_waited_for() {
        for (state, course) in [
            ("PENDING", JobCourse::Waits),
            ("REQUEUED", JobCourse::Waits),
            ("RUNNING", JobCourse::Runs),
            ("COMPLETING", JobCourse::Runs),
            ("SUSPENDED", JobCourse::Runs),
            ("A_WORD_OF_TOMORROW", JobCourse::Runs),
            ("COMPLETED", JobCourse::Ended),
            ("FAILED", JobCourse::Ended),
            ("NODE_FAIL", JobCourse::Ended),
            ("CANCELLED", JobCourse::Stopped),
            ("TIMEOUT", JobCourse::Stopped),
            ("OUT_OF_MEMORY", JobCourse::Stopped),
        ] {
            assert_eq!(status(state, "", "").course(), course, "{state}");
        }
    }

    #[test]
    fn a_job_that_slurm_does_not_begin_again_has_ended() {
        for (reason, course) in [
            ("launch failed requeued held", JobCourse::Ended),
            ("launch_failed_requeued_held", JobCourse::Ended),
            ("job requeued in held state", JobCourse::Waits),
            ("JobHoldMaxRequeue", JobCourse::Ended),
            ("JobHeldUser", JobCourse::Waits),
            ("BeginTime", JobCourse::Waits),
            ("", JobCourse::Waits),
        ] {
            assert_eq!(status("PENDING", reason, "").course(), course, "{reason}");
        }
    }

    #[test]
    fn a_job_is_read_from_one_line() {
        let text = "JobId=12 JobName=mkpanda a JobState=NODE_FAIL Reason=NodeDown Restarts=1 \
            ExitCode=0:0 ReqNodeList=(null) ExcNodeList=(null) NodeList=n[1-2] BatchHost=n1\n";
        assert_eq!(parse_job(text), Some(status("NODE_FAIL", "NodeDown", "n[1-2]")));
        let waits = "JobId=12 JobState=PENDING Reason=None NodeList=(null)";
        assert_eq!(parse_job(waits), Some(status("PENDING", "", "")));
        assert_eq!(parse_job("slurm_load_jobs error: Invalid job id specified"), None);
        assert_eq!(parse_job(""), None);
    }

    #[test]
    fn a_submitted_job_has_a_number() {
        for (text, id) in [
            ("12\n", Some("12")),
            ("12;cluster\n", Some("12")),
            ("sbatch: a remark of the site\n12\n\n", Some("12")),
            ("Submitted batch job 12\n", None),
            ("-1\n", None),
            ("", None),
        ] {
            assert_eq!(parse_submitted(text).as_deref(), id, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*\\PC*\n.*\\|.*\\|.*\\|.*\\|.*") {
            parse_listing(&text);
            parse_job(&text);
            parse_submitted(&text);
        }
    }
}
