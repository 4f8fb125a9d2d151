//! The on-premises installer, from its file to a running service: a machine with a real systemd and no
//! network but its loopback.

use std::path::Path;
use std::time::{Duration, Instant};

use mkpanda::package::Variant;
use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::deploy::Release;
use crate::inside::{left_out, left_out_here};
use crate::systemd::{Machine, make_root};

const URL: &str = "http://127.0.0.1:8080";

/// Waits until a command on the machine succeeds.
#[track_caller]
fn wait(machine: &Machine, command: &[&str]) {
    let until = Instant::now() + Duration::from_secs(30);
    while machine.run(command).code != 0 {
        assert!(Instant::now() < until, "{command:?}: {:?}", machine.run(command));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_bare_machine_is_installed_over_its_loopback_and_upgraded() {
    if !Uid::current().is_root() || Path::new("/run/.containerenv").exists() {
        let what = "an installed machine with systemd (it wants root, and no container around)";
        return left_out(what, "it-root");
    }
    let Some(release) = Release::build() else { return };
    let configure = |version: &str, more: &str| {
        let installer = release.write(version, &Variant::DEFAULT);
        release.configure(&format!("cluster_name: real\nbootstrap_url: {URL}\n{more}"));
        installer
    };
    let installer = configure("1.0", "");
    release.run(&installer, &["--genconf"]).ok();
    let root = release.place.path().join("machine");
    make_root(&root);
    let deploy = release.deploy("");
    let machine = match Machine::start(&root, &[(&deploy, "/deploy")]) {
        Ok(machine) => machine,
        Err(why) => {
            return left_out_here("an installed machine with systemd", &why);
        }
    };
    let serve =
        "cd /deploy/genconf && exec python3 -m http.server 8080 --bind 127.0.0.1 --directory serve";
    machine.run(&["systemd-run", "--unit=serve", "sh", "-c", serve]).ok();
    wait(&machine, &["curl", "-fsS", "-o", "/root/install", &format!("{URL}/dcos_install.sh")]);
    machine.run(&["sh", "/root/install", "--preflight-only"]).ok();
    machine.run(&["sh", "/root/install", "master"]).ok();

    wait(&machine, &["systemctl", "is-active", "agent.service"]);
    wait(&machine, &["grep", "-x", "master says Hello", "/run/agent-said"]);
    let host = machine.run(&["cat", "/opt/mesosphere/etc/host.json"]).ok().stdout;
    let name = machine.run(&["cat", "/proc/sys/kernel/hostname"]).ok().stdout;
    let host: Value = serde_json::from_str(&host).unwrap();
    assert_eq!(host, json!({"host": name.trim(), "cluster": "real"}));
    for unit in ["dcos.target", "dcos-setup.service"] {
        assert_eq!(
            machine.run(&["systemctl", "is-enabled", unit]).ok().stdout,
            "enabled\n",
            "{unit}"
        );
    }
    // What it does at the next start changes nothing.
    machine.run(&["systemctl", "start", "dcos-setup.service"]).ok();
    machine.run(&["sh", "/root/install", "master"]).fails(1).says("is installed");

    let installer = configure("2.0", "greeting: \"it's a \\\"day\\\", \\\\ $HOME `x`\"\n");
    let url = release.run(&installer, &["--generate-node-upgrade-script", "1.0"]).ok().stdout;
    machine.run(&["curl", "-fsS", "-o", "/root/upgrade", url.trim()]).ok();
    machine.run(&["sh", "/root/upgrade"]).ok();
    let said = "master says it's a \"day\", \\ $HOME `x`";
    wait(&machine, &["grep", "-Fx", said, "/run/agent-said"]);
    machine.run(&["systemctl", "is-active", "agent.service"]).ok();
    let version = machine.run(&["cat", "/opt/mesosphere/etc/dcos-version.json"]).ok().stdout;
    assert!(version.contains("\"2.0\""), "{version}");
}
