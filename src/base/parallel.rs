//! Several items at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::event::Observer;

/// Does the work of each item, on so many threads at most, and returns the results in the order of the
/// items. An item that was not begun when the run was interrupted has none.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    observer: &dyn Observer,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    until(items, threads, || observer.is_interrupted(), work)
}

/// Does the work of each item as [`each`] does. After the first error no further item is begun, and the
/// error of the first item that has one is returned.
pub fn try_each<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let has_failed = AtomicBool::new(false);
    let results = until(
        items,
        threads,
        || has_failed.load(Ordering::Relaxed),
        |item| {
            let result = work(item);
            has_failed.fetch_or(result.is_err(), Ordering::Relaxed);
            result
        },
    );
    results.into_iter().flatten().collect()
}

/// Number of short works that take longer than the start of a thread.
const WORTH_A_THREAD: usize = 32;

/// Does the short work of each item, such as the reading of a small file, on all cores if there are enough
/// items, and returns the results in the order of the items.
pub fn each_short<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    // The kernel is asked by some ten calls, with the files of control groups.
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    match CORES.get_or_init(cores).min(&(items.len() / WORTH_A_THREAD)) {
        0 | 1 => items.iter().map(work).collect(),
        threads => until(items, *threads, || false, work).into_iter().flatten().collect(),
    }
}

/// Does the work of each item that is begun before `is_over`.
fn until<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    is_over: impl Fn() -> bool + Sync,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(std::iter::repeat_with(|| None).take(items.len()).collect::<Vec<_>>());
    let run = || {
        loop {
            // One counter for all threads: a long item does not hold up those behind it.
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return };
            if is_over() {
                return;
            }
            let result = work(item);
            // Locked after the work, so that the threads wait for nothing but an assignment.
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results[place] = Some(result);
        }
    };
    match threads.min(items.len()) {
        0 | 1 => run(),
        threads => std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(run);
            }
        }),
    }
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::event::{Interruptible, Silent};

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = each(&items, 7, &Silent, |item| item * 2);
        assert_eq!(doubled, items.iter().map(|item| Some(item * 2)).collect::<Vec<_>>());
        assert!(each(&[] as &[u32], 7, &Silent, |item| *item).is_empty());
        for items in [0, 1, WORTH_A_THREAD, 20 * WORTH_A_THREAD + 1] {
            let items: Vec<usize> = (0..items).collect();
            assert_eq!(each_short(&items, |item| *item), items);
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = try_each(&items, 8, |item| Ok::<_, ()>(item * 2)).unwrap();
        assert!(doubled.iter().enumerate().all(|(number, found)| *found == number * 2));
        let last = AtomicUsize::new(0);
        let failed = try_each(&items, 8, |item| {
            last.fetch_max(*item, Ordering::Relaxed);
            if *item == 3 {
                return Err(*item);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
            Ok(())
        });
        assert_eq!(failed, Err(3));
        assert!(last.into_inner() < 99, "not all are begun");
        assert_eq!(try_each(&[] as &[u8], 8, |_| Ok::<(), ()>(())), Ok(Vec::new()));
    }

    #[test]
    fn nothing_begins_after_an_interruption() {
        let over = AtomicBool::new(false);
        let observer = Interruptible::new(&Silent, || over.load(Ordering::Relaxed));
        let results = each(&[1, 2, 3], 1, &observer, |item| {
            over.store(*item == 2, Ordering::Relaxed);
            *item
        });
        assert_eq!(results, [Some(1), Some(2), None]);
    }
}
