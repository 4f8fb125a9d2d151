//! The example's bootstrap on a machine of its own: a container whose first process is a real systemd.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use crate::inside::{left_out, left_out_here};
use crate::pkgpanda::binary as pkgpanda;
use crate::support::{Place, Ran, copy_folder, data, ran};

/// podman asks for limits that a machine's root may not be allowed to raise.
const CONTAINERS_CONF: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n[engine]\ncgroup_manager = \"cgroupfs\"\n";

/// A container with the machine's own `/usr`, and a root folder of its own.
pub struct Machine {
    folder: tempfile::TempDir,
    name: String,
}

impl Machine {
    /// Starts one, or says why none can be.
    pub fn start(root: &Path, shared: &[(&Path, &str)]) -> Result<Self, String> {
        // podman takes no longer path than 50 characters.
        let folder = tempfile::Builder::new().prefix("mkpanda-sd-").tempdir_in("/tmp").unwrap();
        std::fs::write(folder.path().join("containers.conf"), CONTAINERS_CONF).unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        let machine = Self { folder, name };
        let volumes: Vec<String> = shared
            .iter()
            .map(|(from, to)| format!("--volume={}:{to}:ro", from.display()))
            .collect();
        let mut tried = String::new();
        for runtime in ["crun", "runc"] {
            let mut command = machine.podman(&["--runtime", runtime, "run", "--detach", "--name"]);
            command.args([&machine.name, "--systemd=always", "--network=none"]);
            // strace, by which it is crashed.
            command.args(["--cap-add=SYS_PTRACE", "--volume=/usr:/usr:ro"]).args(&volumes);
            command.arg("--rootfs").arg(root).arg("/lib/systemd/systemd");
            let output = command.output().expect("podman is missing; run: scripts/test prepare");
            if output.status.success() && machine.is_up() {
                return Ok(machine);
            }
            tried = format!("{tried}{runtime}: {}", String::from_utf8_lossy(&output.stderr));
            drop(machine.podman(&["rm", "--force", "--time=0", &machine.name]).output());
        }
        Err(tried)
    }

    fn podman(&self, arguments: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new("podman");
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", folder).env("CONTAINERS_CONF", folder.join("containers.conf"));
        command.arg("--root").arg(folder.join("storage")).arg("--runroot").arg(folder.join("run"));
        command.args(["--storage-driver=vfs"]).args(arguments).stdin(Stdio::null());
        command
    }

    fn output(&self, command: &[&str]) -> Output {
        self.podman(&["exec", &self.name]).args(command).output().unwrap()
    }

    /// Runs a command on the machine.
    pub fn run(&self, command: &[&str]) -> Ran {
        ran(&self.output(command))
    }

    fn is_up(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let said = self.run(&["systemctl", "is-system-running"]).stdout;
            if ["running", "degraded"].contains(&said.trim()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// Which program runs as a service, waiting until there is one.
    #[track_caller]
    fn program_of(&self, unit: &str) -> String {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let shown =
                self.run(&["systemctl", "show", "--property=MainPID", "--value", unit]).ok();
            let program = self.run(&["readlink", &format!("/proc/{}/exe", shown.stdout.trim())]);
            // Between fork and exec it is systemd itself.
            if program.code == 0 && program.stdout.starts_with("/opt/") {
                return program.stdout.trim().to_owned();
            }
            let status = || self.run(&["systemctl", "status", "--no-pager", unit]).stdout;
            assert!(Instant::now() < until, "{unit} doesn't run: {}", status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.podman(&["rm", "--force", "--time=0", &self.name]).output());
    }
}

/// A root that borrows this machine's programs.
pub fn make_root(root: &Path) {
    for folder in [
        "dev",
        "etc/systemd/system",
        "opt/mesosphere",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "usr",
        "var/lib",
        "var/tmp",
    ] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in ["bin", "lib", "lib32", "lib64", "sbin"] {
        if let Ok(target) = std::fs::read_link(Path::new("/").join(name)) {
            symlink(target, root.join(name)).unwrap();
        }
    }
    for name in ["ld.so.cache", "nsswitch.conf", "os-release", "login.defs"] {
        drop(std::fs::copy(Path::new("/etc").join(name), root.join("etc").join(name)));
    }
    let files = [
        ("passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"),
        ("group", "root:x:0:\nnogroup:x:65534:\n"),
        ("machine-id", ""),
    ];
    for (name, text) in files {
        std::fs::write(root.join("etc").join(name), text).unwrap();
    }
}

/// Builds the example with a bootstrap; gives that, and the ids by their packages' names, sorted.
fn build(place: &Place, packages: &Path) -> (PathBuf, Vec<String>) {
    let built = place.run("", &["-C", packages.to_str().unwrap(), "tree", "--mkbootstrap"]).ok();
    let bootstrap = PathBuf::from(built.stdout.trim());
    let mut ids = Vec::new();
    for name in ["hello", "hello-service", "libgreet"] {
        let latest = packages.join("cache/packages").join(name).join("latest");
        ids.push(std::fs::read_to_string(latest).unwrap().trim().to_owned());
    }
    (bootstrap, ids)
}

/// Kills an activation in the middle of the swap itself.
fn crash_in_swap(machine: &Machine, ids: &[String], progress: &Path) {
    for count in (10..30).step_by(4) {
        let renames = format!("inject=rename,renameat,renameat2:signal=KILL:when={count}");
        let mut crash = vec!["strace", "-f", "-qq", "-e", &renames, "/pkgpanda", "activate"];
        crash.extend(ids.iter().map(String::as_str));
        assert_ne!(machine.run(&crash).code, 0, "there is no renaming {count}");
        if progress.exists() {
            return;
        }
    }
    panic!("no swap was under way");
}

#[test]
fn the_example_is_set_up_upgraded_crashed_rolled_back_and_removed() {
    if !Uid::current().is_root() || Path::new("/run/.containerenv").exists() {
        return left_out(
            "a machine with systemd (it wants root, and no container around)",
            "it-root",
        );
    }
    let place = Place::bare();
    let example = place.path().join("example");
    copy_folder(&data().join("../../examples/hello"), &example);
    let packages = example.join("packages");
    drop(std::fs::remove_dir_all(packages.join("cache")));
    let (bootstrap, old) = build(&place, &packages);
    let root = place.path().join("machine");
    make_root(&root);
    let unpacked = Command::new("tar")
        .arg("-xJf")
        .arg(bootstrap)
        .arg("-C")
        .arg(root.join("opt/mesosphere"))
        .status()
        .unwrap();
    assert!(unpacked.success());
    let cache = packages.join("cache");
    let shared: [(&Path, &str); 2] = [(&cache, "/repository"), (&pkgpanda(), "/pkgpanda")];
    let machine = match Machine::start(&root, &shared) {
        Ok(machine) => machine,
        Err(why) => {
            return left_out_here("a machine with systemd", &why);
        }
    };
    let pkgpanda = |arguments: &[&str]| machine.run(&[&["/pkgpanda"], arguments].concat());
    let active = || -> Vec<String> {
        pkgpanda(&["active"]).ok().stdout.lines().map(str::to_owned).collect()
    };
    let service = |ids: &[String]| {
        let program = format!("/opt/mesosphere/packages/{}/bin/hello", ids[0]);
        assert_eq!(machine.program_of("hello.service"), program);
        assert_eq!(active(), ids);
    };

    pkgpanda(&["setup"]).ok();
    service(&old);
    assert!(!root.join("opt/mesosphere/bootstrap").exists());
    assert_eq!(machine.run(&["systemctl", "is-enabled", "dcos.target"]).ok().stdout, "enabled\n");
    let owner = machine.run(&["stat", "--format=%U", "/var/lib/dcos/hello-service"]).ok().stdout;
    assert_eq!(owner, "dcos_hello\n");
    // Once more there is nothing to do, and the service goes on.
    let number = machine.run(&["systemctl", "show", "--property=MainPID", "hello.service"]).stdout;
    pkgpanda(&["setup"]).ok();
    assert_eq!(
        machine.run(&["systemctl", "show", "--property=MainPID", "hello.service"]).stdout,
        number
    );

    let source = packages.join("libgreet/extra/greet.c");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("Hello", "Good day")).unwrap();
    // The check of the greeting in the build script.
    let script = packages.join("hello/build");
    let text = std::fs::read_to_string(&script).unwrap();
    std::fs::write(&script, text.replace("Hello, hello", "Good day, hello")).unwrap();
    let (_, new) = build(&place, &packages);
    assert!(old.iter().zip(&new).all(|(old, new)| old != new));
    let mut fetch = vec!["fetch", "--repository-url=file:///repository"];
    fetch.extend(new.iter().map(String::as_str));
    pkgpanda(&fetch).ok();
    for id in &new {
        pkgpanda(&["swap", id]).ok();
    }
    service(&new);
    let said = machine.run(&["/opt/mesosphere/bin/hello", "you"]).ok().stdout;
    assert!(said.contains("Good day"), "{said}");

    // Back to the old set, and killed in the middle of it: preparing it renames, too.
    let progress = root.join("opt/mesosphere/install_progress");
    crash_in_swap(&machine, &old, &progress);
    pkgpanda(&["setup"]).ok();
    service(&old);
    assert!(!progress.exists());

    pkgpanda(&["rollback"]).ok();
    service(&new);
    pkgpanda(&["check"]).ok();
    pkgpanda(&["verify"]).ok();

    pkgpanda(&["uninstall"]).ok();
    let state = machine.run(&["systemctl", "is-active", "hello.service"]).stdout;
    assert!(["inactive\n", "unknown\n"].contains(&state.as_str()), "{state}");
    for gone in [
        "opt/mesosphere/active",
        "etc/systemd/system/hello.service",
        "etc/systemd/system/dcos.target",
        "etc/systemd/system/dcos.target.wants",
    ] {
        assert!(root.join(gone).symlink_metadata().is_err(), "{gone} is left");
    }
    let wants = root.join("etc/systemd/system/multi-user.target.wants/dcos.target");
    assert!(wants.symlink_metadata().is_err(), "the target is still started with the machine");
}
