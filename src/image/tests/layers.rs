//! Unpacked layers, as the caller's own: `single_id` needs no privilege.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::*;
use crate::archive::Limits;
use crate::image::compression::Compression;
use crate::image::layers::{
    LayerError, UnpackOptions, ensure_unpacked, owners_file, remove_unpacked,
    restore_implied_folders,
};
use crate::image::store::LayerBlob;

const OPTIONS: UnpackOptions = UnpackOptions {
    single_id: true,
    limits: Limits { max_bytes: 1 << 24, max_entries: 1000, max_name_bytes: 1 << 20 },
};

struct Layers {
    folder: tempfile::TempDir,
}

impl Layers {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn blob(&self, plain: &[u8], compression: Compression) -> LayerBlob {
        let stored = match compression {
            Compression::None => plain.to_vec(),
            Compression::Gzip => gzip(plain),
            Compression::Zstd => zstd(plain),
        };
        let path = self.folder.path().join(digest(&stored).hex());
        fs_err::write(&path, stored).unwrap();
        LayerBlob { path, compression, diff_id: Sha256Sum::of(plain).into() }
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
    let all = [Compression::None, Compression::Gzip, Compression::Zstd].map(|compression| {
        layers.blob(&layer(&[(compression.as_str(), 0o640, Some(b"x"))]), compression)
    });
    let paths = layers.ensure(&all).unwrap();
    for (path, blob) in paths.iter().zip(&all) {
        assert_eq!(path.file_name().unwrap(), blob.diff_id.hex());
        let file = fs_err::metadata(path.join(blob.compression.as_str())).unwrap();
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
    let blob = layers.blob(&layer(&[("a", 0o644, Some(b""))]), Compression::None);
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
fn a_layer_that_occurs_twice_counts_where_it_is_highest() {
    let layers = Layers::new();
    let a = layers.blob(&layer(&[("a", 0o644, Some(b""))]), Compression::None);
    let b = layers.blob(&layer(&[("b", 0o644, Some(b""))]), Compression::None);
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
        Compression::Gzip,
    );
    let path = layers.ensure(&[blob]).unwrap().remove(0);
    let whiteout = fs_err::symlink_metadata(path.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert_eq!(xattr::get(path.join("d"), "user.overlay.opaque").unwrap().unwrap(), b"y");
}

#[test]
fn a_changed_or_hostile_blob_leaves_nothing() {
    let layers = Layers::new();
    let good = layers.blob(&layer(&[("a", 0o644, Some(b"1"))]), Compression::Gzip);
    let other = layer(&[("locked", 0o000, None), ("locked/b", 0o644, Some(b"2"))]);
    let mut changed = layers.blob(&other, Compression::Gzip);
    changed.diff_id = Sha256Sum::of(b"x").into();
    let error = layers.ensure(&[good.clone(), changed]).unwrap_err();
    assert!(matches!(error, LayerError::DiffId { .. }), "{error}");
    // Trailing bytes are part of what the digest is over.
    let mut longer = layers.blob(&other, Compression::None);
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
    let escaping = layers.blob(&escaping, Compression::None);
    assert!(matches!(layers.ensure(&[escaping]), Err(LayerError::Unpack { .. })));
    let bomb = layers.blob(&vec![0; 1 << 25], Compression::Zstd);
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
    let blob = layers.blob(&layer(&[("a", 0o644, Some(b"1"))]), Compression::None);
    layers.ensure(std::slice::from_ref(&blob)).unwrap();
    remove_unpacked(&layers.unpacked(), &blob.diff_id).unwrap();
    remove_unpacked(&layers.unpacked(), &blob.diff_id).unwrap();
    assert_eq!(names(&layers.unpacked()), [".lock"]);
}

#[test]
fn several_helpers_unpack_one_layer_once() {
    let layers = Layers::new();
    let blob = layers.blob(&layer(&[("a", 0o644, Some(&vec![7; 100_000]))]), Compression::Gzip);
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
    assert_eq!(names(&layers.unpacked()).len(), 3);
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
    .map(|bytes| layers.blob(&bytes, Compression::None));
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
