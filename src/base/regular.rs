//! Opening of files that others may have put there: a FIFO would wait for a writer for ever.

use std::io;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

/// Opens a regular file to be read; fails at once for anything else.
pub fn open_regular(path: &Path) -> io::Result<fs_err::File> {
    let file = fs_err::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let message = format!("{} is not a regular file", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_regular_file_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let (file, fifo) = (place.path().join("file"), place.path().join("fifo"));
        fs_err::write(&file, "text").unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_regular(&file).is_ok());
        for other in [fifo.as_path(), place.path(), Path::new("/dev/null")] {
            let refused = open_regular(other).unwrap_err();
            assert!(refused.to_string().contains("not a regular file"), "{refused}");
        }
        assert!(open_regular(&place.path().join("missing")).is_err());
    }
}
