//! Several items at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::event::Observer;

/// Does the work of each item, on so many threads at most, and returns the results in the order of the
/// items. An item that was not begun when the run was interrupted has none.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    observer: &dyn Observer,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(std::iter::repeat_with(|| None).take(items.len()).collect::<Vec<_>>());
    let run = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return };
            if observer.is_interrupted() {
                return;
            }
            let result = work(item);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results[place] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            scope.spawn(run);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::base::event::{Interruptible, Silent};

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = each(&items, 7, &Silent, |item| item * 2);
        assert_eq!(doubled, items.iter().map(|item| Some(item * 2)).collect::<Vec<_>>());
        assert!(each(&[] as &[u32], 7, &Silent, |item| *item).is_empty());
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
