//! Giving space back: what is needed stays, and everything else goes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::images::docker_archive;
use crate::interrupt::Gate;
use crate::support::{Place, ran};
use crate::tiny::tiny_layer;

const NOW: [&str; 3] = ["gc", "--keep-days", "0"];

/// A package that requires another one, in an image of this place's own.
fn place(script: &str) -> Place {
    let place = Place::bare();
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o700);
    header.set_uid(7);
    header.set_gid(7);
    header.set_size(0);
    layer.append_data(&mut header, "closed/", std::io::empty()).unwrap();
    let archive = docker_archive(&[tiny_layer(), layer.into_inner().unwrap()], "example/x:1");
    std::fs::write(place.path().join("x.tar"), archive).unwrap();
    let image = place.path().join("x.tar");
    let image = image.display();
    place.configure(&format!("[images]\n\"example/x:1\" = \"docker-archive:{image}\""));
    place.package("base", r#"{"docker": "example/x:1"}"#, "echo base > $PKG_PATH/base");
    place.package("app", r#"{"docker": "example/x:1", "requires": ["base"]}"#, script);
    place
}

fn entries(place: &Place, folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.home.join(folder)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    // Lock files stay.
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

/// Unpacked layers, whatever the map.
fn layers(place: &Place) -> usize {
    let maps = entries(place, "layers").into_iter();
    let names = maps.flat_map(|map| entries(place, &format!("layers/{map}")));
    names.filter(|name| name.len() == 64).count()
}

#[test]
fn what_nobody_needs_goes_and_what_is_needed_stays() {
    let place = place("true");
    place.run("app", &[]).ok();
    assert_eq!((entries(&place, "packages").len(), layers(&place)), (1, 2));
    let told = place.run(".", &["gc"]).ok().stdout;
    assert!(told.starts_with("removed 0 B in all; "), "what was just used stays: {told}");
    let told = place.run(".", &[&NOW[..], &["--tree", "."]].concat()).ok().stdout;
    let kinds: String = told.lines().filter(|line| !line.contains("cache of the tree")).collect();
    assert!(!kinds.contains("package") && !kinds.contains("layer"), "{told}");
    let planned = place.run(".", &[&NOW[..], &["--dry-run"]].concat()).ok().stdout;
    assert_eq!((entries(&place, "packages").len(), layers(&place)), (1, 2));
    let told = place.run(".", &NOW).ok().stdout;
    assert_eq!(planned.replace("would remove", "removed"), told);
    assert!(told.lines().any(is_of_package), "{told}");
    assert_eq!((entries(&place, "packages").len(), layers(&place)), (0, 2));
    place.assert_clean();
    // The image is no configured one any more.
    std::fs::remove_file(place.path().join("x.tar")).unwrap();
    let told = place.run(".", &NOW).ok().stdout;
    assert!(told.contains("layer (2)") && told.contains("image (1)"), "{told}");
    assert_eq!(layers(&place), 0);
    assert_eq!(entries(&place, "images/blobs/sha256"), Vec::<String>::new());
    let maps = entries(&place, "layers");
    assert!(maps.iter().all(|map| entries(&place, &format!("layers/{map}")).is_empty()));
    place.assert_clean();
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    let place = place("true");
    place.run("app", &[]).ok();
    place.run(".", &["gc", "--max-size", "1G"]).ok();
    assert_eq!(layers(&place), 2);
    place
        .run(".", &["gc", "--max-size", "1K"])
        .fails(1)
        .says("are still there, more than the 1.0 KB that were asked for");
    assert_eq!((entries(&place, "packages").len(), layers(&place)), (0, 0));
    place.run(".", &["gc", "--max-size", "lots"]).fails(1).says("--max-size");
    // All of it can be made again.
    place.write("app/more", "");
    place.package("app", r#"{"docker": "example/x:1", "requires": ["base"]}"#, "echo 2");
    place.run("app", &[]).ok();
    place.assert_clean();
}

#[test]
fn a_download_goes_unless_a_pull_goes_on_with_it() {
    let place = place("true");
    let folder = place.home.join("images/.partial");
    std::fs::create_dir_all(&folder).unwrap();
    let (held, left) = (folder.join("a".repeat(64)), folder.join("b".repeat(64)));
    let lock = mkpanda::base::lock::FileLock::try_acquire(&held).unwrap().unwrap();
    std::fs::write(&left, "half").unwrap();
    place.run(".", &["gc"]).ok();
    assert!(left.exists(), "it is young");
    let told = place.run(".", &NOW).ok().stdout;
    assert!(told.contains("download (1)"), "{told}");
    assert!(held.exists() && !left.exists());
    drop(lock);
    // A process that another test starts has the lock for a moment.
    for _attempt in 0..50 {
        place.run(".", &NOW).ok();
        if !held.exists() {
            return;
        }
    }
    panic!("it stays");
}

#[test]
fn git_mirrors_go_when_nothing_has_used_them_for_an_hour() {
    let place = place("true");
    let mirrors = place.home.join("git");
    let mirror = |digit: &str, hours: u64| {
        let folder = mirrors.join(digit.repeat(64));
        std::fs::create_dir_all(folder.join("mirror.git")).unwrap();
        let used = std::time::SystemTime::now() - Duration::from_secs(hours * 3600);
        std::fs::File::open(&folder).unwrap().set_modified(used).unwrap();
        folder
    };
    let (old, young) = (mirror("a", 2), mirror("b", 0));
    let other = mirrors.join("notes");
    std::fs::create_dir(&other).unwrap();
    place.run(".", &["gc", "--keep-days", "1"]).ok();
    assert!(old.exists(), "it was used within a day");
    let told = place.run(".", &NOW).ok().stdout;
    assert!(told.contains("git mirror"), "{told}");
    assert!(!old.exists() && young.exists() && other.exists());
}

#[test]
fn what_a_running_build_uses_stays() {
    let gate = Gate::new();
    let place = place(&gate.script());
    let mut command = place.command("app", &[]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let began = Instant::now();
    while !building(&place) {
        assert!(began.elapsed() < Duration::from_secs(60), "the build did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = place.run(".", &[&NOW[..], &["--max-size", "1K"]].concat()).fails(1);
    assert!(!told.stdout.contains("package ") && !told.stdout.contains("layer "), "{told:?}");
    let stored = entries(&place, "images/blobs/sha256").len();
    let listed = place.run(".", &["image", "list"]).ok().stdout;
    let image = listed.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    place.run(".", &["image", "rm", image]).ok().says("2 blobs stay");
    assert_eq!(entries(&place, "images/blobs/sha256").len(), stored - 2, "its documents went");
    assert_eq!((entries(&place, "packages").len(), layers(&place)), (1, 2));
    gate.open(1);
    ran(&child.wait_with_output().unwrap()).ok();
    let told = place.run(".", &NOW).ok().stdout;
    assert!(told.lines().any(is_of_package), "{told}");
    place.assert_clean();
}

/// Whether what `app` requires is unpacked, which happens for its build.
fn building(place: &Place) -> bool {
    entries(place, "packages").iter().any(|name| name.len() == 64)
}

/// True for the line of an unpacked package, which is called by its archive's sum.
fn is_of_package(line: &str) -> bool {
    let name = line.rsplit_once(" package     ").map(|(_, name)| name);
    name.is_some_and(|name| name.len() == 64)
}

#[test]
fn only_what_has_a_name_of_our_form_goes() {
    let place = place("true");
    place.run("app", &[]).ok();
    // An unpacked package and a part as the version before had them.
    let part = format!("parts/1/blocks/{}", "0123456789abcdef".repeat(4));
    let ours = ["packages/old--0123", part.as_str()];
    std::fs::create_dir_all(place.home.join(ours[0])).unwrap();
    std::fs::create_dir_all(place.home.join("parts/1/blocks")).unwrap();
    std::fs::write(place.home.join(ours[1]), "").unwrap();
    let foreign = [
        "packages/mine/x",
        "packages/MINE",
        "parts/1/blocks/mine",
        "parts/mine/x/y",
        "builds/p/mine/x",
        "caches/m/mine/x",
        "layers/m/mine/x",
        "scratch/mine.lock",
        "scratch/mine/x",
    ];
    for path in foreign {
        let path = place.home.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "mine").unwrap();
    }
    place.run(".", &[&NOW[..], &["--max-size", "1"]].concat());
    place.run(".", &["gc", "--keep-days", "0"]);
    for path in ours {
        assert!(!place.home.join(path).exists(), "{path}");
    }
    for path in foreign {
        assert!(place.home.join(path).exists(), "{path}");
    }
}
