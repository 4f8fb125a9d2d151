//! A real registry, plain, with TLS and with passwords, and the tools that speak to it beside us.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::images::oci_layout;
use crate::inside::left_out;
use crate::peers::{Registry, id, run};
use crate::support::Place;
use crate::tiny::{append, tiny_layer};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

fn mark(text: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "mark", 0o644, tar::EntryType::Regular, text.as_bytes());
    tar.into_inner().unwrap()
}

/// A place that may speak plain HTTP to a registry, and a layout in it with an image of three layers,
/// one of each compression.
fn place(registry: &Registry) -> Place {
    let place = Place::bare();
    place.configure(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    make_layout(&place.path().join("layout"));
    user_config(&place);
    place
}

pub fn make_layout(folder: &Path) {
    let (tiny, plain, zstd) = (tiny_layer(), mark("one\n"), mark("two\n"));
    let packed = zstd::encode_all(zstd.as_slice(), 1).unwrap();
    let layers =
        [(tiny.clone(), gzip(&tiny), "+gzip"), (plain.clone(), plain, ""), (zstd, packed, "+zstd")];
    oci_layout(folder, &layers, "x");
}

/// Makes the tree's configuration the user's, where registries are described.
pub fn user_config(place: &Place) {
    let path = place.packages.join("mkpanda.toml");
    place.user(&std::fs::read_to_string(&path).unwrap());
    std::fs::remove_file(path).unwrap();
}

pub fn skopeo(place: &Place, arguments: &[&str]) -> String {
    run(place.path(), "skopeo", arguments)
}

fn push_layout(place: &Place, registry: &Registry, name: &str) {
    let to = format!("docker://{}", registry.name(name));
    skopeo(place, &["copy", "-q", "--dest-tls-verify=false", "oci:layout:x", &to]);
}

/// The id that a command printed.
#[test]
fn what_skopeo_pushes_is_pulled_and_what_is_pushed_is_skopeos() {
    let registry = Registry::plain();
    let place = place(&registry);
    push_layout(&place, &registry, "r:1");
    let name = registry.name("r:1");
    let pulled = place.run(".", &["image", "pull", &name]).ok().stdout;
    assert!(pulled.ends_with(&format!("  {name}\n")), "{pulled}");
    let listed = place.run(".", &["image", "list"]).ok().stdout;
    assert!(listed.lines().nth(1).unwrap().starts_with(id(&pulled)), "{listed}");
    let layers = std::fs::read_dir(place.home.join("layers")).unwrap().next().unwrap().unwrap();
    let unpacked = std::fs::read_dir(layers.path()).unwrap().map(|entry| entry.unwrap());
    let unpacked = unpacked.filter(|entry| entry.file_name().len() == 64).count();
    assert_eq!(unpacked, 3, "the image is unpacked as it comes");
    assert!(!place.home.join("images/.partial").exists());
    place.assert_clean();
    // Under another name: mounted there. And elsewhere: sent.
    let other = Registry::plain();
    for (registry, name) in [(&registry, "other/r:2"), (&other, "r:2")] {
        let config = format!(
            "[registries.\"{}\"]\ninsecure = true\n[registries.\"{}\"]\ninsecure = true\n",
            registry.host, "h.example"
        );
        std::fs::write(place.path().join(".config/mkpanda/config.toml"), config).unwrap();
        let to = registry.name(name);
        let pushed =
            place.run(".", &["image", "push", id(&pulled), &format!("docker://{to}")]).ok();
        let said = skopeo(&place, &["inspect", "--tls-verify=false", &format!("docker://{to}")]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["Digest"], id(&pushed.stdout), "{said}");
        assert_eq!(said["Layers"].as_array().unwrap().len(), 3);
        // Pushed again, and by its digest.
        place.run(".", &["image", "push", id(&pulled), &to]).ok();
        let pinned = format!("docker://{}@{}", to.trim_end_matches(":2"), id(&pushed.stdout));
        skopeo(
            &place,
            &[
                "copy",
                "-q",
                "--src-tls-verify=false",
                &pinned,
                &format!("dir:{name}").replace('/', "-"),
            ],
        );
        let again = place.run(".", &["image", "pull", &pinned]).ok().stdout;
        assert_eq!(id(&again), id(&pulled));
        let wrong = format!("{}@sha256:{}", to.trim_end_matches(":2"), "0".repeat(64));
        place.run(".", &["image", "push", id(&pulled), &wrong]).fails(1).says("digest is");
    }
}

#[test]
fn docker_schema_2_is_pulled_too() {
    let registry = Registry::plain();
    let place = place(&registry);
    // It has no layers of zstd.
    let tiny = tiny_layer();
    oci_layout(&place.path().join("gzip"), &[(tiny.clone(), gzip(&tiny), "+gzip")], "x");
    let to = format!("docker://{}", registry.name("r:v2s2"));
    skopeo(&place, &["copy", "-q", "--format=v2s2", "--dest-tls-verify=false", "oci:gzip:x", &to]);
    place.run(".", &["image", "pull", &to]).ok();
    let shown = place.run(".", &["image", "inspect", &registry.name("r:v2s2")]).ok().stdout;
    assert!(shown.contains("vnd.docker.distribution.manifest.v2+json"), "{shown}");
    // And goes elsewhere as it is.
    place.run(".", &["image", "push", &registry.name("r:v2s2"), &registry.name("s:1")]).ok();
    let raw = skopeo(
        &place,
        &["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", registry.name("s:1"))],
    );
    assert!(raw.contains("vnd.docker.distribution.manifest.v2+json"), "{raw}");
}

#[test]
fn podman_and_buildah_take_and_give() {
    // Their rootless modes are another matter; skopeo, which needs none, is tried as everybody.
    if !Uid::current().is_root() || Path::new("/run/.containerenv").exists() {
        return left_out("podman and buildah (they want root, and no container around)", "it-root");
    }
    let registry = Registry::plain();
    let place = place(&registry);
    // They take no longer path than 50 characters.
    let state = tempfile::tempdir_in("/tmp").unwrap();
    place.run(".", &["image", "pull", "oci:../../layout:x"]).ok();
    let stored = place.run(".", &["image", "list"]).ok().stdout;
    let ours = registry.name("ours:1");
    let stored = stored.lines().nth(1).unwrap();
    place.run(".", &["image", "push", &id(stored)[7..19], &ours]).ok();
    for tool in ["podman", "buildah"] {
        let (root, state) = (place.path().join(tool), state.path().join(tool));
        let (root, state) = (root.to_str().unwrap(), state.to_str().unwrap());
        let tool_run = |arguments: &[&str]| {
            let common = ["--root", root, "--runroot", state, "--storage-driver", "vfs"];
            run(place.path(), tool, &[&common, arguments].concat())
        };
        let got = tool_run(&["pull", "-q", "--tls-verify=false", &ours]);
        assert_eq!(format!("sha256:{}", got.trim()), id(stored), "{tool}");
        let theirs = registry.name(&format!("{tool}:1"));
        tool_run(&["push", "-q", "--tls-verify=false", &ours, &format!("docker://{theirs}")]);
        let pulled = place.run(".", &["image", "pull", &theirs]).ok().stdout;
        if tool == "podman" {
            // What is saved here is loaded there, and the other way round.
            for form in ["docker-archive", "oci-archive"] {
                let file = format!("{form}:{}", place.path().join(form).display());
                place.run(".", &["image", "save", &theirs, "-o", &file]).ok();
                let said =
                    tool_run(&["load", "-q", "-i", &place.path().join(form).display().to_string()]);
                assert!(said.contains(&theirs), "{form}: {said}");
                let back = place.path().join(format!("{form}-back"));
                tool_run(&["save", "-q", "--format", form, "-o", back.to_str().unwrap(), &theirs]);
                let loaded = place.run(".", &["image", "load", back.to_str().unwrap()]).ok().stdout;
                assert_eq!(id(&loaded), id(&pulled), "{form}");
            }
        } else {
            let made = registry.name("made:1");
            let container = tool_run(&["from", "--tls-verify=false", &theirs]);
            let container = container.trim();
            tool_run(&["config", "--env", "MADE=yes", container]);
            tool_run(&[
                "commit",
                "-q",
                "--tls-verify=false",
                container,
                &format!("docker://{made}"),
            ]);
            place.run(".", &["image", "pull", &made]).ok();
            let shown = place.run(".", &["image", "inspect", &made]).ok().stdout;
            assert!(shown.contains("MADE"), "{shown}");
        }
    }
}

#[test]
fn what_is_saved_is_the_same_each_time_and_everybody_reads_it() {
    let registry = Registry::plain();
    let place = place(&registry);
    push_layout(&place, &registry, "r:1");
    let name = registry.name("r:1");
    let pulled = place.run(".", &["image", "pull", &name]).ok().stdout;
    let path = |name: &str| place.path().join(name).display().to_string();
    for (form, reference) in [
        ("oci", ""),
        ("oci", ":t"),
        ("oci-archive", ""),
        ("oci-archive", ":a/b:1"),
        ("docker-archive", ""),
        ("docker-archive", ":a/b:1"),
    ] {
        let file = format!("{form}{}", reference.replace([':', '/'], "-"));
        let there = format!("{form}:{}{reference}", path(&file));
        place.run(".", &["image", "save", &name, "-o", &there]).ok();
        if form != "oci" {
            let once = std::fs::read(path(&file)).unwrap();
            place.run(".", &["image", "push", &name, &there]).ok();
            assert!(std::fs::read(path(&file)).unwrap() == once, "{there}");
        }
        let from = if reference.is_empty() { format!("{form}:{}", path(&file)) } else { there };
        let inspected = skopeo(&place, &["inspect", "--config", &from]);
        assert!(inspected.contains("FROM_IMAGE=yes"), "{from}: {inspected}");
        let mut other = Place::bare();
        other.home = other.path().join("home");
        let loaded = other.run(".", &["image", "load", &from]).ok().stdout;
        assert_eq!(id(&loaded), id(&pulled), "{from}");
        let called = match (form, reference) {
            ("oci", ":t") => "<none>",
            (_, "") => &name,
            (_, reference) => &reference[1..],
        };
        assert!(loaded.ends_with(&format!("  {called}\n")), "{from}: {loaded}");
    }
    // Through a pipe, into a folder that has others, and not over what is something else.
    let piped = Command::new("sh")
        .args(["-c", "\"$0\" image save \"$1\" -o - | MKPANDA_HOME=\"$2\" \"$0\" image load -"])
        .arg(crate::support::binary())
        .args([name.as_str(), &path("piped")])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", place.path())
        .env("MKPANDA_HOME", &place.home)
        .output()
        .unwrap();
    assert_eq!(id(&String::from_utf8_lossy(&piped.stdout)), id(&pulled), "{piped:?}");
    place.run(".", &["image", "save", &name, "-o", &format!("oci:{}:u", path("oci-t"))]).ok();
    place.run(".", &["image", "load", &format!("oci:{}:t", path("oci-t"))]).ok();
    place.run(".", &["image", "load", &format!("oci:{}:u", path("oci-t"))]).ok();
    std::fs::write(place.packages.join("other"), "").unwrap();
    place
        .run(".", &["image", "save", &name, "-o", &format!("oci:{}", place.packages.display())])
        .fails(1)
        .says("neither empty nor an OCI layout");
    place.run(".", &["image", "save", "no/such:1", "-o", "x"]).fails(1).says("has no");
}

#[test]
fn a_build_pulls_its_image_by_name_or_by_place_unless_offline() {
    let registry = Registry::plain();
    let place = place(&registry);
    push_layout(&place, &registry, "r:1");
    let name = registry.name("r:1");
    place.package("p", &format!("{{\"docker\": \"{name}\"}}"), "cat /mark > $PKG_PATH/x");
    let said = place.run("p", &["--offline"]).fails(1);
    said.says("an image is missing, and --offline forbids").says("mkpanda image pull");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "x"), "two\n");
    place.package("q", "{\"docker\": \"some/name:1\"}", "cat /mark > $PKG_PATH/x");
    place.configure_first(&format!("[images]\n\"some/name:1\" = \"docker://{name}\"\n"));
    place.run(".", &["image", "rm", &name]).ok();
    place.run("q", &[]).ok();
    place.run("q", &["--offline"]).ok();
}

#[test]
fn a_layer_that_climbs_out_is_refused_and_nothing_of_it_stays() {
    let registry = Registry::plain();
    let place = place(&registry);
    let mut evil = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..10].copy_from_slice(b"../../evil");
    header.set_size(4);
    header.set_mode(0o644);
    header.set_cksum();
    evil.append(&header, &b"evil"[..]).unwrap();
    let evil = evil.into_inner().unwrap();
    oci_layout(&place.path().join("evil"), &[(evil.clone(), gzip(&evil), "+gzip")], "x");
    let to = format!("docker://{}", registry.name("evil:1"));
    skopeo(&place, &["copy", "-q", "--dest-tls-verify=false", "oci:evil:x", &to]);
    place.run(".", &["image", "pull", &to]).fails(1).says("can't unpack").says("evil");
    assert_eq!(place.run(".", &["image", "list"]).ok().stdout, "");
    let left = crate::support::files_below(&place.home.join("layers"));
    assert!(left.iter().all(|path| path.ends_with(".lock")), "{left:?}");
    place.assert_clean();
}

#[test]
fn what_is_no_place_is_told_what_would_be_one() {
    let place = Place::bare();
    place.run(".", &["image", "pull", "A b"]).fails(1).says("not a valid image reference");
    place.run(".", &["image", "pull", "docker://"]).fails(1).says("not the location of an image");
    place
        .run(".", &["image", "pull", "containers-storage:localhost/x:1"])
        .fails(1)
        .says("podman save NAME | mkpanda image load -");
    place.run(".", &["image", "load", "docker://x/y:1"]).fails(1).says("image pull");
    place.run(".", &["image", "pull", "--platform", "vax", "x"]).fails(2).says("not a platform");
    place.run(".", &["image", "pull", "ubuntu", "--offline"]).fails(1).says("--offline");
    place.configure("[registries.\"docker.io\"]\nmirrors = [\"https://x\"]\n");
    user_config(&place);
    place.run(".", &["image", "list"]).fails(1).says("without a scheme");
}

#[test]
fn an_interrupted_pull_ends_at_once_and_goes_on_later() {
    let place = Place::bare();
    // It takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    place.configure(&format!("[registries.\"{host}\"]\ninsecure = true\n"));
    user_config(&place);
    let mut child = place
        .command(".", &["image", "pull", &format!("{host}/r:1")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(silent.accept().unwrap());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    place.assert_clean();
}
