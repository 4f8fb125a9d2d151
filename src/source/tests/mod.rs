//! Sources from declaration to check-out, with a faulty HTTP server and the real git.

mod check_out;
mod file;
mod git;
mod git_local;
mod git_login;
mod git_odd;
mod git_rules;
mod git_waits;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::base::event::{Event, Interruptible, Silent};
use crate::base::events::Events;
use crate::base::http::{HttpClient, HttpOptions};
use crate::package::json::JsonNode;
use crate::store::Store;

/// What git takes for the world's folder.
const SERVED: &str = "https://served.invalid/";

/// A packages folder with one package, `p`, in a folder of its own.
struct World {
    folder: TempDir,
    options: FetchOptions,
    seen: Events,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir_all(folder.path().join("packages/p")).unwrap();
        let mut options = FetchOptions::new(folder.path().join("locks"), folder.path().join("git"));
        options.http = HttpClient::new(HttpOptions {
            attempts: 2,
            first_wait: Duration::from_millis(1),
            ..HttpOptions::default()
        });
        options.git.environment =
            [("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null")]
                .map(|(name, value)| (name.into(), value.into()))
                .into();
        let world = Self { folder, options, seen: Events::default() };
        let served = format!("[url \"{}/\"]\ninsteadOf = {SERVED}\n", world.path("").display());
        world.write("served", served.as_bytes());
        let mut world = world;
        world.options.git.environment[1].1 = world.path("served").into();
        world
    }

    fn mirror(&self, url: &str) -> Store {
        Store::mirror(url, &self.options.http).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        fs_err::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs_err::write(self.path(path), content).unwrap();
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs_err::read(self.path(path)).unwrap()
    }

    fn request(&self, source: &Value) -> SourceRequest {
        SourceRequest {
            package: "p".parse().unwrap(),
            package_dir: self.path("packages/p"),
            cache_dir: self.path("packages/cache/packages/p/s"),
            name: "s".parse().unwrap(),
            source: PackageSource::from_json(&JsonNode::parse(&source.to_string()).unwrap())
                .unwrap(),
            local: LocalScope::anywhere(),
            original_mirror: None,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "each call makes its source in place")]
    fn fetch(&self, source: Value) -> Result<FetchedSource, SourceProblem> {
        let request = self.request(&source);
        let id = identify(&request, &self.options, &self.seen).map_err(|error| *error.problem)?;
        fetch(&request, &id, &self.options, &self.seen).map_err(|error| *error.problem)
    }

    /// What lies in the source's folder of the cache; nothing if there is no folder.
    fn cached(&self) -> Vec<String> {
        list(&self.path("packages/cache/packages/p/s"))
    }

    /// Our only git mirror.
    fn git_mirror(&self) -> PathBuf {
        let [name] = &list(&self.path("git"))[..] else { panic!("there is not one mirror") };
        self.path("git").join(name).join("mirror.git")
    }

    fn warnings(&self) -> Vec<String> {
        self.seen.warnings()
    }

    /// A repository with two commits on `main`, a tag on the first, and a branch.
    fn repository(&self, path: &str) -> (String, String) {
        let repository = self.path(path);
        fs_err::create_dir_all(&repository).unwrap();
        git(&repository, &["init", "-q", "-b", "main"]);
        let first = self.commit(path, "file", b"one\n");
        git(&repository, &["tag", "-a", "-m", "t", "v1"]);
        git(&repository, &["branch", "side"]);
        let second = self.commit(path, "dir/more", b"two\n");
        (first, second)
    }

    fn commit(&self, repository: &str, file: &str, content: &[u8]) -> String {
        self.write(&format!("{repository}/{file}"), content);
        let repository = self.path(repository);
        git(&repository, &["add", "-A"]);
        git(&repository, &["commit", "-q", "-m", file]);
        git(&repository, &["rev-parse", "HEAD"])
    }
}

fn list(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<fs_err::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
    names.sort();
    names
}

/// The time of all commits.
const TIME: i64 = 1_500_000_000;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    for role in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{role}_NAME"), "g")
            .env(format!("GIT_{role}_EMAIL"), "g@example.org")
            .env(format!("GIT_{role}_DATE"), format!("{TIME} +0000"));
    }
    let output = command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("these tests need git: apt-get install git");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
