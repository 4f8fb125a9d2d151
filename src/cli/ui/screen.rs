//! Access to stderr with its current last lines: the live lines of a terminal are erased for other
//! output, and drawn again below.
//!
//! Live lines are followed by a line break, so that the cursor waits on an empty line below them.
//! The terminal always keeps its state: the cursor is not hidden, and wrapping is off only within a
//! frame, which is a single write. So no state needs to be restored, whatever ends the process.
//!
//! A narrower window has rewrapped the lines; the next frame counts the resulting rows when it
//! erases the old lines. Old terminals truncate lines instead; they identify themselves in
//! `XTERM_VERSION` or `TERM=linux`.
//!
//! A process has a single stderr, so this is a singleton.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::span::SpanLine;

/// Lines at the end of stderr.
#[derive(Debug)]
struct Screen {
    /// The live lines as they were written.
    drawn: Vec<String>,
    /// Width of each line.
    widths: Vec<usize>,
    /// Width of the terminal at the time of drawing.
    columns: usize,
    /// True if the terminal wraps lines anew when it becomes narrower; false if it truncates them.
    rewraps: bool,
    /// Set on SIGCONT: while the process was stopped, a shell has written to the terminal.
    continued: Option<Arc<AtomicBool>>,
}

static SCREEN: Mutex<Screen> = Mutex::new(Screen {
    drawn: Vec::new(),
    widths: Vec::new(),
    columns: 0,
    rewraps: true,
    continued: None,
});

/// Columns and rows of the terminal at stderr; 80 and 24 if unknown.
pub(super) fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    let size = size.map(|(columns, rows)| (usize::from(columns.0), usize::from(rows.0)));
    size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
}

/// Time since the first call, which is made at the program's start.
pub(super) fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn lock() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prepares the drawing; `rewraps` is true if the terminal wraps lines anew when it becomes
/// narrower.
pub(super) fn prepare(rewraps: bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            clear_if_free();
            before(panic);
        }));
    });
    let mut screen = lock();
    screen.rewraps = rewraps;
    let continued = Arc::new(AtomicBool::new(false));
    // Without the signal, a frame may be drawn over a shell's line, a harmless effect.
    if signal_hook::flag::register(signal_hook::consts::SIGCONT, Arc::clone(&continued)).is_ok() {
        screen.continued = Some(continued);
    }
}

/// Writes text, of whole lines, above the live lines.
pub(super) fn write(text: &str) {
    let mut screen = lock();
    let (columns, rows) = if screen.drawn.is_empty() { (0, 0) } else { size() };
    let mut frame = screen.erase(columns, rows);
    frame.push_str(text);
    frame.push_str(&paint(&screen.drawn));
    // The lines were written again without wrapping: none is wider than the terminal.
    screen.widths.iter_mut().for_each(|width| *width = columns.min(*width));
    emit(&frame);
}

/// Writes text above the live lines, and replaces these by `lines`; by none in the background.
pub(super) fn draw(text: &str, lines: &[SpanLine], colour: bool) {
    let (columns, rows) = size();
    let mut screen = lock();
    let drawn: Vec<String> = if is_in_foreground() {
        lines.iter().map(|line| line.render(colour)).collect()
    } else {
        Vec::new()
    };
    let same = drawn == screen.drawn && columns == screen.columns && !screen.was_continued();
    if text.is_empty() && same {
        return;
    }
    let mut frame = screen.erase(columns, rows);
    frame.push_str(text);
    frame.push_str(&paint(&drawn));
    screen.widths = lines.iter().take(drawn.len()).map(SpanLine::width).collect();
    screen.columns = columns;
    screen.drawn = drawn;
    emit(&frame);
}

/// Removes the live lines.
pub(super) fn clear() {
    draw("", &[], false);
}

/// Erases the live lines, unless another thread is writing: for a panic, in which waiting is
/// impossible.
fn clear_if_free() {
    let mut screen = match SCREEN.try_lock() {
        Ok(screen) => screen,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    let (columns, rows) = size();
    emit(&screen.erase(columns, rows));
    screen.drawn.clear();
    screen.widths.clear();
}

impl Screen {
    fn was_continued(&self) -> bool {
        self.continued.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Returns the control sequence that erases the live lines.
    fn erase(&self, columns: usize, rows: usize) -> String {
        let continued = self.continued.as_ref().is_some_and(|it| it.swap(false, Ordering::Relaxed));
        // After a stop, the old lines are above a shell's lines.
        let widths = if continued { &[][..] } else { &self.widths };
        let taken = rows_of(widths, columns, rows, self.rewraps);
        erase_rows(taken)
    }
}

/// Number of rows occupied by lines, among those that can be reached.
fn rows_of(widths: &[usize], columns: usize, rows: usize, rewraps: bool) -> usize {
    let of_one = |width: &usize| if rewraps { width.div_ceil(columns.max(1)).max(1) } else { 1 };
    widths.iter().map(of_one).sum::<usize>().min(rows.saturating_sub(1))
}

/// Returns the control sequence that erases rows above the cursor, row by row: clearing a whole
/// screen would make terminals keep its content, with the lines that have scrolled off.
fn erase_rows(count: usize) -> String {
    if count == 0 { String::new() } else { format!("\r{}", "\u{1b}[A\u{1b}[2K".repeat(count)) }
}

/// Returns the text that writes lines with wrapping off: if the terminal takes a character for wider than
/// computed here, the line is truncated, and the count of rows stays right.
fn paint(lines: &[String]) -> String {
    let mut painted = String::new();
    if !lines.is_empty() {
        painted.push_str("\u{1b}[?7l");
        for line in lines {
            _ = write!(painted, "{line}\r\n");
        }
        painted.push_str("\u{1b}[?7h");
    }
    painted
}

/// True if drawing is wanted now: a job in the background would draw over the shell.
fn is_in_foreground() -> bool {
    match nix::unistd::tcgetpgrp(std::io::stderr()) {
        Ok(group) => group == nix::unistd::getpgrp(),
        // The terminal does not control this process, so neither does a job-control shell.
        Err(_) => true,
    }
}

fn emit(frame: &str) {
    if !frame.is_empty() {
        let mut stderr = std::io::stderr().lock();
        // A missing reader is not worth an error.
        drop(stderr.write_all(frame.as_bytes()).and_then(|()| stderr.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_as_the_terminal_shows_them_now() {
        assert_eq!(rows_of(&[60, 10, 0], 80, 24, true), 3);
        assert_eq!(rows_of(&[60, 10, 0], 20, 24, true), 5);
        assert_eq!(rows_of(&[60, 10, 0], 20, 24, false), 3);
        assert_eq!(rows_of(&[200; 9], 20, 24, true), 23, "what has scrolled off stays");
        assert_eq!(rows_of(&[], 20, 24, true), 0);
    }

    #[test]
    fn a_frame_leaves_the_terminal_as_it_was() {
        let frame = paint(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(frame, "\u{1b}[?7la\r\nb\r\n\u{1b}[?7h");
        assert_eq!(paint(&[]), "");
        assert_eq!(erase_rows(2), "\r\u{1b}[A\u{1b}[2K\u{1b}[A\u{1b}[2K");
        assert_eq!(erase_rows(0), "");
    }
}
