//! Archives and layouts that nobody should have made.

use super::*;
use crate::archive::ArchiveLimits;

fn refused(archive: &[u8], message: &str) {
    let error = TestHome::new().load_bytes(archive).unwrap_err();
    assert!(error.contains(message), "{error}");
}

/// A docker archive of one image after a change to its files.
fn changed(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut files = docker_files(&["x"], &[tar(&[("a", b"1")]), tar(&[("b", b"2")])]);
    change(&mut files);
    tar(&files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

/// An archive of one image's layout after a change to its files.
fn changed_layout(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Vec<u8> {
    let mut layout = TestLayout::default();
    layout.add(Some("x:1"), &Platform::host(), b"1");
    let mut files = layout.files();
    change(&mut files);
    tar(&files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

#[test]
fn changed_and_missing_parts_are_named() {
    refused(&changed(|files| files[1].1 = tar(&[("b", b"3")])), "layer 2 unpacks to sha256:");
    refused(&changed(|files| drop(files.remove(1))), "layer 2 is missing: l1/layer.tar");
    refused(&changed(|files| drop(files.remove(2))), "the configuration is missing");
    refused(&changed(|files| files[2].1.push(b' ')), "the configuration is damaged");
    refused(
        &changed(|files| files[1].1 = gzip(&files[1].1)[..20].to_vec()),
        "can't be decompressed",
    );
    refused(&changed(|files| files[1].1 = xz(&files[1].1)), "compressed by xz");
    refused(&changed(|files| files[3].1 = b"{".to_vec()), "manifest.json can't be used");
    let fewer = |files: &mut Vec<(String, Vec<u8>)>| {
        let text = String::from_utf8(files[3].1.clone()).unwrap();
        files[3].1 = text.replace(r#","l1/layer.tar""#, "").into_bytes();
    };
    refused(&changed(fewer), "the image has 1 layers, but its configuration names 2");
    // Blob 0 of the layout is the configuration, 1 the layer, 2 the manifest.
    refused(&changed_layout(|files| files[1].1[0] ^= 1), "layer 1 is damaged");
    refused(&changed_layout(|files| files[0].1[0] = b'['), "the configuration is damaged");
    refused(&changed_layout(|files| drop(files.remove(1))), "layer 1 is missing");
    refused(&changed_layout(|files| drop(files.remove(2))), "the manifest is missing");
}

#[test]
fn a_layout_in_a_folder_is_checked_alike() {
    let mut layout = TestLayout::default();
    layout.add(Some("x:1"), &Platform::host(), b"1");
    let blob = format!("blobs/sha256/{}", digest(&layout.blobs[1]).hex());
    let folder = layout.folder();
    fs_err::write(folder.path().join(&blob), b"other").unwrap();
    let error = TestHome::new().load_path(folder.path()).unwrap_err();
    assert!(error.contains("layer 1 has 5 bytes"), "{error}");
    fs_err::write(folder.path().join(&blob), vec![b'x'; layout.blobs[1].len()]).unwrap();
    let error = TestHome::new().load_path(folder.path()).unwrap_err();
    assert!(error.contains("layer 1 is damaged"), "{error}");
    fs_err::remove_file(folder.path().join(&blob)).unwrap();
    let error = TestHome::new().load_path(folder.path()).unwrap_err();
    assert!(error.contains("layer 1 is missing"), "{error}");
    // A pipe in its place would wait for ever.
    nix::unistd::mkfifo(&folder.path().join(&blob), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = TestHome::new().load_path(folder.path()).unwrap_err();
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn sizes_and_types_that_lie_are_refused() {
    let index = |from: &'static str, to: &'static str| {
        changed_layout(move |files| {
            let text = String::from_utf8(files[3].1.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            files[3].1 = text.replace(from, to).into_bytes();
        })
    };
    refused(&index("\"size\":", "\"size\":1"), "the manifest has");
    refused(&index("image.manifest.v1", "image.index.v1"), "an index can't be used");
    refused(
        &index("image.manifest.v1+json", "artifact.v7"),
        "only for application/vnd.oci.artifact.v7",
    );
    refused(&index("sha256:", "sha256:../../"), "no image for");
}

#[test]
fn an_archive_that_is_cut_off_is_refused_wherever() {
    let archive = changed(|_| ());
    let whole = archive.len();
    for length in (1..whole - 1024).step_by(211) {
        assert!(TestHome::new().load_bytes(&archive[..length]).is_err(), "{length} of {whole}");
    }
    // Also where all that is needed has come already.
    let more = changed(|files| files.push(("more".to_owned(), b"x".to_vec())));
    for length in [whole - 1024 + 100, whole - 1024 + 513] {
        refused(&more[..length], "can't be read to its end");
    }
    for packed in [gzip(&archive), zstd(&archive), xz(&archive)] {
        refused(&packed[..packed.len() - 4], "can't be read to its end");
    }
    refused(&b"x".repeat(2000), "not a tar archive");
}

#[test]
fn one_name_has_one_content() {
    let double =
        |bytes: &[u8]| changed(|files| files.push(("./l0/layer.tar".to_owned(), bytes.to_vec())));
    refused(&double(&tar(&[("other", b"1")])), "\"l0/layer.tar\" twice");
    assert!(TestHome::new().load_bytes(&double(&tar(&[("a", b"1")]))).is_ok());
    let linked = |archive: &mut tar::Builder<Vec<u8>>| {
        append_link(archive, tar::EntryType::Symlink, "a", "b");
        append_link(archive, tar::EntryType::Symlink, "b", "a");
        append_link(archive, tar::EntryType::Symlink, "c", "../../etc/passwd");
        append_link(archive, tar::EntryType::Symlink, "d", "/etc/passwd");
    };
    for name in ["a", "c", "d", "../x", "/etc/passwd", ""] {
        let mut builder = tar::Builder::new(Vec::new());
        linked(&mut builder);
        let manifest = serde_json::json!([{"Config": name, "Layers": []}]).to_string();
        append(&mut builder, "manifest.json", manifest.as_bytes());
        refused(&builder.into_inner().unwrap(), "the configuration is missing");
    }
}

#[test]
fn what_unpacks_to_more_than_it_may_is_refused() {
    let limits = ArchiveLimits {
        max_bytes: 1 << 20,
        max_entries: 50,
        max_name_bytes: 4096,
        ..ArchiveLimits::NONE
    };
    let options = LoadOptions { limits, ..LoadOptions::default() };
    let zeros = vec![0; 4 << 20];
    let load = |archive: &[u8]| TestHome::new().load_with(archive, &options).unwrap_err();
    let bomb = |layer: Vec<u8>| changed(|files| files[1].1 = layer);
    for archive in [
        bomb(gzip(&zeros)),
        bomb(zstd(&zeros)),
        bomb(zeros.clone()),
        gzip(&changed(|files| files.push(("x".to_owned(), zeros.clone())))),
    ] {
        assert!(load(&archive).contains("more than 1048576 bytes"), "{}", load(&archive));
    }
    let mut after_the_end = changed(|_| ());
    after_the_end.extend(&zeros);
    assert!(load(&gzip(&after_the_end)).contains("more than 1048576 bytes"));
    // Any number of entries that lead to one long document.
    let mut layout = TestLayout::default();
    let index = format!("{}{{\"schemaVersion\": 2, \"manifests\": []}}", " ".repeat(200_000));
    let entry = layout.blob(INDEX, index.into_bytes());
    (0..6).for_each(|_| layout.enter(entry.clone(), None));
    let error = load(&layout.archive());
    assert!(error.contains("have more than 1048576 bytes together"), "{error}");
    let many = changed(|files| {
        files.extend((0..60).map(|number| (format!("f{number}"), Vec::new())));
    });
    assert!(load(&many).contains("more than 50 entries"));
    let named = changed(|files| {
        files.extend((0..3).map(|n| (format!("{n}{}", "n".repeat(2000)), Vec::new())));
    });
    assert!(load(&named).contains("names have more than 4096 bytes"), "{}", load(&named));
    let mut linked = tar::Builder::new(Vec::new());
    for number in 0..3 {
        let (name, target) = (format!("l{number}"), "t".repeat(2000));
        append_link(&mut linked, tar::EntryType::Symlink, &name, &target);
    }
    let linked = linked.into_inner().unwrap();
    assert!(load(&linked).contains("names have more than 4096 bytes"), "{}", load(&linked));
}

#[test]
fn records_and_documents_have_a_largest_size() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    refused(header.as_bytes(), "an extended header of more than 1 MiB");
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::MAX - 10);
    header.set_cksum();
    refused(header.as_bytes(), "a size that no file can have");
    let long = changed(|files| {
        files[3].1.resize(17 << 20, b' ');
    });
    refused(&long, "manifest.json has 17825792 bytes");
    let mut layout = TestLayout::default();
    let mut entry = layout.blob(INDEX, b"{}".to_vec());
    for _ in 0..9 {
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        entry = layout.blob(INDEX, index.into_bytes());
    }
    layout.enter(entry, None);
    refused(&layout.archive(), "too deep");
    let tags: Vec<String> = (0..2500).map(|number| format!("x:{number}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    refused(&docker_archive(&tags, &[tar(&[("a", b"1")])]), "more than 2000 images and names");
}
