//! `mkpanda job`: portable jobs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::args::{BuildArgs, FormatArg, GlobalArgs};
use super::super::error::CliError;
use super::super::job_args::{JobCommand, JobExportArgs, JobRunArgs, JobShowArgs};
use super::super::settings::{DEFAULT_TIME_LIMIT, Settings};
use super::super::ui::Printer;
use super::super::ui::columns::{Columns, stdout_width};
use super::at_hand::OpenedProject;
use super::{Context, at_hand, ending, requested};
use crate::archive::ArchiveLimits;
use crate::base::event::{Event, Interruptible, Observer};
use crate::build::project::{BuildOptions, Project};
use crate::container::helper::Interrupt;
use crate::portable::{
    self, ExportOptions, JobDocument, JobFolder, JobImage, JobLimits, JobRecord, JobRunOptions,
    PortableJobError, Unable,
};
use crate::runner::own_folder;
use crate::runner::session::LOG_LIMIT;

/// Carries out a command for portable jobs.
pub fn run(context: &Context<'_>, command: &JobCommand) -> Result<(), CliError> {
    match command {
        JobCommand::Export(args) => export(context, args),
        JobCommand::Run(args) => carry_out(context, args),
        JobCommand::Show(args) => show(context, args),
    }
}

fn export(context: &Context<'_>, args: &JobExportArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let target = folder.join(&args.target);
    let OpenedProject { settings, progress, interrupt, project } =
        at_hand::open_project(context, args.jobs)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let build_args = BuildArgs {
        dry_run: false,
        jobs: args.jobs,
        keep_going: false,
        dont_clean_after_build: false,
        ..BuildArgs::default()
    };
    let build = super::build_options(&settings, &build_args)?;
    let program = args.program.as_ref().map(|program| folder.join(program));
    let options = ExportOptions {
        limits: limits(&settings),
        tier: super::tier(&settings),
        failed: args.failed,
        program: program.as_deref(),
    };
    let result = make(&project, (&folder, &args.package), &target, &build, &options, observer);
    progress.finish(ending(&result), 0);
    result.inspect(|()| context.print_path(&target))
}

fn make(
    project: &Project,
    (folder, name): (&Path, &str),
    target: &Path,
    build: &BuildOptions,
    options: &ExportOptions<'_>,
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let (key, _) = at_hand::typed_key(folder, &project.tree, name)?;
    let wanted = std::slice::from_ref(&key);
    let (identified, mut plan) = requested::plan_with_sources(project, wanted, build, observer)?;
    // What the package requires is built; the package itself is the job's to build.
    plan.entries.retain(|entry| entry.key != key);
    project.build(&identified, &plan, build, observer)?;
    let inputs = project.inputs(&identified, &key, build, observer)?;
    Ok(portable::export(project, &inputs, target, options)?)
}

/// Limits of the settings that differ from the defaults.
pub(super) fn limits(settings: &Settings) -> JobLimits {
    let archives = ArchiveLimits::default();
    // A job has the same bytes wherever it is made, unless somebody set a limit.
    let unless = |limit: Option<u64>, default: u64| limit.filter(|limit| *limit != default);
    JobLimits {
        time: unless(Some(settings.time_limit.as_secs()), DEFAULT_TIME_LIMIT.as_secs()),
        memory: settings.memory_limit,
        processes: settings.process_limit,
        log: unless(Some(settings.log_limit), LOG_LIMIT),
        unpacked: unless(settings.unpacked_limit, archives.max_bytes),
        entries: unless(settings.entry_limit, archives.max_entries),
    }
}

fn carry_out(context: &Context<'_>, args: &JobRunArgs) -> Result<(), CliError> {
    let environment = with_home(context)?;
    let context = &Context {
        global: context.global,
        environment: environment.as_ref().unwrap_or(context.environment),
        printer: context.printer,
        parent: context.parent,
        pkgpanda: context.pkgpanda,
    };
    let unable = |error| CliError::Unable(Box::new(error));
    // Always, without a setting: an engine that ends or kills its worker must not leave a build
    // behind.
    context.parent.die_with().map_err(|errno| unable(CliError::Signals(errno.into())))?;
    let folder = match context.folder() {
        // A working directory that cannot be used is the machine's fault, a typed one the caller's.
        Err(error) if context.global.directory.is_none() => return Err(unable(error)),
        folder => folder?,
    };
    let job = JobFolder::open(&folder.join(&args.folder))?;
    let settings = match context.settings(None, None) {
        Err(error) if is_of_machine(context, &error) => return Err(unable(error)),
        settings => settings?,
    };
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt).map_err(unable)?;
    let to_stdout = LogToStdout { observer: &progress, printer: context.printer };
    let shown: &dyn Observer = if args.log_to_stdout { &to_stdout } else { &progress };
    let observer = &Interruptible::new(shown, || interrupt.is_raised());
    let (cores, jobserver) = super::cores(&settings);
    let options = JobRunOptions {
        out: args.out.as_ref().map(|out| folder.join(out)),
        runner: super::runner_settings(context, &settings, &interrupt),
        cores,
        jobserver,
        shows_output: context.global.verbose > 0 || args.log_to_stdout,
    };
    let result = portable::run(&job, &options, observer).map_err(CliError::from);
    progress.finish(ending(&result), 0);
    let package = result?;
    if !args.log_to_stdout {
        context.print_path(&package);
    }
    Ok(())
}

/// Observer that puts the output of the build on stdout: engines pass a program's stdout on while it runs.
struct LogToStdout<'a> {
    observer: &'a dyn Observer,
    printer: Printer,
}

impl Observer for LogToStdout<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Output { line, .. } => self.printer.data(&format!("{line}\n")),
            event => self.observer.event(event),
        }
    }
}

/// True if the settings fail without the options of the command line, too: then other options do not help.
fn is_of_machine(context: &Context<'_>, error: &CliError) -> bool {
    let is_option = || {
        let untyped = GlobalArgs::default();
        Settings::work_out(&untyped, None, context.environment, None).is_ok()
    };
    !(matches!(error, CliError::Settings(_)) && is_option())
}

/// Environment with a folder for the builder in the machine's folder for temporary files, if no variable
/// names one: workers of engines start programs without an environment.
fn with_home(
    context: &Context<'_>,
) -> Result<Option<super::super::environment::Environment>, CliError> {
    let environment = context.environment;
    let is_set = |name: &str| environment.get(name).is_some() || environment.is_unreadable(name);
    if ["MKPANDA_HOME", "XDG_DATA_HOME", "HOME"].into_iter().any(is_set) {
        return Ok(None);
    }
    let above = PathBuf::from(environment.get("TMPDIR").unwrap_or("/tmp"));
    let path = above.join(format!("mkpanda-home-{}", nix::unistd::geteuid()));
    // The name is known beforehand, and others may write to the folder above.
    own_folder::make(&path).map_err(|source| PortableJobError::from(Unable::OwnHome(source)))?;
    Ok(Some(environment.with("MKPANDA_HOME", &path.to_string_lossy())))
}

fn show(context: &Context<'_>, args: &JobShowArgs) -> Result<(), CliError> {
    let job = JobFolder::open(&context.folder()?.join(&args.folder))?;
    match args.format {
        FormatArg::Json => context.printer.data(&job.document.text()),
        FormatArg::Text => {
            let record = JobRecord::read(&job.path().join("out"))
                .map_err(|source| PortableJobError::File { doing: "read the record", source })?;
            context.printer.data(&text(&job, record.as_ref()));
        }
    }
    Ok(())
}

fn text(job: &JobFolder, record: Option<&JobRecord>) -> String {
    let JobDocument { id, image, sources, dependencies, limits, tier, source_date_epoch, .. } =
        &job.document;
    let mut table = Columns::new(&["INPUT", "VALUE"]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("job", job.sum.to_string());
    match image {
        JobImage::Host { id } => row("image", format!("host {id}")),
        JobImage::Layers { id, layers } => {
            row("image", id.to_string());
            for layer in layers {
                row("layer", layer.hex().to_owned());
            }
        }
    }
    for source in sources {
        row(&format!("source {}", source.name), source.file.to_string());
    }
    for needed in dependencies {
        row("requires", needed.id.to_string());
    }
    row("source_date_epoch", source_date_epoch.to_string());
    let limits = serde_json::to_value(limits).unwrap_or_default();
    for (name, limit) in limits.as_object().into_iter().flatten() {
        row(&format!("limit {name}"), limit.to_string());
    }
    row("tier", tier.map_or_else(|| "any".to_owned(), |tier| tier.to_string()));
    // The folder may have been used for another job before.
    if let Some(record) = record.filter(|record| !record.is_of(job)) {
        row("outcome", format!("unknown: out/record.json is that of another job, {}", record.job));
    } else if let Some(record) = record {
        let message = record.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        row("outcome", format!("{}{message}", record.outcome.as_str()));
        if let Some(package) = &record.package {
            row("package", package.sha256.to_string());
        }
    }
    format!("{id}\n\n{}", table.text(stdout_width()))
}
