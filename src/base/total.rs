//! Sums of numbers that others state.

/// Sum of sizes or times that a store, a home or a file states; the largest number where the sum is beyond it.
pub fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_numbers_are_too_large_together() {
        assert_eq!(total([]), 0);
        assert_eq!(total([1, 2]), 3);
        assert_eq!(total([u64::MAX, 1, 1]), u64::MAX);
    }
}
