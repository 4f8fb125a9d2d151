//! Building one package: the steps of the helper's job, in their order.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use fs_err::OpenOptions;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use crate::archive::{self, PackError};
use crate::base::causes::with_causes;
use crate::base::digest::Tee;
use crate::base::event::Phase;
use crate::container::idmap::Tier;
use crate::container::inputs::Inputs;
use crate::container::machine::Condition;
use crate::container::namespace;
use crate::container::run::{self, Ending, RunError, RunOptions};
use crate::container::sandbox::{Bind, Sandbox};
use crate::container::seccomp;
use crate::container::view::View;
use crate::install::{INSTALL_ROOT, PackageContents};
use crate::source::Fetched;

use super::super::job::{Answer, BuildJob, BuildRoot, Built, Failure};
use super::jobserver::{self, Membership, PackingCores};
use super::{Finished, failure, root, say, stage, unprepared};
use crate::base::removal::remove_all;

/// Builds a package, from inside the namespaces.
pub(super) fn build(job: &BuildJob) -> Result<Finished, Failure> {
    say(&Answer::Phase(Phase::Prepare));
    // Opened as the caller: the container's root may not reach them.
    let output =
        OpenOptions::new().write(true).open(&job.output).map_err(unprepared)?.into_parts().0;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&job.log)
        .map_err(unprepared)?
        .into_parts()
        .0;
    let inputs = gather_inputs(job);
    namespace::enter(job.network).map_err(unprepared)?;
    umask(Mode::from_bits_truncate(0o022));
    let view = View::create(&job.view, inputs.folders(), &job.machine.map).map_err(unprepared)?;
    namespace::become_root(&job.machine.map).map_err(unprepared)?;
    let work = Work { job, inputs, view, log };
    let answer = match work.carry_out(output) {
        Ok(built) => Answer::Built(built),
        Err(failure) => Answer::Failed(work.explained(failure)),
    };
    let heard = say(&answer);
    // The parent goes on meanwhile, and removes what can't be removed here.
    drop(work.clear_up());
    Ok(Finished::Answered(heard))
}

fn gather_inputs(job: &BuildJob) -> Inputs {
    let mut inputs = Inputs::default();
    for folder in [&job.scratch, &job.layers, &job.packages, &job.package_folder] {
        inputs.add(folder);
    }
    if let BuildRoot::Layers(image) = &job.image {
        image.layers.iter().for_each(|layer| inputs.add_parent(&layer.path));
    }
    for (_, source) in &job.sources {
        match source {
            Fetched::File { path, .. } | Fetched::Archive { path, .. } => inputs.add_parent(path),
            Fetched::GitMirror { path, .. } | Fetched::GitLocal { path, .. } => inputs.add(path),
        }
    }
    for dependency in &job.dependencies {
        inputs.add_parent(&dependency.archive);
    }
    if let Some(access) = &job.jobserver {
        inputs.add_parent(&access.fifo);
    }
    inputs
}

/// A build under way, inside the namespaces.
pub(super) struct Work<'a> {
    pub(super) job: &'a BuildJob,
    pub(super) inputs: Inputs,
    pub(super) view: View,
    pub(super) log: File,
}

impl Work<'_> {
    /// A folder of this build's scratch space, as the view has it.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.inputs.place(&self.view, &self.job.scratch).join(name)
    }

    /// Where a path of the caller's is in the view.
    pub(super) fn place(&self, path: &std::path::Path) -> PathBuf {
        self.inputs.place(&self.view, path)
    }

    /// A fetched source as the view has it.
    fn place_source(&self, fetched: &Fetched) -> Fetched {
        let mut fetched = fetched.clone();
        let (Fetched::File { path, .. }
        | Fetched::Archive { path, .. }
        | Fetched::GitMirror { path, .. }
        | Fetched::GitLocal { path, .. }) = &mut fetched;
        *path = self.place(path);
        fetched
    }

    /// Where the build leaves its result, inside the container.
    fn package_path(&self) -> String {
        format!("{INSTALL_ROOT}/packages/{}", self.job.id)
    }

    fn carry_out(&self, output: File) -> Result<Built, Failure> {
        // Its details go to `tracing` alone, and belong into the log.
        let log = self.log.try_clone().map_err(unprepared)?;
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::ERROR)
            .with_ansi(false)
            .without_time()
            .with_writer(std::sync::Mutex::new(log))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            self.check_out_sources()?;
            stage::stage(self)?;
            let mut notes = Vec::new();
            let root = root::make(self, &mut notes)?;
            let mut membership = jobserver::join(self, &root)?;
            notes.extend(membership.note.take());
            let sole_user = root.sole_user;
            let sandbox = self.sandbox(root, &mut membership)?;
            say(&Answer::Phase(Phase::Build));
            self.run(&sandbox, sole_user, membership.descriptors)?;
            say(&Answer::Phase(Phase::Pack));
            self.check_result()?;
            self.pack(output, notes)
        })
    }

    fn check_out_sources(&self) -> Result<(), Failure> {
        let sources = self.scratch("src");
        fs_err::create_dir(&sources).map_err(unprepared)?;
        for (name, fetched) in &self.job.sources {
            let fetched = self.place_source(fetched);
            crate::source::check_out(&fetched, &sources.join(name.as_str()), &self.job.limits)
                .map_err(|error| {
                    let failure = unprepared(error);
                    Failure { message: format!("source {name}: {}", failure.message), ..failure }
                })?;
        }
        fs_err::write(sources.join("buildinfo.full.json"), &self.job.buildinfo_full)
            .map_err(unprepared)?;
        let result = self.scratch("result");
        fs_err::create_dir(&result).map_err(unprepared)?;
        fs_err::write(result.join("buildinfo.full.json"), &self.job.buildinfo_full)
            .map_err(unprepared)?;
        fs_err::write(result.join("pkginfo.json"), &self.job.pkginfo).map_err(unprepared)
    }

    fn sandbox(&self, made: root::Made, membership: &mut Membership) -> Result<Sandbox, Failure> {
        let job = self.job;
        let bind = |source: PathBuf, target: String, writable| Bind {
            source,
            target: target.into(),
            writable,
        };
        let folder = self.place(&job.package_folder);
        let mut binds = made.binds;
        binds.push(bind(self.scratch("src"), "/pkg/src".to_owned(), true));
        binds.push(bind(folder.clone(), "/pkg/build".to_owned(), false));
        if job.has_extra {
            binds.push(bind(folder.join("extra"), "/pkg/extra".to_owned(), false));
        }
        binds.push(bind(self.view.install(), INSTALL_ROOT.to_owned(), false));
        for dependency in &job.dependencies {
            let source = self.place(&job.packages).join(dependency.id.to_string());
            binds.push(bind(source, format!("{INSTALL_ROOT}/packages/{}", dependency.id), false));
        }
        binds.push(bind(self.scratch("result"), self.package_path(), true));
        binds.extend(membership.bind.take());
        let mut arguments = made.entrypoint;
        let script = format!("/pkg/build/{}", job.build_script);
        if arguments.is_empty() {
            check_executable(&folder.join(&job.build_script), &job.build_script)?;
        }
        arguments.push(script);
        Ok(Sandbox {
            root: self.view.root(),
            binds,
            arguments,
            environment: environment(
                &made.environment,
                job.environment.iter().chain(&membership.variable),
                &made.home.to_string_lossy(),
                &self.package_path(),
            ),
            working_directory: made.working_directory,
            user: made.user,
            network: job.network,
            outer_proc: job.machine.has(&Condition::NestedProc),
            sysfs: job.machine.sysfs(),
            left_out: job.machine.left_out(),
            own_host_name: !job.machine.has(&Condition::OuterHostName),
            no_new_privileges: true,
        })
    }

    fn run(
        &self,
        sandbox: &Sandbox,
        sole_user: Option<(u32, u32)>,
        inherited: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let mut rows = seccomp::table::refused();
        let is_root = sole_user.is_none_or(|(uid, _)| uid == 0);
        // Another user than root is told by the kernel what it may not become.
        if self.job.machine.tier() == Tier::Single && is_root {
            rows.extend(seccomp::table::pretended());
        }
        let options = RunOptions {
            log: &self.log,
            time_limit: self.job.time_limit,
            filter: seccomp::build(&rows),
            landlock: !self.job.machine.has(&Condition::NoLandlockScope),
            inherited: inherited.into(),
            sole_user,
            recording: None,
        };
        let ended = run::run(sandbox, &self.view, &options).map_err(|error| {
            let message = match &error {
                RunError::Log { .. } => {
                    format!("{}: {}", self.job.log.display(), with_causes(&error))
                }
                _ => with_causes(&error),
            };
            Failure { see_log: true, ..failure(Phase::Build, message) }
        })?;
        let message = match ended {
            Ending::Exited(0) => return Ok(()),
            Ending::Exited(code) => format!("the build script exited with code {code}"),
            // What passes for a signal's number may be a script's own `exit 255`.
            Ending::Signalled(number) => match Signal::try_from(number) {
                Ok(signal) => format!("the build script was ended by {signal}"),
                Err(_) => format!("the build script exited with code {}", 128 + number),
            },
            Ending::TimedOut => {
                let limit = self.job.time_limit.unwrap_or_default();
                return Err(Failure {
                    hint: Some("raise limits.time in mkpanda.toml, or MKPANDA_LIMITS_TIME, if it needs longer".to_owned()),
                    see_log: true,
                    ..failure(Phase::Build, format!("the build script was ended after its time limit of {limit:?}"))
                });
            }
        };
        let hint = self.missing_interpreter().map(|interpreter| {
            format!("the script begins with #!{interpreter}, which the image doesn't have")
        });
        Err(Failure { see_log: true, hint, ..failure(Phase::Build, message) })
    }

    /// The program that runs the build script, if the image lacks it. Links are not followed, since
    /// they would lead out of the image: this is good for a hint only.
    fn missing_interpreter(&self) -> Option<String> {
        if matches!(self.job.image, BuildRoot::Host { .. }) {
            // The machine's folders are in the container alone.
            return None;
        }
        let script = self.place(&self.job.package_folder).join(&self.job.build_script);
        let text = fs_err::read(script).ok()?;
        let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(line).into_owned();
        let interpreter = line.split_whitespace().next()?;
        let place = self.view.root().join(interpreter.trim_start_matches('/'));
        let is_there = fs_err::symlink_metadata(place).is_ok();
        (!is_there).then(|| interpreter.to_owned())
    }

    /// Refuses results that the host side couldn't install.
    fn check_result(&self) -> Result<(), Failure> {
        PackageContents::check_units(&self.job.id, &self.scratch("result")).map_err(|error| {
            Failure { hint: error.hint(), ..failure(Phase::Pack, with_causes(&error)) }
        })
    }

    fn pack(&self, output: File, notes: Vec<String>) -> Result<Built, Failure> {
        let cores = PackingCores::take(self);
        let options = archive::PackOptions {
            source_date_epoch: self.job.source_date_epoch,
            threads: cores.threads,
        };
        let mut tee = Tee::new(output);
        let summary = archive::pack_package(&self.scratch("result"), &mut tee, &options).map_err(
            |error| match error {
                PackError::Output(source) => self.not_written(&source),
                error => failure(Phase::Pack, with_causes(&error)),
            },
        )?;
        // The parent syncs it, before it gives it its name.
        let (_output, sums) = tee.finish();
        Ok(Built {
            sha1: sums.sha1,
            sha256: sums.sha256,
            bytes: sums.bytes,
            unpacked: summary.uncompressed_bytes,
            notes,
        })
    }

    fn not_written(&self, error: &std::io::Error) -> Failure {
        let place = self.job.output.display();
        failure(Phase::Pack, format!("the archive can't be written to {place}: {error}"))
    }

    /// A failure in the caller's terms: with the caller's paths, and with what a script can't say.
    fn explained(&self, failure: Failure) -> Failure {
        let mut message = self.inputs.named_outside(&self.view, &failure.message);
        let mut hint = failure.hint;
        if failure.phase != Phase::Pack && is_full(&self.scratch("")) {
            let scratch = self.job.scratch.parent().unwrap_or(&self.job.scratch).display();
            message = format!("{message}; the disk of the scratch folder {scratch} is full");
            hint = hint.or_else(|| {
                Some("make room there, or let builds write elsewhere: --scratch DIR".to_owned())
            });
        }
        Failure { message, hint, ..failure }
    }

    /// Removes the scratch folders; `src` and `result` stay if they are asked for.
    fn clear_up(&self) -> std::io::Result<()> {
        // In use, the overlay's folders can't go. Failing is fine: there may be no root yet.
        _ = nix::mount::umount2(&self.view.root(), nix::mount::MntFlags::MNT_DETACH);
        for entry in fs_err::read_dir(self.scratch(""))? {
            let entry = entry?;
            let name = entry.file_name();
            if !(self.job.keep && (name == "src" || name == "result")) {
                remove_all(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Whether a filesystem has no room for another file to speak of.
fn is_full(folder: &std::path::Path) -> bool {
    const TO_SPEAK_OF: u64 = 64 << 10;
    nix::sys::statvfs::statvfs(folder).is_ok_and(|disk| {
        let free = disk.blocks_available() * disk.fragment_size();
        free < TO_SPEAK_OF || (disk.files() > 0 && disk.files_available() == 0)
    })
}

fn check_executable(path: &std::path::Path, script: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs_err::metadata(path).map_err(unprepared)?;
    if metadata.permissions().mode() & 0o111 != 0 {
        return Ok(());
    }
    Err(Failure {
        hint: Some(format!("run: chmod +x {script}")),
        ..failure(
            Phase::Prepare,
            format!(
                "the build script {script} is not executable, and the image has no entrypoint that would run it"
            ),
        )
    })
}

/// Where programs are looked for in an image that doesn't say.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image's environment, then what the builder gives.
fn environment<'a>(
    image: &[(String, String)],
    builder: impl Iterator<Item = &'a (String, String)>,
    home: &str,
    package_path: &str,
) -> Vec<String> {
    let mut variables: Vec<(String, String)> = image.to_vec();
    let mut set = |name: &str, value: &str, replace: bool| match variables
        .iter_mut()
        .find(|(known, _)| known == name)
    {
        Some((_, old)) if replace => value.clone_into(old),
        Some(_) => {}
        None => variables.push((name.to_owned(), value.to_owned())),
    };
    set("PATH", DEFAULT_PATH, false);
    set("HOME", home, false);
    set("PKG_PATH", package_path, true);
    for (name, value) in builder {
        set(name, value, true);
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
