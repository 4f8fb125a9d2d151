//! Values against the JSON Schemas of docs/schemas, which use a few words of that language.

use serde_json::Value;

/// Fails where a value is not of a schema.
#[track_caller]
pub fn check_schema(schema: &Value, value: &Value, at: &str) {
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: {other}"),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() && types.contains(&"integer") => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&kind), "{at}: {value} is not one of {types:?}");
    let known = schema["enum"].as_array();
    assert!(known.is_none_or(|known| known.contains(value)), "{at}: {value}");
    match value {
        Value::Array(items) if !schema["items"].is_null() => {
            for item in items {
                check_schema(&schema["items"], item, at);
            }
        }
        Value::Object(object) if !schema["properties"].is_null() => {
            let known = schema["properties"].as_object().unwrap();
            for (key, value) in object {
                let inner = known.get(key).unwrap_or_else(|| panic!("{at}: {key} is not known"));
                check_schema(inner, value, &format!("{at}.{key}"));
            }
            for key in schema["required"].as_array().unwrap() {
                assert!(object.contains_key(key.as_str().unwrap()), "{at}: {key} is missing");
            }
        }
        _ => {}
    }
}
