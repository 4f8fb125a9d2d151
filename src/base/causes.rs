//! Display of an error with all its causes on one line.

use std::error::Error;

/// Text of an error and its causes, separated by colons. A cause already contained in an error's
/// own text is not repeated: other crates write errors in both ways. Control characters become
/// spaces: quoted text must not control a terminal.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    for cause in causes.map(ToString::to_string) {
        // The crates of HTTP and TLS quote their causes; those of this project chain them.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace(|letter: char| letter.is_control() && letter != '\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn a_cause_is_told_once() {
        let inner = Step("no such file", None);
        let middle = Step("can't read x: no such file", Some(Box::new(inner)));
        let outer = Step("nothing was built", Some(Box::new(middle)));
        assert_eq!(with_causes(&outer), "nothing was built: can't read x: no such file");
        assert_eq!(with_causes(&Step("\u{1b}[31mred\nline", None)), " [31mred\nline");
    }
}
