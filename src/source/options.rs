//! How sources are fetched: plain values that the caller fills in.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::base::http::HttpClient;

/// A place to look into before a source's own URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mirror {
    /// A folder.
    Dir(PathBuf),
    /// An `http` or `https` URL, without a slash at its end.
    Url(String),
}

/// The text names no mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mirror: expected a folder, or a URL with http://, https:// or file://")]
pub struct MirrorError(String);

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.split_once("://") {
            Some(("http" | "https", rest)) if !rest.is_empty() => {
                Ok(Self::Url(text.trim_end_matches('/').to_owned()))
            }
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Dir(path.into())),
            None if !text.is_empty() => Ok(Self::Dir(text.into())),
            _ => Err(MirrorError(text.to_owned())),
        }
    }
}

/// How sources are fetched.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Where to look first, in this order.
    pub mirrors: Vec<Mirror>,
    /// Whether the network stays alone: neither URLs nor mirrors with URLs are asked.
    pub offline: bool,
    /// Downloads, with their retries, time limits and size limit.
    pub http: HttpClient,
    /// The host's git.
    pub git: GitOptions,
    /// The folder for lock files, the same for all processes of a user.
    pub locks: PathBuf,
}

impl FetchOptions {
    /// No mirrors, the network as it comes; lock files below `locks`.
    pub fn new(locks: PathBuf) -> Self {
        Self {
            mirrors: Vec::new(),
            offline: false,
            http: HttpClient::default(),
            git: GitOptions::default(),
            locks,
        }
    }
}

/// How the host's git is run.
#[derive(Debug, Clone)]
pub struct GitOptions {
    /// The program, looked up in the path if it is a plain name.
    pub program: PathBuf,
    /// This crate's executable, if git is to run under a [`crate::base::supervisor`] of it, so that
    /// git ends with this process.
    pub supervisor: Option<PathBuf>,
    /// Variables that it gets beside the caller's.
    pub environment: Vec<(OsString, OsString)>,
    /// How long it may say nothing before it is stopped.
    pub stall_timeout: Duration,
}

impl Default for GitOptions {
    fn default() -> Self {
        Self {
            program: "git".into(),
            supervisor: None,
            environment: Vec::new(),
            stall_timeout: Duration::from_secs(10 * 60),
        }
    }
}
