//! `mkpanda image build`: a Dockerfile into an image of the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::args::ImageBuildArgs;
use super::super::error::CliError;
use super::super::settings::Settings;
use super::Context;
use super::image_context::{self, bad};
use crate::base::event::{Interruptible, Observer};
use crate::container::helper::Interrupt;
use crate::dockerfile::ImageBuildOptions;
use crate::dockerfile::builder::{ImageBuilder, log_name};
use crate::dockerfile::options::{ContextLocation, Hidden, SecretLocation};
use crate::image::pins::ImagePins;
use crate::image::platform::PlatformError;
use crate::image::store::ImageStore;

/// Builds an image; returns its id, which is printed unless stdout receives the image itself.
pub(super) fn run(
    context: &Context<'_>,
    settings: &Settings,
    store: &ImageStore,
    args: &ImageBuildArgs,
    observer: &dyn Observer,
) -> Result<String, CliError> {
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(observer, || interrupt.is_raised());
    let runner = super::runner_settings(context, settings, &interrupt);
    let fetch = super::fetch_options(context, settings, &runner.home);
    let registry = super::registry_client(settings);
    let builder = ImageBuilder {
        runner: &runner,
        store,
        registry: &registry,
        pins: &ImagePins::default(),
        fetch: &fetch,
        pulls: args.pull,
        shows_output: context.global.verbose > 0,
        only_cached: false,
    };
    let mut options = options(context, settings, args)?;
    // After the options: a wrong option is reported before anything is fetched.
    let named = pairs("--build-context", &args.build_context)?;
    let (contexts, _brought) = image_context::named(context, named, &builder, observer)?;
    options.contexts = contexts;
    let inputs = image_context::context_inputs(context, args, &builder, observer)?;
    (options.context, options.dockerfile) = (inputs.context, inputs.dockerfile);
    let built = builder
        .build(&log_name(&options.names, &inputs.name), &options, observer)
        .map_err(|error| CliError::Dockerfile(Box::new(error)))?;
    // Kept until here: the folder of a fetched context goes with the value.
    drop(inputs.brought);
    let names: Vec<String> = options.names.iter().map(crate::image::ImageRef::familiar).collect();
    let name = if names.is_empty() { "<none>".to_owned() } else { names.join(" ") };
    let to_stdout = |output: &String| output == "-" || output.ends_with(":-");
    // The id would be in the middle of an archive.
    if !args.output.as_ref().is_some_and(to_stdout) {
        context.printer.data(&format!("{}  {name}\n", built.id));
    }
    Ok(built.id.to_string())
}

fn options(
    context: &Context<'_>,
    settings: &Settings,
    args: &ImageBuildArgs,
) -> Result<ImageBuildOptions, CliError> {
    let base = context.folder()?;
    let platform = args.platform.as_deref().map(|text| {
        text.parse()
            .map_err(|_error: PlatformError| bad("--platform", text, "expected OS/ARCH[/VARIANT]"))
    });
    Ok(ImageBuildOptions {
        shared_as: None,
        cache_scope: None,
        // Found when all else is known to be right.
        context: ContextLocation::Empty,
        dockerfile: None,
        names: args.tag.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        arguments: arguments(context, args),
        target: args.target.clone(),
        platform: platform.transpose()?,
        no_cache: args.no_cache,
        secrets: secrets(context, &base, args)?,
        agents: agents(context, args)?,
        contexts: BTreeMap::new(),
        network: super::run_network(context.global.network),
        labels: pairs("--label", &args.label)?,
        source_date_epoch: settings.source_date_epoch,
    })
}

fn pairs(option: &'static str, texts: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    let checked = |text| pair(text).ok_or_else(|| bad(option, text, "expected NAME=VALUE"));
    texts.iter().map(checked).collect()
}

fn arguments(context: &Context<'_>, args: &ImageBuildArgs) -> BTreeMap<String, String> {
    let argument = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        // As Docker: a name alone takes the variable's value, and is passed over if that is not
        // set.
        None => Some((text.clone(), context.environment.get(text)?.to_owned())),
    };
    args.build_arg.iter().filter_map(argument).collect()
}

fn secrets(
    context: &Context<'_>,
    base: &Path,
    args: &ImageBuildArgs,
) -> Result<BTreeMap<String, SecretLocation>, CliError> {
    let mut secrets = BTreeMap::new();
    for text in &args.secret {
        let (mut id, mut kind, mut source, mut variable) = (None, None, None, None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("id", name)) => id = Some(name.to_owned()),
                Some(("src" | "source", path)) => source = Some(path.to_owned()),
                Some(("env", name)) => variable = Some(name.to_owned()),
                Some(("type", "env" | "file")) => kind = part.split_once('=').map(|it| it.1),
                _ => {
                    let problem =
                        "expected id=NAME,src=FILE or id=NAME,env=VARIABLE; type is file or env";
                    return Err(bad("--secret", text, problem));
                }
            }
        }
        let Some(id) = id else { return Err(bad("--secret", text, "it has no id")) };
        if source.is_some() && variable.is_some() {
            return Err(bad("--secret", text, "it has both a file and a variable"));
        }
        // `src` names a variable where the type says so, as docker has it.
        let (file, variable) = match (kind, variable) {
            (Some("env"), variable) => (None, variable.or(source).or_else(|| Some(id.clone()))),
            (Some(_), Some(_)) => {
                return Err(bad("--secret", text, "a variable has not the type file"));
            }
            (_, variable) => (source, variable),
        };
        let value = |name: &str| context.environment.get(name).map(str::to_owned);
        let place = match (file, variable) {
            (_, Some(name)) => SecretLocation::Value(Hidden(value(&name).ok_or_else(|| {
                bad("--secret", text, &format!("the variable {name} is not set"))
            })?)),
            (Some(path), None) => SecretLocation::File(base.join(path)),
            // As Docker: `id` alone is a variable of that name or, without one, a file.
            (None, None) => match value(&id).filter(|_| kind.is_none()) {
                Some(value) => SecretLocation::Value(Hidden(value)),
                None => SecretLocation::File(base.join(&id)),
            },
        };
        secrets.insert(id, place);
    }
    Ok(secrets)
}

fn agents(
    context: &Context<'_>,
    args: &ImageBuildArgs,
) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let mut agents = BTreeMap::new();
    for text in &args.ssh {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) => (id, Some(socket)),
            None => (text.as_str(), context.environment.get("SSH_AUTH_SOCK")),
        };
        let socket = socket.ok_or_else(|| bad("--ssh", text, "SSH_AUTH_SOCK is not set"))?;
        agents.insert(id.to_owned(), PathBuf::from(socket));
    }
    Ok(agents)
}
