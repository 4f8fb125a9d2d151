//! Texts for setting up a machine: values for a late package, the package itself, lists.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::documents::{no_control_characters, plain_below};
use crate::base::causes::with_causes;
use crate::host::{LateConfig, package_list as read_list};

/// Values of a machine. The last of them must never be shown.
const VALUES: [(&str, &str); 4] =
    [("a", "1.10"), ("b_c", "two\nlines"), ("empty", ""), ("secret", "s3cret-of-the-machine")];

/// Checks that a configuration is read back unchanged after another serialization.
pub(super) fn late_config(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let parse = |text: &str| LateConfig::parse(Path::new("late-config.yaml"), text);
    let config = match parse(text) {
        Ok(Some(config)) => config,
        Ok(None) => return true,
        Err(error) => return shown(&error),
    };
    assert_eq!(config.package.version().as_str(), "setup");
    plain_below(&config.package.to_string());
    let id = config.package.to_string();
    let written = json!({ "bound_values": config.values, "late_bound_package_id": id }).to_string();
    let again = parse(&written).expect("what was written is YAML");
    assert_eq!(again.as_ref(), Some(&config), "{written}");
    true
}

/// Files of a package stay in it, and no error shows a value.
pub(super) fn late_package(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let values = VALUES.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = LateConfig {
        package: "late--setup".parse().expect("a package's id"),
        values: BTreeMap::from(values),
    };
    let files = match config.render(Path::new("late--setup.dcos_config"), text) {
        Ok(files) => files,
        Err(error) => {
            let (_, secret) = VALUES[VALUES.len() - 1];
            assert!(text.contains(secret) || !with_causes(&error).contains(secret), "{error}");
            return shown(&error);
        }
    };
    for file in &files {
        let path = std::str::from_utf8(file.path.as_bytes()).expect("it was read from text");
        plain_below(path);
        assert!(file.mode <= 0o7777);
    }
    assert!(files.iter().any(|file| file.path.as_bytes() == b"pkginfo.json"));
    true
}

/// A list of packages is ids, and is read again as it was.
pub(super) fn package_list(data: &[u8]) -> bool {
    let ids = match read_list("a list", data) {
        Ok(ids) => ids,
        Err(error) => return shown(&error),
    };
    for id in &ids {
        let text = id.to_string();
        plain_below(&text);
        assert!(!text.contains('/') && text.parse().as_ref() == Ok(id));
    }
    let written = serde_json::to_vec(&ids).expect("ids can be written");
    assert_eq!(read_list("a list", &written).ok().as_ref(), Some(&ids));
    true
}

fn shown(error: &dyn std::error::Error) -> bool {
    no_control_characters(&with_causes(error));
    false
}
