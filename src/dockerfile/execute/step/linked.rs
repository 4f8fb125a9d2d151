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

    /// With a look at all others for each, 100,000 files would take minutes.
    #[test]
    fn a_copy_is_known_until_its_place_is_taken() {
        let file = |inode: u64| (1, inode, (0, 0), 0o644);
        let place = |inode: u64| PathBuf::from(format!("/d/{inode}"));
        let mut linked = Linked::default();
        for inode in 0..100_000 {
            linked.forget(&place(inode));
            linked.insert(file(inode), place(inode));
        }
        assert_eq!(linked.place(&file(7)), Some(&place(7)));
        linked.forget(&place(7));
        assert_eq!(linked.place(&file(7)), None);
        linked.insert(file(8), PathBuf::from("/other"));
        linked.forget(&place(8));
        assert_eq!(linked.place(&file(8)), Some(&PathBuf::from("/other")));
    }
}
