//! Tokens, which stand for values in a text until it is checked.

use std::ops::Range;

/// Character around the number of a token: from the private use area, and refused in templates.
pub(super) const MARK: char = '\u{f8ff}';

/// A fault of a rendered text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutputFault {
    /// Offset in the text with tokens.
    pub(super) offset: usize,
    /// Fault.
    pub(super) reason: String,
}

/// The token of a value.
pub(super) fn token(quote: char, index: usize) -> String {
    format!("{quote}{MARK}{index}{MARK}{quote}")
}

/// The first token of a text, quotes included, and the number in it.
pub(super) fn next_token(text: &str, quote: char) -> Option<(Range<usize>, usize)> {
    let mark = text.find(MARK)?;
    let number = &text[mark + MARK.len_utf8()..];
    let digits = number.find(MARK)?;
    let index = number[..digits].parse().ok()?;
    let end = mark + 2 * MARK.len_utf8() + digits + quote.len_utf8();
    Some((mark - quote.len_utf8()..end, index))
}

/// The number of a token that is the whole of a scalar.
pub(super) fn whole_token(scalar: &str) -> Option<usize> {
    scalar.strip_prefix(MARK)?.strip_suffix(MARK)?.parse().ok()
}
