//! Disk space of files, freed by a removal.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// The unit of `st_blocks`, whatever the filesystem's own is.
const BLOCK: u64 = 512;

/// Counts each file once, however many names it has.
#[derive(Debug, Default)]
pub struct Meter {
    seen: BTreeSet<(u64, u64)>,
}

/// Disk space below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes on the disk.
    pub bytes: u64,
    /// True if something could not be looked into.
    pub partial: bool,
}

impl Meter {
    /// Measures a file or folder with all contents. A missing file counts as empty.
    pub fn measure(&mut self, path: &Path) -> Usage {
        let mut usage = Usage::default();
        // An own stack: how deep folders go is not ours to say.
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            match self.one(&path) {
                Ok(Some((bytes, is_folder))) => {
                    usage.bytes += bytes;
                    if !is_folder {
                        continue;
                    }
                }
                Ok(None) => continue,
                Err(_) => {
                    usage.partial = true;
                    continue;
                }
            }
            let Ok(entries) = fs_err::read_dir(&path) else {
                usage.partial = true;
                continue;
            };
            for entry in entries {
                match entry {
                    Ok(entry) => left.push(entry.path()),
                    Err(_) => usage.partial = true,
                }
            }
        }
        usage
    }

    fn one(&mut self, path: &Path) -> io::Result<Option<(u64, bool)>> {
        let data = match fs_err::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let is_folder = data.is_dir();
        // The names of a folder are not counted as links of a file's are: `.` and `..` of those
        // below count.
        if !is_folder && data.nlink() > 1 && !self.seen.insert((data.dev(), data.ino())) {
            return Ok(None);
        }
        Ok(Some((data.blocks() * BLOCK, is_folder)))
    }
}

/// Time of a file's last use, as far as recorded: of the last read (once a day with `relatime`), or
/// of the last write, which users of a file may do for this purpose.
pub fn last_use(path: &Path) -> SystemTime {
    let Ok(data) = fs_err::symlink_metadata(path) else { return SystemTime::UNIX_EPOCH };
    let read = data.accessed().unwrap_or(SystemTime::UNIX_EPOCH);
    let written = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    if data.is_dir() { written } else { read.max(written) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_once_per_file() {
        let folder = tempfile::tempdir().unwrap();
        let empty = Meter::default().measure(folder.path()).bytes;
        fs_err::write(folder.path().join("a"), vec![1; 100_000]).unwrap();
        let one = Meter::default().measure(folder.path()).bytes;
        assert!(one >= empty + 100_000, "{one}");
        fs_err::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_eq!(Meter::default().measure(folder.path()).bytes, one);
        let sparse = fs_err::File::create(folder.path().join("c")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        assert!(Meter::default().measure(folder.path()).bytes < one + (1 << 20));
        let usage = Meter::default().measure(&folder.path().join("missing"));
        assert_eq!(usage, Usage::default());
    }
}
