//! Whose the files of a made layer are, where there is one id.

use std::collections::HashMap;
use std::path::Path;

use crate::archive::{
    ArchiveLimits, EntryPath, EntryTimes, FileIdentity, NotedId, OwnerNote, Whiteouts, write_owner,
};
use crate::image::layers::{KnownOwners, StepOwners, owners_file, write_layer};

/// Makes a layer of an upper directory above one layer below; gives the owners that are beside it.
fn made(
    home: &Path,
    step_owners: StepOwners,
    told: &[(&str, (u32, u32))],
) -> HashMap<String, String> {
    let mut owners = KnownOwners::read(&[home.join("below")]).unwrap();
    owners.made_by(step_owners);
    for (path, owner) in told {
        owners.record(Path::new(path), *owner);
    }
    let blob = tempfile::tempfile().unwrap();
    let upper = home.join("upper");
    write_layer(&upper, blob, EntryTimes::Latest(0), Some(&owners), &ArchiveLimits::NONE).unwrap();
    let text = fs_err::read_to_string(owners_file(&upper)).unwrap();
    let record = |record: &str| {
        let words: Vec<&str> = record.splitn(4, ' ').collect();
        (words[3].to_owned(), format!("{}:{}", words[0], words[1]))
    };
    text.split('\0').filter(|record| !record.is_empty()).map(record).collect()
}

fn write(home: &Path, names: &[&str]) {
    for name in names {
        let path = home.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, "x").unwrap();
    }
}

/// Marks a file as overlayfs does.
fn copied_up(path: &Path) {
    xattr::set(path, "user.overlay.origin", b"x").unwrap();
}

#[test]
fn what_is_new_is_the_makers_and_what_was_there_stays_whose_it_was() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let replaced = ["replaced", "changed", "given", "kept"];
    write(&home.join("below"), &replaced);
    fs_err::write(
        owners_file(&home.join("below")),
        replaced.map(|name| format!("7 8 0644 {name}\0")).concat(),
    )
    .unwrap();
    let upper = home.join("upper");
    write(&upper, &replaced);
    write(&upper, &["new", "told", "partly", "roots", "team/inside", "gone-below"]);
    for name in ["changed", "given"] {
        copied_up(&upper.join(name));
    }
    let note = |name: &str, user, group| {
        let note = OwnerNote { user, group };
        xattr::set(upper.join(name), crate::archive::OWNER_ATTRIBUTE, note.to_string().as_bytes())
            .unwrap();
        note
    };
    write_owner(&upper.join("given"), (3, 4)).unwrap();
    // `sed -i` and the like.
    note("kept", NotedId::Same, NotedId::Same);
    note("partly", NotedId::Is(9), NotedId::Unset);
    note("roots", NotedId::Is(0), NotedId::Is(0));
    note("team", NotedId::Unset, NotedId::Is(50));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o2775);
    fs_err::set_permissions(upper.join("team"), mode).unwrap();
    fs_err::os::unix::fs::symlink("x", upper.join("link")).unwrap();
    let link = fs_err::symlink_metadata(upper.join("link")).unwrap();
    let listed = OwnerNote::of((5, 6));
    let step_owners =
        StepOwners { maker: (1, 2), notes: HashMap::from([(FileIdentity::of(&link), listed)]) };
    let owners = made(home, step_owners, &[("told", (10, 11))]);
    let of = |name: &str| owners.get(name).map_or("0:0", String::as_str);
    for (name, expected) in [
        ("new", "1:2"),
        ("replaced", "1:2"),
        ("changed", "7:8"),
        ("given", "3:4"),
        ("kept", "7:8"),
        ("partly", "9:2"),
        ("roots", "0:0"),
        ("told", "10:11"),
        ("team", "1:50"),
        ("team/inside", "1:50"),
        ("link", "5:6"),
    ] {
        assert_eq!(of(name), expected, "{name}");
    }
    // What is kept on disk says the same, for the layers above.
    assert_eq!(OwnerNote::read(&upper.join("kept")).unwrap(), Some(OwnerNote::of((7, 8))));
    assert_eq!(OwnerNote::read(&upper.join("roots")).unwrap(), None);
}

#[test]
fn a_file_is_told_from_another_that_has_its_number() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    fs_err::write(&path, "x").unwrap();
    let first = FileIdentity::of(&fs_err::symlink_metadata(&path).unwrap());
    fs_err::rename(&path, home.path().join("moved")).unwrap();
    let moved = fs_err::symlink_metadata(home.path().join("moved")).unwrap();
    assert_eq!(FileIdentity::of(&moved), first);
    fs_err::write(&path, "x").unwrap();
    assert_ne!(FileIdentity::of(&fs_err::symlink_metadata(&path).unwrap()), first);
}

#[test]
fn what_a_layer_hides_is_nobodys() {
    let home = tempfile::tempdir().unwrap();
    let [low, high] = ["low", "high"].map(|name| home.path().join(name));
    write(&low, &["all/file", "some/gone", "some/kept"]);
    let record = |name: &str| format!("7 8 0644 {name}\0");
    let all = ["all/file", "some/gone", "some/kept"].map(record).concat();
    fs_err::write(owners_file(&low), all).unwrap();
    fs_err::create_dir_all(high.join("all")).unwrap();
    xattr::set(high.join("all"), "user.overlay.opaque", b"y").unwrap();
    fs_err::create_dir(high.join("some")).unwrap();
    Whiteouts::Attributes.make_at(&high.join("some"), "gone".as_ref()).unwrap();
    let owners = KnownOwners::read(&[low, high]).unwrap();
    let of = |path: &[u8]| owners.of(&EntryPath::parse(path).unwrap());
    assert_eq!([of(b"all/file"), of(b"some/gone"), of(b"some/kept")], [(0, 0), (0, 0), (7, 8)]);
}
