//! JSON as text, byte for byte as the original writes it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Writes JSON as the original does: sorted keys, two spaces of indent, `","` and `":"` as
/// separators, non-ASCII characters escaped, no newline at the end (docs/format.md, "Descriptions in a
/// package").
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_indented(value, 0, ":", &mut text);
    text
}

/// Writes JSON as `json.dumps(value, indent=2, sort_keys=True)` of Python does.
pub fn indented(value: &Value) -> String {
    let mut text = String::new();
    write_indented(value, 0, ": ", &mut text);
    text
}

fn write_indented(value: &Value, depth: usize, colon: &str, text: &mut String) {
    let newline = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&value.to_string()),
        Value::String(value) => write_string(value, text),
        Value::Array(items) if items.is_empty() => text.push_str("[]"),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                text.push(if index == 0 { '[' } else { ',' });
                newline(text, depth + 1);
                write_indented(item, depth + 1, colon, text);
            }
            newline(text, depth);
            text.push(']');
        }
        Value::Object(map) if map.is_empty() => text.push_str("{}"),
        Value::Object(map) => {
            // Independent of serde_json's `preserve_order`, which another crate may switch on.
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                newline(text, depth + 1);
                write_string(key, text);
                text.push_str(colon);
                write_indented(value, depth + 1, colon, text);
            }
            newline(text, depth);
            text.push('}');
        }
    }
}

fn write_string(value: &str, text: &mut String) {
    use std::fmt::Write as _;
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(letter),
            _ => {
                // Two escapes for a letter outside of the basic plane, as Python's `ensure_ascii`.
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indented_text_is_that_of_python() {
        let value = serde_json::json!({
            "b": ["x", 1, [], {}], "a": {"ü": null, "t": true}, "A": "\u{7f}𝄞\"/",
        });
        let expected = r#"{
  "A": "\u007f\ud834\udd1e\"/",
  "a": {
    "t": true,
    "\u00fc": null
  },
  "b": [
    "x",
    1,
    [],
    {}
  ]
}"#;
        assert_eq!(indented(&value), expected);
    }

    #[test]
    fn canonical_json_is_pythons() {
        let value: Value = serde_json::from_str(
            r#"{"b": [], "a": {}, "c": ["é\u0001😀", 1, true, null, {"x": 1.50}], "d": [[1]]}"#,
        )
        .unwrap();
        let text = "{\n  \"a\":{},\n  \"b\":[],\n  \"c\":[\n    \"\\u00e9\\u0001\\ud83d\\ude00\",\n    1,\n    true,\n    null,\n    {\n      \"x\":1.50\n    }\n  ],\n  \"d\":[\n    [\n      1\n    ]\n  ]\n}";
        assert_eq!(canonical(&value), text);
    }
}
