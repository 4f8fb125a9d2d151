//! `[remote]` of the user's configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// `[remote]` of a configuration file.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    /// Address of the engine.
    pub executor: Option<String>,
    /// Address of the engine's storage and cache.
    pub cache: Option<String>,
    /// Instance of the engine.
    pub instance: Option<String>,
    /// Headers of all requests. `$NAME` is the value of a variable of the environment.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Properties that a worker has to have.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// PEM file with the CAs of the engine.
    pub ca: Option<PathBuf>,
    /// PEM file of a certificate for the engine.
    pub certificate: Option<PathBuf>,
    /// PEM file of the certificate's key.
    pub key: Option<PathBuf>,
    /// File with a token.
    pub token_file: Option<PathBuf>,
    /// Program that carries jobs out.
    pub program: Option<PathBuf>,
    /// Time limit of a job: `90m`, `6h`.
    pub time: Option<String>,
    /// Time for which the engine may be away: `5m`.
    pub patience: Option<String>,
    /// Number of packages that this machine builds beside the engine.
    pub local_jobs: Option<u16>,
    /// True to build here what the engine cannot.
    pub fallback: Option<bool>,
}

impl RemoteFile {
    /// True if the file says nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        let Self { executor, cache, instance, headers, properties, .. } = self;
        let paths = [&self.ca, &self.certificate, &self.key, &self.token_file, &self.program];
        let texts = [executor, cache, instance, &self.time, &self.patience];
        texts.into_iter().all(Option::is_none)
            && headers.is_empty()
            && properties.is_empty()
            && paths.into_iter().all(Option::is_none)
            && self.local_jobs.is_none()
            && self.fallback.is_none()
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may be secrets.
        f.debug_struct("RemoteFile")
            .field("executor", &self.executor)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
