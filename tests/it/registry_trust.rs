//! Whom a registry is trusted by and whom it trusts: certificates, passwords, credential helpers.

use std::path::Path;

use crate::peers::{Registry, run};
use crate::registry::{make_layout, skopeo, user_config};
use crate::support::Place;

/// Makes a CA, `ca.pem`, and a certificate of it for a server at 127.0.0.1, `server.pem` and
/// `server.key`, for so many days; `-1` has passed.
pub(crate) fn make_certificates(folder: &Path, days: &str) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let ca =
        ["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test", "-days", "2"];
    run(folder, "openssl", &[&ca[..], &key].concat());
    let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
    let request = ["req", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server"];
    run(folder, "openssl", &[&request[..], &key, &names].concat());
    let sign = [
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
    ];
    let end = ["-out", "server.pem", "-days", days, "-copy_extensions", "copy"];
    run(folder, "openssl", &[&sign[..], &end].concat());
}

/// The same, as a part of a registry's configuration.
pub(crate) fn certificates(folder: &Path, days: &str) -> String {
    make_certificates(folder, days);
    let path = |name: &str| folder.join(name).display().to_string();
    format!(", tls: {{certificate: {}, key: {}}}", path("server.pem"), path("server.key"))
}

#[test]
fn a_registry_with_a_ca_of_its_own_is_trusted_if_the_configuration_says_so() {
    let place = Place::bare();
    let registry = Registry::start(&certificates(place.path(), "2"), "");
    make_layout(&place.path().join("layout"));
    let name = registry.name("r:1");
    place.run(".", &["image", "load", "oci:../../layout:x", "--name", &name]).ok();
    place.run(".", &["image", "push", &name]).fails(1).says("certificate").says("ca = \"FILE\"");
    place.configure(&format!("[registries.\"{}\"]\nca = \"ca.pem\"\n", registry.host));
    user_config(&place);
    std::fs::copy(place.path().join("ca.pem"), place.path().join(".config/mkpanda/ca.pem"))
        .unwrap();
    place.run(".", &["image", "push", &name]).ok();
    place.run(".", &["image", "rm", &name]).ok();
    place.run(".", &["image", "pull", &name]).ok();
}

#[test]
fn an_expired_certificate_is_called_so() {
    let place = Place::bare();
    let registry = Registry::start(&certificates(place.path(), "-1"), "");
    place.configure(&format!("[registries.\"{}\"]\nca = \"../../../ca.pem\"\n", registry.host));
    user_config(&place);
    std::fs::copy(place.path().join("ca.pem"), place.path().join("ca.pem.x")).unwrap();
    let config = format!(
        "[registries.\"{}\"]\nca = \"{}\"\n",
        registry.host,
        place.path().join("ca.pem").display()
    );
    std::fs::write(place.path().join(".config/mkpanda/config.toml"), config).unwrap();
    place
        .run(".", &["image", "pull", &registry.name("r:1")])
        .fails(1)
        .says("certificate")
        .says("has to be renewed");
}

#[test]
fn passwords_are_taken_from_where_logins_leave_them_and_shown_nowhere() {
    let mut place = Place::bare();
    let hashed = run(place.path(), "htpasswd", &["-Bbn", "anna", "geheim"]);
    let file = place.path().join("htpasswd");
    std::fs::write(&file, hashed).unwrap();
    let auth = format!("auth: {{htpasswd: {{realm: r, path: {}}}}}\n", file.display());
    let registry = Registry::start("", &auth);
    place.configure(&format!("[registries.\"{}\"]\ninsecure = true\n", registry.host));
    user_config(&place);
    make_layout(&place.path().join("layout"));
    let name = registry.name("r:1");
    place.run(".", &["image", "load", "oci:../../layout:x", "--name", &name]).ok();
    place
        .run(".", &["image", "push", &name])
        .fails(1)
        .says("wants credentials")
        .says("podman login");
    let login = ["login", "--tls-verify=false", "-u", "anna", "-p", "geheim", "--authfile"];
    let own = place.path().join("own.json").display().to_string();
    skopeo(&place, &[&login[..], &[&own, &registry.host]].concat());
    place.variables.push(("REGISTRY_AUTH_FILE".to_owned(), own.clone()));
    let said = place.run(".", &["-vvv", "image", "push", &name]).ok();
    for secret in ["geheim", "YW5uYTpnZWhlaW0="] {
        assert!(!said.stderr.contains(secret), "{secret} is shown");
        for file in crate::support::files_below(&place.home) {
            let bytes = std::fs::read(&file).unwrap();
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in {}", file.display());
        }
    }
    // Where docker's and podman's logins leave them by themselves.
    place.variables.clear();
    for path in [".docker/config.json", ".config/containers/auth.json"] {
        let path = place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(&own, &path).unwrap();
        place.run(".", &["image", "rm", &name]).ok();
        place.run(".", &["image", "pull", &name]).ok();
        std::fs::remove_file(path).unwrap();
    }
    // A helper, by docker's configuration.
    let bin = place.path().join("bin");
    write_helper(&bin.join("docker-credential-test"));
    let docker = place.path().join("docker");
    std::fs::create_dir(&docker).unwrap();
    std::fs::write(docker.join("config.json"), "{\"credsStore\": \"test\"}").unwrap();
    place.variables.push(("DOCKER_CONFIG".to_owned(), docker.display().to_string()));
    place.run(".", &["image", "rm", &name]).ok();
    place.run(".", &["image", "pull", &name]).fails(1).says("docker-credential-test").says("PATH");
    place.variables.push(("PATH".to_owned(), format!("{}:/usr/bin:/bin", bin.display())));
    place.run(".", &["image", "pull", &name]).ok();
}

fn write_helper(path: &Path) {
    let text = "#!/bin/sh\necho '{\"Username\": \"anna\", \"Secret\": \"geheim\"}'\n";
    crate::support::write_program(path, text);
}
