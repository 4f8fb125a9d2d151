//! Upgrade scripts of former runs: hosts may have their URLs still, so they stay, with the files that they
//! fetch, until somebody removes their folders.

use std::io;
use std::path::Path;

use super::error::InstallerError;
use crate::archive::EntryPath;
use crate::base::confinement::read_text;
use crate::base::escape::path_argument;
use crate::base::event::{Event, Observer};
use crate::base::remedy::with_hint;

/// Name of the output that upgrades a host.
pub const UPGRADE_SCRIPT: &str = "dcos_node_upgrade.sh";

/// File beside an upgrade script: paths of the files that it fetches, as a list in JSON.
pub(super) const UPGRADE_FILES: &str = "files.json";

/// Largest list of files, in bytes.
const LONGEST: u64 = 16 << 20;

/// Takes the upgrade scripts of a served folder along to the new one.
pub(super) fn keep_upgrades(
    old: &Path,
    new: &Path,
    observer: &dyn Observer,
) -> Result<(), InstallerError> {
    let folder = old.join("upgrade");
    let entries = match fs_err::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed(&folder))?;
        let target = new.join("upgrade").join(entry.file_name());
        let from = entry.path().join(UPGRADE_SCRIPT);
        let is_file = fs_err::symlink_metadata(&from).is_ok_and(|data| data.is_file());
        // A path has the sum of its script: what is there already is the same script.
        if !is_file || target.exists() {
            continue;
        }
        link_or_copy(&from, &target.join(UPGRADE_SCRIPT)).map_err(failed(&target))?;
        let lacking = keep_files(old, new, &entry.path(), &target)?;
        if !lacking.is_empty() {
            let message = format!(
                "it does not work any more, as these files are gone: {}",
                lacking.join(", ")
            );
            let hint = format!(
                "make it again: --generate-node-upgrade-script VERSION\nor remove its folder: rm -r {}",
                path_argument(&entry.path())
            );
            let message = with_hint(message, Some(&hint));
            let subject = format!("upgrade script {}", from.display());
            observer.event(Event::Warning { subject, message });
        }
    }
    Ok(())
}

/// Keeps the files of one script; gives those that are not there.
fn keep_files(
    old: &Path,
    new: &Path,
    from: &Path,
    target: &Path,
) -> Result<Vec<String>, InstallerError> {
    let paths = read_text(from, Path::new(UPGRADE_FILES), LONGEST).ok();
    let paths = paths.and_then(|text| serde_json::from_str::<Vec<String>>(&text).ok());
    let Some(paths) = paths else { return Ok(vec![UPGRADE_FILES.to_owned()]) };
    link_or_copy(&from.join(UPGRADE_FILES), &target.join(UPGRADE_FILES)).map_err(failed(target))?;
    let mut lacking = Vec::new();
    for path in paths {
        // Somebody may have changed the list: no path in it may lead out of the folder.
        let is_below = EntryPath::parse(path.as_bytes())
            .is_ok_and(|entry| entry.as_bytes() == path.as_bytes() && !entry.is_root());
        let (from, to) = (old.join(&path), new.join(&path));
        if is_below && fs_err::symlink_metadata(&to).is_ok() {
            continue;
        }
        if !is_below || !fs_err::symlink_metadata(&from).is_ok_and(|data| data.is_file()) {
            lacking.push(path);
            continue;
        }
        link_or_copy(&from, &to).map_err(failed(&to))?;
    }
    Ok(lacking)
}

/// The fault of a file of the served folder.
pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> InstallerError {
    let path = path.to_owned();
    move |source| InstallerError::Serve { path: path.clone(), source }
}

/// Gives a file a second name; a copy where a filesystem has no links.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(above) = to.parent() {
        fs_err::create_dir_all(above)?;
    }
    fs_err::hard_link(from, to).or_else(|_| fs_err::copy(from, to).map(drop))
}
