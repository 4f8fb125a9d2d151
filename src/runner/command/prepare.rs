//! From a command to a container: root, mounts, user, working directory, seccomp filter.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::root::{Point, make_root};
use super::targets::SYSTEM;
use super::{CommandRoot, ContainerCommand, DEFAULT_PATH, MountSource, files, outcome, targets};
use crate::base::causes::with_causes;
use crate::container::bundle;
use crate::container::console::Streams;
use crate::container::machine::Condition;
use crate::container::recorder::Recorder;
use crate::container::run::{self, ContainerEnding, ContainerRunOptions, Recording, RunError};
use crate::container::sandbox::{Bind, Sandbox, User};
use crate::container::seccomp::{self, table};
use crate::container::within_root::{Ownership, locate, make_folders, read_text};
use crate::image::host::HostRoot;
use crate::image::user::{UserSpec, resolve_user};
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// Command with its mounted root.
#[derive(Debug)]
pub struct Prepared<'w> {
    workspace: &'w Workspace<'w>,
    command: &'w ContainerCommand,
    sandbox: Sandbox,
    user: UserSpec,
    layers: Vec<PathBuf>,
    upper: Option<PathBuf>,
}

/// Open files and names for a run of a command.
#[derive(Debug)]
pub struct Attachments<'a> {
    /// Name of the command in messages, such as `the build script`.
    pub name: &'static str,
    /// Log of the command's output.
    pub log: &'a File,
    /// Path of the log.
    pub log_path: &'a Path,
    /// Descriptors inherited by the command beside its standard streams, under the same numbers.
    pub inherited: Vec<OwnedFd>,
    /// Recorder of changed owners, in the single tier.
    pub recorder: Option<&'a Recorder>,
    /// Standard streams of the command.
    pub streams: Streams,
}

/// What an earlier command left in the root of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EarlierChanges {
    /// Folder of the view with the upper directory of its overlay.
    Upper(PathBuf),
    /// Folder of the view with the whole root, where the kernel has no overlay.
    Whole(PathBuf),
}

/// Makes the root of a command, and looks up its user there.
pub fn prepare<'w>(
    workspace: &'w Workspace<'w>,
    command: &'w ContainerCommand,
) -> Result<Prepared<'w>, JobFailure> {
    prepare_over(workspace, command, None)
}

/// Like [`prepare()`], over what an earlier command left, which stays as it is.
pub fn prepare_over<'w>(
    workspace: &'w Workspace<'w>,
    command: &'w ContainerCommand,
    changes: Option<&EarlierChanges>,
) -> Result<Prepared<'w>, JobFailure> {
    let (mut layers, host) = match &command.root {
        CommandRoot::Layers(layers) => (workspace.unpacked(layers)?, None),
        CommandRoot::Host(host) => (Vec::new(), Some(host)),
    };
    match changes {
        None => {}
        Some(EarlierChanges::Upper(upper)) => layers.push(upper.clone()),
        Some(EarlierChanges::Whole(root)) => layers = vec![root.clone()],
    }
    let mut binds = binds(workspace, command, host)?;
    let mut points = points(&binds);
    let folders = command.folders.iter();
    points.extend(folders.map(|(path, mode)| Point::folder_with_mode(path, *mode)));
    let upper = make_root(workspace, &layers, host, &points)?;
    let root = workspace.view().root();
    // Before any mount: the maker of the container would follow a link of the image there.
    targets::check_system(&root)?;
    targets::resolve(&root, &mut binds, 0)?;
    let passwd = read_text(&root, "etc/passwd").map_err(JobFailure::of)?;
    let group = read_text(&root, "etc/group").map_err(JobFailure::of)?;
    let user =
        resolve_user(&command.user, passwd.as_deref(), group.as_deref()).map_err(JobFailure::of)?;
    let is_single = workspace.is_single();
    let wanted = &command.working_directory;
    let owner = Ownership { ids: (0, 0), is_single_id: is_single };
    let unmade = |error: std::io::Error| {
        let path = wanted.display();
        JobFailure::new(format!(
            "the working directory {path} cannot be made in the image: {error}"
        ))
    };
    // As the image's own process would see it, and never by the kernel: a link in the image could
    // lead to a folder of the machine.
    let folder = locate(&root, wanted, false).map_err(unmade)?;
    // Without symlinks: the kernel follows no `missing/..`.
    let inside = Path::new("/").join(folder.strip_prefix(&root).unwrap_or(wanted));
    targets::check_working_directory(&inside)?;
    make_folders(&root, &folder, owner).map_err(unmade)?;
    let machine = &workspace.folders().machine;
    let sandbox = Sandbox {
        root,
        binds,
        arguments: command.arguments.clone(),
        environment: environment(&command.environment, &user),
        working_directory: inside,
        // With one id, root prepares everything, and the command becomes another user at the end.
        user: if is_single { User::default() } else { ids(&user) },
        network: command.network,
        outer_proc: machine.has(&Condition::NestedProc),
        sysfs: machine.sysfs(),
        left_out: machine.left_out(),
        own_host_name: !machine.has(&Condition::OuterHostName),
        // With one id there is no other user to become.
        no_new_privileges: command.no_new_privileges || is_single,
    };
    Ok(Prepared { workspace, command, sandbox, user, layers, upper })
}

/// Mounts in the paths of the view, those of the embedded builder first.
fn binds(
    workspace: &Workspace<'_>,
    command: &ContainerCommand,
    host: Option<&HostRoot>,
) -> Result<Vec<Bind>, JobFailure> {
    let mut binds = Vec::new();
    if let Some(host) = host {
        let empty = workspace.view().path().join("empty");
        fs_err::create_dir_all(&empty).map_err(JobFailure::of)?;
        let bind = |source: &Path, target: &Path| Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            writable: false,
            is_shared: false,
        };
        binds.extend(host.binds.iter().map(|found| bind(&found.source, &found.target)));
        binds.extend(host.hidden.iter().map(|hidden| bind(&empty, hidden)));
    }
    let accounts = host.map_or_else(Vec::new, |_| files::accounts_files());
    binds.extend(files::write(workspace, &[&accounts[..], &command.files].concat())?);
    binds.extend(command.mounts.iter().map(|mount| Bind {
        source: match &mount.source {
            MountSource::Caller(path) => workspace.in_view(path),
            MountSource::Scratch(name) => workspace.scratch(name),
            MountSource::Package(name) => workspace.scratch("package").join(name),
            MountSource::View(path) => workspace.view().path().join(path),
        },
        target: mount.target.clone(),
        writable: mount.writable,
        is_shared: mount.is_shared,
    }));
    Ok(binds)
}

/// Mount points in the root: mount points below another mount are in that mount.
fn points(binds: &[Bind]) -> Vec<Point> {
    let mut points: Vec<Point> = SYSTEM.iter().map(Point::folder).collect();
    for (index, bind) in binds.iter().enumerate() {
        let is_below = |above: &Path| bind.target.starts_with(above);
        let covered = SYSTEM.iter().any(|above| is_below(Path::new(above)))
            || binds[..index].iter().any(|above| is_below(&above.target));
        if covered {
            continue;
        }
        points.push(if bind.source.is_dir() {
            Point::folder(&bind.target)
        } else {
            Point::file(&bind.target)
        });
    }
    points
}

impl Prepared<'_> {
    /// User and group of the command in the container.
    pub fn ids(&self) -> (u32, u32) {
        (self.user.uid, self.user.gid)
    }

    /// User and groups of the command in the container.
    pub fn user(&self) -> User {
        ids(&self.user)
    }

    /// Folders of the unpacked layers, the lowest first.
    pub fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    /// Folder with the changes; none where the kernel has no overlay.
    pub fn upper(&self) -> Option<&Path> {
        self.upper.as_deref()
    }

    /// Value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let value = |text: &'_ String| text.strip_prefix(name)?.strip_prefix('=').map(str::len);
        let found = self.sandbox.environment.iter().find(|text| value(text).is_some())?;
        found.get(name.len() + 1..)
    }

    /// Sets an environment variable that is not set yet.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.sandbox.environment.push(format!("{name}={value}"));
    }

    /// Adds a mount of a path in the view.
    pub fn bind(&mut self, bind: Bind) -> Result<(), JobFailure> {
        let resolved = self.sandbox.binds.len();
        self.sandbox.binds.push(bind);
        targets::resolve(&self.sandbox.root, &mut self.sandbox.binds, resolved)
    }

    /// Rows of the seccomp filter for the command's user, without those that a recorder answers.
    fn rows(&self) -> Vec<table::PolicyRow> {
        [&table::refused()[..], &self.pretended()].concat()
    }

    /// Calls that are answered as done, since they cannot be with one id.
    fn pretended(&self) -> Vec<table::PolicyRow> {
        // The kernel tells any other user than root which ids it may not become.
        match (self.workspace.is_single(), self.user.uid == 0) {
            (true, true) => table::pretended(),
            (true, false) => table::pretended_groups(),
            (false, _) => Vec::new(),
        }
    }

    /// Writes root and mounts into the folders of an OCI bundle, paths of the view; returns its
    /// specification.
    pub fn write_bundle(
        &self,
        folders: (&Path, &Path),
        terminal: bool,
    ) -> Result<String, JobFailure> {
        if self.workspace.is_single() && self.ids() != (0, 0) {
            let message = "with one id, an OCI runtime runs commands as root alone, and this image has another user";
            return Err(JobFailure::new(message)
                .with_hint("have the id ranges that the tier `ranges` needs: mkpanda doctor"));
        }
        let view = self.workspace.view().path();
        let map = &self.workspace.folders().machine.map;
        bundle::write(&self.sandbox, view, folders, (map, &self.rows()), terminal)
            .map_err(JobFailure::of)
    }

    /// Runs the command, and waits for its end. Any end but exit code 0 is a failure.
    pub fn run(&self, attachments: Attachments<'_>) -> Result<(), JobFailure> {
        let name = attachments.name;
        outcome::judge(name, self.ended(attachments)?, self.command.time_limit)
    }

    /// Runs the command, and waits for its end, which may be any.
    pub fn ended(&self, attachments: Attachments<'_>) -> Result<ContainerEnding, JobFailure> {
        let Attachments { name: _, log, log_path, inherited, recorder, streams } = attachments;
        let is_single = self.workspace.is_single();
        let refused = table::refused();
        let filter = |rows: &[table::PolicyRow]| seccomp::build(&[&refused[..], rows].concat());
        let is_root = self.user.uid == 0;
        let pretended = self.pretended();
        let recording = recorder.map(|recorder| {
            let asked = if is_root { table::recorded() } else { table::recorded_owners() };
            Recording { recorder, filter: filter(&[&asked[..], &pretended].concat()) }
        });
        let ids = self.ids();
        let options = ContainerRunOptions {
            log,
            time_limit: self.command.time_limit,
            log_limit: self.command.log_limit,
            filter: filter(&pretended),
            landlock: !self.workspace.folders().machine.has(&Condition::NoLandlockScope),
            inherited: inherited.into(),
            sole_user: (is_single && ids != (0, 0)).then_some(ids),
            recording,
            streams,
        };
        let ended = run::run(&self.sandbox, self.workspace.view(), &options);
        ended.map_err(|error| {
            let message = match &error {
                RunError::Log { .. } => format!("{}: {}", log_path.display(), with_causes(&error)),
                _ => with_causes(&error),
            };
            JobFailure { see_log: true, ..JobFailure::new(message) }
        })
    }
}

/// Ids of a user, whose main group is among the supplementary ones, as after a login.
fn ids(user: &UserSpec) -> User {
    // initgroups(3) adds it, and programs look for a file's group in this list alone.
    let mut groups = vec![user.gid];
    groups.extend(&user.additional_gids);
    User { uid: user.uid, gid: user.gid, groups }
}

/// Environment as a program expects it: each name once, with a search path and a home.
fn environment(variables: &[(String, String)], user: &UserSpec) -> Vec<String> {
    let mut all: Vec<(&str, String)> = Vec::new();
    for (name, value) in variables {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => all.push((name, value.clone())),
        }
    }
    let home = user.home.to_string_lossy().into_owned();
    for (name, value) in [("PATH", DEFAULT_PATH.to_owned()), ("HOME", home)] {
        if !all.iter().any(|(known, _)| *known == name) {
            all.push((name, value));
        }
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_counts_and_defaults_fill_gaps() {
        let user = resolve_user("7:8", None, None).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let all = environment(&[pair("A", "1"), pair("HOME", ""), pair("A", "2")], &user);
        assert_eq!(all, ["A=2", "HOME=", &format!("PATH={DEFAULT_PATH}")]);
    }

    #[test]
    fn mount_points_below_a_mount_are_not_points_of_the_root() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs_err::write(&file, "").unwrap();
        let bind = |source: &Path, target: &str| Bind {
            source: source.to_owned(),
            target: target.into(),
            writable: false,
            is_shared: false,
        };
        let binds = [
            bind(place.path(), "/opt/mesosphere"),
            bind(place.path(), "/opt/mesosphere/packages/a--1"),
            bind(&file, "/etc/hosts"),
            bind(&file, "/dev/pipes"),
            bind(place.path(), "/opt/meso"),
        ];
        let points = points(&binds);
        let found: Vec<_> = points.iter().map(|p| format!("{:?}", (&p,))).collect();
        let has = |text: &str| found.iter().any(|point| point.contains(text));
        assert_eq!(points.len(), SYSTEM.len() + 3, "{found:?}");
        assert!(has("\"/etc/hosts\", is_file: true") && has("\"/opt/meso\", is_file: false"));
    }
}
