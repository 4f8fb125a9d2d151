//! Image layers: whiteouts, owners, attributes, replaced entries, symlinks inside.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::raw::{Raw, listing};
use crate::archive::{
    LayerOptions, LayerOwners, LayerSummary, Limits, Owners, ReadError, Times, UnpackError,
    Whiteouts, is_whiteout_at, pack_layer, unpack_layer,
};

fn unpack(tar: &[u8], folder: &Path) -> Result<(LayerSummary, String), UnpackError> {
    unpack_by(Whiteouts::Devices, tar, folder)
}

fn unpack_by(
    whiteouts: Whiteouts,
    tar: &[u8],
    folder: &Path,
) -> Result<(LayerSummary, String), UnpackError> {
    let mut record = Vec::new();
    let options = LayerOptions {
        is_plain: false,
        limits: Limits::default(),
        owners: Owners::Single(&mut record),
        whiteouts,
    };
    let summary = unpack_layer(tar, folder, options)?;
    Ok((summary, String::from_utf8(record).unwrap().replace('\0', "\n")))
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = fs_err::symlink_metadata(path).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    xattr::get(path, "user.overlay.opaque").unwrap().as_deref() == Some(b"y")
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn whiteouts_become_what_overlayfs_knows() {
    let scratch = scratch();
    let folder = scratch.path().join("layer");
    let tar = Raw::default()
        .folder("./")
        .folder("etc/")
        .file("etc/.wh.gone", "")
        .file("etc/.wh..wh..opq", "")
        .file(".wh..wh.plnk/1.2", "aufs")
        .file(".wh..wh.orph", "aufs")
        .file("implied/.wh.x", "")
        .file("own", "kept")
        .file(".wh.own", "")
        .folder("filled/")
        .file("filled/file", "")
        .file(".wh.filled", "")
        .file(".wh.remade", "")
        .folder("remade/")
        .file(".wh.refiled", "")
        .file("refiled", "new")
        .tar();
    let (summary, owners) = unpack(&tar, &folder).unwrap();
    assert_eq!((summary.whiteouts, owners.as_str()), (7, ""));
    assert_eq!(summary.implied_folders.len(), 1);
    assert_eq!(summary.implied_folders[0].as_bytes(), b"implied");
    assert!(is_whiteout(&folder.join("implied/x")));
    assert!(!folder.join("etc/gone").exists(), "etc hides it anyway");
    assert!(is_opaque(&folder.join("etc")) && !is_opaque(&folder.join("implied")));
    assert!(is_opaque(&folder.join("filled")) && is_opaque(&folder.join("remade")));
    let found = listing(&folder);
    assert_eq!(found[&b"own"[..]], "0644 7 kept x1");
    assert_eq!(found[&b"refiled"[..]], "0644 7 new x1");
    assert_eq!(found[&b"implied"[..]], "0755 7 /");
    assert_eq!(found.len(), 9);
    for bad in [".wh.", ".wh..", ".wh...", "a/.wh.b/c"] {
        let result = unpack(&Raw::default().file(bad, "").tar(), &scratch.path().join("bad"));
        assert!(matches!(result, Err(UnpackError::Read(ReadError::Name { .. }))), "{bad}");
    }
}

/// A layer with whiteouts: on their own, of what it has, before and after what hides all of a folder.
fn hiding() -> Vec<u8> {
    Raw::default()
        .file("d/.wh.gone", "")
        .file("d/e/.wh.gone", "")
        .file("d/empty", "")
        .file(".wh.remade", "")
        .folder("remade/")
        .file(".wh.refiled", "")
        .file("refiled", "")
        .file("late/.wh.x", "")
        .file("late/deep/.wh.x", "")
        .file("late/.wh..wh..opq", "")
        .file("early/.wh..wh..opq", "")
        .file("early/.wh.x", "")
        .file("early/deep/.wh.x", "")
        .tar()
}

#[test]
fn whiteouts_can_be_files() {
    let scratch = scratch();
    let [devices, files] = ["devices", "files"].map(|name| scratch.path().join(name));
    unpack(&hiding(), &devices).unwrap();
    unpack_by(Whiteouts::Attributes, &hiding(), &files).unwrap();
    for name in ["d/gone", "d/e/gone"] {
        assert!(is_whiteout(&devices.join(name)));
        let data = fs_err::symlink_metadata(files.join(name)).unwrap();
        assert!(data.is_file() && is_whiteout_at(&files.join(name), &data).unwrap());
    }
    let mark = |name: &str| xattr::get(files.join(name), "user.overlay.opaque").unwrap();
    assert_eq!(["d", "d/e"].map(mark), [Some(b"x".to_vec()), Some(b"x".to_vec())]);
    for name in ["remade", "late", "early"] {
        assert_eq!(mark(name).as_deref(), Some(&b"y"[..]), "{name}");
    }
    assert_eq!(
        [mark("late/deep"), mark("early/deep")].map(|mark| mark == Some(b"y".to_vec())),
        [false; 2]
    );
    for name in ["late/x", "late/deep/x", "early/x", "early/deep/x"] {
        let is_there = |folder: &Path| fs_err::symlink_metadata(folder.join(name)).is_ok();
        assert!(!is_there(&devices) && !is_there(&files), "{name}");
    }
    for name in ["d/empty", "refiled"] {
        let data = fs_err::symlink_metadata(files.join(name)).unwrap();
        assert!(!is_whiteout_at(&files.join(name), &data).unwrap(), "{name}");
    }
    // Packed again, both are the same layer.
    let packed = |folder: &Path| {
        pack_layer(folder, Vec::new(), Times::Latest(0), LayerOwners::Disk, &Limits::NONE)
            .unwrap()
            .0
    };
    assert!(packed(&devices) == packed(&files));
    let linked = Raw::default().file(".wh.gone", "").link("link", "gone").tar();
    for (index, form) in [Whiteouts::Devices, Whiteouts::Attributes].into_iter().enumerate() {
        let result = unpack_by(form, &linked, &scratch.path().join(format!("linked{index}")));
        let refused = matches!(result, Err(UnpackError::Read(ReadError::HardLink { .. })));
        assert!(refused, "{result:?}");
    }
}

#[test]
fn later_entries_replace_earlier_ones_and_links_stay_inside() {
    let scratch = scratch();
    let folder = scratch.path().join("layer");
    let tar = Raw::default()
        .file("/etc/absolute", "inside")
        .folder("usr/lib/")
        .symlink("lib", "usr/lib")
        .file("lib/x", "through lib")
        .symlink("usr/rooted", "/usr/lib")
        .file("usr/rooted/y", "through rooted")
        .symlink("out", "../../../../usr/lib")
        .file("out/z", "clamped")
        .link("again", "lib/x")
        .link("symlinked", "lib")
        .file("lib/x", "replaced")
        .folder("empty/")
        .symlink("empty", "nowhere")
        .symlink("turned", "usr/lib")
        .folder("turned/")
        .tar();
    unpack(&tar, &folder).unwrap();
    let found = listing(&folder);
    assert_eq!(found[&b"etc/absolute"[..]], "0644 7 inside x1");
    assert_eq!(found[&b"usr/lib/x"[..]], "0644 7 replaced x1");
    assert_eq!(found[&b"usr/lib/y"[..]], "0644 7 through rooted x1");
    assert_eq!(found[&b"usr/lib/z"[..]], "0644 7 clamped x1");
    assert_eq!(found[&b"again"[..]], "0644 7 through lib x1");
    assert_eq!(found[&b"symlinked"[..]], "0777 7 -> \"usr/lib\"");
    assert_eq!(found[&b"empty"[..]], "0777 7 -> \"nowhere\"");
    assert_eq!(found[&b"turned"[..]], "0755 7 /");

    let filled = Raw::default().file("d/f", "").file("d", "").tar();
    let result = unpack(&filled, &scratch.path().join("filled"));
    assert!(matches!(result, Err(UnpackError::ReplacesFolder { .. })), "{result:?}");
    let nowhere = Raw::default().symlink("s", "nowhere").file("s/f", "").tar();
    let result = unpack(&nowhere, &scratch.path().join("nowhere"));
    assert!(matches!(result, Err(UnpackError::ThroughSymlink { .. })), "{result:?}");
    let own = Raw::default().file("f", "").link("f", "./f").tar();
    let result = unpack(&own, &scratch.path().join("own"));
    let refused = matches!(result, Err(UnpackError::Read(ReadError::HardLink { .. })));
    assert!(refused, "{result:?}");
    let alias = Raw::default().folder("usr/").symlink("lib", "usr").file("usr/f", "");
    let result = unpack(&alias.link("lib/f", "usr/f").tar(), &scratch.path().join("alias"));
    let refused = matches!(result, Err(UnpackError::Read(ReadError::HardLink { .. })));
    assert!(refused, "{result:?}");
    let deep = Raw::default().file(&format!("{}f", "d/".repeat(40)), "").tar();
    let limits = Limits { max_entries: 30, ..Limits::default() };
    let options = LayerOptions {
        is_plain: false,
        limits,
        owners: Owners::Mapped,
        whiteouts: Whiteouts::Devices,
    };
    let result = unpack_layer(deep.as_slice(), &scratch.path().join("deep"), options);
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
    // The paths of the folders above are longer together than the name is.
    let limits = Limits { max_name_bytes: 1000, ..Limits::default() };
    let options = LayerOptions {
        is_plain: false,
        limits,
        owners: Owners::Mapped,
        whiteouts: Whiteouts::Devices,
    };
    let result = unpack_layer(deep.as_slice(), &scratch.path().join("deeper"), options);
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
    let around = Raw::default().symlink("s", "s").file("s/f", "").tar();
    let result = unpack(&around, &scratch.path().join("around"));
    assert!(matches!(result, Err(UnpackError::ThroughSymlink { .. })), "{result:?}");
}

#[test]
fn owners_devices_and_attributes() {
    let scratch = scratch();
    let tar = Raw::default()
        .with(b'0', b"mail", b"", b"", |header| {
            header.set_uid(8);
            header.set_gid(12);
            header.set_mode(0o2755);
        })
        .link("mail-again", "mail")
        .entry(b'3', "dev/null", "", "")
        .pax("SCHILY.xattr.user.note", b"a\nb")
        .file("noted", "")
        .pax("SCHILY.xattr.trusted.x", b"1")
        .folder("trusted/")
        .pax("SCHILY.xattr.user.x", b"1")
        .symlink("link", "x")
        .tar();
    let folder = scratch.path().join("single");
    let (summary, owners) = unpack(&tar, &folder).unwrap();
    assert_eq!(owners, "8 12 2755 mail\n");
    assert_eq!((summary.devices, summary.attributes_dropped, summary.attributes_lost), (1, 2, 0));
    assert_eq!(summary.device_paths[0].as_bytes(), b"dev/null");
    assert_eq!(xattr::get(folder.join("noted"), "user.note").unwrap().unwrap(), b"a\nb");
    assert_eq!(fs_err::metadata(folder.join("mail")).unwrap().mode() & 0o7777, 0o2755);

    let spoof = Raw::default().pax("SCHILY.xattr.user.overlay.redirect", b"/").folder("d/").tar();
    let result = unpack(&spoof, &scratch.path().join("spoof"));
    assert!(matches!(result, Err(UnpackError::OverlayAttribute { .. })), "{result:?}");

    let huge = Raw::default().with(b'0', b"f", b"", b"", |header| header.set_uid(1 << 32)).tar();
    let mapped = |tar: &[u8]| {
        let options = LayerOptions {
            is_plain: false,
            limits: Limits::default(),
            owners: Owners::Mapped,
            whiteouts: Whiteouts::Devices,
        };
        unpack_layer(tar, &scratch.path().join("mapped"), options)
    };
    let unchanged =
        Raw::default().with(b'0', b"f", b"", b"", |header| header.set_gid(u32::MAX.into())).tar();
    for tar in [huge, unchanged] {
        assert!(matches!(mapped(&tar), Err(UnpackError::OwnerNotMapped { .. })));
    }
    if nix::unistd::geteuid().is_root() {
        match mapped(&tar) {
            // In a user namespace with one id.
            Err(UnpackError::OwnerNotMapped { path, uid: 8, gid: 12 }) => {
                assert_eq!(path.as_bytes(), b"mail");
            }
            result => {
                result.unwrap();
                let mail = fs_err::metadata(scratch.path().join("mapped/mail")).unwrap();
                assert_eq!((mail.uid(), mail.gid(), mail.mode() & 0o7777), (8, 12, 0o2755));
            }
        }
    } else {
        assert!(matches!(mapped(&tar), Err(UnpackError::Write { .. })));
    }
}
