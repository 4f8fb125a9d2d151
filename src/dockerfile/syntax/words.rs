//! The parts of an instruction's line: keyword, flags, words, names with values, JSON arrays, and
//! the here-documents that it announces.

use crate::dockerfile::expand::{Expander, expand_words};

/// Separators of words; Docker's set, without the line feed.
const SPACE: [char; 5] = [' ', '\t', '\u{b}', '\u{c}', '\r'];

/// Returns the first word, and the text behind the following spaces.
pub(super) fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.find(SPACE) {
        Some(end) => (&text[..end], text[end..].trim_start_matches(SPACE)),
        None => (text, ""),
    }
}

/// Words that are parted by space, whatever quotes say.
pub(super) fn plain_words(text: &str) -> Vec<String> {
    text.split(SPACE).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The flags at the beginning, each without its quotes and escapes, and the rest.
pub(super) fn flags(text: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (flag, length) = unquoted_word(rest);
        rest = rest[length..].trim_start();
        if flag == "--" {
            break;
        }
        flags.push(flag);
    }
    (flags, rest.trim_end())
}

/// Returns the first word, in which quotes protect spaces, without its quotes, and its length
/// including quotes.
fn unquoted_word(text: &str) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match (quote, letter) {
            (None, _) if letter.is_whitespace() => return (word, index),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (_, '\\') => word.extend(letters.next().map(|(_, letter)| letter)),
            _ => word.push(letter),
        }
    }
    (word, text.len())
}

/// Splits a text into words, in which quotes and escapes protect spaces; quotes and escapes are
/// kept, for the expansion.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if matches!(letter, '\'' | '"') => quote = Some(letter),
            Some(open) if open == letter => quote = None,
            _ => {}
        }
        if letter == escape && quote != Some('\'') {
            // At the end it escapes nothing and is dropped.
            if let Some(next) = letters.next() {
                word.push(letter);
                word.push(next);
            }
            continue;
        }
        word.push(letter);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `name=value …`, or the old form `name value`, in which the value is the rest of the line.
pub(super) fn pairs(
    keyword: &str,
    text: &str,
    escape: char,
) -> Result<Vec<(String, String)>, String> {
    let words = quoted_words(text, escape);
    let first = words.first().ok_or_else(|| format!("{keyword} has no name and no value"))?;
    if !first.contains('=') {
        let (name, value) = first_word(text);
        if value.is_empty() {
            return Err(format!("{keyword} {name} has no value"));
        }
        return Ok(vec![(name.to_owned(), value.to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("{keyword} has a value without a name: {word}")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("{keyword} has {word:?}, which is not name=value")),
        })
        .collect()
}

/// Result of parsing a text in brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonWords {
    /// An array of texts.
    Array(Vec<String>),
    /// An array with other values than strings.
    Mixed,
    /// Not JSON: left to the shell.
    No,
}

pub(super) fn json(text: &str) -> JsonWords {
    if !text.trim_start().starts_with('[') {
        return JsonWords::No;
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        // As docker does: `[ -f x ] && y` is a command of a shell.
        Err(_) => JsonWords::No,
        Ok(values) => {
            let texts: Option<Vec<String>> =
                values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect();
            texts.map_or(JsonWords::Mixed, JsonWords::Array)
        }
    }
}

/// A word that announces a here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) name: String,
    pub(super) expand: bool,
    pub(super) strip_tabs: bool,
    pub(super) descriptor: Option<u32>,
}

/// The here-documents that a line announces, in order. A line that the words can't be told of (an
/// open quote) announces none.
pub(super) fn announced(line: &str) -> Vec<Announced> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let words = expand_words(line, &Expander::raw()).unwrap_or_default();
    words.iter().filter_map(|word| announcement(word)).collect()
}

/// Parses a word as `3<<-'NAME'`.
pub(super) fn announcement(word: &str) -> Option<Announced> {
    let (number, rest) = word.split_once("<<")?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let descriptor = if number.is_empty() { None } else { Some(number.parse().ok()?) };
    let (strip_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let [name] = <[String; 1]>::try_from(expand_words(rest, &Expander::unquoting()).ok()?).ok()?;
    let raw = expand_words(rest, &Expander::raw()).ok()?;
    // Quoted in any way, a name keeps the document from being expanded, as in shells (POSIX,
    // "Here-Document").
    Some(Announced { expand: raw == [&*name], name, strip_tabs, descriptor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_first_and_lose_their_quotes() {
        for (text, expected, rest) in [
            ("--a --b=c d --e", vec!["--a", "--b=c"], "d --e"),
            ("--a='b c' \"x\"", vec!["--a=b c"], "\"x\""),
            (r"--a=b\ c x", vec!["--a=b c"], "x"),
            ("-- --a", vec![], "--a"),
            ("--a", vec!["--a"], ""),
            ("a --b", vec![], "a --b"),
        ] {
            let (found, left) = flags(text);
            assert_eq!((found, left), (expected.iter().map(|&f| f.to_owned()).collect(), rest));
        }
    }

    #[test]
    fn pairs_have_two_forms() {
        let read = |text| pairs("ENV", text, '\\').map_err(|error| error.clone());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read("a b  c"), Ok(vec![pair("a", "b  c")]));
        assert_eq!(
            read("a=b c='d e' f=g\\ h"),
            Ok(vec![pair("a", "b"), pair("c", "'d e'"), pair("f", "g\\ h")])
        );
        assert_eq!(read("a= b=\"\""), Ok(vec![pair("a", ""), pair("b", "\"\"")]));
        assert_eq!(read("a b=c"), Ok(vec![pair("a", "b=c")]));
        for bad in ["", "a", "a=b c", "=x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn arrays_are_json_or_nothing() {
        assert_eq!(
            json(r#" ["a", "b\n"] "#),
            JsonWords::Array(vec!["a".to_owned(), "b\n".to_owned()])
        );
        assert_eq!(json("[]"), JsonWords::Array(vec![]));
        assert_eq!(json("['a']"), JsonWords::No);
        assert_eq!(json("[ -e x ] && y"), JsonWords::No);
        assert_eq!(json(r#"["a"] && y"#), JsonWords::No);
        assert_eq!(json(r#"["a", 1]"#), JsonWords::Mixed);
    }

    #[test]
    fn documents_are_announced_by_words_of_their_own() {
        let names = |line| {
            let found = announced(line).into_iter();
            found
                .map(|it| {
                    format!(
                        "{}{}{}",
                        it.name,
                        if it.expand { "" } else { "!" },
                        if it.strip_tabs { "-" } else { "" }
                    )
                })
                .collect::<Vec<_>>()
        };
        for (line, found) in [
            ("RUN <<EOF", vec!["EOF"]),
            ("RUN cat <<A 3<<-B >x", vec!["A", "B-"]),
            ("RUN cat <<'A' <<\"B\" <<\\C <<-'D'", vec!["A!", "B!", "C!", "D!-"]),
            ("RUN echo \"<<A\" '<<B' \\<<C", vec![]),
            ("RUN echo $((1<<2)) 1 << 2 <<< x", vec![]),
            ("RUN echo it's <<A", vec![]),
            ("COPY <<a/b.txt /x/", vec!["a/b.txt"]),
        ] {
            assert_eq!(names(line), found, "{line}");
        }
        assert_eq!(announcement("3<<X").unwrap().descriptor, Some(3));
    }
}
