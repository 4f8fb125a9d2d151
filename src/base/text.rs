//! Types that are text in documents, with the same format for parsing and display.

/// Implements `Deserialize` by `FromStr`: an invalid value is an error of the document.
macro_rules! read_as_text {
    ($name:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Implements `Serialize` by `Display`, and `Deserialize` by `FromStr`.
macro_rules! written_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        $crate::base::text::read_as_text!($name);
    };
}

pub(crate) use {read_as_text, written_as_text};

/// True if a terminal would obey a character, or show others in another order because of one: control
/// characters, and marks of the direction of writing (Unicode Standard Annex #9).
pub(crate) fn steers_terminal(letter: char) -> bool {
    let turns = matches!(
        letter,
        // Of these, text can be shown in an order in which it does not stand (CVE-2021-42574).
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    letter.is_control() || turns
}

/// A text for a terminal: lines and tabs stay, other characters that would steer one become `·`.
pub(crate) fn clean_lines(text: &str) -> String {
    let clean = |letter| match letter {
        '\n' | '\t' => letter,
        letter if steers_terminal(letter) => '·',
        letter => letter,
    };
    text.chars().map(clean).collect()
}

/// A text as a quoted string or key of TOML 1.0.0.
#[cfg(feature = "builder")]
pub(crate) fn toml_string(text: &str) -> String {
    use std::fmt::Write as _;
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if steers_terminal(letter) => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_steer_a_terminal_are_shown() {
        let text = "a\tb\n\u{1b}[2J\u{202e}c\u{2066}d\u{9b}e\u{7f}日";
        assert_eq!(clean_lines(text), "a\tb\n·[2J·c·d·e·日");
    }

    #[cfg(feature = "builder")]
    #[test]
    fn quoted_strings_are_read_as_the_text_and_steer_no_terminal() {
        let text = "a\"\\\n\u{1b}\u{202e}\u{2066}\u{9b}日";
        let quoted = toml_string(text);
        assert!(!quoted.chars().any(steers_terminal), "{quoted}");
        let table: toml::Table = format!("key = {quoted}").parse().unwrap();
        assert_eq!(table["key"].as_str(), Some(text));
    }
}
