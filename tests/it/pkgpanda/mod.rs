//! `pkgpanda` on a machine that is a temporary folder. Nothing outside of it is touched: services are
//! left alone or asked for by a `systemctl` that only writes down what it is asked.

mod activate;
mod check;
mod disks;
mod fetch;
mod hostile;
mod ids;
mod interrupt;
mod odd_machines;
mod recovery;
mod setup;
mod signed;
mod systemd;
mod trust;
mod users;
mod verify;

pub use hostile::locked_by_another;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Ran, ran};

/// The executable under test.
pub fn binary() -> PathBuf {
    std::env::var_os("PKGPANDA_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_pkgpanda").into(), PathBuf::from)
}

/// A machine of a test's own.
pub struct Machine {
    folder: tempfile::TempDir,
    /// Options beside those that say where things are.
    pub options: Vec<String>,
}

impl Machine {
    /// A machine with an empty install root, and services that are left alone.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pkgpanda-it-").tempdir().unwrap();
        for name in ["root", "repo", "bin"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, options: vec!["--no-systemd".to_owned()] }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Writes a file, those in `bin` and `check` folders to be run.
    pub fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        let above = path.parent().unwrap();
        if above.ends_with("bin") || above.ends_with("check") {
            crate::support::write_program(&path, text);
        } else {
            std::fs::create_dir_all(above).unwrap();
            std::fs::write(&path, text).unwrap();
        }
    }

    pub fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
    }

    /// Puts a package into the repository; each file says its own name.
    pub fn package(&self, id: &str, info: &str, files: &[&str]) {
        self.package_in("repo", id, info, files);
    }

    /// The same in another folder.
    pub fn package_in(&self, folder: &str, id: &str, info: &str, files: &[&str]) {
        self.write(&format!("{folder}/{id}/pkginfo.json"), info);
        for file in files {
            self.write(&format!("{folder}/{id}/{file}"), &format!("{id} {file}\n"));
        }
    }

    /// Puts a package into `remote`, as a repository has it; gives its archive.
    pub fn offer(&self, id: &str, info: &str, files: &[&str]) -> PathBuf {
        self.package_in("source", id, info, files);
        let (name, _) = id.split_once("--").unwrap();
        let archive = self.path(&format!("remote/packages/{name}/{id}.tar.xz"));
        std::fs::create_dir_all(archive.parent().unwrap()).unwrap();
        let made = Command::new("tar")
            .args(["--create", "--xz", "--owner=0", "--group=0", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(self.path(&format!("source/{id}")))
            .arg(".")
            .status()
            .unwrap();
        assert!(made.success());
        archive
    }

    /// The URL of `remote`.
    pub fn url(&self) -> String {
        format!("file://{}", self.path("remote").display())
    }

    /// The command, ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .args([
                "--root=root",
                "--repository=repo",
                "--config-dir=conf",
                "--state-dir-root=state",
            ])
            .arg("--rooted-systemd")
            .args(&self.options)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.path("bin").display()))
            .env("TMPDIR", self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(&self.command(arguments).output().unwrap())
    }

    /// What a command that ends well gives.
    #[track_caller]
    pub fn says(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok().stdout
    }

    /// All that is in the root: paths, where links lead, what files say.
    pub fn root(&self) -> Vec<String> {
        listing(&self.path("root"))
    }

    /// That of it that is active.
    pub fn live(&self) -> Vec<String> {
        let top = |line: &str| line.split(['/', ' ']).next().unwrap().to_owned();
        let is_old = |line: &str| Path::new(&top(line)).extension().is_some_and(|end| end == "old");
        self.root().into_iter().filter(|line| !is_old(line)).collect()
    }

    /// Two sets that have nothing to do with one another but a package's name.
    pub fn with_two_sets() -> Self {
        let machine = Self::new();
        machine.package(
            "a--1",
            r#"{"environment": {"A": "1"}}"#,
            &["bin/a", "etc/a/one", "dcos.target.wants/a.service"],
        );
        machine.package("a--2", "{}", &["bin/a", "bin/a2", "dcos.target.wants/a.service"]);
        machine.package("b--1", r#"{"requires": ["a"]}"#, &["lib/b", "etc/a/two"]);
        machine.package("s--1", "{}", &["dcos.target.wants/s.service"]);
        machine
    }
}

/// All that is in a folder, sorted.
pub fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(above) = open.pop() {
        for entry in std::fs::read_dir(above).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_symlink() {
                let target = std::fs::read_link(&path).unwrap();
                found.push(format!("{name} -> {}", target.display()));
            } else if kind.is_dir() {
                found.push(format!("{name}/"));
                open.push(path);
            } else {
                found.push(format!("{name} {}", std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Makes a link.
pub fn link(target: &str, path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}
