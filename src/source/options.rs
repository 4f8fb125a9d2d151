//! Options for fetching sources: plain values, filled in by the caller.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{AddedPins, FilePins};
use crate::base::http::HttpClient;
use crate::store::Store;

/// Options for fetching sources.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Mirrors, asked before a source's own URL, in this order.
    pub mirrors: Vec<Store>,
    /// True if sources' own URLs are not asked, nor mirrors with URLs.
    pub offline: bool,
    /// True if even mirrors with URLs are used offline.
    pub only_mirrors: bool,
    /// Downloads, with their retries, time limits and size limit.
    pub http: HttpClient,
    /// The host's git.
    pub git: GitOptions,
    /// Files of which a lock says more than their packages do.
    pub pins: Arc<FilePins>,
    /// Contents in a lock of what Dockerfiles add from elsewhere.
    pub added: Arc<AddedPins>,
    /// The folder for lock files, the same for all processes of a user.
    pub locks: PathBuf,
    /// The folder of our git mirrors, which all trees share.
    pub git_mirrors: PathBuf,
}

impl FetchOptions {
    /// True if a mirror may be asked.
    pub fn may_ask(&self, mirror: &Store) -> bool {
        !self.offline || self.only_mirrors || !mirror.is_remote()
    }

    /// No mirrors, the network as it comes; lock files below `locks`, git mirrors below `git_mirrors`.
    pub fn new(locks: PathBuf, git_mirrors: PathBuf) -> Self {
        Self {
            mirrors: Vec::new(),
            offline: false,
            only_mirrors: false,
            http: HttpClient::default(),
            git: GitOptions::default(),
            pins: Arc::default(),
            added: Arc::default(),
            locks,
            git_mirrors,
        }
    }
}

/// Options for running the host's git.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// The program, looked up in the path if it is a plain name.
    pub program: PathBuf,
    /// Executable of this crate, if git is to run under a [`crate::base::supervisor`], so that git
    /// ends with this process.
    pub supervisor: Option<PathBuf>,
    /// Variables beside the caller's.
    pub environment: Vec<(OsString, OsString)>,
    /// Number of settings in the caller's own variables: `GIT_CONFIG_COUNT`.
    pub config_count: usize,
    /// Time without output after which git is stopped.
    pub stall_timeout: Duration,
}

impl GitOptions {
    /// Runs git in a folder of ours outside of any repository, and returns its output; empty on a
    /// failure.
    pub(super) fn quiet(&self, folder: &Path, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
        // Set where a hook of git runs mkpanda: they would lead to the hook's repository.
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG"] {
            command.env_remove(name);
        }
        command.env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.output().map(|output| output.stdout).unwrap_or_default()
    }
}

impl Default for GitOptions {
    fn default() -> Self {
        Self {
            program: "git".into(),
            supervisor: None,
            environment: Vec::new(),
            config_count: 0,
            stall_timeout: Duration::from_secs(10 * 60),
        }
    }
}
