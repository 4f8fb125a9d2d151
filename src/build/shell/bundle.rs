//! The container of a build as an OCI bundle in a folder.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{SHELL, Shell, ShellError};
use crate::base::event::Phase;
use crate::base::removal::remove_all;
use crate::build::failed::BuildError;
use crate::build::package_runner::failed;
use crate::build::shell::BundleJob;
use crate::container::bundle::{MOUNTS, ROOT};
use crate::runner::scratch::{give_to_container_root, remove_as_container};

impl Shell {
    /// Writes the container with a command, or with the image's shell, into a new folder.
    pub fn write_bundle(self, command: Option<&[String]>, folder: &Path) -> Result<(), ShellError> {
        let bundle = |source| ShellError::Bundle { path: folder.to_owned(), source };
        // Fails if it is there, even empty: what is removed after an error is this program's own.
        fs_err::create_dir(folder).map_err(bundle)?;
        let written = self.write_into(command, folder, bundle);
        if written.is_err() {
            // Folders without what a container's root made.
            drop(remove_all(folder));
        }
        written
    }

    fn write_into(
        self,
        command: Option<&[String]>,
        folder: &Path,
        bundle: impl Fn(io::Error) -> ShellError,
    ) -> Result<(), ShellError> {
        let Self { job, files, mut helper, runner, .. } = self;
        let (session, map) = (&runner.session, &runner.session.machine().map);
        // A setuid program of the image may run as the caller; root's bundle is entered by other ids.
        let is_callers = map.root().0 == nix::unistd::Uid::current().as_raw();
        let mode = if is_callers { 0o700 } else { 0o711 };
        fs_err::set_permissions(folder, PermissionsExt::from_mode(mode)).map_err(&bundle)?;
        let place = |name: &str| -> Result<PathBuf, ShellError> {
            let path = folder.join(name);
            fs_err::create_dir(&path)
                .and_then(|()| give_to_container_root(map, &path))
                .map_err(&bundle)?;
            Ok(path)
        };
        let mut build = job.build;
        // There is no run to share cores with.
        build.jobserver = None;
        let job = BundleJob {
            arguments: command.map_or_else(|| SHELL.map(str::to_owned).to_vec(), <[_]>::to_vec),
            terminal: command.is_none(),
            kept: job.kept,
            root: place(ROOT)?,
            mounts: place(MOUNTS)?,
            build,
        };
        let id = &job.build.package.id;
        let mut phase = Phase::Prepare;
        let ran = session
            .run(&mut helper, &id.to_string(), &job, files.scratch, |now| phase = now)
            .map_err(|source| BuildError::Job { id: id.clone(), source })
            .and_then(|ran| ran.result.map_err(|failure| failed(&job.build, phase, failure)));
        if ran.is_err() {
            for path in [&job.root, &job.mounts] {
                // What cannot be removed lies where the user looks for the bundle.
                drop(remove_as_container(map, path, session.view(), &Arc::default()));
            }
        }
        fs_err::write(folder.join("config.json"), ran?).map_err(bundle)
    }
}
