//! Grouping of packages that share blocks.
//!
//! A package of some size has blocks of its own. Small consecutive packages share blocks, or a
//! bootstrap of many would be much larger; the end of a group depends on names and sizes alone, so
//! that a change of one package does not shift the groups behind.

use std::ops::Range;

use crate::base::digest::Sha1Sum;
use crate::package::PackageId;

/// From how many bytes of tar on a package is alone.
const LARGE: u64 = 512 << 10;

/// Size in bytes at which a group ends.
const FULL: u64 = 1 << 20;

/// True if a package of as many bytes of tar is alone.
pub(super) fn is_alone(bytes: u64) -> bool {
    bytes >= LARGE
}

/// Parts packages, given in their order with the sizes of their tar, into groups.
pub(super) fn groups(packages: &[(&PackageId, u64)]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut open = false;
    let mut bytes = 0;
    for (at, (id, size)) in packages.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if open && !is_alone(*size) => group.end = at + 1,
            _ => {
                groups.push(at..at + 1);
                bytes = 0;
            }
        }
        bytes += size;
        open = !is_alone(*size) && bytes < FULL && !ends_group(id);
    }
    groups
}

/// True for one name in eight, which ends its group.
fn ends_group(id: &PackageId) -> bool {
    let name = Sha1Sum::of(id.name().as_str().as_bytes());
    name.as_str().starts_with(['0', '8'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_moves_no_other_group() {
        let ids: Vec<PackageId> =
            (0..300).map(|n| format!("p{n:03}--1").parse().unwrap()).collect();
        let mut packages: Vec<(&PackageId, u64)> = ids.iter().map(|id| (id, 9000)).collect();
        packages[100].1 = LARGE;
        let before = groups(&packages);
        assert!(before.contains(&(100..101)));
        assert!((30..60).contains(&before.len()), "{}", before.len());
        let covered: Vec<usize> = before.iter().cloned().flatten().collect();
        assert!(covered.into_iter().eq(0..300));
        packages[50].1 = LARGE - 1;
        packages[51].1 = LARGE - 1;
        let after = groups(&packages);
        let moved = before.iter().filter(|group| !after.contains(group)).count();
        assert!(moved <= 2, "{moved}");
        packages[200].1 = FULL;
        assert!(groups(&packages).contains(&(200..201)));
    }
}
