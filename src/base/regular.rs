//! Opening of files that other users may have made: a FIFO would wait for a writer forever.

use std::io;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

/// Opens a regular file to be read; for anything else, fails at once with [`io::ErrorKind::InvalidInput`].
pub fn open_regular(path: &Path) -> io::Result<fs_err::File> {
    let other = || {
        let message = format!("{} is not a regular file", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    match fs_err::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(other()),
        // A socket, or a device without permission.
        Err(_) if fs_err::metadata(path).is_ok_and(|data| !data.is_file()) => Err(other()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
