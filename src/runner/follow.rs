//! Live output of a command: lines of its log, as soon as they are written.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::base::event::{Event, Observer};
use crate::base::regular::open_regular;

/// Poll interval for new lines.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer lines are shown in parts.
const LONGEST: usize = 4096;

/// Does some work, and emits meanwhile an [`Event::Output`] for each line that is added to a log.
pub fn following<T>(
    log: &Path,
    subject: &str,
    observer: &dyn Observer,
    work: impl FnOnce() -> T,
) -> T {
    let opened = open_regular(log).and_then(|mut file| {
        // A log may have lines of an earlier command already.
        file.seek(SeekFrom::End(0))?;
        Ok(file.into_parts().0)
    });
    let Ok(file) = opened else { return work() };
    std::thread::scope(|scope| {
        let (working, over) = channel::<()>();
        scope.spawn(move || {
            let (mut file, mut lines) = (file, OutputLines::new(subject, observer));
            while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                more(&mut file, &mut lines);
            }
            more(&mut file, &mut lines);
        });
        // A helper belongs to the thread that started it, so the work stays in this one.
        let done = work();
        drop(working);
        done
    })
}

/// Shows new lines. Unreadable parts are still in the log.
fn more(file: &mut File, lines: &mut OutputLines<'_>) {
    let mut buffer = [0; 1 << 13];
    while let Ok(count) = file.read(&mut buffer) {
        if count == 0 {
            break;
        }
        lines.add(&buffer[..count]);
    }
}

/// Output that comes in pieces, emitted as an [`Event::Output`] for each line; the last one on drop.
#[expect(missing_debug_implementations, reason = "an observer is not shown")]
pub struct OutputLines<'a> {
    line: Vec<u8>,
    subject: &'a str,
    observer: &'a dyn Observer,
}

impl Drop for OutputLines<'_> {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl<'a> OutputLines<'a> {
    /// Output of a subject.
    pub fn new(subject: &'a str, observer: &'a dyn Observer) -> Self {
        Self { line: Vec::new(), subject, observer }
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &[u8]) {
        for byte in piece {
            if *byte == b'\n' || self.line.len() == LONGEST {
                self.end_line();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end_matches('\r');
        // A build decides what its lines contain: a terminal would obey an escape sequence.
        let line = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        let (subject, line) = (self.subject.to_owned(), line.collect());
        self.observer.event(Event::Output { subject, line });
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Default)]
    struct LineRecorder(std::sync::Mutex<Vec<String>>);

    impl Observer for LineRecorder {
        fn event(&self, event: Event) {
            let Event::Output { subject, line } = event else { panic!("{event:?}") };
            self.0.lock().unwrap().push(format!("{subject} {line}"));
        }
    }

    #[test]
    fn lines_are_shown_as_they_come_and_without_control_characters() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs_err::write(&log, "before\n").unwrap();
        let observer = LineRecorder::default();
        following(&log, "[s 1]", &observer, || {
            let mut file = fs_err::OpenOptions::new().append(true).open(&log).unwrap();
            file.write_all(b"one\ntw").unwrap();
            let has_one = || !observer.0.lock().unwrap().is_empty();
            let until = std::time::Instant::now() + Duration::from_secs(10);
            while !has_one() && std::time::Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(has_one());
            file.write_all(b"o\r\n\x1b[31mred").unwrap();
        });
        let lines = observer.0.into_inner().unwrap();
        assert_eq!(lines, ["[s 1] one", "[s 1] two", "[s 1]  [31mred"]);
    }
}
