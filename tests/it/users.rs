//! What differs by who runs it: ids, privileges, and what the container's root may read.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;
use serde_json::json;

use crate::inside::{sha1_of, tier};
use crate::support::{Place, ran};

/// Lines of numbers, as in `/proc/self/uid_map`.
fn numbers(text: &str) -> Vec<Vec<u32>> {
    let line = |line: &str| line.split_whitespace().map(|word| word.parse().unwrap()).collect();
    text.lines().map(line).collect()
}

#[test]
fn the_containers_root_is_never_the_machines() {
    let place = Place::new();
    place.package(
        "app",
        "{}",
        "cat /proc/self/uid_map > $PKG_PATH/uids; cat /proc/self/gid_map > $PKG_PATH/gids
         cat /proc/self/setgroups > $PKG_PATH/setgroups",
    );
    place.run("app", &[]).ok();
    let own = Uid::current().as_raw();
    for file in ["uids", "gids"] {
        let map = numbers(&place.file_of("app", file));
        let root = map.iter().find(|range| range[0] == 0).unwrap();
        assert_ne!(root[1], 0, "{file}: {map:?}");
        match tier() {
            "single" => assert_eq!(map.len(), 1, "{file}: {map:?}"),
            _ => assert!(map.iter().map(|range| range[2]).sum::<u32>() > 1000, "{file}: {map:?}"),
        }
        if file == "uids" && own != 0 {
            assert_eq!(root[1], own);
        }
    }
    let setgroups = if tier() == "single" { "deny\n" } else { "allow\n" };
    assert_eq!(place.file_of("app", "setgroups"), setgroups);
    // What the caller gets is the caller's.
    for path in crate::support::files_below(&place.packages.join("cache")) {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (own, 0o644), "{}", path.display());
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A package whose build needs its script, `extra/`, sources of several kinds and a dependency.
fn write_private_package(place: &Place) {
    place.package("base", "{}", "echo base > $PKG_PATH/base");
    place.write("app/extra/inner/file", "extra\n");
    place.write("app/note.txt", "note\n");
    let sources =
        json!({"note": {"kind": "url", "url": "file://note.txt", "sha1": sha1_of("note\n")}});
    place.package(
        "app",
        &json!({"requires": ["base"], "sources": sources}).to_string(),
        "cat /pkg/extra/inner/file /pkg/build/note.txt /pkg/src/note/note.txt /opt/mesosphere/packages/base--*/base > $PKG_PATH/all
         ! : > /pkg/extra/inner/file
         [[ -x /pkg/build/build && -r /pkg/build/buildinfo.json ]]
         [[ $(readlink /pkg/build/link) == extra/inner/file ]]",
    );
    std::os::unix::fs::symlink("extra/inner/file", place.packages.join("app/link")).unwrap();
}

#[test]
fn folders_that_only_the_caller_may_enter_are_no_hindrance() {
    let place = Place::new();
    write_private_package(&place);
    set_mode(place.path(), 0o700);
    set_mode(&place.home, 0o700);
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "all"), "extra\nnote\nnote\nbase\n");
    place.assert_clean();
}

#[test]
fn files_that_only_the_caller_may_read_are_no_hindrance() {
    let place = Place::new();
    write_private_package(&place);
    for entry in walkdir::WalkDir::new(&place.packages).contents_first(true) {
        let entry = entry.unwrap();
        if !entry.file_type().is_symlink() {
            let mode = entry.metadata().unwrap().mode() & 0o700;
            set_mode(entry.path(), mode);
        }
    }
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "all"), "extra\nnote\nnote\nbase\n");
    // The package's folder may be a link.
    std::fs::rename(place.packages.join("app"), place.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../../elsewhere", place.packages.join("app")).unwrap();
    std::fs::remove_dir_all(place.packages.join("cache/packages/app")).unwrap();
    place.write("treeinfo.json", "{}");
    place.run(".", &["tree"]).ok();
    assert_eq!(place.file_of("app", "all"), "extra\nnote\nnote\nbase\n");
    place.assert_clean();
}

#[test]
fn a_mask_that_hides_new_files_is_no_hindrance() {
    let place = Place::new();
    write_private_package(&place);
    let command = place.command("app", &[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(command.get_program());
    shell.current_dir(command.get_current_dir().unwrap()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ran(&shell.output().unwrap()).ok();
    assert_eq!(place.file_of("app", "all"), "extra\nnote\nnote\nbase\n");
    place.assert_clean();
}

#[test]
fn a_tier_that_is_demanded_is_had_or_refused_with_the_remedy() {
    let place = Place::new();
    place.package("app", "{}", "cat /proc/self/uid_map > $PKG_PATH/map");
    let ranges = place.run("app", &["--isolation=ranges"]);
    if tier() == "ranges" {
        ranges.ok().says("isolation: ranges");
    } else {
        let ranges = ranges.fails(1).says("the isolation tier ranges is not available: ");
        assert!(ranges.stderr.contains("hint: "), "{}", ranges.stderr);
        assert!(!place.packages.join("cache/packages/app").exists());
        // Taken unasked, the lesser tier is said, with its cause and its remedy.
        place.run("app", &[]).ok().says("isolation: single (no ranges: ");
    }
    place.assert_clean();
    let place = Place::new();
    place.package("app", "{}", "cat /proc/self/uid_map > $PKG_PATH/map");
    let single = place.run("app", &["--isolation=single"]);
    if Uid::current().is_root() {
        single
            .fails(1)
            .says("the isolation tier single is not available: one id would make the container's root")
            .says("hint: run mkpanda as an ordinary user");
        assert!(!place.packages.join("cache/packages/app").exists());
    } else {
        single.ok();
        assert_eq!(numbers(&place.file_of("app", "map")).len(), 1);
        assert_eq!(place.tier("app"), "single");
    }
    place.assert_clean();
}

#[test]
fn the_same_package_comes_out_of_every_tier() {
    if Uid::current().is_root() || tier() == "single" {
        let what = "two tiers compared (this user has one only)";
        return crate::inside::left_out(what, "it-user-ranges");
    }
    let build = |isolation: &str| {
        let place = Place::new();
        place.package(
            "app",
            "{}",
            "mkdir $PKG_PATH/d; echo x > $PKG_PATH/d/f; chown 5:5 $PKG_PATH/d/f; chmod 4755 $PKG_PATH/d/f
             ln -s f $PKG_PATH/d/l; mkfifo $PKG_PATH/fifo; ln $PKG_PATH/d/f $PKG_PATH/hard",
        );
        place.run("app", &[isolation]).ok();
        std::fs::read(place.archive("app")).unwrap()
    };
    assert!(build("--isolation=ranges") == build("--isolation=single"), "the archives differ");
}
