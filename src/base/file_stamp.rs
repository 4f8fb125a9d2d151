//! Stamps of files, by which a change is noticed without reading the file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// Metadata of a file that differs after every write or replacement. The time of the last change is
/// set by the kernel alone; a tool that restores the time of the last write leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Takes the stamp of a file from its metadata.
    pub(crate) fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            // Of a file with the same size whose time a tool has restored, this alone differs.
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_or_replaced_has_another_stamp() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        let stamp = || FileStamp::of(&fs_err::metadata(&path).unwrap());
        fs_err::write(&path, "one").unwrap();
        let first = stamp();
        assert_eq!(stamp(), first);
        let time = fs_err::metadata(&path).unwrap().modified().unwrap();
        // The kernel's clock for times of files may stand still for 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs_err::write(&path, "two").unwrap();
        fs_err::File::open(&path).unwrap().set_modified(time).unwrap();
        let second = stamp();
        assert_ne!(second, first);
        fs_err::write(place.path().join("new"), "two").unwrap();
        fs_err::rename(place.path().join("new"), &path).unwrap();
        assert_ne!(stamp(), second);
    }
}
