//! Messages of serde, in the words of people who write configuration files.

use super::suggestion::{did_you_mean, nearest};

/// Upper limit of the known names that stand beside a similar one.
const LISTED: usize = 12;

/// Returns the message and, where the known names are in it, a hint.
pub(crate) fn plain(message: &str) -> (String, Option<String>) {
    read(message).unwrap_or_else(|| (message.to_owned(), None))
}

fn read(message: &str) -> Option<(String, Option<String>)> {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return named(rest, "there is no key", "keys");
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return named(rest, "there is no value", "values");
    }
    let text = match message.split_once(' ')? {
        ("missing", rest) if rest.starts_with("field `") => {
            format!("the key {} is missing", quoted(rest)?)
        }
        ("duplicate", rest) if rest.starts_with("field `") => {
            format!("the key {} is given twice", quoted(rest)?)
        }
        ("invalid", rest) => mistaken(rest.split_once(": ")?.1)?,
        _ => return None,
    };
    Some((text, None))
}

/// The first word between backquotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

/// A name that is not among the known ones.
fn named(rest: &str, problem: &str, plural: &str) -> Option<(String, Option<String>)> {
    let (name, known) = rest.strip_prefix('`')?.split_once("`, ")?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let near = nearest(name, known.iter().copied());
    let all = format!("{plural} are {}", known.join(", "));
    let hint = match near {
        Some(near) if known.len() > LISTED => Some(did_you_mean(near)),
        Some(near) => Some(format!("{} The {all}", did_you_mean(near))),
        None => (!known.is_empty()).then(|| format!("the {all}")),
    };
    Some((format!("{problem} {name:?}"), hint))
}

/// A value of another type than the expected one.
fn mistaken(rest: &str) -> Option<String> {
    let (found, expected) = rest.rsplit_once(", expected ")?;
    Some(format!("this must be {}, but is {}", expected_in_words(expected), found_in_words(found)))
}

fn expected_in_words(expected: &str) -> &str {
    match expected {
        "a nonzero u16" => "a whole number from 1 to 65535",
        "u8" => "a whole number up to 255",
        "u16" => "a whole number up to 65535",
        "u32" | "u64" | "usize" => "a whole number of 0 or more",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "string or map" => "a text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        struct_name if struct_name.starts_with("struct ") => "a table",
        other => other,
    }
}

fn found_in_words(found: &str) -> String {
    match found.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer" | "floating", _)) => {
            format!("the number {}", quoted(found).unwrap_or_default())
        }
        Some(("boolean", _)) => quoted(found).unwrap_or_default().to_owned(),
        _ => match found {
            "sequence" => "a list".to_owned(),
            "map" => "a table".to_owned(),
            other => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde alone")]
    struct File {
        jobs: Option<std::num::NonZeroU16>,
        progress: Option<Progress>,
        images: Option<Vec<String>>,
        offline: Option<bool>,
        name: Option<String>,
        limits: Option<Limits>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Progress {
        Plain,
        Live,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read by serde alone")]
    struct Limits {
        time: String,
    }

    #[test]
    fn messages_name_keys_values_and_types() {
        let keys = "the keys are jobs, progress, images, offline, name, limits";
        for (text, message, hint) in [
            (
                "job = 3",
                "there is no key \"job\"",
                format!("did you mean jobs? The {}", &keys[4..]),
            ),
            ("x = 3", "there is no key \"x\"", keys.to_owned()),
            (
                "progress = \"plian\"",
                "there is no value \"plian\"",
                "did you mean plain? The values are plain, live".to_owned(),
            ),
            (
                "jobs = \"many, expected none\"",
                "this must be a whole number from 1 to 65535, but is the text \"many, expected none\"",
                String::new(),
            ),
            (
                "jobs = 0",
                "this must be a whole number from 1 to 65535, but is the number 0",
                String::new(),
            ),
            ("images = true", "this must be a list, but is true", String::new()),
            ("offline = [1]", "this must be true or false, but is a list", String::new()),
            ("name = 1.5", "this must be a text in quotes, but is the number 1.5", String::new()),
            ("limits = 1", "this must be a table, but is the number 1", String::new()),
            ("limits = {}", "the key time is missing", String::new()),
        ] {
            let error = toml::from_str::<File>(text).unwrap_err();
            let plain = plain(error.message());
            assert_eq!(plain, (message.to_owned(), (!hint.is_empty()).then_some(hint)), "{text}");
        }
    }

    #[test]
    fn other_messages_stay() {
        for message in ["key with no value, expected `=`", "unknown field", "unknown field `"] {
            assert_eq!(plain(message), (message.to_owned(), None));
        }
    }
}
