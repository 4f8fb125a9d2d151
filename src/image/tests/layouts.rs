//! OCI layouts, as folders and as archives.

use super::*;
use crate::image::load::Selection;
use crate::image::location::Form;

fn other_platform() -> Platform {
    Platform { os: "linux".into(), architecture: "vax".into(), variant: None }
}

#[test]
fn folders_and_archives_give_the_same() {
    let (plain, zipped) = (tar(&[("a", b"1")]), tar(&[("b", b"2")]));
    let packed = tar(&[("c", b"3")]);
    let mut layout = Layout::default();
    let config = config(&[plain.clone(), zipped.clone(), packed.clone()]);
    let id = digest(&config);
    let entry = layout.image(
        config,
        &[
            ("", plain),
            ("+gzip", gzip(&zipped)),
            ("+zstd", [zstd(&packed[..512]), zstd(&packed[512..])].concat()),
        ],
    );
    let manifest = entry["digest"].clone();
    layout.enter(entry, Some("docker.io/library/x:1"));
    let folder = layout.folder();
    let (a, b) = (Home::new(), Home::new());
    let from_folder = a.load_path(folder.path()).unwrap();
    assert_eq!(from_folder, b.load_bytes(&xz(&layout.archive())).unwrap());
    assert_eq!(a.blobs(), b.blobs());
    assert_eq!(from_folder[0].id.sum(), id.sum());
    assert_eq!(from_folder[0].manifest.to_string(), manifest.as_str().unwrap());
    // What is in the store is itself such a layout.
    let again = Home::new();
    assert_eq!(again.load_path(a.store.folder()).unwrap(), from_folder);
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let host = Platform::host();
    let mut layout = Layout::default();
    let mut inner = Vec::new();
    let mut wanted = None;
    for platform in [other_platform(), host.clone()] {
        let id = layout.add(None, &platform, platform.architecture.as_bytes());
        let mut entry = layout.entries.pop().unwrap();
        entry["platform"] =
            serde_json::json!({"os": platform.os, "architecture": platform.architecture});
        inner.push(entry);
        wanted = Some(id);
    }
    // What buildkit adds beside each image.
    let mut attestation = layout.blob(MANIFEST, b"{}".to_vec());
    attestation["platform"] = serde_json::json!({"os": "unknown", "architecture": "unknown"});
    inner.push(attestation);
    let index = |manifests: &[serde_json::Value]| {
        serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
            .to_string()
            .into_bytes()
    };
    let nested = layout.blob(INDEX, index(&inner));
    let outer = layout.blob(INDEX, index(&[nested]));
    layout.enter(outer, Some("x:1"));
    let loaded = Home::new().load_bytes(&layout.archive()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id.sum(), wanted.unwrap().sum());

    inner.remove(1);
    layout.entries.clear();
    let outer = layout.blob(INDEX, index(&inner));
    layout.enter(outer, Some("x:1"));
    let error = Home::new().load_bytes(&layout.archive()).unwrap_err();
    let expected = format!("nothing for {host}, only for linux/vax, unknown/unknown");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_single_image_for_another_machine_is_refused() {
    let mut layout = Layout::default();
    layout.add(Some("x:1"), &other_platform(), b"1");
    let error = Home::new().load_bytes(&layout.archive()).unwrap_err();
    assert!(error.contains("only for linux/vax"), "{error}");
    let options = LoadOptions { platform: other_platform(), ..LoadOptions::default() };
    assert!(Home::new().load_with(&layout.archive(), &options).is_ok());
}

#[test]
fn bare_tags_select_but_do_not_name() {
    let mut layout = Layout::default();
    let one = layout.add(Some("latest"), &Platform::host(), b"1");
    let two = layout.add(Some("base"), &Platform::host(), b"2");
    layout.add(None, &Platform::host(), b"3");
    let home = Home::new();
    let loaded = home.load_bytes(&layout.archive()).unwrap();
    assert_eq!(loaded.len(), 3);
    assert!(loaded.iter().all(|image| image.reference.is_none()));
    for (name, id) in [("latest", &one), ("base", &two)] {
        let selection = Selection::Named(name.to_owned());
        let options =
            LoadOptions { selection, form: Some(Form::OciArchive), ..LoadOptions::default() };
        let loaded = home.load_with(&layout.archive(), &options).unwrap();
        assert_eq!(loaded[0].id.sum(), id.sum());
    }
}

#[test]
fn a_form_that_is_asked_for_is_insisted_on() {
    let layout = Layout::default().archive();
    let docker = docker_archive(&["x"], &[tar(&[])]);
    for (form, bytes, message) in [
        (Form::DockerArchive, &layout, "no manifest.json"),
        (Form::OciArchive, &docker, "no index.json"),
    ] {
        let options = LoadOptions { form: Some(form), ..LoadOptions::default() };
        let error = Home::new().load_with(bytes, &options).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    let error = Home::new().load_bytes(&layout).unwrap_err();
    assert!(error.contains("no image in it"), "{error}");
    let error = Home::new().load_bytes(b"").unwrap_err();
    assert!(error.contains("neither index.json nor manifest.json"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = Home::new().load_path(empty.path()).unwrap_err();
    assert!(error.contains("oci-layout"), "{error}");
}

#[test]
fn an_archive_may_come_through_a_named_pipe() {
    let mut layout = Layout::default();
    layout.add(Some("x:1"), &Platform::host(), b"1");
    let home = Home::new();
    let pipe = home.folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fs_err::write(&pipe, layout.archive()));
        assert_eq!(home.load_path(&pipe).unwrap().len(), 1);
        writer.join().unwrap().unwrap();
    });
}
