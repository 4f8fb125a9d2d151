//! Locks of the builder's own folder, which are nobody else's to hold.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use crate::pkgpanda::{is_root, locked_by_another};
use crate::support::{Place, files_below};

fn mode(path: &std::path::Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn nobody_else_can_open_a_lock() {
    let place = Place::new();
    place.package("a", "{}", "true");
    place.run("a", &[]).ok();
    assert_eq!(mode(&place.home.join("locks")), 0o700);
    let files = files_below(&place.home.join("locks"));
    let locks = files.iter().filter(|path| path.extension().is_none_or(|kind| kind != "json"));
    assert!(
        locks.clone().count() > 0 && locks.clone().all(|path| mode(path) == 0o600),
        "{files:?}"
    );
}

#[test]
fn a_lock_of_another_users_is_replaced() {
    let place = Place::bare();
    place.run("", &["gc"]).ok();
    let lock = place.home.join("locks/gc");
    assert_eq!(mode(&lock), 0o600);
    // As an older version left it.
    for folder in [place.path(), &place.home, &place.home.join("locks")] {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o644)).unwrap();
    let Some(other) = locked_by_another(&lock) else { return };
    assert!(is_root());
    let plain = place.command("", &["gc"]);
    let mut command = Command::new("timeout");
    command.arg("60").arg(plain.get_program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().unwrap());
    assert!(command.status().unwrap().success());
    assert_eq!(mode(&lock), 0o600);
    other.end();
}
