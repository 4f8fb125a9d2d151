//! OCI layouts, as folders and as archives.

use super::*;
use crate::image::load::ImageSelection;
use crate::image::location::ImageForm;

fn other_platform() -> Platform {
    Platform { os: "linux".into(), architecture: "vax".into(), variant: None }
}

#[test]
fn folders_and_archives_give_the_same() {
    let (plain, zipped) = (tar(&[("a", b"1")]), tar(&[("b", b"2")]));
    let packed = tar(&[("c", b"3")]);
    let mut layout = TestLayout::default();
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
    let (a, b) = (TestHome::new(), TestHome::new());
    let from_folder = a.load_path(folder.path()).unwrap();
    assert_eq!(from_folder, b.load_bytes(&xz(&layout.archive())).unwrap());
    assert_eq!(a.blobs(), b.blobs());
    assert_eq!(from_folder[0].id.sum(), id.sum());
    assert_eq!(from_folder[0].manifest.to_string(), manifest.as_str().unwrap());
    // What is in the store is itself such a layout.
    let again = TestHome::new();
    assert_eq!(again.load_path(a.store.folder()).unwrap(), from_folder);
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let host = Platform::host();
    let mut layout = TestLayout::default();
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
    let loaded = TestHome::new().load_bytes(&layout.archive()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id.sum(), wanted.unwrap().sum());

    inner.remove(1);
    layout.entries.clear();
    let outer = layout.blob(INDEX, index(&inner));
    layout.enter(outer, Some("x:1"));
    let error = TestHome::new().load_bytes(&layout.archive()).unwrap_err();
    let expected = format!("no image for {host}, only for linux/vax, unknown/unknown");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_single_image_for_another_machine_is_refused() {
    let mut layout = TestLayout::default();
    layout.add(Some("x:1"), &other_platform(), b"1");
    let error = TestHome::new().load_bytes(&layout.archive()).unwrap_err();
    assert!(error.contains("only for linux/vax"), "{error}");
    let options = LoadOptions { platform: other_platform(), ..LoadOptions::default() };
    assert!(TestHome::new().load_with(&layout.archive(), &options).is_ok());
}

#[test]
fn the_content_of_a_layer_decides_on_its_compression() {
    let plain = tar(&[("a", b"1")]);
    for ending in ["", "+gzip", "+zstd"] {
        for stored in [plain.clone(), gzip(&plain), zstd(&plain)] {
            let mut layout = TestLayout::default();
            let config = config(std::slice::from_ref(&plain));
            let entry = layout.image(config, &[(ending, stored.clone())]);
            layout.enter(entry, Some("x:1"));
            let home = TestHome::new();
            home.load_bytes(&layout.archive()).unwrap();
            let image = home.store.find_any("x:1").unwrap();
            let layers = image.root(&home.store).layers;
            let folder = home.folder.path().join("layers");
            let options =
                crate::image::layers::UnpackOptions { single_id: true, ..Default::default() };
            let unpacked =
                crate::image::layers::ensure_unpacked(&folder, &layers, &options, |_| false);
            assert_eq!(fs_err::read(unpacked.unwrap()[0].join("a")).unwrap(), b"1");
            let expected = crate::image::compression::LayerCompression::of(
                crate::archive::Compression::of(&stored),
            );
            assert_eq!(Some(image.layers[0].compression), expected);
        }
    }
}

#[test]
fn entries_that_are_no_image_leave_the_others() {
    let artifact = |layout: &mut TestLayout, kind: &str| {
        let config = layout.blob(kind, b"{}".to_vec());
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [config],
        });
        layout.blob(MANIFEST, manifest.to_string().into_bytes())
    };
    let digest_of = |algorithm: &str, digits: usize| {
        serde_json::json!({
            "mediaType": MANIFEST, "size": 1,
            "digest": format!("{algorithm}:{}", "a".repeat(digits)),
        })
    };
    for name in [None, Some("other:1")] {
        for odd in 0..6 {
            let mut layout = TestLayout::default();
            let entry = match odd {
                0 => artifact(&mut layout, "application/vnd.cncf.helm.config.v1+json"),
                1 => artifact(&mut layout, "application/vnd.oci.empty.v1+json"),
                2 => digest_of("sha512", 128),
                3 => serde_json::json!({"mediaType": MANIFEST}),
                4 => {
                    layout.add(None, &other_platform(), b"other");
                    let mut entry = layout.entries.pop().unwrap();
                    entry["platform"] = serde_json::json!({"os": "linux", "architecture": "vax"});
                    entry
                }
                _ => {
                    layout.add(None, &other_platform(), b"other");
                    layout.entries.pop().unwrap()
                }
            };
            layout.enter(entry, name);
            let id = layout.add(Some("x:1"), &Platform::host(), b"1");
            let loaded = TestHome::new().load_bytes(&layout.archive()).unwrap();
            assert_eq!(loaded.len(), 1, "{odd}");
            assert_eq!(loaded[0].id.sum(), id.sum());
            layout.entries.pop();
            TestHome::new().load_bytes(&layout.archive()).unwrap_err();
        }
    }
}

#[test]
fn an_entry_that_cannot_be_used_leaves_the_image_beside_it() {
    let index = |entries: &[serde_json::Value]| {
        let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
        index.to_string().into_bytes()
    };
    let mut layout = TestLayout::default();
    let id = layout.add(None, &Platform::host(), b"1");
    let image = layout.entries.pop().unwrap();
    let missing = |kind: &str| {
        let digest = format!("sha256:{}", "a".repeat(64));
        serde_json::json!({"mediaType": kind, "size": 9, "digest": digest})
    };
    let shapeless = layout.blob(INDEX, br#"{"manifests": 7}"#.to_vec());
    let mut long = layout.blob(INDEX, index(&[]));
    long["size"] = serde_json::json!(9);
    let no_config = layout.blob(MANIFEST, br#"{"layers": []}"#.to_vec());
    let odd = [missing(INDEX), shapeless, long, missing(MANIFEST), no_config];
    for (number, entry) in odd.iter().enumerate() {
        for is_inner in [false, true] {
            let entries = [entry.clone(), image.clone()];
            let mut layout = TestLayout { blobs: layout.blobs.clone(), entries: Vec::new() };
            if is_inner {
                let outer = layout.blob(INDEX, index(&entries));
                layout.enter(outer, Some("x:1"));
            } else {
                for entry in entries {
                    layout.enter(entry, None);
                }
            }
            let (home, told) = (TestHome::new(), Events::default());
            let bytes = layout.archive();
            let input = LoadInput::Stream(&mut bytes.as_slice(), "-");
            let loaded = home.store.load(input, &LoadOptions::default(), &told).unwrap();
            assert_eq!(loaded[0].id.sum(), id.sum(), "{number} {is_inner}");
            let told = told.0.lock().unwrap();
            let is_warning = |event: &Event| matches!(event, Event::Warning { .. });
            assert!(told.iter().any(is_warning), "{number} {is_inner}: {told:?}");
        }
    }
    let outer = layout.blob(INDEX, index(&odd));
    layout.enter(outer, Some("x:1"));
    let error = TestHome::new().load_bytes(&layout.archive()).unwrap_err();
    for reason in ["isn't there", "invalid type", "should have 9", "no config"] {
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    let mut layout = TestLayout::default();
    layout.add(Some("other:1"), &other_platform(), b"other");
    layout.add(Some("x:1"), &Platform::host(), b"1");
    let (home, told) = (TestHome::new(), Events::default());
    let bytes = layout.archive();
    let input = LoadInput::Stream(&mut bytes.as_slice(), "-");
    home.store.load(input, &LoadOptions::default(), &told).unwrap();
    let said = format!("{:?}", told.0.lock().unwrap());
    assert!(said.contains("left out: other:1") && said.contains("linux/vax"), "{said}");
}

#[test]
fn of_entries_without_a_platform_the_configurations_tell() {
    for platform in [serde_json::Value::Null, serde_json::json!({"os": "linux"})] {
        let mut layout = TestLayout::default();
        layout.add(None, &other_platform(), b"other");
        let id = layout.add(None, &Platform::host(), b"1");
        for entry in &mut layout.entries {
            entry["platform"] = platform.clone();
        }
        let inner = serde_json::json!({"schemaVersion": 2, "manifests": layout.entries});
        layout.entries.clear();
        let outer = layout.blob(INDEX, inner.to_string().into_bytes());
        layout.enter(outer, Some("x:1"));
        let loaded = TestHome::new().load_bytes(&layout.archive()).unwrap();
        assert_eq!(loaded[0].id.sum(), id.sum(), "{platform}");
    }
}

#[test]
fn an_index_that_other_tools_wrote_keeps_their_entries() {
    let odd = serde_json::json!({
        "mediaType": MANIFEST, "digest": format!("sha512:{}", "a".repeat(128)), "size": 1,
        "platform": {"os": "linux"}, "x": [1],
    });
    let home = TestHome::new();
    let mut layout = TestLayout::default();
    layout.add(Some("x:1"), &Platform::host(), b"1");
    home.load_bytes(&layout.archive()).unwrap();
    let path = home.store.folder().join("index.json");
    let read =
        || -> serde_json::Value { serde_json::from_slice(&fs_err::read(&path).unwrap()).unwrap() };
    let mut index = read();
    index["manifests"].as_array_mut().unwrap().push(odd.clone());
    index["annotations"] = serde_json::json!({"a": "b"});
    fs_err::write(&path, index.to_string()).unwrap();
    layout.add(Some("y:1"), &Platform::host(), b"2");
    home.load_bytes(&layout.archive()).unwrap();
    let index = read();
    assert!(index["manifests"].as_array().unwrap().contains(&odd));
    assert_eq!(index["annotations"]["a"], "b");
    assert_eq!(home.store.list().unwrap().images.len(), 2);
}

#[test]
fn images_saved_at_once_into_one_layout_are_all_there() {
    use crate::image::location::StoredImage;
    use crate::image::save::{SaveDestination, save};
    let home = TestHome::new();
    let mut layout = TestLayout::default();
    let called: Vec<String> = (0..12).map(|number| format!("x:{number}")).collect();
    for name in &called {
        layout.add(Some(name), &Platform::host(), name.as_bytes());
    }
    home.load_bytes(&layout.archive()).unwrap();
    // As `umoci init` writes it.
    for before in [None, Some(r#"{"schemaVersion":2,"manifests":null}"#)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layout");
        if let Some(index) = before {
            fs_err::create_dir(&path).unwrap();
            fs_err::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            fs_err::write(path.join("index.json"), index).unwrap();
        }
        let save_one = |name: &String| {
            let place = StoredImage { form: ImageForm::Oci, path: path.clone(), reference: None };
            let image = home.store.find_any(name).unwrap();
            let name = name.parse().unwrap();
            save(&home.store, &image, &SaveDestination { place: &place, name: Some(&name) })
                .unwrap();
        };
        std::thread::scope(|scope| {
            for name in &called {
                scope.spawn(|| save_one(name));
            }
        });
        assert_eq!(TestHome::new().load_path(&path).unwrap().len(), called.len());
    }
    let other = tempfile::tempdir().unwrap();
    fs_err::write(other.path().join("x"), "").unwrap();
    let path = other.path().to_owned();
    let place = StoredImage { form: ImageForm::Oci, path, reference: None };
    let image = home.store.find_any("x:1").unwrap();
    save(&home.store, &image, &SaveDestination { place: &place, name: None }).unwrap_err();
    assert_eq!(names(other.path()), ["x"]);
}

#[test]
fn an_image_is_not_saved_through_symlinks() {
    use crate::image::location::StoredImage;
    use crate::image::save::{SaveDestination, save};
    let home = TestHome::new();
    let mut layout = TestLayout::default();
    layout.add(Some("x:1"), &Platform::host(), b"1");
    home.load_bytes(&layout.archive()).unwrap();
    let image = home.store.find_any("x:1").unwrap();
    for (name, is_folder) in
        [("oci-layout", false), ("index.json", false), ("blobs", true), ("blobs/sha256", true)]
    {
        let place = tempfile::tempdir().unwrap();
        let (folder, elsewhere) = (place.path().join("layout"), place.path().join("elsewhere"));
        fs_err::create_dir_all(folder.join("blobs")).unwrap();
        fs_err::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        if is_folder {
            fs_err::create_dir(&elsewhere).unwrap();
        }
        let link = folder.join(name);
        if name != "blobs/sha256" && link.exists() {
            crate::base::removal::remove_all(&link).unwrap();
        }
        fs_err::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let stored = StoredImage { form: ImageForm::Oci, path: folder, reference: None };
        let destination = SaveDestination { place: &stored, name: None };
        let error = save(&home.store, &image, &destination).unwrap_err().to_string();
        assert!(error.contains("symlink"), "{name}: {error}");
        assert!(!elsewhere.is_file(), "{name}");
        let left = if is_folder { names(&elsewhere) } else { Vec::new() };
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    // A blob that is a symlink is replaced.
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("layout");
    let stored = StoredImage { form: ImageForm::Oci, path: folder.clone(), reference: None };
    let destination = SaveDestination { place: &stored, name: None };
    save(&home.store, &image, &destination).unwrap();
    let blob = folder.join("blobs/sha256").join(image.layers[0].digest.hex());
    let size = usize::try_from(fs_err::metadata(&blob).unwrap().len()).unwrap();
    fs_err::remove_file(&blob).unwrap();
    fs_err::write(place.path().join("other"), vec![0; size]).unwrap();
    fs_err::os::unix::fs::symlink(place.path().join("other"), &blob).unwrap();
    save(&home.store, &image, &destination).unwrap();
    assert!(fs_err::symlink_metadata(&blob).unwrap().is_file());
}

#[test]
fn bare_tags_select_but_do_not_name() {
    let mut layout = TestLayout::default();
    let one = layout.add(Some("latest"), &Platform::host(), b"1");
    let two = layout.add(Some("base"), &Platform::host(), b"2");
    layout.add(None, &Platform::host(), b"3");
    let home = TestHome::new();
    let loaded = home.load_bytes(&layout.archive()).unwrap();
    assert_eq!(loaded.len(), 3);
    assert!(loaded.iter().all(|image| image.reference.is_none()));
    for (name, id) in [("latest", &one), ("base", &two)] {
        let selection = ImageSelection::Named(name.to_owned());
        let options =
            LoadOptions { selection, form: Some(ImageForm::OciArchive), ..LoadOptions::default() };
        let loaded = home.load_with(&layout.archive(), &options).unwrap();
        assert_eq!(loaded[0].id.sum(), id.sum());
    }
}

#[test]
fn a_form_that_is_asked_for_is_insisted_on() {
    let layout = TestLayout::default().archive();
    let docker = docker_archive(&["x"], &[tar(&[])]);
    for (form, bytes, message) in [
        (ImageForm::DockerArchive, &layout, "no manifest.json"),
        (ImageForm::OciArchive, &docker, "no index.json"),
    ] {
        let options = LoadOptions { form: Some(form), ..LoadOptions::default() };
        let error = TestHome::new().load_with(bytes, &options).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
    let error = TestHome::new().load_bytes(&layout).unwrap_err();
    assert!(error.contains("no image in it"), "{error}");
    let error = TestHome::new().load_bytes(b"").unwrap_err();
    assert!(error.contains("neither index.json nor manifest.json"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = TestHome::new().load_path(empty.path()).unwrap_err();
    assert!(error.contains("oci-layout"), "{error}");
}

#[test]
fn an_archive_may_come_through_a_named_pipe() {
    let mut layout = TestLayout::default();
    layout.add(Some("x:1"), &Platform::host(), b"1");
    let home = TestHome::new();
    let pipe = home.folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fs_err::write(&pipe, layout.archive()));
        assert_eq!(home.load_path(&pipe).unwrap().len(), 1);
        writer.join().unwrap().unwrap();
    });
}
