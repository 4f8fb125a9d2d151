//! Other tools read our store, and we read what they write. They have to be installed:
//! `scripts/test prepare` does that.

use std::process::Command;

use super::*;

/// Runs a tool in a folder of its own and gives what it prints.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs {program} ({error}); `scripts/test prepare` installs it")
        });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {err}");
    out
}

fn skopeo(folder: &Path, arguments: &[&str]) -> String {
    run(folder, "skopeo", &[&["--insecure-policy"], arguments].concat())
}

/// A store with an image, and the image's layer.
fn home() -> (TestHome, LoadedImage) {
    let home = TestHome::new();
    let layer = tar(&[("etc/hello", b"hello"), ("usr/bin/x", b"x")]);
    let archive = docker_archive(&["mkpanda/test:1"], &[layer, gzip(&tar(&[("second", b"2")]))]);
    // The second layer's diff id is that of its plain content.
    let error = home.load_bytes(&archive).unwrap_err();
    assert!(error.contains("layer 2 unpacks to"), "{error}");
    let layers = [tar(&[("etc/hello", b"hello")]), tar(&[("second", b"2")])];
    let loaded = home.load_bytes(&docker_archive(&["mkpanda/test:1"], &layers)).unwrap();
    (home, loaded.into_iter().next().unwrap())
}

#[test]
fn skopeo_reads_the_store_and_its_copies_load_again() {
    let (home, image) = home();
    let folder = home.folder.path();
    let source = format!("oci:{}:docker.io/mkpanda/test:1", home.store.folder().display());
    let raw = skopeo(folder, &["inspect", "--raw", &source]);
    assert_eq!(digest(raw.as_bytes()), image.manifest);
    let config = skopeo(folder, &["inspect", "--config", "--raw", &source]);
    assert_eq!(digest(config.as_bytes()).sum(), image.id.sum());
    for (target, file, name) in [
        ("docker-archive:docker.tar:docker.io/mkpanda/test:1", "docker.tar", true),
        ("oci-archive:oci.tar:docker.io/mkpanda/test:1", "oci.tar", true),
        ("oci:layout:latest", "layout", false),
    ] {
        skopeo(folder, &["copy", "-q", &source, target]);
        let other = TestHome::new();
        let loaded = other.load_path(&folder.join(file)).unwrap();
        assert_eq!(loaded.len(), 1, "{target}");
        assert_eq!(loaded[0].id, image.id, "{target}");
        assert_eq!(loaded[0].reference, image.reference.clone().filter(|_| name), "{target}");
    }
    skopeo(
        folder,
        &[
            "copy",
            "-q",
            "--dest-compress-format=zstd",
            "--dest-compress",
            &source,
            "oci:zstd:a/b:1",
        ],
    );
    let other = TestHome::new();
    other.load_path(&folder.join("zstd")).unwrap();
    let copied = other.store.find_any("a/b:1").unwrap();
    assert_eq!(copied.id, image.id);
    assert!(copied.layers[0].media_type.ends_with("zstd"), "{}", copied.layers[0].media_type);
    // Docker's second schema in a layout: what a registry gives.
    skopeo(folder, &["copy", "-q", "--format=v2s2", &source, "dir:v2s2"]);
}

#[test]
fn umoci_reads_the_store_and_we_read_its_images() {
    let (home, image) = home();
    let folder = home.folder.path();
    let layout = home.store.folder().to_str().unwrap();
    let tags = run(folder, "umoci", &["list", "--layout", layout]);
    assert!(tags.lines().any(|tag| tag == "docker.io/mkpanda/test:1"), "{tags}");
    let source = format!("{layout}:docker.io/mkpanda/test:1");
    run(folder, "umoci", &["unpack", "--rootless", "--image", &source, "bundle"]);
    assert_eq!(fs_err::read(folder.join("bundle/rootfs/etc/hello")).unwrap(), b"hello");

    run(folder, "umoci", &["init", "--layout", "made"]);
    run(folder, "umoci", &["new", "--image", "made:t"]);
    run(
        folder,
        "umoci",
        &["insert", "--rootless", "--image", "made:t", "bundle/rootfs/etc", "/etc"],
    );
    let command =
        ["config", "--image", "made:t", "--config.entrypoint", "/bin/x", "--config.user", "7:8"];
    run(folder, "umoci", &command);
    let other = TestHome::new();
    let loaded = other.load_path(&folder.join("made")).unwrap();
    let made = other.store.find_any(loaded[0].id.hex()).unwrap();
    assert_eq!(made.config.entrypoint, ["/bin/x"]);
    assert_eq!((made.config.user.as_str(), made.layers.len()), ("7:8", 1));
    assert_ne!(made.id, image.id);
}
