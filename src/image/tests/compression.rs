//! Images and layers in all forms that a compressed stream may have: what `archive` takes, they take.

use super::*;
use crate::archive::tests::variants::variants;
use crate::archive::{ArchiveLimits, Compression as ArchiveCompression};
use crate::image::compression::LayerCompression;
use crate::image::layers::{UnpackOptions, ensure_unpacked};
use crate::image::store::LayerBlob;

#[test]
fn each_form_of_an_image_archive_is_understood_in_one_way() {
    let layer = tar(&[("file", b"content")]);
    for variant in variants(&docker_archive(&["a:1"], &[layer])) {
        let loaded = TestHome::new().load_bytes(&variant.bytes);
        assert_eq!(loaded.is_ok(), variant.is_good, "{}: {loaded:?}", variant.name);
    }
}

#[test]
fn each_form_of_a_layer_is_understood_in_one_way() {
    let layer = tar(&[("file", b"content")]);
    let mut files = docker_files(&["a:1"], std::slice::from_ref(&layer));
    for variant in variants(&layer) {
        files[0].1.clone_from(&variant.bytes);
        let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        let loaded = TestHome::new().load_bytes(&tar(&files));
        let name = &variant.name;
        if LayerCompression::of(variant.compression).is_none() {
            let error = loaded.unwrap_err();
            let expected = format!("it is compressed by {}", variant.compression.as_str());
            assert!(error.contains(&expected), "{name}: {error}");
            continue;
        }
        assert_eq!(loaded.is_ok(), variant.is_good, "{name}: {loaded:?}");
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("blob");
        fs_err::write(&path, &variant.bytes).unwrap();
        let blob = LayerBlob { path, diff_id: Sha256Sum::of(&layer).into(), is_fifo: false };
        let options = UnpackOptions { single_id: true, limits: ArchiveLimits::default() };
        let unpacked = ensure_unpacked(&home.path().join("layers"), &[blob], &options, |_| false);
        assert_eq!(unpacked.is_ok(), variant.is_good, "{name}: {unpacked:?}");
        if let Ok(folders) = unpacked {
            assert_eq!(fs_err::read(folders[0].join("file")).unwrap(), b"content", "{name}");
        }
    }
}

#[test]
fn an_image_and_a_layer_that_unpack_to_more_than_they_may_are_refused() {
    let layer = tar(&[("file", &vec![0; 1 << 20])]);
    let limits = ArchiveLimits { max_bytes: 1 << 19, ..ArchiveLimits::default() };
    let options = LoadOptions { limits, ..LoadOptions::default() };
    let mut files = docker_files(&["a:1"], std::slice::from_ref(&layer));
    for compression in [
        ArchiveCompression::None,
        ArchiveCompression::Gzip,
        ArchiveCompression::Bzip2,
        ArchiveCompression::Xz,
        ArchiveCompression::Zstd,
    ] {
        let squeeze =
            |bytes: &[u8]| crate::archive::tests::variants::compressed(compression, bytes);
        let whole = squeeze(&docker_archive(&["a:1"], std::slice::from_ref(&layer)));
        let error = TestHome::new().load_with(&whole, &options).unwrap_err();
        assert!(error.contains("524288 bytes, which is the limit"), "{compression:?}: {error}");
        if LayerCompression::of(compression).is_some() {
            files[0].1 = squeeze(&layer);
            let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
            let error = TestHome::new().load_with(&tar(&files), &options).unwrap_err();
            assert!(error.contains("524288 bytes, which is the limit"), "{compression:?}: {error}");
        }
    }
}
