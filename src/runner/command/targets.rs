//! Mount points of a command: paths in its root without symbolic links.
//!
//! The maker of a container would otherwise follow the links of an image: over the machine's
//! folders, or over `/proc`, which is written to before the command begins (the classes of
//! CVE-2019-19921, CVE-2021-30465 and CVE-2025-52881).

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::container::sandbox::Bind;
use crate::container::within_root::locate;
use crate::runner::job::JobFailure;

/// Folders of every container, over which system mounts are made.
pub(super) const SYSTEM: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Refuses an image that has something else than a folder where a system mount belongs.
pub(super) fn check_system(root: &Path) -> Result<(), JobFailure> {
    for folder in SYSTEM {
        let place = root.join(folder.trim_start_matches('/'));
        match fs_err::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => {}
            Ok(found) => {
                let kind = if found.is_symlink() { "a symbolic link" } else { "no folder" };
                return Err(JobFailure::new(format!(
                    "{folder} of the image is {kind}: a container needs a folder there"
                )));
            }
            Err(error) => return Err(JobFailure::of(error)),
        }
    }
    Ok(())
}

/// Refuses a working directory in the container's own `/proc`: a descriptor there may be of a
/// folder of the machine, opened by the container's maker (CVE-2024-21626). `place` has no symbolic
/// link of the image.
pub(super) fn check_working_directory(place: &Path) -> Result<(), JobFailure> {
    let is_process = place.starts_with("/proc") && place != Path::new("/proc");
    if is_process || place.starts_with("/dev/fd") {
        let place = place.display();
        let message =
            format!("the working directory cannot be {place}: it is not a folder of the image");
        return Err(JobFailure::new(message));
    }
    Ok(())
}

/// Gives mounts targets in the root without symbolic links, from the one with number `first` on; those
/// before it have such targets. `root` has all mount points.
pub(super) fn resolve(root: &Path, binds: &mut [Bind], first: usize) -> Result<(), JobFailure> {
    let wanted: Vec<PathBuf> = binds.iter().map(|bind| bind.target.clone()).collect();
    for index in first..binds.len() {
        let target = &wanted[index];
        let refused = |why: String| {
            JobFailure::new(format!("nothing can be mounted at {}: {why}", target.display()))
        };
        // The last one is on top, and hides those before it.
        let above = wanted[..index].iter().rposition(|above| target.starts_with(above));
        let place = match above {
            Some(above) => {
                let below = target.strip_prefix(&wanted[above]).unwrap_or(target);
                below_mount(&binds[above].target, below)
            }
            None => resolved(root, target).map_err(|error| refused(error.to_string()))?,
        };
        // The visible mount; links of the image may lead into a mount, too.
        let above = binds[..index].iter().rposition(|above| place.starts_with(&above.target));
        if let Some(above) = above {
            let below = place.strip_prefix(&binds[above].target).unwrap_or(&place);
            check_no_link(&binds[above].source, below)
                .map_err(|error| refused(error.to_string()))?;
            if binds[above].is_shared && !below.as_os_str().is_empty() {
                let cache = wanted[above].display();
                let why = format!(
                    "it lies below {cache}, a cache that other builds may change meanwhile"
                );
                return Err(refused(why).with_hint(format!(
                    "add sharing=locked to the --mount=type=cache of {cache}"
                )));
            }
        }
        if let Some(system) = system_at(&place) {
            return Err(refused(format!("{system} is the container's own")));
        }
        binds[index].target = place;
    }
    Ok(())
}

/// A place below a mount, without a slash at its end.
fn below_mount(mount: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { mount.to_owned() } else { mount.join(below) }
}

/// Resolves a target in the root to a path without symbolic links. `/dev` does not belong to the
/// image.
fn resolved(root: &Path, target: &Path) -> io::Result<PathBuf> {
    if target.starts_with("/dev") && !target.components().any(|part| part == Component::ParentDir) {
        return Ok(target.to_owned());
    }
    let place = locate(root, target, false)?;
    Ok(Path::new("/").join(place.strip_prefix(root).unwrap_or(target)))
}

/// Returns the system mount that a mount at this path would cover.
fn system_at(place: &Path) -> Option<&'static str> {
    if place == Path::new("/") {
        return Some("/");
    }
    SYSTEM.into_iter().find(|system| match *system {
        // Files and folders in it are made in memory.
        "/dev" => place == Path::new("/dev"),
        system => place.starts_with(system),
    })
}

/// Refuses a symbolic link on the way to a mount point within another mount.
fn check_no_link(source: &Path, below: &Path) -> io::Result<()> {
    let mut place = source.to_owned();
    for part in below.components() {
        if !matches!(part, Component::Normal(_)) {
            return Err(io::Error::other("the path has .. in it"));
        }
        place.push(part);
        if fs_err::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
            return Err(io::Error::other("a symbolic link is in the way"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &Path, target: &str) -> Bind {
        Bind { source: source.to_owned(), target: target.into(), writable: true, is_shared: false }
    }

    fn targets(root: &Path, mut binds: Vec<Bind>) -> Result<Vec<PathBuf>, String> {
        resolve(root, &mut binds, 0).map_err(|failure| failure.message)?;
        Ok(binds.into_iter().map(|bind| bind.target).collect())
    }

    fn link(target: &str, place: PathBuf) {
        fs_err::os::unix::fs::symlink(target, place).unwrap();
    }

    #[test]
    fn links_of_the_image_are_followed_below_its_root_alone() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs_err::create_dir_all(root.join("etc")).unwrap();
        link("../../..", root.join("up"));
        link("/proc", root.join("process"));
        link("/dev", root.join("devices"));
        let source = place.path();
        let to = |target: &str| targets(&root, vec![bind(source, target)]);
        assert_eq!(to("/up/etc/x"), Ok(vec!["/etc/x".into()]));
        assert_eq!(to("/dev/pipes"), Ok(vec!["/dev/pipes".into()]));
        for refused in [
            "/proc",
            "/proc/self",
            "/process",
            "/process/sys",
            "/sys/fs",
            "/dev",
            "/devices",
            "/",
            "/up",
            "/etc/../proc",
            "/dev/../proc/x",
        ] {
            assert!(to(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn mounts_within_a_mount_are_below_it() {
        let place = tempfile::tempdir().unwrap();
        let (root, tree) = (place.path().join("root"), place.path().join("tree"));
        fs_err::create_dir_all(root.join("pkg")).unwrap();
        fs_err::create_dir_all(tree.join("real")).unwrap();
        link("/etc", tree.join("src"));
        link("pkg", root.join("link"));
        let within = |above: &str, target: &str| {
            targets(&root, vec![bind(&tree, above), bind(place.path(), target)])
        };
        assert_eq!(within("/link", "/link/real").unwrap()[1], Path::new("/pkg/real"));
        assert!(within("/pkg", "/pkg/src").unwrap_err().contains("symbolic link"));
        assert!(within("/pkg", "/pkg/src/deep").is_err());
    }

    #[test]
    fn mounts_that_links_of_the_image_lead_into_a_mount_are_below_it() {
        let place = tempfile::tempdir().unwrap();
        let (root, tree) = (place.path().join("root"), place.path().join("tree"));
        fs_err::create_dir_all(root.join("pkg")).unwrap();
        fs_err::create_dir_all(tree.join("real")).unwrap();
        link("/proc/sys", tree.join("src"));
        link("pkg", root.join("link"));
        let within = |is_shared: bool, target: &str| {
            let above = Bind { is_shared, ..bind(&tree, "/pkg") };
            targets(&root, vec![above, bind(place.path(), target)])
        };
        assert_eq!(within(false, "/link/real").unwrap()[1], Path::new("/pkg/real"));
        assert!(within(false, "/link/src").unwrap_err().contains("symbolic link"));
        assert!(within(false, "/link/src/kernel").is_err());
        for target in ["/link/real", "/pkg/real", "/pkg/new"] {
            let refused = within(true, target).unwrap_err();
            assert!(
                refused.contains(target) && refused.contains("below /pkg, a cache"),
                "{refused}"
            );
        }
        assert!(within(true, "/pkg").is_ok() && within(true, "/link").is_ok());
        assert!(within(true, "/other").is_ok());
    }

    #[test]
    fn no_working_directory_is_a_descriptor() {
        for (place, is_refused) in [
            ("/proc/self/fd/7", true),
            ("/proc/1/cwd", true),
            ("/dev/fd", true),
            ("/dev/fd/7", true),
            ("/proc", false),
            ("/process", false),
            ("/dev/shm", false),
            ("/", false),
        ] {
            assert_eq!(check_working_directory(Path::new(place)).is_err(), is_refused, "{place}");
        }
    }

    #[test]
    fn system_folders_of_an_image_are_folders() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        for name in ["proc", "sys"] {
            fs_err::create_dir(root.join(name)).unwrap();
        }
        link("/etc", root.join("dev"));
        assert!(
            check_system(root)
                .unwrap_err()
                .message
                .contains("/dev of the image is a symbolic link")
        );
        fs_err::remove_file(root.join("dev")).unwrap();
        fs_err::write(root.join("dev"), "").unwrap();
        assert!(check_system(root).is_err());
        fs_err::remove_file(root.join("dev")).unwrap();
        fs_err::create_dir(root.join("dev")).unwrap();
        check_system(root).unwrap();
    }
}
