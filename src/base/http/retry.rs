//! Classifies HTTP failures as transient or permanent, and computes the delay before a retry.

use std::io;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

use super::HttpOptions;
use crate::base::causes::with_causes;

/// Upper limit of a delay requested by `Retry-After`.
pub(crate) const LONGEST_REQUESTED_WAIT: Duration = Duration::from_secs(60);

/// Longest requested delay after which a further attempt is made. All attempts before a longer one
/// would be refused: four waits of [`LONGEST_REQUESTED_WAIT`] come to this.
const LONGEST_PATIENCE: Duration = LONGEST_REQUESTED_WAIT.saturating_mul(4);

/// Returns the delay before the next attempt, `left` or up to a minute that the server asks for; if
/// there is none, the end of the message about it.
pub(crate) fn next_wait(
    left: Option<Duration>,
    asked: Option<Duration>,
) -> Result<Duration, String> {
    let asked = asked.map(bearable).transpose();
    let asked = asked.map_err(|wait| format!(", and wants no request for {} s", wait.as_secs()))?;
    let left = left.ok_or_else(String::new)?;
    Ok(left.max(asked.unwrap_or_default()))
}

/// Returns the delay before the next attempt if a server asks for one; fails with a delay that is not
/// waited for.
fn bearable(asked: Duration) -> Result<Duration, Duration> {
    if asked > LONGEST_PATIENCE { Err(asked) } else { Ok(asked.min(LONGEST_REQUESTED_WAIT)) }
}

/// Returns the delay that a registry asks for; fails with a delay that is not waited for.
#[cfg(feature = "builder")]
pub(crate) fn bearable_wait(headers: &HeaderMap) -> Result<Option<Duration>, Duration> {
    retry_after(headers).map(bearable).transpose()
}

/// Cause of a request without an answer.
pub(crate) enum NotSent {
    /// Another attempt may succeed.
    Passing(String),
    /// The connection was refused, by the server or by the proxy in front.
    Refused(String),
    /// Another attempt would fail, too.
    Lasting(String),
}

/// Classifies a request without an answer; the reason has no URL.
pub(crate) fn not_sent(error: reqwest::Error, options: &HttpOptions) -> NotSent {
    let lasting = error.is_builder() || error.is_redirect();
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let is_refused = error.is_connect() && has_refusal(&error);
    // `reqwest` says what happened only in the last cause.
    let reason = with_causes(&error);
    // A wrong certificate stays one, and people should hear of it at once.
    if lasting || reason.contains("certificate") {
        return NotSent::Lasting(reason);
    }
    if timed_out && !error.is_connect() {
        let seconds = options.stall_timeout.as_secs_f32();
        return NotSent::Passing(format!("the server said nothing for {seconds} s"));
    }
    if is_refused { NotSent::Refused(reason) } else { NotSent::Passing(reason) }
}

/// True if an error comes from the refusal of a TCP connection.
fn has_refusal(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Describes a failure of reading a body: only the cause of `reqwest`'s error is informative.
pub(crate) fn read_failure(error: &io::Error, options: &HttpOptions) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    if inner.is_some_and(reqwest::Error::is_timeout) {
        format!("nothing came for {} s", options.stall_timeout.as_secs_f32())
    } else {
        "the connection broke".to_owned()
    }
}

/// Delays before the second attempt, the third, and so on.
pub(crate) fn waits(options: &HttpOptions) -> impl Iterator<Item = Duration> + use<> {
    ExponentialBuilder::default()
        .with_min_delay(options.first_wait)
        .with_max_delay(options.longest_wait)
        .with_max_times(options.attempts.saturating_sub(1) as usize)
        // Many jobs that were refused together would otherwise come back together.
        .with_jitter()
        .build()
}

/// True if a server that answers so may answer otherwise the next time.
pub(crate) fn may_pass(status: StatusCode) -> bool {
    // Not 501 and 505: a server that cannot do something cannot do it a minute later.
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504 | 506..=599)
}

/// Value of a numeric header.
pub(crate) fn number(value: Option<&HeaderValue>) -> Option<u64> {
    value?.to_str().ok()?.trim().parse().ok()
}

/// Delay requested by the server: seconds, or until a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER);
    number(value).map(Duration::from_secs).or_else(|| {
        let date = httpdate::parse_http_date(value?.to_str().ok()?).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

/// `bytes FIRST-LAST/TOTAL`, the total being `*` if the server doesn't know it.
pub(crate) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_may_name_seconds_or_a_date() {
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let found = after(&later).unwrap().as_secs();
        assert!((85..=90).contains(&found), "{found}");
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn all_clients_wait_a_minute_at_most_and_give_up_where_four_would_not_do() {
        let seconds = Duration::from_secs;
        for (asked, waited) in [(7, Some(7)), (60, Some(60)), (240, Some(60)), (241, None)] {
            let next = next_wait(Some(seconds(1)), Some(seconds(asked)));
            assert_eq!(next.ok(), waited.map(seconds), "{asked}");
            #[cfg(feature = "builder")]
            {
                let text = asked.to_string().parse().unwrap();
                let found = bearable_wait(&HeaderMap::from_iter([(RETRY_AFTER, text)]));
                assert_eq!(found, waited.map(|wait| Some(seconds(wait))).ok_or(seconds(asked)));
            }
        }
        assert_eq!(next_wait(Some(seconds(9)), Some(seconds(7))), Ok(seconds(9)));
        assert_eq!(next_wait(None, Some(seconds(7))), Err(String::new()));
    }
}
