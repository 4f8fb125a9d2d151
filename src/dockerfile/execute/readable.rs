//! Files of the build context that only real root may read: a container's root is another user, and
//! gets copies.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::job::{CopyInput, Match, MountInput};
use super::placement::{With, link, put};
use crate::base::confinement::open_parent_of_listed;
use crate::container::idmap::IdMap;
use crate::container::namespace::fd_path;
use crate::container::within_root::{Ownership, make_folders_with};

/// Puts copies, below an empty folder `into`, in the place of files that the container's root couldn't
/// read.
pub(super) fn make_readable(
    inputs: &mut [CopyInput],
    mounts: &mut [MountInput],
    map: &IdMap,
    into: &Path,
) -> io::Result<()> {
    // The container's root is the caller, and reads what the caller reads.
    if map.root().0 == nix::unistd::Uid::current().as_raw() {
        return Ok(());
    }
    let mounted = mounts.iter_mut().filter_map(|mount| match mount {
        MountInput::Tree(input) | MountInput::Cache { begins_as: Some(input), .. } => Some(input),
        _ => None,
    });
    for (index, input) in inputs.iter_mut().chain(mounted).enumerate() {
        let CopyInput::Listed { folder, matches } = input else { continue };
        if !are_readable(folder, matches)? {
            let copy = into.join(index.to_string());
            copy_all(folder, matches, map.root(), &copy)?;
            *folder = copy;
        }
    }
    Ok(())
}

fn are_readable(folder: &Path, matches: &[Match]) -> io::Result<bool> {
    for entry in matches.iter().flat_map(|found| &found.entries) {
        // The folders on the way count too.
        for path in entry.path.ancestors() {
            let data = fs_err::symlink_metadata(folder.join(path))?;
            // The bits of others alone: the container's root is neither the owner nor in the group.
            // An ACL may say more; then a copy is made in vain.
            let wanted = if data.is_dir() { 0o005 } else { 0o004 };
            if !data.is_symlink() && data.permissions().mode() & wanted != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn copy_all(folder: &Path, matches: &[Match], owner: (u32, u32), to: &Path) -> io::Result<()> {
    fs_err::create_dir_all(to)?;
    fs_err::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
    let owner = Ownership { ids: owner, is_single_id: false };
    let top = fs_err::File::open(folder)?.into_parts().0;
    let mut linked = HashMap::new();
    for entry in matches.iter().flat_map(|found| &found.entries) {
        if entry.path.as_os_str().is_empty() {
            continue;
        }
        // The owner of the context could replace a folder by a link meanwhile.
        let parent = open_parent_of_listed(&top, &entry.path)?;
        let name = entry.path.file_name().unwrap_or_default();
        let (from, target) = (Path::new(&fd_path(&parent)).join(name), to.join(&entry.path));
        copy_parents(&top, &entry.path, owner, to)?;
        let data = fs_err::symlink_metadata(&from)?;
        // Two names of one file stay that.
        if data.is_file() && data.nlink() > 1 {
            let first = linked.entry((data.dev(), data.ino())).or_insert_with(|| target.clone());
            if *first != target {
                link(first, &target, false)?;
                continue;
            }
        }
        let with = With { owner, mode: data.permissions().mode(), replaces: false };
        put(&from, &data, &target, with).map(drop)?;
    }
    Ok(())
}

/// Makes the parent folders of an entry with their original modes: `--parents` copies them.
fn copy_parents(top: &std::fs::File, path: &Path, owner: Ownership, to: &Path) -> io::Result<()> {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for folder in above.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
        let target = to.join(folder);
        if fs_err::symlink_metadata(&target).is_ok() {
            continue;
        }
        let parent = open_parent_of_listed(top, folder)?;
        let name = folder.file_name().unwrap_or_default();
        let data = fs_err::symlink_metadata(Path::new(&fd_path(&parent)).join(name))?;
        make_folders_with(to, &target, owner, data.permissions().mode() & 0o7777)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::dockerfile::execute::job::CopyEntry;

    #[test]
    fn a_folder_that_becomes_a_link_meanwhile_gives_nothing() {
        let place = tempfile::tempdir().unwrap();
        let context = place.path().join("context");
        fs_err::create_dir_all(context.join("d")).unwrap();
        fs_err::create_dir(place.path().join("private")).unwrap();
        fs_err::write(context.join("d/f"), "mine").unwrap();
        fs_err::write(place.path().join("private/f"), "private").unwrap();
        fs_err::os::unix::fs::symlink("../private", context.join("link")).unwrap();
        let entry = |path: &str| CopyEntry { path: path.into(), place: path.into() };
        let matches =
            [Match { is_folder: true, entries: vec![entry(""), entry("d"), entry("d/f")] }];
        let owner = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let (is_over, context_of_thread) = (Arc::new(AtomicBool::new(false)), context.clone());
        let is_over_for_thread = Arc::clone(&is_over);
        let exchanging = std::thread::spawn(move || {
            let exchange = |from: &str, to: &str| {
                let context = &context_of_thread;
                fs_err::rename(context.join(from), context.join(to)).unwrap();
            };
            while !is_over_for_thread.load(Ordering::Relaxed) {
                exchange("d", "x");
                exchange("link", "d");
                exchange("d", "link");
                exchange("x", "d");
            }
        });
        let mut copied = 0;
        let mut wrong = 0;
        for number in 0..1000 {
            let to = place.path().join(number.to_string());
            let is_copied = copy_all(&context, &matches, owner, &to).is_ok();
            let is_folder = fs_err::symlink_metadata(to.join("d")).is_ok_and(|data| data.is_dir());
            if is_folder && let Ok(text) = fs_err::read_to_string(to.join("d/f")) {
                wrong += usize::from(text != "mine");
                copied += usize::from(is_copied);
            }
        }
        is_over.store(true, Ordering::Relaxed);
        exchanging.join().unwrap();
        assert_eq!(wrong, 0);
        assert!(copied > 0);
    }
}
