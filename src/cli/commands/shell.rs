//! `mkpanda shell`: a shell or another command in the container of a package's build.

use std::sync::Arc;

use super::super::args::BuildArgs;
use super::super::error::CliError;
use super::super::settings::Settings;
use super::super::shell_args::ShellArgs;
use super::super::shell_error::ShellCommandError;
use super::super::ui::{RunEnding, Weight, attached};
use super::at_hand::OpenedProject;
use super::{Context, at_hand, ending, requested};
use crate::base::escape::shell_word;
use crate::base::event::{Interruptible, Observer};
use crate::build::history::{self, PastBuild};
use crate::build::kept;
use crate::build::project::{Project, ProjectError};
use crate::build::shell::{Shell, ShellCores, ShellInputs};
use crate::container::helper::Interrupt;
use crate::package::PackageId;

/// Runs a shell or a command; gives the command's exit code.
pub fn run(context: &Context<'_>, args: &ShellArgs) -> Result<u8, CliError> {
    let terminal = attached::has_terminal();
    if args.command.is_empty() && !terminal && args.spec.is_none() {
        return Err(ShellCommandError::NoTerminal(args.package.clone()).into());
    }
    let OpenedProject { settings, progress, interrupt, project } =
        at_hand::open_project(context, args.jobs)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let opened = open(context, args, &settings, &project, &interrupt, observer);
    // In place of the error, which is that of whatever the interruption ended.
    if interrupt.is_raised() {
        progress.finish(RunEnding::Interrupted, 0);
        return Err(ProjectError::Interrupted.into());
    }
    progress.finish(ending(&opened), 0);
    // Before anything else is drawn, with all that it has to say.
    drop(progress);
    let (id, shell) = opened?;
    let command = (!args.command.is_empty()).then_some(args.command.as_slice());
    if let Some(spec) = &args.spec {
        let folder = context.folder()?.join(spec);
        let written = shell.write_bundle(command, &folder);
        if interrupt.is_raised() {
            return Err(ProjectError::Interrupted.into());
        }
        written?;
        context.print_path(&folder);
        return Ok(0);
    }
    announce(context, &id, &shell, args);
    let kind = context.environment.get("TERM").map(str::to_owned);
    let ended = if terminal {
        let terminal = Some((attached::terminal_size(), kind));
        shell.run(command, terminal, attached::attend_terminal)
    } else {
        shell.run(command, None, attached::attend_pipes)
    };
    if interrupt.is_raised() {
        return Err(ProjectError::Interrupted.into());
    }
    let ended = ended?;
    for line in ended.messages.lines() {
        context.printer.line(Weight::Warning, line);
    }
    Ok(u8::try_from(ended.code).unwrap_or(1))
}

/// Tells once how the script is started by hand.
fn announce(context: &Context<'_>, id: &PackageId, shell: &Shell, args: &ShellArgs) {
    if !args.command.is_empty() {
        return;
    }
    let quoted = |word: &String| {
        let is_plain =
            |letter: char| letter.is_ascii_alphanumeric() || "/._-+=:,@%".contains(letter);
        if word.chars().all(is_plain) { word.clone() } else { shell_word(word) }
    };
    let words: Vec<String> = shell.script().iter().map(quoted).collect();
    let state = if args.failed { "as its script left it" } else { "before its script runs" };
    let script = words.join(" ");
    let text = format!("in the container of {id}, {state}; the script: {script}");
    context.printer.line(Weight::Progress, &text);
}

fn open(
    context: &Context<'_>,
    args: &ShellArgs,
    settings: &Settings,
    project: &Project,
    interrupt: &Arc<Interrupt>,
    observer: &dyn Observer,
) -> Result<(PackageId, Shell), CliError> {
    let inputs = if args.failed {
        failed(context, args, project)?
    } else {
        fresh(context, args, settings, project, observer)?
    };
    let (cores, jobserver) = super::cores(settings);
    let runner = super::runner_settings(context, settings, interrupt);
    let id = inputs.build.id.clone();
    let cores = ShellCores { cores, jobserver };
    Ok((id, Shell::open(&runner, inputs, cores, observer)?))
}

/// Inputs of a build before its script runs.
fn fresh(
    context: &Context<'_>,
    args: &ShellArgs,
    settings: &Settings,
    project: &Project,
    observer: &dyn Observer,
) -> Result<ShellInputs, CliError> {
    let build_args = BuildArgs { jobs: args.jobs, ..BuildArgs::default() };
    let options = super::build_options(settings, &build_args)?;
    let (key, _) = at_hand::typed_key(&context.folder()?, &project.tree, &args.package)?;
    let wanted = std::slice::from_ref(&key);
    let (identified, mut plan) = requested::plan_with_sources(project, wanted, &options, observer)?;
    plan.entries.retain(|entry| entry.key != key);
    project.build(&identified, &plan, &options, observer)?;
    let inputs = project.inputs(&identified, &key, &options, observer)?;
    Ok(ShellInputs {
        build: inputs.request.package,
        sources: inputs.sources,
        registration: Some(inputs.registration),
        kept: None,
    })
}

/// What a failed build left.
fn failed(
    context: &Context<'_>,
    args: &ShellArgs,
    project: &Project,
) -> Result<ShellInputs, CliError> {
    let (key, _) = at_hand::typed_key(&context.folder()?, &project.tree, &args.package)?;
    let variant = args.package.contains(':').then_some(&key.variant);
    let found = kept::find(project.home(), project.cache.root(), &key.name, variant);
    let found = found.map_err(ProjectError::Home)?;
    let Some(kept) = found else {
        let builds = history::of_name(project.home(), &key.name).map_err(ProjectError::Home)?;
        let place = builds.into_iter().next().filter(PastBuild::has_failed);
        let package = args.package.clone();
        return Err(match place.and_then(|build| build.ran_on) {
            Some(place) => ShellCommandError::RanElsewhere { package, place },
            None => ShellCommandError::NothingKept(package),
        }
        .into());
    };
    let build = kept.build.package.clone();
    Ok(ShellInputs { build, sources: Vec::new(), registration: None, kept: Some(kept) })
}
