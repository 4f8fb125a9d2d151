//! Renders a provider's templates with minijinja.
//!
//! Undefined names are errors, and no filter switches escaping off. A template may include and
//! import others of its provider, and gets the text of another template as a value by `file("NAME",
//! name=value…)`, rendered and checked as the kind of NAME's extension.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, OutputSpan, OutputSpanKind, State,
    UndefinedBehavior, Value as TemplateValue,
};
use serde_json::{Map, Value};

use super::bounds::{OutputLimits, check_shape};
use super::error::ProviderError;
use super::kind::TextKind;
use super::token::{OutputFault, token};
use crate::package::{Problem, Report};

/// Largest number of steps of one template.
const FUEL: u64 = 5_000_000;

/// Number of files that may be rendered within each other.
const DEEPEST: usize = 8;

/// Largest text that a template may give, in bytes.
const LONGEST: usize = 16 << 20;

/// A template's text, and its path for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Templates by name.
pub(super) type Templates = BTreeMap<String, TemplateFile>;

/// Renders templates with one set of values.
#[derive(Clone)]
pub(super) struct TemplateEngine {
    templates: Arc<Templates>,
    values: Arc<Map<String, Value>>,
    depth: Arc<AtomicUsize>,
    began: Instant,
}

impl TemplateEngine {
    pub(super) fn new(templates: Arc<Templates>, values: Map<String, Value>) -> Self {
        Self { templates, values: Arc::new(values), depth: Arc::default(), began: Instant::now() }
    }

    /// Renders a template as text of a kind.
    pub(super) fn render(
        &self,
        template: &str,
        kind: TextKind,
        output: &str,
    ) -> Result<String, ProviderError> {
        self.rendered(template, kind).map_err(|fault| fault.into_error(output))
    }

    /// Renders a text of `provider.yaml`, the name of an output say.
    pub(super) fn render_text(&self, text: &str, output: &str) -> Result<String, ProviderError> {
        let (environment, _) = self.environment(TextKind::Text);
        let rendered = check_shape(text, environment.syntax())
            .and_then(|()| environment.render_str(text, context(&self.values)));
        rendered.map_err(|error| {
            let report = Problem::whole(described(&error)).in_file(&PathBuf::from(text), text);
            ProviderError::Template { report: Box::new(report), output: output.to_owned() }
        })
    }

    /// Checks a template without rendering, and returns the names that must be defined.
    pub(super) fn undeclared(&self, template: &str) -> Result<Vec<String>, Box<Report>> {
        let (environment, _) = self.environment(TextKind::Text);
        let template = environment
            .get_template(template)
            .map_err(|error| Box::new(self.report(template, &error)))?;
        let mut names: Vec<String> = template.undeclared_variables(false).into_iter().collect();
        names.sort_unstable();
        Ok(names)
    }

    fn rendered(&self, template: &str, kind: TextKind) -> Result<String, EngineFault> {
        let (environment, tokens) = self.environment(kind);
        let failed = |error: &Error| match nested(error) {
            Some(fault) => fault.clone(),
            None => EngineFault::At(Box::new(self.report(template, error))),
        };
        let compiled = environment.get_template(template).map_err(|error| failed(&error))?;
        let (text, spans) =
            compiled.render_with_spans(context(&self.values)).map_err(|error| failed(&error))?;
        if text.len() > LONGEST {
            let too_long = Error::new(
                ErrorKind::InvalidOperation,
                format!("this gives more than {LONGEST} bytes"),
            );
            return Err(EngineFault::At(Box::new(self.report(template, &too_long))));
        }
        let values = tokens.lock().unwrap_or_else(PoisonError::into_inner);
        kind.check(&text, &values)
            .map_err(|fault| self.output_fault(template, kind, &fault, &text, &spans))?;
        Ok(kind.bind(&text, &values))
    }

    /// Place in a template that causes a fault of its output.
    fn output_fault(
        &self,
        template: &str,
        kind: TextKind,
        fault: &OutputFault,
        text: &str,
        spans: &[OutputSpan],
    ) -> EngineFault {
        let span = spans
            .iter()
            .find(|span| span.output_range().contains(&fault.offset))
            .or_else(|| spans.last());
        let file = |name: &str| self.templates.get(name);
        if let Some(span) = span
            && let Some(file) = file(span.name())
        {
            let offset = match span.kind() {
                OutputSpanKind::Raw => {
                    span.source_range().start
                        + fault.offset.saturating_sub(span.output_range().start)
                }
                _ => span.source_range().start,
            };
            let message = format!("this does not give valid {}: {}", kind.as_str(), fault.reason);
            let report = Problem::at(offset, message).in_file(&file.path, &file.text);
            return EngineFault::At(Box::new(report));
        }
        EngineFault::Output {
            template: file(template).map_or_else(PathBuf::new, |file| file.path.clone()),
            kind,
            line: text[..fault.offset.min(text.len())].matches('\n').count() + 1,
            reason: fault.reason.clone(),
        }
    }

    fn report(&self, template: &str, error: &Error) -> Report {
        // The innermost error is nearest to the fault: errors within included files are sources.
        let mut innermost = error;
        while let Some(source) = std::error::Error::source(innermost)
            && let Some(source) = source.downcast_ref::<Error>()
        {
            innermost = source;
        }
        let name = innermost.name().unwrap_or(template);
        let Some(file) = self.templates.get(name).or_else(|| self.templates.get(template)) else {
            let report = Problem::whole(described(innermost)).in_file(&PathBuf::from(name), "");
            return report;
        };
        let offset = innermost.range().map(|range| range.start).or_else(|| {
            let line = innermost.line()?.checked_sub(1)?;
            Some(file.text.split_inclusive('\n').take(line).map(str::len).sum())
        });
        let expression = innermost.range().and_then(|range| file.text.get(range));
        let message = match (innermost.kind(), expression) {
            (ErrorKind::UndefinedError, Some(expression)) => {
                format!("{} is not defined", expression.trim())
            }
            _ => described(innermost),
        };
        let problem = Problem { offset, message, hint: None };
        problem.in_file(&file.path, &file.text)
    }

    fn environment(&self, kind: TextKind) -> (Environment<'static>, Arc<Mutex<Vec<Value>>>) {
        let mut environment = Environment::new();
        // For the places of errors in templates, which minijinja keeps only so.
        environment.set_debug(true);
        // A misspelled name would give an empty text, and a cluster that is set up with it.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // Loops in loops end: a provider may come from somebody else (see minijinja's `set_fuel`).
        environment.set_fuel(Some(FUEL));
        let syntax = syntax();
        environment.set_syntax(syntax.clone());
        // Results of macros are known by being safe, which they are only where something is escaped.
        environment.set_auto_escape_callback(move |_| AutoEscape::Custom(kind.as_str().into()));
        for filter in ["safe", "escape", "e"] {
            environment.remove_filter(filter);
        }
        // The filter of minijinja marks its result as safe, which only results of macros may be.
        environment.add_filter("tojson", |value: &TemplateValue| {
            serde_json::to_string(value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
        });
        let templates = Arc::clone(&self.templates);
        environment.set_loader(move |name| {
            let Some(template) = templates.get(name) else { return Ok(None) };
            check_shape(&template.text, &syntax)?;
            Ok(Some(template.text.clone()))
        });
        let tokens: Arc<Mutex<Vec<Value>>> = Arc::default();
        let values = Arc::clone(&tokens);
        environment.set_formatter(move |out, _: &mut State<'_, '_>, value| {
            emit(kind, out, value, &values)
        });
        let engine = self.clone();
        environment
            .add_function("file", move |name: String, more: Kwargs| engine.file(&name, &more));
        (environment, tokens)
    }

    /// The same with further values.
    fn with(&self, more: &Kwargs) -> Result<Self, Error> {
        let mut values = (*self.values).clone();
        for name in more.args() {
            let value: TemplateValue = more.get(name)?;
            let value = serde_json::to_value(&value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
            values.insert(name.to_owned(), value);
        }
        Ok(Self { values: Arc::new(values), ..self.clone() })
    }

    /// The function `file` of templates: another one's text, rendered with further values.
    fn file(&self, name: &str, more: &Kwargs) -> Result<String, Error> {
        if !self.templates.contains_key(name) {
            let message = format!("the provider has no file {name:?}");
            return Err(Error::new(ErrorKind::TemplateNotFound, message));
        }
        let longest = OutputLimits::ALL.time;
        if self.began.elapsed() > longest {
            let message = format!("this takes longer than {} s", longest.as_secs());
            return Err(Error::new(ErrorKind::OutOfFuel, message));
        }
        // A file may render itself; fuel is counted for each file anew, and does not end that.
        if self.depth.fetch_add(1, Ordering::Relaxed) >= DEEPEST {
            self.depth.fetch_sub(1, Ordering::Relaxed);
            let message = format!("more than {DEEPEST} files are rendered within each other");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        // By the kind of its own name, so that a shell's text is checked as such wherever it is
        // put.
        let rendered = self.with(more).map(|engine| engine.rendered(name, TextKind::of_file(name)));
        self.depth.fetch_sub(1, Ordering::Relaxed);
        rendered?.map_err(|fault| {
            Error::new(ErrorKind::InvalidOperation, format!("{name} cannot be rendered"))
                .with_source(fault)
        })
    }
}

/// Jinja with a tag alone in its line leaving no line.
fn syntax() -> SyntaxConfig {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    // Only delimiters can be at fault, and these are Jinja's.
    syntax.unwrap_or_default()
}

/// Writes a value, or its token until the text is checked.
fn emit(
    kind: TextKind,
    out: &mut Output<'_>,
    value: &TemplateValue,
    tokens: &Mutex<Vec<Value>>,
) -> Result<(), Error> {
    let written = |result: std::fmt::Result| result.map_err(Error::from);
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    // The result of a macro is text of this kind already.
    if value.is_safe() {
        return written(write!(out, "{value}"));
    }
    let json = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let is_plain = !json.is_array() && !json.is_object() && !json.is_null();
    match kind.token_quote() {
        Some(quote) if is_plain || kind != TextKind::Shell || json.is_array() => {
            let mut tokens = tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.push(json);
            written(out.write_str(&token(quote, tokens.len() - 1)))
        }
        None if is_plain => written(out.write_str(&kind.written(&json))),
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("a {} cannot be put into {} text", value.kind(), kind.as_str()),
        )),
    }
}

/// A fault on the way to an output whose name is not known here.
#[derive(Debug, Clone, thiserror::Error)]
enum EngineFault {
    #[error("{0}")]
    At(Box<Report>),
    #[error("line {line} of the output is not valid {}: {reason}", kind.as_str())]
    Output { template: PathBuf, kind: TextKind, line: usize, reason: String },
}

impl EngineFault {
    fn into_error(self, output: &str) -> ProviderError {
        let output = output.to_owned();
        match self {
            Self::At(report) => ProviderError::Template { report, output },
            Self::Output { template, kind, line, reason } => {
                ProviderError::Output { output, template, kind: kind.as_str(), line, reason }
            }
        }
    }
}

/// Fault of a nested file.
fn nested(error: &Error) -> Option<&EngineFault> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<EngineFault>() {
            return Some(fault);
        }
        source = error.source();
    }
    None
}

/// The kind of an error, and details.
fn described(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::InvalidOperation | ErrorKind::SyntaxError, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

fn context(values: &Map<String, Value>) -> TemplateValue {
    let values = values.iter().map(|(name, value)| (name.clone(), template_value(value)));
    TemplateValue::from(values.collect::<BTreeMap<String, TemplateValue>>())
}

/// A value for templates. Numbers keep their type, which they would not by way of serde with numbers of
/// any length.
fn template_value(value: &Value) -> TemplateValue {
    match value {
        Value::Null => TemplateValue::from(()),
        Value::Bool(truth) => TemplateValue::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => TemplateValue::from(integer),
            (None, Some(float)) => TemplateValue::from(float),
            (None, None) => TemplateValue::from(number.to_string()),
        },
        Value::String(text) => TemplateValue::from(text.clone()),
        Value::Array(items) => items.iter().map(template_value).collect(),
        Value::Object(entries) => context(entries),
    }
}
