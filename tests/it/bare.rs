//! Roots that have less than a machine does: what a static executable is put into.

use std::process::{Command, Stdio};

use nix::unistd::Uid;

use crate::inside::left_out;
use crate::support::{Place, binary, ran};
use crate::tiny::tiny_image;

#[test]
fn neither_a_sysfs_nor_a_search_path_nor_an_account_is_needed() {
    if Uid::current().is_root() || std::path::Path::new("/run/.containerenv").exists() {
        // As root bubblewrap makes no user namespace, and inside one there is one id only.
        return left_out("a root made by bubblewrap", "it-user-single");
    }
    for sysfs in [&[][..], &["--ro-bind", "/sys", "/sys"][..]] {
        let place = Place::bare();
        place.package(
            "app",
            "{}",
            "ls -d /sys/kernel > $PKG_PATH/sys || :; echo built > $PKG_PATH/x",
        );
        let builder = "dcos/dcos-builder:dcos-builder_dockerdir-latest";
        let image = format!("docker-archive:{}", tiny_image().display());
        place.configure_first(&format!("[images]\n\"{builder}\" = \"{image}\"\n"));
        let mut command = Command::new("/usr/bin/bwrap");
        command.args(["--unshare-user-try", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
        for libraries in ["/usr", "/lib", "/lib64"] {
            command.args(["--ro-bind-try", libraries, libraries]);
        }
        let (home, image) = (place.path().to_str().unwrap(), tiny_image().parent().unwrap());
        command.args(sysfs).args(["--bind", home, home, "--clearenv"]);
        command.arg("--ro-bind").args([image, image]);
        command.args(["--setenv", "MKPANDA_HOME"]).arg(&place.home);
        command.arg("--ro-bind").args([binary(), "/mkpanda".into()]);
        command.args(["/mkpanda", "-C"]).arg(place.packages.join("app")).stdin(Stdio::null());
        let said =
            ran(&command.output().expect("bubblewrap is missing; run: scripts/test prepare"));
        let said = said.ok();
        assert_eq!(place.file_of("app", "x"), "built\n");
        let shown = place.file_of("app", "sys");
        if sysfs.is_empty() {
            assert!(
                said.stderr.contains("builds have no /sys") && shown.is_empty(),
                "{}",
                said.stderr
            );
        } else {
            assert_eq!(shown, "/sys/kernel\n", "{}", said.stderr);
        }
    }
}
