//! Image layers: whiteouts, owners, attributes, replaced entries, symlinks inside.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::raw::{Raw, listing};
use crate::archive::{
    ArchiveLimits, EntryTimes, LayerOptions, LayerOwners, LayerSummary, ReadError, UnpackError,
    UnpackedOwners, Whiteouts, is_whiteout_at, pack_layer, unpack_layer,
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
        limits: ArchiveLimits::default(),
        owners: UnpackedOwners::Single(&mut record),
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
        pack_layer(
            folder,
            Vec::new(),
            EntryTimes::Latest(0),
            LayerOwners::Disk,
            &ArchiveLimits::NONE,
        )
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

    let filled = Raw::default().file("d/e/f", "").folder("dd/").file("d", "now").tar();
    let folder = scratch.path().join("filled");
    let (summary, _) = unpack(&filled, &folder).unwrap();
    assert_eq!(listing(&folder)[&b"d"[..]], "0644 7 now x1");
    assert!(folder.join("dd").is_dir());
    assert_eq!(summary.implied_folders.len(), 1, "the root alone: {summary:?}");
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
    let limits = ArchiveLimits { max_entries: 30, ..ArchiveLimits::default() };
    let options = LayerOptions {
        is_plain: false,
        limits,
        owners: UnpackedOwners::Mapped,
        whiteouts: Whiteouts::Devices,
    };
    let result = unpack_layer(deep.as_slice(), &scratch.path().join("deep"), options);
    assert!(matches!(result, Err(UnpackError::Read(ReadError::Limit(_)))), "{result:?}");
    // The paths of the folders above are longer together than the name is.
    let limits = ArchiveLimits { max_name_bytes: 1000, ..ArchiveLimits::default() };
    let options = LayerOptions {
        is_plain: false,
        limits,
        owners: UnpackedOwners::Mapped,
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
    assert!(is_whiteout(&folder.join("dev/null")));
    assert_eq!(xattr::get(folder.join("noted"), "user.note").unwrap().unwrap(), b"a\nb");
    assert_eq!(fs_err::metadata(folder.join("mail")).unwrap().mode() & 0o7777, 0o2755);

    for name in ["opaque", "origin", "redirect", "whiteout"] {
        let key = format!("SCHILY.xattr.user.overlay.{name}");
        let spoof = Raw::default().pax(&key, b"y").folder("d/").pax(&key, b"").file("f", "").tar();
        let folder = scratch.path().join(name);
        let (summary, _) = unpack(&spoof, &folder).unwrap();
        assert_eq!(summary.attributes_dropped, 2);
        for path in ["d", "f"] {
            let kept = xattr::list(folder.join(path)).unwrap();
            assert!(!kept.into_iter().any(|kept| kept.as_encoded_bytes().starts_with(b"user.")));
        }
    }

    let huge = Raw::default().with(b'0', b"f", b"", b"", |header| header.set_uid(1 << 32)).tar();
    let mapped = |tar: &[u8]| {
        let options = LayerOptions {
            is_plain: false,
            limits: ArchiveLimits::default(),
            owners: UnpackedOwners::Mapped,
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

#[test]
fn devices_that_are_left_out_still_hide_what_they_replace() {
    let scratch = scratch();
    let folder = scratch.path().join("layer");
    let tar = Raw::default()
        .file("own", "of the layer")
        .entry(b'3', "own", "", "")
        .entry(b'4', "dev/sda", "", "")
        .link("dev/again", "dev/sda")
        .link("thrice", "dev/again")
        .folder("filled/")
        .file("filled/f", "")
        .entry(b'3', "filled", "", "")
        .entry(b'3', "back", "", "")
        .file("back", "a file again")
        .link("to-file", "back")
        .entry(b'3', "folder", "", "")
        .folder("folder/")
        .tar();
    let (summary, _) = unpack(&tar, &folder).unwrap();
    for name in ["own", "dev/sda", "dev/again", "thrice", "filled"] {
        assert!(is_whiteout(&folder.join(name)), "{name}");
    }
    let found = listing(&folder);
    assert_eq!(found[&b"back"[..]], "0644 7 a file again x2");
    assert_eq!(found[&b"to-file"[..]], "0644 7 a file again x2");
    assert!(is_opaque(&folder.join("folder")));
    assert_eq!(summary.devices, 7);
    // An archive that is no layer hides nothing.
    let plain = scratch.path().join("plain");
    let options = LayerOptions {
        is_plain: true,
        limits: ArchiveLimits::default(),
        owners: UnpackedOwners::Caller,
        whiteouts: Whiteouts::Devices,
    };
    let tar = Raw::default().entry(b'3', "d", "", "").link("e", "d").file("f", "").tar();
    unpack_layer(tar.as_slice(), &plain, options).unwrap();
    assert_eq!(listing(&plain).len(), 2);
}

#[test]
fn links_to_files_of_aufs_give_the_files() {
    let scratch = scratch();
    let folder = scratch.path().join("layer");
    let tar = Raw::default()
        .folder(".wh..wh.plnk/")
        .with(b'0', b".wh..wh.plnk/93.1", b"", b"both", |header| header.set_uid(8))
        .with(b'1', b"a", b".wh..wh.plnk/93.1", b"", |header| header.set_uid(8))
        .with(b'1', b"d/b", b"./.wh..wh.plnk/93.1", b"", |header| header.set_uid(8))
        .file("sub/.wh..wh.plnk/1", "of nobody")
        .symlink(".wh..wh.plnk/link", "/etc")
        .tar();
    let (summary, owners) = unpack(&tar, &folder).unwrap();
    let found = listing(&folder);
    assert_eq!(found[&b"a"[..]], "0644 7 both x2");
    assert_eq!(found[&b"d/b"[..]], "0644 7 both x2");
    assert_eq!(owners, "8 0 0644 a\n8 0 0644 d/b\n");
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(summary.implied_folders.len(), 2);
}

#[test]
fn a_folder_of_whiteouts_becomes_what_comes_in_its_place() {
    let scratch = scratch();
    for (index, form) in [Whiteouts::Devices, Whiteouts::Attributes].into_iter().enumerate() {
        let folder = scratch.path().join(index.to_string());
        let tar = Raw::default()
            .folder("a/")
            .file("a/.wh.x", "")
            .file("a/b/.wh.y", "")
            .symlink("a", "elsewhere")
            .file("kept/.wh.z", "")
            .tar();
        let (summary, _) = unpack_by(form, &tar, &folder).unwrap();
        assert_eq!(listing(&folder)[&b"a"[..]], "0777 7 -> \"elsewhere\"");
        assert_eq!(summary.whiteout_folders.len(), 1);
        assert_eq!(summary.whiteout_folders[0].as_bytes(), b"kept");
    }
}

#[test]
fn files_come_below_a_folder_that_the_layer_removes() {
    let scratch = scratch();
    for (index, form) in [Whiteouts::Devices, Whiteouts::Attributes].into_iter().enumerate() {
        for (order, tar) in [
            Raw::default().file(".wh.d", "").file("d/e/f", "1").file("d/g", "2"),
            Raw::default().file("d/g", "2").file("d/e/f", "1").file(".wh.d", ""),
            Raw::default().file(".wh.d", "").file("./d/g", "2").file("d/e/f", "1").folder("d/e/"),
            Raw::default()
                .file("d/.wh.e", "")
                .file(".wh.d", "")
                .file("d/g", "2")
                .file("d/e/f", "1"),
        ]
        .into_iter()
        .enumerate()
        {
            let folder = scratch.path().join(format!("{index}-{order}"));
            unpack_by(form, &tar.tar(), &folder).unwrap();
            assert!(is_opaque(&folder.join("d")), "{form:?} {order}");
            assert_eq!(fs_err::read(folder.join("d/e/f")).unwrap(), b"1");
            assert_eq!(fs_err::read(folder.join("d/g")).unwrap(), b"2");
        }
    }
    // The removed folder does not lend its mode.
    let tar = Raw::default().folder("./").file(".wh.d", "").file("d/g", "2").tar();
    let (summary, _) = unpack(&tar, &scratch.path().join("mode")).unwrap();
    assert_eq!(summary.implied_folders.len(), 0);
    // What is not a whiteout is not replaced.
    let tar = Raw::default().file("d", "").file("d/g", "2").tar();
    let error = unpack(&tar, &scratch.path().join("file")).unwrap_err();
    assert!(matches!(error, UnpackError::ThroughSymlink { .. }), "{error}");
}

#[test]
fn the_root_is_described_by_its_entry_alone() {
    let scratch = scratch();
    for (index, name) in ["./", ".", "/", "", "././/"].into_iter().enumerate() {
        let folder = scratch.path().join(index.to_string());
        let tar = Raw::default().file("f", "").with(b'5', name.as_bytes(), b"", b"", |header| {
            header.set_mode(0o751);
            header.set_uid(8);
        });
        let (summary, owners) = unpack(&tar.tar(), &folder).unwrap();
        assert_eq!(listing(&folder)[&b""[..]], "0751 7 /", "{name:?}");
        assert_eq!(owners, "8 0 0751 \n");
        assert_eq!(summary.implied_folders.len(), 0);
    }
    let (summary, _) =
        unpack(&Raw::default().file("f", "").tar(), &scratch.path().join("n")).unwrap();
    assert!(summary.implied_folders[0].is_root());
    let nameless = Raw::default().file("", "").file("f", "").tar();
    let (summary, _) = unpack(&nameless, &scratch.path().join("nameless")).unwrap();
    assert!(summary.implied_folders[0].is_root() && summary.entries == 2);
    let file = Raw::default().file("", "no folder").tar();
    unpack(&file, &scratch.path().join("file")).unwrap_err();
}

#[test]
fn an_owner_that_changes_is_recorded_again() {
    let scratch = scratch();
    let tar = Raw::default()
        .with(b'0', b"f", b"", b"", |header| header.set_uid(8))
        .file("f", "root's")
        .tar();
    let (_, owners) = unpack(&tar, &scratch.path().join("layer")).unwrap();
    assert_eq!(owners, "8 0 0644 f\n0 0 0644 f\n");
}

#[test]
fn other_names_of_what_cannot_say_its_owner_are_recorded() {
    let scratch = scratch();
    let of = |kind: u8, name: &'static str, to: &'static str| {
        move |raw: Raw| {
            raw.with(kind, name.as_bytes(), to.as_bytes(), b"", |header| header.set_uid(8))
        }
    };
    let tar = of(b'2', "link", "x")(Raw::default()).link("link-again", "link");
    let tar = of(b'6', "fifo", "")(tar).link("fifo-again", "fifo");
    let tar = of(b'0', "file", "")(tar).link("file-again", "file");
    let tar = of(b'0', "changed", "")(tar.file("root", "")).link("changed", "root").tar();
    let (_, owners) = unpack(&tar, &scratch.path().join("layer")).unwrap();
    let expected = "8 0 0644 link\n8 0 0644 link-again\n8 0 0644 fifo\n8 0 0644 fifo-again\n\
                    8 0 0644 file\n8 0 0644 changed\n0 0 0644 changed\n";
    assert_eq!(owners, expected);
}

#[test]
fn capabilities_of_another_namespace_are_left_out() {
    let scratch = scratch();
    let mut value = vec![0; 24];
    value[..4].copy_from_slice(&0x0300_0001_u32.to_le_bytes());
    value[20..].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let tar = Raw::default().pax("SCHILY.xattr.security.capability", &value).file("f", "x").tar();
    let folder = scratch.path().join("layer");
    let (summary, _) = unpack(&tar, &folder).unwrap();
    // A namespace may have the id.
    let has = xattr::get(folder.join("f"), "security.capability").unwrap().is_some();
    assert_eq!(summary.attributes_lost, u64::from(!has));
    assert_eq!(fs_err::read(folder.join("f")).unwrap(), b"x");
}

#[test]
fn archives_are_read_as_gnu_tar_and_go_read_them() {
    let sparse = |records: &[(&str, &str)], data: &[u8]| {
        let mut all = Vec::new();
        for (key, value) in records {
            let body = format!(" GNU.sparse.{key}={value}\n");
            let mut length = body.len() + 1;
            while length.to_string().len() + body.len() != length {
                length += 1;
            }
            all.extend(format!("{length}{body}").into_bytes());
        }
        Raw::default().with(b'x', b"pax", b"", &all, |_| {}).with(b'0', b"f", b"", data, |_| {})
    };
    let pieces = [[b'a'; 512].as_slice(), b"end"].concat();
    let whole = [[b'a'; 512].as_slice(), &[0; 512], b"end"].concat();
    let mut map = b"2\n0\n512\n1024\n3\n".to_vec();
    map.resize(512, 0);
    let in_content = [map.as_slice(), &pieces].concat();
    let one = [("major", "1"), ("minor", "0"), ("name", "real"), ("realsize", "1027")];
    let good = [
        // Pieces of several blocks; the forms have their tests beside those of sources.
        ("real", sparse(&one, &in_content)),
        ("f", Raw::default().pax("path", b"").with(b'0', b"f", b"", &whole, |_| {})),
        (
            "f",
            Raw::default().entry(b'L', "long", "", "f\0").pax("path", b"f").with(
                b'0',
                b"x",
                b"",
                &whole,
                |_| {},
            ),
        ),
    ];
    let scratch = scratch();
    for (index, (name, raw)) in good.into_iter().enumerate() {
        let folder = scratch.path().join(format!("good{index}"));
        let unpacked = unpack(&raw.file("after", "x").tar(), &folder);
        unpacked.unwrap_or_else(|error| panic!("{index}: {error}"));
        assert!(fs_err::read(folder.join(name)).unwrap() == whole, "{index}");
        assert_eq!(fs_err::read(folder.join("after")).unwrap(), b"x", "{index}");
    }
    let with_zeros =
        |behind: Raw| [Raw::default().file("f", "").0, vec![0; 512], behind.0].concat();
    for (index, bad) in [
        with_zeros(Raw::default().file("hidden", "")),
        with_zeros(Raw(vec![1; 512])),
        Raw::default().entry(b'L', "long", "", "a\0").pax("path", b"b").file("x", "").tar(),
        sparse(&[("size", "9"), ("map", "0,512,1024,3")], &pieces).tar(),
        sparse(&[("size", "1027"), ("map", "0,512,1024")], &pieces).tar(),
        sparse(&[("map", "0,512,1024,3")], &pieces).tar(),
        sparse(&one, &pieces).tar(),
        sparse(&one, b"9999999999999\n").tar(),
        sparse(&one, &[b'1'; 2048]).tar(),
        sparse(&one, b"1\n0\n5\n").tar(),
        sparse(&[("size", "1027"), ("map", "0,3,1024,512")], &pieces).tar(),
    ]
    .into_iter()
    .enumerate()
    {
        let result = unpack(&bad, &scratch.path().join(format!("bad{index}")));
        let refused = matches!(result, Err(UnpackError::Read(_)));
        assert!(refused, "{index}: {result:?}");
    }
    for zeros in [0, 512, 1024, 1536, 10240] {
        let tar = [Raw::default().file("f", "").0, vec![0; zeros]].concat();
        unpack(&tar, &scratch.path().join(format!("end{zeros}"))).unwrap();
    }
}
