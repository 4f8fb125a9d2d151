//! `mkpanda rebuild --check`: builds packages again, and compares.

use std::fmt::Write as _;
use std::path::Path;
use std::path::PathBuf;

use super::super::args::BuildArgs;
use super::super::error::CliError;
use super::super::job_args::RebuildArgs;
use super::super::tool_error::ToolError;
use super::at_hand::OpenedProject;
use super::{Context, at_hand, ending, requested};
use crate::base::atomic::{AtomicFile, TemporaryFolder};
use crate::base::event::{Interruptible, Observer};
use crate::build::project::{BuildOptions, IdentifiedPackages, Project};
use crate::build::record::{self, Record};
use crate::build::supply::BuildError;
use crate::package::PackageId;
use crate::portable::{
    self, ArchiveComparison, BuildTimes, ExportOptions, JobFolder, JobLimits, JobRunOptions,
    PortableJobError,
};
use crate::runner::scratch::InputsFolder;
use crate::tree::PackageKey;

/// Builds packages again, and compares them with those of the cache.
pub fn run(context: &Context<'_>, args: &RebuildArgs) -> Result<(), CliError> {
    let OpenedProject { settings, progress, interrupt, project } =
        at_hand::open_project(context, None)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let build_args = BuildArgs {
        dry_run: false,
        jobs: None,
        keep_going: false,
        dont_clean_after_build: false,
        ..BuildArgs::default()
    };
    let (cores, jobserver) = super::cores(&settings);
    let again = Again {
        folder: context.folder()?,
        project: &project,
        options: super::build_options(&settings, &build_args)?,
        run: JobRunOptions {
            out: None,
            runner: super::runner_settings(context, &settings, &interrupt),
            cores,
            jobserver,
            shows_output: context.global.verbose > 0,
        },
    };
    let mut compared = Vec::new();
    let result = again.all(&args.packages, &mut compared, observer);
    progress.finish(ending(&result), 0);
    // Those before the one that failed, too.
    for (id, comparison) in &compared {
        context.printer.data(&text(id, comparison));
    }
    result?;
    let is_other =
        |(_, comparison): &&(_, ArchiveComparison)| *comparison != ArchiveComparison::SameBytes;
    let differ = compared.iter().filter(is_other).count();
    if differ == 0 { Ok(()) } else { Err(ToolError::NotReproducible(differ).into()) }
}

/// Packages that are built again.
struct Again<'a> {
    folder: PathBuf,
    project: &'a Project,
    options: BuildOptions,
    run: JobRunOptions,
}

impl Again<'_> {
    fn all(
        &self,
        names: &[String],
        compared: &mut Vec<(PackageId, ArchiveComparison)>,
        observer: &dyn Observer,
    ) -> Result<(), CliError> {
        let mut wanted: Vec<PackageKey> = Vec::new();
        for name in names {
            let (key, _) = at_hand::typed_key(&self.folder, &self.project.tree, name)?;
            if !wanted.contains(&key) {
                wanted.push(key);
            }
        }
        let (identified, _) =
            requested::plan_with_sources(self.project, &wanted, &self.options, observer)?;
        let mut ids = wanted
            .iter()
            .filter_map(|key| identified.identities.get(key))
            .map(|identity| &identity.id);
        // All of them first: a build may take hours.
        if let Some(id) = ids.find(|id| !self.project.cache.has(id)) {
            return Err(ToolError::NotInCache(id.clone()).into());
        }
        for key in &wanted {
            compared.push(self.one(&identified, key, observer)?);
        }
        Ok(())
    }

    fn one(
        &self,
        identified: &IdentifiedPackages,
        key: &PackageKey,
        observer: &dyn Observer,
    ) -> Result<(PackageId, ArchiveComparison), CliError> {
        let inputs = self.project.inputs(identified, key, &self.options, observer)?;
        let id = inputs.request.package.id.clone();
        let archive = self.project.cache.archive(&id);
        let file = |source| PortableJobError::File { doing: "make a scratch folder", source };
        let home = self.project.home();
        let scratch = InputsFolder::create(home).map_err(file)?;
        let place = TemporaryFolder::create(&scratch.path()).map_err(file)?;
        let folder = place.path().join("job");
        let options = ExportOptions {
            limits: JobLimits::default(),
            tier: None,
            failed: false,
            program: None,
        };
        portable::export(self.project, &inputs, &folder, &options)?;
        let began = now();
        let package = portable::run(&JobFolder::open(&folder)?, &self.run, observer)
            .map_err(|error| self.keep_log(&id, error))?;
        let first = record::read::<Record>(&home.build(&id)).map_or(began, |record| record.began);
        let times = BuildTimes { first, second: began };
        Ok((id, self.compare(&archive, &package, times)?))
    }

    /// Keeps the log of a build that failed beside that of the package's own build, as the job's folder goes.
    fn keep_log(&self, id: &PackageId, error: PortableJobError) -> PortableJobError {
        let PortableJobError::Build(mut build) = error else { return error };
        if let BuildError::Failed(failed) = &mut *build
            && let Some(log) = failed.log.take()
        {
            let kept = self.project.home().build(id).join("rebuild.log");
            let copied = fs_err::File::open(log).and_then(|mut log| {
                let mut file = AtomicFile::create(&kept)?;
                std::io::copy(&mut log, file.file())?;
                file.commit()
            });
            // A log that could not be kept is not named: the error of the build matters more.
            failed.log = copied.is_ok().then_some(kept);
        }
        PortableJobError::Build(build)
    }

    fn compare(
        &self,
        one: &Path,
        other: &Path,
        times: BuildTimes,
    ) -> Result<ArchiveComparison, CliError> {
        let (limits, interrupt) = (self.project.archive_limits(), self.project.interrupt());
        portable::compare(one, other, times, &limits, interrupt).map_err(|source| {
            if interrupt.is_raised() {
                return PortableJobError::Interrupted.into();
            }
            ToolError::Compare(Box::new(source)).into()
        })
    }
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs()
}

fn text(id: &PackageId, comparison: &ArchiveComparison) -> String {
    let (entries, differences) = match comparison {
        ArchiveComparison::SameBytes => return format!("{id}: the same bytes again\n"),
        ArchiveComparison::SameEntries => {
            return format!(
                "{id}: the same contents, but other bytes: another version of mkpanda built it\n"
            );
        }
        ArchiveComparison::Different { entries, differences } => (entries, differences),
    };
    let count = differences.len();
    let mut text = format!("{id}: {count} of {entries} entries differ\n");
    for difference in differences {
        _ = writeln!(text, "  {} {}", difference.path, difference.what);
        for cause in &difference.causes {
            _ = writeln!(text, "    likely cause: {cause}");
        }
    }
    text
}
