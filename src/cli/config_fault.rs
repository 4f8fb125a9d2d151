//! Faults of configuration files, without the passwords that may stand in their lines.

use std::path::Path;

use crate::base::serde_words;
use crate::package::{Problem, Report};

/// Table with passwords.
const CREDENTIALS: &str = "credentials";

/// Table with headers for an engine, below `[remote]`.
const HEADERS: &str = "headers";

/// The fault of a file that is not a configuration. Of the table of credentials, neither the line nor what the parser
/// says of it is shown: both quote values.
pub(super) fn fault(path: &Path, text: &str, error: &toml::de::Error) -> Report {
    let offset = error.span().map(|span| span.start);
    let Some(line) = offset.and_then(|offset| line_of_credentials(text, offset)) else {
        let (message, hint) = serde_words::plain(error.message());
        return Problem { offset, message, hint }.in_file(path, text);
    };
    let message = format!("line {line}, which is about credentials and not shown, is not valid");
    let hint = "an entry has this form; a password \"$NAME\" is that of a variable:\n    [credentials.\"HOST\"]\n    username = \"NAME\"\n    password = \"PASSWORD\"";
    Problem { offset: None, message, hint: Some(hint.to_owned()) }.in_file(path, text)
}

/// Number of the line at an offset, if it is about credentials.
fn line_of_credentials(text: &str, offset: usize) -> Option<usize> {
    let start = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    // By lines, not by the parser: it has just failed at this text.
    let header = text[..start].lines().rev().find(|line| line.trim_start().starts_with('['));
    let is_table = header.is_some_and(|header| {
        let name = header.trim_start_matches(['[', ' ', '\t', '"', '\'']);
        name.starts_with(CREDENTIALS) || (name.starts_with("remote") && name.contains(HEADERS))
    });
    // Better one line too many: `credentials.host.password = …` may stand outside of any table.
    let is_line = [CREDENTIALS, "password", HEADERS].iter().any(|word| line.contains(word));
    (is_table || is_line).then(|| text[..start].matches('\n').count() + 1)
}
