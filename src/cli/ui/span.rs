//! Text that takes known room on a terminal: widths of characters, lines of styled spans, clipping.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

use crate::base::text::steers_terminal;

/// Look of a span; colours may be missing, so no information depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanStyle {
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Cyan,
}

impl SpanStyle {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Cyan => "36",
        }
    }
}

/// Line of spans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SpanLine(Vec<(SpanStyle, String)>);

impl SpanLine {
    /// Appends a span; control characters are made visible.
    pub(super) fn with(mut self, style: SpanStyle, text: &str) -> Self {
        self.0.push((style, clean(text)));
        self
    }

    /// Width in columns.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| width(text)).sum()
    }

    /// Truncates the line to a width.
    pub(super) fn clip(mut self, room: usize) -> Self {
        let mut left = room;
        for (_, text) in &mut self.0 {
            *text = clip(text, left);
            left -= width(text);
        }
        self
    }

    /// Returns the line as text.
    pub(super) fn render(&self, colour: bool) -> String {
        let mut rendered = String::new();
        for (style, text) in &self.0 {
            let code = style.code();
            if colour && !code.is_empty() && !text.is_empty() {
                _ = write!(rendered, "\u{1b}[{code}m{text}\u{1b}[0m");
            } else {
                rendered.push_str(text);
            }
        }
        rendered
    }
}

fn columns(letter: char) -> usize {
    letter.width().unwrap_or(0)
}

/// Width of a text without control characters, in columns. Joined emoji count for each of their
/// parts: the result is never too small.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Beginning of a text, with an ellipsis if truncated, in at most so many columns.
pub(super) fn clip(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut taken = 0;
    for letter in text.chars() {
        taken += columns(letter);
        if taken >= room {
            break;
        }
        clipped.push(letter);
    }
    if let Some(end) = end_of_words(text, &clipped) {
        clipped.truncate(end);
    }
    if room > 0 {
        clipped.push('…');
    }
    clipped
}

/// End of the last whole word of the beginning of a text, if that ends within a word, and not much is lost.
fn end_of_words(text: &str, beginning: &str) -> Option<usize> {
    let rest = &text[beginning.len()..];
    let is_whole = beginning.ends_with(' ') || rest.starts_with(' ');
    let end = if is_whole { beginning.len() } else { beginning.rfind(' ')? };
    let words = beginning[..end].trim_end_matches(' ');
    // A long word says more by its beginning than a short one before it.
    (2 * width(words) >= width(beginning)).then_some(words.len())
}

/// A text as one line, with everything made visible that a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(letter: char) -> char {
    if steers_terminal(letter) { '·' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns_and_are_never_halved() {
        assert_eq!(width("日本語"), 6);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(clip("日本語", 6), "日本語");
        assert_eq!(clip("日本語", 5), "日本…");
        assert_eq!(clip("日本語", 4), "日…");
        assert_eq!(clip("abc", 1), "…");
        assert_eq!(clip("abc", 0), "");
        for (room, cut) in [
            (22, "bootstrap of a variant"),
            (21, "bootstrap of a…"),
            (16, "bootstrap of a…"),
            (15, "bootstrap of a…"),
            (13, "bootstrap of…"),
            (11, "bootstrap…"),
            (6, "boots…"),
        ] {
            assert_eq!(clip("bootstrap of a variant", room), cut, "{room}");
        }
        // A name keeps its beginning, where the words before it are short.
        assert_eq!(clip("a gcc-with-a-long-name", 12), "a gcc-with-…");
        for room in 0..12 {
            assert!(width(&clip("a日b本c語d", room)) <= room);
        }
    }

    #[test]
    fn nothing_in_a_line_is_obeyed() {
        let line = SpanLine::default().with(SpanStyle::Red, "a\u{1b}[2J\nb\u{202e}");
        assert_eq!(line.render(false), "a·[2J·b·");
        assert_eq!(line.render(true), "\u{1b}[31ma·[2J·b·\u{1b}[0m");
        assert_eq!(line.clone().clip(3).render(false), "a·…");
    }
}
