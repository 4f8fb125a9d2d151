//! JSON Schemas of all files that people write and of all JSON that the programs print: `docs/schemas`, embedded.

/// A schema: its name, which is that of its file without `.json`, and its text.
pub type Schema = (&'static str, &'static str);

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../docs/schemas/", $name, ".json")))),*]
    };
}

/// All schemas, by name.
pub const SCHEMAS: [Schema; 38] = embedded![
    "buildinfo",
    "cache-index",
    "cache-pull",
    "cache-push",
    "cache-stat",
    "cache-verify",
    "check",
    "clean",
    "config",
    "config.toml",
    "doctor",
    "events",
    "explain",
    "graph",
    "graph-why",
    "image-inspect",
    "image-list",
    "init",
    "job",
    "job-record",
    "key-new",
    "key-show",
    "list",
    "log",
    "mkpanda.toml",
    "pkgpanda-active",
    "pkgpanda-check",
    "pkgpanda-check-list",
    "pkgpanda-list",
    "pkgpanda-preview",
    "pkgpanda-verify",
    "release-create",
    "release-diff",
    "release-list",
    "release-plan",
    "release-show",
    "treeinfo",
    "upstream",
];

/// Finds a schema by its name, or by the name of the file that it is for.
pub fn find(name: &str) -> Option<Schema> {
    // Two are for TOML and keep that ending in their names.
    let bare = name.strip_suffix(".json").unwrap_or(name);
    SCHEMAS.into_iter().find(|(known, _)| *known == bare)
}

/// Title of a schema.
pub fn title(text: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    document["title"].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::args::Cli;
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas");
        let entries = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        let mut embedded: Vec<String> =
            SCHEMAS.iter().map(|(name, _)| format!("{name}.json")).collect();
        embedded.sort();
        assert_eq!(embedded, names);
        for (name, text) in SCHEMAS {
            assert!(!title(text).is_empty(), "{name}");
        }
    }

    /// Names of a command's subcommands, or of itself, that have `--format json`.
    fn with_json(command: &clap::Command, name: &str, is_inherited: bool) -> Vec<String> {
        let format = command.get_arguments().find(|argument| argument.get_id() == "format");
        let values = format.map(clap::Arg::get_possible_values).unwrap_or_default();
        let has_json = is_inherited || values.iter().any(|value| value.get_name() == "json");
        if !command.has_subcommands() {
            return if has_json { vec![name.to_owned()] } else { Vec::new() };
        }
        let below = |inner: &clap::Command| {
            let name = format!("{name} {}", inner.get_name());
            with_json(inner, name.trim_start(), has_json)
        };
        command.get_subcommands().flat_map(below).collect()
    }

    #[test]
    fn every_output_has_a_schema() {
        let mut found = with_json(&Cli::command(), "", false);
        // Installers are shown by their paths alone.
        found.retain(|name| name != "release create-installer");
        assert!(found.len() > 20, "{found:?}");
        for name in found {
            let schema = match name.as_str() {
                "job show" => "job".to_owned(),
                "release promote" => "release-create".to_owned(),
                name => name.replace(' ', "-"),
            };
            let known = find(&schema);
            assert!(known.is_some(), "{name} has no schema");
        }
    }

    #[test]
    fn a_schema_is_found_by_the_name_of_its_file() {
        for (typed, name) in [
            ("buildinfo.json", Some("buildinfo")),
            ("treeinfo", Some("treeinfo")),
            ("mkpanda.toml", Some("mkpanda.toml")),
            ("config", Some("config")),
            ("nothing", None),
        ] {
            assert_eq!(find(typed).map(|(name, _)| name), name, "{typed}");
        }
    }
}
