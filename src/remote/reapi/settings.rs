//! Settings of builds by an engine of the Remote Execution API.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::secret::Secret;
use crate::container::idmap::Tier;
use crate::portable::JobLimits;

/// Settings of builds by an engine.
#[derive(Debug, Clone)]
pub struct ReapiSettings {
    /// Address: `grpc://HOST:PORT`, `grpcs://HOST:PORT` or `unix:/PATH`.
    pub address: String,
    /// Address of the storage and the cache, if they have one of their own.
    pub cache: Option<String>,
    /// Instance of the engine; empty for the only one.
    pub instance: String,
    /// Headers of all requests.
    pub headers: BTreeMap<String, Secret>,
    /// Properties that a worker has to have.
    pub properties: BTreeMap<String, String>,
    /// PEM file with the CAs of the engine; those of the system by default.
    pub ca: Option<PathBuf>,
    /// PEM files of a certificate for the engine, and of its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// File with a token, which is read again for each package.
    pub token_file: Option<PathBuf>,
    /// Program that carries jobs out; this one by default.
    pub program: Option<PathBuf>,
    /// Time limit of an action; the engine's own by default.
    pub time: Option<Duration>,
    /// Time for which an engine may be away, and after which a waiting action is reported.
    pub patience: Duration,
    /// Limits of builds.
    pub limits: JobLimits,
    /// Tier that builds have to have.
    pub tier: Option<Tier>,
}
