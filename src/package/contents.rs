//! Check that a package's contents belong to its id: the hash of `build_ids` in its
//! `buildinfo.full.json` must be its version (docs/format.md, "Repositories").

use serde_json::Value;

use super::PackageId;
use super::hash::hash_value;
use super::json::JsonNode;

/// Checks a `buildinfo.full.json`: `Ok(None)` if the id matches, `Ok(Some(reason))` if the build
/// has overwritten the file, so that no check is possible, `Err(reason)` for another package's
/// file.
pub fn check(id: &PackageId, buildinfo_full: Option<&[u8]>) -> Result<Option<String>, String> {
    let unknown =
        |why: &str| Ok(Some(format!("whether it is what its id says can't be told: {why}")));
    let Some(bytes) = buildinfo_full else { return unknown("it has no buildinfo.full.json") };
    // Not straight into a `Value`, which takes an object with a certain key for a number.
    let node = std::str::from_utf8(bytes).ok().and_then(|text| JsonNode::parse(text).ok());
    let Some(value) = node.map(|node| node.to_value()) else {
        return unknown("its buildinfo.full.json was overwritten by its build");
    };
    let Some(build_ids) = value.get("build_ids") else {
        return unknown("its buildinfo.full.json has no build_ids");
    };
    let hash =
        hash_value(build_ids).map_err(|error| format!("its build_ids have no hash: {error}"))?;
    let version = match build_ids.get("version_extra") {
        // As ids are made: a `version_extra` stands before the hash.
        None => hash.to_string(),
        Some(Value::String(extra)) => format!("{extra}.{hash}"),
        Some(_) => return Err("its version_extra is not a string".to_owned()),
    };
    if version != id.version().as_str() {
        return Err(format!("its build_ids give the version {version}"));
    }
    // The version says nothing of the name in the id, which whoever names a file can choose.
    if build_ids.get("name").and_then(Value::as_str) != Some(id.name().as_str()) {
        return Err("its build_ids have another name".to_owned());
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_must_give_the_version() {
        let build_ids = serde_json::json!({ "name": "a", "variant": "" });
        let hash = hash_value(&build_ids).unwrap();
        let text = serde_json::json!({ "build_ids": build_ids }).to_string();
        let id = |text: String| text.parse::<PackageId>().unwrap();
        assert_eq!(check(&id(format!("a--{hash}")), Some(text.as_bytes())), Ok(None));
        assert!(check(&id("a--1".to_owned()), Some(text.as_bytes())).is_err());
        assert!(check(&id(format!("b--{hash}")), Some(text.as_bytes())).is_err());
        for unknown in [None, Some(&b"mine"[..]), Some(b"{}")] {
            assert!(check(&id("a--1".to_owned()), unknown).unwrap().is_some());
        }
        let odd = r#"{"name": "a", "environment": {"$serde_json::private::Number": "5"}}"#;
        let hash = hash_value(&JsonNode::parse(odd).unwrap().to_value()).unwrap();
        let text = format!("{{\"build_ids\": {odd}}}");
        assert_eq!(check(&id(format!("a--{hash}")), Some(text.as_bytes())), Ok(None));
    }
}
