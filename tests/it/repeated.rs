//! What is done again with an installer: installations that failed, configurations, and upgrades by scripts of
//! before.

use std::path::{Path, PathBuf};

use mkpanda::package::Variant;

use crate::deploy::Release;
use crate::server::Server;
use crate::support::files_below;

const CONFIG: &str = "cluster_name: c\n";

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn machine(release: &Release, name: &str) -> PathBuf {
    let machine = release.place.path().join(name);
    std::fs::create_dir(&machine).unwrap();
    machine
}

/// Served files of which the path contains a text.
fn served(release: &Release, part: &str) -> Vec<PathBuf> {
    let folder = release.deploy("genconf/serve");
    let is_meant =
        |path: &PathBuf| path.strip_prefix(&folder).unwrap().to_str().unwrap().contains(part);
    files_below(&folder).into_iter().filter(is_meant).collect()
}

#[test]
fn an_installation_that_failed_anywhere_is_repeated() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure(&format!("{CONFIG}bootstrap_url: http://192.0.2.1:1\n"));
    let detect = release.deploy("genconf/fault-domain-detect");
    std::fs::write(&detect, "#!/bin/sh\necho '{\"fault_domain\": \"a\"}'\n").unwrap();
    release.run(&installer, &["--genconf"]).ok();
    let points = [
        "programs/",
        ".bootstrap.tar.xz",
        ".package_list.json",
        "packages/dcos-config/",
        ".dcos_config",
    ];
    for (number, point) in points.iter().enumerate() {
        let machine = machine(&release, &format!("machine-{number}"));
        let install = |role: &str| {
            release.run(&installer, &["install", "--root", machine.to_str().unwrap(), role])
        };
        let files = served(&release, point);
        assert!(!files.is_empty(), "{point}");
        let away = release.place.path().join("away");
        for file in &files {
            std::fs::rename(file, &away).unwrap();
            install("master").fails(1);
            std::fs::rename(&away, file).unwrap();
        }
        // The role of the one that counts is another one.
        install("worker").ok();
        let etc = machine.join("opt/mesosphere/etc");
        assert!(text(&etc.join("cluster-role.env")).contains("CLUSTER_ROLE=worker"), "{point}");
        let roles: Vec<_> =
            std::fs::read_dir(machine.join("etc/mesosphere/roles")).unwrap().collect();
        assert_eq!(roles.len(), 1, "{point}");
        assert!(!machine.join("opt/mesosphere/bootstrap").exists(), "{point}");
        let left = std::fs::read_dir(machine.join("opt")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        let program = machine.join("opt/mesosphere/bin/detect_fault_domain");
        assert_eq!(release.run(&program, &[]).ok().stdout, "{\"fault_domain\": \"a\"}\n");

        // One that is complete is not touched, also without the checks.
        for option in ["--no-block-dcos-setup", "--disable-preflight"] {
            let root = machine.to_str().unwrap();
            release
                .run(&installer, &["install", "--root", root, option, "master"])
                .fails(1)
                .says("is installed");
        }
        assert!(machine.join("etc/mesosphere/roles/worker").exists());
        assert!(!machine.join("etc/mesosphere/roles/master").exists());
    }
    // What no installation left is nobody's to remove.
    let foreign = machine(&release, "foreign");
    std::fs::create_dir_all(foreign.join("opt/mesosphere/mine")).unwrap();
    let root = foreign.to_str().unwrap();
    release.run(&installer, &["install", "--root", root, "master"]).fails(1).says("is not empty");
    assert!(foreign.join("opt/mesosphere/mine").exists());
}

/// The set was active when the services failed to start, and what is done again has other packages.
#[test]
fn an_installation_that_failed_late_is_repeated_with_another_configuration() {
    let Some(release) = Release::build() else { return };
    let installer = release.write("1.0", &Variant::DEFAULT);
    let machine = machine(&release, "machine");
    let root = machine.to_str().unwrap();
    let mut greetings = Vec::new();
    for greeting in ["first", "second"] {
        let config = format!("{CONFIG}bootstrap_url: http://192.0.2.1:1\ngreeting: {greeting}\n");
        release.configure(&config);
        release.run(&installer, &["--genconf"]).ok();
        release.run(&installer, &["install", "--root", root, "master"]).ok();
        let files = files_below(&machine.join("opt/mesosphere/etc"));
        greetings.push(files.iter().any(|file| text(file).contains(greeting)));
        assert!(!machine.join("etc/mesosphere/setup-flags/active.json").exists());
        std::fs::write(machine.join("opt/mesosphere-pkgpanda/unfinished"), "").unwrap();
    }
    assert_eq!(greetings, [true, true]);
}

#[test]
fn upgrade_scripts_go_on_working_after_later_configurations() {
    let Some(mut release) = Release::build() else { return };
    let server = Server::files(&release.deploy("genconf/serve"));
    let url = server.url("").trim_end_matches('/').to_owned();
    let config = format!("{CONFIG}bootstrap_url: {url}\n");
    let installer = release.write("1.0", &Variant::DEFAULT);
    release.configure(&config);
    release.run(&installer, &["--genconf"]).ok();
    let machine = machine(&release, "machine");
    let root = machine.to_str().unwrap().to_owned();
    let install = release.deploy("genconf/serve/dcos_install.sh");
    release.run(&install, &["--root", &root, "master"]).ok();

    let installer = release.write("2.0", &Variant::DEFAULT);
    release.configure(&format!("{config}greeting: second\n"));
    let made = release.run(&installer, &["--generate-node-upgrade-script", "1.0"]).ok().stdout;
    let script =
        release.deploy("genconf/serve").join(made.trim().strip_prefix(&format!("{url}/")).unwrap());
    let second = text(&release.deploy("genconf/serve/cluster-package-list.latest"));

    // Another program, other packages, no script: twice, so that what is kept is kept again.
    release.change_program();
    let installer = release.write("3.0", &Variant::DEFAULT);
    for greeting in ["third", "fourth"] {
        release.configure(&format!("{config}greeting: {greeting}\n"));
        release.run(&installer, &["--genconf"]).ok();
    }
    assert_ne!(text(&release.deploy("genconf/serve/cluster-package-list.latest")), second);
    let flag = machine.join("etc/mesosphere/setup-flags/repository-url");
    release
        .run(&script, &["--root", &root, "--from", "file:///nothing"])
        .fails(1)
        .says("cannot fetch");
    assert_eq!(text(&flag).trim(), url, "after a failure");
    let from = format!("file://{}", release.deploy("genconf/serve").display());
    for more in [&[][..], &["--from", &from]] {
        release.run(&script, &[&["--root", &root], more].concat()).ok();
        assert_eq!(text(&flag).trim(), url);
        let etc = machine.join("opt/mesosphere/etc");
        assert!(text(&etc.join("dcos-version.json")).contains("\"2.0\""));
        assert!(text(&etc.join("cluster-role.env")).contains("\"second\""));
    }

    // A script that has lost something is told; one that is removed takes its files along.
    let list = served(&release, &format!("package_lists/{second}"));
    std::fs::remove_file(&list[0]).unwrap();
    let said = release.run(&installer, &["--genconf"]).ok();
    said.says("does not work any more").says(&format!("package_lists/{second}"));
    assert_eq!(served(&release, "programs/").len(), 2);
    std::fs::remove_dir_all(script.parent().unwrap()).unwrap();
    release.run(&installer, &["--genconf"]).ok();
    assert_eq!(served(&release, "programs/").len(), 1);
    assert_eq!(served(&release, "packages/dcos-config/").len(), 1);
}
