//! A release from its trees to machines: user data and the installer are taken from the storage, and run.

use std::path::Path;
use std::process::Command;

use mkpanda::package::yaml::YamlNode;

use crate::deploy::program;
use crate::release::Releases;
use crate::server::Server;
use crate::signing::Key;
use crate::support::{Ran, copy_folder, data, files_below, output_of_written, ran};

/// Runs a program with the tools of a plain machine.
fn run(program: &Path, folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    ran(&output_of_written(&mut command))
}

/// Writes the files of user data below a root, as cloud-init does.
fn write_files(user_data: &str, root: &Path) {
    let yaml = YamlNode::parse(user_data).unwrap().to_json();
    for file in yaml["write_files"].as_array().unwrap() {
        let path = root.join(file["path"].as_str().unwrap().trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, file["content"].as_str().unwrap()).unwrap();
    }
}

fn set_up(user_data: &str, root: &Path) -> Ran {
    write_files(user_data, root);
    let script = root.join("opt/mesosphere-pkgpanda/install");
    let arguments = [script.to_str().unwrap(), "--root", root.to_str().unwrap()];
    run(Path::new("/bin/sh"), root, &arguments)
}

fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_signed_release_sets_machines_up_by_user_data_and_by_its_installer() {
    let Some(program) = program() else { return };
    let releases = Releases::new();
    let place = releases.place.path().to_owned();
    std::fs::copy(program, place.join("pkgpanda")).unwrap();
    let provider = place.join("tree/cloud-init");
    std::fs::remove_dir_all(&provider).unwrap();
    copy_folder(&data().join("../../examples/providers/cloud-init"), &provider);
    let server = Server::files(&releases.folder("main"));
    releases.configure(
        &format!(
            "  main: {{kind: local_path, path: {}/main}}\n  cloud-init: {{kind: http_read, url: '{}'}}\n",
            place.display(),
            server.url("")
        ),
        "",
    );
    let key = Key::new(&place, "release");
    let sign = key.secret.to_str().unwrap();
    releases.run(&["create", "master", "1.0", "default", "installer", "--sign", sign]).ok();
    let channel = releases.folder("main").join("testing/master");

    let user_data = text(channel.join("cloud-init/worker.yaml"));
    let user_data = user_data.strip_prefix("## template: jinja\n").unwrap();
    let user_data = user_data.replace("{{ v1.local_hostname }}", "h1");
    let machine = place.join("machine");
    std::fs::create_dir(&machine).unwrap();

    // A package without its signature stops the set-up; the next try goes on.
    let unsigned = files_below(&releases.folder("main").join("testing/packages/app"))
        .into_iter()
        .find(|path| path.to_str().unwrap().ends_with(".minisig"))
        .unwrap();
    let signature = std::fs::read(&unsigned).unwrap();
    std::fs::remove_file(&unsigned).unwrap();
    set_up(&user_data, &machine).fails(1).says("signature");
    assert!(!machine.join("opt/mesosphere/bin/app").exists());
    std::fs::write(&unsigned, signature).unwrap();
    for _ in 0..2 {
        set_up(&user_data, &machine).ok();
        assert_eq!(text(machine.join("opt/mesosphere/bin/app")), "app\n");
        let host = text(machine.join("opt/mesosphere/etc/host.json"));
        assert_eq!(host.trim(), "{\"host\": \"h1\", \"role\": \"worker\"}");
    }
    assert!(server.targets().iter().any(|target| target.ends_with(".dcos_config.minisig")));

    // What is not what the user data says is not used.
    let damaged = place.join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    let served = files_below(&releases.folder("main").join("testing/pkgpanda"));
    let executable = served.iter().find(|path| path.ends_with("pkgpanda")).unwrap();
    let whole = std::fs::read(executable).unwrap();
    std::fs::write(executable, &whole[1..]).unwrap();
    set_up(&user_data, &damaged).fails(1).says("is damaged");
    assert!(!damaged.join("opt/mesosphere-pkgpanda/pkgpanda").exists());
    std::fs::write(executable, whole).unwrap();

    let installer = releases.place.packages.join("cache/dcos_generate_config.sh");
    let bytes = std::fs::read(&installer).unwrap();
    assert!(bytes == std::fs::read(channel.join("dcos_generate_config.sh")).unwrap());
    let deploy = place.join("deploy");
    std::fs::create_dir_all(deploy.join("genconf")).unwrap();
    let version = run(&installer, &deploy, &["--version"]).ok();
    assert_eq!(version.stdout, "{\n  \"variant\": \"\",\n  \"version\": \"1.0\"\n}\n");
    let config = "bootstrap_url: http://192.0.2.1\ncluster_name: c\n";
    std::fs::write(deploy.join("genconf/config.yaml"), config).unwrap();
    std::fs::write(deploy.join("genconf/ip-detect"), "#!/bin/sh\necho 10.0.0.2\n").unwrap();
    run(&installer, &deploy, &["--genconf"]).ok();
    let host = place.join("host");
    std::fs::create_dir(&host).unwrap();
    run(&installer, &deploy, &["install", "--root", host.to_str().unwrap(), "slave"]).ok();
    assert_eq!(text(host.join("opt/mesosphere/bin/app")), "app\n");
    let version = text(host.join("opt/mesosphere/etc/dcos-version.json"));
    assert!(version.contains("\"version\": \"1.0\""), "{version}");
    let detect = run(&host.join("opt/mesosphere/bin/detect_ip"), &host, &[]).ok();
    assert_eq!(detect.stdout, "10.0.0.2\n");
}
