//! Folders as tars that depend on names, contents, links and the execute permission alone.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::budget::CopyBudget;
use crate::archive::{Attributes, EntryPath, PackError, TarWriter};
use crate::base::confinement::open_listed;

/// Writes a folder as a tar, with fixed owners, modes and times, as a build sees a package's folder.
/// Hard links become files of their own. Nothing is written if the files have more bytes than the budget.
pub(super) fn write_folder(
    folder: &Path,
    out: impl Write,
    source_date_epoch: u64,
    budget: &CopyBudget<'_>,
) -> Result<(), PackError> {
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1) {
        let entry = entry.map_err(|error| PackError::Input(error.into()))?;
        if entry.file_type().is_file() {
            let data = entry.metadata().map_err(|error| PackError::Input(error.into()))?;
            budget.take(data.len()).map_err(PackError::Input)?;
        }
        let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        entries.push(path.to_owned());
    }
    // By bytes, as a folder's own order and that of a locale differ between machines.
    entries.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let top = fs_err::File::open(folder).map_err(PackError::Input)?.into_parts().0;
    let mut tar = TarWriter::new(out, source_date_epoch);
    tar.directory(&EntryPath::root(), &Attributes::new(0o755))?;
    for path in entries {
        add(&mut tar, folder, &top, &path, budget)?;
    }
    let (mut out, _) = tar.finish()?;
    out.flush().map_err(PackError::Output)
}

fn add<W: Write>(
    tar: &mut TarWriter<W>,
    folder: &Path,
    top: &File,
    path: &Path,
    budget: &CopyBudget<'_>,
) -> Result<(), PackError> {
    let input = PackError::Input;
    let place = folder.join(path);
    let name = EntryPath::parse(path.as_os_str().as_bytes())
        .map_err(|error| input(io::Error::other(format!("{}: {error}", place.display()))))?;
    let found = fs_err::symlink_metadata(&place).map_err(input)?;
    if found.is_dir() {
        return tar.directory(&name, &Attributes::new(0o755));
    }
    if found.is_symlink() {
        let target = fs_err::read_link(&place).map_err(input)?;
        return tar.symlink(&name, target.as_os_str().as_bytes(), &Attributes::new(0o777));
    }
    let special = || {
        io::Error::other(format!("{} is neither a file nor a folder nor a link", place.display()))
    };
    if !found.is_file() {
        return Err(input(special()));
    }
    let file = open_listed(top, path).map_err(input)?;
    let data = file.metadata().map_err(input)?;
    let mode = if data.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
    tar.file(&name, data.len(), budget.interruptible(file), &Attributes::new(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveLimits;
    use crate::container::helper::Interrupt;

    #[test]
    fn the_bytes_depend_on_neither_modes_nor_times_nor_the_place() {
        let write = |mode: u32, time: u64| {
            let place = tempfile::tempdir().unwrap();
            let below = place.path().join("a");
            fs_err::create_dir(&below).unwrap();
            fs_err::os::unix::fs::symlink("../elsewhere", below.join("link")).unwrap();
            for (name, executable) in [("a.x", 0), ("a/b", 0o100), ("a/\u{e4}", 0)] {
                let path = place.path().join(name);
                fs_err::write(&path, name).unwrap();
                crate::base::times::set_time(&path, time).unwrap();
                let mode = std::fs::Permissions::from_mode(mode | executable);
                fs_err::set_permissions(&path, mode).unwrap();
            }
            let mut out = Vec::new();
            let interrupt = Interrupt::default();
            let budget = CopyBudget::new(ArchiveLimits::NONE, &interrupt);
            write_folder(place.path(), &mut out, 7, &budget).unwrap();
            out
        };
        let one = write(0o600, 1);
        assert_eq!(one, write(0o664, 1_000_000_000));
        assert!(one.len() > 512 * 6);
    }

    #[test]
    fn nothing_is_written_of_files_that_are_too_large_together() {
        let place = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let file = fs_err::File::create(place.path().join(name)).unwrap();
            file.set_len(600 << 30).unwrap();
        }
        let interrupt = Interrupt::default();
        let budget = CopyBudget::new(
            ArchiveLimits { max_bytes: 1 << 40, ..ArchiveLimits::NONE },
            &interrupt,
        );
        let mut out = Vec::new();
        let refused = write_folder(place.path(), &mut out, 7, &budget).unwrap_err();
        assert!(out.is_empty());
        let PackError::Input(source) = refused else { panic!("{refused:?}") };
        assert!(crate::portable::budget::too_large(&source).is_some(), "{source}");
    }
}
