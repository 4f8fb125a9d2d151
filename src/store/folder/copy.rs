//! Copies between files of the caller's and objects of a folder.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::base::atomic::{AtomicFile, naming_file};
use crate::base::full_disk::cannot_be_written;
use crate::base::regular::open_regular;
use crate::store::backend::{ObjectContent, StoreTransfer};
use crate::store::error::StoreError;
use crate::store::key::ObjectKey;

/// Number of bytes copied between two checks for an interruption.
pub(super) const COPIED_AT_ONCE: u64 = 64 << 20;

/// Path of an open file: between two plain files the kernel copies, or shares the blocks where it can.
pub(super) fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Copies content of exactly the announced length.
pub(super) fn write_content(
    file: &mut AtomicFile,
    key: &ObjectKey,
    content: ObjectContent<'_>,
    transfer: &StoreTransfer<'_>,
    failed: &dyn Fn(io::Error) -> StoreError,
) -> Result<(), StoreError> {
    let unreadable = |error| StoreError::Content { key: key.clone(), error };
    let (path, length) = match content {
        ObjectContent::Bytes(bytes) => return file.write_all(bytes).map_err(failed),
        ObjectContent::File(path, length) => (path, length),
    };
    let from = open_regular(path).map_err(unreadable)?.into_file();
    // The announced length and no more: the file may be growing.
    let (mut from, mut done) = (from.take(length), 0);
    while done < length {
        if transfer.observer.is_interrupted() {
            return Err(StoreError::Interrupted);
        }
        match io::copy(&mut from.by_ref().take(COPIED_AT_ONCE), file.file()) {
            Ok(0) => {
                let text = format!("it ends after {done} of {length} bytes");
                return Err(unreadable(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            Ok(count) => done += count,
            Err(error) if is_of_destination(&error) => {
                return Err(failed(naming_file(file.file(), error)));
            }
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(())
}

/// True if an error of a copy can only come from the file that is written.
pub(super) fn is_of_destination(error: &io::Error) -> bool {
    cannot_be_written(error) || error.kind() == io::ErrorKind::FileTooLarge
}
