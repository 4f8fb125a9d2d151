//! Files of variables, which systemd reads as well as a shell.
//!
//! Both read `NAME="…"` alike, with a backslash before each `"`, `\`, `$` and backquote: a shell by
//! POSIX.1-2017, Shell Command Language, 2.2.3, systemd by systemd.exec(5), `EnvironmentFile=`. Single quotes
//! they read differently, as soon as a single quote is in the value. So a line is a comment, or an assignment
//! of a value or of a word without any character that means something to either.

use serde_json::Value;

use super::token::{MARK, OutputFault, whole_token};

/// Checks that each line is one that both read alike.
pub(super) fn check(text: &str, values: &[Value]) -> Result<(), OutputFault> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let fault = |reason: &str| {
            let offset = start + line.find(MARK).unwrap_or_default();
            Err(OutputFault { offset, reason: reason.to_owned() })
        };
        let text = line.strip_suffix('\n').unwrap_or(line);
        // To systemd before version 254, a backslash at the end of a comment continues it; to a
        // shell it does not.
        let is_comment = text.starts_with('#') && !text.contains(MARK) && !text.ends_with('\\');
        if !text.is_empty() && !is_comment {
            let assigned =
                text.split_once('=').filter(|(name, _)| crate::package::is_variable_name(name));
            let Some((_, right)) = assigned else {
                return fault(
                    "a line must be NAME={{ name }}, NAME=word or a comment, for a shell and \
                     systemd to read it alike",
                );
            };
            let token = right.strip_prefix('\'').and_then(|right| right.strip_suffix('\''));
            match token.and_then(whole_token).and_then(|index| values.get(index)) {
                None if is_plain(right) => {}
                None => {
                    return fault(
                        "a value must be the whole right side of NAME={{ name }}, and other text \
                         a word of letters, digits and %+,-./:=@_, or one in quotation marks \
                         without \\, $, ` and quotation marks",
                    );
                }
                Some(Value::Array(_)) => {
                    return fault("a list is not one text: take {{ name | join(\",\") }}");
                }
                Some(Value::String(text)) if text.chars().any(is_odd) => {
                    return fault("systemd takes no control characters and no noncharacters");
                }
                Some(_) => {}
            }
        }
        start += line.len();
    }
    Ok(())
}

/// True for a word that is the same to a shell and systemd.
fn is_plain(word: &str) -> bool {
    let inner = ['"', '\'']
        .iter()
        .find_map(|quote| word.strip_prefix(*quote).and_then(|word| word.strip_suffix(*quote)));
    match inner {
        Some(inner) => !inner.chars().any(|letter| "\"'\\$`".contains(letter) || is_odd(letter)),
        None => {
            word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(&byte))
        }
    }
}

/// True for characters in whose presence systemd leaves a variable out.
fn is_odd(letter: char) -> bool {
    let number = u32::from(letter);
    letter.is_control() && !matches!(letter, '\n' | '\t')
        || number & 0xfffe == 0xfffe
        || (0xfdd0..=0xfdef).contains(&number)
        || letter == MARK
}

/// A text in double quotes.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}
