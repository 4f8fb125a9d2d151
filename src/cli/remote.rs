//! Settings of builds by an engine of the Remote Execution API, from options and `[remote]` of the user's
//! configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::Environment;
use super::executor_args::ExecutorArgs;
use super::given::GivenValues;
use super::remote_file::RemoteFile;
use super::settings_error::SettingsError;
use super::value::Text;
use crate::base::secret::Secret;
use crate::build::elsewhere::Executor;
use crate::container::idmap::Tier;
use crate::portable::JobLimits;
#[cfg(feature = "remote-execution")]
use crate::remote::reapi::{Reapi, ReapiSettings};

/// Time for which an engine may be away, by default.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Settings of an engine, without options.
#[derive(Debug, Clone)]
pub struct RemoteSettings {
    /// Address of the engine.
    pub executor: Option<String>,
    /// Address of the engine's storage and cache, if it has one of its own.
    pub cache: Option<String>,
    /// Instance of the engine.
    pub instance: Option<String>,
    /// Number of packages that this machine builds beside the engine.
    pub local_jobs: u16,
    /// True to build here what the engine cannot.
    pub fallback: bool,
    headers: BTreeMap<String, Secret>,
    properties: BTreeMap<String, String>,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    token_file: Option<PathBuf>,
    program: Option<PathBuf>,
    time: Option<Duration>,
    patience: Duration,
}

impl GivenValues<'_> {
    /// Settings of an engine.
    pub(super) fn remote(
        &self,
        environment: &Environment,
    ) -> Result<RemoteSettings, SettingsError> {
        let duration = |key: &str, pick: fn(&RemoteFile) -> Option<String>| {
            let text = self.users_text(key, |file| pick(&file.remote));
            text.map(|text| text.duration()).transpose()
        };
        let path = |pick: fn(&RemoteFile) -> Option<PathBuf>| {
            let found = self.users_path(|file| pick(&file.remote));
            let absolute = found.map(std::path::absolute).transpose();
            absolute.map_err(|source| SettingsError::Read { source })
        };
        // A tree's file, which is asked first, has none.
        let map = |pick: fn(&RemoteFile) -> BTreeMap<String, String>| {
            self.file(|file| Some(pick(&file.remote)).filter(|map| !map.is_empty()))
                .unwrap_or_default()
        };
        let mut headers = BTreeMap::new();
        for (name, value) in map(|file| file.headers.clone()) {
            let value = match value.strip_prefix('$') {
                None => value,
                Some(variable) => {
                    let found = environment.get(variable).map(str::to_owned);
                    found.ok_or_else(|| SettingsError::NoVariable {
                        origin: format!("remote.headers.{name:?}"),
                        variable: variable.to_owned(),
                    })?
                }
            };
            headers.insert(name, Secret::new(value));
        }
        let certificate =
            match (path(|file| file.certificate.clone())?, path(|file| file.key.clone())?) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                (Some(alone), None) | (None, Some(alone)) => {
                    let (origin, value) = ("remote".to_owned(), alone.display().to_string());
                    return Err(Text { origin, value }.wrong("certificate together with its key"));
                }
            };
        let text = |key: &str, pick: fn(&RemoteFile) -> Option<String>| {
            self.text(key, |file| pick(&file.remote)).map(|text| text.value)
        };
        Ok(RemoteSettings {
            executor: text("REMOTE_EXECUTOR", |file| file.executor.clone()),
            cache: text("REMOTE_CACHE", |file| file.cache.clone()),
            instance: text("REMOTE_INSTANCE", |file| file.instance.clone()),
            local_jobs: self.file(|file| file.remote.local_jobs).unwrap_or(0),
            fallback: self.file(|file| file.remote.fallback).unwrap_or(false),
            headers,
            properties: map(|file| file.properties.clone()),
            ca: path(|file| file.ca.clone())?,
            certificate,
            token_file: path(|file| file.token_file.clone())?,
            program: path(|file| file.program.clone())?,
            time: duration("remote.time", |file| file.time.clone())?,
            patience: duration("remote.patience", |file| file.patience.clone())?
                .unwrap_or(PATIENCE),
        })
    }
}

/// Splits `NAME=VALUE`. The value may be a secret, and is not in the error.
fn pair(option: &'static str, text: &str) -> Result<(String, String), SettingsError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => {
            let value = text.split('=').next().unwrap_or_default().to_owned();
            Err(Text { origin: option.to_owned(), value }.wrong("pair NAME=VALUE"))
        }
    }
}

/// True for an address of this machine: what goes there is seen by nobody else.
fn is_here(address: &str) -> bool {
    let host = address.split_once("://").map_or("", |(_, host)| host);
    let is_local = ["127.0.0.1", "localhost", "[::1]"].iter().any(|local| {
        host.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    });
    address.starts_with("unix:") || is_local
}

impl RemoteSettings {
    /// The settings with those of options, checked.
    pub(super) fn with(mut self, args: &ExecutorArgs) -> Result<Self, SettingsError> {
        self.executor = args.remote_executor.clone().or(self.executor);
        self.cache = args.remote_cache.clone().or(self.cache);
        self.instance = args.remote_instance.clone().or(self.instance);
        self.local_jobs = args.remote_local_jobs.unwrap_or(self.local_jobs);
        let typed = |path: &Option<PathBuf>, set: Option<PathBuf>| {
            let absolute = path.as_ref().map(std::path::absolute).transpose();
            let absolute = absolute.map_err(|source| SettingsError::Read { source })?;
            Ok::<_, SettingsError>(absolute.or(set))
        };
        self.program = typed(&args.executor_program, self.program)?;
        self.ca = typed(&args.remote_ca, self.ca)?;
        self.token_file = typed(&args.remote_token_file, self.token_file)?;
        // Both, or none: the options need each other.
        if let Some(pair) =
            typed(&args.remote_certificate, None)?.zip(typed(&args.remote_key, None)?)
        {
            self.certificate = Some(pair);
        }
        for text in &args.remote_header {
            let (name, value) = pair("--remote-header", text)?;
            self.headers.insert(name, Secret::new(value));
        }
        for text in &args.remote_property {
            let (name, value) = pair("--remote-property", text)?;
            self.properties.insert(name, value);
        }
        self.headers =
            self.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let Some(address) = &self.executor else { return Err(SettingsError::NoRemoteExecutor) };
        self.check_address("remote executor", address)?;
        if let Some(address) = &self.cache {
            self.check_address("remote cache", address)?;
        }
        Ok(self)
    }

    /// Refuses an address that is none, and one to which a secret must not go.
    fn check_address(&self, what: &str, address: &str) -> Result<(), SettingsError> {
        let is_plain = address.starts_with("grpc://") || address.starts_with("unix:/");
        if !(is_plain || address.starts_with("grpcs://")) {
            let (origin, value) = (what.to_owned(), address.to_owned());
            return Err(Text { origin, value }
                .wrong("address of an engine: grpc://HOST:PORT, grpcs://HOST:PORT or unix:/PATH"));
        }
        // Anybody on the way could read it.
        let is_secret = self.token_file.is_some() || self.headers.contains_key("authorization");
        if is_plain && is_secret && !is_here(address) {
            return Err(SettingsError::RemoteSecret(address.to_owned()));
        }
        Ok(())
    }
}

impl RemoteSettings {
    /// Makes the engine of settings that are checked.
    #[cfg(feature = "remote-execution")]
    #[expect(clippy::unnecessary_wraps, reason = "without the feature, there is none")]
    pub(super) fn engine(
        self,
        limits: JobLimits,
        tier: Option<Tier>,
    ) -> Result<Arc<dyn Executor>, SettingsError> {
        Ok(Arc::new(Reapi::new(ReapiSettings {
            address: self.executor.unwrap_or_default(),
            cache: self.cache,
            instance: self.instance.unwrap_or_default(),
            headers: self.headers,
            properties: self.properties,
            ca: self.ca,
            certificate: self.certificate,
            token_file: self.token_file,
            program: self.program,
            time: self.time,
            patience: self.patience,
            limits,
            tier,
        })))
    }

    /// Fails: this program has no engine.
    #[cfg(not(feature = "remote-execution"))]
    pub(super) fn engine(
        self,
        _limits: JobLimits,
        _tier: Option<Tier>,
    ) -> Result<Arc<dyn Executor>, SettingsError> {
        let Self { ca: _, certificate: _, program: _, time: _, patience: _, .. } = self;
        Err(SettingsError::WithoutRemote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_told() {
        for (address, here) in [
            ("grpc://127.0.0.1:1", true),
            ("grpc://localhost", true),
            ("grpc://[::1]:1", true),
            ("unix:/run/engine", true),
            ("grpc://localhost.example.org:1", false),
            ("grpc://127.0.0.10:1", false),
            ("grpc://example.org:1", false),
        ] {
            assert_eq!(is_here(address), here, "{address}");
        }
    }

    #[test]
    fn a_header_that_is_not_a_pair_is_refused_without_its_value() {
        assert_eq!(pair("--x", "a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert_eq!(pair("--x", "a=").unwrap(), ("a".to_owned(), String::new()));
        for wrong in ["a", "=geheim"] {
            let said = pair("--x", wrong).unwrap_err().to_string();
            assert!(said.contains("NAME=VALUE") && !said.contains("geheim"), "{said}");
        }
    }
}
