//! Opening of files that other users may have made: a FIFO would wait for a writer forever, and a sparse
//! file of any length takes no space.

use std::io::{self, Read};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

/// Opens a regular file to be read; for anything else, fails at once with [`io::ErrorKind::InvalidInput`].
pub fn open_regular(path: &Path) -> io::Result<fs_err::File> {
    open_measured(path).map(|(file, _)| file)
}

/// Opens a regular file as [`open_regular`] does; returns it with its length.
pub fn open_measured(path: &Path) -> io::Result<(fs_err::File, u64)> {
    let other = || {
        let message = format!("{} is not a regular file", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    // A FIFO is opened without a writer then (fifo(7)), and is refused by its type.
    match fs_err::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => {
            let data = file.metadata()?;
            if data.is_file() { Ok((file, data.len())) } else { Err(other()) }
        }
        // A socket, or a device without permission.
        Err(_) if fs_err::metadata(path).is_ok_and(|data| !data.is_file()) => Err(other()),
        Err(error) => Err(error),
    }
}

/// Upper limit of the length of a file that mkpanda has written for itself, in bytes. Lists of a layer's
/// files are the longest ones.
const LONGEST_OWN: u64 = 1 << 30;

/// Reads a regular file of at most `longest` bytes; a longer one is an error of the kind `FileTooLarge`.
pub fn read_regular(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open_measured(path)?;
    check_length(path, length, longest)?;
    let mut bytes = Vec::new();
    // The file may have grown since, or say nothing of its length, as those of `/proc` do.
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    check_length(path, bytes.len() as u64, longest)?;
    Ok(bytes)
}

/// Fails with the kind `FileTooLarge` if a file is longer than a limit.
pub(super) fn check_length(path: &Path, bytes: u64, longest: u64) -> io::Result<()> {
    if bytes <= longest {
        return Ok(());
    }
    let message = format!("{} is longer than {longest} bytes", path.display());
    Err(io::Error::new(io::ErrorKind::FileTooLarge, message))
}

/// Reads a file that mkpanda has written for itself. A home that others could prepare, such as one that a CI
/// system keeps, may have anything in its place.
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    read_regular(path, LONGEST_OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_refused_before_they_are_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs_err::write(&path, "text").unwrap();
        assert_eq!(read_regular(&path, 4).unwrap(), b"text");
        let refused = |longest| read_regular(&path, longest).unwrap_err().kind();
        assert_eq!(refused(3), io::ErrorKind::FileTooLarge);
        fs_err::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refused(u64::from(u32::MAX)), io::ErrorKind::FileTooLarge);
        assert_eq!(read_own(&path).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        // A file of /proc has a length of 0, and content.
        assert!(!read_regular(Path::new("/proc/self/stat"), 4096).unwrap().is_empty());
        let refused = read_regular(Path::new("/proc/self/stat"), 4).unwrap_err();
        assert!(
            refused.to_string().contains("/proc/self/stat is longer than 4 bytes"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let [file, fifo, socket] = ["file", "fifo", "socket"].map(|name| place.path().join(name));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs_err::write(&file, "text").unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_regular(&file).is_ok());
        for other in [&fifo, &socket, place.path(), Path::new("/dev/null")] {
            let refused = open_regular(other).unwrap_err();
            assert!(refused.to_string().contains("not a regular file"), "{refused}");
        }
        assert!(open_regular(&place.path().join("missing")).is_err());
    }
}
