//! Values against the JSON Schemas of docs/schemas, which use a few words of that language.

use serde_json::{Map, Value, json};

use crate::support::Place;

/// A schema, as the program prints it.
pub fn schema(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.run("", &["schema", name]).ok().stdout).unwrap()
}

/// Fails where a value is not of a schema.
#[track_caller]
pub fn check_schema(schema: &Value, value: &Value, at: &str) {
    if let Err(fault) = check(schema, value, at) {
        panic!("{fault}\n{value:#}");
    }
}

/// Checks a value by the words of JSON Schema that these schemas use; an unknown word is a fault of the schema.
pub fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fault = |reason: String| Err(format!("{at}: {reason}"));
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "title" | "description" => {}
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|name| is_of(name.as_str().unwrap(), value)) {
                    return fault(format!("{value} is not of the type {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    return fault(format!("{value} is not one of {rule}"));
                }
            }
            "const" => {
                if rule != value {
                    return fault(format!("{value} is not {rule}"));
                }
            }
            "pattern" => {
                if let Some(text) = value.as_str()
                    && !regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)
                {
                    return fault(format!("{text:?} does not match {rule}"));
                }
            }
            "minimum" | "maximum" => {
                let Some(number) = value.as_f64() else { continue };
                let limit = rule.as_f64().unwrap();
                if (word == "minimum" && number < limit) || (word == "maximum" && number > limit) {
                    return fault(format!("{number} is beyond the {word} {limit}"));
                }
            }
            "minItems" | "maxItems" => {
                let Some(items) = value.as_array() else { continue };
                let limit = usize::try_from(rule.as_u64().unwrap()).unwrap();
                if (word == "minItems" && items.len() < limit)
                    || (word == "maxItems" && items.len() > limit)
                {
                    return fault(format!("{} items", items.len()));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, item, &format!("{at}[{index}]"))?;
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.as_object().is_some_and(|it| !it.contains_key(key.as_str().unwrap())) {
                        return fault(format!("{key} is missing"));
                    }
                }
            }
            "properties" | "additionalProperties" | "propertyNames" => {
                if let Some(object) = value.as_object() {
                    keys(schema, word, rule, object, at)?;
                }
            }
            "oneOf" | "anyOf" => {
                let results: Vec<_> =
                    rule.as_array().unwrap().iter().map(|rule| check(rule, value, at)).collect();
                let count = results.iter().filter(|result| result.is_ok()).count();
                if count == 0 || (word == "oneOf" && count > 1) {
                    return fault(format!("{count} of {word} hold for {value}: {results:?}"));
                }
            }
            "not" => {
                if check(rule, value, at).is_ok() {
                    return fault(format!("{rule} holds"));
                }
            }
            other => panic!("{at}: the schema has the word {other}"),
        }
    }
    Ok(())
}

/// Checks the entries of an object by one word.
fn keys(
    schema: &Value,
    word: &str,
    rule: &Value,
    object: &Map<String, Value>,
    at: &str,
) -> Result<(), String> {
    for (key, value) in object {
        let at = format!("{at}.{key}");
        let own = schema.get("properties").and_then(|own| own.get(key));
        match (word, own, rule) {
            ("properties", Some(own), _) => check(own, value, &at)?,
            ("propertyNames", ..) => check(rule, &json!(key), &at)?,
            ("additionalProperties", None, Value::Bool(false)) => {
                return Err(format!("{at}: the key is not known"));
            }
            ("additionalProperties", None, Value::Object(_)) => check(rule, value, &at)?,
            _ => {}
        }
    }
    Ok(())
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other}"),
    }
}
