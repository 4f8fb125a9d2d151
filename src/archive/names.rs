//! Paths of an archive's entries so far, and conflicts of the next path with them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::limits::{ArchiveLimits, LimitExceeded};
use super::path::EntryPath;

/// Paths so far. Only keyed hashes of 128 bits are kept, so that memory does not depend on the length of
/// paths; the random keys leave an archive's maker no way to prepare a collision.
#[derive(Debug)]
pub(super) struct SeenPaths {
    seen: HashMap<u128, SeenEntry>,
    keys: [RandomState; 2],
    limit: u64,
}

/// Type of the entry at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeenEntry {
    /// A folder without an entry so far: only paths below imply it.
    Implied,
    Directory,
    File,
    Other,
}

/// Reason why a path conflicts with earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conflict {
    /// An earlier entry has the path.
    Duplicate,
    /// The path leads through an earlier entry that is not a folder.
    Below(EntryPath),
    /// The archive has too many entries.
    Limit(LimitExceeded),
}

impl SeenPaths {
    pub(super) fn new(limits: &ArchiveLimits) -> Self {
        let keys = [RandomState::new(), RandomState::new()];
        Self { seen: HashMap::new(), keys, limit: limits.max_entries }
    }

    fn key(&self, path: &[u8]) -> u128 {
        let [high, low] = self.keys.each_ref().map(|key| u128::from(key.hash_one(path)));
        high << 64 | low
    }

    /// Returns the type of the entry at a path, if any.
    pub(super) fn get(&self, path: &EntryPath) -> Option<SeenEntry> {
        self.seen.get(&self.key(path.as_bytes())).copied()
    }

    /// Adds a path. A folder may come after its contents; with `merge`, a folder may come twice.
    pub(super) fn add(
        &mut self,
        path: &EntryPath,
        new: SeenEntry,
        merge: bool,
    ) -> Result<(), Conflict> {
        // Nearest first: all folders above a known one are known.
        for ancestor in path.ancestors() {
            match self.seen.get(&self.key(ancestor)) {
                Some(SeenEntry::Directory | SeenEntry::Implied) => break,
                Some(_) => return Err(Conflict::Below(EntryPath::trusted(ancestor))),
                None => self.insert(ancestor, SeenEntry::Implied)?,
            }
        }
        match (self.get(path), new) {
            (None, _) | (Some(SeenEntry::Implied), SeenEntry::Directory) => {}
            (Some(SeenEntry::Directory), SeenEntry::Directory) if merge => {}
            (Some(_), _) => return Err(Conflict::Duplicate),
        }
        self.insert(path.as_bytes(), new)
    }

    fn insert(&mut self, path: &[u8], what: SeenEntry) -> Result<(), Conflict> {
        self.seen.insert(self.key(path), what);
        if self.seen.len() as u64 > self.limit {
            return Err(Conflict::Limit(LimitExceeded::Entries(self.limit)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_do_not_go_together() {
        let path = |name: &str| EntryPath::parse(name.as_bytes()).unwrap();
        let mut names =
            SeenPaths::new(&ArchiveLimits { max_entries: 8, ..ArchiveLimits::default() });
        assert_eq!(names.add(&path("a/b/c"), SeenEntry::File, false), Ok(()));
        assert_eq!(names.add(&path("a"), SeenEntry::Directory, false), Ok(()));
        assert_eq!(names.add(&path("a"), SeenEntry::Directory, false), Err(Conflict::Duplicate));
        assert_eq!(names.add(&path("a"), SeenEntry::Directory, true), Ok(()));
        assert_eq!(names.add(&path("a"), SeenEntry::File, true), Err(Conflict::Duplicate));
        assert_eq!(names.add(&path("a/b"), SeenEntry::Other, true), Err(Conflict::Duplicate));
        let below = names.add(&path("a/b/c/d/e"), SeenEntry::File, false);
        assert_eq!(below, Err(Conflict::Below(path("a/b/c"))));
        let limit = names.add(&path("1/2/3/4/5/6/7"), SeenEntry::File, false);
        assert_eq!(limit, Err(Conflict::Limit(LimitExceeded::Entries(8))));
    }
}
