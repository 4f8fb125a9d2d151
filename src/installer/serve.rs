//! Writes the folder `genconf/serve` beside its place, and exchanges both.
//!
//! ```text
//! serve/dcos_install.sh, other outputs of the provider      what hosts run
//! serve/pkgpanda, programs/<sha256>/pkgpanda                the static program
//! serve/bootstrap/<id>.bootstrap.tar.xz, <id>.active.json
//! serve/packages/…, package_lists/…                         all packages of the cluster
//! serve/bootstrap.latest, cluster-package-list.latest       ids
//! serve/cluster-package-info.json                           package -> id, filename
//! serve/upgrade/<uuid>/dcos_node_upgrade.sh, files.json     those of former runs stay, with the files that
//!                                                           they fetch
//! ```

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Map, Value, json};

use super::error::InstallerError;
use super::file::InstallerFile;
use super::keep::{UPGRADE_FILES, UPGRADE_SCRIPT, failed, keep_upgrades, link_or_copy};
use super::manifest::{PROGRAM, SERVE};
use crate::base::atomic::{self, TemporaryFolder, sweep_under_lock};
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::package::PackageId;
use crate::package::paths::{is_late, package_list_id, package_list_path, package_path};
use crate::provider::ProviderFile;

/// Name of the script that hosts install with.
pub const INSTALL_SCRIPT: &str = "dcos_install.sh";

/// Name of the file that marks a served folder as written by an installer.
pub const MARK: &str = ".dcos-installer";

/// Contents of a served folder.
pub(super) struct ServedFolder<'a> {
    pub(super) installer: &'a InstallerFile,
    pub(super) files: Vec<ServedFile>,
    /// Path of the upgrade script among the files.
    pub(super) upgrade: Option<&'a str>,
    pub(super) observer: &'a dyn Observer,
}

/// A new file.
#[derive(Debug)]
pub(super) struct ServedFile {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) is_program: bool,
}

impl From<ProviderFile> for ServedFile {
    fn from(file: ProviderFile) -> Self {
        let is_program = !file.reproducible && file.bytes.starts_with(b"#!");
        Self { name: file.name, bytes: file.bytes, is_program }
    }
}

/// Writes the folder `serve` in `genconf`; gives its path.
pub(super) fn write(served: &ServedFolder<'_>, genconf: &Path) -> Result<PathBuf, InstallerError> {
    let target = genconf.join("serve");
    let _lock = FileLock::acquire(&genconf.join(".lock"), || ()).map_err(failed(genconf))?;
    sweep_under_lock(genconf).first().map_err(failed(genconf))?;
    let is_there = match fs_err::symlink_metadata(&target) {
        Ok(data) => {
            let is_empty =
                || fs_err::read_dir(&target).is_ok_and(|mut entries| entries.next().is_none());
            if !data.is_dir() || !(target.join(MARK).exists() || is_empty()) {
                return Err(InstallerError::Foreign(target));
            }
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(&target)(error)),
    };
    let staging = TemporaryFolder::create(genconf).map_err(failed(genconf))?;
    let folder = staging.path();
    // A temporary folder is open to its owner alone, and a web server may be another user.
    fs_err::set_permissions(folder, PermissionsExt::from_mode(0o755)).map_err(failed(folder))?;
    served.write_members(folder)?;
    for file in &served.files {
        write_file(folder, file)?;
    }
    let packages = served.write_lists(folder)?;
    // After the new files, which stay as they are: only what lacks is taken over.
    if is_there {
        keep_upgrades(&target, folder, served.observer)?;
    }
    // Before the exchange: after a crash, hosts must not find files without their contents.
    sync(folder).map_err(failed(folder))?;
    put_in_place(folder, &target, is_there).map_err(failed(&target))?;
    atomic::sync_folder(genconf).map_err(failed(genconf))?;
    atomic::write(&genconf.join("cluster_packages.json"), packages.as_bytes())
        .map_err(failed(genconf))?;
    Ok(target)
}

impl ServedFolder<'_> {
    /// Copies the files for hosts out of the installer.
    fn write_members(&self, folder: &Path) -> Result<(), InstallerError> {
        let names = self.installer.list().filter_map(|(name, _)| {
            let below = if name == PROGRAM { Some(PROGRAM) } else { name.strip_prefix(SERVE) };
            Some((name, below?))
        });
        for (name, below) in names {
            if self.observer.is_interrupted() {
                return Err(InstallerError::Interrupted);
            }
            let path = folder.join(below);
            let above = path.parent().unwrap_or(folder);
            fs_err::create_dir_all(above)
                .and_then(|()| self.installer.copy(name, &path))
                .map_err(failed(&path))?;
            if name == PROGRAM {
                fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755))
                    .map_err(failed(&path))?;
                let by_sum = folder.join(program_path(&self.installer.manifest().pkgpanda_sha256));
                link_or_copy(&path, &by_sum).map_err(failed(&by_sum))?;
            }
        }
        Ok(())
    }

    /// Writes the lists of the cluster's packages; returns the list by name.
    fn write_lists(&self, folder: &Path) -> Result<String, InstallerError> {
        let list = self.files.iter().find_map(|file| {
            let id = package_list_id(&file.name)?;
            Some((id, serde_json::from_slice::<Vec<PackageId>>(&file.bytes).ok()?))
        });
        let (list_id, ids) = list.unwrap_or_default();
        let packages: Map<String, Value> = ids
            .iter()
            .map(|id| (id.name().to_string(), json!({ "filename": package_path(id), "id": id })))
            .collect();
        if let Some(script) = self.upgrade {
            let name = script.replace(UPGRADE_SCRIPT, UPGRADE_FILES);
            let text = json!(self.fetched(list_id, &ids)).to_string().into_bytes();
            write_file(folder, &ServedFile { name, bytes: text, is_program: false })?;
        }
        let packages = format!("{:#}\n", Value::Object(packages));
        let bootstrap = &self.installer.manifest().bootstrap_id;
        for (name, text) in [
            ("bootstrap.latest", bootstrap.as_str()),
            ("cluster-package-list.latest", list_id),
            ("cluster-package-info.json", &packages),
            (MARK, ""),
        ] {
            let file = ServedFile {
                name: name.to_owned(),
                bytes: text.as_bytes().to_vec(),
                is_program: false,
            };
            write_file(folder, &file)?;
        }
        Ok(packages)
    }

    /// Files that the upgrade script, or `pkgpanda setup` for it, fetches.
    fn fetched(&self, list_id: &str, ids: &[PackageId]) -> Vec<String> {
        let late = self.files.iter().filter(|file| is_late(&file.name));
        let mut paths: Vec<String> = late.map(|file| file.name.clone()).collect();
        paths.push(program_path(&self.installer.manifest().pkgpanda_sha256));
        paths.push(package_list_path(list_id));
        paths.extend(ids.iter().map(package_path));
        paths
    }
}

/// Path of a program, which scripts of later versions do not replace.
fn program_path(sum: &Sha256Sum) -> String {
    format!("programs/{sum}/{PROGRAM}")
}

fn write_file(folder: &Path, file: &ServedFile) -> Result<(), InstallerError> {
    use std::io::Write as _;
    // The provider has checked that the name stays below the folder.
    let path = folder.join(&file.name);
    let above = path.parent().unwrap_or(folder);
    let written = fs_err::create_dir_all(above)
        .and_then(|()| fs_err::File::create_new(&path))
        .and_then(|mut out| out.write_all(&file.bytes));
    written.map_err(failed(&path))?;
    if file.is_program {
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).map_err(failed(&path))?;
    }
    Ok(())
}

/// Writes everything below a folder to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    let folder = fs_err::File::open(folder)?;
    Ok(nix::unistd::syncfs(folder.file())?)
}

/// Renames a folder to its final name; the previous one gets the temporary name.
fn put_in_place(folder: &Path, target: &Path, is_there: bool) -> io::Result<()> {
    if !is_there {
        return fs_err::rename(folder, target);
    }
    match renameat2(AT_FDCWD, folder, AT_FDCWD, target, RenameFlags::RENAME_EXCHANGE) {
        // Filesystems without an exchange.
        Err(nix::errno::Errno::EINVAL) => {
            let old = folder.with_extension("old");
            fs_err::rename(target, &old)?;
            fs_err::rename(folder, target)?;
            fs_err::rename(&old, folder)
        }
        other => Ok(other?),
    }
}
