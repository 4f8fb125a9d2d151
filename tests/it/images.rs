//! Images: loaded into the store or found by the configuration, and what a build sees of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tar::EntryType::{Directory, Link, Regular};

use crate::inside::{has_no_whiteouts, left_out};
use crate::support::{Place, sha256};
use crate::tiny::{append, tiny_image, tiny_layer};

/// A docker archive of layers, as `docker save` writes it.
pub fn docker_archive(layers: &[Vec<u8>], name: &str) -> Vec<u8> {
    docker_archive_for("amd64", layers, name)
}

fn docker_archive_for(architecture: &str, layers: &[Vec<u8>], name: &str) -> Vec<u8> {
    let diff_ids: Vec<String> =
        layers.iter().map(|layer| format!("\"sha256:{}\"", sha256(layer))).collect();
    let config = config(architecture, &diff_ids);
    let names: Vec<String> =
        (0..layers.len()).map(|number| format!("\"{number}/layer.tar\"")).collect();
    let manifest = format!(
        "[{{\"Config\":\"config.json\",\"RepoTags\":[\"{name}\"],\"Layers\":[{}]}}]",
        names.join(",")
    );
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "config.json", 0o644, Regular, config.as_bytes());
    for (number, layer) in layers.iter().enumerate() {
        append(&mut tar, &format!("{number}/layer.tar"), 0o644, Regular, layer);
    }
    append(&mut tar, "manifest.json", 0o644, Regular, manifest.as_bytes());
    tar.into_inner().unwrap()
}

fn config(architecture: &str, diff_ids: &[String]) -> String {
    format!(
        "{{\"architecture\":\"{architecture}\",\"os\":\"linux\",\"config\":{{\"Env\":[\"FROM_IMAGE=yes\"]}},\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[{}]}}}}",
        diff_ids.join(",")
    )
}

/// Writes an OCI layout: layers as they are stored, with the sums of what they unpack to.
pub fn oci_layout(folder: &Path, layers: &[(Vec<u8>, Vec<u8>, &str)], name: &str) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let sum = sha256(bytes);
        std::fs::write(blobs.join(&sum), bytes).unwrap();
        format!("\"digest\":\"sha256:{sum}\",\"size\":{}", bytes.len())
    };
    let diff_ids: Vec<String> =
        layers.iter().map(|(plain, ..)| format!("\"sha256:{}\"", sha256(plain))).collect();
    let descriptors: Vec<String> = layers
        .iter()
        .map(|(_, stored, kind)| {
            let kind = format!("application/vnd.oci.image.layer.v1.tar{kind}");
            format!("{{\"mediaType\":\"{kind}\",{}}}", put(stored))
        })
        .collect();
    let config = put(config("amd64", &diff_ids).as_bytes());
    let manifest = put(format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",{config}}},\"layers\":[{}]}}",
        descriptors.join(",")
    )
    .as_bytes());
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",{manifest},\"annotations\":{{\"org.opencontainers.image.ref.name\":\"{name}\"}}}}]}}"
    );
    std::fs::write(folder.join("index.json"), index).unwrap();
    std::fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn layer(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let kind = if name.ends_with('/') { Directory } else { Regular };
        append(&mut tar, name, 0o755, kind, content);
    }
    tar.into_inner().unwrap()
}

/// A place with a tree but no image, and a package that says what the image has.
pub fn place(script: &str) -> Place {
    let place = Place::bare();
    place.package("p", r#"{"docker": "example/x:1"}"#, script);
    place
}

fn tar_of(folder: &Path) -> Vec<u8> {
    let output = Command::new("tar").args(["-cC"]).arg(folder).arg(".").output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn an_image_is_loaded_listed_shown_and_removed() {
    let place = place("echo $FROM_IMAGE > $PKG_PATH/x; cat /mark >> $PKG_PATH/x");
    let archive = docker_archive(&[tiny_layer(), layer(&[("mark", b"here\n")])], "example/x:1");
    let path = place.path().join("x.tar");
    std::fs::write(&path, archive).unwrap();
    let ran = place.run(".", &["image", "load", path.to_str().unwrap()]).ok();
    let id = ran.stdout.split_whitespace().next().unwrap().to_owned();
    assert_eq!(ran.stdout, format!("{id}  example/x:1\n"));
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    std::fs::remove_file(path).unwrap();
    let listed = place.run(".", &["image", "list"]).ok().stdout;
    let line = listed.lines().nth(1).unwrap();
    assert!(line.starts_with(&id) && line.ends_with("  example/x:1"), "{listed}");
    for name in ["example/x:1", "docker.io/example/x:1", &id, &id[7..19]] {
        let shown = place.run(".", &["image", "inspect", name]).ok().stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert!(shown.to_string().contains(&id), "{name}: {shown}");
    }
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "x"), "yes\nhere\n");
    assert!(place.home.join("layers").exists());
    let removed = place.run(".", &["image", "rm", "example/x:1"]).ok().stdout;
    assert!(removed.starts_with("removed example/x:1\n"), "{removed}");
    assert_eq!(place.run(".", &["image", "list"]).ok().stdout, "");
    place.run(".", &["image", "rm", "example/x:1"]).fails(1).says("example/x:1");
    place.run(".", &["image", "inspect", "example/x:1"]).fails(1).says("example/x:1");
    // The id of the package can't be told without its image.
    place
        .run("p", &["--offline"])
        .fails(1)
        .says("image example/x:1  for p  docker://docker.io/example/x:1")
        .says("mkpanda image pull example/x:1")
        .says("hint: or load it: mkpanda image load --name example/x:1 FILE");
}

#[test]
fn an_image_comes_from_stdin_under_a_name() {
    use std::io::Write as _;
    let place = place("true");
    let archive = gzip(&std::fs::read(tiny_image()).unwrap());
    let mut command = place.command(".", &["image", "load", "--name", "example/x:1", "-"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("  example/x:1\n"));
    place.run("p", &[]).ok();
}

#[test]
fn layers_are_plain_gzip_or_zstd_in_a_layout_or_its_archive() {
    let place = place("cat /a /b /c > $PKG_PATH/x");
    let plain = layer(&[("a", b"a\n")]);
    let packed = layer(&[("b", b"b\n")]);
    let squeezed = layer(&[("c", b"c\n")]);
    let tiny = tiny_layer();
    let folder = place.path().join("layout");
    oci_layout(
        &folder,
        &[
            (tiny.clone(), tiny, ""),
            (plain.clone(), plain, ""),
            (packed.clone(), gzip(&packed), "+gzip"),
            (squeezed.clone(), zstd::encode_all(&squeezed[..], 1).unwrap(), "+zstd"),
        ],
        "latest",
    );
    place.write("mkpanda.toml", "[images]\n\"example/x:1\" = \"oci:../../layout\"\n");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "x"), "a\nb\nc\n");
    std::fs::write(place.path().join("layout.tar"), tar_of(&folder)).unwrap();
    place.write("mkpanda.toml", "[images]\n\"example/x:1\" = \"oci-archive:../../layout.tar\"\n");
    let ran = place.run("p", &[]).ok();
    assert!(!ran.stderr.contains("built"), "the same image: {}", ran.stderr);
    // One that changes is loaded again.
    let place = self::place("cat /mark > $PKG_PATH/x");
    place.write("mkpanda.toml", "[images]\n\"example/x:1\" = \"docker-archive:../x.tar\"\n");
    for mark in ["one\n", "two\n"] {
        let layers = [tiny_layer(), layer(&[("mark", mark.as_bytes())])];
        std::fs::write(place.packages.join("../x.tar"), docker_archive(&layers, "a:1")).unwrap();
        place.run("p", &[]).ok().says("built");
        assert_eq!(place.file_of("p", "x"), mark);
    }
}

#[test]
fn what_lies_about_its_digest_is_refused() {
    let place = place("true");
    let tiny = tiny_layer();
    let changed = |what: &str, expected: &str| {
        let folder = place.path().join("layout");
        drop(std::fs::remove_dir_all(&folder));
        oci_layout(&folder, &[(tiny.clone(), tiny.clone(), "")], "latest");
        let blobs: Vec<PathBuf> = crate::support::files_below(&folder.join("blobs"));
        let biggest = blobs.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        match what {
            "content" => {
                let mut bytes = std::fs::read(biggest).unwrap();
                bytes[600] ^= 1;
                std::fs::write(biggest, bytes).unwrap();
            }
            "short" => {
                let bytes = std::fs::read(biggest).unwrap();
                std::fs::write(biggest, &bytes[..bytes.len() - 512]).unwrap();
            }
            "gone" => std::fs::remove_file(biggest).unwrap(),
            "diff id" => {
                let other = layer(&[("x", b"x")]);
                drop(std::fs::remove_dir_all(&folder));
                oci_layout(&folder, &[(other, gzip(&tiny), "+gzip")], "latest");
            }
            _ => panic!("{what}"),
        }
        let ran = place.run(".", &["image", "load", folder.to_str().unwrap()]).fails(1);
        assert!(ran.stderr.contains(expected), "{what}: {}", ran.stderr);
        let blobs = crate::support::files_below(&place.home.join("images/blobs"));
        assert!(blobs.is_empty(), "{what}: {blobs:?}");
        assert_eq!(place.run(".", &["image", "list"]).ok().stdout, "", "{what}");
    };
    changed("content", "is damaged or was changed: it should have the digest");
    changed("short", "bytes, but should have");
    changed("gone", "is missing");
    changed("diff id", "but the image's configuration says");
}

#[test]
fn images_share_layers_and_keep_what_another_one_needs() {
    let place = place("cat /mark > $PKG_PATH/x");
    place.package("q", r#"{"docker": "example/y:1"}"#, "cat /mark > $PKG_PATH/x");
    for (name, mark) in [("example/x:1", "x"), ("example/y:1", "y")] {
        let layers = [tiny_layer(), layer(&[("mark", mark.as_bytes())])];
        let path = place.path().join("image.tar");
        std::fs::write(&path, docker_archive(&layers, name)).unwrap();
        place.run(".", &["image", "load", path.to_str().unwrap()]).ok();
    }
    // Two manifests, two configurations, three layers.
    let blobs = || crate::support::files_below(&place.home.join("images/blobs/sha256")).len();
    assert_eq!(blobs(), 7);
    place.run("p", &[]).ok();
    place.run("q", &[]).ok();
    assert_eq!((place.file_of("p", "x"), place.file_of("q", "x")), ("x".into(), "y".into()));
    place.run(".", &["image", "rm", "example/x:1"]).ok();
    assert_eq!(blobs(), 4);
    place.package("q", r#"{"docker": "example/y:1"}"#, "cat /mark /mark > $PKG_PATH/x");
    place.run("q", &[]).ok();
    assert_eq!(place.file_of("q", "x"), "yy");
}

#[test]
fn a_build_sees_whiteouts_opaque_folders_hard_links_and_replaced_files() {
    let place = place(
        "{ ls /w /o; cat /r/f; stat -c %h /h/a; stat -c %i /h/a /h/b | uniq | wc -l; ls -d /w/sub 2>/dev/null || echo gone; } > $PKG_PATH/x",
    );
    let mut below = tar::Builder::new(Vec::new());
    for folder in ["w/", "w/sub/", "o/", "r/", "h/"] {
        append(&mut below, folder, 0o755, Directory, &[]);
    }
    for file in ["w/keep", "w/remove", "w/sub/x", "o/hidden", "r/f/was-a-folder", "h/a"] {
        append(&mut below, file, 0o644, Regular, b"below\n");
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(Link);
    header.set_size(0);
    below.append_link(&mut header, "h/b", "h/a").unwrap();
    let above = layer(&[
        ("w/.wh.remove", b""),
        ("w/.wh.sub", b""),
        ("o/.wh..wh..opq", b""),
        ("o/new", b""),
        ("r/f", b"now a file\n"),
    ]);
    let layers = [tiny_layer(), below.into_inner().unwrap(), above];
    let path = place.path().join("image.tar");
    std::fs::write(&path, docker_archive(&layers, "example/x:1")).unwrap();
    place.run(".", &["image", "load", path.to_str().unwrap()]).ok();
    let ran = place.run("p", &[]);
    if has_no_whiteouts(&ran) {
        ran.says("hint: set MKPANDA_HOME");
        return left_out("images with whiteouts", "it-root");
    }
    ran.ok();
    let seen = place.file_of("p", "x");
    assert_eq!(seen, "/o:\nnew\n\n/w:\nkeep\nnow a file\n2\n1\ngone\n");
}

#[test]
fn an_image_of_127_layers_is_whole() {
    let place = place("cat /n/* | sort -n | tail -1 > $PKG_PATH/x; ls /n | wc -l >> $PKG_PATH/x");
    let mut layers = vec![tiny_layer()];
    for number in 1..127 {
        let name = format!("n/{number}");
        layers.push(layer(&[(&name, format!("{number}\n").as_bytes())]));
    }
    let path = place.path().join("image.tar");
    std::fs::write(&path, docker_archive(&layers, "example/x:1")).unwrap();
    place.run(".", &["image", "load", path.to_str().unwrap()]).ok();
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "x"), "126\n126\n");
}

#[test]
fn one_of_several_images_is_named() {
    let place = place("cat /mark > $PKG_PATH/x");
    let folder = place.path().join("layout");
    let (one, two) = (place.path().join("one"), place.path().join("two"));
    let tiny = tiny_layer();
    for (folder, mark) in [(&one, "1"), (&two, "2")] {
        let mark = layer(&[("mark", mark.as_bytes())]);
        oci_layout(
            folder,
            &[(tiny.clone(), tiny.clone(), ""), (mark.clone(), mark, "")],
            mark_name(folder),
        );
    }
    crate::support::copy_folder(&one, &folder);
    crate::support::copy_folder(&two, &folder);
    let entry = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("index.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["manifests"][0].clone()
    };
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry(&one), entry(&two)]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    place.write("mkpanda.toml", "[images]\n\"example/x:1\" = \"oci:../../layout\"\n");
    place.run("p", &[]).fails(1).says("one, two");
    place.write("mkpanda.toml", "[images]\n\"example/x:1\" = \"oci:../../layout:two\"\n");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "x"), "2");
}

fn mark_name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

#[test]
fn an_image_for_another_machine_is_refused_by_name() {
    let place = place("true");
    let path = place.path().join("x.tar");
    let layers = [tiny_layer()];
    std::fs::write(&path, docker_archive_for("sparc64", &layers, "example/x:1")).unwrap();
    place
        .run(".", &["image", "load", path.to_str().unwrap()])
        .fails(1)
        .says("it has no image for linux/")
        .says("only for linux/sparc64");
}
