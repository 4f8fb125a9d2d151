//! An image made here is run, unpacked and gone on with by each of the other tools, and one that each of
//! them made is gone on with here.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::Uid;

use crate::images::{layer, place as image_place};
use crate::inside::left_out;
use crate::peers::{id, run};
use crate::support::Place;
use crate::tiny::{tiny_image, tiny_layer};

const NAME: &str = "localhost/ours:1";

/// A place with an image that a Dockerfile made: a file of mode 0750, a link to it, a variable, a command.
fn place() -> Place {
    let place = Place::bare();
    let image = tiny_image().display().to_string();
    place.run("", &["image", "load", "--name", "localhost/tiny", &image]).ok();
    let made = build(
        &place,
        "localhost/tiny",
        NAME,
        "echo ours > /made && chmod 750 /made && ln -s made /link",
    );
    assert!(made.starts_with("sha256:"), "{made}");
    place
}

/// Goes on with an image: a command is run in it, and a new image is called `name`.
fn build(place: &Place, base: &str, name: &str, command: &str) -> String {
    let text = format!("FROM {base}\nRUN {command}\nENV MADE=here\nCMD [\"cat\", \"/link\"]\n");
    place.write("context/Dockerfile", &text);
    let context = place.packages.join("context").display().to_string();
    place.run("", &["image", "build", "--network=none", "-t", name, &context]).ok().stdout
}

/// Loads what another tool made of our image, and looks at it by a command in it.
fn gone_on_with(place: &Place, source: &str, tool: &str) {
    let name = format!("localhost/{tool}:1");
    place.run("", &["image", "load", "--name", &name, source]).ok();
    let look = format!(
        "[ $(cat /link) = ours ] && [ $(cat /theirs) = {tool} ] && [ $MADE$THEIRS = hereyes ]"
    );
    build(place, &name, &format!("localhost/after-{tool}:1"), &look);
}

fn path(place: &Place, name: &str) -> String {
    place.path().join(name).display().to_string()
}

#[test]
fn skopeo_and_umoci() {
    let place = place();
    let layout = path(&place, "layout");
    place.run("", &["image", "save", NAME, "-o", &format!("oci:{layout}:v1")]).ok();
    let tool = |program: &str, arguments: &[&str]| run(place.path(), program, arguments);
    // Through skopeo in every form, and back: a configuration stays the same, and so does the id.
    let ours = place.run("", &["image", "list"]).ok().stdout;
    let ours = ours.lines().find(|line| line.contains("ours:1")).unwrap();
    for (to, back) in [
        ("oci:copy:x", "oci:copy:x"),
        ("oci-archive:copy.oci.tar:x", "oci-archive:copy.oci.tar"),
        ("docker-archive:copy.tar:localhost/x:1", "docker-archive:copy.tar"),
    ] {
        tool("skopeo", &["copy", "-q", &format!("oci:{layout}:v1"), to]);
        let back = back.replacen(':', &format!(":{}/", place.path().display()), 1);
        let mut other = Place::bare();
        other.home = other.path().join("home");
        let loaded = other.run("", &["image", "load", &back]).ok().stdout;
        if to.starts_with("oci") {
            assert_eq!(id(&loaded), id(ours), "{to}");
        }
        assert!(
            build(&other, id(&loaded), "x:1", "[ $(cat /link) = ours ]").starts_with("sha256:")
        );
    }
    // Unpacked by umoci, which goes on with it.
    let rootless: &[&str] = if Uid::current().is_root() { &[] } else { &["--rootless"] };
    let image = format!("{layout}:v1");
    tool("umoci", &[&["unpack"], rootless, &["--image", &image, "bundle"]].concat());
    let made = place.path().join("bundle/rootfs/made");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "ours\n");
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(made.with_file_name("link").read_link().unwrap(), Path::new("made"));
    std::fs::write(made.with_file_name("theirs"), "umoci\n").unwrap();
    tool("umoci", &["repack", "--image", &format!("{layout}:v2"), "bundle"]);
    tool("umoci", &["config", "--image", &format!("{layout}:v2"), "--config.env", "THEIRS=yes"]);
    gone_on_with(&place, &format!("oci:{layout}:v2"), "umoci");
}

#[test]
fn podman_and_buildah() {
    // Their rootless modes are another matter.
    if !Uid::current().is_root() || Path::new("/run/.containerenv").exists() {
        return left_out("podman and buildah (they want root, and no container around)", "it-root");
    }
    let place = place();
    // They take no longer path than 50 characters.
    let state = tempfile::tempdir_in("/tmp").unwrap();
    for tool in ["podman", "buildah"] {
        let (root, state) = (path(&place, tool), state.path().join(tool));
        let common =
            ["--root", &root, "--runroot", state.to_str().unwrap(), "--storage-driver", "vfs"];
        let tool_run = |arguments: &[&str]| run(place.path(), tool, &[&common, arguments].concat());
        for form in ["docker-archive", "oci-archive"] {
            let file = format!("{form}:{}", path(&place, &format!("{tool}.{form}")));
            place.run("", &["image", "save", NAME, "-o", &file]).ok();
            let back = format!("{form}:{}", path(&place, &format!("{tool}-back.{form}")));
            if tool == "podman" {
                tool_run(&["load", "-q", "-i", file.split_once(':').unwrap().1]);
                let isolated = [
                    "--cgroup-manager=cgroupfs",
                    "--runtime=runc",
                    "run",
                    "--network=none",
                    "--ulimit=nofile=1024:1024",
                    "--ulimit=nproc=1024:1024",
                ];
                let said = tool_run(&[&isolated[..], &["--rm", NAME]].concat());
                assert_eq!(said, "ours\n", "{form}");
                let change = ["--name=c", NAME, "/bin/sh", "-c", "echo podman > /theirs"];
                tool_run(&[&isolated[..], &change].concat());
                tool_run(&["commit", "-q", "--change=ENV THEIRS=yes", "c", "localhost/theirs:1"]);
                let to = back.split_once(':').unwrap().1;
                tool_run(&["save", "-q", "--format", form, "-o", to, "localhost/theirs:1"]);
                tool_run(&["rm", "c"]);
            } else {
                let container = tool_run(&["from", "-q", &file]);
                let container = container.trim();
                let chroot = ["run", "--isolation=chroot", container, "--", "/bin/sh", "-c"];
                let said =
                    tool_run(&[&chroot[..], &["cat /link; echo buildah > /theirs"]].concat());
                assert_eq!(said, "ours\n", "{form}");
                tool_run(&["config", "--env", "THEIRS=yes", container]);
                tool_run(&["commit", "-q", container, &format!("{back}:localhost/theirs:1")]);
            }
            gone_on_with(&place, &back, tool);
        }
    }
}

/// A program that the tests need; it is installed by `scripts/test prepare`.
fn program(name: &str) -> Command {
    let found = Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(found, "{name} is not installed; run: scripts/test prepare");
    let mut command = Command::new(name);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn skopeo_writes_what_is_loaded_and_reads_what_is_stored() {
    let place = image_place("true");
    let home = place.path().to_owned();
    let skopeo = |from: &str, to: &str| {
        let mut command = program("skopeo");
        command.args(["--insecure-policy", "--tmpdir"]).arg(&home).args(["copy", "-q", from, to]);
        succeed(command.env("HOME", &home).current_dir(&home));
    };
    let docker = format!("docker-archive:{}", tiny_image().display());
    skopeo(&docker, "oci-archive:oci.tar:v1");
    skopeo(&docker, "oci:layout:v1");
    skopeo(&docker, "docker-archive:docker.tar:example/x:1");
    let mut ids = Vec::new();
    for input in ["oci.tar", "layout", "docker.tar"] {
        let input = home.join(input);
        let arguments = ["image", "load", "--name", "example/x:1", input.to_str().unwrap()];
        let stdout = place.run(".", &arguments).ok().stdout;
        ids.push(stdout.split_whitespace().next().unwrap().to_owned());
        place.run("p", &[]).ok();
    }
    // A docker archive keeps the configuration byte for byte, and so its id.
    assert_eq!(ids[0], ids[1]);
    let stored = format!("oci:{}:docker.io/example/x:1", place.home.join("images").display());
    skopeo(&stored, "oci-archive:back.tar:v1");
}

#[test]
fn umoci_layouts_are_loaded() {
    let place = image_place("cat /mark > $PKG_PATH/x");
    let home = place.path().to_owned();
    let umoci = |arguments: &[&str]| {
        let mut command = program("umoci");
        succeed(command.args(arguments).env("HOME", &home).current_dir(&home));
    };
    umoci(&["init", "--layout", "u"]);
    umoci(&["new", "--image", "u:v1"]);
    std::fs::write(home.join("tiny.tar"), tiny_layer()).unwrap();
    std::fs::write(home.join("mark.tar"), layer(&[("mark", b"umoci\n")])).unwrap();
    umoci(&["raw", "add-layer", "--image", "u:v1", "tiny.tar"]);
    umoci(&["raw", "add-layer", "--image", "u:v1", "mark.tar"]);
    place.write("mkpanda.toml", "[images]\n\"example/x:1\" = \"oci:../../u:v1\"\n");
    place.run("p", &[]).ok();
    assert_eq!(place.file_of("p", "x"), "umoci\n");
}
