//! Reachability of a place in this run, so that an unreachable place costs its attempts a few times
//! and not once per item.
//!
//! A failure counts after all attempts appropriate for the place. A response of any kind, even for
//! a missing object, resets the counter. A skipped place stays skipped for the rest of the run.

use std::sync::{Mutex, PoisonError};

use super::failure::FailureKind;

/// Number of items in a row that must fail before a place is skipped.
const FAILURES: u32 = 3;

/// Reachability of a place.
#[derive(Debug, Default)]
pub struct Reach(Mutex<ReachState>);

#[derive(Debug, Default)]
struct ReachState {
    /// Number of items that failed in a row.
    failures: u32,
    is_skipped: bool,
}

/// Consequence of a failed item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The place is asked for further items.
    Continue,
    /// From now on, the place is skipped.
    Skip,
    /// The place has been skipped since this item began.
    Skipped,
}

impl Reach {
    /// True if the place is not asked any more in this run.
    pub fn is_skipped(&self) -> bool {
        self.state().is_skipped
    }

    /// True if the last item failed.
    pub fn is_failing(&self) -> bool {
        let state = self.state();
        state.is_skipped || state.failures > 0
    }

    /// Notes an answer.
    pub fn answered(&self) {
        self.state().failures = 0;
    }

    /// Notes a failed item. A connection that is refused needs no further proof.
    pub fn failed(&self, failure: FailureKind) -> Consequence {
        let mut state = self.state();
        if state.is_skipped {
            return Consequence::Skipped;
        }
        state.failures += 1;
        state.is_skipped = failure == FailureKind::Refused || state.failures >= FAILURES;
        if state.is_skipped { Consequence::Skip } else { Consequence::Continue }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ReachState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_are_enough_and_a_refused_connection_is() {
        let reach = Reach::default();
        for _ in 0..3 {
            for _ in 0..2 {
                assert_eq!(reach.failed(FailureKind::Unreachable), Consequence::Continue);
                assert!(reach.is_failing() && !reach.is_skipped());
            }
            reach.answered();
            assert!(!reach.is_failing());
        }
        reach.failed(FailureKind::Denied);
        reach.failed(FailureKind::Unreachable);
        assert_eq!(reach.failed(FailureKind::Unreachable), Consequence::Skip);
        assert_eq!(reach.failed(FailureKind::Unreachable), Consequence::Skipped);
        reach.answered();
        assert!(reach.is_skipped(), "one that was late changes nothing");
        assert_eq!(Reach::default().failed(FailureKind::Refused), Consequence::Skip);
    }
}
