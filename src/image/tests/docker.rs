//! Docker archives.

use super::*;
use crate::image::load::{ImageSelection, Naming};

#[test]
fn an_image_keeps_the_id_of_its_configuration() {
    let layers = [tar(&[("etc/a", b"1")]), tar(&[("etc/b", b"2")])];
    let archive = docker_archive(&["ubuntu:14.04.4", "h:5000/x"], &layers);
    let id = digest(&config(&layers)).to_string();
    for packed in [archive.clone(), gzip(&archive), zstd(&archive), xz(&archive)] {
        let home = TestHome::new();
        let loaded = home.load_bytes(&packed).unwrap();
        assert_eq!(loaded.len(), 2);
        assert!(loaded.iter().all(|image| image.id.to_string() == id));
        let image = home.store.find(&"h:5000/x:latest".parse().unwrap()).unwrap().unwrap();
        assert_eq!(image.references.len(), 2);
        assert_eq!(image.layers.len(), 2);
        assert_eq!(image.config.entrypoint, ["/bin/sh"]);
        assert_eq!(home.blobs().len(), 4, "configuration, manifest and two layers");
    }
}

#[test]
fn what_comes_first_does_not_matter() {
    let layers = [tar(&[("a", b"1")])];
    let mut files = docker_files(&["x"], &layers);
    for _ in 0..files.len() {
        files.rotate_left(1);
        let archive: Vec<_> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        assert!(TestHome::new().load_bytes(&tar(&archive)).is_ok());
    }
}

#[test]
fn layers_may_be_links_compressed_and_shared() {
    let plain = tar(&[("a", b"1")]);
    let layers = [plain.clone(), plain.clone(), plain.clone(), plain.clone()];
    let config = config(&layers);
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "./one.tar", &plain);
    append_link(&mut builder, tar::EntryType::Symlink, "two/layer.tar", "../one.tar");
    append_link(&mut builder, tar::EntryType::Link, "three/layer.tar", "two/layer.tar");
    append(&mut builder, "four.tar.gz", &gzip(&plain));
    append(&mut builder, "config", &config);
    let manifest = br#"[{"Config": "config", "RepoTags": null,
        "Layers": ["one.tar", "two/layer.tar", "./three/../three/layer.tar", "four.tar.gz"]}]"#;
    append(&mut builder, "manifest.json", manifest);
    let home = TestHome::new();
    let loaded = home.load_bytes(&builder.into_inner().unwrap()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].reference, None);
    let image = home.store.find_id(loaded[0].id.hex()).unwrap().unwrap();
    assert_eq!(image.layers[0].digest, image.layers[2].digest);
    assert_eq!(image.layers[3].media_type, format!("{LAYER}+gzip"));
    assert_eq!(image.layers[0].diff_id, image.layers[3].diff_id);
    assert_eq!(home.blobs().len(), 4, "configuration, manifest and the layer in two forms");
}

#[test]
fn an_image_may_have_very_many_layers() {
    let layers: Vec<_> = (0..130).map(|number: u32| tar(&[("f", &number.to_be_bytes())])).collect();
    let home = TestHome::new();
    home.load_bytes(&docker_archive(&["many"], &layers)).unwrap();
    let image = home.store.find_any("many").unwrap();
    assert_eq!(image.root(&home.store).layers.len(), 130);
    assert!(image.layers.iter().zip(&layers).all(|(layer, bytes)| layer.digest == digest(bytes)));
}

#[test]
fn one_of_several_images_is_selected_by_name() {
    let (one, two) = (tar(&[("a", b"1")]), tar(&[("a", b"2")]));
    let (config_one, config_two) =
        (config(std::slice::from_ref(&one)), config(std::slice::from_ref(&two)));
    let manifest = br#"[{"Config": "c1", "RepoTags": ["a:1"], "Layers": ["l1"]},
        {"Config": "c2", "RepoTags": ["docker.io/library/b:2"], "Layers": ["l2"]}]"#;
    let archive = tar(&[
        ("manifest.json", manifest),
        ("c1", &config_one),
        ("c2", &config_two),
        ("l1", &one),
        ("l2", &two),
    ]);
    let load = |selection, naming| {
        let options = LoadOptions { selection, naming, ..LoadOptions::default() };
        TestHome::new().load_with(&archive, &options)
    };
    let named = |text: &str| ImageSelection::Named(text.to_owned());
    let loaded = load(named("b:2"), Naming::As("c".parse().unwrap())).unwrap();
    assert_eq!(loaded[0].id.sum(), digest(&config_two).sum());
    assert_eq!(loaded[0].reference.as_ref().unwrap().familiar(), "c:latest");
    let loaded = load(ImageSelection::OneFor("a:1".parse().unwrap()), Naming::Nameless).unwrap();
    assert_eq!((loaded.len(), &loaded[0].reference), (1, &None));
    let error = load(named("c"), Naming::Own).unwrap_err();
    assert!(error.contains("no image \"c\"; it has a:1, docker.io/library/b:2"), "{error}");
    let error = load(ImageSelection::OneFor("c".parse().unwrap()), Naming::Own).unwrap_err();
    assert!(error.contains("several images"), "{error}");
    let error = load(ImageSelection::All, Naming::As("c".parse().unwrap())).unwrap_err();
    assert!(error.contains("several images"), "{error}");
}

#[test]
fn an_image_for_another_machine_leaves_the_others() {
    let layer = tar(&[("a", b"1")]);
    let layers = std::slice::from_ref(&layer);
    let other = Platform { os: "linux".into(), architecture: "vax".into(), variant: None };
    let fits = config(layers);
    let archive = |manifest: &[u8]| {
        let (other, fits) = (config_for(&other, layers), fits.clone());
        tar(&[("manifest.json", manifest), ("c1", &other), ("c2", &fits), ("l", &layer)])
    };
    let both = archive(
        br#"[{"config": "c1", "repotags": ["a:1"], "LAYERS": ["l"]},
            {"Config": "c2", "RepoTags": ["b:1"], "Layers": ["l"]}]"#,
    );
    let loaded = TestHome::new().load_bytes(&both).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].id.sum(), digest(&fits).sum());
    let single = archive(br#"[{"Config": "c1", "RepoTags": null, "Layers": ["l"]}]"#);
    let error = TestHome::new()
        .store
        .load(LoadInput::Stream(&mut single.as_slice(), "-"), &LoadOptions::default(), &Silent)
        .unwrap_err();
    assert!(error.problem.hint().unwrap().contains("--platform"), "{error}");
}

#[test]
fn what_newer_dockers_write_is_read_as_a_layout() {
    let mut layout = TestLayout::default();
    let id = layout.add(Some("14.04"), &Platform::host(), b"1");
    layout.entries[0]["annotations"]["io.containerd.image.name"] =
        "docker.io/library/u:14.04".into();
    let mut files = layout.files();
    files.push(("manifest.json".to_owned(), b"[]".to_vec()));
    let archive: Vec<_> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let loaded = TestHome::new().load_bytes(&tar(&archive)).unwrap();
    assert_eq!(loaded[0].id.sum(), id.sum());
    assert_eq!(loaded[0].reference.as_ref().unwrap().familiar(), "u:14.04");
}

#[test]
fn a_docker_before_1_10_is_told_apart() {
    let error = TestHome::new().load_bytes(&tar(&[("repositories", b"{}")])).unwrap_err();
    assert!(error.contains("docker before 1.10"), "{error}");
}
