//! Arguments of a provider: their types, where their values come from, and the checks of values.

use serde_json::Value;

/// Argument for templates.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateArgument {
    /// The name, an identifier of letters, digits and `_`.
    pub name: String,
    /// The type of values.
    pub kind: ArgumentType,
    /// Origin of values.
    pub origin: ArgumentOrigin,
    /// Explanation for people who give the value.
    pub description: String,
    /// The value in the absence of any other, checked.
    pub default: Option<Value>,
    /// Placeholder for a value that the deployer, or the machine, provides after rendering: an
    /// expression of the template's own language.
    pub written_as: Option<String>,
    /// True if the value has a part in configuration packages, and so in their ids.
    pub configures: bool,
}

/// Origin of an argument's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentOrigin {
    /// The release: a value of [`super::RELEASE_VALUES`].
    Release,
    /// The deployer.
    Deployer,
    /// The machine that is set up: in packages a placeholder stands for the value.
    Late,
}

/// Type of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgumentType {
    /// Line of text.
    Text,
    /// Text of several lines.
    Lines,
    /// Letters, digits, `.`, `_` and `-`; at most 255 of them.
    Name,
    /// URL of the scheme http, https or file.
    Url,
    /// Integer within limits, both included.
    Integer {
        /// Smallest value.
        minimum: i64,
        /// Largest value.
        maximum: i64,
    },
    /// `true` or `false`.
    Boolean,
    /// Member of a set of texts.
    Choice(Vec<String>),
    /// List of lines of text.
    List,
    /// Lines of text by name.
    Map,
}

impl ArgumentType {
    /// The name of the type in `provider.yaml`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Lines => "lines",
            Self::Name => "name",
            Self::Url => "url",
            Self::Integer { .. } => "integer",
            Self::Boolean => "boolean",
            Self::Choice(_) => "choice",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    /// Checks a value and converts it to the type's form. Text is accepted for every type: `"3"`
    /// for an integer, `"true"` for a boolean, a JSON document for a list or a map. The error
    /// describes valid values.
    pub fn check(&self, value: &Value) -> Result<Value, String> {
        let text = value.as_str();
        // Deployers type values in forms and files of variables, where everything is text.
        let parsed = || text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        match self {
            Self::Text => line(value).ok_or_else(|| "must be one line of text".to_owned()),
            Self::Lines => text
                .filter(|text| text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'))
                .map(Value::from)
                .ok_or_else(|| "must be text without control characters".to_owned()),
            Self::Name => {
                line(value).filter(|line| line.as_str().is_some_and(is_name)).ok_or_else(|| {
                    "must consist of letters, digits, \".\", \"_\" and \"-\", at most 255"
                        .to_owned()
                })
            }
            Self::Url => text
                .filter(|text| is_url(text))
                .map(Value::from)
                .ok_or_else(|| "must be a URL: http://…, https://… or file:///…".to_owned()),
            Self::Integer { minimum, maximum } => value
                .as_i64()
                .or_else(|| text.and_then(|text| text.parse().ok()))
                .filter(|number| (minimum..=maximum).contains(&number))
                .map(Value::from)
                .ok_or_else(|| match (*minimum, *maximum) {
                    (i64::MIN, i64::MAX) => "must be an integer".to_owned(),
                    (least, i64::MAX) => format!("must be an integer of at least {least}"),
                    (least, most) => format!("must be an integer from {least} to {most}"),
                }),
            Self::Boolean => match (value, text) {
                (Value::Bool(truth), _) => Ok(Value::Bool(*truth)),
                (_, Some("true")) => Ok(Value::Bool(true)),
                (_, Some("false")) => Ok(Value::Bool(false)),
                _ => Err("must be true or false".to_owned()),
            },
            Self::Choice(choices) => text
                .filter(|text| choices.iter().any(|choice| choice == text))
                .map(Value::from)
                .ok_or_else(|| format!("must be one of: {}", choices.join(", "))),
            Self::List => {
                let items = value.as_array().cloned().or_else(|| match parsed() {
                    Some(Value::Array(items)) => Some(items),
                    _ => None,
                });
                let lines = items.and_then(|items| items.iter().map(line).collect());
                lines.map(Value::Array).ok_or_else(|| "must be a list of lines of text".to_owned())
            }
            Self::Map => {
                let entries = value.as_object().cloned().or_else(|| match parsed() {
                    Some(Value::Object(entries)) => Some(entries),
                    _ => None,
                });
                let entries = entries.filter(|entries| entries.keys().all(|key| is_line(key)));
                let lines = entries.and_then(|entries| {
                    let entries = entries.iter();
                    entries.map(|(key, value)| Some((key.clone(), line(value)?))).collect()
                });
                lines
                    .map(Value::Object)
                    .ok_or_else(|| "must be a mapping of names to lines of text".to_owned())
            }
        }
    }
}

/// A scalar as one line of text.
fn line(value: &Value) -> Option<Value> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => return None,
    };
    is_line(&text).then_some(Value::String(text))
}

fn is_line(text: &str) -> bool {
    // The two are line breaks to JavaScript before ES2019 and to YAML 1.1.
    !text.chars().any(|letter| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}'))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        // The limit of a file's name (NAME_MAX).
        && text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// True for a URL whose characters mean nothing to a shell within single quotes nor to YAML within double
/// ones, with a host unless it is a file's.
fn is_url(text: &str) -> bool {
    let rest =
        ["http://", "https://", "file://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_file = text.starts_with("file://");
    rest.is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        (if is_file { rest.starts_with('/') } else { !host.is_empty() })
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_checked_and_brought_into_the_form_of_their_type() {
        let three_to_five = ArgumentType::Integer { minimum: 3, maximum: 5 };
        let choice = ArgumentType::Choice(vec!["a".to_owned(), "b".to_owned()]);
        for (kind, value, expected) in [
            (&ArgumentType::Text, json!("a b"), Some(json!("a b"))),
            (&ArgumentType::Text, json!(7), Some(json!("7"))),
            (&ArgumentType::Text, json!("a\nb"), None),
            (&ArgumentType::Text, json!("a\u{2028}b"), None),
            (&ArgumentType::Text, json!(["a"]), None),
            (&ArgumentType::Lines, json!("a\nb\n"), Some(json!("a\nb\n"))),
            (&ArgumentType::Lines, json!("a\u{1b}[2J"), None),
            (&ArgumentType::Name, json!("a-1.b_c"), Some(json!("a-1.b_c"))),
            (&ArgumentType::Name, json!(""), None),
            (&ArgumentType::Name, json!("$(reboot)"), None),
            (&ArgumentType::Url, json!("https://h/p?q"), Some(json!("https://h/p?q"))),
            (&ArgumentType::Url, json!("file:///srv"), Some(json!("file:///srv"))),
            (&ArgumentType::Url, json!("https:///p"), None),
            (&ArgumentType::Url, json!("ftp://h"), None),
            (&ArgumentType::Url, json!("http://h/'; reboot"), None),
            (&three_to_five, json!(3), Some(json!(3))),
            (&three_to_five, json!("5"), Some(json!(5))),
            (&three_to_five, json!(6), None),
            (&three_to_five, json!("0x3"), None),
            (&ArgumentType::Boolean, json!("true"), Some(json!(true))),
            (&ArgumentType::Boolean, json!("yes"), None),
            (&choice, json!("b"), Some(json!("b"))),
            (&choice, json!("c"), None),
            (&ArgumentType::List, json!("[\"a\", 1]"), Some(json!(["a", "1"]))),
            (&ArgumentType::List, json!(["a"]), Some(json!(["a"]))),
            (&ArgumentType::List, json!("a"), None),
            (&ArgumentType::List, json!([["a"]]), None),
            (&ArgumentType::Map, json!({"a": true}), Some(json!({"a": "true"}))),
            (&ArgumentType::Map, json!("{\"a\": \"b\"}"), Some(json!({"a": "b"}))),
            (&ArgumentType::Map, json!({"a\n": "b"}), None),
        ] {
            assert_eq!(kind.check(&value).ok(), expected, "{} {value}", kind.as_str());
        }
    }
}
