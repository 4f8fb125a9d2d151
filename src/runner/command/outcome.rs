//! The end of a command, in words.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::base::remedy::raise_limit;
use crate::container::run::ContainerEnding;
use crate::runner::job::JobFailure;

/// Number of the last realtime signal (signal(7)).
const LAST_SIGNAL: i32 = 64;

/// Exit code of a shell that does not find a command (POSIX.1-2017, Shell Command Language, 2.8.2).
const NOT_FOUND: i32 = 127;

/// Turns any end but exit code 0 into a failure. `name` is the command in messages.
pub(super) fn judge(
    name: &str,
    ended: ContainerEnding,
    time_limit: Option<Duration>,
) -> Result<(), JobFailure> {
    let message = match ended {
        ContainerEnding::Exited(0) => return Ok(()),
        ContainerEnding::Exited(code) => format!("{name} exited with code {code}"),
        ContainerEnding::Signalled(number) => match Signal::try_from(number) {
            Ok(signal) => format!("{name} was ended by {signal}"),
            Err(_) if number <= LAST_SIGNAL => format!("{name} was ended by signal {number}"),
            // A number without a signal is a program's own `exit 255`.
            Err(_) => format!("{name} exited with code {}", 128 + number),
        },
        ContainerEnding::TimedOut => {
            let limit = time_limit.unwrap_or_default();
            format!("{name} was ended after its time limit of {limit:?}")
        }
    };
    let hint = match ended {
        ContainerEnding::TimedOut => {
            Some(concat!(raise_limit!("time", "TIME"), ", if it needs longer"))
        }
        ContainerEnding::Exited(NOT_FOUND) => Some(
            "a shell exits with 127 if it does not find a command: its program has to be in the image (with the image host: in /usr of this machine)",
        ),
        _ => None,
    };
    let hint = hint.map(str::to_owned);
    Err(JobFailure { hint, see_log: true, ..JobFailure::new(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_its_words() {
        let judge_end = |ended| judge("the script", ended, Some(Duration::from_secs(90)));
        assert_eq!(judge_end(ContainerEnding::Exited(0)), Ok(()));
        for (ended, message) in [
            (ContainerEnding::Exited(3), "the script exited with code 3"),
            (ContainerEnding::Exited(127), "the script exited with code 127"),
            (ContainerEnding::Signalled(9), "the script was ended by SIGKILL"),
            (ContainerEnding::Signalled(34), "the script was ended by signal 34"),
            (ContainerEnding::Signalled(127), "the script exited with code 255"),
            (ContainerEnding::TimedOut, "the script was ended after its time limit of 90s"),
        ] {
            let failure = judge_end(ended).unwrap_err();
            assert_eq!(failure.message, message);
            let has_remedy =
                matches!(ended, ContainerEnding::TimedOut | ContainerEnding::Exited(127));
            assert_eq!(failure.hint.is_some(), has_remedy, "{ended:?}");
        }
    }
}
