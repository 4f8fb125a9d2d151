//! What is mounted for one command, beside the root: `--mount`, and the files by which a program finds
//! names and its way into the network.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::mount::{MsFlags, mount};

use super::super::choose::{choice, choose};
use super::super::job::{
    CopyInput, LayerWork, Match, MountInput, SecretBytes, StepFailure, StepNetwork,
};
use super::super::place::{With, put};
use super::root::Point;
use super::{Work, failed, from_context};
use crate::base::removal::remove_all;
use crate::container::sandbox::Bind;
use crate::container::within_root::{Ownership, locate, make_folders};
use crate::dockerfile::context::Files;
use crate::dockerfile::step::{RunMount, RunStep};
use crate::image::store::LayerBlob;

/// What a command has of its mounts.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<Bind>,
    pub(super) points: Vec<Point>,
    pub(super) variables: Vec<(String, String)>,
    /// How many ssh agents there are.
    agents: u32,
}

impl Mounts {
    fn bind(&mut self, source: PathBuf, point: Point, writable: bool) {
        self.binds.push(Bind { source, target: point.path.clone(), writable });
        self.points.push(point);
    }
}

impl Work<'_> {
    /// Prepares all that the command is shown.
    pub(super) fn mounts(&self, step: &RunStep, work: &LayerWork) -> Result<Mounts, StepFailure> {
        let mut mounts = Mounts::default();
        for folder in ["/proc", "/sys", "/dev"] {
            mounts.points.push(Point::folder(folder));
        }
        let home = self.view.path().join("mounts");
        fs_err::create_dir(&home).map_err(failed)?;
        for (name, text) in names_files(&work.network) {
            let place = home.join(name);
            fs_err::write(&place, text).map_err(failed)?;
            mounts.bind(place, Point::file(format!("/etc/{name}")), true);
        }
        if self.is_single() {
            // It would go on as a user whom there isn't.
            let place = home.join("apt.conf");
            fs_err::write(&place, "APT::Sandbox::User \"root\";\n").map_err(failed)?;
            mounts.bind(place, Point::file("/etc/apt/apt.conf.d/00mkpanda"), false);
        }
        if !step.documents.is_empty() {
            let pipes = home.join("pipes");
            fs_err::create_dir(&pipes).map_err(failed)?;
            for document in &step.documents {
                write_file(&pipes.join(&document.name), document.content.as_bytes(), 0o755)?;
            }
            // On the container's own `/dev`, which needs no point.
            let target = PathBuf::from("/dev/pipes");
            mounts.binds.push(Bind { source: pipes, target, writable: false });
        }
        for (index, (wanted, input)) in step.mounts.iter().zip(&work.mounts).enumerate() {
            self.mount(wanted, input, &home.join(index.to_string()), &mut mounts)?;
        }
        Ok(mounts)
    }

    fn mount(
        &self,
        wanted: &RunMount,
        input: &MountInput,
        home: &Path,
        mounts: &mut Mounts,
    ) -> Result<(), StepFailure> {
        match (wanted, input) {
            (RunMount::Bind { source, target, writable, .. }, MountInput::Tree(input)) => {
                let place = self.tree(input, source, home, *writable)?;
                let is_file = place.is_file();
                mounts.bind(place, Point { path: target.into(), is_file }, *writable);
            }
            (
                RunMount::Cache { target, read_only, mode, owner, from, .. },
                MountInput::Cache { folder, begins_as },
            ) => {
                let place = self.place(folder).join("files");
                if fs_err::symlink_metadata(&place).is_err() {
                    match (from, begins_as) {
                        (Some((_, source)), Some(input)) => {
                            self.begin_cache(&place, input, source, home)?;
                        }
                        _ => fs_err::create_dir(&place).map_err(failed)?,
                    }
                    let owner = Ownership { ids: *owner, single: self.is_single() };
                    owner.give(&place).map(drop).map_err(failed)?;
                    let mode = std::fs::Permissions::from_mode(*mode);
                    fs_err::set_permissions(&place, mode).map_err(failed)?;
                }
                mounts.bind(place, Point::folder(target), !read_only);
            }
            (RunMount::Tmpfs { target, size }, MountInput::Tmpfs) => {
                fs_err::create_dir(home).map_err(failed)?;
                let size = size.map_or_else(String::new, |size| format!(",size={size}"));
                let options = format!("mode=1777{size}");
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(Some("tmpfs"), home, Some("tmpfs"), flags, Some(options.as_str()))
                    .map_err(failed)?;
                mounts.bind(home.to_owned(), Point::folder(target), true);
            }
            (
                RunMount::Secret { target, variable, mode, owner, .. },
                MountInput::Secret(Some(SecretBytes(content))),
            ) => {
                if let Some(variable) = variable {
                    let value = String::from_utf8_lossy(content).into_owned();
                    mounts.variables.push((variable.clone(), value));
                }
                if let Some(target) = target {
                    // The view is in memory, and is gone with the step.
                    write_file(home, content, *mode)?;
                    let owner = Ownership { ids: *owner, single: self.is_single() };
                    if !owner.single {
                        owner.give(home).map(drop).map_err(failed)?;
                    }
                    mounts.bind(home.to_owned(), Point::file(target), false);
                }
            }
            (RunMount::Ssh { target, mode, owner, .. }, MountInput::Socket(Some(socket))) => {
                let count = mounts.agents;
                mounts.agents += 1;
                let target =
                    target.clone().unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{count}"));
                if count == 0 {
                    mounts.variables.push(("SSH_AUTH_SOCK".to_owned(), target.clone()));
                }
                let place = self.place(socket);
                let mode = std::fs::Permissions::from_mode(*mode);
                fs_err::set_permissions(&place, mode).map_err(failed)?;
                let owner = Ownership { ids: *owner, single: self.is_single() };
                owner.give(&place).map(drop).map_err(failed)?;
                mounts.bind(place, Point::file(target), true);
            }
            // What isn't required isn't there.
            (RunMount::Secret { .. }, MountInput::Secret(None))
            | (RunMount::Ssh { .. }, MountInput::Socket(None)) => {}
            _ => {
                return Err(StepFailure::new(
                    "the helper was given other mounts than the step has",
                ));
            }
        }
        Ok(())
    }

    /// Makes a cache of a folder's files.
    fn begin_cache(
        &self,
        place: &Path,
        input: &CopyInput,
        source: &str,
        home: &Path,
    ) -> Result<(), StepFailure> {
        // Of a step that was cut off.
        let new = place.with_file_name("files.new");
        if fs_err::symlink_metadata(&new).is_ok() {
            remove_all(&new).map_err(failed)?;
        }
        fs_err::create_dir(&new).map_err(failed)?;
        match input {
            CopyInput::Listed { folder, matches } => {
                self.copy_matches(&self.place(folder), matches, &new)?;
            }
            CopyInput::Pattern { layers, .. } => self.copy_of_layers(layers, source, home, &new)?,
            _ => return Err(StepFailure::new("the helper was given no files for a cache")),
        }
        let found = locate(&new, Path::new(source), false).map_err(failed)?;
        if !found.is_dir() {
            return Err(StepFailure::new(format!(
                "{source}: there is no such folder to begin a cache with"
            )));
        }
        fs_err::rename(&found, place).map_err(failed)?;
        if found != new {
            remove_all(&new).map_err(failed)?;
        }
        Ok(())
    }

    /// Copies files of layers, at the paths that they have.
    fn copy_of_layers(
        &self,
        layers: &[LayerBlob],
        source: &str,
        home: &Path,
        to: &Path,
    ) -> Result<(), StepFailure> {
        let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tree = self.mount_tree(&self.unpacked(layers)?, &format!("mount-{name}"))?;
        let choice = choice(&[], false).map_err(from_context)?;
        let matches = choose(&Files::of_tree(&tree), source, &choice).map_err(from_context)?;
        self.copy_matches(&tree, &matches, to)
    }

    /// The files of a bind mount.
    fn tree(
        &self,
        input: &CopyInput,
        source: &str,
        home: &Path,
        writable: bool,
    ) -> Result<PathBuf, StepFailure> {
        let name = home.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let root = match input {
            // Copied, so that it is without what is ignored, and belongs to root.
            CopyInput::Listed { folder, matches } => {
                let copy = self.scratch(&format!("mount-{name}"));
                fs_err::create_dir(&copy).map_err(failed)?;
                let folder = self.place(folder);
                self.copy_matches(&folder, matches, &copy)?;
                copy
            }
            CopyInput::Pattern { layers, .. } if writable => {
                let copy = self.scratch(&format!("mount-{name}"));
                fs_err::create_dir(&copy).map_err(failed)?;
                self.copy_of_layers(layers, source, home, &copy)?;
                copy
            }
            CopyInput::Pattern { layers, .. } => {
                self.mount_tree(&self.unpacked(layers)?, &format!("mount-{name}"))?
            }
            _ => return Err(StepFailure::new("the helper was given no files for a mount")),
        };
        let place = locate(&root, Path::new(source), false).map_err(failed)?;
        if fs_err::symlink_metadata(&place).is_err() {
            return Err(StepFailure::new(format!("{source}: there is no such file to be mounted")));
        }
        Ok(place)
    }

    /// Copies what was listed, at the paths that it has.
    fn copy_matches(&self, from: &Path, matches: &[Match], to: &Path) -> Result<(), StepFailure> {
        let owner = Ownership { ids: (0, 0), single: self.is_single() };
        for entry in matches.iter().flat_map(|found| &found.entries) {
            if entry.path.as_os_str().is_empty() {
                continue;
            }
            let (place, target) = (from.join(&entry.path), to.join(&entry.path));
            make_folders(to, target.parent().unwrap_or(to), owner).map_err(failed)?;
            let data = fs_err::symlink_metadata(&place).map_err(failed)?;
            put(&place, &data, &target, With { owner, mode: data.permissions().mode() })
                .map(drop)
                .map_err(failed)?;
        }
        Ok(())
    }
}

/// The files in `/etc` that say where names are looked up.
fn names_files(network: &StepNetwork) -> [(&'static str, String); 2] {
    const HOSTS: &str = "127.0.0.1\tlocalhost mkpanda\n::1\tlocalhost ip6-localhost\n";
    let machines = |name: &str| fs_err::read_to_string(Path::new("/etc").join(name)).ok();
    let (servers, hosts) = match network {
        StepNetwork::None => (String::new(), HOSTS.to_owned()),
        StepNetwork::Own(uplink) => {
            (format!("nameserver {}\n", uplink.name_server()), HOSTS.to_owned())
        }
        StepNetwork::Host => (
            machines("resolv.conf").unwrap_or_default(),
            machines("hosts").unwrap_or_else(|| HOSTS.to_owned()),
        ),
    };
    [("resolv.conf", servers), ("hosts", hosts)]
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), StepFailure> {
    fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .map_err(failed)
}
