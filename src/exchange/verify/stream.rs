//! An object of a store, read by several checks at once: each has a thread and a pipe.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread;

use crate::store::{Backend, ObjectKey, StoreError, StoreTransfer};

/// Check that reads an object; the unread rest is read and dropped afterwards.
pub(super) type StreamCheck<'c, T> = Box<dyn FnOnce(&mut dyn Read) -> T + Send + 'c>;

/// Writer that gives the same bytes to all.
struct FanOut(Vec<PipeWriter>);

impl Write for FanOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for pipe in &mut self.0 {
            pipe.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an object once, for all checks. If the object cannot be read whole, the results say nothing, and the
/// error of the store is returned.
pub(super) fn read<T: Send>(
    backend: &dyn Backend,
    key: &ObjectKey,
    transfer: &StoreTransfer<'_>,
    checks: Vec<StreamCheck<'_, T>>,
) -> Result<(u64, Vec<T>), StoreError> {
    let failed = |error| StoreError::Destination { key: key.clone(), error };
    let pipes = checks.iter().map(|_| io::pipe()).collect::<io::Result<Vec<_>>>();
    let (readers, writers): (Vec<PipeReader>, Vec<PipeWriter>) =
        pipes.map_err(failed)?.into_iter().unzip();
    thread::scope(|scope| {
        let running: Vec<_> = checks
            .into_iter()
            .zip(readers)
            .map(|(check, mut reader)| {
                scope.spawn(move || {
                    let result = check(&mut reader);
                    // The others go on.
                    drop(io::copy(&mut reader, &mut io::sink()));
                    result
                })
            })
            .collect();
        let mut writer = FanOut(writers);
        let read = backend.get_range(key, 0..u64::MAX, &mut writer, transfer);
        // Before the threads are waited for: their pipes end only when the last writer is closed.
        drop(writer);
        let results = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let results = results.collect();
        Ok((read?, results))
    })
}
