//! Lines of a pipe that may have several writers.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::poll;

/// The most that may come without a line's end, in bytes.
const LONGEST: usize = 16 << 20;

/// Result of reading a pipe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineRead {
    /// A line, including its end.
    Line(Vec<u8>),
    /// Nothing, and nothing more will come.
    Nothing,
    /// Nothing so far.
    NotInTime,
}

/// The lines that come out of a pipe.
#[derive(Debug)]
pub(super) struct PipeLines {
    pipe: File,
    unread: Vec<u8>,
}

impl PipeLines {
    /// Reads from a pipe, whose reading end changes to not waiting.
    pub(super) fn new(pipe: OwnedFd) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: pipe.into(), unread: Vec::new() })
    }

    /// The next line. There is nothing more, too, when `writer`, a descriptor of a process, says that
    /// it has ended: others may still have the pipe open.
    pub(super) fn next(
        &mut self,
        writer: Option<&impl AsFd>,
        until: Option<Instant>,
    ) -> io::Result<LineRead> {
        let mut searched = 0;
        let mut has_ended = false;
        loop {
            if let Some(place) = self.unread[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.unread.split_off(searched + place + 1);
                return Ok(LineRead::Line(std::mem::replace(&mut self.unread, rest)));
            }
            searched = self.unread.len();
            if searched > LONGEST {
                return Err(io::Error::other("an answer has no end"));
            }
            let mut buffer = [0; 1 << 13];
            match self.pipe.read(&mut buffer) {
                Ok(0) => return Ok(LineRead::Nothing),
                Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if has_ended {
                        return Ok(LineRead::Nothing);
                    }
                    let ends = [Some(self.pipe.as_fd()), writer.map(AsFd::as_fd)];
                    let ends: Vec<_> = ends.into_iter().flatten().collect();
                    if !poll::wait_readable(&ends, until)? {
                        return Ok(LineRead::NotInTime);
                    }
                    // The last output before the end is read once more.
                    has_ended = match writer {
                        Some(writer) => {
                            poll::wait_readable(&[writer.as_fd()], Some(Instant::now()))?
                        }
                        None => false,
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn next(lines: &mut PipeLines, writer: Option<&OwnedFd>) -> Option<String> {
        match lines.next(writer, None).unwrap() {
            LineRead::Line(line) => Some(String::from_utf8(line).unwrap()),
            other => {
                assert_eq!(other, LineRead::Nothing);
                None
            }
        }
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = PipeLines::new(reader.into()).unwrap();
        let thread = std::thread::spawn(move || {
            for piece in ["a", "b\nc\n\n", &"d".repeat(100_000), "\ne"] {
                writer.write_all(piece.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        for expected in ["ab\n", "c\n", "\n"] {
            assert_eq!(next(&mut lines, None).as_deref(), Some(expected));
        }
        assert_eq!(next(&mut lines, None).unwrap().len(), 100_001);
        assert_eq!(next(&mut lines, None), None, "a line without an end is none");
        thread.join().unwrap();
    }

    #[test]
    fn the_end_of_who_writes_is_the_end_although_the_pipe_is_open() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = PipeLines::new(reader.into()).unwrap();
        // Like a process's descriptor: readable when it is over.
        let (process, alive) = io::pipe().unwrap();
        let process = OwnedFd::from(process);
        writer.write_all(b"first\nsecond\n").unwrap();
        assert_eq!(next(&mut lines, Some(&process)).as_deref(), Some("first\n"));
        let soon = Some(Instant::now() + std::time::Duration::from_millis(2));
        assert_eq!(next(&mut lines, Some(&process)).as_deref(), Some("second\n"));
        assert_eq!(lines.next(Some(&process), soon).unwrap(), LineRead::NotInTime);
        writer.write_all(b"third\n").unwrap();
        drop(alive);
        assert_eq!(next(&mut lines, Some(&process)).as_deref(), Some("third\n"));
        assert_eq!(next(&mut lines, Some(&process)), None);
        drop(writer);
    }
}
