//! Files of trees and homes that have no end, or a hole of a terabyte: each run ends and names the file, or can be
//! interrupted.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interrupt::eventually;
use crate::support::{Place, ran};

/// What a loaded machine may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes a file with a hole, which takes no space.
fn hole(path: &Path, bytes: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

fn fifo(path: &Path) {
    drop(std::fs::remove_file(path));
    // For root, files that the container's root cannot read are copied, and FIFOs are left out of copies.
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
}

#[test]
fn a_file_of_a_terabyte_ends_a_run_before_it_is_read_or_copied() {
    for (file, says) in [
        ("p/build", "p/build has 1099511627776 bytes"),
        ("p/extra/sub/big", "p/extra/sub/big has 1099511627776 bytes"),
        // Not a part of the id, but of the copy that the build sees.
        ("p/big", "the largest one is big"),
        ("p/docker/big", "p/docker/big has 1099511627776 bytes"),
    ] {
        let place = Place::new();
        let image = match file {
            "p/docker/big" => {
                place.write("p/docker/Dockerfile", "FROM scratch\n");
                "{\"docker\": \"dcos/dcos-builder:p_dockerdir-latest\"}"
            }
            _ => "{}",
        };
        place.package("p", image, "true");
        hole(&place.packages.join(file), 1 << 40);
        let ran = place.run("p", &[]).fails(1).says(says);
        ran.says("limits.unpacked");
        place.run("", &["list"]).ok();
        place.assert_clean();
    }
    let place = Place::new();
    place.write("context/Dockerfile", "FROM scratch\nCOPY . /\n");
    hole(&place.packages.join("context/big"), 1 << 40);
    place.run("", &["image", "build", "context"]).fails(1).says("with \"big\", the files to copy");
}

#[test]
fn a_fifo_in_place_of_a_file_is_named_and_not_waited_for() {
    for (file, says) in [
        ("p/build", "the build script build is not a regular file"),
        ("p/extra/fifo", "p/extra/fifo is neither a file nor a folder nor a link"),
        ("p/fifo", "fifo is neither a file nor a folder"),
    ] {
        let place = Place::new();
        place.package("p", "{}", "true");
        std::fs::create_dir(place.packages.join("p/extra")).unwrap();
        fifo(&place.packages.join(file));
        place.run("p", &[]).fails(1).says(says);
    }
    let place = Place::new();
    place.package("p", "{}", "echo said");
    place.run("p", &[]).ok();
    let builds = place.home.join("builds/p");
    let build = std::fs::read_dir(builds).unwrap().next().unwrap().unwrap().path();
    fifo(&build.join("record.json"));
    assert_eq!(place.run("", &["log", "p"]).ok().stdout, "said\n");
    fifo(&build.join("log"));
    place.run("", &["log", "p"]).fails(1).says("log is not a regular file");
    place.run("", &["log", "--list"]).ok();
    // The next build of it does not wait either, and writes nowhere else.
    let private = place.path().join("private");
    std::fs::write(&private, "mine").unwrap();
    for is_link in [false, true] {
        if is_link {
            std::fs::remove_file(build.join("log")).unwrap();
            std::os::unix::fs::symlink(&private, build.join("log")).unwrap();
        }
        std::fs::remove_dir_all(place.packages.join("cache")).unwrap();
        place.run("p", &[]).ok();
        assert_eq!(place.run("", &["log", "p"]).ok().stdout, "said\n");
    }
    assert_eq!(std::fs::read_to_string(private).unwrap(), "mine");
}

#[test]
fn a_run_is_interrupted_in_the_middle_of_a_large_file() {
    let place = Place::new();
    place.package("p", "{}", "true");
    let large = place.packages.join("p/extra/large");
    hole(&large, 60 << 30);
    let mut command = place.command("p", &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_open = || {
        let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", child.id())) else { return false };
        open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|at| at == large))
    };
    eventually("the file is read", LIMIT, is_open);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let ran = ran(&child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("interrupted"), "{}", ran.stderr);
    place.assert_clean();
}
