//! Errors of a file system that takes nothing more: a full disk, an exhausted quota, one that is read-only.

use std::io;

/// True if an error of a write, or of a copy, can only come from the file system that is written to.
pub(crate) fn cannot_be_written(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Texts of `ENOSPC` and `EDQUOT` without a locale: those of the GNU C library, and that of musl where it differs.
#[cfg(feature = "builder")]
const TEXTS: [&str; 3] = ["No space left on device", "Disk quota exceeded", "Quota exceeded"];

/// True if a message of a program or library, which gives no code, says that there is no room.
#[cfg(feature = "builder")]
pub(crate) fn says_no_room(message: &str) -> bool {
    TEXTS.iter().any(|text| message.contains(text))
}

#[cfg(all(test, feature = "builder"))]
mod tests {
    use super::*;

    #[test]
    fn errors_and_messages_of_the_system_are_known() {
        for (code, is_unwritable, is_no_room) in [
            (libc::ENOSPC, true, true),
            (libc::EDQUOT, true, true),
            (libc::EROFS, true, false),
            (libc::EIO, false, false),
            (libc::EACCES, false, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(cannot_be_written(&error), is_unwritable, "{error}");
            assert_eq!(says_no_room(&format!("fatal: write: {error}")), is_no_room, "{error}");
        }
    }
}
