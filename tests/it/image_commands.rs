//! The commands for images and registries that people know from docker and podman.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::Value;

use crate::dockerfile::{context, write};
use crate::peers::{Registry, run};
use crate::registry::user_config;
use crate::support::{Place, Ran, ran};

fn images(place: &Place) -> Vec<Value> {
    let json = place.run("", &["image", "ls", "--format", "json"]).ok().stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    json["images"].as_array().unwrap().clone()
}

#[test]
fn images_are_listed_tagged_and_pruned() {
    let (place, folder) = context(&[("Dockerfile", "FROM tiny\nLABEL a=b\n")]);
    let text = place.run("", &["image", "ls"]).ok().stdout;
    assert!(text.starts_with("ID  ") && text.lines().count() == 2, "{text}");
    assert_eq!(text, place.run("", &["image", "list"]).ok().stdout);
    place.run("", &["image", "tag", "tiny", "other:1", "r.example/x"]).ok();
    let listed = images(&place);
    assert_eq!(listed.len(), 1);
    let names: Vec<&str> =
        listed[0]["names"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(names.contains(&"docker.io/library/other:1") && names.len() == 3, "{names:?}");
    assert!(listed[0]["bytes"].as_u64().unwrap() > 0 && listed[0]["in_use"] == false);
    for arguments in [&["tag", "tinny", "x"][..], &["rm", "tinny"], &["inspect", "tinny:latest"]] {
        let ran = place.run("", &[&["image"], arguments].concat());
        ran.fails(1).says("tinny").says("hint: did you mean tiny:latest?");
    }
    place.run("", &["image", "rm", "debian"]).fails(1).says("list all images: mkpanda image list");
    // An image that lost its only name goes; one with a name stays.
    let build = |arguments: &[&str]| {
        place.run("", &[&["image", "build", folder.to_str().unwrap()], arguments].concat()).ok()
    };
    let nameless = build(&["--no-cache"]).stdout;
    let id = nameless.split_whitespace().next().unwrap();
    assert_eq!(images(&place).len(), 2);
    let planned = place.run("", &["image", "prune", "--dry-run"]).ok().stdout;
    assert!(
        planned.starts_with("would remove ") && planned.contains("  image    sha256:"),
        "{planned}"
    );
    assert_eq!(images(&place).len(), 2);
    let removed = place.run("", &["image", "prune"]).ok().stdout;
    assert_eq!(removed, planned.replace("would remove", "removed"));
    assert!(images(&place).iter().all(|image| image["id"] != id));
    assert_eq!(images(&place).len(), 1);
    place.run("", &["image", "rm", "other:1"]).ok();
    assert_eq!(images(&place)[0]["names"].as_array().unwrap().len(), 2);
}

#[test]
fn a_build_writes_the_id_pulls_and_pushes() {
    let registry = Registry::plain();
    let (place, folder) = context(&[("a", "one")]);
    place.user(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    let base = registry.name("base:1");
    place.run("", &["image", "push", "tiny", &base]).ok();
    write(&folder, &[("Dockerfile", &format!("FROM {base}\nCOPY a /a\n"))]);
    let build = |more: &[&str]| {
        place.run("", &[&["image", "build", folder.to_str().unwrap()], more].concat())
    };
    let name = registry.name("made:1");
    let id_file = place.path().join("id");
    let built = build(&["-t", &name, "--push", "--iidfile", id_file.to_str().unwrap()]).ok().stdout;
    let id = std::fs::read_to_string(&id_file).unwrap();
    assert!(built.starts_with(&format!("{id}  ")) && id.len() == 71, "{built}");
    let other = Place::bare();
    other.user(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    assert!(other.run("", &["image", "pull", &name]).ok().stdout.starts_with(&id));
    build(&["--push"]).fails(1).says("--push: the image has no name").says("--tag");
    // The base has changed at the registry: only --pull asks.
    write(&folder, &[("Base", "FROM tiny\nLABEL changed=yes\n")]);
    let file = folder.join("Base");
    let changed = ["image", "build", "-t", "changed", "-f", file.to_str().unwrap()];
    let changed = [&changed[..], &[folder.to_str().unwrap()]].concat();
    place.run("", &changed).ok();
    place.run("", &["image", "push", "changed", &base]).ok();
    let label = |ran: Ran| {
        let id = ran.ok().stdout.split_whitespace().next().unwrap().to_owned();
        place.run("", &["image", "inspect", &id]).ok().stdout.contains("\"changed\"")
    };
    assert!(!label(build(&["-t", "plain"])));
    assert!(label(build(&["-t", "pulled", "--pull"])));
    place
        .run("", &["--offline", "image", "build", folder.to_str().unwrap(), "--pull"])
        .fails(1)
        .says("--offline");
}

/// A registry that knows one user.
fn guarded(place: &Place) -> Registry {
    let hashed = run(place.path(), "htpasswd", &["-Bbn", "anna", "geheim"]);
    let file = place.path().join("htpasswd");
    std::fs::write(&file, hashed).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display());
    let registry = Registry::start("", &auth);
    place.configure(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    user_config(place);
    registry
}

fn login(place: &Place, arguments: &[&str], password: &str) -> Ran {
    let mut command = place.command("", arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that was refused before does not read it.
    drop(child.stdin.take().unwrap().write_all(password.as_bytes()));
    ran(&child.wait_with_output().unwrap())
}

#[test]
fn a_login_is_tried_kept_found_and_forgotten() {
    let (place, _folder) = context(&[]);
    let registry = guarded(&place);
    let host = registry.host.as_str();
    let name = registry.name("x:1");
    place.run("", &["image", "push", "tiny", &name]).fails(1).says("wants credentials");
    let typed = ["login", "-u", "anna", "--password-stdin", host];
    let file = place.path().join(".config/containers/auth.json");
    let refused = login(&place, &typed, "wrong\n").fails(1).says("not logged in to");
    assert!(!refused.stderr.contains("wrong") && !file.exists(), "{}", refused.stderr);
    let kept = login(&place, &typed, "geheim\n").ok().says("they are kept in");
    assert!(!kept.stderr.contains("geheim"), "{}", kept.stderr);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    place.run("", &["image", "push", "tiny", &name]).ok();
    // skopeo reads the same file.
    let file = file.to_str().unwrap();
    let url = format!("docker://{name}");
    run(place.path(), "skopeo", &["inspect", "--tls-verify=false", "--authfile", file, &url]);
    place.run("", &["image", "logout", host]).ok().says("are removed from");
    place
        .run("", &["image", "push", "tiny", &registry.name("y:1")])
        .fails(1)
        .says("wants credentials");
    place.run("", &["logout", host]).fails(1).says("no credentials for");
    let by_image = ["image", "login", "--username=anna", "--password-stdin", host];
    login(&place, &by_image, "geheim").ok();
    login(&place, &["login", "--password-stdin", host], "geheim").fails(1).says("--username NAME");
    login(&place, &["login", "-u", "anna", "--password-stdin", host], "")
        .fails(1)
        .says("no password");
    place.run("", &["login", "a/b"]).fails(1).says("\"a/b\" is not a valid registry");
}
