//! Limit of what is copied and read for one job, and the interrupt.
//!
//! A hole of a terabyte takes no space in a folder, and much in a copy: lengths are counted before anything
//! is written, and bytes where no length is known.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};

use crate::archive::ArchiveLimits;
use crate::base::digest::Until;
use crate::container::helper::Interrupt;

/// The files of a job have too many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job's files may have {0} bytes at most")]
pub struct TooLarge(pub u64);

/// Bytes that may be copied and read, and the interrupt that ends it.
#[derive(Debug)]
pub(super) struct CopyBudget<'a> {
    /// Limits of archives, of which [`ArchiveLimits::max_bytes`] is that of the sum.
    pub(super) limits: ArchiveLimits,
    interrupt: &'a Interrupt,
    left: Cell<u64>,
}

impl<'a> CopyBudget<'a> {
    pub(super) fn new(limits: ArchiveLimits, interrupt: &'a Interrupt) -> Self {
        Self { limits, interrupt, left: Cell::new(limits.max_bytes) }
    }

    /// Counts bytes that are about to be copied.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or_else(|| io::Error::other(TooLarge(self.limits.max_bytes)))?);
        Ok(())
    }

    /// Reader of an open file, whose length is counted at once; a file that grows is counted as it is read.
    pub(super) fn file(&self, file: File) -> io::Result<impl Read> {
        let bytes = file.metadata()?.len();
        self.take(bytes)?;
        Ok(Counted { inner: self.interruptible(file), free: bytes, budget: self })
    }

    /// Reader of a stream, whose bytes are counted as they are read.
    pub(super) fn stream<R: Read>(&self, stream: R) -> impl Read {
        Counted { inner: self.interruptible(stream), free: 0, budget: self }
    }

    /// Writer of a file of unknown length, whose bytes are counted before they are written. Fails once the run is
    /// interrupted.
    pub(super) fn writer<W: Write>(&self, inner: W) -> impl Write {
        CountedWriter { inner, budget: self }
    }

    /// True once the run is interrupted.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.is_raised()
    }

    /// Reader that fails once the run is interrupted.
    pub(super) fn interruptible<R: Read>(&self, inner: R) -> impl Read + use<'a, R> {
        let interrupt = self.interrupt;
        Until::new(inner, move || interrupt.is_raised())
    }
}

struct CountedWriter<'a, W> {
    inner: W,
    budget: &'a CopyBudget<'a>,
}

impl<W: Write> Write for CountedWriter<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.budget.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.budget.take(buffer.len() as u64)?;
        // All of it: the rest of a write that is cut short would be counted twice.
        self.inner.write_all(buffer)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Returns the fault if an error is that of a budget.
pub(super) fn too_large(error: &io::Error) -> Option<TooLarge> {
    error.get_ref().and_then(|source| source.downcast_ref()).copied()
}

struct Counted<'a, R> {
    inner: R,
    /// Bytes that are counted already.
    free: u64,
    budget: &'a CopyBudget<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let free = self.free.min(count as u64);
        self.free -= free;
        self.budget.take(count as u64 - free)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_count_before_they_are_read_and_an_interrupt_ends_reading() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs_err::File::create(&path).unwrap().set_len(60).unwrap();
        let open = || fs_err::File::open(&path).unwrap().into_parts().0;
        let interrupt = Interrupt::default();
        let limits = ArchiveLimits { max_bytes: 100, ..ArchiveLimits::NONE };
        let budget = CopyBudget::new(limits, &interrupt);
        assert_eq!(io::copy(&mut budget.file(open()).unwrap(), &mut io::sink()).unwrap(), 60);
        assert_eq!(too_large(&budget.file(open()).map(drop).unwrap_err()), Some(TooLarge(100)));
        assert_eq!(io::copy(&mut budget.stream(&[0; 40][..]), &mut io::sink()).unwrap(), 40);
        let refused = io::copy(&mut budget.stream(&[0; 1][..]), &mut io::sink()).unwrap_err();
        assert_eq!(too_large(&refused), Some(TooLarge(100)));
        let budget = CopyBudget::new(limits, &interrupt);
        let mut out = Vec::new();
        budget.writer(&mut out).write_all(&[0; 100]).unwrap();
        let refused = budget.writer(&mut out).write_all(&[0; 1]).unwrap_err();
        assert_eq!((too_large(&refused), out.len()), (Some(TooLarge(100)), 100));

        let budget = CopyBudget::new(limits, &interrupt);
        let mut file = budget.file(open()).unwrap();
        interrupt.raise();
        assert!(io::copy(&mut file, &mut io::sink()).is_err());
        budget.writer(io::sink()).write_all(&[0; 1]).unwrap_err();
    }
}
