//! What a container says, on its way into the log.
//!
//! It goes through a pipe, not straight into the file: a script that writes `> /dev/stderr` opens
//! what stands there again, and would cut a file off at its beginning.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fchmod};

/// How much is taken at once before the clock is looked at again, in bytes.
const PORTION: usize = 1 << 20;

/// The pipe.
#[derive(Debug)]
pub(super) struct Output {
    reader: PipeReader,
    /// Kept open, so that a container that closes its own ends is no end of the pipe.
    writer: PipeWriter,
}

impl Output {
    /// Makes the pipe. Whoever the container's user is may open it again.
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fchmod(&writer, Mode::from_bits_truncate(0o622))?;
        Ok(Self { reader, writer })
    }

    /// An end for the container.
    pub(super) fn writer(&self) -> io::Result<OwnedFd> {
        self.writer.as_fd().try_clone_to_owned()
    }

    /// What is readable when there is something for the log.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Writes into the log what is there, or a portion of it.
    pub(super) fn pass_on(&mut self, mut log: &File) -> io::Result<()> {
        let mut buffer = [0; 1 << 13];
        let mut taken = 0;
        while taken < PORTION {
            match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    log.write_all(&buffer[..count])?;
                    taken += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_again_cuts_nothing_off() {
        use std::os::fd::AsRawFd;
        let mut output = Output::new().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut first = File::from(output.writer().unwrap());
        first.write_all(b"first\n").unwrap();
        let again = format!("/proc/self/fd/{}", first.as_raw_fd());
        fs_err::write(again, "second\n").unwrap();
        output.pass_on(log.as_file()).unwrap();
        output.pass_on(log.as_file()).unwrap();
        assert_eq!(fs_err::read_to_string(log.path()).unwrap(), "first\nsecond\n");
    }
}
