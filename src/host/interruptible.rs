//! A reader that ends with the run.

use std::io::{self, Read};

use crate::base::event::Observer;

/// A reader that ends with an error when the run is over.
pub(super) struct UntilInterrupted<'a, R> {
    pub(super) inner: R,
    pub(super) observer: &'a dyn Observer,
}

impl<R: Read> Read for UntilInterrupted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.inner.read(buffer)
    }
}
