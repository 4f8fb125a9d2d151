//! Passwords: typed at a terminal without being shown, or read from a file or a program.
//!
//! A text that is too long is an error, since its beginning would be another password.

use std::io::{self, BufRead, BufReader, Read};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Asks for a text at the terminal. Fails with [`io::ErrorKind::Interrupted`] at Ctrl-C, and with another
/// kind without a terminal.
pub fn ask_unseen(prompt: &str) -> io::Result<String> {
    // At Ctrl-C, rpassword 7.5 raises SIGINT before it gives the terminal its settings back.
    let interrupt = SigSet::from(Signal::SIGINT);
    let before = interrupt.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let typed = rpassword::prompt_password(prompt);
    if let Ok(before) = before {
        _ = before.thread_set_mask();
    }
    typed
}

/// Reads the first line, without its end, of at most `longest` bytes.
pub fn first_line(from: impl Read, longest: u64) -> io::Result<String> {
    let mut line = Vec::new();
    // Room for the end of the line.
    BufReader::new(from).take(longest.saturating_add(2)).read_until(b'\n', &mut line)?;
    // An editor of Windows may have made the file; the password does not end with CR.
    let ends = [&b"\r\n"[..], b"\n"];
    let bare = ends.iter().find_map(|end| line.strip_suffix(*end)).unwrap_or(&line);
    text(bare.to_vec(), longest)
}

/// Reads a whole text of at most `longest` bytes.
pub fn whole_text(from: impl Read, longest: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    text(bytes, longest)
}

fn text(bytes: Vec<u8>, longest: u64) -> io::Result<String> {
    if bytes.len() as u64 > longest {
        let message = format!("it has more than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    String::from_utf8(bytes)
        .map_err(|_not_text| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_whole_or_an_error() {
        let line = |text: &str| first_line(text.as_bytes(), 4).map_err(|error| error.to_string());
        for (input, password) in [
            ("abcd\nmore than four", "abcd"),
            ("abcd\r\n", "abcd"),
            ("ab", "ab"),
            ("", ""),
            ("\nx", ""),
        ] {
            assert_eq!(line(input).as_deref(), Ok(password), "{input:?}");
        }
        for input in ["abcde", "abcdefghi", "abcde\n", "abc\u{e4}\n"] {
            assert_eq!(line(input).unwrap_err(), "it has more than 4 bytes", "{input:?}");
        }
        assert_eq!(whole_text(&b"a\nb\n"[..], 4).unwrap(), "a\nb\n");
        whole_text(&b"a\nb\n\n"[..], 4).unwrap_err();
        whole_text(&b"\xff"[..], 4).unwrap_err();
    }
}
