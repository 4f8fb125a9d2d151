use super::*;

/// Says what a user without root's rights does not test.
fn left_out(what: &str) {
    // Not by the macro, whose text a test that succeeds keeps to itself.
    let mut stderr = io::stderr();
    io::Write::write_all(&mut stderr, format!("LEFT OUT: {what}; needs: root\n").as_bytes())
        .unwrap();
}

#[test]
fn a_folder_is_ours_by_its_mark_or_by_all_its_names() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("home");
    let foreign = || Home::foreign_entry(&root).unwrap();
    assert_eq!(foreign(), None);
    fs_err::create_dir(&root).unwrap();
    for name in NAMES.iter().filter(|name| **name != MARKER).chain([&".tmp-x"]) {
        fs_err::create_dir(root.join(name)).unwrap();
    }
    assert_eq!(foreign(), None);
    for name in ["src", "Packages", "packages.old", ".git", "mkpanda.toml"] {
        fs_err::create_dir(root.join(name)).unwrap();
        assert_eq!(foreign(), Some(name.into()));
        fs_err::remove_dir(root.join(name)).unwrap();
    }
    // Marked once, it may have a person's notes in it. A link is no mark.
    fs_err::os::unix::fs::symlink("/etc/passwd", root.join(MARKER)).unwrap();
    fs_err::write(root.join("notes"), "").unwrap();
    assert_eq!(foreign(), Some("notes".into()));
    fs_err::remove_file(root.join(MARKER)).unwrap();
    Home::new(root.clone(), None).mark().unwrap();
    assert_eq!(foreign(), None);
}

#[test]
fn only_the_owner_of_a_home_and_root_may_replace_what_lies_in_it() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("home");
    assert_eq!(Home::other_owner(&root).unwrap(), None);
    fs_err::create_dir(&root).unwrap();
    fs_err::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(Home::other_owner(&root).unwrap(), None);
    Home::new(root.clone(), None).mark().unwrap();
    assert_eq!(fs_err::metadata(&root).unwrap().mode() & 0o7777, 0o775);
    let other = Some(nix::unistd::Uid::from_raw(54_321));
    if nix::unistd::geteuid().is_root() {
        nix::unistd::chown(&root, other, None).unwrap();
        assert_eq!(Home::other_owner(&root).unwrap(), None);
        fs_err::set_permissions(&root, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(Home::other_owner(&root).unwrap(), Some(54_321));
    } else {
        assert_eq!(Home::other_owner(Path::new("/")).unwrap(), None, "it is root's");
        left_out("homes of other users");
    }
}

#[test]
fn root_follows_no_symlink_of_the_user_whose_folder_is_its_home() {
    let place = tempfile::tempdir().unwrap();
    let (root, victim) = (place.path().join("home"), place.path().join("victim"));
    assert_eq!(Home::others_link(&root).unwrap(), None);
    for folder in [&root.join("images"), &victim] {
        fs_err::create_dir_all(folder).unwrap();
    }
    // The caller's own links are the caller's word.
    for link in ["layers", "images/blobs"] {
        fs_err::os::unix::fs::symlink(&victim, root.join(link)).unwrap();
    }
    assert_eq!(Home::others_link(&root).unwrap(), None);
    if !nix::unistd::geteuid().is_root() {
        return left_out("links of other users in their homes");
    }
    let other = Some(54_321);
    std::os::unix::fs::lchown(&root, other, None).unwrap();
    assert_eq!(Home::others_link(&root).unwrap(), None);
    for link in ["images/blobs", "layers"] {
        let link = root.join(link);
        std::os::unix::fs::lchown(&link, other, None).unwrap();
        assert_eq!(Home::others_link(&root).unwrap(), Some(link.clone()));
        fs_err::remove_file(link).unwrap();
    }
}
