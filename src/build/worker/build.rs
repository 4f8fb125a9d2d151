//! The steps of a package's build inside its namespaces, in their order.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

use fs_err::OpenOptions;

use super::jobserver::{self, IdleCores, Membership};
use super::{package, stage, state};
use crate::archive::{self, PackError};
use crate::base::causes::with_causes;
use crate::base::digest::Tee;
use crate::base::escape::shell_argument;
use crate::base::event::Phase;
use crate::base::regular::open_regular;
use crate::base::times::{set_time, set_times};
use crate::build::job::{BuildJob, Built};
use crate::build::kept::STATE;
use crate::container::console::Streams;
use crate::container::inputs::BoundFolders;
use crate::install::PackageContents;
use crate::runner::command::{
    Attachments, CommandRoot, ContainerCommand, EarlierChanges, MountSource, Prepared, prepare_over,
};
use crate::runner::job::{Job, JobFailure, Performed, enter_phase};
use crate::runner::workspace::Workspace;
use crate::source::FetchedSource;

/// Upper limit of the first line of a script that names its interpreter, in bytes.
const LONGEST_SHEBANG: u64 = 4096;

impl Job for BuildJob {
    const KIND: &'static str = "build";
    type Answer = Built;

    fn perform(&self) -> Performed<'_, Built> {
        enter_phase(Phase::Prepare);
        let build = match RunningBuild::enter(self, []) {
            Ok(build) => build,
            Err(failure) => return Err(failure).into(),
        };
        let result = build.carry_out().map_err(|failure| build.kept(failure));
        if self.package.keep {
            // Before the parent moves them.
            close(&build.workspace);
        }
        let clear_up = move || {
            let keep = self.package.keep;
            // The parent removes the rest.
            drop(
                build
                    .workspace
                    .clear_up(|name| name == STATE || keep && (name == "src" || name == "result")),
            );
        };
        Performed { result, clear_up: Some(Box::new(clear_up)) }
    }
}

/// A build under way, inside the namespaces.
pub(super) struct RunningBuild<'a> {
    job: &'a BuildJob,
    pub(super) workspace: Workspace<'a>,
    output: File,
    pub(super) log: File,
    /// Changes that the script makes in the root, and the package's copy, from its start on.
    begun: OnceCell<(EarlierChanges, PathBuf)>,
}

impl<'a> RunningBuild<'a> {
    /// Enters the namespaces. `more` are further folders of the caller that the job needs.
    pub(super) fn enter<'p>(
        job: &'a BuildJob,
        more: impl IntoIterator<Item = &'p PathBuf>,
    ) -> Result<Self, JobFailure> {
        // Opened as the caller: the container's root may not reach them.
        let output = OpenOptions::new().write(true).open(&job.output).map_err(JobFailure::of)?;
        let log =
            OpenOptions::new().append(true).create(true).open(&job.log).map_err(JobFailure::of)?;
        let mut inputs = inputs(job);
        more.into_iter().for_each(|folder| inputs.add(folder));
        let workspace = Workspace::enter(&job.folders, inputs, job.command.network)?;
        let (output, log) = (output.into_parts().0, log.into_parts().0);
        Ok(Self { job, workspace, output, log, begun: OnceCell::new() })
    }

    fn carry_out(&self) -> Result<Built, JobFailure> {
        let built = self.prepare_and_run();
        let notes = built.map_err(|failure| self.workspace.explained(failure))?;
        enter_phase(Phase::Pack);
        let packed = self.check_result().and_then(|()| self.pack(notes));
        packed.map_err(|failure| self.workspace.explained(failure))
    }

    /// Runs the build script; returns remarks for the record.
    fn prepare_and_run(&self) -> Result<Vec<String>, JobFailure> {
        let job = self.job;
        let copy = self.lay_out()?;
        let script = package::entry(&copy, &job.package.build_script)?;
        if self.is_script_executed() {
            self.check_executable(&script)?;
        }
        let mut notes = Vec::new();
        let command = self.command(&copy)?;
        let (prepared, membership) = self.enter_container(&command, None)?;
        if matches!(job.command.root, CommandRoot::Host(_)) {
            notes.push("built in the machine's own root (image host)".to_owned());
        }
        notes.extend(membership.note);
        drop(self.begun.set((state::changes(&self.workspace, &prepared), copy)));
        enter_phase(Phase::Build);
        let attachments = Attachments {
            name: "the build script",
            log: &self.log,
            log_path: &job.log,
            inherited: membership.descriptors,
            recorder: None,
            streams: Streams::Log,
        };
        prepared.run(attachments).map_err(|failure| match self.remedy_of_script(&script) {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        })?;
        Ok(notes)
    }

    /// Makes the inputs of the build script; returns the copy of the package's folder.
    pub(super) fn lay_out(&self) -> Result<PathBuf, JobFailure> {
        self.check_out_sources()?;
        self.stage()?;
        let package = &self.job.package;
        package::copy(&self.workspace, &package.folder, package.source_date_epoch)
    }

    /// Installs what the package requires.
    pub(super) fn stage(&self) -> Result<(), JobFailure> {
        stage::stage(&self.workspace, self.job)
    }

    /// Makes the container of a command, over what an earlier one left. What the build's user may
    /// write to belongs to that user.
    pub(super) fn enter_container<'c>(
        &'c self,
        command: &'c ContainerCommand,
        changes: Option<&EarlierChanges>,
    ) -> Result<(Prepared<'c>, Membership), JobFailure> {
        let workspace = &self.workspace;
        let mut prepared = prepare_over(workspace, command, changes)?;
        let membership = jobserver::join(workspace, self.job, &mut prepared)?;
        let (uid, gid) = prepared.ids();
        // With one id every user is that id on disk, and what was kept has its owners already.
        if (uid, gid) != (0, 0) && !workspace.is_single() && changes.is_none() {
            own_tree(&workspace.scratch("src"), uid, gid)?;
            own_tree(&workspace.scratch("result"), uid, gid)?;
        }
        Ok((prepared, membership))
    }

    /// Keeps what the script left, if that is wanted.
    fn kept(&self, failure: JobFailure) -> JobFailure {
        let (true, Some((changes, copy))) = (self.job.package.keep_failed, self.begun.get()) else {
            return failure;
        };
        match state::collect(&self.workspace, changes, copy) {
            Ok(()) => failure,
            Err(error) => {
                let error = self.workspace.named_outside(&error.to_string());
                let unkept = format!(
                    "what the script left could not be kept: {error}; a home and a scratch folder on a disk of the machine can keep it"
                );
                let hint = failure.hint.iter().cloned().chain([unkept]).collect::<Vec<_>>();
                failure.with_hint(hint.join("\n"))
            }
        }
    }

    /// The build script as a command, with mounts of the package's copy.
    pub(super) fn command(&self, copy: &Path) -> Result<ContainerCommand, JobFailure> {
        let mut command = self.job.command.clone();
        for mount in &mut command.mounts {
            if let MountSource::Package(entry) = &mount.source {
                mount.source = MountSource::View(package::entry(copy, entry)?);
            }
        }
        Ok(command)
    }

    fn check_out_sources(&self) -> Result<(), JobFailure> {
        let (job, package) = (self.job, &self.job.package);
        let epoch = package.source_date_epoch;
        let sources = self.workspace.scratch("src");
        fs_err::create_dir(&sources).map_err(JobFailure::of)?;
        for (name, fetched) in &job.sources {
            let fetched = self.in_view(fetched);
            let cores = IdleCores::take(&self.workspace, job);
            let limits = cores.limits(&job.folders.limits);
            let place = sources.join(name.as_str());
            crate::source::check_out(&fetched, &place, &limits).map_err(|error| {
                let failure = JobFailure::of(error);
                JobFailure { message: format!("source {name}: {}", failure.message), ..failure }
            })?;
            drop(cores);
            match &fetched {
                FetchedSource::File { .. } => set_times(&place, epoch),
                // Files of an archive have times of their own.
                FetchedSource::Archive { .. } => set_time(&place, epoch),
                // A commit's time is that of its files and folders.
                FetchedSource::GitMirror { .. } | FetchedSource::GitLocal { .. } => Ok(()),
            }
            .map_err(JobFailure::of)?;
        }
        fs_err::write(sources.join("buildinfo.full.json"), &package.buildinfo_full)
            .map_err(JobFailure::of)?;
        let result = self.workspace.scratch("result");
        fs_err::create_dir(&result).map_err(JobFailure::of)?;
        fs_err::write(result.join("buildinfo.full.json"), &package.buildinfo_full)
            .map_err(JobFailure::of)?;
        fs_err::write(result.join("pkginfo.json"), &package.pkginfo).map_err(JobFailure::of)?;
        set_time(&sources.join("buildinfo.full.json"), epoch)
            .and_then(|()| set_time(&sources, epoch))
            .and_then(|()| set_times(&result, epoch))
            .map_err(JobFailure::of)
    }

    /// A fetched source with its path in the view.
    fn in_view(&self, fetched: &FetchedSource) -> FetchedSource {
        let mut fetched = fetched.clone();
        *fetched.path_mut() = self.workspace.in_view(fetched.path());
        if let Some(converted) = fetched.converted_mut() {
            *converted = self.workspace.in_view(converted);
        }
        fetched
    }

    /// Refuses a script without x bit where no entrypoint would run it.
    fn check_executable(&self, place: &Path) -> Result<(), JobFailure> {
        let script = &self.job.package.build_script;
        let metadata = fs_err::symlink_metadata(place).map_err(JobFailure::of)?;
        if metadata.permissions().mode() & 0o111 != 0 {
            return Ok(());
        }
        let message = format!(
            "the build script {script} is not executable, and the image has no entrypoint that would run it"
        );
        Err(JobFailure::new(message).with_hint(format!("run: chmod +x {script}")))
    }

    /// True if the script is executed itself; a shell that is the image's entrypoint, as of the stock image and
    /// the embedded builder, only reads it.
    fn is_script_executed(&self) -> bool {
        self.job.command.arguments.len() == 1
    }

    /// Remedy for a build script that failed, if its first line shows the cause.
    fn remedy_of_script(&self, script: &Path) -> Option<String> {
        let mut text = Vec::new();
        open_regular(script).ok()?.take(LONGEST_SHEBANG).read_to_end(&mut text).ok()?;
        let line = text.split(|byte| *byte == b'\n').next()?;
        // Before the interpreter, which the kernel looks for with the CR behind its name.
        if line.ends_with(b"\r") {
            let script = shell_argument(self.job.package.build_script.as_str());
            return Some(format!(
                "the script has the line ends of DOS (CR LF), and shells take the CR for a part of the line: sed -i 's/\\r$//' {script}"
            ));
        }
        let interpreter = self.missing_interpreter(line.strip_prefix(b"#!")?)?;
        Some(format!("the script begins with #!{interpreter}, which the image doesn't have"))
    }

    /// Interpreter that a script's first line names, if the image lacks it. Symbolic links of the image are
    /// not followed: this is good for a hint only.
    fn missing_interpreter(&self, line: &[u8]) -> Option<String> {
        if !self.is_script_executed() {
            return None;
        }
        let line = String::from_utf8_lossy(line).into_owned();
        let interpreter = line.split_whitespace().next()?;
        let place = self.workspace.view().root().join(interpreter.trim_start_matches('/'));
        let is_there = fs_err::symlink_metadata(place).is_ok();
        (!is_there).then(|| interpreter.to_owned())
    }

    /// Refuses results that the host side cannot install.
    fn check_result(&self) -> Result<(), JobFailure> {
        let result = self.workspace.scratch("result");
        PackageContents::check_built(&self.job.package.id, &result).map_err(|error| JobFailure {
            hint: error.hint(),
            ..JobFailure::new(with_causes(&error))
        })
    }

    fn pack(&self, notes: Vec<String>) -> Result<Built, JobFailure> {
        let cores = IdleCores::take(&self.workspace, self.job);
        let options = archive::PackOptions {
            source_date_epoch: self.job.package.source_date_epoch,
            threads: cores.threads,
            level: self.job.package.compression,
            limits: self.job.folders.limits,
        };
        let mut tee = Tee::with_sha1(self.output.try_clone().map_err(JobFailure::of)?);
        let packed = archive::pack_package(&self.workspace.scratch("result"), &mut tee, &options);
        let (summary, tar_sha256) = packed.map_err(|error| match error {
            PackError::Output(source) => {
                let place = self.job.output.display();
                JobFailure::new(format!("the archive can't be written to {place}: {source}"))
            }
            error => JobFailure::of(error),
        })?;
        // The parent syncs the file before it gives it its name.
        let (_output, sums) = tee.finish();
        Ok(Built {
            sha1: sums.sha1,
            sha256: sums.sha256,
            bytes: sums.bytes,
            unpacked: summary.uncompressed_bytes,
            tar_sha256: Some(tar_sha256),
            compression: self.job.package.compression,
            notes,
        })
    }
}

/// Closes the folders that are kept to all but their owner, on disk the caller or the container's root:
/// a setuid program in them would run as the caller for any user of the machine.
fn close(workspace: &Workspace<'_>) {
    for name in ["src", "result"] {
        let folder = workspace.scratch(name);
        // A folder that cannot be closed stays in the scratch folder, which no other user can
        // enter.
        if lchown(&folder, Some(0), Some(0)).is_ok() {
            drop(fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o700)));
        }
    }
}

/// Folders of the caller that a build needs.
fn inputs(job: &BuildJob) -> BoundFolders {
    let mut inputs = BoundFolders::default();
    inputs.add(&job.folders.scratch);
    inputs.add(&job.folders.layers);
    inputs.add(&job.packages);
    inputs.add(&job.package.folder);
    if let CommandRoot::Layers(layers) = &job.command.root {
        for layer in layers {
            inputs.add_parent(&layer.path);
        }
    }
    for (_, source) in &job.sources {
        match source {
            FetchedSource::File { path, .. } | FetchedSource::Archive { path, .. } => {
                inputs.add_parent(path);
            }
            FetchedSource::GitMirror { path, .. } | FetchedSource::GitLocal { path, .. } => {
                inputs.add(path);
            }
        }
        if let Some(converted) = source.converted() {
            inputs.add(converted);
        }
    }
    for dependency in &job.package.dependencies {
        inputs.add_parent(&dependency.archive);
    }
    if let Some(access) = &job.jobserver {
        inputs.add_parent(&access.fifo);
    }
    inputs
}

fn own_tree(folder: &Path, uid: u32, gid: u32) -> Result<(), JobFailure> {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.map_err(JobFailure::of)?;
        let own = if entry.file_type().is_symlink() { lchown } else { chown };
        own(entry.path(), Some(uid), Some(gid)).map_err(JobFailure::of)?;
    }
    Ok(())
}
