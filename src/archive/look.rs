//! Kinds of files that are not supported archives, for messages.

/// Formats by their first bytes.
const FORMATS: [(&[u8], &str); 22] = [
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"!<arch>\n", "an ar archive (a Debian package, say)"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"070701", "a cpio archive"),
    (b"070707", "a cpio archive"),
    (b"LZIP", "compressed by lzip"),
    (b"\x89LZO", "compressed by lzop"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"\x1f\x9d", "compressed by compress"),
    (b"\x5d\x00\x00", "compressed by lzma"),
    (b"PK\x07\x08", "a part of a zip archive"),
    (b"# v2 git bundle", "a git bundle"),
    (b"# v3 git bundle", "a git bundle"),
    (b"hsqs", "a squashfs image"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program for Windows"),
    (b"#!", "a script"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS"),
    (b"{", "a JSON document"),
    (b"<?xml", "an XML document"),
];

/// Number of bytes at the beginning of a file that a message shows.
const SHOWN: usize = 16;

/// True if a file begins as an HTML page does (WHATWG MIME Sniffing 7.1, less the rare elements).
pub fn is_html(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let mut rest = start;
    // Comments may stand before.
    while let Some(after) = rest.strip_prefix(b"<!--") {
        let Some(end) = after.windows(3).position(|part| part == b"-->") else { break };
        rest = after[end + 3..].trim_ascii_start();
    }
    ["<!doctype html", "<html", "<head", "<body", "<title", "<script"].iter().any(|tag| {
        let begins =
            rest.get(..tag.len()).is_some_and(|it| it.eq_ignore_ascii_case(tag.as_bytes()));
        begins
            && rest
                .get(tag.len())
                .is_none_or(|next| matches!(next, b'>' | b' ' | b'\n' | b'\r' | b'\t'))
    })
}

/// Names the format of a file by its beginning, in words.
pub(super) fn look_of(start: &[u8]) -> String {
    if start.is_empty() {
        return "an empty file".to_owned();
    }
    if is_html(start) {
        return "an HTML page".to_owned();
    }
    if let Some((_, words)) = FORMATS.iter().find(|(magic, _)| start.starts_with(magic)) {
        return (*words).to_owned();
    }
    if start.iter().all(|byte| *byte == 0) {
        return "zeros, as an empty or a damaged archive has".to_owned();
    }
    let shown = &start[..start.len().min(SHOWN)];
    if shown.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return format!("a text that begins with \"{}\"", shown.escape_ascii());
    }
    let digits: Vec<String> = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("a file that begins with the bytes {}", digits.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_other_files() {
        for page in [
            "<!DOCTYPE html>",
            "<html lang=en>",
            "\u{feff}\n <HTML>",
            "<!-- one --> <!-- two -->\n<head>",
            "<title>x",
        ] {
            assert!(is_html(page.as_bytes()), "{page}");
        }
        for other in ["", "<htmlx>", "<?xml?>", "a <html>", "<!-- <html>", "<bodyguard>"] {
            assert!(!is_html(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn looks_are_in_words() {
        for (start, words) in [
            (&b""[..], "an empty file"),
            (b"<html><body>", "an HTML page"),
            (b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
            (b"hello, world\n", "a text that begins with \"hello, world\\n\""),
            (b"\x00\xff", "a file that begins with the bytes 00 ff"),
            (&[0; 20], "zeros, as an empty or a damaged archive has"),
        ] {
            assert_eq!(look_of(start), words);
        }
    }
}
