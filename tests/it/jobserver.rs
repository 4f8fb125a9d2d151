//! How builds share the cores: the run's jobserver, as build scripts find it.

use serde_json::json;

use crate::inside::left_out_here;
use crate::support::{BUILDER, Place};
use crate::tiny::{image_archive, tiny_layer};

/// How many tokens there are for a single build; none if there is nothing to share.
fn tokens() -> usize {
    std::thread::available_parallelism().unwrap().get() - 1
}

/// A script's text that counts the tokens it can take from a descriptor, and keeps them.
fn count(descriptor: u32) -> String {
    format!("n=0; while read -r -N1 -t 0.3 -u {descriptor} _; do n=$((n + 1)); done; echo $n")
}

/// Gives the tokens that `count` took back.
fn put_back(descriptor: u32) -> String {
    format!("while [ $n -gt 0 ]; do printf + >&{descriptor}; n=$((n - 1)); done")
}

/// The notes in a build's record.
fn notes(place: &Place, name: &str) -> Vec<String> {
    let record = place.record(name);
    let notes = record["ending"]["built"]["notes"].as_array().unwrap();
    notes.iter().map(|note| note.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_fifo_has_a_token_for_each_further_core_and_cant_be_closed_to_others() {
    if tokens() == 0 {
        return left_out_here("the jobserver", "two cores");
    }
    let place = Place::new();
    let script = format!(
        "echo \"$MAKEFLAGS\" > $PKG_PATH/flags; stat -c %a /pkg/jobserver > $PKG_PATH/mode
         for way in 'chmod 0' 'touch' 'rm -f'; do if $way /pkg/jobserver; then exit 3; fi; done
         exec 9<> /pkg/jobserver; {{ {}; }} > $PKG_PATH/tokens; {}",
        count(9),
        put_back(9),
    );
    place.package("app", "{}", &script);
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "flags"), " --jobserver-auth=fifo:/pkg/jobserver\n");
    assert_eq!(place.file_of("app", "mode"), "666\n");
    assert_eq!(place.file_of("app", "tokens"), format!("{}\n", tokens()));
    assert_eq!(notes(&place, "app"), ["jobserver: fifo"]);
    place.assert_clean();
}

#[test]
fn descriptors_are_the_same_fifo_and_cant_close_it_either() {
    if tokens() == 0 {
        return left_out_here("the jobserver", "two cores");
    }
    let place = Place::new();
    let script = format!(
        "echo \"$MAKEFLAGS\" > $PKG_PATH/flags; ls /pkg > $PKG_PATH/ls
         ls /proc/self/fd > $PKG_PATH/descriptors
         if chmod 0 /proc/self/fd/60 || chmod 0 /proc/self/fd/61; then exit 3; fi
         {{ {}; }} > $PKG_PATH/tokens; {}",
        count(60),
        put_back(61),
    );
    place.package("app", "{}", &script);
    place.run("app", &["--jobserver", "descriptors"]).ok();
    assert_eq!(place.file_of("app", "flags"), " --jobserver-auth=60,61\n");
    assert_eq!(place.file_of("app", "ls"), "build\nsrc\n");
    assert_eq!(place.file_of("app", "descriptors"), "0\n1\n2\n3\n60\n61\n");
    assert_eq!(place.file_of("app", "tokens"), format!("{}\n", tokens()));
    assert_eq!(notes(&place, "app"), ["jobserver: descriptors"]);
}

#[test]
fn the_machines_make_runs_jobs_at_once_without_being_told_how_many() {
    if tokens() == 0 {
        return left_out_here("the jobserver", "two cores");
    }
    let place = Place::host();
    // Each waits until the other one has begun.
    let makefile = "all: one two\none: ; touch one; until [ -e two ]; do sleep 0.01; done\n\
                    two: ; touch two; until [ -e one ]; do sleep 0.01; done\n.PHONY: one two\n";
    place.write("app/extra/Makefile", makefile);
    place.package("app", "{}", "cp /pkg/extra/Makefile /tmp; cd /tmp; timeout 20 make");
    place.run("app", &[]).ok();
    assert!(notes(&place, "app")[1].starts_with("jobserver: "), "{:?}", notes(&place, "app"));
}

#[test]
fn what_a_killed_build_took_is_there_for_the_next_one() {
    if tokens() == 0 {
        return left_out_here("the jobserver", "two cores");
    }
    let place = Place::new();
    place.write("treeinfo.json", "{}");
    let open = "exec 9<> /pkg/jobserver";
    place.package("bad", "{}", &format!("{open}; {}; kill -9 $$", count(9)));
    place.package("flood", "{}", "head -c 60000 /dev/zero > /pkg/jobserver; exit 1");
    place.package(
        "good",
        "{}",
        &format!("{open}; {{ {}; }} > $PKG_PATH/tokens; {}", count(9), put_back(9)),
    );
    place.run(".", &["tree", "-j1", "--keep-going"]).fails(1);
    assert_eq!(place.file_of("good", "tokens"), format!("{}\n", tokens()));
    place.assert_clean();
}

#[test]
fn a_script_that_names_its_cores_is_left_as_it_was() {
    let place = Place::new();
    let script =
        "echo \"${MAKEFLAGS-none} $NUM_CORES\" > $PKG_PATH/flags; ls /pkg >> $PKG_PATH/flags";
    place.package("app", "{}", script);
    place.run("app", &[]).ok();
    let expected = format!("none {}\nbuild\nsrc\n", tokens() + 1);
    assert_eq!(place.file_of("app", "flags"), expected);
}

#[test]
fn packages_are_the_same_with_and_without() {
    let place = Place::new();
    place.package("app", "{}", "echo 1 > $PKG_PATH/file");
    let bytes = |options: &[&str]| {
        place.run("app", options).ok();
        let archive = place.archive("app");
        let bytes = std::fs::read(&archive).unwrap();
        std::fs::remove_file(archive).unwrap();
        bytes
    };
    let without = bytes(&["--jobserver=off"]);
    for style in ["auto", "fifo", "descriptors"] {
        assert!(without == bytes(&["--jobserver", style]), "{style}");
    }
}

#[test]
fn it_can_be_switched_off_and_images_can_have_flags_of_their_own() {
    let place = Place::new();
    place.configure("jobserver = \"off\"\n");
    let script = "echo \"${MAKEFLAGS-none}\" > $PKG_PATH/flags; ls /pkg >> $PKG_PATH/flags";
    place.package("app", "{}", script);
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "flags"), "none\nbuild\nsrc\n");

    let place = Place::bare();
    let config = json!({"Env": ["PATH=/bin", "MAKEFLAGS=-k"]}).to_string();
    let image = place.path().join("image.tar");
    std::fs::write(&image, image_archive(&tiny_layer(), BUILDER, &config)).unwrap();
    place.configure(&format!("[images]\n\"{BUILDER}\" = \"docker-archive:{}\"", image.display()));
    place.package("app", "{}", script);
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "flags"), "-k\nbuild\nsrc\n");
    place.run("app", &["--jobserver=no"]).fails(2);
}

#[test]
fn another_user_of_the_image_takes_part_too() {
    if tokens() == 0 {
        return left_out_here("the jobserver", "two cores");
    }
    let place = Place::bare();
    let config = json!({"User": "1000:1000", "Env": ["PATH=/bin"]}).to_string();
    let image = place.path().join("image.tar");
    std::fs::write(&image, image_archive(&tiny_layer(), BUILDER, &config)).unwrap();
    place.configure(&format!("[images]\n\"{BUILDER}\" = \"docker-archive:{}\"", image.display()));
    let script = format!("exec 9<> /pkg/jobserver; {{ {}; }} > $PKG_PATH/tokens", count(9));
    place.package("app", "{}", &script);
    place.run("app", &[]).ok();
    assert_eq!(place.file_of("app", "tokens"), format!("{}\n", tokens()));
}
