//! A reader or writer whose bytes something else sees, such as a hasher.

use std::io::{self, Read, Write};

/// Reader or writer that shows all bytes that went by to a function, once and in order.
#[derive(Debug)]
pub(crate) struct Tap<T, F> {
    inner: T,
    see: F,
}

impl<T, F: FnMut(&[u8])> Tap<T, F> {
    /// Wraps a reader or writer.
    pub(crate) fn new(inner: T, see: F) -> Self {
        Self { inner, see }
    }

    /// Returns the inner value.
    #[cfg(any(feature = "builder", test))]
    pub(crate) fn into_inner(self) -> T {
        self.inner
    }
}

impl<R: Read, F: FnMut(&[u8])> Read for Tap<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        (self.see)(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write, F: FnMut(&[u8])> Write for Tap<W, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        (self.see)(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stream that takes and gives three bytes at once, and fails at its end.
    struct Short(Vec<u8>);

    impl Read for Short {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(3);
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for (slot, byte) in buffer.iter_mut().zip(self.0.drain(..count)) {
                *slot = byte;
            }
            Ok(count)
        }
    }

    impl Write for Short {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(3);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_went_by_is_shown_and_nothing_else() {
        let mut seen: Vec<u8> = Vec::new();
        let mut tap = Tap::new(Short(b"0123456".to_vec()), |bytes: &[u8]| seen.extend(bytes));
        let mut buffer = [b'x'; 5];
        assert_eq!(tap.read(&mut buffer).unwrap(), 3);
        tap.read_exact(&mut buffer[..4]).unwrap();
        tap.read_exact(&mut buffer).unwrap_err();
        assert_eq!(seen, b"0123456");
    }

    #[test]
    fn what_was_written_is_shown_and_nothing_else() {
        let mut seen: Vec<u8> = Vec::new();
        let mut tap = Tap::new(Short(Vec::new()), |bytes: &[u8]| seen.extend(bytes));
        assert_eq!(tap.write(b"01234").unwrap(), 3);
        tap.write_all(b"3456789").unwrap();
        assert_eq!(tap.into_inner().0, b"0123456789");
        assert_eq!(seen, b"0123456789");
    }
}
