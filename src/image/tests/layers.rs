//! Unpacked layers, as the caller's own: `single_id` needs no privilege.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::archive::ArchiveLimits;
use crate::base::causes::with_causes;
use crate::image::compression::LayerCompression;
use crate::image::layers::{
    LayerError, UnpackOptions, ensure_unpacked, owners_file, remove_unpacked,
    restore_implied_folders,
};
use crate::image::store::LayerBlob;

const OPTIONS: UnpackOptions = UnpackOptions {
    single_id: true,
    limits: ArchiveLimits {
        max_bytes: 1 << 24,
        max_entries: 1000,
        max_name_bytes: 1 << 20,
        ..ArchiveLimits::NONE
    },
};

struct Layers {
    folder: tempfile::TempDir,
}

impl Layers {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn blob(&self, plain: &[u8], compression: LayerCompression) -> LayerBlob {
        let stored = match compression {
            LayerCompression::None => plain.to_vec(),
            LayerCompression::Gzip => gzip(plain),
            LayerCompression::Zstd => zstd(plain),
        };
        let path = self.folder.path().join(digest(&stored).hex());
        fs_err::write(&path, stored).unwrap();
        LayerBlob { path, diff_id: Sha256Sum::of(plain).into(), is_fifo: false }
    }

    fn unpacked(&self) -> PathBuf {
        self.folder.path().join("unpacked")
    }

    fn ensure(&self, layers: &[LayerBlob]) -> Result<Vec<PathBuf>, LayerError> {
        let found = ensure_unpacked(&self.unpacked(), layers, &OPTIONS, |_| false);
        assert!(names(&self.unpacked()).iter().all(|name| !name.starts_with(".tmp-")));
        found
    }
}

/// A layer of folders, files (with content) and whiteouts, with modes.
fn layer(entries: &[(&str, u32, Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, mode, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(7);
        header.set_gid(8);
        let content = content.unwrap_or_else(|| {
            header.set_entry_type(tar::EntryType::Directory);
            b""
        });
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn layers_are_unpacked_once_whatever_their_compression() {
    let layers = Layers::new();
    let forms = [LayerCompression::None, LayerCompression::Gzip, LayerCompression::Zstd];
    let all = forms.map(|compression| {
        layers.blob(&layer(&[(compression.as_str(), 0o640, Some(b"x"))]), compression)
    });
    let paths = layers.ensure(&all).unwrap();
    for ((path, blob), form) in paths.iter().zip(&all).zip(forms) {
        assert_eq!(path.file_name().unwrap(), blob.diff_id.hex());
        let file = fs_err::metadata(path.join(form.as_str())).unwrap();
        assert_eq!(file.mode() & 0o7777, 0o640);
        let owners = fs_err::read_to_string(owners_file(path)).unwrap();
        assert!(owners.starts_with("7 8 0640 "), "{owners}");
        fs_err::remove_file(&blob.path).unwrap();
    }
    assert_eq!(layers.ensure(&all).unwrap(), paths, "the blobs aren't needed any more");
}

#[test]
fn with_mapped_ids_owners_are_given_or_it_fails() {
    let layers = Layers::new();
    let blob = layers.blob(&layer(&[("a", 0o644, Some(b""))]), LayerCompression::None);
    let options = UnpackOptions { single_id: false, ..OPTIONS };
    let unpacked = ensure_unpacked(&layers.unpacked(), &[blob], &options, |_| false);
    if nix::unistd::geteuid().is_root() {
        let path = unpacked.unwrap().remove(0);
        let file = fs_err::metadata(path.join("a")).unwrap();
        assert_eq!((file.uid(), file.gid()), (7, 8));
        assert!(!owners_file(&path).exists());
    } else {
        assert!(matches!(unpacked, Err(LayerError::Unpack { .. })));
        assert_eq!(names(&layers.unpacked()), [".lock"]);
    }
}

#[test]
fn a_fifo_in_place_of_a_layer_is_not_waited_for() {
    let layers = Layers::new();
    let blob = layers.blob(&layer(&[("a", 0o644, Some(b""))]), LayerCompression::None);
    fs_err::remove_file(&blob.path).unwrap();
    nix::unistd::mkfifo(&blob.path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = layers.ensure(std::slice::from_ref(&blob)).unwrap_err();
    assert!(matches!(error, LayerError::Blob { .. }), "{error:?}");
    assert!(with_causes(&error).contains("not a regular file"), "{error:?}");
    // Where a download is passed on, the content is waited for.
    let plain = layer(&[("a", 0o644, Some(b""))]);
    let followed = LayerBlob { is_fifo: true, ..blob.clone() };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fs_err::write(&blob.path, &plain));
        layers.ensure(&[followed]).unwrap();
        writer.join().unwrap().unwrap();
    });
    assert!(LayerCompression::of_file(&blob.path).is_err());
}

#[test]
fn a_layer_that_occurs_twice_counts_where_it_is_highest() {
    let layers = Layers::new();
    let a = layers.blob(&layer(&[("a", 0o644, Some(b""))]), LayerCompression::None);
    let b = layers.blob(&layer(&[("b", 0o644, Some(b""))]), LayerCompression::None);
    let paths = layers.ensure(&[a.clone(), b.clone(), a.clone()]).unwrap();
    let ids: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(ids, [b.diff_id.hex(), a.diff_id.hex()]);
}

#[test]
fn whiteouts_take_overlay_form() {
    let layers = Layers::new();
    let blob = layers.blob(
        &layer(&[
            ("d", 0o755, None),
            (".wh.gone", 0o644, Some(b"")),
            ("d/.wh..wh..opq", 0, Some(b"")),
        ]),
        LayerCompression::Gzip,
    );
    let path = layers.ensure(&[blob]).unwrap().remove(0);
    let whiteout = fs_err::symlink_metadata(path.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert_eq!(xattr::get(path.join("d"), "user.overlay.opaque").unwrap().unwrap(), b"y");
}

#[test]
fn a_changed_or_hostile_blob_leaves_nothing() {
    let layers = Layers::new();
    let good = layers.blob(&layer(&[("a", 0o644, Some(b"1"))]), LayerCompression::Gzip);
    let other = layer(&[("locked", 0o000, None), ("locked/b", 0o644, Some(b"2"))]);
    let mut changed = layers.blob(&other, LayerCompression::Gzip);
    changed.diff_id = Sha256Sum::of(b"x").into();
    let error = layers.ensure(&[good.clone(), changed]).unwrap_err();
    assert!(matches!(error, LayerError::DiffId { .. }), "{error}");
    // Trailing bytes are part of what the digest is over.
    let mut longer = layers.blob(&other, LayerCompression::None);
    fs_err::write(&longer.path, [other, vec![0; 512]].concat()).unwrap();
    let error = layers.ensure(std::slice::from_ref(&longer)).unwrap_err();
    assert!(matches!(error, LayerError::DiffId { .. }), "{error}");
    longer.path.push("missing");
    assert!(matches!(layers.ensure(&[longer]), Err(LayerError::Blob { .. })));
    let mut escaping = layer(&[("xx/escaped", 0o644, Some(b""))]);
    escaping[..2].copy_from_slice(b"..");
    let sum: u32 = escaping[..512]
        .iter()
        .enumerate()
        .map(|(index, byte)| u32::from(if (148..156).contains(&index) { b' ' } else { *byte }))
        .sum();
    escaping[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let escaping = layers.blob(&escaping, LayerCompression::None);
    assert!(matches!(layers.ensure(&[escaping]), Err(LayerError::Unpack { .. })));
    let bomb = layers.blob(&vec![0; 1 << 25], LayerCompression::Zstd);
    assert!(matches!(layers.ensure(&[bomb]), Err(LayerError::Unpack { .. })));
    assert_eq!(names(&layers.unpacked()), [".lock"]);
    layers.ensure(&[good]).unwrap();
}

#[test]
fn what_a_dead_process_left_is_swept() {
    let layers = Layers::new();
    let left = layers.unpacked().join(".tmp-left/locked");
    fs_err::create_dir_all(&left).unwrap();
    fs_err::write(left.join("file"), b"").unwrap();
    fs_err::set_permissions(&left, PermissionsExt::from_mode(0o000)).unwrap();
    let blob = layers.blob(&layer(&[("a", 0o644, Some(b"1"))]), LayerCompression::None);
    layers.ensure(std::slice::from_ref(&blob)).unwrap();
    remove_unpacked(&layers.unpacked(), &blob.diff_id).unwrap();
    remove_unpacked(&layers.unpacked(), &blob.diff_id).unwrap();
    assert_eq!(names(&layers.unpacked()), [".lock"]);
}

#[test]
fn several_helpers_unpack_one_layer_once() {
    let layers = Layers::new();
    let blob =
        layers.blob(&layer(&[("a", 0o644, Some(&vec![7; 100_000]))]), LayerCompression::Gzip);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                ensure_unpacked(&layers.unpacked(), std::slice::from_ref(&blob), &OPTIONS, |_| {
                    false
                })
                .unwrap()
            });
        }
    });
    let name = blob.diff_id.hex();
    let beside = [".implied", ".owners"].map(|ending| format!("{name}{ending}"));
    let expected = [".lock", name, &beside[0], &beside[1]];
    assert_eq!(names(&layers.unpacked()), expected);
}

#[test]
fn implied_folders_get_what_lies_below_says() {
    let layers = Layers::new();
    let blobs = [
        layer(&[
            ("tmp", 0o1777, None),
            ("srv", 0o700, None),
            ("opt", 0o711, None),
            ("cut", 0o700, None),
        ]),
        layer(&[
            ("tmp/x", 0o644, Some(b"")),
            ("srv/x", 0o644, Some(b"")),
            ("opt/x", 0o644, Some(b"")),
        ]),
        layer(&[("tmp/y", 0o644, Some(b"")), ("opt", 0o750, None), (".wh.cut", 0, Some(b""))]),
        layer(&[("cut/x", 0o644, Some(b"")), ("gone/x", 0o644, Some(b""))]),
    ]
    .map(|bytes| layers.blob(&bytes, LayerCompression::None));
    let paths = layers.ensure(&blobs).unwrap();
    // Stands in for the mounted root, where a higher layer may have put a symlink.
    let root = layers.folder.path().join("root");
    let outside = layers.folder.path().join("outside");
    for folder in ["tmp", "opt", "cut", "gone"] {
        fs_err::create_dir_all(root.join(folder)).unwrap();
        fs_err::set_permissions(root.join(folder), PermissionsExt::from_mode(0o755)).unwrap();
    }
    fs_err::create_dir(&outside).unwrap();
    fs_err::set_permissions(&outside, PermissionsExt::from_mode(0o755)).unwrap();
    fs_err::os::unix::fs::symlink(&outside, root.join("srv")).unwrap();
    restore_implied_folders(&root, &paths).unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().mode() & 0o7777;
    let modes = ["tmp", "opt", "cut", "gone"].map(|folder| mode(&root.join(folder)));
    assert_eq!(modes, [0o1777, 0o755, 0o755, 0o755], "the higher opt shows its own anyway");
    assert_eq!(mode(&outside), 0o755);
}

/// Layers that are unpacked, as folders, the lowest first.
fn stack(layers: &Layers, tars: &[Vec<u8>]) -> Vec<PathBuf> {
    let blobs: Vec<_> = tars.iter().map(|tar| layers.blob(tar, LayerCompression::None)).collect();
    layers.ensure(&blobs).unwrap()
}

fn with_link(name: &str, target: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    append_link(&mut builder, tar::EntryType::Symlink, name, target);
    builder.into_inner().unwrap()
}

#[test]
fn links_of_layers_lead_nowhere_on_the_machine() {
    use crate::archive::EntryPath;
    use crate::image::layers::{KnownOwners, restore_implied_folders};
    let layers = Layers::new();
    let outside = tempfile::tempdir().unwrap();
    fs_err::create_dir(outside.path().join("c")).unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().mode() & 0o7777;
    fs_err::set_permissions(outside.path().join("c"), PermissionsExt::from_mode(0o711)).unwrap();
    let outside = outside.path().to_str().unwrap().trim_start_matches('/').to_owned();
    for below in [
        with_link("q", &format!("/{outside}")),
        with_link("q/c", &format!("/{outside}/c")),
        layer(&[("q", 0o644, Some(b"a file"))]),
        layer(&[("q/c", 0o644, Some(b"a file"))]),
        layer(&[(".wh.q", 0o644, Some(b""))]),
        layer(&[("q/.wh.c", 0o644, Some(b""))]),
    ] {
        let folders = stack(&layers, &[below, layer(&[("q/c/f", 0o644, Some(b""))])]);
        let root = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(root.path().join("q/c")).unwrap();
        restore_implied_folders(root.path(), &folders).unwrap();
        assert_eq!(mode(&root.path().join("q/c")), 0o755);
        let known = KnownOwners::read(&folders).unwrap();
        assert_eq!(known.of(&EntryPath::parse(b"q/c").unwrap()), (0, 0));
    }
}

#[test]
fn the_root_folder_and_implied_ones_are_as_the_highest_layer_says_that_describes_them() {
    use crate::archive::EntryPath;
    use crate::image::layers::{KnownOwners, restore_implied_folders};
    let layers = Layers::new();
    let folders = stack(
        &layers,
        &[
            layer(&[("./", 0o1751, None), ("d", 0o700, None)]),
            layer(&[("d/f", 0o644, Some(b""))]),
            layer(&[("x", 0o644, Some(b""))]),
        ],
    );
    let root = tempfile::tempdir().unwrap();
    fs_err::create_dir_all(root.path().join("d")).unwrap();
    restore_implied_folders(root.path(), &folders).unwrap();
    for (path, expected) in [("", 0o1751), ("d", 0o700)] {
        let data = fs_err::metadata(root.path().join(path)).unwrap();
        assert_eq!(data.mode() & 0o7777, expected, "{path}");
    }
    assert_eq!(fs_err::metadata(root.path()).unwrap().mtime(), 0);
    let known = KnownOwners::read(&folders).unwrap();
    assert_eq!(known.of(&EntryPath::root()), (7, 8));
    assert_eq!(known.of(&EntryPath::parse(b"d").unwrap()), (7, 8));
}

#[test]
fn a_layer_that_hides_all_below_it_is_the_lowest() {
    let layers = Layers::new();
    let opaque = layer(&[(".wh..wh..opq", 0o644, Some(b"")), ("new", 0o644, Some(b""))]);
    let first = layer(&[("secret", 0o644, Some(b""))]);
    let last = layer(&[("last", 0o644, Some(b""))]);
    let folders = stack(&layers, &[first.clone(), opaque, last]);
    assert_eq!(folders.len(), 2);
    assert!(folders[0].join("new").exists());
    let twice = layer(&[(".wh..wh..opq", 0o644, Some(b"")), ("b", 0o644, Some(b""))]);
    assert_eq!(stack(&layers, &[first.clone(), twice.clone(), first, twice]).len(), 1);
}

#[test]
fn whiteouts_of_nothing_get_a_folder_to_be_merged_with() {
    use crate::image::layers::with_merged_whiteouts;
    let layers = Layers::new();
    let whiteouts = layer(&[
        ("./", 0o755, None),
        ("d/.wh.x", 0o644, Some(b"")),
        ("d/e/.wh.y", 0o644, Some(b"")),
        (".wh.top", 0o644, Some(b"")),
    ]);
    for (below, expected) in [
        (layer(&[("other", 0o644, Some(b""))]), &["d", "d/e"][..]),
        (layer(&[("d/x", 0o644, Some(b""))]), &["d/e"]),
        (layer(&[("d/e/y", 0o644, Some(b""))]), &[]),
        (layer(&[("d", 0o644, Some(b""))]), &["d", "d/e"]),
        (with_link("d", "/usr"), &["d", "d/e"]),
    ] {
        let folders = stack(&layers, &[below, whiteouts.clone()]);
        let home = tempfile::tempdir().unwrap();
        let all = with_merged_whiteouts(&folders, home.path()).unwrap();
        assert_eq!(all.len(), 2 + usize::from(!expected.is_empty()));
        assert_eq!((&all[0], all.last()), (&folders[0], folders.last()));
        for folder in expected {
            assert!(all[1].join(folder).is_dir());
        }
        if expected == ["d/e"] {
            assert_eq!(names(&all[1].join("d")), ["e"]);
        }
    }
}
