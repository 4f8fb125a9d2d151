//! Writer that has the kernel begin to write a file to the disk while the rest is being produced, so that
//! the sync at the end has little left to wait for.
//!
//! `posix_fadvise(POSIX_FADV_DONTNEED)` starts the write-back of dirty pages without waiting for it (Linux,
//! `mm/fadvise.c`). It also drops the pages of the range that are clean, of which a file that was just
//! written has few.

use std::fs::File;
use std::io::{self, Seek, Write};

use nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
use nix::fcntl::posix_fadvise;

/// Number of bytes that are written before the disk begins with them. Files below it are left to the kernel:
/// many small ones reach the disk faster at once.
const PORTION: u64 = 8 << 20;

/// Writer of a file whose write-back begins early.
#[derive(Debug)]
pub(crate) struct EarlyWriter<'f> {
    file: &'f mut File,
    /// Offset of the next byte.
    end: u64,
    /// Offset up to which the write-back has begun.
    begun: u64,
}

impl<'f> EarlyWriter<'f> {
    /// Writes from the file's current offset on.
    pub(crate) fn new(file: &'f mut File) -> io::Result<Self> {
        let end = file.stream_position()?;
        Ok(Self { file, end, begun: end })
    }

    fn begin(&mut self) {
        let range = i64::try_from(self.begun).ok().zip(i64::try_from(self.end - self.begun).ok());
        if let Some((start, length)) = range
            && let Err(error) = posix_fadvise(&*self.file, start, length, POSIX_FADV_DONTNEED)
        {
            // The sync at the end writes all the same.
            tracing::debug!(%error, "the kernel does not begin to write a file early");
        }
        self.begun = self.end;
    }
}

impl Write for EarlyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.end += count as u64;
        if self.end - self.begun >= PORTION {
            self.begin();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_arrive_and_portions_are_counted_from_the_offset() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"head").unwrap();
        let mut writer = EarlyWriter::new(&mut file).unwrap();
        let piece = vec![7; 1 << 20];
        for _ in 0..17 {
            writer.write_all(&piece).unwrap();
        }
        assert_eq!((writer.end, writer.begun), (4 + (17 << 20), 4 + (16 << 20)));
        assert_eq!(file.metadata().unwrap().len(), 4 + (17 << 20));
        assert_eq!(file.stream_position().unwrap(), 4 + (17 << 20));
    }
}
