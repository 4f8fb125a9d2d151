//! Layers packed from folders in overlay form: unpacked, they are the same folders.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::super::*;

const EPOCH: u64 = 315_532_800;

fn packed(folder: &Path, times: EntryTimes) -> Vec<u8> {
    pack_layer(folder, Vec::new(), times, LayerOwners::Disk, &ArchiveLimits::NONE).unwrap().0
}

/// A folder with something of each kind; whiteouts only if the kernel lets them be made.
fn upper(home: &Path) -> std::path::PathBuf {
    let upper = home.join("upper");
    let long = "n".repeat(120);
    fs_err::create_dir_all(upper.join("d/deep").join(&long)).unwrap();
    fs_err::set_permissions(&upper, PermissionsExt::from_mode(0o755)).unwrap();
    fs_err::write(upper.join("d/file"), "text").unwrap();
    fs_err::write(upper.join("d").join(&long), "long").unwrap();
    fs_err::set_permissions(upper.join("d/file"), PermissionsExt::from_mode(0o4750)).unwrap();
    fs_err::hard_link(upper.join("d/file"), upper.join("z")).unwrap();
    fs_err::os::unix::fs::symlink(&long, upper.join("d/link")).unwrap();
    fs_err::create_dir(upper.join("opaque")).unwrap();
    xattr::set(upper.join("opaque"), "user.overlay.opaque", b"y").unwrap();
    xattr::set(upper.join("opaque"), "user.overlay.origin", b"\0").unwrap();
    xattr::set(upper.join("d/file"), "user.mine", b"value").unwrap();
    nix::unistd::mkfifo(&upper.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
    let hole = fs_err::File::create(upper.join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    fs_err::os::unix::fs::symlink("nowhere", upper.join("dangling")).unwrap();
    upper
}

fn unpacked(tar: &[u8], to: &Path) {
    let mut record = Vec::new();
    let owners = UnpackedOwners::Single(&mut record);
    let options = LayerOptions {
        is_plain: false,
        limits: ArchiveLimits::default(),
        owners,
        whiteouts: Whiteouts::Devices,
    };
    unpack_layer(tar, to, options).unwrap();
}

#[test]
fn what_is_packed_unpacks_to_the_same() {
    let home = tempfile::tempdir().unwrap();
    let upper = upper(home.path());
    let tar = packed(&upper, EntryTimes::Latest(EPOCH));
    let again = home.path().join("again");
    unpacked(&tar, &again);
    // The order on disk, and what a first packing did to times, change nothing.
    assert!(packed(&again, EntryTimes::Latest(EPOCH)) == tar);
    assert!(packed(&upper, EntryTimes::Latest(EPOCH)) == tar);
    assert!(!again.join("socket").exists());
    assert_eq!(fs_err::metadata(again.join("hole")).unwrap().len(), 1 << 20);
    let [file, link] = ["d/file", "z"].map(|name| fs_err::metadata(again.join(name)).unwrap());
    assert_eq!((file.ino(), file.mode() & 0o7777), (link.ino(), 0o4750));
    assert_eq!(xattr::get(again.join("opaque"), "user.overlay.opaque").unwrap().unwrap(), b"y");
    assert_eq!(xattr::get(again.join("d/file"), "user.mine").unwrap().unwrap(), b"value");
    assert_eq!(fs_err::metadata(upper.join("d")).unwrap().mtime(), 315_532_800);
}

#[test]
fn times_are_clamped_or_all_one() {
    let home = tempfile::tempdir().unwrap();
    fs_err::write(home.path().join("file"), "x").unwrap();
    let set = |time: i64| {
        let time = nix::sys::time::TimeSpec::new(time, 5);
        let flag = nix::sys::stat::UtimensatFlags::FollowSymlink;
        let (at, path) = (nix::fcntl::AT_FDCWD, home.path().join("file"));
        nix::sys::stat::utimensat(at, &path, &time, &time, flag).unwrap();
    };
    let mtime = |times| {
        packed(home.path(), times);
        let data = fs_err::metadata(home.path().join("file")).unwrap();
        (data.mtime(), data.mtime_nsec())
    };
    for (own, latest, all) in [(7, 7, 100), (1000, 100, 100), (-7, 0, 100)] {
        set(own);
        assert_eq!(mtime(EntryTimes::Latest(100)), (latest, 0));
        set(own);
        assert_eq!(mtime(EntryTimes::All(100)), (all, 0));
    }
}

#[test]
fn owners_that_are_told_are_in_the_layer_and_in_the_record() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("upper");
    fs_err::create_dir(&folder).unwrap();
    for name in ["own", "told", "root"] {
        fs_err::write(folder.join(name), "x").unwrap();
        fs_err::set_permissions(folder.join(name), PermissionsExt::from_mode(0o640)).unwrap();
    }
    write_owner(&folder.join("own"), (3, 4)).unwrap();
    write_owner(&folder.join("root"), (0, 0)).unwrap();
    let owner = |entry: &Ownable<'_>| {
        let told = if entry.path.as_bytes() == b"told" { (5, 6) } else { (0, 0) };
        entry.note.map_or(told, |note| note.resolve(None, told))
    };
    let mut record = Vec::new();
    let owners = LayerOwners::Function { owner: &owner, record: &mut record };
    let (tar, packed) =
        pack_layer(&folder, Vec::new(), EntryTimes::Latest(0), owners, &ArchiveLimits::NONE)
            .unwrap();
    assert_eq!(record, b"3 4 0640 own\x005 6 0640 told\0");
    let names: Vec<_> = tar::Archive::new(tar.as_slice())
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let name = entry.path_bytes().into_owned();
            (name, header.uid().unwrap(), header.gid().unwrap())
        })
        .filter(|(name, ..)| name != b"./")
        .collect();
    let expected = [("own", 3, 4), ("root", 0, 0), ("told", 5, 6)];
    assert_eq!(names, expected.map(|(name, uid, gid)| (name.as_bytes().to_vec(), uid, gid)));
    assert!(packed.entries >= 3);
    // What a file says of itself is what the layer says, and of root's it says nothing.
    let note = |name: &str| {
        let note = OwnerNote::read(&folder.join(name)).unwrap();
        note.map(|note| note.to_string())
    };
    let notes = ["own", "told", "root"].map(note);
    assert_eq!(notes, [Some("3:4".to_owned()), Some("5:6".to_owned()), None]);
    let mut again = Vec::new();
    let options = LayerOptions {
        is_plain: false,
        limits: ArchiveLimits::default(),
        owners: UnpackedOwners::Single(&mut again),
        whiteouts: Whiteouts::Devices,
    };
    unpack_layer(tar.as_slice(), &home.path().join("again"), options).unwrap();
    assert_eq!(again, record, "unpacking writes the same");
    let text = String::from_utf8_lossy(&tar);
    assert!(!text.contains(OWNER_ATTRIBUTE), "it is in no layer");
}

#[test]
fn a_name_of_layers_own_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b".wh.x");
    fs_err::write(home.path().join(name), "").unwrap();
    let packed = pack_layer(
        home.path(),
        Vec::new(),
        EntryTimes::Latest(0),
        LayerOwners::Disk,
        &ArchiveLimits::NONE,
    );
    assert!(packed.unwrap_err().to_string().contains(".wh.x"));
}
