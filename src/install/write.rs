//! Writing an install root.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::{OpenOptionsExt, symlink};

use super::plan::{InstallNode, InstallPlan};
use crate::package::PackageId;

/// An install root that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write the install root {folder}")]
pub struct WriteError {
    /// The folder.
    folder: PathBuf,
    /// Reason.
    #[source]
    source: io::Error,
}

impl InstallPlan {
    /// Writes the plan into a folder, which is made if missing and must not contain any of the
    /// plan's names; `unpacked` returns the folder of a package, whose unit is copied. After an
    /// error, the written part stays.
    pub fn write(
        &self,
        folder: &Path,
        unpacked: impl Fn(&PackageId) -> PathBuf,
    ) -> Result<(), WriteError> {
        self.write_all(folder, unpacked)
            .map_err(|source| WriteError { folder: folder.to_owned(), source })
    }

    fn write_all(&self, folder: &Path, unpacked: impl Fn(&PackageId) -> PathBuf) -> io::Result<()> {
        fs_err::create_dir_all(folder)?;
        for (path, node) in &self.nodes {
            let path = folder.join(path.as_path());
            match node {
                InstallNode::Directory => {
                    // In the order of paths, so a folder is made before its entries. An entry that
                    // exists is an error.
                    fs_err::create_dir(&path)?;
                    set_mode(&path, 0o755)?;
                }
                InstallNode::Symlink(target) => {
                    symlink(std::ffi::OsStr::from_bytes(target), &path)?;
                }
                InstallNode::File(content) => create(&path)?.write_all(content)?,
                InstallNode::Copy { package, file } => {
                    let source = unpacked(package).join(file.as_path());
                    io::copy(&mut open_file(&source)?, &mut create(&path)?)?;
                }
            }
        }
        Ok(())
    }
}

/// Opens a file that must not be replaced by a link or a FIFO since it was looked at.
fn open_file(path: &Path) -> io::Result<fs_err::File> {
    let file = fs_err::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other(format!("{} is not a file", path.display())))
    }
}

fn create(path: &Path) -> io::Result<fs_err::File> {
    // Fails at whatever is there, also at a link that leads nowhere (O_EXCL): nothing is written through it.
    let file = fs_err::OpenOptions::new().write(true).create_new(true).open(path)?;
    set_mode(path, 0o644)?;
    Ok(file)
}

/// Whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs_err::set_permissions(path, PermissionsExt::from_mode(mode))
}
