//! Remedies that are given in several places, and their form below a message.

use std::fmt::Display;

/// Text between a message, or a remedy, and the remedy below it.
pub(crate) const LABEL: &str = "\n  hint: ";

/// Splits a text into remedies, one per line; a line with a leading blank continues the previous one.
pub(crate) fn hints_of(text: &str) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for line in text.lines() {
        match hints.last_mut() {
            Some(hint) if line.starts_with(' ') => hint.extend(["\n", line]),
            _ => hints.push(line.to_owned()),
        }
    }
    hints
}

/// A message with the remedies of a text below it.
pub(crate) fn with_hint(message: impl Display, hint: Option<&str>) -> String {
    let mut text = message.to_string();
    for hint in hints_of(hint.unwrap_or_default()) {
        text.extend([LABEL, &hint]);
    }
    text
}

/// Tells how to raise a limit: its key in `[limits]`, and the end of its variable's name. A tree's
/// `mkpanda.toml` may only lower the user's limits, so it is no place to raise one.
macro_rules! raise_limit {
    ($key:literal, $variable:literal) => {
        concat!(
            "raise limits.",
            $key,
            " in your own config.toml, or MKPANDA_LIMITS_",
            $variable,
            ", which counts before a tree's mkpanda.toml"
        )
    };
}
pub(crate) use raise_limit;

/// Remedy for something that is larger than `limits.unpacked`.
pub(crate) const RAISE_UNPACKED: &str =
    concat!("if it is meant to be that large, ", raise_limit!("unpacked", "UNPACKED"));

/// Remedy for an error of reading or copying what may have as many bytes as `limits.unpacked`.
#[cfg(feature = "builder")]
pub(crate) fn for_size(error: &std::io::Error) -> Option<&'static str> {
    (error.kind() == std::io::ErrorKind::FileTooLarge).then_some(RAISE_UNPACKED)
}

/// Text of the error of a command line that clap refused; suggestions get the label of this program's remedies.
pub(crate) fn usage_text(error: &clap::Error) -> String {
    error.render().to_string().replace("\n  tip: ", LABEL)
}

/// Splits a message from the remedies below it.
#[cfg(feature = "builder")]
pub(crate) fn split_hints(text: &str) -> (&str, Vec<&str>) {
    let mut parts = text.split(LABEL);
    (parts.next().unwrap_or_default(), parts.collect())
}

#[cfg(all(test, feature = "builder"))]
mod tests {
    use super::*;

    #[test]
    fn remedies_are_put_below_a_message_and_taken_off() {
        let text = with_hint("broken", Some("mend it:\n  mend it\nor leave it"));
        assert_eq!(text, "broken\n  hint: mend it:\n  mend it\n  hint: or leave it");
        assert_eq!(split_hints(&text), ("broken", vec!["mend it:\n  mend it", "or leave it"]));
        assert_eq!(with_hint("broken", None), "broken");
        assert_eq!(split_hints("broken"), ("broken", vec![]));
    }

    #[test]
    fn suggestions_of_clap_are_hints() {
        let command = clap::Command::new("x").subcommand(clap::Command::new("check"));
        let text = usage_text(&command.try_get_matches_from(["x", "chekc"]).unwrap_err());
        assert!(text.contains("\n  hint: a similar subcommand exists: 'check'"), "{text}");
    }
}
