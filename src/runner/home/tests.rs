//! The builder's own folder.

use super::*;

#[test]
fn a_folder_that_the_user_names_for_scratch_is_not_changed() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let place = tempfile::tempdir().unwrap();
    let room = place.path().join("room");
    fs_err::create_dir_all(room.join("run-1-0")).unwrap();
    fs_err::set_permissions(&room, std::fs::Permissions::from_mode(0o1777)).unwrap();
    for name in ["Cargo.lock", "run-1-0.lock", "run-x-0.lock", "run-1.lock", "run--.lock"] {
        fs_err::write(room.join(name), "mine").unwrap();
    }
    let home = Home::new(place.path().join("home"), Some(room.clone()));
    let (one, two) = (home.start_run().unwrap(), home.start_run().unwrap());
    let own = one.folder().parent().unwrap().to_owned();
    assert_eq!(own.parent(), Some(room.as_path()));
    assert_eq!(fs_err::metadata(&own).unwrap().mode() & 0o7777, 0o700);
    for name in ["Cargo.lock", "run-x-0.lock", "run-1.lock", "run--.lock"] {
        fs_err::write(own.join(name), "mine").unwrap();
    }
    assert!(home.orphans().unwrap().is_empty());
    for name in ["Cargo.lock", "run-x-0.lock", "run-1.lock", "run--.lock"] {
        fs_err::remove_file(own.join(name)).unwrap();
    }
    drop(one);
    assert!(own.exists());
    drop(two);
    assert_eq!(fs_err::read_dir(&room).unwrap().count(), 6);
    assert_eq!(fs_err::metadata(&room).unwrap().mode() & 0o7777, 0o1777);
    // Somebody else was there before.
    fs_err::os::unix::fs::symlink(place.path(), &own).unwrap();
    assert!(home.start_run().is_err());
}

/// Between making the folder and taking a lock in it.
#[test]
fn a_scratch_folder_that_goes_or_is_replaced_meanwhile_is_not_worked_in() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let place = tempfile::tempdir().unwrap();
    let room = place.path().join("room");
    let home = Home::new(place.path().join("home"), Some(room));
    let own = home.scratch().unwrap().to_owned();
    let mode = || fs_err::symlink_metadata(&own).unwrap().mode() & 0o7777;
    let open = |mode: u32| fs_err::set_permissions(&own, PermissionsExt::from_mode(mode));
    // The last one of other runs removes it; whoever makes it anew has another mode.
    fs_err::remove_dir(&own).unwrap();
    assert!(home.lock_run("run-1-0").unwrap().is_none());
    assert_eq!(mode(), 0o700);
    for wrong in [0o755, 0o777, 0o1777] {
        open(wrong).unwrap();
        assert!(home.lock_run("run-1-0").unwrap().is_none(), "{wrong:o}");
        assert_eq!(mode(), 0o700);
    }
    let held = home.lock_run("run-1-0").unwrap().unwrap();
    assert!(own_folder::has_lock(&own, "run-1-0.lock", &held));
    assert!(!own_folder::has_lock(&own, "run-1-1.lock", &held));
    drop(held);
    crate::base::removal::remove_all(&own).unwrap();
    // A link to another folder of the caller's, closed as this one.
    let other = place.path().join("other");
    fs_err::create_dir(&other).unwrap();
    fs_err::set_permissions(&other, PermissionsExt::from_mode(0o700)).unwrap();
    fs_err::os::unix::fs::symlink(&other, &own).unwrap();
    let refused = home.lock_run("run-1-0").unwrap_err().to_string();
    assert!(refused.contains("is not a folder of this user's"), "{refused}");
    assert!(home.orphans().unwrap().is_empty());
    fs_err::remove_file(&own).unwrap();
    // Runs that come and go at once.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let run = home.start_run().unwrap();
                    assert_eq!(mode(), 0o700);
                    drop(run);
                }
            });
        }
    });
}

#[test]
fn only_folders_of_dead_runs_are_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().to_owned(), None);
    let run = home.start_run().unwrap();
    assert!(home.orphans().unwrap().is_empty());
    let dead = home.start_run().unwrap();
    let path = dead.folder().to_owned();
    fs_err::write(path.join("left"), "").unwrap();
    drop(dead);
    let mut orphans = home.orphans().unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!(orphans[0].folder(), path);
    assert!(home.orphans().unwrap().is_empty(), "two sweepers don't meet");
    crate::base::removal::remove_all(&path).unwrap();
    orphans.remove(0).forget().unwrap();
    drop(run);
    assert_eq!(fs_err::read_dir(folder.path().join("scratch")).unwrap().count(), 0);
    for closed in ["scratch", "layers", "packages", "locks"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs_err::metadata(folder.path().join(closed)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o700, "{closed}");
    }
}
