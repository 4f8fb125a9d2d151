//! Output of a container, on its way into the log.
//!
//! A log has a size limit: output beyond the limit is left out, except for the last megabyte (or
//! half of the limit), which usually contains the reason of a failure.
//!
//! The output goes through a pipe, not straight into the file: a script that writes `> /dev/stderr`
//! opens the file behind the descriptor again, and would truncate a log file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{Mode, fchmod};

/// Number of bytes to copy before the clock is checked again.
const PORTION: usize = 1 << 20;

/// Size of the output's end that is kept beyond the limit; at most half of the limit.
const TAIL: u64 = 1 << 20;

/// The pipe.
#[derive(Debug)]
pub(super) struct OutputPipe {
    reader: PipeReader,
    /// Kept open, so that the pipe stays open when a container closes its own ends.
    writer: PipeWriter,
    portions: Portions,
}

/// Distribution of an output over the log and the kept end.
#[derive(Debug)]
struct Portions {
    /// Largest log.
    limit: u64,
    /// Number of bytes that are still logged immediately.
    room: u64,
    /// Largest number of bytes that are kept of the rest.
    kept: usize,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Portions {
    fn new(limit: u64, kept: u64) -> Self {
        let kept = kept.min(limit / 2);
        let room = limit - kept;
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        Self { limit, room, kept, tail: VecDeque::new(), left_out: 0 }
    }

    /// Part of a text that goes into the log now.
    fn take<'t>(&mut self, text: &'t [u8]) -> &'t [u8] {
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        let (now, rest) = text.split_at(text.len().min(room));
        self.room -= now.len() as u64;
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(self.kept);
        self.tail.drain(..surplus);
        self.left_out += u64::try_from(surplus).unwrap_or(u64::MAX);
        now
    }

    /// The rest of the log.
    fn end(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.left_out > 0 {
            let left_out = self.left_out;
            let limit = self.limit;
            text.extend_from_slice(
                format!("\n[mkpanda: {left_out} bytes of output are left out here: a log has at most {limit} bytes (limits.log)]\n")
                    .as_bytes(),
            );
        }
        text.extend(std::mem::take(&mut self.tail));
        text
    }
}

impl OutputPipe {
    /// Makes the pipe. The container's user may reopen the pipe.
    pub(super) fn new(limit: u64) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fchmod(&writer, Mode::from_bits_truncate(0o622))?;
        Ok(Self { reader, writer, portions: Portions::new(limit, TAIL) })
    }

    /// An end for the container.
    pub(super) fn writer(&self) -> io::Result<OwnedFd> {
        self.writer.as_fd().try_clone_to_owned()
    }

    /// Descriptor that is readable when output is pending.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Copies pending output into the log, up to one portion.
    pub(super) fn pass_on(&mut self, mut log: &File) -> io::Result<()> {
        let mut buffer = [0; 1 << 13];
        let mut taken = 0;
        while taken < PORTION {
            match self.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    log.write_all(self.portions.take(&buffer[..count]))?;
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

impl OutputPipe {
    /// Writes pending output into the log, and the end of the output beyond the limit.
    pub(super) fn finish(&mut self, mut log: &File) -> io::Result<()> {
        self.pass_on(log)?;
        log.write_all(&self.portions.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_the_middle_is_left_out() {
        let mut portions = Portions::new(10, 4);
        let mut log = Vec::new();
        for text in ["12", "3456", "789", "abcdefg", "hi"] {
            log.extend_from_slice(portions.take(text.as_bytes()));
        }
        assert_eq!(log, b"123456");
        let end = String::from_utf8(portions.end()).unwrap();
        assert!(end.contains("mkpanda: 8 bytes") && end.ends_with("]\nfghi"), "{end}");
        let mut short = Portions::new(10, 4);
        assert_eq!(short.take(b"12345678"), b"123456");
        assert_eq!(short.end(), b"78");
    }

    #[test]
    fn what_is_opened_again_cuts_nothing_off() {
        use std::os::fd::AsRawFd;
        let mut output = OutputPipe::new(64 << 20).unwrap();
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
