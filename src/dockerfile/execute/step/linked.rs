//! Files with several names that a COPY has copied, so that their copies are one file, too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A file with several names, as it is copied: device, inode number, owner and mode.
pub(super) type LinkedFile = (u64, u64, (u32, u32), u32);

/// Copies of such files.
#[derive(Debug, Default)]
pub(super) struct Linked {
    places: HashMap<LinkedFile, PathBuf>,
    /// The same by place: each entry that is copied may take one.
    files: HashMap<PathBuf, LinkedFile>,
}

impl Linked {
    /// The place of a file's copy.
    pub(super) fn place(&self, file: &LinkedFile) -> Option<&PathBuf> {
        self.places.get(file)
    }

    /// Notes where a file has been copied to.
    pub(super) fn insert(&mut self, file: LinkedFile, place: PathBuf) {
        if let Some(before) = self.places.insert(file, place.clone()) {
            self.files.remove(&before);
        }
        self.files.insert(place, file);
    }

    /// Forgets the copy whose place something else takes.
    pub(super) fn forget(&mut self, place: &Path) {
        if let Some(file) = self.files.remove(place) {
            self.places.remove(&file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::processor_time::assert_no_quadratic_cost;

    fn file(inode: u64) -> (u64, u64, (u32, u32), u32) {
        (1, inode, (0, 0), 0o644)
    }

    fn place(inode: u64) -> PathBuf {
        PathBuf::from(format!("/d/{inode}"))
    }

    fn filled(count: u32) -> Linked {
        let mut linked = Linked::default();
        for inode in (0..count).map(u64::from) {
            linked.forget(&place(inode));
            linked.insert(file(inode), place(inode));
        }
        linked
    }

    #[test]
    fn the_copies_before_are_not_searched() {
        assert_no_quadratic_cost(40_000, |count| drop(filled(count)));
    }

    #[test]
    fn a_copy_is_known_until_its_place_is_taken() {
        let mut linked = filled(9);
        assert_eq!(linked.place(&file(7)), Some(&place(7)));
        linked.forget(&place(7));
        assert_eq!(linked.place(&file(7)), None);
        linked.insert(file(8), PathBuf::from("/other"));
        linked.forget(&place(8));
        assert_eq!(linked.place(&file(8)), Some(&PathBuf::from("/other")));
    }
}
