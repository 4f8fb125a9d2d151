//! Keys of the user's own in each job: a mapping in YAML or JSON.
//!
//! Scalars stay as they are written, so that numbers and truth values are the engine's to read. Where the template and
//! the pipeline have the same key, mappings are merged, lists are joined, and any other value is the template's. Keys that
//! decide what a job does, when and after which others, are the pipeline's alone.

use std::path::{Path, PathBuf};

use super::error::PipelineError;
use super::value::{Entries, Value, merged};
use crate::package::Problem;
use crate::package::yaml::{Yaml, YamlEntry, YamlNode};

/// Upper limit of a template, in bytes.
pub const LONGEST_TEMPLATE: u64 = 256 << 10;

/// A template, read.
#[derive(Debug, Default)]
pub struct Template {
    path: PathBuf,
    text: String,
    entries: Vec<YamlEntry>,
}

impl Template {
    /// Reads the text of a template, which stands in a file.
    pub fn parse(path: &Path, text: String) -> Result<Self, PipelineError> {
        let template = Self { path: path.to_owned(), text, entries: Vec::new() };
        let node = YamlNode::parse(&template.text).map_err(|problem| template.wrong(problem))?;
        match node.value {
            Yaml::Nothing => Ok(template),
            Yaml::Map(entries) if !node.is_tagged => {
                entries.iter().try_for_each(check_entry).map_err(|found| template.wrong(found))?;
                Ok(Self { entries, ..template })
            }
            _ => Err(template
                .wrong(Problem::at(node.offset, "a template is a mapping with keys of a job"))),
        }
    }

    /// A job's entries with those of the template, without the keys of `apart`. Fails if the template has one of the keys
    /// that are the pipeline's alone.
    pub(super) fn merged(
        &self,
        job: Entries,
        owned: &[&str],
        apart: &[&str],
    ) -> Result<Entries, PipelineError> {
        // Refused, and not passed over: whoever writes such a key expects it to have an effect.
        if let Some(entry) = self.entries.iter().find(|entry| owned.contains(&entry.key.as_str())) {
            let message = format!("{:?} of each job is the pipeline's own", entry.key);
            let problem = Problem::at(entry.key_offset, message);
            return Err(self.wrong(problem.hint("leave the key out of the template")));
        }
        let others = self.entries.iter().filter(|entry| !apart.contains(&entry.key.as_str()));
        Ok(merged(job, others.map(converted).collect()))
    }

    /// Value of a key, which has to be a list.
    pub(super) fn list(&self, key: &str) -> Result<Option<Value>, PipelineError> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == key) else {
            return Ok(None);
        };
        match value(&entry.node) {
            list @ Value::List(_) => Ok(Some(list)),
            _ => Err(self.wrong(Problem::at(entry.node.offset, format!("{key:?} is a list")))),
        }
    }

    fn wrong(&self, problem: Problem) -> PipelineError {
        PipelineError::Template(Box::new(problem.in_file(&self.path, &self.text)))
    }
}

/// Refuses tags: what they refer to is in another file than the pipeline.
fn check_entry(entry: &YamlEntry) -> Result<(), Problem> {
    check(&entry.node)
}

fn check(node: &YamlNode) -> Result<(), Problem> {
    if node.is_tagged {
        return Err(Problem::at(node.offset, "tags are not supported in templates")
            .hint("write the value itself"));
    }
    match &node.value {
        Yaml::Nothing | Yaml::Text(_) => Ok(()),
        Yaml::List(items) => items.iter().try_for_each(check),
        Yaml::Map(entries) => entries.iter().try_for_each(check_entry),
    }
}

fn converted(entry: &YamlEntry) -> (String, Value) {
    (entry.key.clone(), value(&entry.node))
}

fn value(node: &YamlNode) -> Value {
    match &node.value {
        Yaml::Nothing => Value::plain("null"),
        // Of several lines, a scalar is text to every reader.
        Yaml::Text(text) if node.is_plain && !text.chars().any(char::is_control) => {
            Value::Plain(text.clone())
        }
        Yaml::Text(text) => Value::text(text.as_str()),
        Yaml::List(items) => Value::List(items.iter().map(value).collect()),
        Yaml::Map(entries) => Value::Map(entries.iter().map(converted).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Result<Template, PipelineError> {
        Template::parse(Path::new("t.yml"), text.to_owned())
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        let text = "timeout: 30\nflag: yes\nname: '30'\nimage: debian:12\nlist: [1.10, \"x: y\"]\nempty:\nlong: a\n  b\n";
        let merged = template(text).unwrap().merged(Entries::new(), &[], &[]).unwrap();
        let wanted = "timeout: 30\nflag: yes\nname: \"30\"\nimage: debian:12\nlist:\n  - 1.10\n  - \"x: y\"\nempty: null\nlong: a b\n";
        assert_eq!(Value::Map(merged).document(), wanted);
        assert!(template("").unwrap().entries.is_empty());
        assert!(template("{\"a\": {\"b\": [true, null]}}").is_ok());
    }

    #[test]
    fn faults_have_their_place() {
        for (text, found) in [
            ("- a\n", "t.yml:1:1: a template is a mapping"),
            ("a: !reference [b, c]\n", "t.yml:1:4: tags are not supported"),
            ("a: {b: [!x 1]}\n", "tags are not supported"),
            ("a: &x 1\nb: *x\n", "references to other places"),
            ("a: [\n", "not valid YAML"),
        ] {
            let error = template(text).unwrap_err().to_string();
            assert!(error.contains(found), "{text}: {error}");
        }
        let template = template("image: x\nneeds: []\n").unwrap();
        let error = template.merged(Entries::new(), &["needs"], &[]).unwrap_err();
        assert!(
            error.to_string().contains("t.yml:2:1: \"needs\" of each job is the pipeline's own"),
            "{error}"
        );
        assert_eq!(error.hint().as_deref(), Some("leave the key out of the template"));
    }
}
