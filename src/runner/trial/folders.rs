//! Trials of the folders that builds write to.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Feature, FeatureFinding};
use crate::base::causes::with_causes;
use crate::runner::home::{Home, RunScratch};

/// Least room in bytes below which a folder is called short of it: a builder image and a few packages.
const LITTLE: u64 = 2 << 30;

/// Tries the builder's own folder and the scratch folder.
pub(super) fn try_folders(
    home: &Home,
    run: Result<&RunScratch, &io::Error>,
) -> [FeatureFinding; 2] {
    let own = home.mark().map_err(|error| with_causes(&error));
    let own = match own {
        Ok(()) => try_place(Feature::Home, home.root(), home.root(), "MKPANDA_HOME=DIR"),
        Err(reason) => refused(Feature::Home, &reason, "MKPANDA_HOME=DIR"),
    };
    let scratch = match run {
        Ok(run) => {
            let above = run.folder().parent().unwrap_or(run.folder());
            try_place(Feature::Scratch, run.folder(), above, "--scratch DIR")
        }
        Err(error) => refused(Feature::Scratch, &with_causes(error), "--scratch DIR"),
    };
    [own, scratch]
}

fn refused(feature: Feature, reason: &str, option: &str) -> FeatureFinding {
    let remedy = format!("name a folder of your own: {option}");
    FeatureFinding::missing(feature, format!("cannot be written: {reason}"), vec![remedy])
}

/// Writes a program to a folder, runs it, and looks for room. `shown` is the folder's name for people.
fn try_place(feature: Feature, folder: &Path, shown: &Path, option: &str) -> FeatureFinding {
    match executes(folder) {
        Ok(true) => {}
        Ok(false) => {
            let detail = format!(
                "{} is mounted noexec, so builds cannot run programs that lie there",
                shown.display()
            );
            let mount = format!(
                "name a folder on another filesystem: {option}, or mount that one with exec"
            );
            return FeatureFinding::missing(feature, detail, vec![mount]);
        }
        Err(error) => return refused(feature, &with_causes(&error), option),
    }
    let disk = match nix::sys::statvfs::statvfs(folder) {
        Ok(disk) => disk,
        Err(errno) => return refused(feature, &errno.to_string(), option),
    };
    let free = disk.blocks_available() * disk.fragment_size();
    let gibibytes = free >> 30;
    let detail = format!("{}: {gibibytes} GiB are free", shown.display());
    // btrfs and others that make inodes as they need them count none.
    let has_names = disk.files() == 0 || disk.files_available() > 100_000;
    if free < LITTLE || !has_names {
        let more = if has_names { "" } else { ", and few inodes" };
        let remedies =
            vec!["mkpanda gc".to_owned(), format!("name a folder on another filesystem: {option}")];
        return FeatureFinding::limited(feature, format!("{detail}{more}"), remedies);
    }
    FeatureFinding::works(feature, detail)
}

/// True if a program that is written to the folder can be run.
fn executes(folder: &Path) -> io::Result<bool> {
    let mut file = tempfile::Builder::new().prefix(".tmp-trial-").tempfile_in(folder)?;
    io::Write::write_all(&mut file, b"#!/bin/sh\nexit 0\n")?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o700))?;
    let program = file.into_temp_path();
    let ended = Command::new(&program)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match ended {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}
