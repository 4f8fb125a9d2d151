//! Settings with their origins: the option, the variable, or the line of a file that says so, or the default.
//!
//! The value of a setting is that of [`Settings`], by which commands go. Its origin is the nearest place that says
//! the same: which place counts depends on the setting (a tree may lower limits, but not raise them), and only
//! [`Settings`] knows.

mod assignments;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::args::GlobalArgs;
use super::config::read_text;
use super::environment::{Environment, variable_of};
use super::executor_args::ExecutorArg;
use super::given::GivenValues;
use super::settings::Settings;
use super::settings_error::SettingsError;
use super::value::Text;
use crate::base::http::redact_text;
pub use assignments::ValueOrigin;
use assignments::{Assignment, lines};

/// A setting with its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Key, as in configuration files.
    pub key: String,
    /// Value; null where there is none.
    pub value: Value,
    /// Origin.
    pub origin: ValueOrigin,
}

/// Form of a setting, by which values are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SettingForm {
    Text,
    Flag,
    Size,
    Duration,
    Path,
}

/// A setting that an option, a variable and each file can say.
struct SettingSpec {
    key: &'static str,
    form: SettingForm,
    option: Option<(&'static str, Value)>,
    /// Value by which commands go.
    value: Value,
    /// Value to show where no place says anything.
    default: Value,
}

/// Settings of a run, with their origins.
pub fn settings(
    args: &GlobalArgs,
    environment: &Environment,
    tree: &Path,
    settings: &Settings,
) -> Result<Vec<Setting>, SettingsError> {
    let mut assignments = Vec::new();
    // Read once more, as text: the parsed files know no lines.
    for path in GivenValues::read(environment, Some(tree))?.paths() {
        if let Some(text) = read_text(&path)? {
            assignments.extend(lines(&path, &text));
        }
    }
    let specs = setting_specs(args, settings);
    let mut shown = vec![home(environment, settings)];
    shown.extend(specs.iter().map(|spec| resolve(spec, &assignments, environment)));
    shown.push(by_presence(
        "mirrors",
        ("--mirror", &args.mirror),
        Some("MIRROR"),
        &assignments,
        environment,
    ));
    let repository: Vec<String> = args.repository_url.iter().cloned().collect();
    let typed_url = ("--repository-url", repository.as_slice());
    let variable = Some("REPOSITORY_URL");
    shown.push(by_presence("repository_url", typed_url, variable, &assignments, environment));
    shown.extend(typed("cache", "--cache", &args.cache));
    shown.extend(typed("require_signature", "--require-signature", &args.require_signature));
    let alone: BTreeSet<&str> = shown.iter().map(|setting| setting.key.as_str()).collect();
    // Keys of tables, the nearest place first.
    let mut tables: Vec<Setting> = Vec::new();
    for line in &assignments {
        let is_said = tables.iter().any(|setting| setting.key == line.key);
        if !is_said && !alone.contains(line.key.as_str()) {
            tables.push(Setting {
                key: line.key.clone(),
                value: without_secrets(&line.key, &line.value),
                origin: line.origin.clone(),
            });
        }
    }
    shown.extend(tables);
    shown.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(shown)
}

/// Settings that have one value.
fn setting_specs(args: &GlobalArgs, settings: &Settings) -> Vec<SettingSpec> {
    fn name<T: ValueEnum>(choice: Option<T>) -> Value {
        let name =
            choice.and_then(|choice| Some(choice.to_possible_value()?.get_name().to_owned()));
        name.map_or(Value::Null, Value::from)
    }
    let flag = |name: &'static str, is_typed: bool| is_typed.then(|| (name, Value::from(true)));
    let choice = |key, name_of: &'static str, typed: Value, value: Value| SettingSpec {
        key,
        form: SettingForm::Text,
        option: (!typed.is_null()).then_some((name_of, typed)),
        default: value.clone(),
        value,
    };
    let plain = |key, form, value: Value| SettingSpec {
        key,
        form,
        option: None,
        default: value.clone(),
        value,
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let path_of = |path: Option<&PathBuf>| json!(path.map(|path| path.display().to_string()));
    let scratch = settings.scratch.as_ref().map(|path| path.display().to_string());
    let seconds = settings.time_limit.as_secs();
    vec![
        choice("isolation", "--isolation", name(args.isolation), name(settings.isolation)),
        choice("network", "--network", name(args.network), name(Some(settings.network))),
        choice("jobserver", "--jobserver", name(args.jobserver), name(Some(settings.jobserver))),
        choice(
            "compression",
            "--compression",
            name(args.compression),
            name(Some(settings.compression)),
        ),
        choice("progress", "--progress", name(args.progress), name(Some(settings.progress))),
        plain("jobs", SettingForm::Text, settings.jobs.map_or_else(|| json!(cores()), Value::from)),
        SettingSpec {
            option: flag("--offline", args.offline),
            ..plain(
                "offline",
                SettingForm::Flag,
                (settings.offline && !settings.only_mirrors).into(),
            )
        },
        SettingSpec {
            option: flag("--only-mirrors", args.only_mirrors),
            ..plain("only_mirrors", SettingForm::Flag, settings.only_mirrors.into())
        },
        SettingSpec {
            option: flag("--die-with-parent", args.die_with_parent),
            ..plain("die_with_parent", SettingForm::Flag, settings.die_with_parent.into())
        },
        SettingSpec {
            option: args
                .scratch
                .as_ref()
                .map(|path| ("--scratch", json!(path.display().to_string()))),
            default: json!(settings.home.join("scratch").display().to_string()),
            ..plain("scratch", SettingForm::Path, json!(scratch))
        },
        plain(
            "keep_failed",
            SettingForm::Duration,
            json!(settings.keep_failed.map(|age| format!("{}ms", age.as_millis()))),
        ),
        plain("source_date_epoch", SettingForm::Text, settings.source_date_epoch.into()),
        plain(
            "root_range",
            SettingForm::Text,
            json!(settings.root_range.map(|(first, count)| [first, count])),
        ),
        SettingSpec {
            default: json!(format!("{}h", seconds / 3600)),
            ..plain(
                "limits.time",
                SettingForm::Duration,
                json!(format!("{}ms", settings.time_limit.as_millis())),
            )
        },
        plain("limits.memory", SettingForm::Size, json!(settings.memory_limit)),
        plain("limits.processes", SettingForm::Text, json!(settings.process_limit)),
        plain("limits.log", SettingForm::Size, json!(settings.log_limit)),
        plain("limits.unpacked", SettingForm::Size, json!(settings.archive_limits().max_bytes)),
        plain("limits.entries", SettingForm::Text, json!(settings.archive_limits().max_entries)),
        plain(
            "builders.registry",
            SettingForm::Text,
            json!(settings.builders.registry.as_ref().map(ToString::to_string)),
        ),
        plain("builders.push", SettingForm::Flag, settings.builders.push.into()),
        plain(
            "executor.kind",
            SettingForm::Text,
            name(Some(settings.executor.kind.unwrap_or(ExecutorArg::Local))),
        ),
        plain("executor.folder", SettingForm::Path, path_of(settings.executor.folder.as_ref())),
        plain("executor.program", SettingForm::Path, path_of(settings.executor.program.as_ref())),
        plain("remote.executor", SettingForm::Text, json!(settings.executor.remote.executor)),
        plain("remote.instance", SettingForm::Text, json!(settings.executor.remote.instance)),
    ]
}

/// The nearest place that says what commands go by.
fn resolve(spec: &SettingSpec, assignments: &[Assignment], environment: &Environment) -> Setting {
    let here = PathBuf::new();
    let option = spec
        .option
        .iter()
        .map(|(name, value)| (value.clone(), ValueOrigin::Option { name }, here.clone()));
    let variable = variable_of(spec.key).and_then(|name| {
        let origin = ValueOrigin::Variable { name: name.to_owned() };
        Some((Value::from(environment.get(name)?), origin, here.clone()))
    });
    let files = assignments.iter().filter(|line| line.key == spec.key);
    let files = files.map(|line| (line.value.clone(), line.origin.clone(), line.base.clone()));
    let wanted = canonical(spec.form, &spec.value, &here);
    let found = option
        .chain(variable)
        .chain(files)
        .find(|(value, _, base)| canonical(spec.form, value, base) == wanted);
    let (value, origin) = match found {
        Some((value, origin, _)) => (value, origin),
        None => (spec.default.clone(), ValueOrigin::Default),
    };
    let key = spec.key.to_owned();
    Setting { value: without_secrets(&key, &value), key, origin }
}

/// A value as it is compared.
fn canonical(form: SettingForm, value: &Value, base: &Path) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let as_text = || Text { origin: String::new(), value: text.clone() };
    let read = match form {
        SettingForm::Text => Some(text.to_lowercase()),
        // As `boolean` reads variables, so that both spellings are found.
        SettingForm::Flag => Some((text == "1" || text == "true").to_string()),
        SettingForm::Size => as_text().size().ok().map(|bytes| bytes.to_string()),
        SettingForm::Duration => as_text().duration().ok().map(|time| time.as_millis().to_string()),
        SettingForm::Path if value.is_null() => None,
        SettingForm::Path => {
            let path = std::path::absolute(base.join(&text)).ok();
            path.map(|path| path.display().to_string())
        }
    };
    read.unwrap_or(text)
}

/// A setting whose first place counts, whatever others say.
fn by_presence(
    key: &str,
    (option, typed): (&'static str, &[String]),
    variable: Option<&str>,
    assignments: &[Assignment],
    environment: &Environment,
) -> Setting {
    let variable = variable.map(|name| format!("MKPANDA_{name}"));
    let set = variable.and_then(|name| Some((environment.get(&name)?.to_owned(), name)));
    let (value, origin) = if !typed.is_empty() {
        (json!(typed), ValueOrigin::Option { name: option })
    } else if let Some((text, name)) = set {
        (json!(text), ValueOrigin::Variable { name })
    } else if let Some(line) = assignments.iter().find(|line| line.key == key) {
        (line.value.clone(), line.origin.clone())
    } else {
        (Value::Null, ValueOrigin::Default)
    };
    Setting { key: key.to_owned(), value: without_secrets(key, &value), origin }
}

/// Values of an option that adds to those of files.
fn typed(key: &str, option: &'static str, values: &[String]) -> Option<Setting> {
    // The URL of a cache may have a password.
    let value = without_secrets(key, &json!(values));
    let origin = ValueOrigin::Option { name: option };
    (!values.is_empty()).then(|| Setting { key: key.to_owned(), value, origin })
}

/// The builder's own folder.
fn home(environment: &Environment, settings: &Settings) -> Setting {
    let variables = ["MKPANDA_HOME", "XDG_DATA_HOME", "HOME"];
    let name = variables.into_iter().find(|name| environment.get(name).is_some());
    let origin =
        name.map_or(ValueOrigin::Default, |name| ValueOrigin::Variable { name: name.to_owned() });
    let value = json!(settings.home.display().to_string());
    Setting { key: "home".to_owned(), value, origin }
}

/// Text in the place of a secret.
const HIDDEN: &str = "(not shown)";

/// A value without passwords: neither those of credentials nor those in URLs.
fn without_secrets(key: &str, value: &Value) -> Value {
    match value {
        // The name of a variable is not a secret.
        Value::String(text)
            if (key.starts_with("credentials.") && key.ends_with(".password")
                || key.starts_with("remote.headers."))
                && !text.starts_with('$') =>
        {
            Value::from(HIDDEN)
        }
        Value::String(text) => Value::from(redact_text(text)),
        Value::Array(values) => values.iter().map(|value| without_secrets(key, value)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
