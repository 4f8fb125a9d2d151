//! The on-premises installer: made of a tree that is built here, run as a person runs it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mkpanda::installer::MARK;
use mkpanda::package::Variant;
use serde_json::{Value, json};

use crate::deploy::Release;
use crate::providers::{check, checker};
use crate::server::Server;
use crate::support::{files_below, sha256};

const CONFIG: &str =
    "cluster_name: \"it's a \\\"cluster\\\"\"\nmaster_list: [10.0.0.1, 10.0.0.2]\n";

#[test]
fn the_same_parts_give_the_same_bytes_and_the_installer_says_what_it_is() {
    let Some(release) = Release::build() else { return };
    let variant: Variant = "ee".parse().unwrap();
    let installer = release.write("1.0", &variant);
    assert!(installer.ends_with("dcos_generate_config.ee.sh"));
    assert_eq!(installer.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let first = std::fs::read(&installer).unwrap();
    // Of a run that was killed.
    std::fs::write(release.deploy(".tmp-left"), "").unwrap();
    release.write("1.0", &variant);
    assert!(!release.deploy(".tmp-left").exists());
    assert!(first == std::fs::read(&installer).unwrap(), "the second one differs");
    // Packages are in it as they are, not compressed once more.
    let package = std::fs::read(&release.packages[0].1).unwrap();
    assert!(first.windows(package.len()).any(|window| window == package));

    if let Some(shellcheck) = checker("MKPANDA_TEST_SHELLCHECK", "shellcheck") {
        let end = first.windows(15).position(|window| window == b"main \"$@\"\nexit\n").unwrap();
        check(
            &shellcheck,
            &["--shell=sh", "--severity=warning"],
            &[("head.sh".to_owned(), &first[..end + 15])],
        );
    }

    let version = release.run(&installer, &["--version"]).ok();
    assert_eq!(version.stdout, "{\n  \"variant\": \"ee\",\n  \"version\": \"1.0\"\n}\n");
    let help = release.run(&installer, &["--help"]).ok().stdout;
    for option in [
        "--genconf",
        "--version",
        "--list",
        "--hash-password",
        "--generate-node-upgrade-script",
        "--preflight",
    ] {
        assert!(help.contains(option), "{help}");
    }
    let hash = release.run(&installer, &["--hash-password", "secret"]).ok().stdout;
    assert!(hash.starts_with("$6$rounds=656000$") && hash.ends_with('\n'), "{hash}");
    // Nothing is typed, and stdin is empty.
    release
        .run(&installer, &["--hash-password"])
        .fails(1)
        .says("cannot hash the password: it is empty");
    let list = release.run(&installer, &["--list"]).ok().stdout;
    let id = release.packages[0].0.to_string();
    for part in [
        &format!("serve/packages/agent/{id}.tar.xz"),
        "installer/",
        "bootstrap_url (url, must be set)",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    release.run(&installer, &["--web"]).fails(2).says("--web");
    release.run(&installer, &["--genconf"]).fails(1).says("genconf/config.yaml");
    release
        .run(&installer, &["install", "master"])
        .fails(1)
        .says("run the installer with --genconf before");
}

#[test]
fn a_cut_or_altered_installer_does_nothing() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure(&format!("{CONFIG}bootstrap_url: http://127.0.0.1:1\n"));
    let whole = std::fs::read(&installer).unwrap();
    let head = whole.windows(15).position(|window| window == b"main \"$@\"\nexit\n").unwrap() + 15;
    let broken = release.deploy("broken.sh");
    let mut tried = 0;
    let mut refused = |bytes: &[u8], message: &str| {
        std::fs::write(&broken, bytes).unwrap();
        std::fs::set_permissions(&broken, PermissionsExt::from_mode(0o755)).unwrap();
        let ran = release.run(&broken, &["--genconf"]);
        assert!(ran.code != 0 && ran.stderr.contains(message), "{tried}: {ran:?}");
        assert!(!release.deploy("genconf/serve").exists());
        tried += 1;
    };
    for length in [head / 3, head - 16, head, head + 700, whole.len() / 2, whole.len() - 1] {
        let message = if length < head - 16 { "" } else { "incomplete" };
        refused(&whole[..length], message);
    }
    refused(&[&whole[..], b"more"].concat(), "incomplete or altered");
    let version = whole.windows(8).position(|window| window == b"version=").unwrap();
    for at in [version + 9, head + 600, whole.len() / 2, whole.len() - 1500] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        refused(&altered, "damaged or altered");
    }
    assert_eq!(tried, 11);
    // Not a single fault of the test itself.
    release.run(&installer, &["--genconf"]).ok();
}

#[test]
fn a_missing_tool_is_named() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    let tools = release.place.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    for tool in ["sh", "chmod", "head", "mktemp", "rm", "sed", "tr", "uname", "wc"] {
        let found = ["/bin", "/usr/bin"].map(|folder| Path::new(folder).join(tool));
        let found = found.iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
    }
    let ran = release.run_with_path(&installer, &["--version"], tools.to_str().unwrap());
    ran.fails(1).says("missing on this machine: sha256sum tail");
}

#[test]
fn all_faults_of_a_configuration_are_reported_at_once_and_nothing_is_written() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure("bootstrap_url: ftp://x\ncluster_nam: x\nmaster_list: x\nversion: '2'\n");
    std::fs::write(release.deploy("genconf/ip-detect"), "echo 1\n").unwrap();
    let said = release.run(&installer, &["--genconf"]).fails(1).stderr;
    for fault in [
        "bootstrap_url must be a URL",
        "cluster_nam is not known (did you mean cluster_name?)",
        "master_list must be a list",
        "version comes from the release",
        "genconf/ip-detect must be a script",
        "ip_detect_contents must be set",
    ] {
        assert!(said.contains(fault), "{fault}: {said}");
    }
    assert!(!release.deploy("genconf/serve").exists());
    release.configure("a: [\n");
    release.run(&installer, &[]).fails(1).says("genconf/config.yaml:");
    assert!(!release.deploy("genconf/serve").exists());
}

#[test]
fn genconf_writes_the_served_folder_and_replaces_only_its_own() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure(&format!("{CONFIG}bootstrap_url: http://127.0.0.1:1/x\n"));
    let bins = release.deploy("genconf/check_bins");
    std::fs::create_dir(&bins).unwrap();
    std::fs::write(bins.join("my-check"), "#!/bin/sh\n").unwrap();
    let serve = release.deploy("genconf/serve");
    std::fs::create_dir(&serve).unwrap();
    std::fs::write(serve.join("mine"), "").unwrap();
    release.run(&installer, &["--genconf"]).fails(1).says("was not written by an installer");
    assert!(serve.join("mine").exists());
    std::fs::remove_file(serve.join("mine")).unwrap();

    // No argument means the same.
    release.run(&installer, &[]).ok();
    let found: Vec<String> = files_below(&serve)
        .iter()
        .map(|path| path.strip_prefix(&serve).unwrap().display().to_string())
        .collect();
    let info = std::fs::read_to_string(serve.join("cluster-package-info.json")).unwrap();
    assert_eq!(
        info,
        std::fs::read_to_string(release.deploy("genconf/cluster_packages.json")).unwrap()
    );
    let info: Value = serde_json::from_str(&info).unwrap();
    let names: Vec<&String> = info.as_object().unwrap().keys().collect();
    assert_eq!(names, ["agent", "custom-check-bins", "dcos-config", "dcos-metadata"]);
    let bootstrap = std::fs::read_to_string(serve.join("bootstrap.latest")).unwrap();
    let list = std::fs::read_to_string(serve.join("cluster-package-list.latest")).unwrap();
    let late = found.iter().find(|name| name.ends_with("--setup.dcos_config")).unwrap().clone();
    let mut expected = vec![
        MARK.to_owned(),
        format!("bootstrap/{bootstrap}.active.json"),
        format!("bootstrap/{bootstrap}.bootstrap.tar.xz"),
        "bootstrap.latest".to_owned(),
        "cluster-package-info.json".to_owned(),
        "cluster-package-list.latest".to_owned(),
        "dcos_install.sh".to_owned(),
        format!("package_lists/{list}.package_list.json"),
        "pkgpanda".to_owned(),
        format!("programs/{}/pkgpanda", sha256(&std::fs::read(serve.join("pkgpanda")).unwrap())),
        late,
    ];
    for package in info.as_object().unwrap().values() {
        expected.push(package["filename"].as_str().unwrap().to_owned());
    }
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(found), sorted(expected));
    let ids: Value = serde_json::from_slice(
        &std::fs::read(serve.join(format!("package_lists/{list}.package_list.json"))).unwrap(),
    )
    .unwrap();
    assert_eq!(ids.as_array().unwrap().len(), 4);

    // The same configuration gives the same names; an upgrade script stays when it is done again.
    let url = release.run(&installer, &["--generate-node-upgrade-script", "0.9"]).ok().stdout;
    let path = url.trim().strip_prefix("http://127.0.0.1:1/x/").unwrap();
    assert!(path.starts_with("upgrade/") && path.ends_with("/dcos_node_upgrade.sh"), "{url}");
    assert!(serve.join(path).exists());
    release.run(&installer, &["--genconf"]).ok();
    assert!(serve.join(path).exists());
    assert_eq!(std::fs::read_to_string(serve.join("cluster-package-list.latest")).unwrap(), list);
    let left: Vec<String> = std::fs::read_dir(release.deploy("genconf"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') && name != ".lock")
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_host_installs_over_http_on_an_empty_root_and_is_upgraded() {
    let Some(release) = Release::build() else { return };
    let server = Server::files(&release.deploy("genconf/serve"));
    let url = server.url("");
    let config = format!("{CONFIG}bootstrap_url: {}\n", url.trim_end_matches('/'));
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure(&config);
    release.run(&installer, &["--genconf"]).ok();
    let machine = release.place.path().join("machine");
    std::fs::create_dir(&machine).unwrap();
    let root = machine.to_str().unwrap();
    let install = release.deploy("genconf/serve/dcos_install.sh");
    release.run(&install, &["--root", root]).fails(2);
    release.run(&install, &["--root", root, "slave"]).fails(1).says("slave is not a role");
    release.run(&install, &["--root", root, "--preflight-only"]).ok();
    assert!(!machine.join("opt").exists());
    release.run(&install, &["--root", root, "master"]).ok();

    let etc = "opt/mesosphere/etc";
    let role = release.installed(&format!("{etc}/cluster-role.env"));
    assert_eq!(role, "CLUSTER_ROLE=master\nGREETING=\"Hello\"\n");
    let cluster: Value =
        serde_json::from_str(&release.installed(&format!("{etc}/cluster.json"))).unwrap();
    let name = "it's a \"cluster\"";
    assert_eq!(cluster, json!({"cluster_name": name, "master_list": ["10.0.0.1", "10.0.0.2"]}));
    // The late value is this machine's own.
    let host: Value =
        serde_json::from_str(&release.installed(&format!("{etc}/host.json"))).unwrap();
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(host, json!({"host": own.trim(), "cluster": name}));
    assert!(machine.join("etc/mesosphere/roles/master").exists());
    assert!(!machine.join("opt/mesosphere/bootstrap").exists());
    let flag = release.installed("etc/mesosphere/setup-flags/repository-url");
    assert_eq!(flag.trim(), url.trim_end_matches('/'));
    assert!(server.targets().iter().any(|target| target.starts_with("/package_lists/")));
    release.run(&install, &["--root", root, "master"]).fails(1).says("is installed");

    // Another version with other values.
    let installer = release.write("2.0", &Variant::DEFAULT);
    release.configure(&format!("{config}greeting: \"Good day, it's $HOME\"\n"));
    let wrong = release.run(&installer, &["--generate-node-upgrade-script", "0.5"]).ok().stdout;
    let upgrade = release.run(&installer, &["--generate-node-upgrade-script", "1.0"]).ok().stdout;
    let script = |url: &str| {
        release.deploy("genconf/serve").join(url.trim().strip_prefix(&server.url("")).unwrap())
    };
    release.run(&script(&wrong), &["--root", root]).fails(1).says("1.0 is installed");
    for _ in 0..2 {
        release.run(&script(&upgrade), &["--root", root]).ok();
        let role = release.installed(&format!("{etc}/cluster-role.env"));
        assert_eq!(role, "CLUSTER_ROLE=master\nGREETING=\"Good day, it's \\$HOME\"\n");
        let version = release.installed(&format!("{etc}/dcos-version.json"));
        assert!(version.contains("\"version\": \"2.0\""), "{version}");
    }
}

#[test]
fn the_installer_installs_on_its_own_machine_without_any_network() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure(&format!("{CONFIG}bootstrap_url: http://192.0.2.1:1\n"));
    release.run(&installer, &["--genconf"]).ok();
    let machine = release.place.path().join("machine");
    std::fs::create_dir(&machine).unwrap();
    let root = machine.to_str().unwrap();
    release.run(&installer, &["install", "--root", root, "worker"]).ok();
    let role = release.installed("opt/mesosphere/etc/cluster-role.env");
    assert_eq!(role, "CLUSTER_ROLE=worker\nGREETING=\"Hello\"\n");
    let flag = release.installed("etc/mesosphere/setup-flags/repository-url");
    assert_eq!(flag, "http://192.0.2.1:1\n");

    // What is served is checked on its way: neither a damaged program nor a damaged bootstrap is used.
    for damaged in ["pkgpanda", "bootstrap"] {
        let other = release.place.path().join(damaged);
        std::fs::create_dir(&other).unwrap();
        let file = files_below(&release.deploy("genconf/serve"))
            .into_iter()
            .find(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name == damaged || name.ends_with(&format!(".{damaged}.tar.xz"))
            })
            .unwrap();
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        let arguments = ["install", "--root", other.to_str().unwrap(), "worker"];
        release.run(&installer, &arguments).fails(1).says("is damaged");
        assert!(!other.join("opt/mesosphere/packages").exists());
        std::fs::write(&file, whole).unwrap();
        release.run(&installer, &arguments).ok();
    }
}

#[test]
fn the_preflight_names_all_that_is_wrong_with_a_machine() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    let server = Server::files(&release.deploy(""));
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    release.configure(&format!(
        "{CONFIG}bootstrap_url: http://192.0.2.1:1\nrequired_commands: [no-such-program]\nrequired_ports: [{}, {free}]\n",
        server.port()
    ));
    release.run(&installer, &["--genconf"]).ok();
    let said = release.run(&installer, &["--preflight"]).fails(1).stderr;
    let port = format!("port {} is taken", server.port());
    assert!(
        said.contains("the program no-such-program is missing") && said.contains(&port),
        "{said}"
    );
    assert!(!said.contains(&format!("port {free} ")), "{said}");
}
