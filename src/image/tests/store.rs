//! The store: names, ids, removal, damage, several processes.

use std::collections::BTreeSet;

use super::*;
use crate::archive::ArchiveLimits;
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::image::location::{ImageLocation, StoredImage};
use crate::image::reference::ImageRef;
use crate::image::store::ImageStoreError;

fn reference(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// A store with `a:1` and `b:1`, which share their lowest layer.
fn two_images() -> (TestHome, Vec<LoadedImage>) {
    let home = TestHome::new();
    let shared = tar(&[("shared", b"s")]);
    let loaded = ["a:1", "b:1"]
        .into_iter()
        .flat_map(|tag| {
            let layers = [shared.clone(), tar(&[(tag, b"own")])];
            home.load_bytes(&docker_archive(&[tag], &layers)).unwrap()
        })
        .collect();
    (home, loaded)
}

#[test]
fn nothing_is_written_before_something_is_loaded() {
    let home = TestHome::new();
    assert!(home.store.list().unwrap().images.is_empty());
    assert_eq!(home.store.find(&reference("x")).unwrap(), None);
    assert!(matches!(home.store.find_any("abcdef"), Err(ImageStoreError::NotFound { .. })));
    assert_eq!(names(home.folder.path()), Vec::<String>::new());
}

#[test]
fn images_are_found_by_name_and_by_the_beginning_of_their_id() {
    let (home, loaded) = two_images();
    let a = &loaded[0];
    assert_eq!(home.store.find(&reference("docker.io/library/a:1")).unwrap().unwrap().id, a.id);
    assert_eq!(home.store.find(&reference("a:2")).unwrap(), None);
    for text in [&a.id.to_string(), a.id.hex(), &a.id.to_string()[..20], &a.id.hex()[..12], "a:1"] {
        assert_eq!(home.store.find_any(text).unwrap().id, a.id, "{text}");
    }
    assert!(
        matches!(home.store.find_id(""), Err(ImageStoreError::Ambiguous { ids, .. }) if ids.len() == 2)
    );
    let pinned = format!("a@{}", a.manifest);
    assert_eq!(home.store.find(&reference(&pinned)).unwrap().unwrap().id, a.id);
    assert_eq!(home.store.find(&reference(&format!("b@{}", a.manifest))).unwrap(), None);
    let inspection = home.store.inspect("a:1").unwrap();
    assert_eq!(inspection.config["x-unknown"], 1);
    assert_eq!(inspection.manifest["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn removing_an_image_leaves_what_others_share() {
    let (home, loaded) = two_images();
    assert_eq!(home.blobs().len(), 7, "two configurations, two manifests, three layers");
    let removed = home.store.remove("a:1", &BTreeSet::new(), &Silent).unwrap();
    assert_eq!(removed.names, [reference("a:1")]);
    assert_eq!(removed.blobs, 3);
    assert_eq!(removed.layers, [Sha256Sum::of(&tar(&[("a:1", b"own")])).into()]);
    assert_eq!(home.store.find_any("b:1").unwrap().layers.len(), 2);
    let removed = home.store.remove(&loaded[1].id.to_string(), &BTreeSet::new(), &Silent).unwrap();
    assert_eq!((removed.names.len(), removed.layers.len()), (1, 2));
    assert_eq!(home.blobs(), Vec::<String>::new());
    assert!(matches!(
        home.store.remove("b:1", &BTreeSet::new(), &Silent),
        Err(ImageStoreError::NotFound { .. })
    ));
}

#[test]
fn an_image_stays_while_it_has_a_name() {
    let home = TestHome::new();
    home.load_bytes(&docker_archive(&["a", "b"], &[tar(&[])])).unwrap();
    let removed = home.store.remove("a", &BTreeSet::new(), &Silent).unwrap();
    assert_eq!((removed.names.len(), removed.blobs, removed.layers.len()), (1, 0, 0));
    assert_eq!(home.store.find_any("b").unwrap().references, [reference("b")]);
}

#[test]
fn a_name_that_moves_leaves_the_old_image_nameless() {
    let home = TestHome::new();
    let old = home.load_bytes(&docker_archive(&["a"], &[tar(&[("f", b"1")])])).unwrap();
    let told = Events::default();
    let new = docker_archive(&["a"], &[tar(&[("f", b"2")])]);
    let load = |told: &Events| {
        let input = LoadInput::Stream(&mut new.as_slice(), "-").name();
        assert_eq!(input, "-");
        home.store.load(LoadInput::Stream(&mut new.as_slice(), "-"), &LoadOptions::default(), told)
    };
    let loaded = load(&told).unwrap();
    assert_eq!(told.0.lock().unwrap().len(), 1);
    assert_eq!(home.store.find_any("a").unwrap().id, loaded[0].id);
    assert!(home.store.find_any(old[0].id.hex()).unwrap().references.is_empty());
    assert_eq!(home.store.list().unwrap().images.len(), 2);
    // The same again changes nothing and says nothing.
    let told = Events::default();
    load(&told).unwrap();
    assert!(told.0.lock().unwrap().is_empty());
    assert_eq!(home.store.list().unwrap().images.len(), 2);
    let removed = prune(&home);
    assert_eq!((removed.blobs, removed.layers.len()), (3, 1));
    assert_eq!(home.store.list().unwrap().images.len(), 1);
}

#[test]
fn damage_is_named_and_can_be_removed() {
    let (home, loaded) = two_images();
    let config = home.store.blob_path(&loaded[0].id.sum().clone().into());
    let text = fs_err::read_to_string(&config).unwrap();
    fs_err::write(&config, text.replace("A=1", "A=2")).unwrap();
    let error = home.store.find(&reference("a:1")).unwrap_err().to_string();
    assert!(error.contains("the configuration of a:1 has been changed"), "{error}");
    let listing = home.store.list().unwrap();
    assert_eq!((listing.images.len(), listing.broken.len()), (1, 1));
    let layer = home.store.find_any("b:1").unwrap().layers[1].digest.clone();
    fs_err::write(home.store.blob_path(&layer), b"short").unwrap();
    let error = home.store.find(&reference("b:1")).unwrap_err().to_string();
    assert!(error.contains("layer 2 of b:1 has 5 bytes"), "{error}");
    // Loading again mends what has another size.
    let layers = [tar(&[("shared", b"s")]), tar(&[("b:1", b"own")])];
    home.load_bytes(&docker_archive(&["b:1"], &layers)).unwrap();
    assert_eq!(home.store.find_any("b:1").unwrap().layers[1].digest, layer);
    home.store.remove("a:1", &BTreeSet::new(), &Silent).unwrap();
    home.store.remove("b:1", &BTreeSet::new(), &Silent).unwrap();
    assert_eq!(home.blobs(), Vec::<String>::new());
}

#[test]
fn what_dead_processes_left_is_swept_but_not_what_lives() {
    let home = TestHome::new();
    home.load_bytes(&docker_archive(&["a"], &[tar(&[])])).unwrap();
    let images = home.store.folder();
    let lock = images.join(".tmp-living/lock");
    let living = crate::base::lock::FileLock::acquire(&lock, || ()).unwrap();
    fs_err::create_dir_all(images.join(".tmp-dead")).unwrap();
    fs_err::write(images.join(".tmp-dead/blob-0"), b"x").unwrap();
    fs_err::write(images.join(".tmp-file"), b"x").unwrap();
    let load = || {
        let bytes = docker_archive(&["a"], &[tar(&[])]);
        home.store
            .load(LoadInput::Stream(&mut bytes.as_slice(), "-"), &LoadOptions::default(), &Silent)
            .unwrap()
    };
    load();
    let left =
        || home.names().into_iter().filter(|name| name.starts_with(".tmp-")).collect::<Vec<_>>();
    assert_eq!(left(), [".tmp-living"]);
    drop(living);
    load();
    assert_eq!(left(), Vec::<String>::new());
}

#[test]
fn another_layout_version_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("images")).unwrap();
    let version = br#"{"imageLayoutVersion": "2.0.0"}"#;
    fs_err::write(folder.path().join("images/oci-layout"), version).unwrap();
    let error = ImageStore::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("is not an image store"), "{error}");
}

#[test]
fn several_loads_at_once_all_arrive() {
    let home = TestHome::new();
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let home = &home;
            scope.spawn(move || {
                let layers = [tar(&[("shared", b"s")]), tar(&[("own", &[number])])];
                let bytes = docker_archive(&[&format!("x{number}")], &layers);
                let input = LoadInput::Stream(&mut bytes.as_slice(), "-");
                home.store.load(input, &LoadOptions::default(), &Silent).unwrap();
            });
        }
    });
    let listing = home.store.list().unwrap();
    assert_eq!((listing.images.len(), listing.broken.len()), (8, 0));
    assert_eq!(home.blobs().len(), 8 * 3 + 1);
}

#[test]
fn a_configured_place_is_loaded_once_and_again_when_it_changes() {
    let home = TestHome::new();
    let file = home.folder.path().join("image.tar");
    let write = |content: &[u8]| {
        fs_err::write(&file, docker_archive(&["other"], &[tar(&[("f", content)])])).unwrap();
    };
    let place: StoredImage =
        match format!("docker-archive:{}", file.display()).parse::<ImageLocation>().unwrap() {
            ImageLocation::Stored(place) => place,
            other => panic!("{other} is not an archive"),
        };
    let get = || {
        home.store
            .at_location(&place, &reference("a:1"), ArchiveLimits::default(), &Silent)
            .unwrap()
    };
    write(b"1");
    let first = get();
    assert!(first.references.is_empty(), "the store's own names are left alone");
    let modified =
        fs_err::metadata(home.store.folder().join("blobs/sha256")).unwrap().modified().unwrap();
    assert_eq!(get(), first);
    let unchanged = fs_err::metadata(home.store.folder().join("blobs/sha256")).unwrap();
    assert_eq!(unchanged.modified().unwrap(), modified, "nothing was loaded");
    prune(&home);
    assert_eq!(home.store.list().unwrap().images.len(), 1, "what is configured stays");
    write(b"22");
    let second = get();
    assert_ne!(second.id, first.id);
    prune(&home);
    assert_eq!(home.store.list().unwrap().images.len(), 1);
    home.store.remove(&second.id.to_string(), &BTreeSet::new(), &Silent).unwrap();
    assert_eq!(get().id, second.id);
    fs_err::remove_file(&file).unwrap();
    let error = home
        .store
        .at_location(&place, &reference("a:1"), ArchiveLimits::default(), &Silent)
        .unwrap_err();
    assert!(matches!(error.problem, crate::image::load::LoadProblem::Read(_)));
}

/// Removes what has no name and comes from no configured place.
fn prune(home: &TestHome) -> crate::image::store::Removed {
    let located = home.store.located_manifests().unwrap();
    let images = home.store.list().unwrap().images.into_iter();
    let doomed = images
        .filter(|image| image.references.is_empty() && !located.contains(&image.manifest))
        .map(|image| image.manifest)
        .collect();
    home.store.remove_manifests(&doomed, &BTreeSet::new(), &Silent).unwrap()
}

#[test]
fn stagings_that_come_and_go_are_no_trouble_for_each_other() {
    let home = TestHome::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    drop(home.store.staging_folder(&Silent).unwrap());
                }
            });
        }
    });
    drop(home.store.staging_folder(&Silent).unwrap());
    let left = names(home.store.folder());
    assert!(left.iter().all(|name| !name.starts_with(".tmp-")), "{left:?}");
}

#[test]
fn a_fifo_or_a_hole_in_place_of_a_file_is_damage_that_is_found_at_once() {
    let (home, loaded) = two_images();
    let image = home.store.find_any("a:1").unwrap();
    let blob = |digest: BlobDigest| home.store.blob_path(&digest);
    let index = home.folder.path().join("images/index.json");
    let places = [blob(image.manifest.clone()), blob(image.id.sum().clone().into()), index];
    for place in places {
        let content = fs_err::read(&place).unwrap();
        fs_err::remove_file(&place).unwrap();
        nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let damage = home.store.find_any("a:1").unwrap_err();
        assert!(with_causes(&damage).contains("not a regular file"), "{damage:?}");
        fs_err::remove_file(&place).unwrap();
        fs_err::File::create(&place).unwrap().set_len(1 << 40).unwrap();
        let damage = home.store.find_any("a:1").unwrap_err();
        assert!(with_causes(&damage).contains("is longer than"), "{damage:?}");
        fs_err::write(&place, content).unwrap();
    }
    assert_eq!(home.store.find_any("a:1").unwrap().id, loaded[0].id);
    assert!(home.store.config_of(&image).is_ok());
}
