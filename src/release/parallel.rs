//! Transfers of a release, several at once.

use crate::base::parallel::try_each;

/// Number of transfers under way at once.
const AT_ONCE: usize = 8;

/// Does the work of all items, until the first error.
pub(super) fn each<I: Sync, T: Send, E: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    try_each(items, AT_ONCE, work)
}
