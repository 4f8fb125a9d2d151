//! Removal, below all that keeps other programs from it: depth, names, modes, links, mounts.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fs_err::os::unix::fs::symlink;
use nix::sys::stat::mkdirat;

use super::*;

/// Makes folders one in the other, each with the name and a file.
fn nest(top: &Path, depth: usize, name: &str) {
    let mut folder = openat(AT_FDCWD, top, FOLDER, Mode::empty()).unwrap();
    let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
    for level in 0..depth {
        mkdirat(&folder, name, Mode::S_IRWXU).unwrap();
        folder = openat(&folder, name, FOLDER, Mode::empty()).unwrap();
        if level % 100 == 0 {
            drop(openat(&folder, "file", flags, Mode::S_IRUSR).unwrap());
        }
    }
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs_err::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn whatever_is_there_goes_and_what_a_link_leads_to_stays() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs_err::create_dir_all(path("folder/closed/below")).unwrap();
    fs_err::write(path("folder/closed/file"), "").unwrap();
    fs_err::create_dir(path("kept")).unwrap();
    fs_err::write(path("kept/file"), "").unwrap();
    symlink(path("kept"), path("link")).unwrap();
    symlink(path("kept"), path("folder/closed/link")).unwrap();
    fs_err::set_permissions(path("folder/closed"), PermissionsExt::from_mode(0o500)).unwrap();
    if !nix::unistd::geteuid().is_root() {
        let error = remove_all(&path("folder")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("folder/closed/"), "{error}");
    }
    remove_all_closed(&path("folder")).unwrap();
    for name in ["link", "folder", "nothing", "nothing/below"] {
        remove_all(&path(name)).unwrap();
        remove_all_closed(&path(name)).unwrap();
    }
    assert_eq!(names(home.path()), ["kept"]);
    assert_eq!(names(&path("kept")), ["file"]);
    assert!(remove_all(Path::new("/")).is_err());
}

#[test]
fn folders_without_any_permission_go_too() {
    let home = tempfile::tempdir().unwrap();
    for mode in [0o000, 0o100, 0o200, 0o300, 0o400, 0o500, 0o600] {
        let top = home.path().join(format!("{mode:o}"));
        // One at the top, one in the middle, one that is empty.
        for name in ["a/b/c", "a/empty"] {
            fs_err::create_dir_all(top.join(name)).unwrap();
        }
        fs_err::write(top.join("a/b/file"), "").unwrap();
        for name in ["a/empty", "a/b", "a", ""] {
            fs_err::set_permissions(top.join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        remove_all_closed(&top).unwrap();
    }
    assert!(names(home.path()).is_empty());
}

#[test]
fn no_depth_is_too_deep() {
    // A process of its own may have as few descriptors as it says.
    let own = std::env::current_exe().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 64 && ulimit -s 256 && exec \"$@\"", "sh"]).arg(own);
    shell.args(["--ignored", "--exact", "base::removal::tests::with_few_descriptors"]);
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[test]
#[ignore = "run by no_depth_is_too_deep"]
fn with_few_descriptors() {
    // In memory, if that can be: a disk takes a millisecond for a folder.
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_none| tempfile::tempdir()).unwrap();
    let depth = if home.path().starts_with("/dev/shm") { 100_000 } else { 10_000 };
    for (depth, name) in [(depth, "d"), (50, &"n".repeat(255)[..]), (9, "x")] {
        let top = home.path().join("deep");
        fs_err::create_dir(&top).unwrap();
        nest(&top, depth, name);
        nest(&top, depth / 2, "beside");
        remove_all(&top).unwrap();
    }
    assert!(names(home.path()).is_empty());
}

#[test]
fn what_cannot_be_removed_is_named_briefly() {
    let home = tempfile::tempdir().unwrap();
    let open = || openat(AT_FDCWD, home.path(), FOLDER, Mode::empty()).unwrap();
    let top = home.path().join("top");
    let mut walk = RemovalWalk { top: &top, way: Descent::new(open()), open_closed: false };
    for _ in 0..100 {
        let name = CString::new("n".repeat(200)).unwrap();
        walk.way.enter(open(), Doomed { name, left: Vec::new(), rounds: 0 }).unwrap();
    }
    let WalkStop::Failed(error) = walk.failed(c"file", Errno::EXDEV) else { panic!() };
    assert!(error.to_string().ends_with("/…`: something is mounted there"), "{error}");
    assert!(error.to_string().len() < 2 * LONGEST_SHOWN, "{error}");
}
