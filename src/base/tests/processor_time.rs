//! Processor time of the calling thread, for tests of how costs grow: a busy machine changes it little.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Asserts that a cost grows about as the number of items does. `run` does the work for a number of
/// items; the ratio of a quadratic cost would be about 64.
pub(crate) fn assert_no_quadratic_cost(items: u32, mut run: impl FnMut(u32)) {
    const FACTOR: u32 = 8;
    const MOST: f64 = 30.0;
    let mut took = |items: u32| {
        let begin = now();
        run(items);
        now().saturating_sub(begin).max(Duration::from_micros(100))
    };
    // The least of some, since the first may pay for what is loaded.
    let mut least = |items| [took(items), took(items), took(items)].into_iter().min().unwrap();
    let (few, many) = (least(items / FACTOR), least(items));
    let ratio = many.as_secs_f64() / few.as_secs_f64();
    assert!(ratio < MOST, "{items} items take {many:?}, an eighth of them {few:?}");
}

fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
