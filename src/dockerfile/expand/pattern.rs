//! Patterns of `${x#…}`, `${x%…}` and `${x/…}`: `*`, `?` and letters.

use super::error::ExpandError;

/// A pattern with `*` and `?`, as expansions have it.
pub(super) struct ExpansionPattern(Vec<PatternPart>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum PatternPart {
    Letter(char),
    Any,
    Many,
}

impl ExpansionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, ExpandError> {
        let mut parts = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '*' => PatternPart::Many,
                '?' => PatternPart::Any,
                '\\' => match letters.next() {
                    Some(next @ ('*' | '?' | '\\' | '}' | '/')) => PatternPart::Letter(next),
                    next => {
                        let next = next.map(String::from).unwrap_or_default();
                        let message = format!("\\{next} means nothing in a pattern");
                        return Err(ExpandError(message));
                    }
                },
                other => PatternPart::Letter(other),
            });
        }
        Ok(Self(parts))
    }

    /// Length of the shortest or longest matching prefix, in characters.
    fn matched(&self, text: impl Iterator<Item = char>, most: bool) -> Option<usize> {
        // Set of the possible next parts, as in any matcher of regular expressions.
        let mut open = vec![false; self.0.len() + 1];
        open[0] = true;
        self.skip_many(&mut open);
        let mut found = open[self.0.len()].then_some(0);
        for (index, letter) in text.enumerate() {
            if found.is_some() && !most {
                break;
            }
            let mut next = vec![false; open.len()];
            for (part, _) in open.iter().enumerate().filter(|(_, open)| **open) {
                match self.0.get(part) {
                    Some(PatternPart::Many) => next[part] = true,
                    Some(PatternPart::Any) => next[part + 1] = true,
                    Some(PatternPart::Letter(wanted)) if *wanted == letter => next[part + 1] = true,
                    _ => {}
                }
            }
            self.skip_many(&mut next);
            open = next;
            if open[self.0.len()] {
                found = Some(index + 1);
            }
            if !open.contains(&true) {
                break;
            }
        }
        found
    }

    fn skip_many(&self, open: &mut [bool]) {
        for (index, part) in self.0.iter().enumerate() {
            if open[index] && *part == PatternPart::Many {
                open[index + 1] = true;
            }
        }
    }

    pub(super) fn without_prefix(&self, value: &str, most: bool) -> String {
        let count = self.matched(value.chars(), most).unwrap_or(0);
        value.chars().skip(count).collect()
    }

    pub(super) fn without_suffix(&self, value: &str, most: bool) -> String {
        // A suffix is a prefix read backwards, which needs no second matcher.
        let backwards = Self(self.0.iter().rev().copied().collect());
        let count = backwards.matched(value.chars().rev(), most).unwrap_or(0);
        let all = value.chars().count();
        value.chars().take(all - count).collect()
    }

    pub(super) fn replace(&self, value: &str, by: &str, all: bool) -> Result<String, ExpandError> {
        let mut result = String::new();
        let mut rest = value;
        while let Some(letter) = rest.chars().next() {
            if let Some(count) = self.matched(rest.chars(), true).filter(|count| *count > 0) {
                result.push_str(by);
                rest = rest.char_indices().nth(count).map_or("", |(end, _)| &rest[end..]);
                if !all {
                    break;
                }
            } else {
                result.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
            ExpandError::check_length(&result)?;
        }
        Ok(result + rest)
    }
}
