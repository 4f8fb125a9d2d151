//! Files of a provider: from a folder, or built in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Map;

use super::built_in::BUILT_IN;
use super::definition::{Definition, OutputTemplate, PackageTemplate};
use super::engine::{TemplateEngine, TemplateFile, Templates};
use super::error::ProviderError;
use super::model::Provider;
use super::names::is_reserved;
use super::token::MARK;
use crate::base::confinement::read_text;
use crate::package::{Problem, Report};

/// Name of the file that describes a provider.
pub(super) const DEFINITION: &str = "provider.yaml";

/// Largest file of a provider, in bytes, most files, and deepest folder below the provider's.
const LONGEST: u64 = 4 << 20;
const MOST: usize = 512;
const DEEPEST: usize = 6;

impl Provider {
    /// Reads a provider from its folder: `provider.yaml`, and every other text file as a template. The
    /// provider has the folder's name. Symlinks are not followed.
    pub fn read(folder: &Path) -> Result<Self, ProviderError> {
        let mut files = Templates::new();
        collect(folder, folder, 0, &mut files)?;
        // `.` has no name.
        let name = folder.canonicalize().ok();
        let name = name.as_deref().unwrap_or(folder).file_name();
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if !files.contains_key(DEFINITION) {
            return Err(ProviderError::NotProvider(folder.to_owned()));
        }
        Self::from_files(&name, files)
    }

    /// The built-in provider of a name.
    pub fn built_in(name: &str) -> Result<Self, ProviderError> {
        let Some((name, table)) = BUILT_IN.iter().find(|(other, _)| *other == name) else {
            return Err(ProviderError::Unknown {
                name: name.to_owned(),
                known: BUILT_IN.iter().map(|(name, _)| *name).collect(),
            });
        };
        let files = table.iter().map(|(file, text)| {
            let path = Path::new(name).join(file);
            ((*file).to_owned(), TemplateFile { path, text: (*text).to_owned() })
        });
        Self::from_files(name, files.collect())
    }

    /// Names of the built-in providers that have outputs.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).filter(|name| *name != "cloud")
    }

    /// A provider from texts: `provider.yaml` and templates, as [`Provider::files`] gives them.
    pub fn from_texts(
        name: &str,
        texts: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ProviderError> {
        let files = texts.into_iter().map(|(file, text)| {
            let path = Path::new(name).join(&file);
            (file, TemplateFile { path, text })
        });
        Self::from_files(name, files.collect())
    }

    /// Files of the provider by their names, the base's included: input of [`Provider::from_texts`].
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.templates.iter().map(|(name, file)| (name.as_str(), file.text.as_str()))
    }

    fn from_files(name: &str, mut files: Templates) -> Result<Self, ProviderError> {
        for file in files.values() {
            // A template with the mark could forge a token, and so put a value where none may
            // stand.
            if let Some(offset) = file.text.find(MARK) {
                let message = format!("the character U+{:04X} is reserved", u32::from(MARK));
                return Err(file_error(Problem::at(offset, message), file));
            }
        }
        let Some(text) = files.get(DEFINITION).cloned() else {
            return Err(ProviderError::NotProvider(PathBuf::from(name)));
        };
        let mut definition =
            Definition::parse(&text.text).map_err(|problem| file_error(problem, &text))?;
        let mut bases = Vec::new();
        if let Some((base, offset)) = definition.base.take() {
            let below = Self::built_in(&base).map_err(|error| match error {
                ProviderError::Unknown { .. } => {
                    let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                    let message = format!("base must be one of: {}", known.join(", "));
                    file_error(Problem::at(offset, message), &text)
                }
                error => error,
            })?;
            definition = merged(&below, definition);
            bases.extend(below.templates.get(DEFINITION).map(|file| (base, file.text.clone())));
            bases.extend(below.bases.iter().cloned());
            for (name, file) in below.templates.iter().filter(|(name, _)| *name != DEFINITION) {
                // The provider's own file of that name counts: that is how a template of the base
                // is replaced.
                files.entry(name.clone()).or_insert_with(|| file.clone());
            }
        }
        let Definition { description, arguments, outputs, pages, packages, .. } = definition;
        let provider = Self {
            name: name.to_owned(),
            description,
            arguments,
            outputs,
            pages,
            packages,
            templates: Arc::new(files),
            bases,
        };
        provider.check_templates(&text)?;
        provider.check_lists()?;
        Ok(provider)
    }

    /// Checks the templates of all outputs: existence, syntax, and names.
    fn check_templates(&self, definition: &TemplateFile) -> Result<(), ProviderError> {
        let engine = TemplateEngine::new(Arc::clone(&self.templates), Map::new());
        let knows = &|name: &str| {
            is_reserved(name) || self.arguments.iter().any(|argument| argument.name == name)
        };
        let outputs = self.outputs.iter().map(|output| OfTemplate {
            template: &output.template,
            offset: output.offset,
            output: &output.name,
            knows: Box::new(move |name| output.with.contains_key(name) || knows(name)),
            unknown: NOT_ARGUMENT,
        });
        let files = self.packages.iter().flat_map(|package| &package.files);
        let files = files.map(|file| OfTemplate {
            template: &file.template,
            offset: file.offset,
            output: &file.path,
            // The values of one output go into its packages, too.
            knows: Box::new(move |name| {
                knows(name) || self.outputs.iter().any(|output| output.with.contains_key(name))
            }),
            unknown: NOT_ARGUMENT,
        });
        let conditions = self
            .packages
            .iter()
            .flat_map(|package| &package.files)
            .map(|file| (&file.when, file.offset))
            .chain(self.outputs.iter().map(|output| (&output.when, output.offset)));
        let is_argument = |name: &String| self.arguments.iter().any(|other| other.name == *name);
        let mut unknown = conditions
            .filter_map(|(when, at)| Some((when.as_ref()?, at)))
            .filter(|(when, _)| !is_argument(when));
        if let Some((when, offset)) = unknown.next() {
            let message = format!("{when} {NOT_ARGUMENT}");
            return Err(file_error(Problem::at(offset, message), definition));
        }
        for of in outputs.chain(files).chain(self.page_templates()) {
            let Some(template) = self.templates.get(of.template) else {
                let message =
                    format!("there is no file {:?} in the provider's folder", of.template);
                return Err(file_error(Problem::at(of.offset, message), definition));
            };
            let output = of.output;
            let failed =
                |report: Box<Report>| ProviderError::Template { report, output: output.to_owned() };
            let names = engine.undeclared(of.template).map_err(failed)?;
            let mut unknown =
                names.iter().filter(|name| !GLOBALS.contains(&name.as_str()) && !(of.knows)(name));
            if let Some(unknown) = unknown.next() {
                let message = format!("{unknown} {}", of.unknown);
                let problem =
                    Problem { offset: find_name(&template.text, unknown), message, hint: None };
                return Err(failed(Box::new(problem.in_file(&template.path, &template.text))));
            }
        }
        Ok(())
    }
}

/// End of a message about a name.
const NOT_ARGUMENT: &str = "is not an argument of the provider";

/// A use of a template: of an output, a page, or a file of a package.
pub(super) struct OfTemplate<'p> {
    pub(super) template: &'p str,
    /// Offset of the template's name in `provider.yaml`.
    pub(super) offset: usize,
    /// Name of the output.
    pub(super) output: &'p str,
    /// True for names that have a value.
    pub(super) knows: Box<dyn Fn(&str) -> bool + 'p>,
    /// End of the message about a name without one.
    pub(super) unknown: &'static str,
}

/// Functions that minijinja has for every template.
const GLOBALS: [&str; 5] = ["range", "dict", "debug", "namespace", "loop"];

/// The first place of an identifier within template tags.
fn find_name(text: &str, name: &str) -> Option<usize> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(name).map(|(at, _)| at).find(|at| {
        let (before, after) = (&text[..*at], &text[at + name.len()..]);
        let opened = before.rfind("{{").max(before.rfind("{%"));
        let closed = before.rfind("}}").max(before.rfind("%}"));
        !before.ends_with(is_part) && !after.starts_with(is_part) && opened > closed
    })
}

/// A definition on top of a base: of arguments, outputs and packages with one name the upper one counts.
fn merged(below: &Provider, upper: Definition) -> Definition {
    let mut arguments = below.arguments.clone();
    for argument in upper.arguments {
        match arguments.iter_mut().find(|other| other.name == argument.name) {
            Some(place) => *place = argument,
            None => arguments.push(argument),
        }
    }
    let outputs = merged_outputs(&below.outputs, upper.outputs);
    let pages = merged_outputs(&below.pages, upper.pages);
    let mut packages: Vec<PackageTemplate> = below.packages.clone();
    for package in upper.packages {
        let Some(place) = packages.iter_mut().find(|other| other.name == package.name) else {
            packages.push(package);
            continue;
        };
        for file in package.files {
            match place.files.iter_mut().find(|other| other.path == file.path) {
                Some(place) => *place = file,
                None => place.files.push(file),
            }
        }
    }
    let description =
        if upper.description.is_empty() { below.description.clone() } else { upper.description };
    Definition { base: None, description, arguments, outputs, pages, packages }
}

fn merged_outputs(below: &[OutputTemplate], upper: Vec<OutputTemplate>) -> Vec<OutputTemplate> {
    let mut outputs = below.to_vec();
    for output in upper {
        match outputs.iter_mut().find(|other| other.name == output.name) {
            Some(place) => *place = output,
            None => outputs.push(output),
        }
    }
    outputs
}

pub(super) fn file_error(problem: Problem, file: &TemplateFile) -> ProviderError {
    ProviderError::File(Box::new(problem.in_file(&file.path, &file.text)))
}

/// Reads all text files below a folder.
fn collect(
    root: &Path,
    folder: &Path,
    depth: usize,
    files: &mut BTreeMap<String, TemplateFile>,
) -> Result<(), ProviderError> {
    let failed = |path: &Path, source| ProviderError::Read { path: path.to_owned(), source };
    for entry in fs_err::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| failed(&path, error))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let Some(name) = relative.to_str() else { continue };
        if kind.is_dir() && depth < DEEPEST {
            collect(root, &path, depth + 1, files)?;
        } else if kind.is_file() {
            match read_text(root, relative, LONGEST) {
                Ok(text) => {
                    files.insert(name.to_owned(), TemplateFile { path: path.clone(), text });
                }
                // A picture beside the templates does no harm.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && name != DEFINITION => {}
                Err(error) => return Err(failed(&path, error)),
            }
            // A folder that was named by mistake, such as a home, would be read as a whole.
            if files.len() > MOST {
                let error = io::Error::other(format!("there are more than {MOST} files"));
                return Err(failed(root, error));
            }
        }
    }
    Ok(())
}
