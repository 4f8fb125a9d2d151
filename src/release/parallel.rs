//! Work on many items by a few threads.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Number of transfers under way at once.
const AT_ONCE: usize = 8;

/// Does work for all items, several at once; the first error keeps further items from being begun. The
/// results have the order of the items.
pub(super) fn each<I: Sync, T: Send, E: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let done: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        while !has_failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return };
            let result = work(item);
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    if items.len() == 1 {
        run();
    } else {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(items.len()) {
                scope.spawn(run);
            }
        });
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_an_error_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = each(&items, |item| Ok::<_, ()>(item * 2)).unwrap();
        assert!(doubled.iter().enumerate().all(|(number, found)| *found == number * 2));
        let last = AtomicUsize::new(0);
        let failed = each(&items, |item| {
            last.fetch_max(*item, Ordering::Relaxed);
            if *item == 3 {
                return Err(*item);
            }
            thread::sleep(std::time::Duration::from_millis(5));
            Ok(())
        });
        assert_eq!(failed, Err(3));
        assert!(last.into_inner() < 99, "not all are begun");
        let none: [u8; 0] = [];
        assert_eq!(each(&none, |_| Ok::<(), ()>(())), Ok(Vec::new()));
    }
}
