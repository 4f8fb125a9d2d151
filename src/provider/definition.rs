//! `provider.yaml`: from text to a checked [`Definition`].

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::argument::{ArgumentOrigin, ArgumentType, TemplateArgument};
use super::kind::TextKind;
use super::names::{RELEASE_VALUES, is_reserved, release_value};
use crate::package::yaml::{Yaml, YamlEntry, YamlNode};
use crate::package::{PackageName, Problem};

/// Contents of a `provider.yaml`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Definition {
    /// Name of the built-in provider below, and its offset.
    pub(super) base: Option<(String, usize)>,
    pub(super) description: String,
    pub(super) arguments: Vec<TemplateArgument>,
    pub(super) outputs: Vec<OutputTemplate>,
    /// Outputs for all variants of a release together.
    pub(super) pages: Vec<OutputTemplate>,
    pub(super) packages: Vec<PackageTemplate>,
}

/// Output, or file of a package: a template and the kind of the resulting text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputTemplate {
    /// The name, a template itself.
    pub(super) name: String,
    pub(super) template: String,
    /// Offset of the template's name in `provider.yaml`.
    pub(super) offset: usize,
    pub(super) kind: TextKind,
    pub(super) content_type: Option<String>,
    /// The argument without whose value there is no such output.
    pub(super) when: Option<String>,
    /// Values for this output only.
    pub(super) with: Map<String, Value>,
}

/// A configuration package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackageTemplate {
    pub(super) name: PackageName,
    pub(super) files: Vec<PackageFileTemplate>,
}

/// A file of a configuration package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackageFileTemplate {
    pub(super) path: String,
    pub(super) template: String,
    pub(super) offset: usize,
    pub(super) kind: TextKind,
    pub(super) mode: u32,
    /// The argument without whose value there is no such file.
    pub(super) when: Option<String>,
}

/// A mapping of which every key has to be known.
struct MappingFields<'y> {
    what: &'static str,
    offset: usize,
    entries: &'y [YamlEntry],
}

impl<'y> MappingFields<'y> {
    fn of(node: &'y YamlNode, what: &'static str, known: &[&str]) -> Result<Self, Problem> {
        let Yaml::Map(entries) = &node.value else {
            return Err(Problem::at(node.offset, format!("{what} must be a mapping")));
        };
        if let Some(entry) = entries.iter().find(|entry| !known.contains(&entry.key.as_str())) {
            let message = format!("{what} has no key {:?}", entry.key);
            let hint = format!("known keys: {}", known.join(", "));
            return Err(Problem::at(entry.key_offset, message).hint(hint));
        }
        Ok(Self { what, offset: node.offset, entries })
    }

    fn get(&self, key: &str) -> Option<&'y YamlNode> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    fn text(&self, key: &str) -> Result<Option<(&'y str, usize)>, Problem> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let text =
            node.text().ok_or_else(|| Problem::at(node.offset, format!("{key} must be text")));
        Ok(Some((text?, node.offset)))
    }

    fn needed(&self, key: &str) -> Result<(&'y str, usize), Problem> {
        let missing = || Problem::at(self.offset, format!("{} needs the key {key}", self.what));
        self.text(key)?.ok_or_else(missing)
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, Problem> {
        let Some((text, offset)) = self.text(key)? else { return Ok(None) };
        let number = text.parse();
        number
            .map(Some)
            .map_err(|_not_number| Problem::at(offset, format!("{key} must be an integer")))
    }

    fn list(&self, key: &str) -> Result<&'y [YamlNode], Problem> {
        match self.get(key).map(|node| (&node.value, node.offset)) {
            None | Some((Yaml::Nothing, _)) => Ok(&[]),
            Some((Yaml::List(items), _)) => Ok(items),
            Some((_, offset)) => Err(Problem::at(offset, format!("{key} must be a list"))),
        }
    }

    fn map(&self, key: &str) -> Result<&'y [YamlEntry], Problem> {
        match self.get(key).map(|node| (&node.value, node.offset)) {
            None | Some((Yaml::Nothing, _)) => Ok(&[]),
            Some((Yaml::Map(entries), _)) => Ok(entries),
            Some((_, offset)) => Err(Problem::at(offset, format!("{key} must be a mapping"))),
        }
    }
}

impl Definition {
    /// Reads `provider.yaml`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let node = YamlNode::parse(text)?;
        let known = ["base", "description", "arguments", "outputs", "pages", "packages"];
        let fields = MappingFields::of(&node, "a provider", &known)?;
        let arguments = fields.map("arguments")?.iter().map(argument).collect::<Result<_, _>>()?;
        let outputs = fields.list("outputs")?.iter().map(output).collect::<Result<_, _>>()?;
        let pages = fields.list("pages")?.iter().map(page).collect::<Result<_, _>>()?;
        let nodes = fields.list("packages")?;
        let packages: Vec<PackageTemplate> = nodes.iter().map(package).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = packages.iter().position(|package| !names.insert(&package.name)) {
            let message = format!("there are two packages {}", packages[twice].name);
            return Err(Problem::at(nodes[twice].offset, message));
        }
        let base = fields.text("base")?.map(|(name, offset)| (name.to_owned(), offset));
        let description = fields.text("description")?.map_or("", |(text, _)| text).to_owned();
        Ok(Self { base, description, arguments, outputs, pages, packages })
    }
}

fn argument(entry: &YamlEntry) -> Result<TemplateArgument, Problem> {
    let name = &entry.key;
    if !crate::package::is_variable_name(name) {
        let message = format!("{name:?} cannot be an argument: letters, digits and _ only");
        return Err(Problem::at(entry.key_offset, message));
    }
    if is_reserved(name) {
        let message = format!("templates know {name} as something else already");
        return Err(Problem::at(entry.key_offset, message));
    }
    let known = [
        "type",
        "from",
        "description",
        "default",
        "written_as",
        "configures",
        "minimum",
        "maximum",
        "choices",
    ];
    let fields = MappingFields::of(&entry.node, "an argument", &known)?;
    let kind = argument_type(&fields)?;
    let (origin, offset) = fields.needed("from")?;
    let origin = match origin {
        "release" => ArgumentOrigin::Release,
        "deployer" => ArgumentOrigin::Deployer,
        "late" => ArgumentOrigin::Late,
        _ => {
            let message = "from must be one of: release, deployer, late";
            return Err(Problem::at(offset, message));
        }
    };
    // Found when the provider is read, not when a release is made.
    if origin == ArgumentOrigin::Release && release_value(name).is_none() {
        let known: Vec<&str> = RELEASE_VALUES.iter().map(|value| value.name).collect();
        let message = format!("a release has no value {name}");
        return Err(Problem::at(offset, message).hint(format!("it has: {}", known.join(", "))));
    }
    let default = fields.get("default").map(|node| {
        let value = match &node.value {
            Yaml::Nothing => Value::String(String::new()),
            _ => node.to_json(),
        };
        kind.check(&value).map_err(|rule| Problem::at(node.offset, format!("the default {rule}")))
    });
    let written_as = fields.text("written_as")?;
    if let Some((_, offset)) = written_as
        && origin == ArgumentOrigin::Release
    {
        let message = "written_as is for values that come later, not for those of the release";
        return Err(Problem::at(offset, message));
    }
    Ok(TemplateArgument {
        name: name.clone(),
        kind,
        origin,
        description: fields.text("description")?.map_or("", |(text, _)| text).to_owned(),
        default: default.transpose()?,
        written_as: written_as.map(|(text, _)| text.to_owned()),
        configures: match fields.text("configures")? {
            None | Some(("true", _)) => true,
            Some(("false", _)) => false,
            Some((_, offset)) => {
                return Err(Problem::at(offset, "configures must be true or false"));
            }
        },
    })
}

fn argument_type(fields: &MappingFields<'_>) -> Result<ArgumentType, Problem> {
    let (name, offset) = fields.needed("type")?;
    let kind = match name {
        "text" => ArgumentType::Text,
        "lines" => ArgumentType::Lines,
        "name" => ArgumentType::Name,
        "url" => ArgumentType::Url,
        "integer" => ArgumentType::Integer {
            minimum: fields.integer("minimum")?.unwrap_or(i64::MIN),
            maximum: fields.integer("maximum")?.unwrap_or(i64::MAX),
        },
        "boolean" => ArgumentType::Boolean,
        "choice" => {
            let choices = fields.list("choices")?.iter().map(|node| {
                let text = node.text().map(str::to_owned);
                text.ok_or_else(|| Problem::at(node.offset, "a choice must be text"))
            });
            ArgumentType::Choice(choices.collect::<Result<_, _>>()?)
        }
        "list" => ArgumentType::List,
        "map" => ArgumentType::Map,
        _ => {
            let known = "text, lines, name, url, integer, boolean, choice, list, map";
            return Err(Problem::at(offset, format!("type must be one of: {known}")));
        }
    };
    let has = |key| fields.get(key).map(|node| (key, node.offset));
    let odd = match kind {
        ArgumentType::Integer { .. } => has("choices"),
        ArgumentType::Choice(_) => has("minimum").or_else(|| has("maximum")),
        _ => has("choices").or_else(|| has("minimum")).or_else(|| has("maximum")),
    };
    if let Some((key, offset)) = odd {
        return Err(Problem::at(offset, format!("an argument of type {name} takes no {key}")));
    }
    match &kind {
        ArgumentType::Integer { minimum, maximum } if minimum > maximum => {
            Err(Problem::at(offset, "the minimum is above the maximum"))
        }
        ArgumentType::Choice(choices) if choices.is_empty() => {
            Err(Problem::at(offset, "an argument of type choice needs the key choices"))
        }
        _ => Ok(kind),
    }
}

fn output(node: &YamlNode) -> Result<OutputTemplate, Problem> {
    let known = ["name", "template", "kind", "content_type", "when", "with"];
    output_of(&MappingFields::of(node, "an output", &known)?)
}

fn page(node: &YamlNode) -> Result<OutputTemplate, Problem> {
    let known = ["name", "template", "kind", "content_type"];
    output_of(&MappingFields::of(node, "a page", &known)?)
}

fn output_of(fields: &MappingFields<'_>) -> Result<OutputTemplate, Problem> {
    let (template, offset) = fields.needed("template")?;
    let with = fields.map("with")?.iter().map(|entry| (entry.key.clone(), typed(&entry.node)));
    let content_type = fields.text("content_type")?;
    if let Some((text, offset)) = content_type
        && (!text.contains('/') || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')))
    {
        return Err(Problem::at(offset, format!("{text:?} is not a content type")));
    }
    Ok(OutputTemplate {
        name: fields.needed("name")?.0.to_owned(),
        template: template.to_owned(),
        offset,
        kind: kind(fields, template)?,
        content_type: content_type.map(|(text, _)| text.to_owned()),
        when: fields.text("when")?.map(|(name, _)| name.to_owned()),
        with: with.collect(),
    })
}

/// Converts a value of `with`, in which scalars in the form of numbers and booleans are such.
fn typed(node: &YamlNode) -> Value {
    match &node.value {
        Yaml::Text(text) => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        },
        Yaml::List(items) => items.iter().map(typed).collect(),
        Yaml::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), typed(&entry.node))).collect()
        }
        Yaml::Nothing => Value::Null,
    }
}

fn kind(fields: &MappingFields<'_>, template: &str) -> Result<TextKind, Problem> {
    let Some((name, offset)) = fields.text("kind")? else { return Ok(TextKind::of_file(template)) };
    TextKind::named(name).ok_or_else(|| {
        let known: Vec<&str> = TextKind::ALL.iter().map(|(name, _)| *name).collect();
        Problem::at(offset, format!("kind must be one of: {}", known.join(", ")))
    })
}

fn package(node: &YamlNode) -> Result<PackageTemplate, Problem> {
    let fields = MappingFields::of(node, "a package", &["name", "files"])?;
    let (name, offset) = fields.needed("name")?;
    let name = name.parse().map_err(|error| Problem::at(offset, format!("{error}")))?;
    let files = fields.list("files")?.iter().map(package_file);
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let mut paths = BTreeSet::new();
    if let Some(twice) = files.iter().find(|file| !paths.insert(&file.path)) {
        let message = format!("the package has two files {}", twice.path);
        return Err(Problem::at(twice.offset, message));
    }
    Ok(PackageTemplate { name, files })
}

fn package_file(node: &YamlNode) -> Result<PackageFileTemplate, Problem> {
    let fields = MappingFields::of(
        node,
        "a file of a package",
        &["path", "template", "kind", "permissions", "when"],
    )?;
    let (path, at) = fields.needed("path")?;
    // A path of a host's, which begins with a slash, is one of the package's.
    let checked = crate::archive::EntryPath::parse(path.trim_start_matches('/').as_bytes())
        .ok()
        .filter(|path| !path.is_root())
        .ok_or_else(|| {
            Problem::at(at, format!("{path:?} cannot be the path of a package's file"))
        })?;
    let (template, offset) = fields.needed("template")?;
    let mode = match fields.text("permissions")? {
        None => 0o644,
        Some((text, offset)) => u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| Problem::at(offset, "permissions must be octal, at most 0777"))?,
    };
    Ok(PackageFileTemplate {
        path: String::from_utf8_lossy(checked.as_bytes()).into_owned(),
        template: template.to_owned(),
        offset,
        kind: kind(&fields, template)?,
        mode,
        when: fields.text("when")?.map(|(name, _)| name.to_owned()),
    })
}
