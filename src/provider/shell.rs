//! Places of a shell script at which a value may stand.
//!
//! A value is a single-quoted word. That makes it data only where the shell reads a new command: within an
//! open quotation or a here-document the quotes are text like any other, and a word in front of a value can
//! run it. So a script is scanned from its first byte with the state that a shell has there (POSIX.1-2017,
//! Shell Command Language, 2.2 to 2.7), and a value is taken in lines `NAME={{ name }}` and `set -- {{ list }}`
//! that begin a command. From a text on that shells read differently, no value is taken.

mod scan;

use serde_json::Value;

use self::scan::command_lines;
use super::token::{MARK, OutputFault, whole_token};

/// Checks that values stand only where they are data.
pub(super) fn check(text: &str, values: &[Value]) -> Result<(), OutputFault> {
    if !text.contains(MARK) {
        return Ok(());
    }
    let begins_command = command_lines(text);
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(mark) = line.find(MARK) else {
            start += line.len();
            continue;
        };
        let fault =
            |reason: &str| Err(OutputFault { offset: start + mark, reason: reason.to_owned() });
        let Some(words) = words(line.trim_matches([' ', '\t', '\n'])) else {
            return fault(
                "a value must be the whole right side of an assignment, NAME={{ name }}, or stand \
                 in a line: set -- {{ name }}",
            );
        };
        if !begins_command.get(index).copied().unwrap_or(false) {
            return fault(
                "a value must stand where a command begins, not within quotation marks, a \
                 here-document, an expansion or a command of several lines",
            );
        }
        for index in words.tokens {
            match values.get(index) {
                Some(Value::Array(_)) if words.is_assignment => {
                    return fault(
                        "a list gives several words, of which the second would be run: take \
                         set -- {{ name }}, or one text, {{ name | join(\",\") }}",
                    );
                }
                Some(value) if has_nul(value) => return fault("a shell has no NUL characters"),
                _ => {}
            }
        }
        start += line.len();
    }
    Ok(())
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        _ => false,
    }
}

/// Tokens of a line in which values may stand.
struct LineTokens {
    is_assignment: bool,
    tokens: Vec<usize>,
}

fn words(line: &str) -> Option<LineTokens> {
    if let Some(words) = line.strip_prefix("set -- ") {
        let tokens = words.split(' ').filter(|word| *word != "\"$@\"").map(token);
        return Some(LineTokens { is_assignment: false, tokens: tokens.collect::<Option<_>>()? });
    }
    let (_, token) = assignment(line)?;
    Some(LineTokens { is_assignment: true, tokens: vec![token] })
}

/// The number of a token that is a whole word.
fn token(word: &str) -> Option<usize> {
    whole_token(word.strip_prefix('\'')?.strip_suffix('\'')?)
}

/// Name and token of an assignment.
fn assignment(line: &str) -> Option<(&str, usize)> {
    let (name, value) = assigned(line)?;
    Some((name, token(value)?))
}

/// Name and right side of a line that is an assignment, also by `export` and `readonly`.
pub(super) fn assigned(line: &str) -> Option<(&str, &str)> {
    let line =
        ["export ", "readonly "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
    line.split_once('=').filter(|(name, _)| crate::package::is_variable_name(name))
}

#[cfg(test)]
mod tests;
